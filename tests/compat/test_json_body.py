"""JSON bodies: decoded in pieces as they would be whole, whatever stands at the borders of the pieces."""

import base64
import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from compat import json_body, media
from compat.errors import RequestError
from compat.json_body import decode

ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=100) | st.text('\\"\n/é中😀u0d83', max_size=100)
JSON = st.recursive(
    ANY_TEXT | st.integers(-5, 5) | st.none(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner)
)
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)


def cleaned(text: str) -> str:
    return text.replace("\0", "\ufffd")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "PIECE_BYTES", 16)
    monkeypatch.setattr(media, "_PIECE", 16)


@MANY
@given(ANY_TEXT, st.booleans())
@example("\\" * 99, True)
@example("😀" * 30, True)
@example("x" + "😀" * 30, False)
@example("\0" * 40, True)
def test_promise_37_a_long_text_is_the_same_in_pieces(text: str, escaped: bool) -> None:
    body = json.dumps({"input": [{"text": text}], "n": 1}, ensure_ascii=escaped).encode()
    assert decode(body) == {"input": [{"text": cleaned(text)}], "n": 1}


@MANY
@given(st.dictionaries(ANY_TEXT.filter(lambda name: "\0" not in name), JSON, max_size=5))
def test_promise_37_any_json_is_the_same_in_pieces(value: dict[str, object]) -> None:
    body = json.dumps({"input": value}).encode()
    assert decode(body) == json.loads(body.replace(rb"\u0000", rb"\ufffd"))


@MANY
@given(st.lists(st.sampled_from([b"a", b"\\", b"\\ud83d", b"\\ude00", b"\\u0041", b"\xed\xa0\x80", b'"', b"\xc3\xa9"])))
def test_promise_8_any_bytes_of_a_text_are_decoded_alike_in_pieces_and_whole(parts: list[bytes]) -> None:
    body = b'{"input":"%b"}' % b"".join(parts)
    try:
        found = decode(body)
    except RequestError as refused:
        found = refused.code
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_body, "PIECE_BYTES", 2**20)
        try:
            wanted = decode(body)
        except RequestError as refused:
            wanted = refused.code
    assert found == wanted


@pytest.mark.parametrize("text", [r"\ud83d", r"\ude00", r"a\ud83dx", "\\\\\\ud83d", r"\ude00\ud83d"])
def test_a_lone_surrogate_is_refused_but_in_what_a_model_reads(text: str) -> None:
    assert "\ufffd" in decode(f'{{"input": "{text}"}}'.encode())["input"]
    with pytest.raises(RequestError, match="lone surrogate"):
        decode(f'{{"stop": "{text}"}}'.encode())
    assert decode(rb'{"stop": "\\ud83d"}') == {"stop": r"\ud83d"}


@MANY
@given(st.binary(max_size=100), st.sampled_from(["", "\n", " "]), st.booleans(), st.integers(1, 20))
def test_promise_37_base64_is_the_same_in_pieces(data: bytes, space: str, url_safe: bool, every: int) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    lines = space.join(text[at : at + every] for at in range(0, len(text), every))
    assert media.decode_base64(lines, param="x") == data
    assert media.decode_base64(lines.rstrip("="), param="x") == data


@pytest.mark.parametrize(
    "text", ["A", "AAAA=AAA", "QQ==QUFB", "QQ==" * 8, "A" * 16 + "=" + "A" * 16, "A" * 17, "é" * 40]
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        media.decode_base64(text, param="x")
