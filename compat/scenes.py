"""POST /v1/scenes/validations and /consistency, extensions: schemas, parse and render."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from adapters.base import Element, Media, SceneConsistency, SceneValidation
from compat.chat.messages import ImageUrl
from compat.errors import invalid
from compat.media import FileId, Reference, parse_image_url
from compat.usage import CompletionUsage, render_tokens
from compat.wire import FormRequest, Timings, WireReply, WireRequest, first_repeated, new_id, parse_json_field, validate

MAX_DESCRIPTION = 8_000
"""Characters."""
MIN_IMAGES, MAX_IMAGES = 2, 32
MAX_ASPECTS = 16

ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Aspect = Annotated[str, Field(min_length=1, max_length=100)]


class ImageObject(WireRequest):
    """An image as in chat, or an uploaded file."""

    image_url: str | ImageUrl | None = None
    """A URL, or an object with the member `url`."""
    file_id: FileId | None = None


class SceneValidationRequest(FormRequest):
    """An image, and what it should show."""

    model: ModelName
    description: Annotated[str, Field(min_length=1, max_length=MAX_DESCRIPTION)]
    image: str | ImageObject | None = None
    """A URL, or `{"image_url": ...}`; None if the image was sent as a file."""
    threshold: Threshold | None = None


class SceneConsistencyRequest(FormRequest):
    """Images that should be consistent with each other."""

    model: ModelName
    images: Annotated[list[str | ImageObject], Field(max_length=MAX_IMAGES)] | None = None
    """None if they were sent as files."""
    aspects: Annotated[list[Aspect], Field(min_length=1, max_length=MAX_ASPECTS)] | None = None
    threshold: Threshold | None = None

    _listed = field_validator("images", "aspects", mode="before")(parse_json_field)


@dataclass(frozen=True, slots=True)
class SceneCall:
    """A parsed request for a validation."""

    model: str
    image: Media
    description: str
    threshold: float | None


@dataclass(frozen=True, slots=True)
class ConsistencyCall:
    """A parsed request for a consistency check."""

    model: str
    images: tuple[Media, ...]
    aspects: tuple[str, ...] | None
    threshold: float | None


class SceneElement(WireReply):
    """A part of the description, and the probability that the image shows it."""

    text: str
    probability: float


class SceneValidationReply(WireReply):
    """How well the image matches the description."""

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


class ConsistencyAspect(WireReply):
    """An aspect, and the probability that all images agree in it."""

    name: str
    is_consistent: bool
    probability: float
    pairwise_probability: float
    """Of the image that agrees least with the others in pairwise comparisons."""
    set_probability: float | None
    """From all images in one prompt; null if they do not fit into the context."""


class ConsistencyPair(WireReply):
    """Two images, by their positions in the request."""

    first: int
    second: int
    probability: float
    """The average over all aspects."""
    aspects: dict[str, float]


class SceneInconsistency(WireReply):
    """An inconsistent aspect, and the images that differ in it."""

    aspect: str
    probability: float
    images: list[int]


class OddImage(WireReply):
    """The image that agrees least with the others."""

    index: int
    probability: float


class SceneConsistencyReply(WireReply):
    """Whether the images are consistent."""

    id: str
    object: Literal["scene.consistency"]
    created: int
    """Unix seconds."""
    model: str
    is_consistent: bool
    consistency_score: float
    analysis: str
    method: Literal["pairs_and_set", "pairs", "descriptions"]
    """"pairs": all images together exceed the model's context. "descriptions": texts about the images are compared."""
    aspects: list[ConsistencyAspect]
    pairs: list[ConsistencyPair]
    inconsistencies: list[SceneInconsistency]
    odd_image: OddImage | None
    descriptions: list[dict[str, str]] | None
    """Of each image, by aspect; null if the images themselves were compared."""
    usage: CompletionUsage
    timings: Timings


def parse(body: Mapping[str, Any], file: Media | None = None) -> SceneCall:
    """The request behind a JSON body, or a form with the image as a file.

    Raises:
        RequestError: 400 or 413, naming the field at fault.
    """
    wire = validate(SceneValidationRequest, body)
    if (file is None) == (wire.image is None):
        raise invalid("image", "must be sent exactly once: as a URL, or as a file of a multipart form")
    return SceneCall(wire.model, file or _image(wire.image or "", "image"), wire.description, wire.threshold)


def parse_consistency(body: Mapping[str, Any], files: Sequence[Media] = ()) -> ConsistencyCall:
    """As `parse`, for several images.

    Raises:
        RequestError: 400 or 413, naming the field at fault.
    """
    wire = validate(SceneConsistencyRequest, body)
    if bool(files) == bool(wire.images):
        raise invalid("images", "must be sent either as URLs or as files of a multipart form")
    images = tuple(files) or tuple(_image(one, f"images[{at}]") for at, one in enumerate(wire.images or ()))
    if not MIN_IMAGES <= len(images) <= MAX_IMAGES:
        raise invalid("images", f"must have {MIN_IMAGES} to {MAX_IMAGES} images, not {len(images)}")
    aspects = None if wire.aspects is None else tuple(" ".join(one.split()) for one in wire.aspects)
    if aspects is not None and "" in aspects:
        raise invalid(f"aspects[{aspects.index('')}]", "must not be blank")
    if aspects is not None and (index := first_repeated(aspects)) is not None:
        raise invalid(f"aspects[{index}]", f"{aspects[index]!r} is already in the list")
    return ConsistencyCall(wire.model, images, aspects, wire.threshold)


def _image(image: str | ImageObject, param: str) -> Media:
    if isinstance(image, str):
        return parse_image_url(image, param=param)
    url = image.image_url
    if (url is None) == (image.file_id is None):
        raise invalid(param, "must have either 'image_url' or 'file_id'")
    if image.file_id is not None:
        return Reference("", file_id=image.file_id, param=f"{param}.file_id")
    where = f"{param}.image_url"
    if isinstance(url, ImageUrl):
        url, where = url.url, f"{where}.url"
    return parse_image_url(url or "", param=where)


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


def render_consistency(found: SceneConsistency, model: str) -> SceneConsistencyReply:
    """The reply."""
    wrong = {one.aspect for one in found.inconsistencies}
    names = [one.name for one in found.aspects]
    odd = found.odd_frame
    return SceneConsistencyReply(
        id=new_id("scene_"),
        object="scene.consistency",
        created=int(time.time()),
        model=model,
        is_consistent=found.is_consistent,
        consistency_score=found.consistency_score,
        analysis=found.analysis,
        method="descriptions" if found.descriptions else "pairs_and_set" if found.all_at_once else "pairs",
        aspects=[
            ConsistencyAspect(one.name, one.name not in wrong, one.probability, one.pairs, one.whole)
            for one in found.aspects
        ],
        pairs=[
            ConsistencyPair(
                pair.first,
                pair.second,
                sum(pair.probabilities) / len(pair.probabilities),
                dict(zip(names, pair.probabilities, strict=True)),
            )
            for pair in found.pairs
        ],
        inconsistencies=[
            SceneInconsistency(one.aspect, one.probability, list(one.frames)) for one in found.inconsistencies
        ],
        odd_image=None if odd is None else OddImage(odd, found.odd_probabilities[odd]),
        descriptions=[dict(zip(names, said, strict=True)) for said in found.descriptions] or None,
        usage=render_tokens(found.usage),
        timings=Timings(generation_ms=round(found.generation_ms, 3)),
    )
