"""The model names in the types of OpenAI's SDK: each refers to a model of every built-in profile that has its kind."""

import re
from typing import Any, get_args

import pytest
from openai.types import AudioModel, ChatModel, EmbeddingModel, ImageModel, VideoModel
from openai.types.audio import SpeechModel
from openai.types.shared import AllModels

from adapters.base import (
    Adapter,
    EmbeddingAdapter,
    ImageAdapter,
    SpeechAdapter,
    TextAdapter,
    VideoAdapter,
    VoiceAdapter,
)
from adapters.catalog.catalog import load_catalog
from adapters.pool.resolve import KINDS, Names
from adapters.pool.slot import Slot

CATALOG = load_catalog()
TYPES: dict[type[Adapter], tuple[Any, ...]] = {
    TextAdapter: (ChatModel, AllModels),
    EmbeddingAdapter: (EmbeddingModel,),
    SpeechAdapter: (AudioModel,),
    VoiceAdapter: (SpeechModel,),
    ImageAdapter: (ImageModel,),
    VideoAdapter: (VideoModel,),
}


def literals(annotation: Any) -> set[str]:
    """The strings of a Literal, or of a union of them."""
    return {name for one in get_args(annotation) for name in ([one] if isinstance(one, str) else literals(one))}


NAMES = [(adapter, name) for adapter, types in TYPES.items() for name in sorted(set().union(*map(literals, types)))]


def test_the_sdk_names_models_of_every_kind() -> None:
    assert {adapter for adapter, _ in NAMES} == TYPES.keys()
    assert len(NAMES) > 100


@pytest.mark.parametrize(
    "profile", ["starter", "small", "studio", "fake", *(f"gpu-{gib}" for gib in (8, 12, 16, 24, 48, 80))]
)
def test_every_name_of_the_sdk_refers_to_a_model(profile: str) -> None:
    chosen = CATALOG.profiles[profile]
    slots = {name: Slot(name, CATALOG.models[name]) for name in chosen.models}
    names = Names(slots, chosen.aliases, fallback="vendor")
    served = {slot.entry.kind for slot in slots.values()}
    for adapter, name in NAMES:
        if served.intersection(KINDS[adapter]):
            assert names.find(name, adapter).entry.kind in KINDS[adapter], name


@pytest.mark.parametrize("profile", [name for name in CATALOG.profiles if name != "fake"])
def test_current_and_retired_names_are_aliases(profile: str) -> None:
    chosen = CATALOG.profiles[profile]
    kinds = {CATALOG.models[name].kind for name in chosen.models}
    wanted = {"gpt-5", "gpt-5-mini", "gpt-4o", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1", "tts-1-hd"}
    wanted |= {"gpt-image-1.5", "gpt-image-2", "dall-e-3"} if "image" in kinds else set()
    wanted |= {"sora-2", "sora-2-pro"} if "video" in kinds else set()
    assert wanted <= chosen.aliases.keys()
    kind_of = {alias: CATALOG.models[name].kind for alias, name in chosen.aliases.items()}
    for alias, kind in kind_of.items():
        assert kind == next(
            kind
            for pattern, kind in (
                ("gpt-image|dall-e", "image"), (".*transcribe|whisper", "speech"), (".*tts", "voice"), ("sora", "video"),
                ("text-embedding", "embedding"), ("gpt", "text"),
            )
            if re.match(pattern, alias)
        ), alias  # fmt: skip
