"""Image models: requests, events, and the adapter's class."""

from abc import abstractmethod
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import ClassVar, Literal

from adapters.base.adapter import Adapter, Kind
from adapters.base.content import Media


@dataclass(frozen=True, slots=True)
class Lora:
    """A low-rank adapter added to a model's weights for one request (arXiv 2106.09685)."""

    name: str
    """One of the LoRAs in the model's catalog entry."""
    scale: float = 1.0
    """Weight of its effect; 0: none, negative: the opposite."""


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Images to generate, or to edit if `source` is set."""

    prompt: str
    negative_prompt: str = ""
    width: int | None = 1024
    """Pixels; None: the width of `source`, rounded to what the model supports."""
    height: int | None = 1024
    """Pixels; None: like `width`."""
    num_inference_steps: int | None = 30
    """None: the pipeline's default."""
    guidance_scale: float | None = 7.5
    """None: the pipeline's default."""
    true_cfg_scale: float | None = None
    """Classifier-free guidance for models whose `guidance_scale` is distilled into the weights. None: off."""
    seed: int | None = None
    """0..2**32-1, of the first image; each further image adds one. None: random, and reported in the result."""
    n: int = 1
    media_type: Literal["image/png", "image/jpeg", "image/webp"] = "image/png"
    quality: int | None = None
    """0..100, for JPEG and WebP; None: a quality without visible loss."""
    scheduler: str = ""
    """A sampling method that the model supports; "": its default."""
    loras: tuple[Lora, ...] = ()
    refiner_steps: int = 0
    """Further steps by the model's refiner, which continues from the latents; 0: none."""
    partial_images: int = 0
    """Number of previews of each image, spread evenly over the steps."""
    source: Media | None = None
    """The image to edit."""
    mask: Media | None = None
    """Of the source's size; only fully transparent pixels are edited, the others stay unchanged."""
    strength: float = 0.8
    """0..1: how much of the source is replaced; 1 ignores it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One denoising step has finished."""

    step: int
    """1..total."""
    total: int


@dataclass(frozen=True, slots=True)
class PartialImage:
    """A preview of an unfinished image: its current latents, decoded."""

    index: int
    """Index of the image, 0..n-1."""
    partial_index: int
    """Index of the preview, from 0."""
    image: Media


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished image."""

    index: int
    """0..n-1."""
    image: Media
    seed: int
    """A request with this seed and n = 1 gives the same image."""
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ImageDone:
    """The last event of `ImageAdapter.generate`."""

    generation_ms: float


ImageEvent = Step | PartialImage | GeneratedImage | ImageDone


class ImageAdapter(Adapter):
    """A model that generates images."""

    kind: ClassVar[Kind] = "image"

    @abstractmethod
    def generate(self, request: ImageRequest) -> AsyncGenerator[ImageEvent]:
        """Yields steps and previews, the images in order, and finally one `ImageDone`.

        Closing the generator stops within one step. An image may be yielded while later ones are still generated.

        Raises:
            UnsupportedOption: The model does not support a size or another option.
            InvalidMedia: The source or the mask cannot be read.
            OutOfMemory: The request does not fit.
            GenerationFailed: The backend failed.
            Interrupted: The model's process died.
        """
