"""Questions put to a running engine: which prompts, which tokens, how many requests."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from adapters.base import ImagePart, Judgement, JudgeRequest, JudgeResult, Question, Usage
from adapters.errors import ContextLengthExceeded
from adapters.text.judge import first_token, sequences
from adapters.text.prompts.builder import Prompts
from adapters.text.prompts.images import Pictures

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput

MAX_REMEMBERED = 4096
"""Sets of options of which the tokens are remembered."""
PARAM = "input"
"""What a refusal names, for callers that know no better."""
FEW = 4
"""Fewer questions are not worth a second look at how their prompts differ."""
DECODED_AT_ONCE = 4
"""Questions whose own images are in memory."""

Run = Callable[[Any, Any], Coroutine[Any, Any, AsyncGenerator["RequestOutput"]]]
Tokens = tuple[list[list[int]] | None, sequences.Sequences]


class Judge:
    """Judges with one engine."""

    def __init__(self, prompts: Prompts, context: int, temperature: float) -> None:
        """Takes what makes prompts.

        Args:
            prompts: Of the engine.
            context: In tokens.
            temperature: See `judging.weighed`.
        """
        self._prompts = prompts
        self._context = context
        self._temperature = temperature
        self._decoding = asyncio.Semaphore(DECODED_AT_ONCE)
        self._remembered: dict[tuple[str, ...], Tokens] = {}

    async def answer(self, request: JudgeRequest, run: Run) -> JudgeResult:
        """As `TextAdapter.judge`.

        Args:
            request: The questions.
            run: Puts a prompt to the engine, under vLLM's sampling parameters.
        """
        begin = time.perf_counter()
        pictures = await self._prompts.pictures(request.content, param=PARAM)
        prompts = await self._alike(request, pictures)
        work = (self._one(request, one, pictures, run, prompts.get(at)) for at, one in enumerate(request.questions))
        answers = await asyncio.gather(*work)
        usage = sum((usage for _, usage in answers), Usage())
        return JudgeResult(tuple(one for one, _ in answers), usage, (time.perf_counter() - begin) * 1000)

    async def _alike(self, request: JudgeRequest, pictures: Pictures) -> dict[int, Any]:
        """Prompts for questions about images, by their places, where vLLM's work on the images need not be done again.

        Two are rendered by vLLM: the first brings the images along, the second says that the engine has them. All
        others begin as the second does, and end with their own tokens.
        """
        asked = [at for at, question in enumerate(request.questions) if not question.content]
        if not pictures or len(asked) < FEW:
            return {}
        messages = [first_token.message(request, request.questions[at]) for at in asked]
        found: dict[int, Any] = {asked[0]: await self._prompts.chat((messages[0],), pictures)}
        with self._prompts.undelivered(found[asked[0]]):
            model: Any = await self._prompts.chat((messages[1],), pictures)
            _, read, *others = await self._prompts.read(messages, pictures)
        found[asked[1]] = model
        whole: list[int] = model["prompt_token_ids"]
        for at, tokens in zip(asked[2:], others, strict=True):
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(read, tokens, strict=False)))
            end = len(read) - same
            if end and whole[-end:] == read[same:]:
                found[at] = {**model, "prompt_token_ids": [*whole[:-end], *tokens[same:]]}
        return found

    async def _one(
        self, request: JudgeRequest, question: Question, pictures: Pictures, run: Run, prompt: Any
    ) -> tuple[Judgement, Usage]:
        try:
            return await self._try(question, run, prompt or await self._prompt(request, question, pictures))
        except _LostError:  # The engine has let go of an image that vLLM took it to have; now vLLM knows.
            return await self._try(question, run, await self._prompt(request, question, pictures))

    async def _try(self, question: Question, run: Run, prompt: Any) -> tuple[Judgement, Usage]:
        with self._prompts.undelivered(prompt):
            firsts, whole = self._tokens(question.options)
            longest = max((len(one) for variants in whole for one in variants), default=1)
            if (needed := len(prompt["prompt_token_ids"]) + longest) > self._context:
                raise ContextLengthExceeded(
                    f"This model's context is {self._context} tokens; a question, with what it is about and its "
                    f"answer, has {needed}.",
                    param=PARAM,
                )
            looked = _Look(run, prompt, self._prompts.ends)
            if firsts is not None:
                found = await looked.up((), [token for tokens in firsts for token in tokens])
                return first_token.judgement(firsts, found, self._temperature), looked.usage
            return await sequences.follow(whole, looked.up, self._temperature), looked.usage

    async def _prompt(self, request: JudgeRequest, question: Question, pictures: Pictures) -> Any:
        message = first_token.message(request, question)
        if not question.content:
            return await self._prompts.chat((message,), pictures)
        async with self._decoding:
            shared = sum(isinstance(part, ImagePart) for part in request.content)
            own = await self._prompts.pictures(question.content, param=PARAM, beside=shared)
            return await self._prompts.chat((message,), {**pictures, **own})

    def _tokens(self, options: tuple[str, ...]) -> Tokens:
        """First tokens, or else sequences. The same few options are asked about again and again."""
        found = self._remembered.get(options)
        if found is None:
            spelled = first_token.spellings(options)
            firsts = first_token.first_tokens(spelled, self._prompts.first_token)
            found = firsts, () if firsts else sequences.sequences(spelled, self._prompts.spell)
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[options] = found
        return found


class _LostError(Exception):
    """The engine answered nothing."""


class _Look:
    """Looks up probabilities behind one prompt, and counts what that takes."""

    def __init__(self, run: Run, prompt: Any, ends: Sequence[int]) -> None:
        self._run = run
        self._prompt = prompt
        self._ends = ends
        self.usage = Usage(len(prompt["prompt_token_ids"]))

    async def up(self, prefix: tuple[int, ...], tokens: Sequence[int]) -> Mapping[int, float]:
        """Natural logarithms of the tokens' probabilities, where the prompt and `prefix` have been said."""
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
        """The prompt counts once, however often it is looked at."""
        written = sum(len(answer.token_ids) for answer in output.outputs)
        cached = min(output.num_cached_tokens or 0, self.usage.prompt_tokens)
        self.usage = Usage(
            self.usage.prompt_tokens, self.usage.completion_tokens + written, max(self.usage.cached_tokens, cached)
        )
