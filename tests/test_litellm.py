"""LiteLLM on this server: videos as on any `hosted_vllm` server, and Anthropic's messages.

In an environment of its own: its pins and ours disagree.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.servers import ROOT, Running
from support.venvs import run_program

from adapters.fake.images import png

LITELLM = "litellm==1.106.2"
PROGRAM = """
import json, sys, time
import litellm

base, picture = sys.argv[1:]
server = {"api_base": base, "api_key": "unused"}
with open(picture, "rb") as reference:
    video = litellm.video_generation(
        model="hosted_vllm/fake-video", prompt="a fox", seconds="2", size="1280x720", input_reference=reference,
        num_frames=25, seed=7, num_inference_steps=4, guidance_scale=2.5, negative_prompt="dark", **server
    )
bare = litellm.video_generation(model="hosted_vllm/fake-video", prompt="a hare", **server)
states = [video.status]
while states[-1] not in ("completed", "failed"):
    time.sleep(0.2)
    states.append(litellm.video_status(video_id=video.id, **server).status)
film = litellm.video_content(video_id=video.id, **server)
again = litellm.video_remix(video_id=video.id, prompt="a bear", **server)
listed = litellm.video_list(custom_llm_provider="hosted_vllm", **server)["data"]
try:
    litellm.video_generation(model="hosted_vllm/fake-video", prompt="x", size="1x1", **server)
    refused = ""
except litellm.BadRequestError as error:
    refused = str(error)
print(json.dumps({
    "states": states, "film": film.hex()[:2000], "seconds": video.seconds, "bare": bare.status, "again": again.status,
    "listed": len(listed), "refused": refused,
}))
"""
MESSAGES = """
import asyncio, sys
import litellm

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "get_weather", "description": "The weather.", "input_schema": CITY}

async def main():
    base, model, text = sys.argv[1:]
    common = {"model": model, "api_base": base, "api_key": "x", "max_tokens": 100, "tools": [TOOL]}
    asked = [{"role": "user", "content": text}]
    reply = await litellm.anthropic.messages.acreate(messages=asked, **common)
    call = next(block for block in reply["content"] if block["type"] == "tool_use")
    print("called", call["input"]["city"], reply["stop_reason"])
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": "sunny-in-Rome"}
    asked += [{"role": "assistant", "content": reply["content"]}, {"role": "user", "content": [result]}]
    async for event in await litellm.anthropic.messages.acreate(messages=asked, stream=True, **common):
        print(event.decode() if isinstance(event, bytes) else event)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has LiteLLM."""
    place = tmp_path_factory.mktemp("litellm")
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    python = place / "venv/bin/python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    installing = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", LITELLM, "mcp"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=550,
    )
    if installing.returncode != 0:
        pytest.skip(f"LiteLLM cannot be installed here: {installing.stderr.strip()[-200:]}")
    return python


@pytest.mark.long
def test_litellm_generates_videos_here(litellm: Path, fake_server: Running, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(png(64, 48, (1, 2, 3)))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COLUMNS")}
    done = subprocess.run(
        [litellm, "-c", PROGRAM, f"{fake_server.url}/v1", picture],
        env=environment | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["states"]) <= {"queued", "in_progress", "completed"}
    assert found["states"][-1] == "completed"
    film = bytes.fromhex(found["film"])
    assert film[4:8] == b"ftyp"
    assert b"('a fox', 7, 1)" in film  # seed and picture reached the model
    assert (found["seconds"], found["bare"], found["again"]) == ("2.08", "queued", "queued")
    assert found["listed"] >= 2
    assert "size" in found["refused"]


def test_litellm_is_no_dependency_of_ours() -> None:
    assert "litellm" not in (ROOT / "pyproject.toml").read_text()


@pytest.mark.long
@pytest.mark.parametrize("model", ["hosted_vllm/fake-text", "openai/fake-text"])
def test_litellm_serves_anthropics_messages_from_here(
    litellm: Path, fake_server: Running, tmp_path: Path, model: str
) -> None:
    """The first model name goes to chat completions, the second to responses."""
    asked = '[call=get_weather {"city": "Rome"}]'
    command = [litellm, "-c", MESSAGES, f"{fake_server.url}/v1", model, asked]
    output = run_program(command, tmp_path, LITELLM_LOCAL_MODEL_COST_MAP="True")
    assert "called Rome tool_use" in output
    texts = [
        json.loads(line.removeprefix("data: "))["delta"].get("text", "")
        for line in output.splitlines()
        if line.startswith("data: ") and '"content_block_delta"' in line
    ]
    assert "".join(texts) == "sunny-in-Rome"
    assert '"end_turn"' in output
