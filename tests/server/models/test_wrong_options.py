"""A wrong option in the catalog, over HTTP: 503 `model_load_failed` that names the option, whatever the backend."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from support.servers import ROOT, serving

BACKENDS = {
    "text": ("text", "vllm"),
    "embedding": ("embedding", "transformers-embedding"),
    "vllm-embedding": ("embedding", "vllm-embedding"),
    "speech": ("speech", "faster-whisper"),
    "voice": ("voice", "kokoro"),
    "image": ("image", "diffusers-image"),
    "fake": ("image", "fake-image"),
}
"""A served name to its kind and backend."""


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    home = tmp_path_factory.mktemp("wrong-options")
    (home / "model").mkdir()
    entries = "\n".join(
        f"  {name}: {{kind: {kind}, backend: {backend}, sources: [model], options: {{no_such_option: 1}}}}"
        for name, (kind, backend) in BACKENDS.items()
    )
    names = ", ".join(BACKENDS)
    (home / "catalog.yaml").write_text(f"models:\n{entries}\nprofiles:\n  mine: {{models: [{names}]}}\n")
    with serving(home, profile="mine", MUYBRIDGE_CATALOG=str(home / "catalog.yaml")) as server, server.sdk() as client:
        yield client


def transcribe(sdk: openai.OpenAI, model: str) -> Any:
    return sdk.audio.transcriptions.create(model=model, file=Path(ROOT, "examples", "narration.ogg"))


REQUESTS: dict[str, Callable[[openai.OpenAI, str], Any]] = {
    "text": lambda sdk, model: sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}]),
    "embedding": lambda sdk, model: sdk.embeddings.create(model=model, input="Hi"),
    "speech": transcribe,
    "voice": lambda sdk, model: sdk.audio.speech.create(model=model, input="Hi", voice="alloy"),
    "image": lambda sdk, model: sdk.images.generate(model=model, prompt="a fox"),
}
"""A request for a model of each kind."""


@pytest.mark.slow
@pytest.mark.parametrize("model", BACKENDS)
def test_a_wrong_option_is_a_503_that_names_it(sdk: openai.OpenAI, model: str) -> None:
    kind, _ = BACKENDS[model]
    with pytest.raises(openai.InternalServerError) as failed:
        REQUESTS[kind](sdk, model)
    assert (failed.value.status_code, failed.value.code) == (503, "model_load_failed")
    assert f"The model '{model}' has wrong options (no_such_option: " in failed.value.message
    assert "in the catalog" in failed.value.message
