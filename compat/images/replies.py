"""What image routes answer: whole, or as events with previews."""

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
    quality: str
    background: str = "opaque"


class InputTokensDetails(WireReply):
    """Of `Usage`."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(WireReply):
    """Zero: these models count steps, not tokens; but the SDK's events must have it."""

    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = msgspec.field(default_factory=InputTokensDetails)
    output_tokens: int = 0
    total_tokens: int = 0


class PartialImageEvent(WireReply, kw_only=True):
    """A preview; `image_index` is ours, of requests for several images."""

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
    """A finished picture; `image_index` and `seed` are ours."""

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
class Drawn:
    """What is left of the events of a request whose pictures go out together."""

    pictures: list[GeneratedImage] = field(default_factory=list[GeneratedImage])
    """In the order of their indices."""
    generation_ms: float = 0.0


def drawn(events: Sequence[ImageEvent]) -> Drawn:
    """The pictures among the events, and how long they took."""
    pictures = sorted((one for one in events if isinstance(one, GeneratedImage)), key=lambda image: image.index)
    return Drawn(pictures, next((one.generation_ms for one in events if isinstance(one, ImageDone)), 0.0))


def render(call: ImageCall, model: str, made: Drawn, urls: Sequence[str]) -> ImagesResponse:
    """The whole reply.

    Args:
        call: The request.
        model: The served name.
        made: Its pictures.
        urls: Where they were put, in order, when the request wants URLs; else empty.
    """
    timings = Timings(generation_ms=round(made.generation_ms, 3))
    return ImagesResponse(
        created=int(time.time()),
        model=model,
        size=f"{made.pictures[0].width}x{made.pictures[0].height}",
        output_format=call.output_format,
        quality=call.quality,
        data=[
            Image(
                b64_json=None if urls else picture.image.data,
                url=urls[index] if urls else None,
                seed=picture.seed,
                width=picture.width,
                height=picture.height,
                timings=timings,
            )
            for index, picture in enumerate(made.pictures)
        ],
    )


async def stream(call: ImageCall, events: AsyncGenerator[ImageEvent]) -> AsyncGenerator[bytes]:
    """Previews and finished pictures as they come, then `[DONE]`.

    Args:
        call: The request.
        events: Of `ImageAdapter.generate`.
    """
    created = int(time.time())
    request = call.request
    wanted = f"{request.width}x{request.height}" if request.width and request.height else "auto"
    async with aclosing(events):
        async for event in events:
            if isinstance(event, PartialImage):
                item = PartialImageEvent(
                    type=f"{call.kind}.partial_image",
                    b64_json=event.image.data,
                    partial_image_index=event.partial_index,
                    created_at=created,
                    size=wanted,
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
