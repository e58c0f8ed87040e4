"""Names of languages; and /v1/audio/language_detections, an extension: which language is spoken."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from adapters.base import LanguageDetection
from compat.wire import FormRequest, WireReply, flatten, validate

NAMES = {
    "en": "english", "zh": "chinese", "de": "german", "es": "spanish", "ru": "russian", "ko": "korean",
    "fr": "french", "ja": "japanese", "pt": "portuguese", "tr": "turkish", "pl": "polish", "ca": "catalan",
    "nl": "dutch", "ar": "arabic", "sv": "swedish", "it": "italian", "id": "indonesian", "hi": "hindi",
    "fi": "finnish", "vi": "vietnamese", "he": "hebrew", "uk": "ukrainian", "el": "greek", "ms": "malay",
    "cs": "czech", "ro": "romanian", "da": "danish", "hu": "hungarian", "ta": "tamil", "no": "norwegian",
    "th": "thai", "ur": "urdu", "hr": "croatian", "bg": "bulgarian", "lt": "lithuanian", "la": "latin", "mi": "maori",
    "ml": "malayalam", "cy": "welsh", "sk": "slovak", "te": "telugu", "fa": "persian", "lv": "latvian",
    "bn": "bengali", "sr": "serbian", "az": "azerbaijani", "sl": "slovenian", "kn": "kannada", "et": "estonian",
    "mk": "macedonian", "br": "breton", "eu": "basque", "is": "icelandic", "hy": "armenian", "ne": "nepali",
    "mn": "mongolian", "bs": "bosnian", "kk": "kazakh", "sq": "albanian", "sw": "swahili", "gl": "galician",
    "mr": "marathi", "pa": "punjabi", "si": "sinhala", "km": "khmer", "sn": "shona", "yo": "yoruba", "so": "somali",
    "af": "afrikaans", "oc": "occitan", "ka": "georgian", "be": "belarusian", "tg": "tajik", "sd": "sindhi",
    "gu": "gujarati", "am": "amharic", "yi": "yiddish", "lo": "lao", "uz": "uzbek", "fo": "faroese",
    "ht": "haitian creole", "ps": "pashto", "tk": "turkmen", "nn": "nynorsk", "mt": "maltese", "sa": "sanskrit",
    "lb": "luxembourgish", "my": "myanmar", "bo": "tibetan", "tl": "tagalog", "mg": "malagasy", "as": "assamese",
    "tt": "tatar", "haw": "hawaiian", "ln": "lingala", "ha": "hausa", "ba": "bashkir", "jw": "javanese",
    "su": "sundanese", "yue": "cantonese",
}  # fmt: skip
"""The codes of Whisper's languages and their names in OpenAI's replies."""
_OTHER = {
    "burmese": "my", "valencian": "ca", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb", "pushto": "ps",
    "panjabi": "pa", "moldavian": "ro", "moldovan": "ro", "sinhalese": "si", "castilian": "es", "mandarin": "zh",
    "farsi": "fa", "filipino": "tl", "norwegian nynorsk": "nn", "norwegian bokmål": "no", "bengala": "bn",
    "nb": "no", "iw": "he", "in": "id", "ji": "yi",
    "jv": "jw", "fil": "tl", "cmn": "zh", "eng": "en", "deu": "de", "ger": "de",
    "fra": "fr", "fre": "fr", "spa": "es", "ita": "it", "por": "pt", "rus": "ru", "jpn": "ja", "zho": "zh", "chi": "zh",
    "kor": "ko", "nld": "nl", "dut": "nl", "ara": "ar", "hin": "hi", "tur": "tr", "pol": "pl", "ukr": "uk", "swe": "sv",
    "dan": "da", "fin": "fi", "nor": "no", "ces": "cs", "cze": "cs", "ell": "el", "gre": "el", "heb": "he", "hun": "hu",
    "ind": "id", "ron": "ro", "rum": "ro", "tha": "th", "vie": "vi", "cat": "ca",
}  # fmt: skip
"""Other names, older codes and codes of three letters."""
_CODES = {name: code for code, name in NAMES.items()} | _OTHER


def language_code(language: str) -> str:
    """The code of a language that is sent as a code, a name or a locale: "en", "English", "en-US", "EN"."""
    wanted = " ".join(language.lower().split())
    base = wanted.replace("_", "-").partition("-")[0]
    found = next((one for one in (wanted, base) if one in NAMES or one in _CODES), wanted)
    return _CODES.get(found, found)


def language_name(code: str) -> str:
    """The name of a language in OpenAI's replies: "english"."""
    return NAMES.get(code, code)


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
