"""A transcription's request, as the model must be able to do it and as faster-whisper wants to be told."""

import math
from typing import TYPE_CHECKING, Any

from adapters.base import TranscriptionRequest
from adapters.errors import UnsupportedOption

if TYPE_CHECKING:
    from adapters.speech.batched_whisper import Whisper

MAX_HOTWORD_TOKENS = 111
"""Half of what Whisper can be shown before a window; the other half is for the text before it."""


def check(request: TranscriptionRequest, whisper: "Whisper") -> None:
    """Refuses what the model cannot do.

    Raises:
        UnsupportedOption: Naming the field.
    """
    languages = whisper.supported_languages
    if request.language is not None and request.language not in languages:
        raise UnsupportedOption(
            f"This model does not know the language '{request.language}'. Send an ISO 639-1 code such as 'en'.",
            param="language",
        )
    if unknown := next((code for code in request.languages if code not in languages), None):
        raise UnsupportedOption(f"This model does not know the language '{unknown}'.", param="languages")
    if len(whisper.hotword_tokens(hotwords(request))) > MAX_HOTWORD_TOKENS:
        raise UnsupportedOption(f"All keywords together may have {MAX_HOTWORD_TOKENS} tokens.", param="keywords")
    if request.task == "translate" and not whisper.model.is_multilingual:
        raise UnsupportedOption("This model knows English only, so it cannot translate.", param="task")
    if request.beam_size < 1:
        raise UnsupportedOption("beam_size must be at least 1.", param="beam_size")
    if not request.temperature or not all(math.isfinite(t) and 0 <= t <= 2 for t in request.temperature):
        raise UnsupportedOption("temperature must be between 0 and 2.", param="temperature")


def options(request: TranscriptionRequest) -> dict[str, Any]:
    """A request as faster-whisper's options."""
    return {
        "language": request.language,
        "task": request.task,
        "initial_prompt": request.prompt or None,
        "hotwords": hotwords(request) or None,
        "beam_size": request.beam_size,
        "temperature": list(request.temperature),
        "word_timestamps": request.word_timestamps or request.logprobs,  # both come of aligning text and sound
    }


def hotwords(request: TranscriptionRequest) -> str:
    """All keywords, as Whisper is shown them."""
    return ", ".join(request.hotwords)
