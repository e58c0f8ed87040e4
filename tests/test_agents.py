"""Agents of three other projects, unchanged, each through one tool-calling round on the real starter model."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from support.servers import ROOT, Running

AGENTS = ROOT / "examples" / "agents"

pytestmark = pytest.mark.long  # each installs packages, and its agent asks a model several times


def run(command: list[str], server: Running, cwd: Path = ROOT, **env: str) -> None:
    """Runs an agent; it must call the tool with the city, and answer with what the tool said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "unused", **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "called: get_weather(Paris)" in done.stdout, done.stdout + server.log.read_text()[-2000:]
    assert "18" in done.stdout.partition("answer:")[2], done.stdout


def test_a_langchain_agent(starter_server: Running) -> None:
    run([sys.executable, str(AGENTS / "langchain_agent.py")], starter_server)


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_the_openai_agents_sdk(starter_server: Running, api: str) -> None:
    run([sys.executable, str(AGENTS / "openai_agents.py")], starter_server, MUYBRIDGE_API=api)


@pytest.fixture(scope="module")
def vercel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Vercel AI SDK installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("vercel")
    for name in ("agent.mjs", "package.json", "package-lock.json"):
        shutil.copy(AGENTS / "vercel" / name, folder)
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_the_vercel_ai_sdk(starter_server: Running, vercel: Path, api: str) -> None:
    run(["node", "agent.mjs"], starter_server, vercel, MUYBRIDGE_API=api)


async def test_the_voice_pipeline_of_the_agents_sdk(fake_server: Running) -> None:
    """With its own default models: speech to text, an agent on responses, text to speech."""
    import numpy as np
    from agents import Agent, OpenAIResponsesModel
    from agents.voice import AudioInput, SingleAgentVoiceWorkflow, VoicePipeline, VoicePipelineConfig
    from agents.voice.models.openai_model_provider import OpenAIVoiceModelProvider

    async with openai.AsyncOpenAI(base_url=f"{fake_server.url}/v1", api_key="unused") as client:
        agent = Agent(name="A", instructions="x", model=OpenAIResponsesModel("fake-text", client))
        config = VoicePipelineConfig(
            model_provider=OpenAIVoiceModelProvider(openai_client=client), tracing_disabled=True
        )
        pipeline = VoicePipeline(workflow=SingleAgentVoiceWorkflow(agent), config=config)
        result = await pipeline.run(AudioInput(buffer=np.zeros(48_000, dtype=np.int16)))
        audio = [event.data async for event in result.stream() if event.type == "voice_stream_event_audio"]
    assert sum(len(one) for one in audio if one is not None) > 1000
