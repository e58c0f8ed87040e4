"""What an engine on a GPU gets, by vLLM's own checks, without a GPU."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.servers import ROOT

from adapters.base import ModelFiles
from adapters.embedding.vllm_embedding import VllmEmbedding
from adapters.engines.vllm_settings import EngineOptions, common_arguments
from adapters.process import compile_caches, start_failure
from adapters.text.options import TextOptions, engine_arguments

pytestmark = pytest.mark.filterwarnings("ignore")  # vLLM's and torch's imports

GIB = 2**30
FILES = ModelFiles("m", "vllm", "/models/m", {}, (0,))


@pytest.mark.parametrize("options", [TextOptions(), VllmEmbedding.Options()], ids=["text", "embedding"])
@pytest.mark.parametrize("free_gib", [23.0, 14.0, 5.0])
def test_an_engine_starts_beside_other_models_and_a_desktop(options: EngineOptions, free_gib: float) -> None:
    from vllm.config import CacheConfig
    from vllm.utils.mem_utils import MemorySnapshot
    from vllm.v1.worker.utils import request_memory

    made = common_arguments(FILES, options, cpu=False)
    config = CacheConfig(
        gpu_memory_utilization=made.get("gpu_memory_utilization", CacheConfig.gpu_memory_utilization),
        kv_cache_memory_bytes=made["kv_cache_memory_bytes"],
    )
    card = MemorySnapshot(free_memory=int(free_gib * GIB), total_memory=24 * GIB, device="cpu", auto_measure=False)
    assert request_memory(card, config) <= card.free_memory  # raises ValueError where too little is free
    assert made["kv_cache_memory_bytes"] == GIB


def test_on_a_cpu_the_share_of_memory_is_vllms() -> None:
    assert "gpu_memory_utilization" not in common_arguments(FILES, TextOptions(), cpu=True)


@pytest.mark.parametrize(
    ("options", "left", "wanted"),
    [({}, None, 1), ({}, 6, 6), ({"min_kv_cache_gib": 4.0}, 2, 4), ({"kv_cache_gib": 2.0}, 6, 2)],
)
def test_the_cache_takes_what_the_budget_leaves(options: dict[str, Any], left: int | None, wanted: int) -> None:
    files = ModelFiles("m", "vllm", "/models/m", options, (0,), cache_bytes=left and left * GIB)
    made = common_arguments(files, TextOptions.of(files), cpu=False)
    assert made["kv_cache_memory_bytes"] == wanted * GIB


def test_an_engine_on_a_gpu_has_the_settings_of_a_server() -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs

    assert engine_arguments(TextOptions(), cpu=False)["max_num_seqs"] >= 256
    assert engine_arguments(TextOptions(), cpu=True)["max_num_seqs"] == 32
    assert engine_arguments(TextOptions(max_num_seqs=8), cpu=False)["max_num_seqs"] == 8
    # The context that vLLM's own server passes is the one with defaults for large GPUs.
    tokens, _ = AsyncEngineArgs.get_batch_defaults(1)
    assert _usage_context() in tokens


def _usage_context() -> Any:
    """The context that `Engine.start` passes to vLLM."""
    from unittest.mock import patch

    from vllm.v1.engine.async_llm import AsyncLLM

    from adapters.engines import vllm as engines

    seen: dict[str, Any] = {}

    def start(arguments: Any, **more: Any) -> Any:
        seen.update(more)
        raise RuntimeError("stop here")

    directory = ROOT / "starter" / "checkpoints" / "vision"
    files = ModelFiles("m", "vllm", str(directory), {}, None)
    with patch.object(AsyncLLM, "from_engine_args", start), pytest.raises(Exception, match="did not start"):
        engines._start(files, TextOptions(), lambda cpu: engine_arguments(TextOptions(), cpu=cpu))
    return seen.get("usage_context")


STARTS = """
import logging, multiprocessing, sys

def engine():
    log = logging.getLogger("vllm.v1.engine.core")
    try:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    except RuntimeError as error:
        log.exception("EngineCore failed to start.")
        sys.exit(1)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=engine)
    process.start()
    process.join()
"""


def test_the_cause_of_an_engine_that_does_not_start_reaches_the_server(tmp_path: Path) -> None:
    (script := tmp_path / "starts.py").write_text(STARTS)
    failure = tmp_path / "failure"
    # As vLLM starts its engine: through multiprocessing, by a server that has set these variables.
    code = (
        f"import os, runpy; os.environ['MUYBRIDGE_LIFELINE'] = str(os.getpid()); "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    variables = {**os.environ, start_failure.VARIABLE: str(failure)}
    subprocess.run([sys.executable, str(script)], env=variables, cwd=ROOT, timeout=120)
    assert start_failure.read_failure(failure) == "", "without the lifeline, nothing is recorded"
    subprocess.run([sys.executable, "-c", code], env=variables, cwd=ROOT, timeout=120)
    cause = start_failure.read_failure(failure)
    assert "CUDA out of memory" in cause
    assert start_failure.is_out_of_memory(cause)
    assert not start_failure.is_out_of_memory("ValueError: the checkpoint has no head")


@pytest.mark.slow
def test_compile_caches_are_in_the_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in compile_caches.CACHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", "/mine")
    found = compile_caches.variables(tmp_path)
    assert "TRITON_CACHE_DIR" not in found
    assert {"VLLM_CACHE_ROOT", "TORCHINDUCTOR_CACHE_DIR"} <= found.keys()
    assert all(Path(path).is_relative_to(tmp_path) for path in found.values())
    run = (
        f"import os, sys; os.environ.update({found!r}); import vllm.envs as e; from torch._inductor.runtime.cache_dir_utils "
        "import cache_dir; print(e.VLLM_CACHE_ROOT); print(cache_dir())"
    )
    shown = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert all(line.startswith(str(tmp_path)) for line in shown.stdout.split()[-2:]), shown
