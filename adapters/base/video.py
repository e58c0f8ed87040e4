"""Video models: requests, events, and the adapter's class."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import ClassVar

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Media
from adapters.base.image import Step


@dataclass(frozen=True, slots=True)
class Keyframe:
    """An image that the video must show at one of its frames."""

    image: Media
    frame_index: int = 0
    """From 0; negative counts from the end."""
    strength: float = 1.0
    """0..1; 1: the frame is the image, unchanged."""


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A video to generate."""

    prompt: str
    negative_prompt: str = ""
    keyframes: tuple[Keyframe, ...] = ()
    num_frames: int = 121
    fps: int = 24
    width: int = 768
    """Pixels."""
    height: int = 512
    """Pixels."""
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    seed: int | None = None
    """0..2**32-1. None: chosen at random, and reported in the result."""
    source: Media | None = None
    """A video to edit: an MP4 that the server wrote. Its first `num_frames` frames are used."""
    strength: float = 0.8
    """0..1: how much of the source is replaced; 1 ignores it."""


@dataclass(frozen=True, slots=True)
class GeneratedVideo:
    """The finished video, with its actual size and length: models round the requested ones."""

    video: Media
    """MP4, H.264, yuv420p."""
    thumbnail: Media
    """The first frame."""
    seed: int
    width: int
    height: int
    num_frames: int
    fps: int
    generation_ms: float
    soundtrack: Media | None = None
    """The audio from the first frame on, in a format that transcriptions accept; None: the model generates no audio."""


VideoEvent = Step | GeneratedVideo


class VideoAdapter(Adapter):
    """A model that generates videos."""

    kind: ClassVar[Kind] = "video"

    @abstractmethod
    def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """Yields steps, then the video. Closing the generator stops within one step.

        Raises:
            AdapterError: As `ImageAdapter.generate`.
        """
