"""Kokoro-82M on onnxruntime: speaks English, sentence by sentence. ADR 12 says why this model and not another."""

import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field

from adapters.base import (
    Adapter,
    AudioChunk,
    LoadProgress,
    ModelFiles,
    Report,
    SynthesisDone,
    SynthesisRequest,
    Usage,
    VoiceAdapter,
    VoiceEvent,
)
from adapters.engines.threads import Emit, ModelThread
from adapters.errors import AdapterError, GenerationFailed, Interrupted, ModelLoadFailed, OutOfMemory, UnsupportedOption
from adapters.media.encode_audio import SAMPLE_RATE, Recording
from adapters.media.time_stretch import change_tempo
from adapters.voice import text_normalization
from adapters.voice.lexicon import Accent, Lexicon

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

VOICES = Path(__file__).with_name("voices.safetensors")
"""The voices that come with us; a `voices.safetensors` beside the model wins."""
FIRST = "af_heart"
NAMESAKES = {
    "alloy": "af_alloy",
    "ash": "am_michael",
    "ballad": "bm_george",
    "cedar": "am_fenrir",
    "coral": "af_bella",
    "echo": "am_echo",
    "fable": "bm_fable",
    "marin": "af_heart",
    "nova": "af_nova",
    "onyx": "am_onyx",
    "sage": "af_sarah",
    "shimmer": "bf_emma",
    "verse": "am_puck",
}
"""OpenAI's names of voices, and who answers to them here."""
MAX_PHONEMES = 240
"""Spoken at once: the model knows 510, but hurries through long ones."""
MODEL_SPEEDS = (0.5, 1.5)
"""The paces that the model keeps to by itself; beyond, the sound is stretched."""
FRAME_SAMPLES = 600
"""The model's own unit of time, 25 ms; `Usage` counts these."""


