"""POST /v1/images/generations: OpenAI's schema and parse; and what the other image routes have in common with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from adapters.base import ImageRequest, Lora, Media
from compat.errors import RequestError
from compat.wire import WireRequest, parse_size, validate

MAX_SIDE = 4096
MAX_PIXELS = 2048 * 2048
"""Of one image. A model may allow less, never more."""
MAX_SEED = 2**32 - 1
MAX_LORAS = 8
"""Of one request."""
MEDIA_TYPES: dict[str, Literal["image/png", "image/jpeg", "image/webp"]] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}
QUALITIES = {"low": 0.5, "medium": 1.0, "standard": 1.0, "high": 1.5, "hd": 1.5, "xhigh": 2.0, "max": 3.0}
"""How many times the model's own number of steps a quality takes."""
SHOWN_QUALITIES = {"standard": "medium", "hd": "high", "auto": "medium"}
"""Names of qualities that replies have no more, and those that mean the same."""
BASE_STEPS = 40
"""Of the base, where a refiner follows and nobody says otherwise: the seed's number."""
REFINER_STEPS = 20

Side = Annotated[int, Field(ge=8, le=MAX_SIDE)]
Steps = Annotated[int, Field(ge=1, le=200)]
Guidance = Annotated[float, Field(ge=0, le=50)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Prompt = Annotated[str, Field(min_length=1, max_length=32_000)]


def _from_json(value: Any) -> Any:
    """An object or a list, where a form holds it as JSON."""
    if isinstance(value, str) and value[:1] in "{[" and len(value) < 10_000:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("it is no JSON") from None
    return value


class LoraChoice(WireRequest):
    """A LoRA of the model's, and how strongly it is laid on."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scale: Annotated[float, Field(ge=-10, le=10)] = 1.0


class Refinement(WireRequest):
    """The work of the model's refiner."""

    steps: Annotated[int, Field(ge=1, le=100)] = REFINER_STEPS


class PictureRequest(WireRequest):
    """What all image routes take."""

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: str | None = None
    """"auto" or "WIDTHxHEIGHT"; auto is the model's own size, or the uploaded picture's."""
    response_format: Literal["b64_json", "url"] | None = None
    user: str | None = None
    """The caller's own label; nothing depends on it."""
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """The quality of JPEG and WebP: 100 is the best and the largest."""
    background: Literal["auto", "opaque"] | None = None
    quality: Literal["auto", "standard", "low", "medium", "high", "hd", "xhigh", "max"] | None = None
    """A multiple of the model's own number of steps; `num_inference_steps` says another number outright."""
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    """Previews of each image, while it is streamed."""

    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    true_cfg_scale: Guidance | None = None
    seed: Seed | None = None
    width: Side | None = None
    height: Side | None = None
    scheduler: Annotated[str, Field(max_length=64)] | None = None
    lora: Annotated[
        LoraChoice | Annotated[list[LoraChoice], Field(max_length=MAX_LORAS)] | None, BeforeValidator(_from_json)
    ] = None


class ImageGenerateRequest(PictureRequest):
    """The body of POST /v1/images/generations, as far as this server honours it."""

    prompt: Prompt
    moderation: Literal["auto", "low"] | None = None
    """Nothing is moderated here, which "auto" and "low" both allow."""
    refiner: Refinement | None = None


@dataclass(frozen=True, slots=True)
class ImageCall:
    """A parsed request."""

    request: ImageRequest
    as_url: bool
    output_format: str
    quality: str
    """As replies name it."""
    stream: bool
    kind: Literal["image_generation", "image_edit"] = "image_generation"
    """How the events of its stream are named."""


def model_of(body: Mapping[str, Any]) -> str:
    """The model that a body names, "" for none; needed before the rest can be read, for that model's defaults.

    Raises:
        RequestError: It is no text, or too long for any model's name.
    """
    model = body.get("model")
    if model is not None and not (isinstance(model, str) and len(model) <= 256):
        raise RequestError("Invalid 'model': it must be a string of at most 256 characters.", param="model")
    return model or ""


def parse(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> ImageCall:
    """The request behind a JSON body.

    Args:
        body: The JSON object.
        defaults: The model's own `width`, `height`, `num_inference_steps`, `guidance_scale`, where it has any.

    Raises:
        RequestError: 400, naming the field at fault.
    """
    wire = validate(ImageGenerateRequest, body)
    refined = wire.refiner is not None
    size = sizes(wire, {"width": defaults.get("width", 1024), "height": defaults.get("height", 1024)})
    own_steps = BASE_STEPS if refined else defaults.get("num_inference_steps", 30)
    request = ImageRequest(
        prompt=wire.prompt,
        refiner_steps=wire.refiner.steps if wire.refiner is not None else 0,
        **common(wire, own_steps, defaults),
        **size,
    )
    return call_of(wire, request)


def sizes(wire: PictureRequest, own: Mapping[str, Any]) -> dict[str, Any]:
    """`width` and `height`: of `size`, of the two fields, or the given ones.

    Raises:
        RequestError: They come in two ways, or are out of range.
    """
    if wire.size in (None, "auto"):
        if None in own.values() and (wire.width is None) != (wire.height is None):
            raise RequestError("Send width and height together.", param="width" if wire.width is None else "height")
        found = {"width": wire.width or own["width"], "height": wire.height or own["height"]}
    elif wire.width is not None or wire.height is not None:
        raise RequestError("Send size, or width and height, not both.", param="size")
    else:
        width, height = parse_size(wire.size or "")
        found = {"width": width, "height": height}
    if None not in found.values():
        check_size(found["width"], found["height"])
    return found


def common(wire: PictureRequest, own_steps: int | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `ImageRequest` that all routes fill alike.

    Args:
        wire: The request.
        own_steps: What the model takes, of "medium" quality.
        defaults: The model's.

    Raises:
        RequestError: Fields that do not go together.
    """
    n, quality = wire.n or 1, wire.quality or "auto"
    steps = wire.num_inference_steps
    if steps is not None and quality != "auto":
        raise RequestError(
            "Send quality or num_inference_steps, not both: a quality is a number of steps.", param="quality"
        )
    if steps is None and own_steps is not None:
        steps = max(1, round(own_steps * QUALITIES.get(quality, 1.0)))
    if (wire.seed or 0) + n - 1 > MAX_SEED:
        raise RequestError(f"The seeds of {n} images pass {MAX_SEED}.", param="seed")
    if wire.partial_images and not wire.stream:
        raise RequestError("Partial images come in a stream: send stream, too.", param="partial_images")
    if wire.stream and wire.response_format == "url":
        raise RequestError("A stream holds its images itself: it has no URLs.", param="response_format")
    is_png = (wire.output_format or "png") == "png"
    if is_png and wire.output_compression not in (None, 100):
        raise RequestError("PNG loses nothing; only jpeg and webp can be compressed.", param="output_compression")
    loras = wire.lora if isinstance(wire.lora, list) else [wire.lora] if wire.lora else []
    return {
        "n": n,
        "media_type": MEDIA_TYPES[wire.output_format or "png"],
        "quality": None if is_png else wire.output_compression,
        "negative_prompt": wire.negative_prompt or "",
        "num_inference_steps": steps,
        "guidance_scale": defaults.get("guidance_scale") if wire.guidance_scale is None else wire.guidance_scale,
        "true_cfg_scale": wire.true_cfg_scale,
        "seed": wire.seed,
        "scheduler": wire.scheduler or "",
        "loras": tuple(Lora(one.name, one.scale) for one in loras),
        "partial_images": wire.partial_images or 0,
    }


def call_of(
    wire: PictureRequest, request: ImageRequest, kind: Literal["image_generation", "image_edit"] = "image_generation"
) -> ImageCall:
    """The request, with what its reply has to know."""
    quality = wire.quality or "auto"
    return ImageCall(
        request,
        wire.response_format == "url",
        wire.output_format or "png",
        SHOWN_QUALITIES.get(quality, quality),
        bool(wire.stream),
        kind,
    )


def check_size(width: int, height: int) -> None:
    """Refuses what no model may be asked for.

    Raises:
        RequestError: A side or the area is out of range.
    """
    if not (8 <= width <= MAX_SIDE and 8 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise RequestError(
            f"Invalid 'size': sides of 8 to {MAX_SIDE} pixels, {MAX_PIXELS} pixels in all; got {width}x{height}.",
            param="size",
        )


def one_picture(pictures: list[Media], param: str) -> Media:
    """The only one.

    Raises:
        RequestError: There is none, or there are several.
    """
    if not pictures:
        raise RequestError(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if len(pictures) > 1:
        raise RequestError("The models here draw from one picture; send one.", param=param)
    return pictures[0]
