"""Where compilers keep what they have compiled for models: in the cache directory, so that a container keeps it.

Compiling takes a minute for a language model and several for an image model, at the first load on a machine.
"""

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER = "compiled"
"""In the cache directory, beside the models."""
CACHES: Mapping[str, str] = {
    "VLLM_CACHE_ROOT": "vllm",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    "CUDA_CACHE_PATH": "cuda",
}
"""Environment variables of vLLM, torch, Triton, FlashInfer and NVIDIA's driver, to a folder in `FOLDER`."""


def variables(cache_dir: Path) -> dict[str, str]:
    """Environment variables for the server, which its processes inherit. What the operator has set stays."""
    return {name: str(cache_dir / FOLDER / folder) for name, folder in CACHES.items() if name not in os.environ}
