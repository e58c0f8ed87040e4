"""A tool-calling round with LangChain: `pip install langchain langchain-openai`, and set OPENAI_BASE_URL."""

import os

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    print(f"called: get_weather({city})")
    return f"It is 18 degrees in {city}, with light rain."


def main() -> None:
    """Asks, lets the model call the tool, and prints what it makes of the result."""
    model = ChatOpenAI(
        model=os.environ.get("MUYBRIDGE_MODEL", "gpt-4o"),  # an alias: whatever the profile serves as its text model
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "unused"),  # pyright: ignore[reportArgumentType] - it takes text too
        temperature=0,
    )
    agent = create_agent(model, tools=[get_weather])
    result = agent.invoke({"messages": [{"role": "user", "content": "What is the weather in Paris?"}]})
    print(f"answer: {result['messages'][-1].content}")


if __name__ == "__main__":
    main()
