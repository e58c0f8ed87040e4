"""Defaults for validation and consistency checks in a model's catalog entry."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from adapters.vision.consistency import ASPECTS, Comparison
from adapters.vision.decomposition import Method
from adapters.vision.validation import THRESHOLD


class SceneDefaults(BaseModel):
    """The part of an entry's `defaults` that concerns scenes; other keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    threshold: float = Field(THRESHOLD, ge=0, le=1, allow_inf_nan=False)
    """Minimum score of a valid scene, a matched element, and a consistent aspect."""
    decomposition: Method = "rule"
    """How descriptions are split: by a rule, or by the model."""
    aspects: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        ASPECTS, min_length=1, max_length=16
    )
    """The aspects in which images are compared."""
    comparison: Comparison = "images"
    """What is compared: images or descriptions."""

    @classmethod
    def of(cls, defaults: Mapping[str, Any]) -> "SceneDefaults":
        """Reads them from a catalog entry.

        Raises:
            ValidationError: A value is wrong; `adapters/catalog/catalog.py` checks it when the catalog is read.
        """
        return cls.model_validate(dict(defaults))
