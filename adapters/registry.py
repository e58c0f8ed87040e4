"""Backends by name: which class serves a model, and in which process it lives.

Targets are strings and are imported on first use, so that no engine library is loaded before a model needs it.
"""

from importlib import import_module
from typing import Literal, NamedTuple

from adapters.base import Adapter, Kind


class Backend(NamedTuple):
    """One row: a way to run models of some kinds."""

    kinds: tuple[Kind, ...]
    target: str
    """"module:Class" of the `Adapter`."""
    process: Literal["server", "child"]
    """"child": in a process of its own, by `adapters/worker.py`. "server": here (vLLM brings its own processes)."""


BACKENDS: dict[str, Backend] = {
    "vllm": Backend(("text", "vision"), "adapters.text:VllmText", "server"),
    "faster-whisper": Backend(("speech",), "adapters.speech:WhisperSpeech", "child"),
    "transformers-embedding": Backend(("embedding",), "adapters.embedding:TransformersEmbedding", "child"),
    "vllm-embedding": Backend(("embedding",), "adapters.embedding:VllmEmbedding", "child"),
    "kokoro": Backend(("voice",), "adapters.voice:KokoroVoice", "child"),
    "diffusers-image": Backend(("image",), "adapters.image:DiffusersImage", "child"),
    "diffusers-video": Backend(("video",), "adapters.video:DiffusersVideo", "child"),
    "fake-text": Backend(("text", "vision"), "adapters.fake:FakeText", "server"),
    "fake-embedding": Backend(("embedding",), "adapters.fake:FakeEmbedding", "server"),
    "fake-speech": Backend(("speech",), "adapters.fake:FakeSpeech", "server"),
    "fake-voice": Backend(("voice",), "adapters.fake:FakeVoice", "server"),
    "fake-image": Backend(("image",), "adapters.fake:FakeImage", "server"),
    "fake-video": Backend(("video",), "adapters.fake:FakeVideo", "server"),
}


def implementation(backend: str) -> type[Adapter]:
    """The class behind a backend's name; imports its module.

    Raises:
        KeyError: No such backend.
    """
    module, _, name = BACKENDS[backend].target.partition(":")
    return getattr(import_module(module), name)
