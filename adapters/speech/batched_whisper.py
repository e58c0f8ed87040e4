"""faster-whisper's model for one of several requests that share a network."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from ctranslate2 import DataType, StorageView
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from adapters.base import CandidateToken
from adapters.engines.byte_level import BYTE_OF_CHARACTER
from adapters.errors import Interrupted, ModelLoadFailed
from adapters.speech.batching import Batcher
from adapters.speech.features import BlockedFeatures

MIN_FRAMES = 16
"""Of 10 ms: CTranslate2 fails to align text that Whisper hallucinates in shorter audio."""
FRAMES_PER_S = 100
SPARE_FRAMES = 300
"""Minimum silence at the end of a short window."""


class Whisper(WhisperModel):
    """faster-whisper's model with prompts that always fit its context."""

    def __init__(self, path: str, **options: Any) -> None:
        """Loads it from local files."""
        super().__init__(path, local_files_only=True, **options)
        self.first_special = self.token("<|endoftext|>")
        """Tokens below this id are text."""
        self.feature_extractor = BlockedFeatures(**self.feat_kwargs)

    def get_prompt(
        self,
        tokenizer: Tokenizer,
        previous_tokens: list[int],
        without_timestamps: bool = False,
        prefix: str | None = None,
        hotwords: str | None = None,
    ) -> list[int]:
        """Like faster-whisper's, but hotwords and previous text share half of the context, as in Whisper's training.

        In faster-whisper each may take half of the context, and both together would leave no room for the output.
        """
        available = self.max_length // 2 - 1 - len(self.hotword_tokens(hotwords or ""))
        previous = previous_tokens[-available:] if available > 0 else []
        return super().get_prompt(tokenizer, previous, without_timestamps, prefix, hotwords)

    def encode_silence(self, seconds: float) -> None:
        """Encodes silence, so that a device or library that does not work fails the load and not the first request."""
        silence = np.zeros((1, self.model.n_mels, int(seconds * FRAMES_PER_S)), np.float32)
        self.model.encode(StorageView.from_array(silence), to_cpu=True)

    def token(self, text: str) -> int:
        """The id of a special token."""
        found = self.hf_tokenizer.token_to_id(text)
        if found is None:
            raise ModelLoadFailed(f"The tokenizer is not Whisper's: it has no token {text}.")
        return found

    def hotword_tokens(self, hotwords: str) -> list[int]:
        """The token ids of hotwords."""
        return list(self.hf_tokenizer.encode(f" {hotwords.strip()}", add_special_tokens=False).ids) if hotwords else []

    def with_session(self, session: "Session") -> "Whisper":
        """A copy of the model whose calls to the network go through a request's session."""
        bound = copy.copy(self)
        bound.model = session
        return bound


@dataclass(slots=True)
class AlignedText:
    """The tokens of an aligned window, and their probabilities."""

    tokens: list[int]
    probabilities: list[float]


