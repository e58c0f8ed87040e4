"""A deterministic, instant fake of every kind: for tests, for trying clients, and as the smallest example of a backend.

It answers from its input alone, so equal requests give equal replies. Delays, failures and tool calls are scripted in
two ways: for all requests by `Options`, and for one by directives in its prompt: `[delay_ms=50]` between events,
`[fail_after=3]` events, `[tokens=200]` of text, `[call=NAME {"x": 1}]`, `[think=what comes before the answer]`;
in a question, `[answer=OPTION]` for nine tenths of the probability, and `[mute]` for a model that will not answer.
"""

import asyncio
import hashlib
import io
import math
import re
import struct
import wave
import zlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self, TypeGuard

from adapters.base import (
    Adapter,
    EmbeddingAdapter,
    EmbeddingRequest,
    EmbeddingResult,
    GeneratedImage,
    GeneratedVideo,
    ImageAdapter,
    ImageDone,
    ImageEvent,
    ImagePart,
    ImageRequest,
    Judgement,
    JudgeRequest,
    JudgeResult,
    LanguageDetection,
    Likelihood,
    Media,
    ModelFiles,
    Outlet,
    Part,
    PartialImage,
    Question,
    Report,
    Segment,
    SpeechAdapter,
    SpeechEvent,
    SpokenPiece,
    Step,
    SynthesisDone,
    SynthesisRequest,
    TextAdapter,
    TextDelta,
    TextDone,
    TextEvent,
    TextPart,
    TextRequest,
    TokenLogprob,
    ToolCall,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    Usage,
    VideoAdapter,
    VideoEvent,
    VideoRequest,
    VoiceAdapter,
    VoiceEvent,
    Word,
)
from adapters.errors import ContextLengthExceeded, GenerationFailed, InvalidMedia, ModelLoadFailed, UnsupportedOption
from adapters.fake_film import still_mp4

CONTEXT = 4096
"""Words that the fake language model can read and write together."""
WIDTH = 64
"""Numbers in a fake embedding."""
VOCABULARY = 100_000
"""Token ids that the fake embedding model knows."""
PITCHES = {"alloy": 440, "echo": 330, "nova": 550}
"""The fake's voices, in Hz."""
DIRECTIVE = re.compile(r"\[(delay_ms|fail_after|tokens|sound_ms)=(\d{1,7})\]")
THINK = re.compile(r"\[think=([^\]]{1,1000})\]")
ANSWER = re.compile(r"\[answer=([^\]]{1,100})\]")
CALL = re.compile(r"\[call=([\w-]+) (\{.*?\})\]")


class FakeOptions(Adapter.Options):
    """The script for all requests of one fake model."""

    delay_ms: int = 0
    """Before each event."""
    fail_after: int | None = None
    """Raise `GenerationFailed` after so many events."""
    load_delay_ms: int = 0
    fail_load: bool = False
    can_sleep: bool = False
    sees: bool = True
    """Of a language model: whether it takes images."""
    max_images: int = 32
    """Of a language model: in one request."""


class _Fake(Adapter):
    """What all fakes share: loading, and a script."""

    Options = FakeOptions

    def __init__(self, options: FakeOptions) -> None:
        self._options = options
        self.loaded = True
        self.running = 0
        """Calls in progress, for tests of cancelling."""

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        options = FakeOptions.model_validate(model.options)
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
        """The events, delayed and broken off as scripted."""
        said = {name: int(value) for name, value in DIRECTIVE.findall(script)}
        delay_s = said.get("delay_ms", self._options.delay_ms) / 1000
        left = said.get("fail_after", self._options.fail_after)
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
    """Echoes the last message word by word, calls tools when told to, and judges by the words of the question."""

    @property
    def sees(self) -> bool:
        """As its options say."""
        return self._options.sees

    def generate(self, request: TextRequest, outlet: Outlet | None = None) -> AsyncGenerator[TextEvent]:
        """See `TextAdapter.generate`."""
        said = _text_of(request)
        prompt_tokens = len(said.split())
        wanted = min(request.max_tokens or CONTEXT, CONTEXT)
        if prompt_tokens > CONTEXT or (request.max_tokens or 0) > CONTEXT:
            raise ContextLengthExceeded(
                f"This model's context is {CONTEXT} tokens; the prompt has {prompt_tokens} and asks for "
                f"{request.max_tokens or 0} more.",
                param="messages" if request.messages else "prompt",
            )
        if not self.sees and any(isinstance(p, ImagePart) for m in request.messages for p in m.content):
            raise UnsupportedOption("This model cannot see images.", param="messages")
        return _past(outlet, self._pace(_text_events(request, said, prompt_tokens, wanted), said), request)

    async def judge(self, request: JudgeRequest) -> JudgeResult:
        """Probabilities from a hash of content and question: arbitrary, but the same every time."""
        images = sum(isinstance(part, ImagePart) for part in request.content)
        if not self.sees and images:
            raise UnsupportedOption("This model cannot see images.", param="input")
        content = b"".join(_shown(part) for part in request.content)
        words = len(content.split()) if not images else 0
        if images > self._options.max_images or words > CONTEXT:
            raise ContextLengthExceeded(
                f"This model takes at most {self._options.max_images} images and {CONTEXT} words.", param="input"
            )
        judgements = [
            _judgement(b"".join((content, q.text.encode(), *map(_shown, q.content))), q) for q in request.questions
        ]
        return JudgeResult(tuple(judgements), Usage(len(content.split()), len(judgements)), 0.0)


