"""POST /v1/images/generations: OpenAI's schemas, parse and render."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.base import GeneratedImage, ImageDone, ImageEvent, ImageRequest
from compat.errors import RequestError
from compat.sampling import Nothing
from compat.wire import Timings, WireReply, WireRequest, parse_size, validate

MAX_SIDE = 4096
MAX_PIXELS = 2048 * 2048
"""Of one image. A model may allow less, never more."""
MAX_SEED = 2**32 - 1
MEDIA_TYPES: dict[str, Literal["image/png", "image/jpeg", "image/webp"]] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}

Side = Annotated[int, Field(ge=8, le=MAX_SIDE)]
Steps = Annotated[int, Field(ge=1, le=200)]
Guidance = Annotated[float, Field(ge=0, le=50)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Prompt = Annotated[str, Field(min_length=1, max_length=32_000)]


class ImageGenerateRequest(WireRequest):
    """The body of POST /v1/images/generations, as far as this server honours it."""

    prompt: Prompt
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=10)] | None = None
    size: str | None = None
    """"auto" or "WIDTHxHEIGHT"; auto is the model's own size."""
    response_format: Literal["b64_json", "url"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    background: Literal["auto", "opaque"] | None = None
    quality: Literal["auto", "standard"] | None = None
    """The model's own number of steps; `num_inference_steps` sets another."""
    output_compression: Literal[100] | None = None
    partial_images: Literal[0] | None = None
    stream: Nothing = None
    moderation: Literal["auto", "low"] | None = None
    """Nothing is moderated here, which "auto" and "low" both allow."""
    user: str | None = None
    """The caller's own label; nothing depends on it."""

    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    seed: Seed | None = None
    width: Side | None = None
    height: Side | None = None


@dataclass(frozen=True, slots=True)
class ImageCall:
    """A parsed request."""

    request: ImageRequest
    as_url: bool
    output_format: str


class Image(WireReply, omit_defaults=True, kw_only=True):
    """One picture of the reply; `seed`, `width`, `height` and `timings` are ours."""

    b64_json: bytes | None = None
    """Base64, by the encoder."""
    url: str | None = None
    seed: int
    width: int
    height: int
    timings: Timings


class ImagesResponse(WireReply):
    """The reply."""

    created: int
    model: str
    data: list[Image]
    size: str
    output_format: str
    background: str = "opaque"


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
    sizes: dict[str, int] = {}
    if wire.size not in (None, "auto"):
        if wire.width is not None or wire.height is not None:
            raise RequestError("Send size, or width and height, not both.", param="size")
        sizes["width"], sizes["height"] = parse_size(wire.size or "")
    explicit = wire.model_dump(
        include={"negative_prompt", "num_inference_steps", "guidance_scale", "seed", "width", "height"},
        exclude_none=True,
    )
    output_format = wire.output_format or "png"
    fields: dict[str, Any] = {**defaults, **explicit, **sizes}
    request = ImageRequest(prompt=wire.prompt, n=wire.n or 1, media_type=MEDIA_TYPES[output_format], **fields)
    check_size(request.width, request.height)
    if (request.seed or 0) + request.n - 1 > MAX_SEED:
        raise RequestError(f"The seeds of {request.n} images pass {MAX_SEED}.", param="seed")
    return ImageCall(request, wire.response_format == "url", output_format)


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


def images_of(events: Sequence[ImageEvent]) -> list[GeneratedImage]:
    """The pictures among the events, in order."""
    return sorted((event for event in events if isinstance(event, GeneratedImage)), key=lambda image: image.index)


def render(call: ImageCall, model: str, events: Sequence[ImageEvent], urls: Sequence[str]) -> ImagesResponse:
    """The whole reply.

    Args:
        call: The request.
        model: The served name.
        events: Of `ImageAdapter.generate`.
        urls: Where the pictures were put, in order, when the request wants URLs; else empty.
    """
    images = images_of(events)
    took = next((event.generation_ms for event in events if isinstance(event, ImageDone)), 0.0)
    timings = Timings(generation_ms=round(took, 3))
    return ImagesResponse(
        created=int(time.time()),
        model=model,
        size=f"{images[0].width}x{images[0].height}",
        output_format=call.output_format,
        data=[
            Image(
                b64_json=None if urls else image.image.data,
                url=urls[index] if urls else None,
                seed=image.seed,
                width=image.width,
                height=image.height,
                timings=timings,
            )
            for index, image in enumerate(images)
        ],
    )
