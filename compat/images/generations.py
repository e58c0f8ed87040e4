"""POST /v1/images/generations: OpenAI's schema and parse; and what all image routes share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from adapters.base import ImageRequest, Lora, Media
from compat.errors import invalid, missing
from compat.wire import WireRequest, parse_json_field, parse_size, validate

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
"""Quality to a multiple of the model's default number of steps."""
SHOWN_QUALITIES = {"standard": "medium", "hd": "high", "auto": "medium"}
"""Quality in a request to the name in the reply."""
BASE_STEPS = 40
"""Default steps of the base model before a refiner, from the interface specification."""
REFINER_STEPS = 20

Side = Annotated[int, Field(ge=8, le=MAX_SIDE)]
Steps = Annotated[int, Field(ge=1, le=200)]
Guidance = Annotated[float, Field(ge=0, le=50)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


def _not_blank(prompt: str) -> str:
    if not prompt.strip():
        raise ValueError("must not be blank")
    return prompt


Prompt = Annotated[str, Field(min_length=1, max_length=32_000), AfterValidator(_not_blank)]
URL_MODELS = ("dall-e-2", "dall-e-3")
"""OpenAI's older models reply with URLs by default, the others only with base64."""


class LoraChoice(WireRequest):
    """One of the model's LoRAs and its weight."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    scale: Annotated[float, Field(ge=-10, le=10)] = 1.0


class Refinement(WireRequest):
    """Options of the model's refiner."""

    steps: Annotated[int, Field(ge=1, le=100)] = REFINER_STEPS


class ImageFields(WireRequest):
    """The fields of all image routes."""

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: str | None = None
    """"auto" or "WIDTHxHEIGHT"; "auto" is the model's default, or the uploaded image's size."""
    response_format: Literal["b64_json", "url"] | None = None
    complexity: Any = None
    safety_identifier: Any = None
    user: Any = None
    """Three wishes without effect."""
    frame_count: None = None
    frame_duration_ms: None = None
    svg: None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    """The quality of JPEG and WebP; 100 is the best."""
    background: Literal["auto", "opaque"] | None = None
    quality: Literal["auto", "standard", "low", "medium", "high", "hd", "xhigh", "max"] | None = None
    """Sets the number of steps relative to the model's default; `num_inference_steps` sets it directly."""
    stream: bool | None = None
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = None
    """Previews per image in a stream."""

    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    true_cfg_scale: Guidance | None = None
    seed: Seed | None = None
    width: Side | None = None
    height: Side | None = None
    scheduler: Annotated[str, Field(max_length=64)] | None = None
    lora: Annotated[
        LoraChoice | Annotated[list[LoraChoice], Field(max_length=MAX_LORAS)] | None, BeforeValidator(parse_json_field)
    ] = None


class ImageGenerateRequest(ImageFields):
    """The body of POST /v1/images/generations, as far as this server supports it."""

    prompt: Prompt
    moderation: Any = None
    style: Any = None
    """Two wishes: this server does not moderate, and the prompt says the style."""
    refiner: Refinement | None = None


@dataclass(frozen=True, slots=True)
class ImageCall:
    """A parsed request."""

    request: ImageRequest
    as_url: bool
    output_format: str
    quality: str
    """The name in the reply."""
    stream: bool
    kind: Literal["image_generation", "image_edit"] = "image_generation"
    """The prefix of its stream's event types."""


def model_of(body: Mapping[str, Any]) -> str:
    """The model of a body, "" for none. Needed before the other fields are parsed, for its defaults.

    Raises:
        RequestError: It is not a string, or too long.
    """
    model = body.get("model")
    if model is not None and not (isinstance(model, str) and len(model) <= 256):
        raise invalid("model", "must be a string of at most 256 characters")
    return model or ""


def parse(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> ImageCall:
    """The request behind a JSON body.

    Args:
        body: The JSON object.
        defaults: The model's own `width`, `height`, `num_inference_steps`, `guidance_scale`, if it has any.

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


def sizes(wire: ImageFields, own: Mapping[str, Any]) -> dict[str, Any]:
    """`width` and `height`: from `size`, from the two fields, or the defaults.

    Raises:
        RequestError: They are sent in two ways, or are out of range.
    """
    if wire.size in (None, "auto"):
        if None in own.values() and (wire.width is None) != (wire.height is None):
            present, absent = ("height", "width") if wire.width is None else ("width", "height")
            raise invalid(absent, f"must be sent together with '{present}'")
        found = {"width": wire.width or own["width"], "height": wire.height or own["height"]}
    elif wire.width is not None or wire.height is not None:
        raise invalid("size", "cannot be combined with 'width' and 'height'; send one or the other")
    else:
        width, height = parse_size(wire.size or "")
        found = {"width": width, "height": height}
    if None not in found.values():
        check_size(found["width"], found["height"])
    return found


def common(wire: ImageFields, own_steps: int | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `ImageRequest` that are the same for all routes.

    Args:
        wire: The request.
        own_steps: The model's default number of steps.
        defaults: The model's other defaults.

    Raises:
        RequestError: Fields that cannot be combined.
    """
    n, quality = wire.n or 1, wire.quality or "auto"
    steps = wire.num_inference_steps
    if steps is not None and quality != "auto":
        raise invalid("quality", "cannot be combined with 'num_inference_steps', since it sets the number of steps")
    if steps is None and own_steps is not None:
        steps = max(1, round(own_steps * QUALITIES.get(quality, 1.0)))
    if (wire.seed or 0) + n - 1 > MAX_SEED:
        raise invalid("seed", f"must be at most {MAX_SEED - n + 1} with n={n}: each image has the next seed")
    if wire.partial_images and not wire.stream:
        raise invalid("partial_images", "requires 'stream' to be true")
    if wire.stream and wire.response_format == "url":
        raise invalid("response_format", "must be 'b64_json' when 'stream' is true")
    is_png = (wire.output_format or "png") == "png"
    if is_png and wire.output_compression not in (None, 100):
        raise invalid("output_compression", "requires 'output_format' to be 'jpeg' or 'webp'")
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
    wire: ImageFields, request: ImageRequest, kind: Literal["image_generation", "image_edit"] = "image_generation"
) -> ImageCall:
    """The request with the options of its reply."""
    quality = wire.quality or "auto"
    by_default = "url" if wire.model in URL_MODELS and not wire.stream else "b64_json"
    return ImageCall(
        request,
        (wire.response_format or by_default) == "url",
        wire.output_format or "png",
        SHOWN_QUALITIES.get(quality, quality),
        bool(wire.stream),
        kind,
    )


def check_size(width: int, height: int) -> None:
    """Checks the limits of all models.

    Raises:
        RequestError: A side or the area is out of range.
    """
    if not (8 <= width <= MAX_SIDE and 8 <= height <= MAX_SIDE and width * height <= MAX_PIXELS):
        limits = f"must have sides of 8 to {MAX_SIDE} pixels and at most {MAX_PIXELS:,} pixels"
        raise invalid("size", f"{limits}, not {width}x{height}")


def single_image(images: list[Media], param: str) -> Media:
    """The only image of a field.

    Raises:
        RequestError: There is none, or there are several.
    """
    if not images:
        raise missing(param)
    if len(images) > 1:
        raise invalid(param, f"must be a single image; {len(images)} were sent")
    return images[0]
