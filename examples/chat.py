"""A streamed chat with a local model, through the official client: `python examples/chat.py "why is the sky blue?"`."""

import os
import sys

from openai import OpenAI


def main(question: str) -> None:
    """Prints the answer as it is written."""
    client = OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "unused"),
    )
    stream = client.chat.completions.create(
        model="gpt-4o",  # an alias: whatever the profile serves as its text model
        messages=[{"role": "user", "content": question}],
        stream=True,
        max_completion_tokens=200,
    )
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Name three uses of a paper clip.")
