"""Keyframes as diffusers' pipelines take them."""

from typing import Any, NamedTuple

from PIL import Image, ImageOps

from adapters.base import VideoRequest
from adapters.errors import UnsupportedOption
from adapters.media.decode_image import open_image, to_rgb


class Picture(NamedTuple):
    """A keyframe, ready to be shown."""

    image: Image.Image
    """RGB, of the video's size."""
    strength: float


def placed(request: VideoRequest, width: int, height: int, num_frames: int) -> dict[int, Picture]:
    """A request's keyframes by the frame of the video that is made, whose size and length may be others than asked.

    Raises:
        InvalidMedia: One is no picture.
        UnsupportedOption: Two are at one frame.
    """
    found: dict[int, Picture] = {}
    for keyframe in request.keyframes:
        index = keyframe.frame_index
        # The last frame that was asked for is the last that is made, from whichever end it was counted.
        from_end = index - request.num_frames if index == request.num_frames - 1 else min(index, 0)
        index = max(0, num_frames + from_end) if from_end else min(index, num_frames - 1)
        if index in found:
            raise UnsupportedOption(f"Two keyframes fall on frame {index}.", param="keyframes")
        image = to_rgb(open_image(keyframe.image, param="keyframes"))
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        found[index] = Picture(image, keyframe.strength)
    return found


def arguments(pipeline: Any, pictures: dict[int, Picture]) -> dict[str, Any]:
    """What a pipeline is called with for its pictures, by the frames that they are at."""
    name = type(pipeline).__name__
    if name == "LTXConditionPipeline":
        from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

        made = [
            LTXVideoCondition(image=one.image, frame_index=at, strength=one.strength) for at, one in pictures.items()
        ]
        return {"conditions": made or None}
    if name == "LTX2ConditionPipeline":
        from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

        # It counts in latents, of which the n-th but the first begins at frame (n - 1) * 8 + 1. From that it works
        # out the frame again that it puts the picture at: for the frames between, a fraction is exact.
        ratio = pipeline.vae_temporal_compression_ratio
        places = {at: (at - 1) / ratio + 1 if at else 0 for at in pictures}
        made = [LTX2VideoCondition(one.image, places[at], one.strength) for at, one in pictures.items()]  # pyright: ignore[reportArgumentType] - see above
        return {"conditions": made or None}
    if name == "WanImageToVideoPipeline":
        last = max(pictures, default=0)
        return {"image": pictures[0].image, "last_image": pictures[last].image if last else None}
    return {}


def pipeline_for(pipeline: Any, pictures: dict[int, Picture]) -> Any:
    """The pipeline that films from pictures with the same weights, where the loaded one films from text alone."""
    if type(pipeline).__name__ != "WanPipeline" or not pictures:
        return pipeline
    from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline

    own = pipeline.config
    made: Any = WanImageToVideoPipeline(
        **pipeline.components, boundary_ratio=own.boundary_ratio, expand_timesteps=own.expand_timesteps
    )
    made.set_progress_bar_config(disable=True)
    return made
