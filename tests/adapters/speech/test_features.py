"""Spectrograms: faster-whisper's own numbers, minute by minute."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from adapters.speech import features
from adapters.speech.features import BlockedFeatures


@pytest.mark.parametrize("samples", [1, 160, 400, 16_000, 16_001, 47_999, 200_000])
@pytest.mark.parametrize("mels", [80, 128])
def test_the_numbers_are_faster_whispers(samples: int, mels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BLOCK_FRAMES", 70)
    sound = np.random.default_rng(samples).standard_normal(samples).astype(np.float32) * 0.1
    ours, theirs = BlockedFeatures(feature_size=mels)(sound), FeatureExtractor(feature_size=mels)(sound)
    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-4


def test_windows_have_one_length() -> None:
    with pytest.raises(ValueError, match="chunk_length"):
        BlockedFeatures()(np.zeros(16_000, np.float32), chunk_length=10)