class KokoroVoice(VoiceAdapter):
    """A Kokoro model with its voices. One request is spoken at a time, in the model's own thread."""

    class Options(Adapter.Options):
        """What the operator may set."""

        device: Literal["auto", "cpu"] = "auto"
        """It runs on the CPU."""
        threads: int = Field(0, ge=0, le=256)
        """0: as many as there are cores."""

    def __init__(self, session: "InferenceSession", directory: Path, styles: dict[str, "NDArray[Any]"]) -> None:
        """Use `load`."""
        self._session: Any = session
        self._directory = directory
        self._styles = styles
        self._letters = _vocabulary(directory)
        self._lexicons: dict[Accent, Lexicon] = {"us": Lexicon(directory, "us")}
        self._thread = ModelThread[VoiceEvent]("voice")
        self._closing = Event()
        self._runs: set[Any] = set()

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """The model, in memory and ready.

        Raises:
            ModelLoadFailed: Files are missing or broken.
            OutOfMemory: It does not fit.
        """
        options = cls.Options.of(model)
        report(LoadProgress("loading weights"))
        thread = ModelThread[Any]("voice-load")
        try:
            return await thread.run(partial(cls._load, Path(model.path), options))
        finally:
            thread.close()

    @classmethod
    def _load(cls, directory: Path, options: Options) -> Self:
        with _translated(loading=True):
            import onnxruntime

            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = options.threads
            settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve other models
            session = onnxruntime.InferenceSession(
                str(directory / "model.onnx"), settings, providers=["CPUExecutionProvider"]
            )
            if [node.name for node in session.get_inputs()] != ["tokens", "style", "speed"]:
                raise ModelLoadFailed("model.onnx is not a Kokoro model: it takes other inputs.")
            beside = directory / VOICES.name
            return cls(session, directory, _styles(beside if beside.is_file() else VOICES))

    async def unload(self) -> None:
        """Gives the memory back. Speech in progress ends in `Interrupted` at once."""
        if not self._closing.is_set():
            self._closing.set()
            for run in self._runs:
                run.terminate = True
            await self._thread.run(self._release)
            self._thread.close()

    @property
    def alive(self) -> bool:
        """False once unloaded."""
        return not self._closing.is_set()

    async def speak(self, request: SynthesisRequest) -> AsyncGenerator[VoiceEvent]:
        """As `VoiceAdapter.speak`; closing it stops the model in the middle of a sentence."""
        import onnxruntime

        run: Any = onnxruntime.RunOptions()  # pyright: ignore - it is made at run time
        self._runs.add(run)

        def interrupt() -> None:
            run.terminate = True

        try:
            async with aclosing(self._thread.stream(partial(self._speak, request, run), interrupt)) as events:
                async for event in events:
                    yield event
        finally:
            self._runs.discard(run)

    def _speak(self, request: SynthesisRequest, run: Any, emit: Emit[VoiceEvent]) -> None:
        started = time.perf_counter()
        name, style = self._voice(request.voice)
        if not 0.25 <= request.speed <= 4:
            raise UnsupportedOption("speed must be between 0.25 and 4.", param="speed")
        pieces = list(self._pieces(request.text, "gb" if name.startswith("b") else "us"))
        recording: Recording | None = None
        frames = 0
        for piece in pieces:
            samples = self._sound(piece, style, request.speed, run)
            frames += -(-len(samples) // FRAME_SAMPLES)
            if recording is None:
                recording = Recording(request.media_type, samples=len(samples) if len(pieces) == 1 else None)
            if data := recording.add(samples):
                emit(AudioChunk(data))
        assert recording is not None
        if data := recording.close():
            emit(AudioChunk(data))
        usage = Usage(sum(map(len, pieces)), frames)
        emit(SynthesisDone(recording.duration_s, (time.perf_counter() - started) * 1000, usage))

    def _voice(self, wanted: str | None) -> tuple[str, "NDArray[Any]"]:
        name = next(iter(self._styles)) if wanted is None else NAMESAKES.get(wanted, wanted)
        if name not in self._styles:
            known = ", ".join([*NAMESAKES, *self._styles])
            raise UnsupportedOption(f"There is no voice {wanted!r:.64}. There are: {known}.", param="voice")
        return name, self._styles[name]

    def _pieces(self, text: str, accent: Accent) -> Iterator[list[int]]:
        """The model's tokens for each stretch that it speaks at once; at least one stretch."""
        if accent not in self._lexicons:
            self._lexicons[accent] = Lexicon(self._directory, accent)
        found = False
        for sentence in text_normalization.sentences(text):
            for stretch in stretches(self._lexicons[accent].phonemes(sentence), MAX_PHONEMES):
                if tokens := [self._letters[sound] for sound in stretch if sound in self._letters]:
                    found = True
                    yield tokens
        if not found:
            raise UnsupportedOption("There is nothing in it that could be said.", param="input")

    def _sound(self, tokens: list[int], style: "NDArray[Any]", speed: float, run: Any) -> "NDArray[Any]":
        """float32 [samples], mono, 24 kHz."""
        own = min(max(speed, MODEL_SPEEDS[0]), MODEL_SPEEDS[1])
        with _translated(stopped=lambda: run.terminate):
            if self._closing.is_set():
                raise Interrupted("The model was unloaded.")
            inputs = {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": style[min(len(tokens), len(style)) - 1][None].astype(np.float32),
                "speed": np.array([own], np.float32),
            }
            (made,) = self._session.run(None, inputs, run)
            samples = made.reshape(-1)
            if not len(samples) or not bool(np.isfinite(samples).all()):
                raise GenerationFailed("The voice made numbers that are no sound.")
            return change_tempo(samples, speed / own, SAMPLE_RATE)

    def _release(self) -> None:
        self._session = None
        self._lexicons.clear()
        self._styles = {}


def stretches(phonemes: str, limit: int) -> Iterator[str]:
    """A sentence in parts of at most so many phonemes, cut where it pauses, else between words, else anywhere."""
    while len(phonemes) > limit:
        head = phonemes[: limit + 1]
        pauses = [match.end() for match in re.finditer(r"[,;:—.!?…](?= )", head)]
        cut = next((at for at in reversed(pauses) if at > limit // 3), 0) or head.rfind(" ", 1) or 0
        cut = cut if cut > 0 else limit
        yield phonemes[:cut]
        phonemes = phonemes[cut:].lstrip()
    if phonemes:
        yield phonemes


def _styles(path: Path) -> dict[str, "NDArray[Any]"]:
    """Each voice as numbers [lengths, 256]: what it sounds like, by how much it is to say. The first is the default."""
    from safetensors.numpy import load_file

    styles = load_file(path)
    if not styles or any(style.ndim != 2 or style.shape[1] != 256 or not len(style) for style in styles.values()):
        raise ModelLoadFailed(f"{path.name} holds no voices of this model.")
    return {name: styles[name] for name in sorted(styles, key=lambda name: (name != FIRST, name))}


def _vocabulary(directory: Path) -> dict[str, int]:
    try:
        letters = json.loads((directory / "vocab.json").read_text("utf-8"))["vocab"]
        return {str(letter): int(number) for letter, number in letters.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadFailed("vocab.json is missing or is not this model's.") from error


@contextmanager
def _translated(*, loading: bool = False, stopped: Any = lambda: False) -> Iterator[None]:
    """Exceptions of onnxruntime (mostly RuntimeError) as ours."""
    try:
        yield
    except AdapterError:
        raise
    except Exception as error:
        if stopped():
            raise Interrupted("The speech was stopped.") from None
        if isinstance(error, MemoryError) or "allocate" in str(error).lower():
            raise OutOfMemory("The voice ran out of memory.") from None
        if loading:
            log.exception("onnxruntime could not load the model")
            raise ModelLoadFailed("The voice's files are missing, damaged or of another kind of model.") from error
        log.error("the voice failed: %s", type(error).__name__)  # its message may hold what was said
        raise GenerationFailed("The voice failed on this text.") from error
