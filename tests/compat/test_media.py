"""Data URLs and base64 in every spelling that tools write."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compat.errors import RequestError
from compat.media import decode_base64, parse_data_url

DATA = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\xff\xfe\xfb"
PLAIN = base64.b64encode(DATA).decode()
LINES = "\r\n".join(PLAIN[at : at + 76] for at in range(0, len(PLAIN), 76))


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{PLAIN}",
        f"data:image/png;base64,{LINES}\n",
        f" data:image/png;base64, {PLAIN} ",
        f"data:image/png;base64,{PLAIN.rstrip('=')}",
        f"data:image/png;base64,{PLAIN.replace('+', '-').replace('/', '_')}",
        f"data:image/png;base64,{base64.urlsafe_b64encode(DATA).decode().rstrip('=')}",
        f"data:image/png;base64,{quote(PLAIN, safe='')}",
        f"data:image/png;charset=utf-8;name=a.png;base64,{PLAIN}",
        f"DATA:IMAGE/PNG;BASE64,{PLAIN}",
        f"data:;base64,{PLAIN}",
        f"data:base64,{PLAIN}",
        f"data:application/octet-stream;base64,{PLAIN}",
        PLAIN,
        LINES,
    ],
)
def test_an_image_is_read_however_its_base64_is_written(url: str) -> None:
    media = parse_data_url(url, param="image")
    assert media.data == DATA
    assert media.media_type == "image/png"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cat.png",
        "https://example.com/cat.png",
        "file:///etc/passwd",
        "data:image/png;base64,",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,A",
        "data:image/png,abc",
        "data:text/html;base64,QUFB",
        "data:audio/wav;base64,QUFB",
        "data:image/png;base64,Ä===",
        "A" * 61 + "!" * 10,
    ],
)
def test_other_text_is_refused_with_the_fields_name(url: str) -> None:
    with pytest.raises(RequestError) as refused:
        parse_data_url(url, param="image")
    assert refused.value.param == "image"
    assert refused.value.status == 400


def test_line_breaks_do_not_count_against_the_size() -> None:
    spaced = "\n".join(base64.b64encode(bytes(300)).decode())
    assert len(parse_data_url(f"data:image/png;base64,{spaced}", param="x", max_bytes=300).data) == 300
    with pytest.raises(RequestError) as refused:
        parse_data_url(f"data:image/png;base64,{PLAIN}", param="x", max_bytes=100)
    assert refused.value.status == 413


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.booleans(), st.integers(1, 80))
def test_what_was_encoded_is_decoded(data: bytes, safe: bool, padded: bool, width: int) -> None:
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(data).decode()
    text = text if padded else text.rstrip("=")
    assert decode_base64("\n".join(text[at : at + width] for at in range(0, len(text), width)), param="x") == data