class Session:
    """A request's access to the network, with the methods of CTranslate2's Whisper that faster-whisper calls."""

    def __init__(
        self, whisper: Whisper, batcher: Batcher, stop: Event, languages: Sequence[str] = (), *, short_s: float = 30.0
    ) -> None:
        """A session of one request.

        Args:
            whisper: The model that owns the network.
            batcher: Batches the calls with those of other requests.
            stop: Set when the request is cancelled: its next call raises `Interrupted`.
            languages: The only ones that may be detected; empty: all.
            short_s: Window length in seconds for audio that ends 3 s earlier; longer audio has windows of 30 s.
        """
        self._network: Any = whisper.model
        self._start: int = whisper.token("<|startoftranscript|>")
        self._batcher = batcher
        self._stop = stop
        self._short_frames = int(short_s * FRAMES_PER_S)
        self._languages = frozenset(f"<|{code}|>" for code in languages)
        self.aligned: list[AlignedText] = []
        """One per aligned window."""
        self.is_multilingual: bool = self._network.is_multilingual
        self.n_mels: int = self._network.n_mels
        self.device: str = self._network.device
        self.device_index: list[int] = self._network.device_index

    def encode(self, features: StorageView, to_cpu: bool = False) -> Any:
        """Encodes a window; returns float32 [1, frames, width]."""
        del to_cpu  # always on the CPU: the next call may be in another batch
        window = np.asarray(features)
        if not window[..., self._short_frames - SPARE_FRAMES :].any():  # faster-whisper padded it with zeros
            window = window[..., : self._short_frames]
        return self._call(("encode", window.shape), self._encode, window)

    def detect_language(self, encoded: Any) -> list[list[tuple[str, float]]]:
        """The allowed languages of a window, most probable first; their probabilities add up to 1."""
        ranked: list[tuple[str, float]] = self._call(("detect", encoded.shape), self._detect, encoded)
        if self._languages:
            ranked = [(code, p) for code, p in ranked if code in self._languages]
            total = sum(p for _, p in ranked) or 1.0
            ranked = [(code, p / total) for code, p in ranked]
        return [ranked]

    def generate(self, encoded: Any, prompts: list[list[int]], **options: Any) -> list[Any]:
        """Transcribes a window."""
        (prompt,) = prompts
        # CTranslate2 needs the task's tokens at the same position in all prompts of a batch.
        key = ("generate", tuple(sorted(options.items())), len(prompt), prompt.index(self._start), encoded.shape)
        return [self._call(key, lambda items: self._generate(items, options), (encoded, prompt))]

    def align(
        self, encoded: Any, start: list[int], texts: list[list[int]], frames: int, *, median_filter_width: int = 7
    ) -> list[Any]:
        """Aligns the tokens of a window's text with the audio."""
        (text,) = texts
        frames = max(frames, MIN_FRAMES)
        key = ("align", tuple(start), median_filter_width, encoded.shape)
        result = self._call(
            key, lambda items: self._align(items, list(start), median_filter_width), (encoded, text, frames)
        )
        self.aligned.append(AlignedText(list(text), [float(p) for p in result.text_token_probs]))
        return [result]

    def _call(self, key: tuple[Any, ...], run: Any, item: Any) -> Any:
        if self._stop.is_set():
            raise Interrupted("The request was cancelled.")
        return self._batcher.call(key, run, item)

    def _encode(self, windows: Sequence[Any]) -> list[Any]:
        encoded = self._network.encode(_view(windows), to_cpu=True)
        if encoded.dtype == DataType.bfloat16:
            encoded = encoded.to(DataType.float32)  # NumPy has no bfloat16
        return list(np.split(np.array(encoded), len(windows)))

    def _detect(self, encoded: Sequence[Any]) -> list[Any]:
        return self._network.detect_language(_view(encoded))

    def _generate(self, items: Sequence[tuple[Any, list[int]]], options: dict[str, Any]) -> list[Any]:
        encoded, prompts = zip(*items, strict=True)
        return self._network.generate(_view(encoded), list(prompts), **options)

    def _align(self, items: Sequence[tuple[Any, list[int], int]], start: list[int], width: int) -> list[Any]:
        encoded, texts, frames = zip(*items, strict=True)
        return self._network.align(_view(encoded), start, list(texts), list(frames), median_filter_width=width)


def token_logprobs(whisper: Whisper, aligned: AlignedText, first: int, count: int) -> tuple[CandidateToken, ...]:
    """The log probabilities of `count` tokens of an aligned text, each given the audio and the tokens before it."""
    pieces = [
        _bytes_of(whisper.hf_tokenizer.id_to_token(token) or "") for token in aligned.tokens[first : first + count]
    ]
    probabilities = aligned.probabilities[first : first + count]
    return tuple(
        CandidateToken(piece.decode("utf-8", "replace"), piece, float(np.log(max(probability, 1e-10))))
        for piece, probability in zip(pieces, probabilities, strict=True)
    )


def _view(windows: Sequence[Any]) -> StorageView:
    return StorageView.from_array(np.ascontiguousarray(np.concatenate(windows)))


def _bytes_of(token: str) -> bytes:
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:
        return token.encode()
