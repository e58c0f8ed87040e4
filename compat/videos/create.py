"""POST /v1/videos and /v1/videos/transitions: OpenAI's schema of a create, and ours of a transition."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, field_validator

from adapters.base import Keyframe, Media, VideoRequest
from compat.errors import invalid, missing
from compat.media import FileId, Reference, parse_data_url
from compat.videos.fields import MAX_FRAMES, ShotFields, shot_of
from compat.videos.plan import FieldNames
from compat.wire import FormRequest, WireRequest, parse_json_field, validate

ENDS = ("start_image", "end_image")
TRANSITION = FieldNames((ENDS,), ENDS[:1])


class KeyframeField(FormRequest):
    """An image at one of the video's frames."""

    frame_index: Annotated[int, Field(ge=-MAX_FRAMES, lt=MAX_FRAMES)]
    image: str
    """A data URL."""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0


class ImageReference(WireRequest):
    """A reference image in a JSON body: a data URL, or an uploaded file."""

    image_url: str | None = None
    file_id: FileId | None = None


class VideoCreateRequest(ShotFields):
    """The body of POST /v1/videos, as form fields or JSON, as far as this server supports it."""

    input_reference: str | ImageReference | None = None
    """A data URL, if the image is not sent as a file."""
    image_reference: str | ImageReference | None = None
    """The name of `input_reference` in vLLM-Omni and LiteLLM."""
    keyframes: Annotated[list[KeyframeField], Field(max_length=32)] | None = None

    @field_validator("input_reference", "image_reference", mode="before")
    @classmethod
    def _object_from_text(cls, value: Any) -> Any:
        return parse_json_field(value) if isinstance(value, str) and value.lstrip()[:1] == "{" else value

    @field_validator("keyframes", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        rows = parse_json_field(value)
        # Other servers call the field `index`.
        return [_renamed(row) for row in rows] if isinstance(rows, list) else rows  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON


def parse(body: Mapping[str, Any], reference: Media | None, defaults: Mapping[str, Any]) -> VideoRequest:
    """The video of a request.

    Args:
        body: The JSON object, or the form's fields from `wire.flatten`.
        reference: The file `input_reference`, for the first frame.
        defaults: The model's own `width`, `height`, `num_frames`, `fps` and so on, if it has any.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(VideoCreateRequest, body)
    shot = shot_of(wire, defaults)
    keyframes = _keyframes(wire, reference)
    _check_frames(keyframes, len(wire.keyframes or ()), shot.num_frames)
    return replace(shot, keyframes=keyframes)


def parse_transition(body: Mapping[str, Any], images: Mapping[str, Media], defaults: Mapping[str, Any]) -> VideoRequest:
    """The shot of a transition between two images.

    Args:
        body: The fields of a create, and `start_image` and `end_image` as data URLs if they are not files.
        images: The images that were sent as files.
        defaults: The model's own.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    for name in ("keyframes", "input_reference"):
        if name in body:
            raise invalid(name, "is not allowed in a transition; send 'start_image' and 'end_image'")
    request = parse({name: value for name, value in body.items() if name not in ENDS}, None, defaults)
    if request.num_frames < 2:
        raise invalid("num_frames", "must be at least 2 in a transition")
    start, end = (_image(name, body, images) for name in ENDS)
    return replace(request, keyframes=(Keyframe(start, 0), Keyframe(end, -1)))


def fields(body: Mapping[str, Any], request: VideoRequest) -> FieldNames:
    """The fields with the images of a request."""
    reference = "image_reference" if body.get("image_reference") is not None else "input_reference"
    rows = parse_json_field(body.get("keyframes")) or ()
    others = ("keyframes",) * len(rows)
    return FieldNames((((reference,) if len(request.keyframes) > len(rows) else ()) + others,), ("input_reference",))


def _keyframes(wire: VideoCreateRequest, reference: Media | None) -> tuple[Keyframe, ...]:
    references = [] if reference is None else [reference]
    for param, given in (("input_reference", wire.input_reference), ("image_reference", wire.image_reference)):
        if given is not None:
            references.append(_reference(given, param))
        if len(references) > 1:
            raise invalid(param, "a reference image was already sent; send only one")
    first = tuple(map(Keyframe, references))
    others = tuple(
        Keyframe(parse_data_url(one.image, param=f"keyframes[{i}].image"), one.frame_index, one.strength)
        for i, one in enumerate(wire.keyframes or ())
    )
    return first + others


def _reference(given: str | ImageReference, param: str) -> Media:
    if isinstance(given, str):
        return parse_data_url(given, param=param)
    if (given.image_url is None) == (given.file_id is None):
        raise invalid(param, "must have exactly one of 'image_url' and 'file_id'")
    if given.file_id is not None:
        return Reference("", file_id=given.file_id, param=f"{param}.file_id")
    return parse_data_url(given.image_url or "", param=f"{param}.image_url")


def _check_frames(keyframes: Sequence[Keyframe], rows: int, num_frames: int) -> None:
    """Checks that keyframes are at different frames of the video. The last `rows` of them were sent as `keyframes`."""
    taken = {0} if len(keyframes) > rows else set[int]()
    for number, index in enumerate(keyframe.frame_index for keyframe in keyframes[len(keyframes) - rows :]):
        param = f"keyframes[{number}].frame_index"
        if not -num_frames <= index < num_frames:
            raise invalid(param, f"must be {-num_frames} to {num_frames - 1} in a video of {num_frames} frames")
        frame = index % num_frames
        if frame in taken:
            raise invalid(param, f"frame {frame} already has an image")
        taken.add(frame)


def _image(name: str, body: Mapping[str, Any], images: Mapping[str, Media]) -> Media:
    url = body.get(name)
    if name in images and url is None:
        return images[name]
    if url is None:
        raise missing(name)
    if not isinstance(url, str) or name in images:
        raise invalid(name, "must be sent once, as a file or as a data URL")
    return parse_data_url(url, param=name)


def _renamed(row: Any) -> Any:
    if not isinstance(row, dict) or "index" not in row or "frame_index" in row:
        return row  # pyright: ignore[reportUnknownVariableType] - JSON
    return {("frame_index" if name == "index" else name): value for name, value in row.items()}  # pyright: ignore[reportUnknownVariableType] - JSON
