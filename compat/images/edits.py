"""POST /v1/images/edits and /v1/images/variations: OpenAI's schemas and parse, of forms and of JSON."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field

from adapters.base import ImageRequest, Media
from compat.errors import invalid, unknown
from compat.images.generations import ImageCall, ImageFields, Prompt, call_of, common, single_image, sizes
from compat.media import Reference, parse_data_url
from compat.wire import refuse_or_ignore, validate

FIDELITY = {"low": 0.8, "high": 0.5}
"""The strength of each `input_fidelity`: how much of the image is replaced."""
VARIATION_STRENGTH = 0.6
"""Of variations: the composition stays, details change."""

Strength = Annotated[float, Field(ge=0.01, le=1)]


class ImageEditRequest(ImageFields):
    """The fields of POST /v1/images/edits, as far as this server supports them; images are parsed separately."""

    model_config = ConfigDict(strict=False)

    prompt: Prompt
    input_fidelity: Literal["high", "low"] | None = None
    """How close to stay to the image; `strength` is its numeric form."""
    markup: None = None
    strength: Strength | None = None


class ImageVariationRequest(ImageFields):
    """The fields of POST /v1/images/variations; the image is parsed separately."""

    model_config = ConfigDict(strict=False)

    prompt: Annotated[str, Field(max_length=32_000)] | None = None
    """An extension: what the variation should show, beside the image."""
    strength: Strength | None = None


def take_images(body: dict[str, Any], files: Mapping[str, list[Media]]) -> dict[str, list[Media]]:
    """The images of a request by field: files of a form, or data URLs, which are removed from the body.

    Args:
        body: The fields; `image` and `mask` may contain data URLs, or `{"image_url": ...}` or `{"file_id": ...}` as in
            OpenAI's JSON.
        files: Uploads by field; `image[]` means `image`.

    Raises:
        RequestError: A file in another field, or an invalid data URL.
    """
    found: dict[str, list[Media]] = {"image": [], "mask": []}
    for name, uploads in files.items():
        field = name.removesuffix("[]")
        if field in found:
            found[field] += uploads
        else:
            refuse_or_ignore(name)
    for name, field in (("image", "image"), ("images", "image"), ("mask", "mask")):
        value = body.pop(name, None)
        given: list[Any] = value if isinstance(value, list) else [] if value is None else [value]  # pyright: ignore[reportUnknownVariableType] - JSON
        for index, one in enumerate(given[:17]):
            found[field].append(_image(one, f"{name}[{index}]" if given is value else name))
    return found


def _image(given: Any, param: str) -> Media:
    if isinstance(given, str):
        return parse_data_url(given, param=param)
    if not isinstance(given, dict):
        raise invalid(param, "must be a file of a multipart form, a data URL, or an object with one or a 'file_id'")
    sent = {name: one for name, one in cast(dict[str, Any], given).items() if one is not None}
    if ("image_url" in sent) == ("file_id" in sent):
        raise invalid(param, "must have either 'image_url' or 'file_id'")
    member, value = next((name, sent[name]) for name in ("image_url", "file_id") if name in sent)
    if not isinstance(value, str):
        raise invalid(f"{param}.{member}", "must be a string")
    if member == "file_id":
        return Reference("", file_id=value[:64], param=f"{param}.file_id")
    return parse_data_url(value, param=f"{param}.image_url")


def parse_edit(body: Mapping[str, Any], images: Mapping[str, list[Media]], defaults: Mapping[str, Any]) -> ImageCall:
    """The edit behind a request.

    Args:
        body: Its fields, as JSON or as a flattened form.
        images: The images of `image` and `mask`.
        defaults: The model's own.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(ImageEditRequest, body)
    if wire.strength is not None and wire.input_fidelity is not None:
        raise invalid("input_fidelity", "cannot be combined with 'strength'; send one of them")
    masks = images["mask"]
    strength = wire.strength or FIDELITY[wire.input_fidelity or "low"]
    # The masked area is replaced completely unless the request says otherwise.
    if masks and wire.strength is None and wire.input_fidelity is None:
        strength = 1.0
    request = ImageRequest(
        prompt=wire.prompt,
        source=single_image(images["image"], "image"),
        mask=single_image(masks, "mask") if masks else None,
        strength=strength,
        **common(wire, defaults.get("num_inference_steps", 30), defaults),
        **sizes(wire, {"width": None, "height": None}),
    )
    return call_of(wire, request, "image_edit")


def parse_variation(
    body: Mapping[str, Any], images: Mapping[str, list[Media]], defaults: Mapping[str, Any]
) -> ImageCall:
    """The variation behind a request. Arguments and errors as for `parse_edit`."""
    wire = validate(ImageVariationRequest, body)
    if images["mask"]:
        raise unknown("mask")
    if wire.stream:
        raise invalid("stream", "image variations cannot be streamed")
    request = ImageRequest(
        prompt=wire.prompt or "",
        source=single_image(images["image"], "image"),
        strength=wire.strength or VARIATION_STRENGTH,
        **common(wire, defaults.get("num_inference_steps", 30), defaults),
        **sizes(wire, {"width": None, "height": None}),
    )
    return call_of(wire, request)
