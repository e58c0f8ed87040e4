"""The adapter: transcription and language detection on faster-whisper."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
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
)
from adapters.engines.errors import translated
from adapters.engines.threads import Emit, ModelThread
from adapters.errors import Interrupted, ModelLoadFailed
from adapters.media.decode_audio import SAMPLE_RATE, decode_audio
from adapters.speech import vad_chunks
from adapters.speech.audio_budget import AudioBudget
from adapters.speech.batching import Batcher
from adapters.speech.cuda_libraries import preload_cublas
from adapters.speech.options import check, options
from adapters.speech.presence import Speech, find_speech
from adapters.speech.segments import converted, numbered, shifted, transcribe_spans, within
from adapters.speech.word_alignment import refined

if TYPE_CHECKING:
    from adapters.speech.batched_whisper import Session, Whisper

logger = logging.getLogger(__name__)

FILES = ("config.json", "model.bin", "tokenizer.json")
"""Required files: without them, faster-whisper would fail late, or look for them on a model hub."""

CPU_CHECK_S = 2.0
"""Seconds of silence that a CPU encodes at load."""
DETECTION_S = 30.0
"""Whisper's window; the first one is enough to detect the language."""
LATE_S = 5.0
"""If speech starts later than this, the language is detected from there."""


class WhisperSpeech(SpeechAdapter):
    """A Whisper model in CTranslate2's format. Windows of concurrent requests are batched."""

    class Options(Adapter.Options):
        """Options that the operator may set."""

        device: Literal["auto", "cpu", "cuda"] = "auto"
        """"auto": a GPU where CTranslate2 sees one."""
        compute_type: Literal[
            "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
        ] = "auto"
        """Of the weights in memory; "auto": float16 on a GPU, else the fastest that the CPU supports."""
        cpu_threads: int = Field(default=0, ge=0, le=256)
        """0: the value of OMP_NUM_THREADS, or else at most four."""
        max_audio_s: float = Field(default=7200.0, gt=0, le=86_400)
        """Maximum length of a request's audio. An hour takes 0.5 GB of memory (samples and spectrogram)."""
        decode_timeout_s: float = Field(default=120.0, gt=0)
        """Maximum wall clock seconds for decoding one upload."""
        short_window_s: float | None = Field(default=None, ge=5, le=30)
        """Clips that are 3 s shorter than this are padded to it instead of the 30 s of Whisper's training: faster, but
        words may occasionally differ (docs/speech.md). None: 15 on a CPU, 30 on a GPU."""
        max_batch: int = Field(default=16, ge=1, le=256)
        """Maximum number of concurrent requests, and of 30 s windows in a batch."""

    def __init__(self, whisper: "Whisper", options: Options) -> None:
        """Use `load`."""
        self._whisper = whisper
        self._options = options
        self._batcher = Batcher(max_batch=options.max_batch)
        self._budget = AudioBudget(options.max_audio_s * SAMPLE_RATE)
        self._threads = ModelThread[SpeechEvent]("speech", options.max_batch)
        self._chunks = ThreadPoolExecutor(options.max_batch, thread_name_prefix="speech-chunk")
        self._closing = Event()

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """Loads the model.

        Raises:
            ModelLoadFailed: Files are missing or damaged, or the device does not support the options.
            OutOfMemory: It does not fit.
        """
        options = cls.Options.of(model)
        if missing := _missing(Path(model.path)):
            raise ModelLoadFailed(f"The model {model.name} has no {', '.join(missing)}.")
        report(LoadProgress("loading weights"))
        thread = ModelThread[Any]("speech-load")
        try:
            return cls(await thread.run(partial(_load, model.path, options)), options)
        finally:
            thread.close()

    async def unload(self) -> None:
        """Frees the memory. Running transcriptions end with `Interrupted` at their next window."""
        if not self._closing.is_set():
            self._closing.set()
            self._threads.close()
            await asyncio.to_thread(self._release)

    @property
    def alive(self) -> bool:
        """False once unloaded."""
        return not self._closing.is_set()

    def transcribe(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        """See `SpeechAdapter.transcribe`. Cancelling takes effect at the next call to the network."""
        self._check_open()
        return self._stream(request)

    async def _stream(self, request: TranscriptionRequest) -> AsyncGenerator[SpeechEvent]:
        stop = Event()
        events = self._threads.stream(partial(self._transcribe, request, stop))
        try:
            async for event in events:
                yield event
        finally:
            stop.set()
            await events.aclose()

    async def detect_language(self, audio: Media) -> LanguageDetection:
        """See `SpeechAdapter.detect_language`."""
        self._check_open()
        return await self._threads.run(partial(self._detect, audio))

    def _transcribe(self, request: TranscriptionRequest, stop: Event, emit: Emit[SpeechEvent]) -> None:
        started = time.perf_counter()
        with self._open():
            check(request, self._whisper)
            with self._budget.reserve(partial(self._decode, request.audio)) as audio, translated("The speech model"):
                speech = find_speech(audio) if _asks_detector(request) else None
                if speech is None and _asks_detector(request):
                    language, probability, _ = self._unknown_language(request)
                    emit(TranscriptionInfo(language, probability, len(audio) / SAMPLE_RATE))
                elif request.chunked:
                    self._chunked(request, audio, stop, emit)
                else:
                    self._sequential(request, audio, speech, stop, emit)
        emit(TranscriptionDone((time.perf_counter() - started) * 1000))

    def _sequential(
        self, request: TranscriptionRequest, audio: Any, speech: Speech | None, stop: Event, emit: Emit[SpeechEvent]
    ) -> None:
        """Transcribes window by window, each with the previous text as context."""
        with self._batcher.active_request():
            session = self._session(stop, request.languages)
            detected: float | None = None
            if request.language is None and speech is not None and speech.start_s > LATE_S:
                head = audio[round(speech.start_s * SAMPLE_RATE) :][: round(DETECTION_S * SAMPLE_RATE)]
                language, detected, _ = self._languages(head, session)
                request = replace(request, language=language)
            found, info = self._whisper.with_session(session).transcribe(
                audio,
                **options(request),
                vad_filter=bool(request.vad_filter),
                vad_parameters=vad_chunks.options(request.voice) if request.vad_filter else None,
            )
            probability = float(info.language_probability) if detected is None else detected
            emit(TranscriptionInfo(info.language, probability, len(audio) / SAMPLE_RATE))
            segments = self._segments(request, session, found, audio)
            # Whisper invents text for windows without speech.
            for segment in numbered(one for one in segments if speech is None or speech.overlaps(one.start, one.end)):
                emit(segment)

    def _chunked(self, request: TranscriptionRequest, audio: Any, stop: Event, emit: Emit[SpeechEvent]) -> None:
        """Transcribes chunks independently and concurrently; emits their segments in order."""
        spans = vad_chunks.spans(audio, request.voice)
        head = audio[slice(*spans[0])] if spans else audio[: round(DETECTION_S * SAMPLE_RATE)]
        if request.language is None:
            language, probability, _ = self._languages(head, self._session(stop, request.languages))
            request = replace(request, language=language)
        else:
            language, probability = request.language, 1.0
        emit(TranscriptionInfo(language, probability, len(audio) / SAMPLE_RATE))

        def one(span: tuple[int, int]) -> list[Segment]:
            with self._batcher.active_request():
                session, chunk = self._session(stop, ()), audio[slice(*span)]
                found, _ = self._whisper.with_session(session).transcribe(
                    chunk, **options(request), condition_on_previous_text=False
                )
                return [
                    shifted(segment, span[0] / SAMPLE_RATE)
                    for segment in self._segments(request, session, found, chunk)
                ]

        for segment in numbered(transcribe_spans(self._chunks, one, spans, stop)):
            emit(segment)

    def _segments(
        self, request: TranscriptionRequest, session: "Session", found: Iterable[Any], audio: Any
    ) -> Iterator[Segment]:
        """faster-whisper's segments, converted, with the words and log probabilities that the request asks for."""
        from adapters.speech.batched_whisper import token_logprobs

        window, token, ended = -1, 0, 0.0
        for one in found:
            self._check_open()
            segment = converted(one)
            if request.logprobs:
                text = [number for number in segment.tokens if number < self._whisper.first_special]
                if window != len(session.aligned) - 1:  # the segment starts a new window
                    window, token = len(session.aligned) - 1, 0
                aligned = session.aligned[window]
                while aligned.tokens[token : token + len(text)] != text:  # tokens of a segment that was left out
                    token += 1
                segment = replace(segment, logprobs=token_logprobs(self._whisper, aligned, token, len(text)))
                token += len(text)
            if request.word_timestamps and segment.words:
                words = refined(segment.words, audio, after=ended)
                ended = words[-1].end
                segment = replace(segment, words=words, start=words[0].start, end=ended)
            yield within(segment if request.word_timestamps else replace(segment, words=()), len(audio) / SAMPLE_RATE)

    def _session(self, stop: Event, languages: Iterable[str]) -> "Session":
        from adapters.speech.batched_whisper import Session

        short_s = self._options.short_window_s or (15.0 if self._whisper.model.device == "cpu" else 30.0)
        return Session(self._whisper, self._batcher, stop, tuple(languages), short_s=short_s)

    def _detect(self, audio: Media) -> LanguageDetection:
        with self._open(), translated("The speech model"), self._batcher.active_request():
            samples = self._decode(audio, first_s=DETECTION_S)
            if find_speech(samples) is None:
                language, probability, candidates = self._unknown_language(TranscriptionRequest(audio))
            else:
                language, probability, candidates = self._languages(samples, self._session(Event(), ()))
        ranked = sorted(((code, float(p)) for code, p in candidates), key=lambda candidate: -candidate[1])
        return LanguageDetection(language, probability, tuple(ranked))

    def _languages(self, samples: Any, session: "Session") -> tuple[str, float, list[tuple[str, float]]]:
        """The language, its probability, and all candidates."""
        if not session.is_multilingual:
            return "en", 1.0, [("en", 1.0)]
        language, probability, candidates = self._whisper.with_session(session).detect_language(samples)
        return language, float(probability), candidates

    def _unknown_language(self, request: TranscriptionRequest) -> tuple[str, float, list[tuple[str, float]]]:
        """What `_languages` returns without speech: all languages are equally likely, and the first is named."""
        if request.language is not None:
            return request.language, 1.0, [(request.language, 1.0)]
        known = request.languages or self._whisper.supported_languages
        codes = sorted(known, key=lambda code: (code != "en", code))
        return codes[0], 1 / len(codes), [(code, 1 / len(codes)) for code in codes]

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Wraps work on the model: errors caused by unloading become `Interrupted`."""
        self._check_open()
        try:
            yield
        except Exception as error:
            if self._closing.is_set() and not isinstance(error, Interrupted):
                raise Interrupted("The model was unloaded.") from error
            raise

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
        self._batcher.close()
        self._chunks.shutdown(cancel_futures=True)
        self._whisper.model.unload_model()


def _asks_detector(request: TranscriptionRequest) -> bool:
    """Whether a request leaves it to the detector if there is speech; a threshold of its own is applied to chunks."""
    return request.vad_filter is not False and request.voice.threshold is None


def _missing(directory: Path) -> list[str]:
    missing = [name for name in FILES if not (directory / name).is_file()]
    return missing if any(directory.glob("vocabulary.*")) else [*missing, "vocabulary file"]


def _load(path: str, options: WhisperSpeech.Options) -> "Whisper":
    with translated("The speech model", loading=True):
        from ctranslate2 import get_cuda_device_count

        from adapters.speech.batched_whisper import Whisper

        device, compute_type = options.device, options.compute_type
        if device == "auto":
            device = "cuda" if get_cuda_device_count() else "cpu"
        if device == "cuda":
            preload_cublas()
            # CTranslate2's own choice is int8 with float16; the estimate and the model's accuracy are float16's.
            compute_type = "float16" if compute_type == "auto" else compute_type
        whisper = Whisper(path, device=device, compute_type=compute_type, cpu_threads=options.cpu_threads)
        whisper.encode_silence(DETECTION_S if device == "cuda" else CPU_CHECK_S)
        return whisper
