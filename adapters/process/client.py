"""A model in a child process, seen from the server: load, call, stream, cancel, kill.

The child is a fresh interpreter (`adapters/process/child.py`), never a fork: it inherits no locks, no
loop and no CUDA state.
A crash, a fault of the accelerator or a hang takes one model and not the server, and ending it gives all memory back.
"""

import asyncio
import itertools
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Self

import msgspec

from adapters.base import (
    Adapter,
    EmbeddingAdapter,
    EmbeddingRequest,
    EmbeddingResult,
    ImageAdapter,
    ImageEvent,
    ImageRequest,
    JudgeRequest,
    JudgeResult,
    Kind,
    LanguageDetection,
    Media,
    ModelFiles,
    Outlet,
    Report,
    SpeechAdapter,
    SpeechEvent,
    SynthesisRequest,
    TextAdapter,
    TextEvent,
    TextRequest,
    TranscriptionRequest,
    VideoAdapter,
    VideoEvent,
    VideoRequest,
    VoiceAdapter,
    VoiceEvent,
)
from adapters.errors import Interrupted, ModelLoadFailed
from adapters.hardware import environment
from adapters.process import protocol
from adapters.process.memory_usage import held_bytes
from adapters.process.protocol import Frame

log = logging.getLogger(__name__)
HEARTBEAT_S = 60.0
"""A child answers within this, or is taken for hung. Libraries may hold its interpreter for seconds, so it is long."""


class Worker:
    """The child process of one model. Make it with `Worker.start`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        """Takes over a started process and the private socket to it."""
        self.facts: dict[str, Any] = {}
        """What the child says of its model once it is loaded: the adapter's properties."""
        self._name = name
        self._process = process
        self._link = link
        self._calls: dict[int, asyncio.Queue[Frame]] = {}
        self._ids = itertools.count(1)
        self._alive = True
        self._heard = True

    @classmethod
    async def start(cls, model: ModelFiles, report: Report) -> Self:
        """A child that has loaded the model.

        Raises:
            AdapterError: As `Adapter.load` in the child.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # no module out of the current directory
                "-m",
                "adapters.process.child",
                str(theirs.fileno()),
                str(os.getpid()),
                pass_fds=[theirs.fileno()],
                # OpenMP's threads wait for work by spinning unless told otherwise, and starve all others.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **environment(model.devices)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # engines print to it; a server's own standard output stays clean
            )
        finally:
            theirs.close()
        worker = cls(model.name, process, ours)
        try:
            await worker._load(model, report)
        except BaseException:
            await worker.stop()
            raise
        return worker

    async def _load(self, model: ModelFiles, report: Report) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._link)
        loading = self._calls[0] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read(reader))
        await self._send(Frame(0, "load", body=model))
        while (frame := await loading.get()).operation == "progress":
            report(protocol.item(frame.name, frame.body))
        del self._calls[0]
        if frame.operation == "error":
            error = protocol.error(frame)
            raise ModelLoadFailed(error.message) if isinstance(error, Interrupted) else error
        self.facts = frame.body
        self._watching = asyncio.create_task(self._watch())

    @property
    def alive(self) -> bool:
        """Whether the process still serves."""
        return self._alive

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def call(self, verb: str, request: Any) -> Any:
        """What the adapter's coroutine method `verb` returns for the request. Raises what it raises."""
        call, queue = await self._open("call", verb, request)
        try:
            frame = await queue.get()
        except asyncio.CancelledError:
            self._post(Frame(call, "cancel"))
            raise
        finally:
            del self._calls[call]
        if frame.operation == "error":
            raise protocol.error(frame)
        return protocol.item(frame.name, frame.body)

    async def stream(self, verb: str, request: Any) -> AsyncGenerator[Any]:
        """The events of the adapter's method `verb`. Closing the generator cancels the call in the child."""
        call, queue = await self._open("stream", verb, request)
        over = False
        try:
            while True:
                frame = await queue.get()
                if frame.operation == "event":
                    yield protocol.item(frame.name, frame.body)
                    continue
                over = True
                if frame.operation == "error":
                    raise protocol.error(frame)
                return
        finally:
            del self._calls[call]
            if not over:
                self._post(Frame(call, "cancel"))

    async def stop(self) -> None:
        """Ends the process and waits until it is gone. Calls in progress end in `Interrupted`."""
        if self._process.returncode is None:
            self._process.kill()  # it keeps nothing that must be saved
        await self._process.wait()
        if hasattr(self, "_watching"):
            self._watching.cancel()
        if hasattr(self, "_reading"):
            await self._reading
            self._writer.close()
        else:
            self._link.close()

    async def _open(self, operation: protocol.Operation, verb: str, request: Any) -> tuple[int, asyncio.Queue[Frame]]:
        if not self._alive:
            raise self._death()
        call = next(self._ids)
        queue = self._calls[call] = asyncio.Queue()
        try:
            await self._send(Frame(call, operation, verb, (type(request).__name__, request)))
        except asyncio.CancelledError:  # waiting for room; the child gets the whole frame all the same
            del self._calls[call]
            self._post(Frame(call, "cancel"))
            raise
        return call, queue

    async def _send(self, frame: Frame) -> None:
        self._post(frame)
        with suppress(ConnectionError):  # the reader has told, or will tell, everyone
            await self._writer.drain()

    def _post(self, frame: Frame) -> None:
        """Sends what is small without waiting for room: a child that hangs must not hold up who gives up on it."""
        if self._alive:
            self._writer.write(protocol.encode(frame))

    async def _watch(self) -> None:
        """Kills a child that has stopped answering: its calls end in `Interrupted`, and the model is loaded anew."""
        while self._alive:
            self._heard = False
            self._post(Frame(0, "ping"))
            await asyncio.sleep(HEARTBEAT_S)
            if not self._heard and self._alive:
                log.error("the process of model %s has not answered for %g s and is killed", self._name, HEARTBEAT_S)
                self._process.kill()
                return

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (frame := await protocol.read(reader)) is not None:
                self._heard = True
                if queue := self._calls.get(frame.call):  # none: the caller has gone
                    queue.put_nowait(frame)
        except (msgspec.DecodeError, OSError) as error:
            log.error("the process of model %s speaks nonsense and is killed: %s", self._name, error)
            self._process.kill()
        finally:
            self._alive = False
            for call, queue in self._calls.items():
                queue.put_nowait(protocol.error_frame(call, self._death()))

    def _death(self) -> Interrupted:
        return Interrupted(
            f"The process of model {self._name!r} has ended; the model is loaded anew on the next request."
        )