class FakeEmbedding(_Fake, EmbeddingAdapter):
    """Adds up a direction for each word, so texts that share words are near each other."""

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """See `EmbeddingAdapter.embed`. It can give any dimensions up to `WIDTH`."""
        if not 1 <= (request.dimensions or WIDTH) <= WIDTH:
            raise UnsupportedOption(f"The fake's vectors have 1 to {WIDTH} dimensions.", param="dimensions")
        read = [one.split() if isinstance(one, str) else one for one in request.inputs]
        for index, words in enumerate(read):
            if len(words) > CONTEXT:
                raise ContextLengthExceeded(
                    f"This model reads at most {CONTEXT} tokens at once; input {index} has {len(words)}.",
                    param="input",
                )
            if wrong := [word for word in words if isinstance(word, int) and not 0 <= word < VOCABULARY]:
                raise UnsupportedOption(f"The token id {wrong[0]} is not below {VOCABULARY}.", param="input")
        script = next((one for one in request.inputs if isinstance(one, str)), "")
        vectors = (_direction(words, request.dimensions or WIDTH) for words in read)
        made = tuple([vector async for vector in self._pace(iter(vectors), script)])
        return EmbeddingResult(made, Usage(sum(map(len, read))), 1.0)


class FakeSpeech(_Fake, SpeechAdapter):
    """Hears one word a second in any WAV file: "one two three ..."."""

    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """See `SpeechAdapter.transcribe`."""
        return self._pace(_speech_events(request), request.prompt)

    async def detect_language(self, audio: Media) -> LanguageDetection:
        """English, always."""
        _wav_seconds(audio)
        return LanguageDetection("en", 0.75, (("en", 0.75), ("de", 0.25)))


class FakeVoice(_Fake, VoiceAdapter):
    """Hums: a quarter of a second for each word, at a pitch that is the voice's."""

    def speak(self, request: SynthesisRequest) -> AsyncGenerator[VoiceEvent]:
        """See `VoiceAdapter.speak`."""
        if request.voice not in (None, *PITCHES):
            raise UnsupportedOption(f"The fake has the voices {', '.join(PITCHES)}.", param="voice")
        return self._pace(_voice_events(request), request.text)


class FakeImage(_Fake, ImageAdapter):
    """Draws one flat colour, chosen by prompt and seed, or by the picture that it is to draw anew; PNG only."""

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
                raise UnsupportedOption(f"The fake has no {param}.", param=param)
        return self._pace(_image_events(request), request.prompt)


class FakeVideo(_Fake, VideoAdapter):
    """Films a still of one colour, with the request as a comment in the file."""

    def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """See `VideoAdapter.generate`."""
        return self._pace(_video_events(request), request.prompt)


def _text_of(request: TextRequest) -> str:
    if not request.messages:
        return request.prompt if isinstance(request.prompt, str) else " ".join(map(str, request.prompt or ()))
    return " ".join(part.text for part in request.messages[-1].content if isinstance(part, TextPart))


async def _past(
    outlet: Outlet | None, events: AsyncGenerator[TextEvent], request: TextRequest
) -> AsyncGenerator[TextEvent]:
    """The events, less the pieces of plain text that could leave by the outlet."""
    first = True
    async with aclosing(events):
        async for event in events:
            if not first and request.n == 1 and outlet is not None and _is_text(event) and outlet.write(event.text):
                continue
            first = False
            yield event


def _is_text(event: TextEvent) -> TypeGuard[TextDelta]:
    return isinstance(event, TextDelta) and event == TextDelta(event.text)


