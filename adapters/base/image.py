"""Image models: requests, events, and the adapter's class."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Media


@dataclass(frozen=True, slots=True)
class Lora:
    """A small set of weights laid over a model's own for one request (arXiv 2106.09685)."""

    name: str
    """One of those that the model's entry names."""
    scale: float = 1.0
    """How strongly; 0 is not at all, below 0 is away from it."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A picture to draw; with `source`, a picture to draw anew."""

    prompt: str
    negative_prompt: str = ""
    width: int | None = 1024
    """Pixels; None: as wide as `source`, as nearly as the model can."""
    height: int | None = 1024
    """Pixels; None: as `width`."""
    num_inference_steps: int | None = 30
    """None: the pipeline's own number."""
    guidance_scale: float | None = 7.5
    """None: the pipeline's own."""
    true_cfg_scale: float | None = None
    """For models whose `guidance_scale` is trained in: how far away from the negative prompt. None: not at all."""
    seed: int | None = None
    """0..2**32-1 of the first image; the others follow by one. None: drawn at random and reported."""
    n: int = 1
    media_type: Literal["image/png", "image/jpeg", "image/webp"] = "image/png"
    quality: int | None = None
    """0..100 of JPEG and WebP; None: what looks like the original."""
    scheduler: str = ""
    """One of the sampling methods that the model takes; "": its own."""
    loras: tuple[Lora, ...] = ()
    refiner_steps: int = 0
    """So many further steps by the model's refiner, which takes over the latents; 0: none."""
    partial_images: int = 0
    """How many previews of each image are wanted, spread evenly over the steps."""
    source: Media | None = None
    """The picture that is drawn anew."""
    mask: Media | None = None
    """Of the source's size: only where it is fully transparent is anything drawn; the rest stays as it is."""
    strength: float = 0.8
    """0..1: how much of the source is given up; 1 draws as if it were not there."""


@dataclass(frozen=True, slots=True)
class Step:
    """A denoising step is done."""

    step: int
    """1..total."""
    total: int


@dataclass(frozen=True, slots=True)
class PartialImage:
    """A preview of a picture that is being drawn: its running latents, decoded."""

    index: int
    """Of the picture, 0..n-1."""
    partial_index: int
    """Of the preview, from 0."""
    image: Media


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished picture."""

    index: int
    """0..n-1."""
    image: Media
    seed: int
    """Alone, with n = 1, this seed gives the same picture."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageDone:
    """The last event of `ImageAdapter.generate`."""

    generation_ms: float


ImageEvent = Step | PartialImage | GeneratedImage | ImageDone


class ImageAdapter(Adapter):
    """A model that draws."""

    kind: ClassVar[Kind] = "image"

    @abstractmethod
    def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """Steps with previews among them, then the pictures, then one `ImageDone`.

        Closing the generator stops within one step. Pictures may come while others are still drawn, in their order.

        Raises:
            UnsupportedOption: A size or another option that the model cannot do.
            InvalidMedia: The source or the mask cannot be read.
            OutOfMemory: The request does not fit.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """
