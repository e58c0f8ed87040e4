"""Asks a running engine: which prompts, which tokens, how many requests."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from adapters.base import ImagePart, Judgement, JudgeRequest, JudgeResult, Question, TextPart, Usage
from adapters.errors import ContextLengthExceeded
from adapters.text.judge import first_token, sequences
from adapters.text.prompts.builder import PromptBuilder
from adapters.text.prompts.images import PromptImages

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput

MAX_CACHED = 4096
"""Sets of options of which the tokens are cached."""
PARAM = "input"
"""The request field that errors name."""
MIN_SHARED = 4
"""From this many questions on, prompts are derived from each other."""
MAX_DECODED = 4
"""Questions whose own images are in memory at the same time."""

Run = Callable[[Any, Any], Coroutine[Any, Any, AsyncGenerator["RequestOutput"]]]
Tokens = tuple[list[list[int]] | None, sequences.Sequences]


class Judge:
    """Answers questions with one engine."""

    def __init__(self, prompts: PromptBuilder, context: int, temperature: float) -> None:
        """Prepares for one engine.

        Args:
            prompts: Builds prompts for the engine.
            context: The model's context, in tokens.
            temperature: See `first_token.softmax`.
        """
        self._prompts = prompts
        self._context = context
        self._temperature = temperature
        self._decoding = asyncio.Semaphore(MAX_DECODED)
        self._cached: dict[tuple[str, ...], Tokens] = {}

    async def answer(self, request: JudgeRequest, run: Run) -> JudgeResult:
        """As `TextAdapter.judge`.

        Args:
            request: The questions.
            run: Runs a prompt on the engine, with vLLM's sampling parameters.
        """
        begin = time.perf_counter()
        parts = [*request.content, *(part for question in request.questions for part in question.content)]
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        await self._prompts.check_length(texts, param=PARAM, prompts=len(request.questions))
        images = await self._prompts.images(request.content, param=PARAM)
        prompts = await self._derived(request, images)
        work = (self._one(request, one, images, run, prompts.get(at)) for at, one in enumerate(request.questions))
        answers = await asyncio.gather(*work)
        usage = sum((usage for _, usage in answers), Usage())
        return JudgeResult(tuple(one for one, _ in answers), usage, (time.perf_counter() - begin) * 1000)

    async def _derived(self, request: JudgeRequest, images: PromptImages) -> dict[int, Any]:
        """Prompts for questions about images, by index, that reuse vLLM's work on the images.

        vLLM renders two: the first sends the images, the second refers to them. All others start like the second and
        end with their own tokens.
        """
        asked = [at for at, question in enumerate(request.questions) if not question.content]
        if not images or len(asked) < MIN_SHARED:
            return {}
        messages = [first_token.message(request, request.questions[at]) for at in asked]
        found: dict[int, Any] = {asked[0]: await self._prompts.chat((messages[0],), images)}
        with self._prompts.undelivered(found[asked[0]]):
            model: Any = await self._prompts.chat((messages[1],), images)
            _, read, *others = await self._prompts.placeholder_tokens(messages, images)
        found[asked[1]] = model
        whole: list[int] = model["prompt_token_ids"]
        for at, tokens in zip(asked[2:], others, strict=True):
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(read, tokens, strict=False)))
            end = len(read) - same
            if end and whole[-end:] == read[same:]:
                found[at] = {**model, "prompt_token_ids": [*whole[:-end], *tokens[same:]]}
        return found

    async def _one(
        self, request: JudgeRequest, question: Question, images: PromptImages, run: Run, prompt: Any
    ) -> tuple[Judgement, Usage]:
        try:
            return await self._try(question, run, prompt or await self._prompt(request, question, images))
        except _LostError:  # The engine has dropped an image that vLLM believed it to have; now vLLM knows.
            return await self._try(question, run, await self._prompt(request, question, images))

    async def _try(self, question: Question, run: Run, prompt: Any) -> tuple[Judgement, Usage]:
        with self._prompts.undelivered(prompt):
            firsts, whole = self._tokens(question.options)
            longest = max((len(one) for variants in whole for one in variants), default=1)
            if (needed := len(prompt["prompt_token_ids"]) + longest) > self._context:
                raise ContextLengthExceeded(
                    f"This model's context is {self._context} tokens; a question with its content and answer has "
                    f"{needed}. Send less content.",
                    param=PARAM,
                )
            query = _Query(run, prompt, self._prompts.end_tokens)
            if firsts is not None:
                found = await query.logprobs((), [token for tokens in firsts for token in tokens])
                return first_token.judgement(firsts, found, self._temperature), query.usage
            return await sequences.score(whole, query.logprobs, self._temperature), query.usage

    async def _prompt(self, request: JudgeRequest, question: Question, images: PromptImages) -> Any:
        message = first_token.message(request, question)
        if not question.content:
            return await self._prompts.chat((message,), images)
        async with self._decoding:
            shared = sum(isinstance(part, ImagePart) for part in request.content)
            own = await self._prompts.images(question.content, param=PARAM, already=shared)
            return await self._prompts.chat((message,), {**images, **own})

    def _tokens(self, options: tuple[str, ...]) -> Tokens:
        """First tokens, or else sequences; cached, because the same options are asked about repeatedly."""
        found = self._cached.get(options)
        if found is None:
            spellings = first_token.spellings(options)
            firsts = first_token.first_tokens(spellings, self._prompts.first_token)
            found = firsts, () if firsts else sequences.sequences(spellings, self._prompts.encode)
            if len(self._cached) >= MAX_CACHED:
                self._cached.clear()
            self._cached[options] = found
        return found


class _LostError(Exception):
    """The engine returned no log-probabilities."""


class _Query:
    """Log-probabilities of tokens after one prompt, and the usage of asking for them."""

    def __init__(self, run: Run, prompt: Any, ends: Sequence[int]) -> None:
        self._run = run
        self._prompt = prompt
        self._ends = ends
        self.usage = Usage(len(prompt["prompt_token_ids"]))

    async def logprobs(self, prefix: tuple[int, ...], tokens: Sequence[int]) -> Mapping[int, float]:
        """Natural logarithms of the tokens' probabilities after the prompt and `prefix`."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        prompt = self._prompt
        if prefix:
            prompt = {**prompt, "prompt_token_ids": [*prompt["prompt_token_ids"], *prefix]}
        plain = [token for token in tokens if token != sequences.END]
        wanted = dict.fromkeys([*plain, *(self._ends if len(plain) < len(tokens) else ())])
        found: dict[int, float] = {}
        for some in first_token.chunks(wanted):
            parameters = SamplingParams(
                max_tokens=1,
                temperature=0,
                logprob_token_ids=some,
                detokenize=False,
                skip_clone=True,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            async for output in await self._run(prompt, parameters):
                self._count(output)
                steps = output.outputs[0].logprobs
                if not steps:
                    raise _LostError
                found |= {token: steps[0][token].logprob for token in some}
        if len(plain) < len(tokens):
            found[sequences.END] = math.log(sum(math.exp(found[token]) for token in self._ends) or 5e-324)
        return found

    def _count(self, output: "RequestOutput") -> None:
        """The prompt counts once, however many requests use it."""
        generated = sum(len(answer.token_ids) for answer in output.outputs)
        cached = min(output.num_cached_tokens or 0, self.usage.prompt_tokens)
        self.usage = Usage(
            self.usage.prompt_tokens, self.usage.completion_tokens + generated, max(self.usage.cached_tokens, cached)
        )
