"""POST /v1/scenes/validations and /consistency, extensions of ours: schemas, parse and render."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from adapters.base import Element, Media, SceneConsistency, SceneValidation
from compat.errors import RequestError
from compat.media import FileId, Reference, parse_image_url
from compat.usage import CompletionUsage, render_tokens
from compat.videos.fields import list_of
from compat.wire import FormRequest, Timings, WireReply, WireRequest, new_id, validate

MAX_DESCRIPTION = 8_000
"""Characters."""
MIN_IMAGES, MAX_IMAGES = 2, 32
MAX_ASPECTS = 16

ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Aspect = Annotated[str, Field(min_length=1, max_length=100)]


class ImageObject(WireRequest):
    """An image as chat has it, or one that was uploaded."""

    image_url: str | dict[str, Any] | None = None
    """A URL, or an object that holds one as `url`."""
    file_id: FileId | None = None


class SceneValidationRequest(FormRequest):
    """A picture, and what it should show."""

    model: ModelName
    description: Annotated[str, Field(min_length=1, max_length=MAX_DESCRIPTION)]
    image: str | ImageObject | None = None
    """A URL, bare or as `{"image_url": ...}`; none when the image came as a file."""
    threshold: Threshold | None = None


class SceneConsistencyRequest(FormRequest):
    """Pictures that belong together, or do not."""

    model: ModelName
    images: Annotated[list[str | ImageObject], Field(max_length=MAX_IMAGES)] | None = None
    """None when they came as files."""
    aspects: Annotated[list[Aspect], Field(min_length=1, max_length=MAX_ASPECTS)] | None = None
    threshold: Threshold | None = None

    _listed = field_validator("images", "aspects", mode="before")(list_of)


@dataclass(frozen=True, slots=True)
class SceneCall:
    """What a client wants checked."""

    model: str
    image: Media
    description: str
    threshold: float | None


@dataclass(frozen=True, slots=True)
class ConsistencyCall:
    """What a client wants compared."""

    model: str
    images: tuple[Media, ...]
    aspects: tuple[str, ...] | None
    threshold: float | None


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


class ConsistencyAspect(WireReply):
    """An aspect, and the probability that all images are the same in it."""

    name: str
    is_consistent: bool
    probability: float
    pairwise_probability: float
    """Of the image that agrees least with the others, two by two."""
    set_probability: float | None
    """Of all images at once; null where they did not fit."""


class ConsistencyPair(WireReply):
    """Two images, by their places in the request."""

    first: int
    second: int
    probability: float
    """Of all aspects, on average."""
    aspects: dict[str, float]


class SceneInconsistency(WireReply):
    """An aspect that is not the same, and the images that stand out in it."""

    aspect: str
    probability: float
    images: list[int]


class OddImage(WireReply):
    """The image that does not fit the others."""

    index: int
    probability: float


class SceneConsistencyReply(WireReply):
    """Whether the images belong together."""

    id: str
    object: Literal["scene.consistency"]
    created: int
    """Unix seconds."""
    model: str
    is_consistent: bool
    consistency_score: float
    analysis: str
    method: Literal["pairs_and_set", "pairs", "descriptions"]
    """"pairs": all images together do not fit the model's context. "descriptions": it compares what it says of them."""
    aspects: list[ConsistencyAspect]
    pairs: list[ConsistencyPair]
    inconsistencies: list[SceneInconsistency]
    odd_image: OddImage | None
    descriptions: list[dict[str, str]] | None
    """Of each image, by aspect; null where the images themselves were compared."""
    usage: CompletionUsage
    timings: Timings


def parse(body: Mapping[str, Any], file: Media | None = None) -> SceneCall:
    """The request behind a JSON body, or behind a form's fields with the image as a file.

    Raises:
        RequestError: 400 or 413, naming the field at fault.
    """
    wire = validate(SceneValidationRequest, body)
    if (file is None) == (wire.image is None):
        raise RequestError("Send one image: as a URL in 'image', or as a file of that name.", param="image")
    return SceneCall(wire.model, file or _image(wire.image or "", "image"), wire.description, wire.threshold)


def parse_consistency(body: Mapping[str, Any], files: Sequence[Media] = ()) -> ConsistencyCall:
    """The same, for several images.

    Raises:
        RequestError: 400 or 413, naming the field at fault.
    """
    wire = validate(SceneConsistencyRequest, body)
    if bool(files) == bool(wire.images):
        raise RequestError("Send the images: as URLs in 'images', or as files of that name.", param="images")
    images = tuple(files) or tuple(_image(one, f"images[{at}]") for at, one in enumerate(wire.images or ()))
    if not MIN_IMAGES <= len(images) <= MAX_IMAGES:
        raise RequestError(
            f"{MIN_IMAGES} to {MAX_IMAGES} images can be compared; there are {len(images)}.", param="images"
        )
    aspects = None if wire.aspects is None else tuple(" ".join(one.split()) for one in wire.aspects)
    if aspects is not None and (not all(aspects) or len(set(aspects)) < len(aspects)):
        raise RequestError("Aspects must differ and say something.", param="aspects")
    return ConsistencyCall(wire.model, images, aspects, wire.threshold)


def _image(image: str | ImageObject, param: str) -> Media:
    if isinstance(image, str):
        return parse_image_url(image, param=param)
    url = image.image_url
    if (url is None) == (image.file_id is None):
        raise RequestError(f"Send one of '{param}.image_url' and '{param}.file_id'.", param=param)
    if image.file_id is not None:
        return Reference("", file_id=image.file_id, param=f"{param}.file_id")
    if isinstance(url, dict):
        url = url.get("url") if url.keys() <= {"url", "detail"} else None
    if not isinstance(url, str):
        where = f"{param}.image_url"
        raise RequestError(f"Invalid '{where}': write a data URL, or {{\"url\": ...}}.", param=where)
    return parse_image_url(url, param=f"{param}.image_url")


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
