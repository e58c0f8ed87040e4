"""POST /v1/scenes/validations, an extension of ours: schemas, parse and render."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import Element, Media, SceneValidation
from compat.errors import RequestError
from compat.media import parse_data_url
from compat.usage import CompletionUsage, render_tokens
from compat.wire import FormRequest, Timings, WireReply, WireRequest, new_id, validate

MAX_DESCRIPTION = 8_000
"""Characters."""


class ImageObject(WireRequest):
    """An image as chat has it."""

    image_url: str | dict[str, Any]
    """A data URL, or an object that holds one as `url`."""


class SceneValidationRequest(FormRequest):
    """A picture, and what it should show."""

    model: Annotated[str, Field(min_length=1, max_length=256)]
    description: Annotated[str, Field(min_length=1, max_length=MAX_DESCRIPTION)]
    image: str | ImageObject | None = None
    """A data URL, bare or as `{"image_url": ...}`; none when the image came as a file."""
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5


@dataclass(frozen=True, slots=True)
class SceneCall:
    """What a client wants checked."""

    model: str
    image: Media
    description: str
    threshold: float


class SceneElement(WireReply):
    """A part of the description, and the probability that the image shows it."""

    text: str
    probability: float


class SceneValidationReply(WireReply):
    """How well the image shows the description."""

    id: str
    object: Literal["scene.validation"]
    created: int
    """Unix seconds."""
    model: str
    is_valid: bool
    match_score: float
    """0..1."""
    explanation: str
    matched_elements: list[SceneElement]
    mismatched_elements: list[SceneElement]
    usage: CompletionUsage
    timings: Timings


def parse(body: Mapping[str, Any], file: Media | None = None) -> SceneCall:
    """What a client wants checked.

    Args:
        body: The JSON object, or the form's fields from `wire.flatten`.
        file: The image, when it came as the form's file `image`.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(SceneValidationRequest, body)
    if (wire.image is None) == (file is None):
        raise RequestError("Send one image: as a data URL in 'image', or as a file of that name.", param="image")
    return SceneCall(wire.model, file or _image(wire.image), wire.description, wire.threshold)


def _image(image: str | ImageObject | None) -> Media:
    if not isinstance(image, ImageObject):
        return parse_data_url(image or "", param="image")
    url = image.image_url
    if isinstance(url, dict):
        url = url.get("url") if url.keys() <= {"url", "detail"} else None
    if not isinstance(url, str):
        raise RequestError("Invalid 'image.image_url': write a data URL, or {\"url\": ...}.", param="image.image_url")
    return parse_data_url(url, param="image.image_url")


def render(validation: SceneValidation, model: str) -> SceneValidationReply:
    """The reply."""
    return SceneValidationReply(
        id=new_id("scene_"),
        object="scene.validation",
        created=int(time.time()),
        model=model,
        is_valid=validation.is_valid,
        match_score=validation.match_score,
        explanation=validation.explanation,
        matched_elements=_elements(validation.matched),
        mismatched_elements=_elements(validation.mismatched),
        usage=render_tokens(validation.usage),
        timings=Timings(generation_ms=round(validation.generation_ms, 3)),
    )


def _elements(elements: tuple[Element, ...]) -> list[SceneElement]:
    return [SceneElement(text=element.text, probability=element.probability) for element in elements]
