"""Shapes and dtypes in weight files, read from their headers."""

import json
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from adapters.files import is_fp16
from adapters.loader.weight_headers import BITS, read_safetensors_header

FLOATS = ("F64", "F32", "F16", "BF16")
"""Dtypes that are cast when a model is loaded in another dtype."""


class BadWeights(Exception):
    """A file is not of its type, or its header is not valid."""


def safetensors_files(directory: Path) -> list[Path]:
    """The safetensors files of one model or component in a directory.

    Those that an index names; without an index all, except the float16 variant (`model.fp16.safetensors`) where there
    are others, and a second copy of the weights (`consolidated.*`).
    """
    found = [path for path in sorted(directory.glob("*.safetensors")) if path.is_file()]
    found = [path for path in found if not path.name.startswith("consolidated")]
    only_fp16 = all(is_fp16(path.name) for path in found)
    for index in sorted(directory.glob("*.safetensors.index*.json")):
        if is_fp16(index.name) == only_fp16:
            names: Mapping[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
            return [directory / name for name in sorted(set(names.values())) if Path(name).name == name]
    return [path for path in found if only_fp16 or not is_fp16(path.name)]


def elements(path: Path) -> Counter[str]:
    """The number of elements of each dtype in a safetensors file.

    Raises:
        BadWeights: Its header is damaged.
    """
    try:
        header, _ = read_safetensors_header(path)
        found: Counter[str] = Counter()
        for name, tensor in header.items():
            if name != "__metadata__":
                begin, end = tensor["data_offsets"]
                found[tensor["dtype"]] += (end - begin) * 8 // BITS[tensor["dtype"]]
        return found
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadWeights(f"{path.name}: the header is damaged") from error


def directory_bytes(directory: Path, dtype: str | None) -> int:
    """Bytes of a directory's safetensors in memory; 0: there are none.

    Args:
        directory: Of one model or component.
        dtype: The type that floating-point weights are cast to; None: they are not cast.
    """
    total = 0
    for path in safetensors_files(directory):
        for name, number in elements(path).items():
            bits = (32 if dtype == "float32" else 16) if dtype and name in FLOATS else BITS[name]
            total += number * bits // 8
    return total


def whisper_shape(path: Path) -> dict[str, Any]:
    """The architecture of a Whisper model in CTranslate2's format, in the form of transformers' config.

    Its `config.json` has no shapes, so they are read from the binary: a header, then name, shape, type and bytes of
    each variable (ctranslate2/specs/model_spec.py; version 6 is the current one).

    Raises:
        BadWeights: It is not such a file, or it is damaged.
    """
    try:
        with path.open("rb") as file:
            shapes, heads = _variables(file)
        layers = [
            {
                name.split("/")[1]
                for name in shapes
                if name.startswith(f"{side}/layer_") and name.split("/")[1][6:].isdecimal()
            }
            for side in _SIDES
        ]
        width = shapes["encoder/conv1/weight"][0]
        return {
            "architectures": ["WhisperForConditionalGeneration"],
            "d_model": width,
            "num_mel_bins": shapes["encoder/conv1/weight"][1],
            "encoder_layers": len(layers[0]),
            "decoder_layers": len(layers[1]),
            "encoder_attention_heads": heads or width // 64,
            "encoder_ffn_dim": shapes["encoder/layer_0/ffn/linear_0/weight"][0],
            "decoder_ffn_dim": shapes["decoder/layer_0/ffn/linear_0/weight"][0],
            "max_source_positions": shapes["encoder/position_encodings/encodings"][0],
            "max_target_positions": shapes["decoder/position_encodings/encodings"][0],
            "vocab_size": shapes["decoder/embeddings/weight"][0],
        }
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise BadWeights(f"{path.name}: this is not a Whisper model in CTranslate2's format") from error


_SIDES = ("encoder", "decoder")


def _variables(file: BinaryIO) -> tuple[dict[str, tuple[int, ...]], int | None]:
    def number(format: str) -> int:
        return cast(int, struct.unpack(f"<{format}", file.read(struct.calcsize(format)))[0])

    def text() -> str:
        return file.read(number("H")).rstrip(b"\0").decode("ascii")

    if not 4 <= number("I") <= 100 or text() != "WhisperSpec":
        raise ValueError("another format")
    number("I")
    shapes: dict[str, tuple[int, ...]] = {}
    heads = None
    for _ in range(min(number("I"), 100_000)):
        name = text()
        shapes[name] = tuple(number("I") for _ in range(number("B")))
        number("B")
        length = number("I")
        if name == "encoder/num_heads" and length in (1, 2, 4):
            heads = number({1: "b", 2: "h", 4: "i"}[length])
        else:
            file.seek(length, 1)
    return shapes, heads
