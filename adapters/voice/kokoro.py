"""The adapter: Kokoro-82M on onnxruntime, an English text-to-speech model (see ADR 12)."""

import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
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
    SynthesisStarted,
    Usage,
    VoiceAdapter,
    VoiceEvent,
)
from adapters.engines.errors import translated
from adapters.engines.threads import Emit, ModelThread
from adapters.errors import GenerationFailed, Interrupted, ModelLoadFailed, UnsupportedOption
from adapters.media.encode_audio import SAMPLE_RATE, Recording
from adapters.media.time_stretch import change_tempo
from adapters.voice import text_normalization
from adapters.voice.lexicon import Accent, Lexicon

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

VOICES = Path(__file__).with_name("voices.safetensors")
"""The included voices; a `voices.safetensors` in the model's directory takes precedence."""
DEFAULT_VOICE = "af_heart"
OPENAI_VOICES = {
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
"""The Kokoro voice for each of OpenAI's voice names."""
MAX_PHONEMES = 240
"""Maximum phonemes per call: the model accepts 510, but speaks long input too fast."""
MODEL_SPEEDS = (0.5, 1.5)
"""Range of speeds that the model supports; for others, its audio is time-stretched."""
FRAME_SAMPLES = 600
"""The model's unit of time, 25 ms; `Usage` counts these."""


class KokoroVoice(VoiceAdapter):
    """A Kokoro model with its voices. Requests run one at a time, in the model's thread."""

    class Options(Adapter.Options):
        """Options that the operator may set."""

        device: Literal["auto", "cpu"] = "auto"
        """Both values mean the CPU."""
        threads: int = Field(0, ge=0, le=256)
        """0: the number of cores."""

    def __init__(self, session: "InferenceSession", directory: Path, styles: dict[str, "NDArray[Any]"]) -> None:
        """Use `load`."""
        self._session: Any = session
        self._directory = directory
        self._styles = styles
        self._token_ids = _vocabulary(directory)
        self._lexicons: dict[Accent, Lexicon] = {"us": Lexicon(directory, "us")}
        self._thread = ModelThread[VoiceEvent]("voice")
        self._closing = Event()
        self._runs: set[Any] = set()

    @classmethod
    async def load(cls, model: ModelFiles, report: Report) -> Self:
        """Loads the model.

        Raises:
            ModelLoadFailed: Files are missing or damaged.
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
        with translated("The voice model", loading=True):
            import onnxruntime

            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = options.threads
            settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would starve other models
            session = onnxruntime.InferenceSession(
                str(directory / "model.onnx"), settings, providers=["CPUExecutionProvider"]
            )
            if [node.name for node in session.get_inputs()] != ["tokens", "style", "speed"]:
                raise ModelLoadFailed("model.onnx is not a Kokoro model: its inputs are not tokens, style and speed.")
            own_voices = directory / VOICES.name
            return cls(session, directory, _styles(own_voices if own_voices.is_file() else VOICES))

    async def unload(self) -> None:
        """Frees the memory. Running requests end with `Interrupted` immediately."""
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
        """See `VoiceAdapter.speak`. Closing the generator stops the model in the middle of a sentence."""
        import onnxruntime

        run: Any = onnxruntime.RunOptions()  # pyright: ignore - created at run time
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
        sentences, skipped = text_normalization.read(request.text)
        chunks = list(self._token_chunks(sentences, "gb" if name.startswith("b") else "us"))
        if skipped:
            emit(SynthesisStarted(skipped))
        recording: Recording | None = None
        frames = 0
        for chunk in chunks:
            samples = self._synthesize(chunk, style, request.speed, run)
            frames += -(-len(samples) // FRAME_SAMPLES)
            if recording is None:
                recording = Recording(request.media_type, samples=len(samples) if len(chunks) == 1 else None)
            if data := recording.add(samples):
                emit(AudioChunk(data))
        assert recording is not None
        if data := recording.close():
            emit(AudioChunk(data))
        usage = Usage(sum(map(len, chunks)), frames)
        emit(SynthesisDone(recording.duration_s, (time.perf_counter() - started) * 1000, usage))

    def _voice(self, wanted: str | None) -> tuple[str, "NDArray[Any]"]:
        named = "" if wanted is None else wanted.strip().lower()
        name = next(iter(self._styles)) if not named else OPENAI_VOICES.get(named, named)
        if name not in self._styles:
            known = ", ".join([*OPENAI_VOICES, *self._styles])
            raise UnsupportedOption(f"There is no voice {wanted!r:.64}. Available: {known}.", param="voice")
        return name, self._styles[name]

    def _token_chunks(self, sentences: Sequence[str], accent: Accent) -> Iterator[list[int]]:
        """The model's tokens in chunks that it speaks in one call; at least one chunk."""
        if accent not in self._lexicons:
            self._lexicons[accent] = Lexicon(self._directory, accent)
        found = False
        for sentence in sentences:
            for phonemes in split_phonemes(self._lexicons[accent].phonemes(sentence), MAX_PHONEMES):
                if tokens := [self._token_ids[one] for one in phonemes if one in self._token_ids]:
                    found = True
                    yield tokens
        if not found:
            raise UnsupportedOption("input contains nothing that can be spoken. Send words or numbers.", param="input")

    def _synthesize(self, tokens: list[int], style: "NDArray[Any]", speed: float, run: Any) -> "NDArray[Any]":
        """The audio of one chunk: float32 [samples], mono, 24 kHz."""
        model_speed = min(max(speed, MODEL_SPEEDS[0]), MODEL_SPEEDS[1])
        with translated("The voice model", stopped=lambda: run.terminate):
            if self._closing.is_set():
                raise Interrupted("The model was unloaded.")
            inputs = {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": style[min(len(tokens), len(style)) - 1][None].astype(np.float32),
                "speed": np.array([model_speed], np.float32),
            }
            (output,) = self._session.run(None, inputs, run)
            samples = output.reshape(-1)
            if not len(samples) or not bool(np.isfinite(samples).all()):
                raise GenerationFailed(
                    "The voice model returned no samples, or NaN or infinite ones. Try another text or voice."
                )
            return change_tempo(samples, speed / model_speed, SAMPLE_RATE)

    def _release(self) -> None:
        self._session = None
        self._lexicons.clear()
        self._styles = {}


def split_phonemes(phonemes: str, limit: int) -> Iterator[str]:
    """Splits a sentence into chunks of at most `limit` phonemes: at pauses, else between words, else anywhere."""
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
    """Style vectors by voice: [text length, 256]. The first voice is the default."""
    from safetensors.numpy import load_file

    styles = load_file(path)
    if not styles or any(style.ndim != 2 or style.shape[1] != 256 or not len(style) for style in styles.values()):
        raise ModelLoadFailed(f"{path.name} contains no voices for this model.")
    return {name: styles[name] for name in sorted(styles, key=lambda name: (name != DEFAULT_VOICE, name))}


def _vocabulary(directory: Path) -> dict[str, int]:
    try:
        vocabulary = json.loads((directory / "vocab.json").read_text("utf-8"))["vocab"]
        return {str(letter): int(number) for letter, number in vocabulary.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadFailed("vocab.json is missing, damaged, or not this model's.") from error
