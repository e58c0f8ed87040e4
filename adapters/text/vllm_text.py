"""The adapter over vLLM: generate and judge."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError

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
from adapters.engines.vllm import Engine, VllmOptions, preload
from adapters.errors import (
    AdapterError,
    ContextLengthExceeded,
    Interrupted,
    ModelLoadFailed,
)
from adapters.process.memory_usage import held_bytes
from adapters.text import chat_templates, errors, sampling
from adapters.text.judge.judge import Judge
from adapters.text.output.choices import Answers, finish_reason
from adapters.text.output.detokenizer import Spelling
from adapters.text.output.engine_requests import Requests
from adapters.text.output.logprobs import Likelihoods
from adapters.text.prompts.builder import Prompts
from adapters.text.tools import parsers
from adapters.text.tools.parsers import Calling

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM


class VllmText(TextAdapter):
    """A language model on vLLM, which runs in a process of its own; with eyes, if the checkpoint has them."""

    class Options(VllmOptions):
        """See `adapters.engines.vllm.VllmOptions`."""

        judge_temperature: float = Field(1.0, ge=0.05, le=20)
        """By which the logarithms of judged probabilities are divided: above 1, the model is less sure than it says.
        `examples/calibrate.py` fits it to labelled questions."""

    def __init__(self, engine: Engine, options: Options, thread: ThreadPoolExecutor, template: str | None) -> None:
        """Takes over a running engine, and the thread that started it. Use `load`."""
        self._engine: Engine | None = engine
        self._sleeps = options.sleep
        self._thread = thread
        tokenizer: Any = engine.llm.get_tokenizer()
        self._prompts = Prompts(engine.llm, options.max_images, template)
        end = tokenizer.eos_token_id  # vLLM asks for it at every request, and each time the tokenizer searches for it.
        engine.llm.renderer.get_eos_token_id = lambda: end
        self._calling = Calling(tokenizer, engine.llm.model_config, options.tool_call_parser, options.reasoning_parser)
        self._requests = Requests(engine.llm)
        self._spelling = Spelling(tokenizer)
        self._likely = Likelihoods(self._spelling)
        self._context: int = engine.llm.model_config.max_model_len
        self._judge = Judge(self._prompts, self._context, options.judge_temperature)

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """A running, warm engine. As `Adapter.load`."""
        try:
            options = cls.Options.model_validate(dict(model.options))
        except ValidationError as error:
            raise ModelLoadFailed(f"The options of this model are wrong: {error}") from error
        loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, thread_name_prefix=f"vllm-{model.name}")
        report(LoadProgress("importing vLLM"))
        await loop.run_in_executor(thread, preload)
        parsers.check_names(options.tool_call_parser, options.reasoning_parser)
        template = chat_templates.read(options.chat_template)
        report(LoadProgress("starting engine"))
        starting = loop.run_in_executor(thread, Engine.start, model.path, options, model.devices)
        try:
            engine = await asyncio.shield(starting)
        except BaseException:
            starting.add_done_callback(partial(_abandon, thread))
            raise
        try:
            adapter = cls(engine, options, thread, template)
        except Exception as error:
            await loop.run_in_executor(thread, engine.stop)
            if isinstance(error, ModelLoadFailed):
                raise
            raise ModelLoadFailed("The model's tokenizer or processor cannot be used.") from error
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
        """Ends the engine; requests that run end in `Interrupted`."""
        if self._engine is None:
            return
        from vllm.v1.engine.exceptions import EngineDeadError

        engine, self._engine = self._engine, None
        engine.llm.output_processor.propagate_error(EngineDeadError())
        self._prompts.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, engine.stop)
        await loop.run_in_executor(self._thread, engine.close)  # After the loop has closed what uses it.
        self._thread.shutdown(wait=False)

    @property
    def alive(self) -> bool:
        """False once the engine's process has ended."""
        return self._engine is not None and not self._engine.llm.errored

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
        """What the engine's processes hold."""
        if self._engine is None:
            return None
        held = [held_bytes(process.pid) for process in self._engine.processes]
        return sum(one for one in held if one is not None) or None

    @property
    def supports_images(self) -> bool:
        """Whether the checkpoint has eyes."""
        return self._prompts.supports_images

    async def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """As `TextAdapter.generate`."""
        begin = time.perf_counter()
        with errors.Translated(lambda: self.alive, errors.suspect(request)):
            self._calling.check(request)
            wanted = await self._prompt(request)
            with self._prompts.undelivered(wanted):
                only_prompt = request.max_tokens == 0  # For an echo, which the engine cannot do alone.
                room = sampling.budget(
                    replace(request, max_tokens=1) if only_prompt else request, wanted, self._context
                )
                structure = self._calling.structure(request)
                plain = request.n == 1 and request.logprobs is None and not request.echo
                if plain and not self._calling.parses(request):
                    events = self._direct(request, wanted, room, structure, outlet)
                else:
                    keep_special = self._calling.keeps_special(request)
                    parameters = sampling.parameters(request, room, structure, keep_special=keep_special)
                    events = self._folded(request, wanted, parameters, only_prompt=only_prompt)
                async with aclosing(events):
                    async for event in events:
                        if isinstance(event, Usage):
                            yield TextDone(event, (time.perf_counter() - begin) * 1000)
                        else:
                            yield event

    async def _direct(
        self, request: TextRequest, wanted: Any, room: int, structure: Any, outlet: Outlet | None
    ) -> AsyncGenerator[TextDelta | Usage]:
        """One answer that is nothing but text, by the shortest way."""
        from adapters.text.output import direct

        llm = self._running()
        # A prompt of token ids may end within a character, which only vLLM's way would complete.
        spelled = self._spelling.exact and not request.stop and not isinstance(request.prompt, tuple)
        asked = await self._requests.text(request, wanted, room, structure, detokenize=not spelled)
        flow = direct.Flow(outlet, self._spelling.reader() if spelled else None)
        pieces = direct.answer(llm, asked, flow)
        async with aclosing(pieces):
            async for text in pieces:
                reason = finish_reason(flow.reason, request)
                if text or reason:
                    yield TextDelta(text, finish_reason=reason)
        yield Usage(len(wanted["prompt_token_ids"]), flow.tokens, flow.cached_tokens)

    async def _folded(
        self, request: TextRequest, wanted: Any, parameters: Any, *, only_prompt: bool
    ) -> AsyncGenerator[TextDelta | Usage]:
        """Answers with calls, thoughts or likelihoods, several answers, and echoes."""
        tokens: list[int] = wanted["prompt_token_ids"]
        answers = Answers(request, sampling.copies(request), tokens, self._calling, self._likely)
        async with aclosing(await self._run(wanted, parameters)) as outputs:
            echoed = not request.echo
            async for output in outputs:
                for index in range(0 if echoed else request.n):
                    yield self._echo(request, output, index)
                echoed = True
                if only_prompt:
                    answers.count(output, written=False)
                    break
                for event in answers.events(output):
                    yield event
                if answers.complete:
                    break
        yield answers.usage

    async def _prompt(self, request: TextRequest) -> Any:
        if request.prompt is not None:
            return await self._prompts.plain(request.prompt)
        parts = [part for message in request.messages for part in message.content]
        pictures = await self._prompts.pictures(parts)
        arguments = parsers.template_arguments(request)
        return await self._prompts.chat(request.messages, pictures, parsers.offered(request), arguments)

    def _echo(self, request: TextRequest, output: "RequestOutput", index: int) -> TextDelta:
        """The prompt as the beginning of an answer."""
        tokens = output.prompt_token_ids or []
        text = request.prompt if isinstance(request.prompt, str) else self._prompts.text(tokens)
        wanted = request.logprobs
        likely = () if wanted is None else self._likely.positions(tokens, output.prompt_logprobs, wanted)
        return TextDelta(text, index, logprobs=likely, finish_reason="length" if request.max_tokens == 0 else None)

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """As `TextAdapter.judge`."""
        with errors.Translated(lambda: self.alive):
            return await self._judge.answer(request, self._run)

    async def _run(self, prompt: Any, parameters: Any) -> AsyncGenerator["RequestOutput"]:
        """The engine's outputs; closing them aborts the request in the engine at once."""
        llm = self._running()
        if parameters.structured_outputs is None:
            return llm.generate(prompt, parameters, uuid.uuid4().hex)
        asked = await self._requests.checked(prompt, parameters)
        return llm.generate(asked, parameters, asked.request_id)

    def _running(self) -> "AsyncLLM":
        if self._engine is None:
            raise Interrupted(errors.DEAD)
        return self._engine.llm

    async def _warm_up(self) -> None:
        """Takes the first requests upon itself: they compile, allocate, and with an image take many seconds."""
        if self._prompts.chats:
            content: tuple[Part, ...] = (TextPart("Hello."),)
            if self.supports_images:
                content = (ImagePart(_grey()), *content)
            with suppress(ContextLengthExceeded):  # A context that is too short for a chat may do for other prompts.
                await self.judge(JudgeRequest(content, (Question("Is this a greeting?"),)))
        async for _ in self.generate(TextRequest(prompt="Hello", max_tokens=2)):
            pass


def _abandon(thread: ThreadPoolExecutor, starting: asyncio.Future[Engine]) -> None:
    """Ends an engine that nobody waits for any more."""
    if not starting.cancelled() and starting.exception() is None:
        thread.submit(starting.result().stop)
    thread.shutdown(wait=False)


def _grey() -> Media:
    from PIL import Image

    from adapters.media.decode_image import encode_image

    return encode_image(Image.new("RGB", (64, 64), (128, 128, 128)), "image/png")
