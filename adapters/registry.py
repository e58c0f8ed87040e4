"""Backends by name: which class serves a model, and in which process it lives.

Targets are strings and are imported on first use, so that no engine library is loaded before a model needs it.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, NamedTuple

from adapters.base import Adapter, Kind


class Backend(NamedTuple):
    """One row: a way to run models of some kinds."""

    kinds: tuple[Kind, ...]
    target: str
    """"module:Class" of the `Adapter`."""
    process: Literal["server", "child"]
    """"child": in its own process, by `adapters/process/client.py`. "server": in this one (vLLM starts its own)."""
    libraries: tuple[str, ...] = ()
    """Modules that must be installed, which the base installation lacks."""
    extra: str = ""
    """The extra of pyproject.toml that brings them; none: `muybridge install` does."""


_DIFFUSERS = ("torch", "diffusers", "transformers", "accelerate")

BACKENDS: dict[str, Backend] = {
    "vllm": Backend(("text", "vision"), "adapters.text.vllm_text:VllmText", "server", ("vllm",)),
    "faster-whisper": Backend(
        ("speech",), "adapters.speech.whisper:WhisperSpeech", "child", ("faster_whisper",), "speech"
    ),
    "transformers-embedding": Backend(
        ("embedding",),
        "adapters.embedding.transformers_embedding:TransformersEmbedding",
        "child",
        ("torch", "transformers"),
        "embedding",
    ),
    "vllm-embedding": Backend(("embedding",), "adapters.embedding.vllm_embedding:VllmEmbedding", "child", ("vllm",)),
    "kokoro": Backend(
        ("voice",), "adapters.voice.kokoro:KokoroVoice", "child", ("onnxruntime", "safetensors"), "voice"
    ),
    "diffusers-image": Backend(
        ("image",), "adapters.image.diffusers_image:DiffusersImage", "child", _DIFFUSERS, "image"
    ),
    "diffusers-video": Backend(
        ("video",), "adapters.video.diffusers_video:DiffusersVideo", "child", _DIFFUSERS, "video"
    ),
    "fake-text": Backend(("text", "vision"), "adapters.fake.models:FakeText", "server"),
    "fake-embedding": Backend(("embedding",), "adapters.fake.models:FakeEmbedding", "server"),
    "fake-speech": Backend(("speech",), "adapters.fake.models:FakeSpeech", "server"),
    "fake-voice": Backend(("voice",), "adapters.fake.models:FakeVoice", "server"),
    "fake-image": Backend(("image",), "adapters.fake.models:FakeImage", "server"),
    "fake-video": Backend(("video",), "adapters.fake.models:FakeVideo", "server"),
}


def missing(backend: str) -> str:
    """What must be installed before a backend can load a model, as a sentence; "" where all is there.

    Raises:
        KeyError: No such backend.
    """
    row = BACKENDS[backend]
    return not_installed(row.libraries, row.extra)


def not_installed(libraries: Sequence[str], extra: str = "") -> str:
    """Which of these modules are not installed, and what installs them, as a sentence; "" where all are."""
    absent = [library for library in libraries if find_spec(library) is None]
    if not absent:
        return ""
    one = f", pip install 'muybridge[{extra}]' this one" if extra else ""
    return f"{', '.join(absent)} must be installed: `muybridge install` installs all backends{one}."


def implementation(backend: str) -> type[Adapter]:
    """The class behind a backend's name; imports its module.

    Raises:
        KeyError: No such backend.
    """
    module, _, name = BACKENDS[backend].target.partition(":")
    return getattr(import_module(module), name)
