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
    """"child": in its own process, by `adapters/process/client.py`. "server": in this one (vLLM starts its own)."""


BACKENDS: dict[str, Backend] = {
    "vllm": Backend(("text", "vision"), "adapters.text.vllm_text:VllmText", "server"),
    "faster-whisper": Backend(("speech",), "adapters.speech.whisper:WhisperSpeech", "child"),
    "transformers-embedding": Backend(
        ("embedding",), "adapters.embedding.transformers_embedding:TransformersEmbedding", "child"
    ),
    "vllm-embedding": Backend(("embedding",), "adapters.embedding.vllm_embedding:VllmEmbedding", "child"),
    "kokoro": Backend(("voice",), "adapters.voice.kokoro:KokoroVoice", "child"),
    "diffusers-image": Backend(("image",), "adapters.image.diffusers_image:DiffusersImage", "child"),
    "diffusers-video": Backend(("video",), "adapters.video.diffusers_video:DiffusersVideo", "child"),
    "fake-text": Backend(("text", "vision"), "adapters.fake.models:FakeText", "server"),
    "fake-embedding": Backend(("embedding",), "adapters.fake.models:FakeEmbedding", "server"),
    "fake-speech": Backend(("speech",), "adapters.fake.models:FakeSpeech", "server"),
    "fake-voice": Backend(("voice",), "adapters.fake.models:FakeVoice", "server"),
    "fake-image": Backend(("image",), "adapters.fake.models:FakeImage", "server"),
    "fake-video": Backend(("video",), "adapters.fake.models:FakeVideo", "server"),
}


def implementation(backend: str) -> type[Adapter]:
    """The class behind a backend's name; imports its module.

    Raises:
        KeyError: No such backend.
    """
    module, _, name = BACKENDS[backend].target.partition(":")
    return getattr(import_module(module), name)
