"""One vLLM engine for the tests of a module: it takes half a minute to start, and gigabytes until it is stopped."""

import os
from collections.abc import AsyncIterator

import pytest
from support.servers import model_path

from adapters.base import ModelFiles
from adapters.text.vllm_text import VllmText


@pytest.fixture(scope="module")
async def vllm_text() -> AsyncIterator[VllmText]:
    """A small model with real weights: 1024 tokens of context, 4 requests at once. `test_vllm_text.py` ends it."""
    stages: list[str] = []
    options = {
        "max_model_len": 1024,
        "max_num_seqs": 4,
        "kv_cache_gib": 0.25,
        "tool_call_parser": "plain_json",
        "chat_template": "qwen2.5-coder-small",
    }
    files = ModelFiles("qwen", "vllm", str(await model_path("qwen2.5-coder-0.5b-instruct")), options)
    before = dict(os.environ)
    adapter = await VllmText.load(files, lambda progress: stages.append(progress.stage))
    assert stages == ["importing vLLM", "starting engine", "warming up"]
    assert dict(os.environ) == before  # vLLM sets a dozen variables; none may reach other models' processes.
    yield adapter
    await adapter.unload()
