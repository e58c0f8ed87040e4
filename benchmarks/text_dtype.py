"""A language model on this CPU in bfloat16 and in float32: CPU seconds for reading prompts and for writing answers.

Each dtype in a process of its own, on the starter's model, without the cache of prefixes. `python
benchmarks/text_dtype.py`; what was found: docs/measurements/text.md.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from frontend import tokenizer_path
from rich.console import Console
from rich.table import Table

DTYPES = ("bfloat16", "float32")
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
WORK = {
    "prompt of 40 tokens": (1, 40, 1),
    "prompt of 200 tokens": (1, 200, 1),
    "prompt of 10 tokens and 10 new ones": (1, 10, 10),
    "four of those at once": (4, 10, 10),
}
"""How many answers at once, tokens of each prompt, new tokens."""
MEMORY = "largest resident memory, GB"


def measure(model: Path, dtype: str) -> dict[str, float]:
    """CPU seconds of each piece of work, the better of two."""
    from vllm import LLM, SamplingParams

    size: dict[str, Any] = {"max_model_len": 2048, "max_num_seqs": 8, "kv_cache_memory_bytes": 2**30}
    how: dict[str, Any] = {"dtype": dtype, "enforce_eager": True, "enable_prefix_caching": False}
    llm: Any = LLM(str(model), **size, **how)
    chance = random.Random(1)

    def run(answers: int, length: int, new: int) -> float:
        prompts = [{"prompt_token_ids": chance.choices(range(1000, 9000), k=length)} for _ in range(answers)]
        used = time.process_time()
        llm.generate(prompts, SamplingParams(max_tokens=new, ignore_eos=True, temperature=0), use_tqdm=False)
        return time.process_time() - used

    run(1, 20, 2)
    found = {name: min(run(*work), run(*work)) for name, work in WORK.items()}
    return {**found, MEMORY: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=DTYPES, help="measure this one only, and print JSON")
    arguments = parser.parse_args()
    model = asyncio.run(tokenizer_path())
    if arguments.dtype:
        print(json.dumps(measure(model, arguments.dtype)))
        return
    found: list[dict[str, float]] = []
    for dtype in DTYPES:
        command = [sys.executable, __file__, "--dtype", dtype]
        done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    table = Table("", *DTYPES, "ratio", title="seconds of CPU time")
    for name in (*WORK, MEMORY):
        half, full = (one[name] for one in found)
        table.add_row(name, f"{half:.2f}", f"{full:.2f}", f"{full / half:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
