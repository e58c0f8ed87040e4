"""Finds the first frame of MPEG audio behind padding and other bytes that are no audio.

A sync word alone occurs in any bytes. So a frame counts only if the next one follows where its header says, with the
same version, layer and sample rate (ISO 11172-3, section 2.4.1; ISO 14496-3, section 1.A.3.2 for AAC).
"""

import re

_SYNC = re.compile(rb"\xff[\xe0-\xff]")
MAX_CANDIDATES = 4096
"""Sync words that are looked at."""
_V1_RATES = (44_100, 48_000, 32_000)
_KBIT = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by (version, layer); versions 2 and 2.5 have the same."""


def first_frame(data: bytes) -> tuple[str, int] | None:
    """FFmpeg's name of the container, "mp3" or "aac", and where the first frame is. None if there are no frames.

    Args:
        data: The start of a file, without its tags. If it starts with a frame, the next one may be missing.
    """
    for number, match in enumerate(_SYNC.finditer(data)):
        if number == MAX_CANDIDATES:
            return None
        at = match.start()
        name, length = ("aac", _adts_bytes(data, at)) if data[at + 1] & 0xF6 == 0xF0 else ("mp3", _mpeg_bytes(data, at))
        if not length:
            if at == 0 and name == "mp3" and data[1] & 0x06 and data[2:3] and data[2] >> 4 == 0:
                return name, 0  # a free bit rate: the header does not say where the next frame is
            continue
        following = data[at + length : at + length + 4]
        same = len(following) == 4 and following[0] == 0xFF and following[1] == data[at + 1]
        if (same and (following[2] ^ data[at + 2]) & (0x0C if name == "mp3" else 0xFC) == 0) or (
            at == 0 and len(following) < 4
        ):
            return name, at
    return None


def _mpeg_bytes(data: bytes, at: int) -> int:
    """The length of a frame of MPEG audio layers I to III; 0 if there is none, or its bit rate is free."""
    if at + 4 > len(data):
        return 0
    version_bits, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    kbit_index, rate_index, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version_bits == 1 or layer == 4 or kbit_index == 15 or rate_index == 3:
        return 0
    rate = _V1_RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version_bits]
    kbit = _KBIT[1 if version_bits == 3 else 2, layer][kbit_index]
    if not kbit:
        return 0
    if layer == 1:
        return (12_000 * kbit // rate + padding) * 4
    return (72_000 if layer == 3 and version_bits != 3 else 144_000) * kbit // rate + padding


def _adts_bytes(data: bytes, at: int) -> int:
    """The length of a frame of AAC in ADTS; 0 if there is none."""
    if at + 7 > len(data) or data[at + 2] >> 2 & 15 > 12:
        return 0
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return length if length > 7 else 0
