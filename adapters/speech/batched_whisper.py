"""faster-whisper's model, as one of several requests that share a network sees it."""

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

LEAST_FRAMES = 16
"""Of 10 ms: text that Whisper imagines in a shorter sound cannot be aligned, and would be an error."""
FRAMES_PER_S = 100
SPARE_FRAMES = 300
"""Silence that a short window keeps behind its sound at least."""


class Whisper(WhisperModel):
    """faster-whisper's model with prompts that always fit."""

    def __init__(self, path: str, **options: Any) -> None:
        """Loads it from files on this machine."""
        super().__init__(path, local_files_only=True, **options)
        self.first_special = self.token("<|endoftext|>")
        """Tokens before it are text."""
        self.feature_extractor = BlockedFeatures(**self.feat_kwargs)

    def get_prompt(
        self,
        tokenizer: Tokenizer,
        previous_tokens: list[int],
        without_timestamps: bool = False,
        prefix: str | None = None,
        hotwords: str | None = None,
    ) -> list[int]:
        """As faster-whisper's; hotwords and the text before share what Whisper was trained to see before a window.

        There, each may take half of the model's context, and both together leave nothing to write in.
        """
        room = self.max_length // 2 - 1 - len(self.hotword_tokens(hotwords or ""))
        before = previous_tokens[-room:] if room > 0 else []
        return super().get_prompt(tokenizer, before, without_timestamps, prefix, hotwords)

    def token(self, text: str) -> int:
        """A special token's number."""
        found = self.hf_tokenizer.token_to_id(text)
        if found is None:
            raise ModelLoadFailed(f"The vocabulary is not Whisper's: it lacks {text}.")
        return found

    def hotword_tokens(self, hotwords: str) -> list[int]:
        """The tokens that hotwords become."""
        return list(self.hf_tokenizer.encode(f" {hotwords.strip()}", add_special_tokens=False).ids) if hotwords else []

    def heard_by(self, session: "Session") -> "Whisper":
        """The same model, whose calls to the network go through a request's session."""
        mine = copy.copy(self)
        mine.model = session
        return mine


@dataclass(slots=True)
class Spoken:
    """What an alignment says of a window's text."""

    tokens: list[int]
    probabilities: list[float]


class Session:
    """A request's way to the network: has the methods of CTranslate2's Whisper that faster-whisper calls."""

    def __init__(
        self, whisper: Whisper, batcher: Batcher, stop: Event, languages: Sequence[str] = (), *, short_s: float = 30.0
    ) -> None:
        """A session of one request.

        Args:
            whisper: Whose network it is.
            batcher: Where calls meet those of others.
            stop: Set when nobody waits for the request any more: its next call raises `Interrupted`.
            languages: The only ones that may be detected; empty: all.
            short_s: Length of the window for sounds that end 3 s before it does; all others have half a minute.
        """
        self._network: Any = whisper.model
        self._start: int = whisper.token("<|startoftranscript|>")
        self._batcher = batcher
        self._stop = stop
        self._short_frames = int(short_s * FRAMES_PER_S)
        self._languages = frozenset(f"<|{code}|>" for code in languages)
        self.spoken: list[Spoken] = []
        """Of every window that was aligned."""
        self.is_multilingual: bool = self._network.is_multilingual
        self.n_mels: int = self._network.n_mels
        self.device: str = self._network.device
        self.device_index: list[int] = self._network.device_index

    def encode(self, features: StorageView, to_cpu: bool = False) -> Any:
        """The network's view of a window: float32 [1, frames, width]."""
        del to_cpu  # always: the next call may be computed beside other windows
        window = np.asarray(features)
        if not window[..., self._short_frames - SPARE_FRAMES :].any():  # faster-whisper has filled it up with zeros
            window = window[..., : self._short_frames]
        return self._call(("encode", window.shape), self._encode, window)

    def detect_language(self, encoded: Any) -> list[list[tuple[str, float]]]:
        """Languages of a window, likeliest first; of those that are allowed, whose probabilities then add up to 1."""
        ranked: list[tuple[str, float]] = self._call(("detect", encoded.shape), self._detect, encoded)
        if self._languages:
            ranked = [(code, p) for code, p in ranked if code in self._languages]
            total = sum(p for _, p in ranked) or 1.0
            ranked = [(code, p / total) for code, p in ranked]
        return [ranked]

    def generate(self, encoded: Any, prompts: list[list[int]], **options: Any) -> list[Any]:
        """What is said in a window."""
        (prompt,) = prompts
        # CTranslate2 wants the task's tokens at the same place in all prompts of a batch.
        key = ("generate", tuple(sorted(options.items())), len(prompt), prompt.index(self._start), encoded.shape)
        return [self._call(key, lambda items: self._generate(items, options), (encoded, prompt))]

    def align(
        self, encoded: Any, start: list[int], texts: list[list[int]], frames: int, *, median_filter_width: int = 7
    ) -> list[Any]:
        """When each token of a window's text is said."""
        (text,) = texts
        frames = max(frames, LEAST_FRAMES)
        key = ("align", tuple(start), median_filter_width, encoded.shape)
        result = self._call(
            key, lambda items: self._align(items, list(start), median_filter_width), (encoded, text, frames)
        )
        self.spoken.append(Spoken(list(text), [float(p) for p in result.text_token_probs]))
        return [result]

    def _call(self, key: tuple[Any, ...], run: Any, item: Any) -> Any:
        if self._stop.is_set():
            raise Interrupted("The request was cancelled.")
        return self._batcher.call(key, run, item)

    def _encode(self, windows: Sequence[Any]) -> list[Any]:
        encoded = self._network.encode(_view(windows), to_cpu=True)
        if encoded.dtype == DataType.bfloat16:
            encoded = encoded.to(DataType.float32)  # NumPy has no such numbers
        return list(np.split(np.array(encoded), len(windows)))

    def _detect(self, encoded: Sequence[Any]) -> list[Any]:
        return self._network.detect_language(_view(encoded))

    def _generate(self, items: Sequence[tuple[Any, list[int]]], options: dict[str, Any]) -> list[Any]:
        encoded, prompts = zip(*items, strict=True)
        return self._network.generate(_view(encoded), list(prompts), **options)

    def _align(self, items: Sequence[tuple[Any, list[int], int]], start: list[int], width: int) -> list[Any]:
        encoded, texts, frames = zip(*items, strict=True)
        return self._network.align(_view(encoded), start, list(texts), list(frames), median_filter_width=width)


def likelihoods(whisper: Whisper, spoken: Spoken, first: int, count: int) -> tuple[CandidateToken, ...]:
    """Of some tokens of an aligned text: each given all before it and the sound."""
    pieces = [
        _bytes_of(whisper.hf_tokenizer.id_to_token(token) or "") for token in spoken.tokens[first : first + count]
    ]
    chances = spoken.probabilities[first : first + count]
    return tuple(
        CandidateToken(piece.decode("utf-8", "replace"), piece, float(np.log(max(chance, 1e-10))))
        for piece, chance in zip(pieces, chances, strict=True)
    )


def _view(windows: Sequence[Any]) -> StorageView:
    return StorageView.from_array(np.ascontiguousarray(np.concatenate(windows)))


def _bytes_of(token: str) -> bytes:
    try:
        return bytes(BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:
        return token.encode()
