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
    """A picture that the video must show at one of its frames."""

    image: Media
    frame_index: int = 0
    """From 0; negative counts from the end."""
    strength: float = 1.0
    """0..1: 1 shows the picture as it is."""


@dataclass(frozen=True, slots=True)
class VideoRequest:
    """A video to make."""

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
    """0..2**32-1. None: drawn at random and reported."""
    source: Media | None = None
    """An MP4 of the server's own making that is filmed anew, from its first frame on; `num_frames` says how many."""
    strength: float = 0.8
    """0..1: how much of the source is given up; 1 films as if it were not there."""


@dataclass(frozen=True, slots=True)
class GeneratedVideo:
    """The finished video, and what was really made: models round sizes and lengths."""

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
    sound: Media | None = None
    """What is heard with it from the first frame on, in a format that transcriptions take; None: the model is mute."""


VideoEvent = Step | GeneratedVideo


class VideoAdapter(Adapter):
    """A model that films."""

    kind: ClassVar[Kind] = "video"

    @abstractmethod
    def generate(self, request: VideoRequest) -> AsyncGenerator[VideoEvent]:
        """Steps, then the video. Closing the generator stops within one step. Raises as `ImageAdapter.generate`."""
