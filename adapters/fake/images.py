"""Output of the fake image and video models: images and videos of one colour."""

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from adapters.base import (
    GeneratedImage,
    GeneratedVideo,
    ImageDone,
    ImageEvent,
    ImageRequest,
    Media,
    PartialImage,
    Step,
    VideoEvent,
    VideoRequest,
)
from adapters.errors import InvalidMedia, UnsupportedOption
from adapters.fake.script import DIRECTIVE
from adapters.fake.still_mp4 import still_mp4


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour, written without any library (ISO/IEC 15948)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + bytes(colour) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _colour(text: str) -> tuple[int, int, int]:
    red, green, blue = hashlib.sha256(text.encode()).digest()[:3]
    return red, green, blue


def _size(request: ImageRequest) -> tuple[int, int]:
    """The output size; checks the source and the mask as real models do."""
    from adapters.media.decode_image import open_image

    sizes = [
        open_image(media, param=param).size
        for param, media in (("image", request.source), ("mask", request.mask))
        if media is not None
    ]
    if len(set(sizes)) > 1:
        raise InvalidMedia(
            "The mask and the image have different sizes. Send a mask of the image's size.", param="mask"
        )
    if request.width is None or request.height is None:
        if not sizes:
            raise UnsupportedOption(
                "Set size to WIDTHxHEIGHT: without an input image, there is no size to take over.", param="size"
            )
        return sizes[0]
    return request.width, request.height


def image_events(request: ImageRequest) -> Iterator[ImageEvent]:
    """The events of `FakeImage`."""
    (width, height), first, steps = _size(request), request.seed or 0, request.num_inference_steps or 1
    inputs = b"/".join(
        Path(media.path).read_bytes() if media.path else media.data
        for media in (request.source, request.mask)
        if media is not None
    ).hex()

    def image(index: int, *more: object) -> Media:
        key = "/".join(map(str, (request.prompt, first + index, *more))) + inputs
        return Media("image/png", png(width, height, _colour(key)))

    for step in range(steps):
        yield Step(step + 1, steps)
        for index in range(request.n if step < request.partial_images else 0):
            yield PartialImage(index, step, image(index, step))
    for index in range(request.n):
        yield GeneratedImage(index, image(index), first + index, width, height)
    yield ImageDone(1.0)


def video_events(request: VideoRequest) -> Iterator[VideoEvent]:
    """The events of `FakeVideo`: steps, then the video."""
    for step in range(request.num_inference_steps):
        yield Step(step + 1, request.num_inference_steps)
    comment = repr((request.prompt, request.seed, len(request.keyframes))).encode()
    if request.source is not None:
        with open(request.source.path, "rb") as source:
            comment += f" from {len(source.read())} bytes at {request.strength:g}".encode()
    thumbnail = png(request.width, request.height, _colour(request.prompt))
    data = still_mp4(thumbnail, request.width, request.height, request.num_frames, request.fps, comment)
    yield GeneratedVideo(
        Media("video/mp4", data),
        Media("image/png", thumbnail),
        request.seed or 0,
        request.width,
        request.height,
        request.num_frames,
        request.fps,
        1.0,
        _soundtrack(request.prompt),
    )


def _soundtrack(prompt: str) -> Media | None:
    """A tone of the duration of `[sound_ms=...]` in the prompt, if it is there."""
    script: Mapping[str, str] = dict(DIRECTIVE.findall(prompt))
    if "sound_ms" not in script:
        return None
    import numpy as np

    from adapters.media.soundtrack import wav

    times = np.arange(int(script["sound_ms"]) * 24) / 24_000
    tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    return Media("audio/wav", wav(np.stack([tone, tone]), 24_000))
