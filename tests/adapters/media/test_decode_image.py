"""Pictures from strangers: what is read, and what is refused before it can cost anything."""

import io
import resource
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adapters.base import Media
from adapters.errors import InvalidMedia
from adapters.media.decode_image import encode_image, open_image, to_rgb

TYPES = ("image/png", "image/jpeg", "image/webp")


def picture(width: int = 40, height: int = 24) -> Image.Image:
    """Red above, blue below, with a green left edge: no two of its turns look alike."""
    image = Image.new("RGB", (width, height), (220, 30, 30))
    image.paste((30, 30, 220), (0, height // 2, width, height))
    image.paste((30, 220, 30), (0, 0, 4, height))
    return image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def media(data: bytes, media_type: str = "image/png") -> Media:
    return Media(media_type, data)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def refused(data: bytes, match: str, **limits: int) -> None:
    """Refused, at once and without memory."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(InvalidMedia, match=match) as caught:
        open_image(media(data), **limits)
    assert caught.value.param == "image"
    assert time.monotonic() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


@pytest.mark.parametrize("media_type", TYPES)
def test_what_is_encoded_can_be_opened_again(media_type: str):
    original = picture()
    encoded = encode_image(original, media_type)
    assert encoded.media_type == media_type
    assert encode_image(original, media_type) == encoded
    opened = open_image(encoded)
    assert opened.size == original.size
    red, _, blue = opened.convert("RGB").getpixel((20, 20))
    assert blue > 180 > 80 > red


def test_the_claimed_type_is_not_believed_and_a_path_is_read(tmp_path: Path):
    file = tmp_path / "upload"
    file.write_bytes(saved(picture(), "JPEG"))
    assert open_image(Media("text/html", path=str(file))).size == (40, 24)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(kind: str, turn: int):
    undo = [
        None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
    ][turn - 1]  # fmt: skip
    lying = picture() if undo is None else picture().transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = turn
    upright = open_image(media(saved(lying, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))))
    assert upright.size == (40, 24)
    for at in ((20, 6), (20, 18), (1, 12)):
        pair = zip(upright.convert("RGB").getpixel(at), picture().getpixel(at), strict=True)
        assert max(abs(is_ - should_be) for is_, should_be in pair) < 40


@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning")  # Pillow's, about the EXIF that this test breaks.
def test_broken_exif_does_not_spoil_a_good_picture():
    data = saved(picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xee" * 40)
    assert open_image(media(data)).size == (40, 24)


def test_rgb_puts_transparency_on_white_and_scales_deep_grey():
    assert to_rgb(Image.new("RGBA", (2, 2), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(Image.new("LA", (2, 2), (0, 128))).getpixel((0, 0)) == (127, 127, 127)
    deep = open_image(media(saved(Image.new("I;16", (2, 2), 32896), "PNG")))
    assert to_rgb(deep).getpixel((0, 0)) == (128, 128, 128)
    palette = open_image(media(saved(Image.new("P", (2, 2), 0), "PNG", transparency=0)))
    assert to_rgb(palette).getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(open_image(media(saved(Image.new("CMYK", (2, 2)), "JPEG")))).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(encode_image(Image.new("RGBA", (2, 2), (9, 9, 9, 0)), "image/jpeg")).mode == "RGB"


def test_photographs_with_a_second_picture_inside_open_as_the_first():
    data = saved(picture(), "MPO", save_all=True, append_images=[picture(8, 8)])
    assert open_image(media(data)).size == (40, 24)


def test_promise_18_sizes_are_checked_before_decoding():
    big = png_header(60_000, 60_000) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1_000_000)) + png_chunk(b"IEND", b"")
    refused(big, "60000 x 60000 pixels")
    jpeg = bytearray(saved(picture(), "JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    refused(bytes(jpeg), "65000 x 65000 pixels")
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    refused(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, "16383 x 16383 pixels")
    refused(png_header(0, 10) + png_chunk(b"IEND", b""), "0 x 10 pixels")


def test_promise_18_the_pixel_cap_is_exact():
    data = saved(picture(), "PNG")
    assert open_image(media(data), max_pixels=40 * 24).size == (40, 24)
    refused(data, "at most 959", max_pixels=40 * 24 - 1)


def test_promise_18_a_compressed_flood_of_pixels_is_refused():
    """A PNG of some 30 KB that would be 300 MB of RGB."""
    refused(saved(Image.new("1", (10_000, 10_000)), "PNG"), "10000 x 10000 pixels")


def test_promise_18_metadata_bombs_are_refused_or_left_alone():
    """64 MB in each of some compressed chunks, as text and as a colour profile."""
    flood = zlib.compress(b"\0" * 64_000_000)
    data = saved(picture(), "PNG")
    for chunk in (png_chunk(b"zTXt", b"key\0\0" + flood), png_chunk(b"iCCP", b"key\0\0" + flood)):
        bomb = data[:33] + chunk * 4 + data[33:]
        with suppress(InvalidMedia):
            assert open_image(media(bomb)).size == (40, 24)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 1024**2  # KiB


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_promise_18_animations_are_refused(kind: str):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(0, 250, 10)]
    refused(saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=40), "animated")


def test_promise_18_an_apng_that_lies_about_its_frames_is_refused():
    data = saved(picture(), "PNG")
    for frames in (0, 2, 2**31):
        refused(data[:33] + png_chunk(b"acTL", struct.pack(">II", frames, 0)) + data[33:], "animated")


def test_promise_18_the_byte_cap_holds_for_data_and_files(tmp_path: Path):
    data = saved(picture(), "PNG")
    refused(data, "larger than", max_bytes=len(data) - 1)
    (tmp_path / "upload").write_bytes(data)
    with pytest.raises(InvalidMedia, match="larger than"):
        open_image(Media("image/png", path=str(tmp_path / "upload")), max_bytes=len(data) - 1)


def test_promise_18_endless_progressive_scans_are_refused():
    data = saved(picture(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    refused(data[:at] + data[at:-2] * 200 + data[-2:], "progressive scans")


def test_promise_18_millions_of_empty_parts_are_refused():
    png, jpeg = saved(picture(), "PNG"), saved(picture(), "JPEG")
    parts = 1_000_000
    refused(png[:33] + png_chunk(b"tEXt", b"") * parts + png[33:], "chunks")
    refused(png[:-12] + png_chunk(b"tEXt", b"") * parts + png[-12:], "chunks")
    refused(jpeg[:2] + b"\xff\xfe\0\2" * parts + jpeg[2:], "segments")
    at = jpeg.index(b"\xff\xda")
    refused(jpeg[:at] + b"\xff\xfe\0\2" * parts + jpeg[at:], "segments")
    refused(jpeg[:2] + b"\xff" * parts + jpeg[2:], "segments")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        saved(picture(), "TIFF"),
        saved(picture(), "ICO"),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 100_000,
        b"RIFF\0\0\0\0WEBP",
        b"RIFF\0\0\0\0WEBPVP8 ",
    ],
)
def test_promise_18_other_formats_and_stumps_are_refused(data: bytes):
    refused(data, "image")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_pictures_are_refused(kind: str):
    data = saved(picture(200, 200), kind)
    for length in range(1, len(data) - 16, max(1, len(data) // 40)):
        refused(data[:length], "image")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about broken metadata.
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_pictures_open_or_are_refused(data: st.DataObject):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = bytearray(saved(picture(), kind, exif=exif))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = open_image(media(bytes(whole)), max_pixels=1_000_000)
    except InvalidMedia:
        return
    assert to_rgb(image).mode == "RGB"
