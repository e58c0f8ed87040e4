"""Pictures by any of diffusers' text-to-image pipelines."""

from adapters.image.diffusers_image import DiffusersImage

__all__ = ["DiffusersImage"]
