"""What is LTX-2's alone: its ways of guidance, and the sound that it makes beside the pictures (arXiv 2601.03233)."""

from typing import Any

from adapters.base import Media
from adapters.errors import GenerationFailed
from adapters.media.soundtrack import wav

STG_BLOCKS = {True: 29, False: 28}
"""The layer that its guidance by a weaker self leaves out, of LTX-2.0, and of later ones; as diffusers has it."""


def makes_sound(pipeline: Any) -> bool:
    """Whether a pipeline makes sounds."""
    return getattr(pipeline, "vocoder", None) is not None


def guidance(pipeline: Any, scale: float) -> dict[str, Any]:
    """The arguments of LTX-2's other kinds of guidance; what is not among them stays as diffusers has it.

    Args:
        pipeline: An `LTX2ConditionPipeline`.
        scale: Of classifier-free guidance; up to 1, as distilled models want it, there is none of any kind.
    """
    if scale <= 1:
        none = {"guidance_scale": 1.0, "stg_scale": 0.0, "modality_scale": 1.0, "guidance_rescale": 0.0}
        return {prefix + name: value for prefix in ("", "audio_") for name, value in none.items()}
    config = pipeline.transformer.config
    first = bool(config.use_prompt_embeddings)  # LTX-2.0; later ones project texts in their connectors
    block = STG_BLOCKS[first]
    told: dict[str, Any] = {"use_cross_timestep": not first, "spatio_temporal_guidance_blocks": [block]}
    if not config.perturbed_attn or block >= config.num_layers:
        # Without that layer the weaker self is no weaker: the same pictures, one pass of four cheaper.
        told |= {"stg_scale": 0.0, "audio_stg_scale": 0.0}
    return told


def sound_of(pipeline: Any, audio: Any) -> Media:
    """What the pipeline made to be heard, as WAV.

    Args:
        pipeline: As `makes_sound` has it.
        audio: Tensor [1, channels, samples], -1..1.

    Raises:
        GenerationFailed: Some samples are not numbers.
    """
    import numpy as np

    samples = audio[0].float().cpu().numpy()
    if not np.isfinite(samples).all():
        raise GenerationFailed("The model produced sounds that are not numbers; a wider dtype may help.")
    return Media("audio/wav", wav(samples, int(pipeline.vocoder.config.output_sampling_rate)))
