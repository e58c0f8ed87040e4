"""Replies of the image routes: complete, or as events with previews."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from adapters.base import GeneratedImage, ImageDone, ImageEvent, PartialImage
from compat import sse
from compat.images.generations import ImageCall
from compat.wire import Timings, WireReply


class Image(WireReply, omit_defaults=True, kw_only=True):
    """One image of the reply; `seed`, `width`, `height` and `timings` are extensions."""

    b64_json: bytes | None = None
    """The encoder writes it as base64."""
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
    quality: str
    background: str = "opaque"


class InputTokensDetails(WireReply):
    """Details of `Usage.input_tokens`."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(WireReply):
    """All zero, since image models have no tokens. The SDK's events require it."""

    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = msgspec.field(default_factory=InputTokensDetails)
    output_tokens: int = 0
    total_tokens: int = 0


class PartialImageEvent(WireReply, kw_only=True):
    """A preview; `image_index`, for requests of several images, is an extension."""

    type: str
    b64_json: bytes
    partial_image_index: int
    created_at: int
    size: str
    quality: str
    output_format: str
    background: Literal["opaque"] = "opaque"
    image_index: int = 0


class CompletedEvent(WireReply, kw_only=True):
    """A finished image; `image_index` and `seed` are extensions."""

    type: str
    b64_json: bytes
    created_at: int
    size: str
    quality: str
    output_format: str
    seed: int
    background: Literal["opaque"] = "opaque"
    usage: Usage = msgspec.field(default_factory=Usage)
    image_index: int = 0


@dataclass(frozen=True, slots=True)
class FinishedImages:
    """The images of a request that is not streamed."""

    images: list[GeneratedImage] = field(default_factory=list[GeneratedImage])
    """In the order of their indices."""
    generation_ms: float = 0.0


def collect(events: Sequence[ImageEvent]) -> FinishedImages:
    """The finished images among the events, and the generation time."""
    images = sorted((one for one in events if isinstance(one, GeneratedImage)), key=lambda image: image.index)
    return FinishedImages(images, next((one.generation_ms for one in events if isinstance(one, ImageDone)), 0.0))


def render(call: ImageCall, model: str, finished: FinishedImages, urls: Sequence[str]) -> ImagesResponse:
    """The whole reply.

    Args:
        call: The request.
        model: The served name.
        finished: Its images.
        urls: The URLs of the images, in order, if the request asks for URLs; otherwise empty.
    """
    timings = Timings(generation_ms=round(finished.generation_ms, 3))
    return ImagesResponse(
        created=int(time.time()),
        model=model,
        size=f"{finished.images[0].width}x{finished.images[0].height}",
        output_format=call.output_format,
        quality=call.quality,
        data=[
            Image(
                b64_json=None if urls else image.image.data,
                url=urls[index] if urls else None,
                seed=image.seed,
                width=image.width,
                height=image.height,
                timings=timings,
            )
            for index, image in enumerate(finished.images)
        ],
    )


async def stream(call: ImageCall, events: AsyncGenerator[ImageEvent]) -> AsyncGenerator[bytes]:
    """Previews and finished images as they are generated, then `[DONE]`.

    Args:
        call: The request.
        events: From `ImageAdapter.generate`.
    """
    created = int(time.time())
    request = call.request
    size = f"{request.width}x{request.height}" if request.width and request.height else "auto"
    async with aclosing(events):
        async for event in events:
            if isinstance(event, PartialImage):
                item = PartialImageEvent(
                    type=f"{call.kind}.partial_image",
                    b64_json=event.image.data,
                    partial_image_index=event.partial_index,
                    created_at=created,
                    size=size,
                    quality=call.quality,
                    output_format=call.output_format,
                    image_index=event.index,
                )
            elif isinstance(event, GeneratedImage):
                item = CompletedEvent(
                    type=f"{call.kind}.completed",
                    b64_json=event.image.data,
                    created_at=created,
                    size=f"{event.width}x{event.height}",
                    quality=call.quality,
                    output_format=call.output_format,
                    seed=event.seed,
                    image_index=event.index,
                )
            else:
                continue
            yield sse.frame(item, event=item.type)
    yield sse.DONE
