"""How often a model's answer is right as free text, as a tool call, and as JSON with and without a schema.

48 sentences about a person; each is asked in four ways at temperature 1, with the seeds 0 to 47. A right free answer
is the age and nothing else; a right call or JSON has exactly the name, age and city of the sentence. If the grammars
fit the model, all four are alike. `python benchmarks/structured.py --url http://127.0.0.1:8000/v1`
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
from rich.console import Console
from rich.table import Table

NAMES = ("Anna", "Boris", "Clara", "David", "Elena", "Frank", "Greta", "Hugo", "Irene", "Jonas", "Karla", "Louis")
CITIES = ("Rome", "Paris", "Oslo", "Madrid")
COUNT = len(NAMES) * len(CITIES)
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
}
TOOL = {"name": "save_person", "description": "Saves a person.", "parameters": SCHEMA}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "free": ("Which city does {name} live in? Answer with the city alone.", {}),
    "tool": ("Save this person.", {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}),
    "json_schema": (
        "Write this person as JSON with name, age and city.",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}},
    ),
    "json_object": (
        "Write this person as one JSON object with the keys name, age and city.",
        {"response_format": {"type": "json_object"}},
    ),
}


def person(index: int) -> dict[str, Any]:
    """The person of a question."""
    return {"name": NAMES[index % 12], "age": 18 + 37 * index % 71, "city": CITIES[index // 12]}


def ask(client: openai.OpenAI, model: str, way: str, index: int) -> str:
    """The model's answer, or the arguments of its call."""
    asked, fields = WAYS[way]
    one = person(index)
    text = f"{one['name']} is {one['age']} years old and lives in {one['city']}. {asked.format(**one)}"
    reply = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], temperature=1, seed=index, max_tokens=80, **fields
    )
    message = reply.choices[0].message
    return message.tool_calls[0].function.arguments if message.tool_calls else message.content or ""


def is_right(way: str, answer: str, index: int) -> bool:
    """Whether an answer says what the sentence says, and nothing else."""
    one = person(index)
    if way == "free":
        return answer.strip().rstrip(".") == one["city"]
    try:
        return json.loads(answer) == one
    except ValueError:
        return False


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--model", default="gpt-4o")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--wrong", action="store_true", help="print the wrong answers, too")
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=arguments.url, api_key="unused", timeout=600)
    table = Table(title=f"right answers of {COUNT} at temperature 1")
    row: list[str] = []
    for way in arguments.ways:
        table.add_column(way)
        answer: Callable[[int], str] = lambda index, way=way: ask(client, arguments.model, way, index)  # noqa: E731
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(answer, range(COUNT)))
        right = [is_right(way, text, index) for index, text in enumerate(answers)]
        row.append(str(sum(right)))
        for index, text in enumerate(answers):
            if arguments.wrong and not right[index]:
                print(way, person(index), repr(text[:200]), flush=True)
    table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