def _text_events(request: TextRequest, said: str, prompt_tokens: int, wanted: int) -> Iterator[TextEvent]:
    script: Mapping[str, str] = dict(DIRECTIVE.findall(said))
    calls = CALL.findall(said) if request.tools and request.tool_choice != "none" else []
    calls = calls if request.parallel_tool_calls else calls[:1]
    if "tokens" in script:
        words = [f" word{i}" for i in range(min(int(script["tokens"]), wanted + 1))]
    else:
        words = re.findall(r"\s*\S+", said.rstrip())  # blanks at the end would be searched again from each of them
    text, reason = "".join(words[:wanted]), "length" if len(words) > wanted else "stop"
    cut = min((at for stop in request.stop if (at := text.find(stop)) >= 0), default=None)
    pieces = re.findall(r"\s*\S+", (text if cut is None else text[:cut]).rstrip())  # blanks at the end: quadratic
    thought = THINK.search(said) if request.reasoning_effort != "none" else None
    thoughts = re.findall(r"\s*\S+", thought[1]) if thought else []
    for index in range(request.n):
        for piece in thoughts:
            yield TextDelta(index=index, reasoning=piece)
        for at, (name, arguments) in enumerate(calls):
            half = len(arguments) // 2
            yield TextDelta(index=index, tool_calls=(ToolCall(f"call_{index}_{at}", name, "", at),))
            yield TextDelta(index=index, tool_calls=(ToolCall("", "", arguments[:half], at),))
            yield TextDelta(index=index, tool_calls=(ToolCall("", "", arguments[half:], at),))
        if calls:
            yield TextDelta(index=index, finish_reason="tool_calls")
            continue
        if request.echo:
            yield TextDelta(said, index, logprobs=_likelihoods(said, request.logprobs))
        for piece in pieces:
            yield TextDelta(piece, index, logprobs=_likelihoods(piece, request.logprobs))
        yield TextDelta("", index, finish_reason="length" if reason == "length" and cut is None else "stop")
    written, thinking = len(pieces) * request.n, len(thoughts) * request.n
    yield TextDone(Usage(prompt_tokens, written + thinking, reasoning_tokens=thinking), 1.0)


def _likelihoods(piece: str, wanted: int | None) -> tuple[TokenLogprob, ...]:
    """One token, half as likely as can be; and so many others, each half as likely as the one before."""
    if wanted is None:
        return ()
    likely = [Likelihood(piece + "'" * n, (piece + "'" * n).encode(), -math.log(2) * (n + 1)) for n in range(wanted)]
    return (TokenLogprob(Likelihood(piece, piece.encode(), -math.log(2)), tuple(likely)),)


def _shown(part: Part) -> bytes:
    if isinstance(part, TextPart):
        return part.text.encode()
    return Path(part.image.path).read_bytes() if part.image.path else part.image.data


def _judgement(content: bytes, question: Question) -> Judgement:
    mass = 0.001 if "[mute]" in question.text else 0.9
    count, said = len(question.options), ANSWER.search(question.text)
    if said and said[1] in question.options:
        chances = [0.9 if option == said[1] else 0.1 / (count - 1) for option in question.options]
        return Judgement(tuple(chances), mass)
    weights = [byte + 1 for byte in hashlib.sha512(content).digest()]
    chosen = [weights[index % len(weights)] for index in range(count)]
    return Judgement(tuple(weight / sum(chosen) for weight in chosen), mass)


def _direction(words: Sequence[str | int], dimensions: int) -> bytes:
    """float32 [dimensions], little-endian, of length one; each word's is drawn from its hash."""
    total = [1e-3] * WIDTH  # no word at all has a direction, too
    for word in words:
        total = [a + b - 127.5 for a, b in zip(total, hashlib.sha512(str(word).encode()).digest(), strict=True)]
    length = math.hypot(*total[:dimensions])
    return struct.pack(f"<{dimensions}f", *(number / length for number in total[:dimensions]))


NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _wav_seconds(audio: Media) -> float:
    try:
        with wave.open(audio.path or io.BytesIO(audio.data)) as sound:
            return sound.getnframes() / sound.getframerate()
    except (wave.Error, EOFError, ZeroDivisionError):
        raise InvalidMedia("The fake hears WAV only, and this is none.", param="file") from None


