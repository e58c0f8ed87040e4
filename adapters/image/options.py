"""The operator's options, the checks of a request, and its plan: all settings with defaults filled in."""

from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image
from pydantic import Field

from adapters.base import ImageRequest, Lora
from adapters.engines.diffusers import PipelineOptions, check_range, first_seed
from adapters.errors import UnsupportedOption
from adapters.image.capabilities import Capabilities
from adapters.image.schedulers import Schedulers

MIN_SIDE = 64
"""Pixels. Smaller images are too small for the lowest level of a UNet."""
MAX_PARTIAL_IMAGES = 3
"""OpenAI's limit."""


class ImageOptions(PipelineOptions):
    """Options that the operator may set for an image model."""

    max_images: int = Field(10, ge=1)
    """Maximum number of images of one request."""
    batch_size: int | None = Field(None, ge=1, le=32)
    """Maximum number of images in a batch, from one or several requests. None: 4, or 1 for models of
    which images in a batch may differ by more than rounding, and for compiled ones."""
    exact_batches: bool | None = None
    """Whether images in a batch have the same bytes as alone; docs/images.md describes the cost. None: on a CPU."""
    channels_last: bool = False
    """Whether weights use the channels-last memory format, which suits tensor cores. Not measured on a GPU."""
    compile: Literal["none", "regional", "full"] = "none"
    """Whether to compile the denoiser: its repeated blocks, or all of it as one graph. Disables batches unless
    `batch_size` is set. Not measured on a GPU."""
    collect_ms: float = Field(20, ge=0, le=1000)
    """Milliseconds that a request waits for others to share its batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings that all images of a batch share."""

    width: int
    height: int
    steps: int
    guidance: float | None
    """Scale of classifier-free guidance; None: the pipeline has none."""
    true_cfg: float | None
    scheduler: str
    loras: tuple[Lora, ...]
    refiner_steps: int
    strength: float | None
    """None: there is no source image."""
    guided: bool
    """Whether there is a negative prompt."""
    lengths: tuple[int, ...]
    """See `PromptLengths.key`."""
    source: int = 0
    """Identifies a request with a source image; such requests share no batch with others."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The source image and mask of a request, decoded and scaled to the output size."""

    image: Image.Image
    mask: Image.Image | None = None
    """Greyscale: white where the image is edited."""


def check(request: ImageRequest, can: Capabilities, schedulers: Schedulers, options: ImageOptions) -> None:
    """Checks a request against the model.

    Raises:
        UnsupportedOption: The model does not support an option; `param` names it.
    """
    check_range("n", request.n, 1, options.max_images)
    for name, steps in (("num_inference_steps", request.num_inference_steps), ("refiner", request.refiner_steps)):
        if steps is not None:
            check_range(name, steps, 0 if name == "refiner" else 1, options.max_steps)
    check_range("partial_images", request.partial_images, 0, MAX_PARTIAL_IMAGES)
    first_seed(request.seed or 0)
    _check_guidance(request, can)
    schedulers.check(request.scheduler)
    if request.quality is not None:
        check_range("output_compression", request.quality, 0, 100)
        if request.media_type == "image/png":
            raise UnsupportedOption(
                "PNG is lossless: leave output_compression out, or choose jpeg or webp.", param="output_compression"
            )
    if request.width is not None and request.height is not None:
        check_size(request.width, request.height, can.side, options.max_pixels)
    if request.source is None:
        if request.width is None or request.height is None:
            raise UnsupportedOption(
                "Set size to WIDTHxHEIGHT: without an input image, there is no size to take over.", param="size"
            )
        if request.mask is not None:
            raise UnsupportedOption("A mask was sent without an image. Send the image to edit, too.", param="mask")
        return
    check_range("strength", request.strength, 0.01, 1)
    if can.edit is None:
        raise UnsupportedOption("This model generates from text only; it accepts no image.", param="image")
    if request.mask is not None and can.inpaint is None:
        raise UnsupportedOption("This model does not support masks.", param="mask")
    if request.refiner_steps:
        raise UnsupportedOption(
            "The refiner cannot be combined with an input image: leave refiner out.", param="refiner"
        )


def check_size(width: int, height: int, side: int, max_pixels: int) -> None:
    """Raises `UnsupportedOption` for a size that the model does not support."""
    if width % side or height % side or min(width, height) < MIN_SIDE:
        raise UnsupportedOption(f"Width and height must be multiples of {side}, and at least {MIN_SIDE}.", param="size")
    if width * height > max_pixels:
        raise UnsupportedOption(f"The size must not exceed {max_pixels:,} pixels.", param="size")


def _check_guidance(request: ImageRequest, can: Capabilities) -> None:
    for name, value, possible in (
        ("guidance_scale", request.guidance_scale, can.guidance is not None),
        ("true_cfg_scale", request.true_cfg_scale, can.true_cfg),
    ):
        if value is not None:
            check_range(name, value, 0, 50)
            if not possible:
                raise UnsupportedOption(f"This model does not support {name}.", param=name)
    if request.negative_prompt:
        if not can.negative_prompt:
            raise UnsupportedOption("This model does not support negative_prompt.", param="negative_prompt")
        scale, name = (
            (request.true_cfg_scale or 0, "true_cfg_scale")
            if can.true_cfg
            else (can.default_guidance if request.guidance_scale is None else request.guidance_scale, "guidance_scale")
        )
        if scale <= 1:
            raise UnsupportedOption(f"negative_prompt has no effect unless {name} is above 1.", param="negative_prompt")


def plan(request: ImageRequest, can: Capabilities, lengths: tuple[int, ...], size: tuple[int, int]) -> Plan:
    """The settings of a request's images; images with equal plans can share a batch."""
    guidance = request.guidance_scale
    if can.guidance is None:
        guidance = None
    elif guidance is None:
        guidance = can.default_guidance
    return Plan(
        width=size[0],
        height=size[1],
        steps=request.num_inference_steps or can.default_steps,
        guidance=guidance,
        true_cfg=request.true_cfg_scale,
        scheduler=request.scheduler,
        loras=request.loras,
        refiner_steps=request.refiner_steps,
        strength=request.strength if request.source is not None else None,
        guided=bool(request.negative_prompt),
        lengths=lengths,
        source=id(request) if request.source is not None else 0,
    )


def seeds_of(request: ImageRequest) -> list[int]:
    """One seed per image."""
    first = first_seed(request.seed)
    return [(first + index) % 2**32 for index in range(request.n)]


def nearest_size(image: Any, side: int, max_pixels: int) -> tuple[int, int]:
    """The size nearest to an image's own that the model supports."""
    scale = min(1.0, (max_pixels / (image.width * image.height)) ** 0.5)
    width, height = (max(MIN_SIDE, round(length * scale / side) * side) for length in (image.width, image.height))
    while width * height > max_pixels:
        if width >= height:
            width -= side
        else:
            height -= side
    return max(width, -(-MIN_SIDE // side) * side), max(height, -(-MIN_SIDE // side) * side)
