"""POST /v1/videos and /v1/videos/transitions: OpenAI's schema of a create, and ours of a transition."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, field_validator

from adapters.base import Keyframe, Media, VideoRequest
from compat.errors import RequestError
from compat.media import parse_data_url
from compat.videos.fields import MAX_FRAMES, ShotFields, list_of, shot_of
from compat.videos.plan import Fields
from compat.wire import FormRequest, WireRequest, validate

ENDS = ("start_image", "end_image")
TRANSITION = Fields((ENDS,), ENDS[:1])


class KeyframeField(FormRequest):
    """A picture at one of the video's frames."""

    frame_index: Annotated[int, Field(ge=-MAX_FRAMES, lt=MAX_FRAMES)]
    image: str
    """A data URL."""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0


class ImageReference(WireRequest):
    """A reference image in a JSON body."""

    image_url: str


class VideoCreateRequest(ShotFields):
    """The body of POST /v1/videos, as form fields or JSON, as far as this server honours it."""

    input_reference: str | ImageReference | None = None
    """A data URL, where the image did not come as a file."""
    image_reference: str | ImageReference | None = None
    """The same, as vLLM-Omni and LiteLLM call it."""
    keyframes: Annotated[list[KeyframeField], Field(max_length=32)] | None = None

    @field_validator("input_reference", "image_reference", mode="before")
    @classmethod
    def _object_from_text(cls, value: Any) -> Any:
        return list_of(value) if isinstance(value, str) and value.lstrip()[:1] == "{" else value

    @field_validator("keyframes", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        rows = list_of(value)
        # Elsewhere the frame's field is called `index`.
        return [_renamed(row) for row in rows] if isinstance(rows, list) else rows  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON


def parse(body: Mapping[str, Any], reference: Media | None, defaults: Mapping[str, Any]) -> VideoRequest:
    """The video that a body asks for.

    Args:
        body: The JSON object, or the form's fields from `wire.flatten`.
        reference: The image that came as the file `input_reference`, for the first frame.
        defaults: The model's own `width`, `height`, `num_frames`, `fps` and so on, where it has any.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoCreateRequest, body)
    shot = shot_of(wire, defaults)
    keyframes = _keyframes(wire, reference)
    _check_places(keyframes, len(wire.keyframes or ()), shot.num_frames)
    return replace(shot, keyframes=keyframes)


def parse_transition(body: Mapping[str, Any], images: Mapping[str, Media], defaults: Mapping[str, Any]) -> VideoRequest:
    """The one shot from a picture to another.

    Args:
        body: The fields of a create, and `start_image` and `end_image` as data URLs where they are no files.
        images: Those that came as files.
        defaults: The model's own.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    for name in ("keyframes", "input_reference"):
        if name in body:
            raise RequestError(f"A transition has its two images, and no '{name}'.", param=name)
    request = parse({name: value for name, value in body.items() if name not in ENDS}, None, defaults)
    if request.num_frames < 2:
        raise RequestError("A transition has two frames at least.", param="num_frames")
    start, end = (_image(name, body, images) for name in ENDS)
    return replace(request, keyframes=(Keyframe(start, 0), Keyframe(end, -1)))


def fields(body: Mapping[str, Any], request: VideoRequest) -> Fields:
    """Where the pictures of a request came in that `parse` has made of a body."""
    reference = "image_reference" if body.get("image_reference") is not None else "input_reference"
    rows = list_of(body.get("keyframes")) or ()
    others = ("keyframes",) * len(rows)
    return Fields((((reference,) if len(request.keyframes) > len(rows) else ()) + others,), ("input_reference",))


def _keyframes(wire: VideoCreateRequest, reference: Media | None) -> tuple[Keyframe, ...]:
    shown = [] if reference is None else [reference]
    for param, given in (("input_reference", wire.input_reference), ("image_reference", wire.image_reference)):
        if given is not None:
            shown.append(parse_data_url(given if isinstance(given, str) else given.image_url, param=param))
        if len(shown) > 1:
            raise RequestError("Send one reference image.", param=param)
    first = tuple(map(Keyframe, shown))
    others = tuple(
        Keyframe(parse_data_url(one.image, param=f"keyframes[{i}].image"), one.frame_index, one.strength)
        for i, one in enumerate(wire.keyframes or ())
    )
    return first + others


def _check_places(keyframes: Sequence[Keyframe], rows: int, num_frames: int) -> None:
    """Each at a frame of the video, and no two at one; the last `rows` of them came as `keyframes`."""
    taken = {0} if len(keyframes) > rows else set[int]()
    for number, index in enumerate(keyframe.frame_index for keyframe in keyframes[len(keyframes) - rows :]):
        param = f"keyframes[{number}].frame_index"
        if not -num_frames <= index < num_frames:
            raise RequestError(
                f"Invalid '{param}': the video has {num_frames} frames, {-num_frames} to {num_frames - 1}.",
                param=param,
                code="invalid_value",
            )
        place = index % num_frames
        if place in taken:
            raise RequestError(f"Invalid '{param}': frame {place} has a picture already.", param=param)
        taken.add(place)


def _image(name: str, body: Mapping[str, Any], images: Mapping[str, Media]) -> Media:
    url = body.get(name)
    if name in images and url is None:
        return images[name]
    if not isinstance(url, str) or name in images:
        raise RequestError(
            f"Send '{name}' once, as a file or a data URL.",
            param=name,
            code=None if name in images else "missing_required_parameter",
        )
    return parse_data_url(url, param=name)


def _renamed(row: Any) -> Any:
    if not isinstance(row, dict) or "index" not in row or "frame_index" in row:
        return row  # pyright: ignore[reportUnknownVariableType] - JSON
    return {("frame_index" if name == "index" else name): value for name, value in row.items()}  # pyright: ignore[reportUnknownVariableType] - JSON
