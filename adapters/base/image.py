"""Image models: requests, events, and the adapter's class."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Media


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA to apply for one request (arXiv 2106.09685)."""

    name: str
    """One of those in the model's catalog entry."""
    scale: float = 1.0
    """Strength; 0: no effect, below 0: the opposite effect."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image to generate; with `source`, an image to edit."""

    prompt: str
    negative_prompt: str = ""
    width: int | None = 1024
    """Pixels; None: the width of `source`, or the nearest that the model supports."""
    height: int | None = 1024
    """Pixels; None: likewise."""
    num_inference_steps: int | None = 30
    """None: the pipeline's default."""
    guidance_scale: float | None = 7.5
    """None: the pipeline's default."""
    true_cfg_scale: float | None = None
    """For models with a distilled `guidance_scale`: strength of guidance by the negative prompt. None: off."""
    seed: int | None = None
    """0..2**32-1 of the first image; each further one is one higher. None: random, and returned."""
    n: int = 1
    media_type: Literal["image/png", "image/jpeg", "image/webp"] = "image/png"
    quality: int | None = None
    """0..100 for JPEG and WebP; None: visually lossless."""
    scheduler: str = ""
    """One of the sampling methods that the model supports; "": its default."""
    loras: tuple[Lora, ...] = ()
    refiner_steps: int = 0
    """Number of further steps by the model's refiner, which continues from the latents."""
    partial_images: int = 0
    """Number of previews of each image, evenly spaced over the steps."""
    source: Media | None = None
    """The image to edit."""
    mask: Media | None = None
    """Of the source's size. Only its fully transparent area is generated; the rest is unchanged."""
    strength: float = 0.8
    """0..1: how much the source may change; 1: it is ignored."""


@dataclass(frozen=True, slots=True)
class Step:
    """A denoising step is done."""

    step: int
    """1..total."""
    total: int


@dataclass(frozen=True, slots=True)
class PartialImage:
    """A preview of an unfinished image: its current latents, decoded."""

    index: int
    """Of the image, 0..n-1."""
    partial_index: int
    """Of the preview, from 0."""
    image: Media


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished image."""

    index: int
    """0..n-1."""
    image: Media
    seed: int
    """With n = 1, this seed gives the same image."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageDone:
    """The last event of `ImageAdapter.generate`."""

    generation_ms: float


ImageEvent = Step | PartialImage | GeneratedImage | ImageDone


class ImageAdapter(Adapter):
    """An image generation model."""

    kind: ClassVar[Kind] = "image"

    @abstractmethod
    def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """Steps and previews, then the images, then one `ImageDone`.

        Closing the generator stops within one step. Images come in order, possibly before others are finished.

        Raises:
            UnsupportedOption: The model does not support a size or another option.
            InvalidMedia: The source or the mask cannot be read.
            OutOfMemory: The request does not fit.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """
