"""What a vision model's catalog entry says of validation and consistency, under `defaults`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from adapters.vision.consistency import ASPECTS, Comparison
from adapters.vision.decomposition import Method
from adapters.vision.validation import THRESHOLD


class SceneDefaults(BaseModel):
    """Of one model. Other defaults lie beside them in the entry."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    threshold: float = Field(THRESHOLD, ge=0, le=1, allow_inf_nan=False)
    """From which score on a scene is valid, an element seen, an aspect the same."""
    decomposition: Method = "rule"
    """How descriptions are cut: by the rule, or by the model's own language side."""
    aspects: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        ASPECTS, min_length=1, max_length=16
    )
    """In which keyframes are compared."""
    comparison: Comparison = "pictures"
    """What of them is compared."""

    @classmethod
    def of(cls, defaults: Mapping[str, Any]) -> "SceneDefaults":
        """Those of a catalog entry.

        Raises:
            ValidationError: One of them is wrong; `adapters/catalog/catalog.py` asks when the catalog is read.
        """
        return cls.model_validate(dict(defaults))
