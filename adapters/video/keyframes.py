"""Keyframes in the form that diffusers' pipelines accept."""

from typing import Any, NamedTuple

from PIL import Image, ImageOps

from adapters.base import VideoRequest
from adapters.errors import UnsupportedOption
from adapters.media.decode_image import open_image, to_rgb


class DecodedKeyframe(NamedTuple):
    """A keyframe as pixels."""

    image: Image.Image
    """RGB, of the video's size."""
    strength: float


def decode_keyframes(request: VideoRequest, width: int, height: int, num_frames: int) -> dict[int, DecodedKeyframe]:
    """A request's keyframes by frame index, for a video whose size and length may differ from those requested.

    Raises:
        InvalidMedia: A keyframe cannot be decoded.
        UnsupportedOption: Two keyframes are at the same frame.
    """
    found: dict[int, DecodedKeyframe] = {}
    for keyframe in request.keyframes:
        index = keyframe.frame_index
        # The last requested frame is the last generated one, whether it was counted from the start or from the end.
        from_end = index - request.num_frames if index == request.num_frames - 1 else min(index, 0)
        index = max(0, num_frames + from_end) if from_end else min(index, num_frames - 1)
        if index in found:
            raise UnsupportedOption(
                f"Two keyframes are at frame {index}. Give each keyframe a frame of its own.", param="keyframes"
            )
        image = to_rgb(open_image(keyframe.image, param="keyframes"))
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        found[index] = DecodedKeyframe(image, keyframe.strength)
    return found


def keyframe_arguments(pipeline: Any, keyframes: dict[int, DecodedKeyframe]) -> dict[str, Any]:
    """The arguments of a pipeline's call that carry the keyframes, given by frame index."""
    name = type(pipeline).__name__
    if name == "LTXConditionPipeline":
        from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

        conditions = [
            LTXVideoCondition(image=one.image, frame_index=index, strength=one.strength)
            for index, one in keyframes.items()
        ]
        return {"conditions": conditions or None}
    if name == "LTX2ConditionPipeline":
        from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

        # Its indices count latents; the n-th latent after the first starts at frame (n - 1) * 8 + 1. The pipeline
        # computes the frame from the index again, so a fraction gives the exact frame between two latents.
        ratio = pipeline.vae_temporal_compression_ratio
        indices = {index: (index - 1) / ratio + 1 if index else 0 for index in keyframes}
        conditions = [
            LTX2VideoCondition(one.image, indices[index], one.strength)  # pyright: ignore[reportArgumentType] - see above
            for index, one in keyframes.items()
        ]
        return {"conditions": conditions or None}
    if name == "WanImageToVideoPipeline":
        last = max(keyframes, default=0)
        return {"image": keyframes[0].image, "last_image": keyframes[last].image if last else None}
    return {}


def pipeline_for(pipeline: Any, keyframes: dict[int, DecodedKeyframe]) -> Any:
    """The pipeline itself, or Wan's image-to-video pipeline over the same weights if there are keyframes."""
    if type(pipeline).__name__ != "WanPipeline" or not keyframes:
        return pipeline
    from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline

    own = pipeline.config
    made: Any = WanImageToVideoPipeline(
        **pipeline.components, boundary_ratio=own.boundary_ratio, expand_timesteps=own.expand_timesteps
    )
    made.set_progress_bar_config(disable=True)
    return made
