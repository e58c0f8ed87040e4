"""Fields and limits that all video requests share, and the length of a shot."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from adapters.base import VideoRequest
from compat.errors import invalid
from compat.images.generations import Guidance, Prompt, Seed, Side, Steps, check_size
from compat.wire import FormRequest, parse_size

MAX_FRAMES = 1024
MAX_VIDEO_FRAMES = 16_384
"""Of a video of several shots: eleven minutes at 24 frames per second."""
MAX_SECONDS = 120
DEFAULT_SECONDS = 4
"""OpenAI's default, for models without their own."""
DEFAULT_FPS = 24
STEP = 8
"""Models make 8k + 1 or 4k + 1 frames. An exact length is generated at the next such length, and then cut."""

Fps = Annotated[int, Field(ge=1, le=120)]
Frames = Annotated[int, Field(ge=1, le=MAX_FRAMES)]
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Hint = Annotated[str, Field(max_length=1000)]


class MethodFields(FormRequest):
    """Options of the model."""

    model: str | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    seed: Seed | None = None
    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None

    def method(self) -> dict[str, Any]:
        """The fields of `VideoRequest` that were sent."""
        names = ("num_inference_steps", "guidance_scale", "seed", "negative_prompt")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class SizeFields(MethodFields):
    """Options of the model, and the size."""

    size: str | None = None
    width: Side | None = None
    height: Side | None = None

    def given(self) -> dict[str, Any]:
        """The fields of `VideoRequest` that were sent.

        Raises:
            RequestError: 400: the size is sent twice, or not as "WIDTHxHEIGHT".
        """
        sent = {name: value for name in ("width", "height") if (value := getattr(self, name)) is not None}
        if self.size is not None:
            if self.width is not None or self.height is not None:
                raise invalid("size", "cannot be combined with 'width' and 'height'; send one or the other")
            sent["width"], sent["height"] = parse_size(self.size)
        return sent | self.method()


class RateFields(SizeFields):
    """Options of the model, the size, and the frame rate."""

    fps: Fps | None = None

    def given(self) -> dict[str, Any]:
        """As for `SizeFields`."""
        return super().given() | ({} if self.fps is None else {"fps": self.fps})


class ShotFields(RateFields):
    """All fields of one shot."""

    prompt: Prompt
    seconds: Seconds | None = None
    num_frames: Frames | None = None
    motion_hint: Hint | None = None
    """The motion of the camera or the scene; appended to the prompt."""


def shot_of(wire: ShotFields, defaults: Mapping[str, Any]) -> VideoRequest:
    """The shot without images. Its length is `num_frames`, or `seconds * fps + 1` if only `seconds` is sent.

    Both together determine the frame rate if none is sent; otherwise they must agree within a model's step.

    Args:
        wire: The request.
        defaults: The model's own `width`, `height`, `num_frames`, `fps` and so on, if it has any.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    sent = wire.given()
    fields: dict[str, Any] = {"fps": DEFAULT_FPS, **defaults, **sent}
    if wire.num_frames is not None and wire.seconds is not None:
        if "fps" not in sent:
            fields["fps"] = round((wire.num_frames - 1) / wire.seconds)
        meant = round(wire.seconds * fields["fps"]) + 1
        if not 1 <= fields["fps"] <= 120 or abs(meant - wire.num_frames) > STEP:
            rate = f"{wire.fps} fps" if wire.fps is not None else "1 to 120 fps"
            reason = (
                f"{wire.num_frames} frames do not last {wire.seconds:g} s at {rate}; send 'seconds' or 'num_frames'"
            )
            raise invalid("seconds", reason)
    if wire.num_frames is not None:
        fields["num_frames"] = wire.num_frames
    elif wire.seconds is not None or "num_frames" not in fields:
        fields["num_frames"] = round((wire.seconds or DEFAULT_SECONDS) * fields["fps"]) + 1
    if not 1 <= fields["num_frames"] <= MAX_FRAMES:
        raise invalid(
            "seconds", f"is {fields['num_frames']} frames at {fields['fps']} fps; must be 1 to {MAX_FRAMES} frames"
        )
    request = VideoRequest(prompt=full_prompt(wire.prompt, wire.motion_hint), **fields)
    check_size(request.width, request.height)
    return request


def full_prompt(prompt: str, motion_hint: str | None) -> str:
    """The prompt with the motion hint at its end."""
    return f"{prompt} {motion_hint}" if motion_hint else prompt


def supported_length(frames: int) -> int:
    """The smallest length that models can generate with at least this number of frames."""
    return min(-(-(frames - 1) // STEP) * STEP + 1, MAX_FRAMES)
