"""Checks a request, and translates it into faster-whisper's options."""

import math
from typing import TYPE_CHECKING, Any

from adapters.base import TranscriptionRequest
from adapters.errors import UnsupportedOption

if TYPE_CHECKING:
    from adapters.speech.batched_whisper import Whisper

MAX_HOTWORD_TOKENS = 111
"""Half of Whisper's prompt; the other half is for the previous text."""


def check(request: TranscriptionRequest, whisper: "Whisper") -> None:
    """Checks a request against the model.

    Raises:
        UnsupportedOption: The model does not support an option; `param` names it.
    """
    languages = whisper.supported_languages
    if request.language is not None and request.language not in languages:
        raise UnsupportedOption(
            f"This model does not support the language '{request.language}'. Send an ISO 639-1 code such as 'en'.",
            param="language",
        )
    if unknown := next((code for code in request.languages if code not in languages), None):
        raise UnsupportedOption(
            f"This model does not support the language '{unknown}'. Send ISO 639-1 codes such as 'en'.",
            param="languages",
        )
    if len(whisper.hotword_tokens(hotwords(request))) > MAX_HOTWORD_TOKENS:
        raise UnsupportedOption(
            f"All keywords together may have at most {MAX_HOTWORD_TOKENS} tokens. Send fewer.", param="keywords"
        )
    if request.task == "translate" and not whisper.model.is_multilingual:
        raise UnsupportedOption(
            "This model supports English only, so it cannot translate. Choose a multilingual model.", param="task"
        )
    if request.beam_size < 1:
        raise UnsupportedOption("beam_size must be at least 1.", param="beam_size")
    if not request.temperature or not all(math.isfinite(t) and 0 <= t <= 2 for t in request.temperature):
        raise UnsupportedOption("temperature must be between 0 and 2.", param="temperature")


def options(request: TranscriptionRequest) -> dict[str, Any]:
    """The options of faster-whisper for a request."""
    return {
        "language": request.language,
        "task": request.task,
        "initial_prompt": request.prompt or None,
        "hotwords": hotwords(request) or None,
        "beam_size": request.beam_size,
        "temperature": list(request.temperature),
        "word_timestamps": request.word_timestamps or request.logprobs,  # both need the alignment
    }


def hotwords(request: TranscriptionRequest) -> str:
    """All keywords, as they appear in Whisper's prompt."""
    return ", ".join(request.hotwords)
