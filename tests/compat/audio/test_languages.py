"""Languages by code, name and locale."""

import pytest

from adapters.base import Media
from compat.audio import transcriptions
from compat.audio.languages import NAMES, language_code, language_name
from compat.errors import RequestError
from compat.wire import ignored


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("en", "en"), ("EN", "en"), ("English", "en"), ("english", "en"), (" en ", "en"), ("en-US", "en"), ("en_GB", "en"),
        ("zh-Hans-CN", "zh"), ("pt-BR", "pt"), ("German", "de"), ("deu", "de"), ("Mandarin", "zh"), ("castilian", "es"),
        ("haitian creole", "ht"), ("yue", "yue"), ("nb-NO", "no"), ("he", "he"), ("iw", "he"), ("xx", "xx"),
        ("Klingon", "klingon"),
    ],
)  # fmt: skip
def test_a_language_is_understood(sent: str, code: str) -> None:
    assert language_code(sent) == code


def test_every_code_and_name_is_its_own() -> None:
    for code, name in NAMES.items():
        assert language_code(code) == language_code(name) == language_code(name.title()) == code
        assert language_name(code) == name


def call(**fields: list[str]) -> transcriptions.TranscriptionCall:
    return transcriptions.parse({"model": ["m"], **fields}, Media("audio/wav", b"x"))


def test_requests_take_names_and_have_languages_detected() -> None:
    assert call(language=["English"]).request.language == "en"
    assert call(language=["auto"]).request.language is None
    assert call(languages=["English", "de-DE"]).request.languages == ("en", "de")
    assert call(language=["en-US"], languages=["English"]).request.language == "en"


def test_unknown_fields_of_a_form_are_refused_or_ignored() -> None:
    with pytest.raises(RequestError) as refused:
        call(colour=["red", "blue"])
    assert refused.value.param == "colour"
    names: list[str] = []
    token = ignored.set(names)
    try:
        assert call(colour=["red", "blue"]).model == "m"
    finally:
        ignored.reset(token)
    assert names == ["colour"]
