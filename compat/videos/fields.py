"""What all requests for videos share: fields, limits, and how lengths are worked out."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from adapters.base import VideoRequest
from compat.errors import RequestError
from compat.images.generations import Guidance, Prompt, Seed, Side, Steps, check_size
from compat.wire import FormRequest, parse_size

MAX_FRAMES = 1024
MAX_FILM_FRAMES = 16_384
"""Of a film of several shots: eleven minutes at 24 frames a second."""
MAX_SECONDS = 120
DEFAULT_SECONDS = 4
"""OpenAI's default of this route, for models without one of their own."""
DEFAULT_FPS = 24
STEP = 8
"""Models make 8k + 1 frames, or 4k + 1: a shot that must be exact is asked for at the next such length, and cut."""

Fps = Annotated[int, Field(ge=1, le=120)]
Frames = Annotated[int, Field(ge=1, le=MAX_FRAMES)]
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Hint = Annotated[str, Field(max_length=1000)]


class MethodFields(FormRequest):
    """How a model is to work."""

    model: str | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    seed: Seed | None = None
    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None

    def method(self) -> dict[str, Any]:
        """Those of a `VideoRequest`'s fields that were given."""
        names = ("num_inference_steps", "guidance_scale", "seed", "negative_prompt")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class SizeFields(MethodFields):
    """How large a film is, too."""

    size: str | None = None
    width: Side | None = None
    height: Side | None = None

    def film(self) -> dict[str, Any]:
        """Those of a `VideoRequest`'s fields that were given.

        Raises:
            RequestError: 400, the size is told twice, or reads otherwise than "WIDTHxHEIGHT".
        """
        told = {name: value for name in ("width", "height") if (value := getattr(self, name)) is not None}
        if self.size is not None:
            if self.width is not None or self.height is not None:
                raise RequestError("Send size, or width and height, not both.", param="size")
            told["width"], told["height"] = parse_size(self.size)
        return told | self.method()


class FilmFields(SizeFields):
    """How fast it is shown, too."""

    fps: Fps | None = None

    def film(self) -> dict[str, Any]:
        """As of `SizeFields`."""
        return super().film() | ({} if self.fps is None else {"fps": self.fps})


class ShotFields(FilmFields):
    """What one shot of a model is like, too."""

    prompt: Prompt
    seconds: Seconds | None = None
    num_frames: Frames | None = None
    motion_hint: Hint | None = None
    """How things or the camera move; said to the model after the prompt."""


def shot_of(wire: ShotFields, defaults: Mapping[str, Any]) -> VideoRequest:
    """The shot, without pictures. `num_frames` counts; where only `seconds` are given, they are `seconds * fps + 1`.

    Both together set the rate, where none is given; where one is, they must mean the same, as nearly as models film.

    Args:
        wire: What was asked for.
        defaults: The model's own `width`, `height`, `num_frames`, `fps` and so on, where it has any.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    told = wire.film()
    fields: dict[str, Any] = {"fps": DEFAULT_FPS, **defaults, **told}
    if wire.num_frames is not None and wire.seconds is not None:
        if "fps" not in told:
            fields["fps"] = round((wire.num_frames - 1) / wire.seconds)
        meant = round(wire.seconds * fields["fps"]) + 1
        if not 1 <= fields["fps"] <= 120 or abs(meant - wire.num_frames) > STEP:
            raise RequestError(
                f"{wire.num_frames} frames are not {wire.seconds:g} seconds, at the rate that was given or at any from "
                "1 to 120; send seconds or num_frames.",
                param="seconds",
            )
    if wire.num_frames is not None:
        fields["num_frames"] = wire.num_frames
    elif wire.seconds is not None or "num_frames" not in fields:
        fields["num_frames"] = round((wire.seconds or DEFAULT_SECONDS) * fields["fps"]) + 1
    if not 1 <= fields["num_frames"] <= MAX_FRAMES:
        raise RequestError(f"A video has at most {MAX_FRAMES} frames.", param="seconds")
    request = VideoRequest(prompt=directed(wire.prompt, wire.motion_hint), **fields)
    check_size(request.width, request.height)
    return request


def directed(prompt: str, motion_hint: str | None) -> str:
    """What the model is told: the prompt, and behind it how things move."""
    return f"{prompt} {motion_hint}" if motion_hint else prompt


def next_length(frames: int) -> int:
    """The least length that models film and that has so many frames."""
    return min(-(-(frames - 1) // STEP) * STEP + 1, MAX_FRAMES)


def list_of(value: Any) -> Any:
    """A list, or an object, that may have come as text, in a form field.

    Raises:
        ValueError: The text is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("as a form field, it must be JSON") from None
