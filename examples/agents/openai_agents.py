"""A tool-calling round with the OpenAI Agents SDK: `pip install openai-agents`, then run this with OPENAI_BASE_URL set.

It speaks the Responses API, which is that SDK's own choice; with MUYBRIDGE_API=chat, chat completions.
"""

import os

from agents import (
    Agent,
    ModelSettings,
    Runner,
    function_tool,
    set_default_openai_api,
    set_default_openai_client,
    set_tracing_disabled,
)
from openai import AsyncOpenAI


@function_tool
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    print(f"called: get_weather({city})")
    return f"It is 18 degrees in {city}, with light rain."


def main() -> None:
    """Asks, lets the model call the tool, and prints what it makes of the result."""
    client = AsyncOpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "unused"),
    )
    set_default_openai_client(client, use_for_tracing=False)
    set_tracing_disabled(True)  # Traces would go to OpenAI.
    if os.environ.get("MUYBRIDGE_API") == "chat":
        set_default_openai_api("chat_completions")
    agent = Agent(
        name="Weather",
        model=os.environ.get("MUYBRIDGE_MODEL", "gpt-4o"),  # an alias: whatever the profile serves as its text model
        model_settings=ModelSettings(temperature=0),
        tools=[get_weather],
    )
    result = Runner.run_sync(agent, "What is the weather in Paris?", max_turns=4)
    print(f"answer: {result.final_output}")


if __name__ == "__main__":
    main()
