"""What only LTX-2 has: further kinds of guidance, and audio generated with the video (arXiv 2601.03233)."""

from typing import Any

from adapters.base import Media
from adapters.errors import GenerationFailed
from adapters.media.soundtrack import wav

STG_BLOCKS = {True: 29, False: 28}
"""The layer that spatio-temporal guidance skips, of LTX-2.0 (True) and of later versions; diffusers' defaults."""


def generates_audio(pipeline: Any) -> bool:
    """Whether a pipeline generates audio with its videos."""
    return getattr(pipeline, "vocoder", None) is not None


def guidance(pipeline: Any, scale: float) -> dict[str, Any]:
    """The arguments of LTX-2's other kinds of guidance; those not returned keep diffusers' defaults.

    Args:
        pipeline: An `LTX2ConditionPipeline`.
        scale: Of classifier-free guidance; up to 1, as distilled models need, all kinds of guidance are off.
    """
    if scale <= 1:
        none = {"guidance_scale": 1.0, "stg_scale": 0.0, "modality_scale": 1.0, "guidance_rescale": 0.0}
        return {prefix + name: value for prefix in ("", "audio_") for name, value in none.items()}
    config = pipeline.transformer.config
    first = bool(config.use_prompt_embeddings)  # LTX-2.0; later versions project texts in their connectors
    block = STG_BLOCKS[first]
    arguments: dict[str, Any] = {"use_cross_timestep": not first, "spatio_temporal_guidance_blocks": [block]}
    if not config.perturbed_attn or block >= config.num_layers:
        # Without that layer, the perturbed pass equals the ordinary one: skip it, and save one pass in four.
        arguments |= {"stg_scale": 0.0, "audio_stg_scale": 0.0}
    return arguments


def encode_soundtrack(pipeline: Any, audio: Any) -> Media:
    """The audio that the pipeline generated, as WAV.

    Args:
        pipeline: One for which `generates_audio` is true.
        audio: Tensor [1, channels, samples], -1..1.

    Raises:
        GenerationFailed: Some samples are NaN or infinite.
    """
    import numpy as np

    samples = audio[0].float().cpu().numpy()
    if not np.isfinite(samples).all():
        raise GenerationFailed("The model generated audio with NaN or infinite samples; a wider dtype may help.")
    return Media("audio/wav", wav(samples, int(pipeline.vocoder.config.output_sampling_rate)))