class _Remote(Adapter):
    """What the proxies of all kinds share: an adapter whose model lives in a child."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        return cls(await Worker.start(model, report))

    async def unload(self) -> None:
        await self.worker.stop()

    @property
    def alive(self) -> bool:
        return self.worker.alive

    def memory_bytes(self) -> int | None:
        return held_bytes(self.worker.pid)


class RemoteText(_Remote, TextAdapter):
    """A language model in a child process."""

    @property
    def supports_images(self) -> bool:
        """Whether image parts are understood."""
        return bool(self.worker.facts.get("supports_images"))

    def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """See `TextAdapter.generate`."""
        del outlet
        return self.worker.stream("generate", request)

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """See `TextAdapter.judge`."""
        return await self.worker.call("judge", request)


class RemoteEmbedding(_Remote, EmbeddingAdapter):
    """An embedding model in a child process."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """See `EmbeddingAdapter.embed`."""
        return await self.worker.call("embed", request)


class RemoteSpeech(_Remote, SpeechAdapter):
    """A speech model in a child process."""

    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """See `SpeechAdapter.transcribe`."""
        return self.worker.stream("transcribe", request)

    async def detect_language(self, audio: Media) -> LanguageDetection:
        """See `SpeechAdapter.detect_language`."""
        return await self.worker.call("detect_language", audio)


class RemoteVoice(_Remote, VoiceAdapter):
    """A voice in a child process."""

    def speak(self, request: SynthesisRequest) -> AsyncGenerator[VoiceEvent]:
        """See `VoiceAdapter.speak`."""
        return self.worker.stream("speak", request)


class RemoteImage(_Remote, ImageAdapter):
    """An image model in a child process."""

    def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """See `ImageAdapter.generate`."""
        return self.worker.stream("generate", request)


class RemoteVideo(_Remote, VideoAdapter):
    """A video model in a child process."""

    def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """See `VideoAdapter.generate`."""
        return self.worker.stream("generate", request)


PROXIES: dict[Kind, type[_Remote]] = {
    "text": RemoteText,
    "vision": RemoteText,
    "embedding": RemoteEmbedding,
    "speech": RemoteSpeech,
    "voice": RemoteVoice,
    "image": RemoteImage,
    "video": RemoteVideo,
}
"""Who stands in for a model of each kind that lives in a child."""
