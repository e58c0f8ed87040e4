"""The fake adapters, one of every kind."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Self

from adapters.base import (
    Adapter,
    EmbeddingAdapter,
    EmbeddingRequest,
    EmbeddingResult,
    ImageAdapter,
    ImageEvent,
    ImagePart,
    ImageRequest,
    JudgeRequest,
    JudgeResult,
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
    Usage,
    VideoAdapter,
    VideoEvent,
    VideoRequest,
    VoiceAdapter,
    VoiceEvent,
)
from adapters.errors import (
    ContextLengthExceeded,
    GenerationFailed,
    ModelLoadFailed,
    UnsupportedOption,
    context_exceeded,
)
from adapters.fake.audio import PITCHES, speech_events, voice_events, wav_seconds
from adapters.fake.images import image_events, video_events
from adapters.fake.script import DIRECTIVE
from adapters.fake.text import (
    WIDTH,
    embedding,
    judgement,
    part_bytes,
    prompt_text,
    skip_written,
    text_events,
    with_usage,
)

CONTEXT = 4096
"""Maximum words of prompt and output together."""
MAX_CHARACTERS = 64 * CONTEXT
"""Of a prompt, whatever its words: a long one is refused before it is counted."""
VOCABULARY = 100_000
"""Number of token ids that the fake embedding model accepts."""


class FakeOptions(Adapter.Options):
    """The script for all requests of one fake model."""

    delay_ms: int = 0
    """Before each event."""
    fail_after: int | None = None
    """Raise `GenerationFailed` after this many events."""
    load_delay_ms: int = 0
    fail_load: bool = False
    can_sleep: bool = False
    supports_images: bool = True
    """For text models: whether they accept images."""
    max_images: int = 32
    """For text models: maximum images of a request."""


class _Fake(Adapter):
    """Loading and scripting, shared by all fakes."""

    Options = FakeOptions

    def __init__(self, options: FakeOptions) -> None:
        self._options = options
        self.loaded = True
        self.running = 0
        """Number of running calls, for tests of cancelling."""

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        options = FakeOptions.of(model)
        await asyncio.sleep(options.load_delay_ms / 1000)
        if options.fail_load:
            raise ModelLoadFailed(f"The model {model.name!r} was told to fail.")
        return cls(options)

    async def unload(self) -> None:
        self.loaded = False

    async def sleep(self) -> bool:
        self.loaded = not self._options.can_sleep
        return self._options.can_sleep

    async def wake(self) -> None:
        self.loaded = True

    async def _pace(self, events: Iterator[Any], script: str = "") -> AsyncGenerator[Any]:
        """The events, with scripted delays and failures."""
        directives = {name: int(value) for name, value in DIRECTIVE.findall(script)}
        delay_s = directives.get("delay_ms", self._options.delay_ms) / 1000
        left = directives.get("fail_after", self._options.fail_after)
        if not self.loaded:
            raise GenerationFailed("The model is not loaded.")
        self.running += 1
        try:
            for event in events:
                if left == 0:
                    raise GenerationFailed("The model was told to fail.")
                left = None if left is None else left - 1
                await asyncio.sleep(delay_s)
                yield event
        finally:
            self.running -= 1


class FakeText(_Fake, TextAdapter):
    """Echoes the last message word by word, calls tools if scripted, and judges by a hash of the question."""

    @property
    def supports_images(self) -> bool:
        """As its options say."""
        return self._options.supports_images

    def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """See `TextAdapter.generate`."""
        prompt = prompt_text(request)
        prompt_tokens = len(prompt[:MAX_CHARACTERS].split())
        if prompt_tokens >= CONTEXT or len(prompt) > MAX_CHARACTERS:
            param = "messages" if request.messages else "prompt"
            raise ContextLengthExceeded(context_exceeded(CONTEXT, prompt_tokens, param), param=param)
        left = CONTEXT - prompt_tokens
        wanted = left if request.max_tokens is None else min(request.max_tokens, left)
        parts = [part for message in request.messages for part in message.content]
        if not self.supports_images and any(isinstance(part, ImagePart) and not part.earlier for part in parts):
            raise UnsupportedOption("This model does not support images. Send text only.", param="messages")
        events = self._pace(text_events(request, prompt, prompt_tokens, wanted), prompt)
        if request.continuous_usage:
            return with_usage(events, prompt_tokens)
        return skip_written(outlet, events, request)

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """Probabilities from a hash of content and question: arbitrary, but the same every time."""
        images = sum(isinstance(part, ImagePart) for part in request.content)
        if not self.supports_images and images:
            raise UnsupportedOption("This model does not support images. Send text only.", param="input")
        content = b"".join(part_bytes(part) for part in request.content)
        words = len(content[:MAX_CHARACTERS].split()) if not images else 0
        if images > self._options.max_images or words > CONTEXT:
            raise ContextLengthExceeded(
                f"This model takes at most {self._options.max_images} images and {CONTEXT} words.", param="input"
            )
        judgements = [
            judgement(b"".join((content, q.text.encode(), *map(part_bytes, q.content))), q) for q in request.questions
        ]
        return JudgeResult(tuple(judgements), Usage(len(content.split()), len(judgements)), 0.0)


class FakeEmbedding(_Fake, EmbeddingAdapter):
    """Adds up a vector per word, so texts that share words are similar."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """See `EmbeddingAdapter.embed`. Supports any dimensions up to `WIDTH`."""
        if not 1 <= (request.dimensions or WIDTH) <= WIDTH:
            raise UnsupportedOption(f"dimensions must be between 1 and {WIDTH}.", param="dimensions")
        read = [one.split() if isinstance(one, str) else one for one in request.inputs]
        for index, words in enumerate(read):
            if len(words) > CONTEXT and request.truncate == "none":
                raise ContextLengthExceeded(
                    f"This model reads at most {CONTEXT} tokens at once; input {index} has {len(words)}.",
                    param="input",
                )
            if wrong := [word for word in words if isinstance(word, int) and not 0 <= word < VOCABULARY]:
                raise UnsupportedOption(
                    f"The token id {wrong[0]} must be between 0 and {VOCABULARY - 1}.", param="input"
                )
        script = next((one for one in request.inputs if isinstance(one, str)), "")
        vectors = (embedding(words, request.dimensions or WIDTH) for words in read)
        made = tuple([vector async for vector in self._pace(iter(vectors), script)])
        return EmbeddingResult(made, Usage(sum(map(len, read))), 1.0)


class FakeSpeech(_Fake, SpeechAdapter):
    """Transcribes any WAV file to one word per second: "one two three ..."."""

    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """See `SpeechAdapter.transcribe`."""
        return self._pace(speech_events(request), request.prompt)

    async def detect_language(self, audio: Media) -> LanguageDetection:
        """Always English."""
        wav_seconds(audio)
        return LanguageDetection("en", 0.75, (("en", 0.75), ("de", 0.25)))


class FakeVoice(_Fake, VoiceAdapter):
    """Generates a tone of a quarter of a second per word, at the voice's pitch."""

    def speak(self, request: SynthesisRequest) -> AsyncGenerator[VoiceEvent]:
        """See `VoiceAdapter.speak`."""
        if request.voice not in (None, *PITCHES):
            raise UnsupportedOption(
                f"There is no voice {request.voice!r:.64}. Available: {', '.join(PITCHES)}.", param="voice"
            )
        return self._pace(voice_events(request), request.text)


class FakeImage(_Fake, ImageAdapter):
    """Generates PNG images of one colour, which depends on the prompt, the seed and the input images."""

    def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """See `ImageAdapter.generate`."""
        for param, given in (
            ("output_format", request.media_type != "image/png"),
            ("output_compression", request.quality is not None),
            ("scheduler", bool(request.scheduler)),
            ("lora", bool(request.loras)),
            ("refiner", bool(request.refiner_steps)),
            ("true_cfg_scale", request.true_cfg_scale is not None),
        ):
            if given:
                raise UnsupportedOption(
                    f"The fake image model does not support {param} here: leave it out.", param=param
                )
        return self._pace(image_events(request), request.prompt)


class FakeVideo(_Fake, VideoAdapter):
    """Generates a still video of one colour, with the request as a comment in the file."""

    def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """See `VideoAdapter.generate`."""
        return self._pace(video_events(request), request.prompt)
