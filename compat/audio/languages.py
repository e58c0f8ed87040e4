"""/v1/audio/language_detections, an extension: which language is spoken."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from adapters.base import LanguageDetection
from compat.wire import FormRequest, WireReply, flatten, validate


class LanguageDetectionCreateRequest(FormRequest):
    """The form, without `file`."""

    model: Annotated[str, Field(min_length=1, max_length=256)]


class LanguageCandidate(WireReply):
    """A possible language."""

    language: str
    """ISO 639-1 code."""
    confidence: float
    """0..1; those of all candidates add up to 1."""


class LanguageDetectionReply(WireReply):
    """The reply."""

    object: Literal["audio.language_detection"]
    language: str
    confidence: float
    candidates: list[LanguageCandidate]
    """All languages of the model, most likely first."""


def parse(fields: Mapping[str, Sequence[str]]) -> str:
    """The requested model.

    Raises:
        RequestError: A field is unknown, missing or malformed.
    """
    return validate(LanguageDetectionCreateRequest, flatten(fields)).model


def render(found: LanguageDetection) -> LanguageDetectionReply:
    """The reply."""
    return LanguageDetectionReply(
        object="audio.language_detection",
        language=found.language,
        confidence=round(found.probability, 6),
        candidates=[LanguageCandidate(code, round(chance, 6)) for code, chance in found.candidates],
    )
