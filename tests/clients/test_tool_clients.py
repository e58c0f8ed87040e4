"""Clients that assemble streamed tool calls in their own ways: each calls one tool and reads the answer."""

from pathlib import Path

import pytest
from support.servers import Running
from support.venvs import node_with, run_program, venv_with

ASKED = """[call=get_weather {"city": "Rome"}]"""
LANGCHAIN = """
import sys
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

def get_weather(city: str) -> str:
    "The weather in a city."
    print("called", city)
    return f"sunny in {city}"

model = ChatOpenAI(model="fake-text", base_url=sys.argv[1], api_key="x", streaming=True)
agent = create_agent(model, [get_weather])
said = []
for message, _ in agent.stream({"messages": [("user", sys.argv[2])]}, stream_mode="messages"):
    said.append(message.text if isinstance(message.text, str) else message.text())
print("answer", "".join(said))
"""
LLAMA_INDEX = """
import asyncio, sys
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike

def get_weather(city: str) -> str:
    "The weather in a city."
    print("called", city)
    return f"sunny in {city}"

async def main():
    llm = OpenAILike(model="fake-text", api_base=sys.argv[1], api_key="x", is_chat_model=True,
                     is_function_calling_model=True)
    agent = FunctionAgent(tools=[get_weather], llm=llm)
    print("answer", await agent.run(sys.argv[2]))

asyncio.run(main())
"""
INSTRUCTOR = """
import sys
import instructor, openai
from pydantic import BaseModel

class Weather(BaseModel):
    city: str
    days: int

client = instructor.from_openai(openai.OpenAI(base_url=sys.argv[1], api_key="x"), mode=instructor.Mode.TOOLS)
prompt = '[call=PartialWeather {"city": "Rome", "days": 3}]'
parts = list(client.chat.completions.create_partial(
    model="fake-text", response_model=Weather, messages=[{"role": "user", "content": prompt}]
))
assert len(parts) > 2
print("called", parts[-1].city)
print("answer", "sunny in", parts[-1].city, parts[-1].days)
"""
SEMANTIC_KERNEL = """
import asyncio, sys
import openai
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function

class Plugin:
    @kernel_function(name="get_weather", description="The weather in a city.")
    def get_weather(self, city: str) -> str:
        print("called", city)
        return f"sunny in {city}"

async def main():
    client = openai.AsyncOpenAI(base_url=sys.argv[1], api_key="x")
    service = OpenAIChatCompletion(ai_model_id="fake-text", async_client=client)
    agent = ChatCompletionAgent(service=service, name="A", plugins=[Plugin()])
    said = []
    asked = sys.argv[2].replace("get_weather", "Plugin-get_weather")
    async for piece in agent.invoke_stream(messages=asked):
        said.append(str(piece.content))
    print("answer", "".join(said))

asyncio.run(main())
"""
NODE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "x" });
const parameters = { type: "object", properties: { city: { type: "string" } } };
const runner = client.chat.completions.runTools({
  model: "fake-text",
  stream: true,
  messages: [{ role: "user", content: process.argv[3] }],
  tools: [{
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city.",
      parse: JSON.parse,
      parameters,
      function: ({ city }) => { console.log("called", city); return `sunny in ${city}`; },
    },
  }],
});
console.log("answer", await runner.finalContent());
"""
PYTHON = {
    "langchain": (LANGCHAIN, ["langchain==1.5.2", "langchain-openai==1.7.4"]),
    "llama-index": (LLAMA_INDEX, ["llama-index-core==0.14.25", "llama-index-llms-openai-like==0.8.1"]),
    "instructor": (INSTRUCTOR, ["instructor==1.17.0"]),
    "semantic-kernel": (SEMANTIC_KERNEL, ["semantic-kernel==1.45.0"]),
}


@pytest.mark.long
@pytest.mark.parametrize("client", PYTHON)
def test_a_python_client_calls_a_tool_in_a_stream(client: str, fake_server: Running, tmp_path: Path) -> None:
    program, packages = PYTHON[client]
    python = venv_with(tmp_path, *packages)
    output = run_program([python, "-c", program, f"{fake_server.url}/v1", ASKED], tmp_path)
    assert "called Rome" in output
    assert "sunny in Rome" in output.partition("answer")[2]


@pytest.mark.long
def test_openai_node_calls_a_tool_in_a_stream(fake_server: Running, tmp_path: Path) -> None:
    folder = node_with(tmp_path, "openai@7.59.0")
    (folder / "run.mjs").write_text(NODE)
    output = run_program(["node", "run.mjs", f"{fake_server.url}/v1", ASKED], folder)
    assert "called Rome" in output
    assert "sunny in Rome" in output.partition("answer")[2]


CODEX = """
model = "fake-text"
model_provider = "local"
[model_providers.local]
name = "local"
base_url = "{url}"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


@pytest.mark.long
def test_codex_runs_a_command(fake_server: Running, tmp_path: Path) -> None:
    folder = node_with(tmp_path, "@openai/codex@0.171.0")
    (folder / "home").mkdir()
    (folder / "home/config.toml").write_text(CODEX.format(url=f"{fake_server.url}/v1"))
    command = [folder / "node_modules/.bin/codex", "exec", "--skip-git-repo-check"]
    asked = '[call=exec_command {"cmd": "echo marker-$((40+2))"}]'
    command += ["--dangerously-bypass-approvals-and-sandbox", asked]
    output = run_program(command, folder, CODEX_HOME=str(folder / "home"))
    assert "marker-42" in output
