"""Log-mel spectrograms, computed in blocks to save memory.

faster-whisper transforms all audio at once, which takes several GB for two hours; here it is a minute at a time.
"""

from typing import Any

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

BLOCK_FRAMES = 6_000
"""Frames of 10 ms per block: a minute, 30 MB."""


class BlockedFeatures(FeatureExtractor):
    """Computes the same values as faster-whisper's extractor."""

    def __call__(self, waveform: Any, padding: int = 160, chunk_length: int | None = None) -> Any:
        """Computes the spectrogram.

        Args:
            waveform: float32 [samples], 16 kHz, -1..1.
            padding: Samples of silence appended.
            chunk_length: Not supported; faster-whisper's transcription never passes it.

        Returns:
            float32 [mels, frames], a frame every 10 ms: log10 of power, at most 8 below the maximum, shifted and scaled
            as in Whisper's training.
        """
        if chunk_length is not None:
            raise ValueError("chunk_length is not supported: windows have the model's length")
        samples = np.pad(np.asarray(waveform, np.float32), (0, padding))
        samples = np.pad(samples, self.n_fft // 2, mode="reflect")  # the first frame is centred on the first sample
        frames = (len(samples) - self.n_fft) // self.hop_length
        window = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        every = np.lib.stride_tricks.sliding_window_view(samples, self.n_fft)[:: self.hop_length]
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