def _speech_events(request: TranscriptionRequest) -> Iterator[SpeechEvent]:
    seconds = _wav_seconds(request.audio)
    heard = request.language or next(iter(request.languages), "en")
    yield TranscriptionInfo(heard, 1.0 if request.language else 0.75, seconds)
    count = int(seconds)
    for index, start in enumerate(range(0, count, 5)):
        words = tuple(
            Word(float(at), at + 0.9, f" {NUMBERS[at % 10]}", 0.9) for at in range(start, min(start + 5, count))
        )
        yield Segment(
            id=index,
            start=words[0].start,
            end=words[-1].end,
            text="".join(word.text for word in words),
            tokens=tuple(range(len(words))),
            temperature=request.temperature[0],
            avg_logprob=-0.1,
            compression_ratio=1.0,
            no_speech_prob=0.01,
            words=words if request.word_timestamps else (),
            logprobs=tuple(Likelihood(word.text, word.text.encode(), -0.1) for word in words if request.logprobs),
        )
    yield TranscriptionDone(1.0)


def _voice_events(request: SynthesisRequest) -> Iterator[VoiceEvent]:
    import numpy as np

    from adapters.media.recordings import SAMPLE_RATE, Recording

    words = DIRECTIVE.sub("", request.text).split()
    length = round(SAMPLE_RATE / 4 / request.speed)
    recording = Recording(request.media_type, samples=length * len(words))
    for number in range(len(words)):
        times = np.arange(number * length, (number + 1) * length) / SAMPLE_RATE
        pitch = PITCHES[request.voice or "alloy"]
        yield SpokenPiece(recording.add((0.3 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)))
    yield SpokenPiece(recording.close())
    yield SynthesisDone(recording.duration_s, 1.0, Usage(len(words), len(words)))


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour, written without any library (ISO/IEC 15948)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + bytes(colour) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _colour(text: str) -> tuple[int, int, int]:
    red, green, blue = hashlib.sha256(text.encode()).digest()[:3]
    return red, green, blue


def _size(request: ImageRequest) -> tuple[int, int]:
    """What is drawn; checks the source and the mask as real models do."""
    from adapters.media.images import open_image

    sizes = [
        open_image(media, param=param).size
        for param, media in (("image", request.source), ("mask", request.mask))
        if media is not None
    ]
    if len(set(sizes)) > 1:
        raise InvalidMedia("The mask has another size than the picture.", param="mask")
    if request.width is None or request.height is None:
        if not sizes:
            raise UnsupportedOption("There is no picture whose size could be taken.", param="size")
        return sizes[0]
    return request.width, request.height


def _image_events(request: ImageRequest) -> Iterator[ImageEvent]:
    (width, height), first, steps = _size(request), request.seed or 0, request.num_inference_steps or 1
    seen = b"/".join(
        Path(media.path).read_bytes() if media.path else media.data
        for media in (request.source, request.mask)
        if media is not None
    ).hex()

    def picture(index: int, *more: object) -> Media:
        said = "/".join(map(str, (request.prompt, first + index, *more))) + seen
        return Media("image/png", png(width, height, _colour(said)))

    for step in range(steps):
        yield Step(step + 1, steps)
        for index in range(request.n if step < request.partial_images else 0):
            yield PartialImage(index, step, picture(index, step))
    for index in range(request.n):
        yield GeneratedImage(index, picture(index), first + index, width, height)
    yield ImageDone(1.0)


def _video_events(request: VideoRequest) -> Iterator[VideoEvent]:
    for step in range(request.num_inference_steps):
        yield Step(step + 1, request.num_inference_steps)
    comment = repr((request.prompt, request.seed, len(request.keyframes))).encode()
    if request.source is not None:
        with open(request.source.path, "rb") as source:
            comment += f" anew from {len(source.read())} bytes at {request.strength:g}".encode()
    thumbnail = png(request.width, request.height, _colour(request.prompt))
    data = still_mp4(thumbnail, request.width, request.height, request.num_frames, request.fps, comment)
    yield GeneratedVideo(
        Media("video/mp4", data),
        Media("image/png", thumbnail),
        request.seed or 0,
        request.width,
        request.height,
        request.num_frames,
        request.fps,
        1.0,
        _film_sound(request.prompt),
    )


def _film_sound(prompt: str) -> Media | None:
    """A tone as long as `[sound_ms=...]` in a prompt says."""
    script: Mapping[str, str] = dict(DIRECTIVE.findall(prompt))
    if "sound_ms" not in script:
        return None
    import numpy as np

    from adapters.media.tracks import wav

    times = np.arange(int(script["sound_ms"]) * 24) / 24_000
    tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    return Media("audio/wav", wav(np.stack([tone, tone]), 24_000))
