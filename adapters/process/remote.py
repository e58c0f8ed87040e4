"""Adapters of all kinds whose models run in child processes: each verb becomes a call of `client.Worker`."""

from collections.abc import AsyncGenerator
from typing import Self

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
from adapters.process.client import Worker
from adapters.process.memory_usage import used_bytes


class _Remote(Adapter):
    """What all kinds share: an adapter whose model runs in a child process."""

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
        return used_bytes(self.worker.pid, self.worker.devices)


class RemoteText(_Remote, TextAdapter):
    """A language model in a child process."""

    @property
    def supports_images(self) -> bool:
        """Whether messages may hold images."""
        return bool(self.worker.properties.get("supports_images"))

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
"""By kind, the adapter for a model that runs in a child process."""
