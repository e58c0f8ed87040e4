"""Speech on faster-whisper: writes it down, names its language. Uploads are decoded in `adapters/media/sounds.py`."""

import logging
import math
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from adapters.base import (
    Adapter,
    LanguageDetection,
    LoadProgress,
    Media,
    ModelFiles,
    Report,
    Segment,
    SpeechAdapter,
    SpeechEvent,
    TranscriptionDone,
    TranscriptionInfo,
    TranscriptionRequest,
    Word,
)
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed, OutOfMemory, UnsupportedOption
from adapters.media.sounds import SAMPLE_RATE, decode_audio
from adapters.threads import Emit, ModelThread

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

logger = logging.getLogger(__name__)

FILES = ("config.json", "model.bin", "tokenizer.json")
"""Without these, faster-whisper would fail late, or look for them on a model hub."""

DETECTION_S = 30.0
"""Whisper hears half a minute at a time; the first is enough to know a language."""


class WhisperSpeech(SpeechAdapter):
    """A Whisper model in CTranslate2's format. One request runs at a time, in the model's own thread."""

    class Options(Adapter.Options):
        """What the operator may set."""

        device: Literal["auto", "cpu", "cuda"] = "auto"
        """"auto": a GPU where CTranslate2 sees one."""
        compute_type: Literal[
            "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
        ] = "auto"
        """Of the weights in memory; "auto": the fastest that the device can do."""
        cpu_threads: int = Field(default=0, ge=0, le=256)
        """0: what OMP_NUM_THREADS says, else four at most."""
        max_audio_s: float = Field(default=7200.0, gt=0, le=86_400)
        """Longer sounds are refused. An hour takes 230 MB while it is transcribed."""
        decode_timeout_s: float = Field(default=120.0, gt=0)
        """Wall clock for decoding one upload, before the model hears it."""

    def __init__(self, whisper: "WhisperModel", options: Options) -> None:
        """Use `load`."""
        self._whisper: Any = whisper
        self._options = options
        self._thread = ModelThread[SpeechEvent]("speech")
        self._closing = Event()

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """The model, in memory and ready.

        Raises:
            ModelLoadFailed: Files are missing or broken, or the device cannot do what the options ask.
            OutOfMemory: It does not fit.
        """
        options = cls.Options.model_validate(dict(model.options))
        if missing := _missing(Path(model.path)):
            raise ModelLoadFailed(f"The speech model '{model.name}' lacks {', '.join(missing)}.")
        report(LoadProgress("loading weights"))
        thread = ModelThread[Any]("speech-load")
        try:
            return cls(await thread.run(partial(_load, model.path, options)), options)
        finally:
            thread.close()

    async def unload(self) -> None:
        """Gives the memory back. A transcription in progress ends in `Interrupted` at its next segment."""
        if not self._closing.is_set():
            self._closing.set()
            await self._thread.run(self._release)
            self._thread.close()

    @property
    def alive(self) -> bool:
        """False once unloaded."""
        return not self._closing.is_set()

    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """As `SpeechAdapter.transcribe`; a cancel is noticed between two segments."""
        self._check_open()
        return self._thread.stream(partial(self._transcribe, request))

    async def detect_language(self, audio: Media) -> LanguageDetection:
        """As `SpeechAdapter.detect_language`."""
        self._check_open()
        return await self._thread.run(partial(self._detect, audio))

    def _transcribe(self, request: TranscriptionRequest, emit: Emit[SpeechEvent]) -> None:
        started = time.perf_counter()
        self._check_open()
        self._check(request)
        sound = self._decode(request.audio)
        with _translated():
            segments, info = self._whisper.transcribe(
                sound,
                language=request.language,
                task=request.task,
                initial_prompt=request.prompt or None,
                hotwords=", ".join(request.hotwords) or None,
                beam_size=request.beam_size,
                temperature=list(request.temperature),
                word_timestamps=request.word_timestamps,
                vad_filter=request.vad_filter,
            )
            emit(TranscriptionInfo(info.language, float(info.language_probability), len(sound) / SAMPLE_RATE))
            for number, segment in enumerate(segments):
                self._check_open()
                emit(_segment(number, segment))
        emit(TranscriptionDone((time.perf_counter() - started) * 1000))

    def _detect(self, audio: Media) -> LanguageDetection:
        self._check_open()
        sound = self._decode(audio, first_s=DETECTION_S)
        with _translated():
            if not self._whisper.model.is_multilingual:
                return LanguageDetection("en", 1.0, (("en", 1.0),))
            language, probability, candidates = self._whisper.detect_language(sound)
        ranked = sorted(((code, float(p)) for code, p in candidates), key=lambda candidate: -candidate[1])
        return LanguageDetection(language, float(probability), tuple(ranked))

    def _check(self, request: TranscriptionRequest) -> None:
        languages = self._whisper.supported_languages
        if request.language is not None and request.language not in languages:
            raise UnsupportedOption(
                f"This model does not know the language '{request.language}'. Send an ISO 639-1 code such as 'en'.",
                param="language",
            )
        if request.task == "translate" and not self._whisper.model.is_multilingual:
            raise UnsupportedOption("This model knows English only, so it cannot translate.", param="task")
        if request.beam_size < 1:
            raise UnsupportedOption("beam_size must be at least 1.", param="beam_size")
        if not request.temperature or not all(math.isfinite(t) and 0 <= t <= 2 for t in request.temperature):
            raise UnsupportedOption("temperature must be between 0 and 2.", param="temperature")

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise Interrupted("The model was unloaded.")

    def _decode(self, audio: Media, *, first_s: float | None = None) -> Any:
        return decode_audio(
            audio,
            max_seconds=first_s or self._options.max_audio_s,
            deadline_s=self._options.decode_timeout_s,
            cut=first_s is not None,
        )

    def _release(self) -> None:
        self._whisper.model.unload_model()
        self._whisper = None


def _missing(directory: Path) -> list[str]:
    missing = [name for name in FILES if not (directory / name).is_file()]
    return missing if any(directory.glob("vocabulary.*")) else [*missing, "a vocabulary"]


def _load(path: str, options: WhisperSpeech.Options) -> "WhisperModel":
    with _translated(loading=True):
        from faster_whisper import WhisperModel

        return WhisperModel(
            path,
            device=options.device,
            compute_type=options.compute_type,
            cpu_threads=options.cpu_threads,
            local_files_only=True,
        )


def _segment(number: int, segment: Any) -> Segment:
    """faster-whisper's segment (numpy scalars, counted from 1) as ours."""
    return Segment(
        id=number,
        start=float(segment.start),
        end=float(segment.end),
        text=segment.text,
        tokens=tuple(int(token) for token in segment.tokens),
        temperature=float(segment.temperature or 0.0),
        avg_logprob=float(segment.avg_logprob),
        compression_ratio=float(segment.compression_ratio),
        no_speech_prob=float(segment.no_speech_prob),
        words=tuple(
            Word(float(word.start), float(word.end), word.word, float(word.probability)) for word in segment.words or ()
        ),
    )


@contextmanager
def _translated(*, loading: bool = False) -> Iterator[None]:
    """Exceptions of faster-whisper and CTranslate2 (mostly RuntimeError) as ours."""
    try:
        yield
    except AdapterError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            raise OutOfMemory("The speech model ran out of memory.") from error
        logger.exception("faster-whisper failed")
        if loading:
            raise ModelLoadFailed("The speech model's files are broken, or its device cannot do this.") from error
        raise GenerationFailed("The speech model failed on this sound.") from error
