"""The adapter over vLLM: generate and judge."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from adapters.base import (
    ImagePart,
    JudgeRequest,
    JudgeResult,
    LoadProgress,
    Media,
    ModelFiles,
    Outlet,
    Part,
    Question,
    Report,
    TextAdapter,
    TextDelta,
    TextDone,
    TextEvent,
    TextPart,
    TextRequest,
    Usage,
)
from adapters.engines.errors import ENGINE_DEAD, VllmErrors
from adapters.engines.vllm import Engine, preload
from adapters.errors import (
    AdapterError,
    ContextLengthExceeded,
    Interrupted,
    ModelLoadFailed,
    UnsupportedOption,
)
from adapters.text import chat_templates, sampling
from adapters.text.judge.judge import Judge
from adapters.text.options import TextOptions, engine_arguments
from adapters.text.output.choices import Choices, finish_reason
from adapters.text.output.detokenizer import Detokenizer
from adapters.text.output.engine_requests import EngineRequests
from adapters.text.output.logprobs import Logprobs
from adapters.text.prompts.builder import PromptBuilder
from adapters.text.tools import parsers
from adapters.text.tools.parsers import ToolCalling

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM


class VllmText(TextAdapter):
    """A language model on vLLM, which runs in a process of its own; with images, if the checkpoint accepts them."""

    asleep_bytes = 1_000_000_000
    """A CUDA context with its libraries, and CUDA graphs, which stay. Assumed, not measured."""

    class Options(TextOptions):
        """See `adapters.text.options.TextOptions`."""

        judge_temperature: float = Field(1.0, ge=0.05, le=20)
        """Divides the logarithms of judged probabilities: above 1, the model is less certain than it claims.
        `examples/calibrate.py` fits it to labelled questions."""

    def __init__(self, engine: Engine, options: Options, template: str | None) -> None:
        """Takes over a running engine. Use `load`."""
        self._engine: Engine | None = engine
        self._sleeps = options.sleep
        self._template_variables = options.template_variables
        tokenizer: Any = engine.llm.get_tokenizer()
        self._prompts = PromptBuilder(engine.llm, options.max_images, template)
        # INTERNAL vllm==0.32: it asks for this token at every request, and each time the tokenizer searches for it.
        end = tokenizer.eos_token_id
        engine.llm.renderer.get_eos_token_id = lambda: end
        self._tool_calling = ToolCalling(
            tokenizer, engine.llm.model_config, options.tool_call_parser, options.reasoning_parser
        )
        self._requests = EngineRequests(engine.llm)
        self._detokenizer = Detokenizer(tokenizer)
        self._logprobs = Logprobs(self._detokenizer)
        self._context: int = engine.llm.model_config.max_model_len
        self._judge = Judge(self._prompts, self._context, options.judge_temperature)

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """A running engine, warmed up. As `Adapter.load`."""
        options = cls.Options.of(model)
        report(LoadProgress("importing vLLM"))
        await asyncio.to_thread(preload)
        parsers.check_names(options.tool_call_parser, options.reasoning_parser)
        template = chat_templates.read(options.chat_template)
        report(LoadProgress("starting engine"))
        engine = await Engine.start(model, options, lambda cpu: engine_arguments(options, cpu=cpu))
        try:
            adapter = cls(engine, options, template)
        except Exception as error:
            await engine.stop()
            if isinstance(error, ModelLoadFailed):
                raise
            raise ModelLoadFailed("The model's tokenizer or image processor cannot be used.") from error
        try:
            report(LoadProgress("warming up"))
            await adapter._warm_up()
        except BaseException as error:
            await asyncio.shield(adapter.unload())
            if isinstance(error, AdapterError):
                raise ModelLoadFailed(f"The model failed on its first request: {error.message}") from error
            raise
        return adapter

    async def unload(self) -> None:
        """Stops the engine; requests in progress end in `Interrupted`."""
        if self._engine is not None:
            engine, self._engine = self._engine, None
            self._prompts.close()
            await engine.stop()

    @property
    def alive(self) -> bool:
        """False once the engine's process has ended."""
        return self._engine is not None and self._engine.alive

    async def sleep(self) -> bool:
        """Moves the weights to RAM and drops the cache, where the options say so (vLLM's sleep level 1)."""
        if self._engine is None or not self._sleeps:
            return False
        await self._engine.llm.sleep(level=1)
        return True

    async def wake(self) -> None:
        """Moves the weights back."""
        if self._engine is None:
            raise ModelLoadFailed("The model is not loaded.")
        await self._engine.llm.wake_up()

    def memory_bytes(self) -> int | None:
        """Bytes that the engine's processes use."""
        return None if self._engine is None else self._engine.memory_bytes()

    @property
    def supports_images(self) -> bool:
        """Whether the checkpoint accepts images."""
        return self._prompts.supports_images

    async def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """As `TextAdapter.generate`."""
        begin = time.perf_counter()
        with VllmErrors(lambda: self.alive, sampling.grammar_param(request)):
            request = self._checked(request)
            prompt = await self._prompt(request)
            with self._prompts.undelivered(prompt):
                only_prompt = request.max_tokens == 0  # For an echo: the engine must generate at least one token.
                max_tokens = sampling.budget(
                    replace(request, max_tokens=1) if only_prompt else request, prompt, self._context
                )
                structure = None
                if request.tools or request.output != "text":
                    structure = await asyncio.to_thread(self._tool_calling.structure, request)
                plain = request.n == 1 and request.logprobs is None and not (request.echo or request.continuous_usage)
                if plain and not self._tool_calling.parses(request):
                    events = self._direct(request, prompt, max_tokens, structure, outlet)
                else:
                    keep_special = self._tool_calling.keeps_special(request)
                    parameters = sampling.parameters(request, max_tokens, structure, keep_special=keep_special)
                    events = self._choices(request, prompt, parameters, only_prompt=only_prompt)
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, Usage):
                            yield TextDone(event, (time.perf_counter() - begin) * 1000)
                        else:
                            yield event

    def _checked(self, request: TextRequest) -> TextRequest:
        """The request as this model can answer it.

        Raises:
            UnsupportedOption: It asks for something that this model cannot do.
        """
        self._tool_calling.check(request)
        for name in request.template_arguments:
            if name not in self._template_variables:
                known = ", ".join(self._template_variables) or "none"
                raise UnsupportedOption(
                    f"This model's template has no variable {name[:64]!r} that requests may set. Available: {known}.",
                    param="chat_template_kwargs",
                )
        if not self._tool_calling.reasons:
            request = replace(request, reasoning_effort=None)
        if request.suffix:
            request = replace(request, stop_token_ids=(*request.stop_token_ids, *self._prompts.fill_in.ends))
        return request

    async def _direct(
        self, request: TextRequest, prompt: Any, max_tokens: int, structure: Any, outlet: Outlet | None
    ) -> AsyncGenerator[TextDelta | Usage]:
        """One answer of text only, by the shortest path."""
        from adapters.text.output import direct

        llm = self._running()
        # A prompt of token ids may end within a character, which only vLLM's detokenizer would complete.
        ours = self._detokenizer.exact and not request.stop and not isinstance(request.prompt, tuple)
        engine_request = await self._requests.text(request, prompt, max_tokens, structure, detokenize=not ours)
        flow = direct.Flow(outlet, self._detokenizer.reader() if ours else None)
        deltas = direct.answer(llm, engine_request, flow)
        async with aclosing(deltas):
            async for text in deltas:
                reason = finish_reason(flow.reason, request)
                if text or reason:
                    yield TextDelta(text, finish_reason=reason)
        yield Usage(len(prompt["prompt_token_ids"]), flow.tokens, flow.cached_tokens)

    async def _choices(
        self, request: TextRequest, prompt: Any, parameters: Any, *, only_prompt: bool
    ) -> AsyncGenerator[TextDelta | Usage]:
        """Answers with tool calls, reasoning or log-probabilities, several answers, and echoes."""
        tokens: list[int] = prompt["prompt_token_ids"]
        choices = Choices(request, sampling.copies(request), tokens, self._tool_calling, self._logprobs)
        async with aclosing(await self._run(prompt, parameters)) as outputs:
            echoed = not request.echo
            async for output in outputs:
                for index in range(0 if echoed else request.n):
                    yield self._echo(request, output, index)
                echoed = True
                if only_prompt:
                    choices.count(output, generated=False)
                    break
                for event in choices.events(output):
                    yield event
                if choices.complete:
                    break
        yield choices.usage

    async def _prompt(self, request: TextRequest) -> Any:
        if request.prompt is not None:
            if isinstance(request.prompt, str):
                await self._prompts.check_length((request.prompt, request.suffix), param="prompt")
            return await self._prompts.plain(request.prompt, request.suffix)
        parts = [part for message in request.messages for part in message.content]
        await self._prompts.check_length([part.text for part in parts if isinstance(part, TextPart)], param="messages")
        images = await self._prompts.images(parts)
        arguments = parsers.template_arguments(request)
        return await self._prompts.chat(request.messages, images, parsers.offered(request), arguments)

    def _echo(self, request: TextRequest, output: "RequestOutput", index: int) -> TextDelta:
        """The prompt as the first text of an answer."""
        tokens = output.prompt_token_ids or []
        text = request.prompt if isinstance(request.prompt, str) else self._prompts.text(tokens)
        count = request.logprobs
        logprobs = () if count is None else self._logprobs.positions(tokens, output.prompt_logprobs, count)
        return TextDelta(text, index, logprobs=logprobs, finish_reason="length" if request.max_tokens == 0 else None)

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """As `TextAdapter.judge`."""
        with VllmErrors(lambda: self.alive):
            return await self._judge.answer(request, self._run)

    async def _run(self, prompt: Any, parameters: Any) -> AsyncGenerator["RequestOutput"]:
        """The engine's outputs; closing the generator aborts the request in the engine at once."""
        llm = self._running()
        if parameters.structured_outputs is None:
            return llm.generate(prompt, parameters, uuid.uuid4().hex)
        engine_request = await self._requests.checked(prompt, parameters)
        return llm.generate(engine_request, parameters, engine_request.request_id)

    def _running(self) -> "AsyncLLM":
        if self._engine is None:
            raise Interrupted(ENGINE_DEAD)
        return self._engine.llm

    async def _warm_up(self) -> None:
        """Sends the first requests: they compile and allocate, and with an image take many seconds."""
        if self._prompts.has_chat_template:
            content: tuple[Part, ...] = (TextPart("Hello."),)
            if self.supports_images:
                content = (ImagePart(_grey_image()), *content)
            with suppress(ContextLengthExceeded):  # A context too short for a chat may be enough for other prompts.
                await self.judge(JudgeRequest(content, (Question("Is this a greeting?"),)))
        async for _ in self.generate(TextRequest(prompt="Hello", max_tokens=2)):
            pass


def _grey_image() -> Media:
    from PIL import Image

    from adapters.media.decode_image import encode_image

    return encode_image(Image.new("RGB", (64, 64), (128, 128, 128)), "image/png")
