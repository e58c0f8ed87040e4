"""POST /v1/images/edits and /v1/images/variations: OpenAI's schemas and parse, of forms and of JSON."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from adapters.base import ImageRequest, Media
from compat.errors import RequestError
from compat.images.generations import ImageCall, PictureRequest, Prompt, call_of, common, one_picture, sizes
from compat.media import parse_data_url
from compat.wire import validate

FIDELITY = {"low": 0.8, "high": 0.5}
"""The strength that an `input_fidelity` means: how much of the picture is given up."""
VARIATION_STRENGTH = 0.6
"""Of variations: the composition stays, details are drawn anew."""

Strength = Annotated[float, Field(ge=0.01, le=1)]


class ImageEditRequest(PictureRequest):
    """The fields of POST /v1/images/edits, as far as this server honours them; pictures are read apart."""

    model_config = ConfigDict(strict=False)

    prompt: Prompt
    input_fidelity: Literal["high", "low"] | None = None
    """How close to the picture; `strength` says it in numbers."""
    strength: Strength | None = None


class ImageVariationRequest(PictureRequest):
    """The fields of POST /v1/images/variations; the picture is read apart."""

    model_config = ConfigDict(strict=False)

    prompt: Annotated[str, Field(max_length=32_000)] | None = None
    """Ours: what is to be seen; else the picture alone says it."""
    strength: Strength | None = None


def pictures_of(body: dict[str, Any], files: Mapping[str, list[Media]]) -> dict[str, list[Media]]:
    """The pictures of a request by field: files of a form, or data URLs, which are taken out of the body.

    Args:
        body: The fields; `image` (and `mask`) may hold data URLs, or `{"image_url": ...}` as OpenAI's JSON.
        files: Uploads by the name of their field; `image[]` is one of the names of `image`.

    Raises:
        RequestError: A file under another name; a URL that is no data URL.
    """
    found: dict[str, list[Media]] = {"image": [], "mask": []}
    for name, uploads in files.items():
        field = name.removesuffix("[]")
        if field not in found:
            raise RequestError(f"Unknown parameter: '{name[:64]}'.", param=name[:64], code="unknown_parameter")
        found[field] += uploads
    for name, field in (("image", "image"), ("images", "image"), ("mask", "mask")):
        value = body.pop(name, None)
        given: list[Any] = value if isinstance(value, list) else [] if value is None else [value]  # pyright: ignore[reportUnknownVariableType] - JSON
        for one in given[:17]:
            url: Any = one.get("image_url") if isinstance(one, dict) else one  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
            if not isinstance(url, str):
                raise RequestError(f"Invalid '{name}': send a file, or a data URL.", param=name)
            found[field].append(parse_data_url(url, param=name))
    return found


def parse_edit(body: Mapping[str, Any], pictures: Mapping[str, list[Media]], defaults: Mapping[str, Any]) -> ImageCall:
    """The edit behind a request.

    Args:
        body: Its fields, as JSON or as a flattened form.
        pictures: `image` and `mask`.
        defaults: The model's own.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(ImageEditRequest, body)
    if wire.strength is not None and wire.input_fidelity is not None:
        raise RequestError("Send input_fidelity or strength, not both.", param="input_fidelity")
    masks = pictures["mask"]
    strength = wire.strength or FIDELITY[wire.input_fidelity or "low"]
    # Within a mask nothing of the picture is to stay, unless it is asked for.
    if masks and wire.strength is None and wire.input_fidelity is None:
        strength = 1.0
    request = ImageRequest(
        prompt=wire.prompt,
        source=one_picture(pictures["image"], "image"),
        mask=one_picture(masks, "mask") if masks else None,
        strength=strength,
        **common(wire, defaults.get("num_inference_steps", 30), defaults),
        **sizes(wire, {"width": None, "height": None}),
    )
    return call_of(wire, request, "image_edit")


def parse_variation(
    body: Mapping[str, Any], pictures: Mapping[str, list[Media]], defaults: Mapping[str, Any]
) -> ImageCall:
    """The variation behind a request. Arguments and errors as `parse_edit`."""
    wire = validate(ImageVariationRequest, body)
    if pictures["mask"]:
        raise RequestError("Unknown parameter: 'mask'.", param="mask", code="unknown_parameter")
    if wire.stream:
        raise RequestError("Variations are not streamed.", param="stream")
    request = ImageRequest(
        prompt=wire.prompt or "",
        source=one_picture(pictures["image"], "image"),
        strength=wire.strength or VARIATION_STRENGTH,
        **common(wire, defaults.get("num_inference_steps", 30), defaults),
        **sizes(wire, {"width": None, "height": None}),
    )
    return call_of(wire, request)
