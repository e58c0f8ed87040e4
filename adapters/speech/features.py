"""What Whisper hears: log-mel spectrograms, in memory that does not grow with the sound's length more than it must.

faster-whisper transforms a whole sound at once, which takes several GB for two hours; here a few minutes at a time.
"""

from typing import Any

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

BLOCK_FRAMES = 6_000
"""Frames of 10 ms that are transformed at once: a minute, 30 MB."""


class BlockedFeatures(FeatureExtractor):
    """faster-whisper's features: the same numbers."""

    def __call__(self, waveform: Any, padding: int = 160, chunk_length: int | None = None) -> Any:
        """The spectrogram.

        Args:
            waveform: float32 [samples], 16 kHz, -1..1.
            padding: Samples of silence behind it.
            chunk_length: Not known here; faster-whisper's transcription never sends one.

        Returns:
            float32 [mels, frames], a frame every 10 ms, 0..1 wide below the loudest: log10 of power, at most 8 below
            the sound's loudest place, shifted and scaled as Whisper was trained.
        """
        if chunk_length is not None:
            raise ValueError("Windows have one length, the model's.")
        sound = np.pad(np.asarray(waveform, np.float32), (0, padding))
        sound = np.pad(sound, self.n_fft // 2, mode="reflect")  # the first frame's middle is the first sample
        frames = (len(sound) - self.n_fft) // self.hop_length
        window = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        every = np.lib.stride_tricks.sliding_window_view(sound, self.n_fft)[:: self.hop_length]
        mels = np.empty((len(self.mel_filters), frames), np.float32)
        for start in range(0, frames, BLOCK_FRAMES):
            block = every[start : min(start + BLOCK_FRAMES, frames)]
            power = np.abs(np.fft.rfft(block * window, axis=-1).astype(np.complex64)) ** 2
            mels[:, start : start + len(block)] = self.mel_filters @ power.T
        np.log10(np.clip(mels, 1e-10, None, out=mels), out=mels)
        np.maximum(mels, mels.max() - 8.0, out=mels)
        mels += 4.0
        mels /= 4.0
        return mels
