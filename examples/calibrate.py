"""Fits a model's calibration: the temperature by which judged probabilities are divided, so that 0.8 means 8 in 10.

Takes labelled questions, one JSON object a line: `{"image": PATH, "question": TEXT, "answer": "yes"}`, with
`"options": [...]` where it is no yes-or-no question. Asks a running server through `client.decisions`, and prints the
temperature that makes the right answers most probable (Guo et al. 2017, arXiv:1706.04599), for the model's entry in the
catalog: `options: {judge_temperature: ...}`. Where the entry has one already, the new one is its multiple.

`python examples/calibrate.py starter-vision labelled.jsonl`
"""

import base64
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from openai import OpenAI

LEAST = 1e-9
"""Of a probability: what a model rules out entirely may still be right."""


def ask(client: OpenAI, model: str, line: dict[str, Any], folder: Path) -> tuple[list[float], int] | None:
    """The probabilities of the answers and which one is right; None where the model refused to answer."""
    data = base64.b64encode((folder / line["image"]).read_bytes()).decode()
    image: Any = {"type": "input_image", "image_url": f"data:image/png;base64,{data}"}
    options = line.get("options") or ["yes", "no"]
    question: Any = {
        "type": "choice",
        "instructions": line["question"],
        "choices": [{"value": option} for option in options],
    }
    decision = client.decisions.create(model=model, input=[{"role": "user", "content": [image]}], questions=[question])
    (answer,) = decision.answers
    if answer.type != "choice":
        return None
    return [one.probability for one in answer.probabilities], options.index(line["answer"])


def loss(answers: list[tuple[list[float], int]], temperature: float) -> float:
    """The mean negative log-likelihood of the right answers at a temperature."""
    total = 0.0
    for probabilities, right in answers:
        logits = [math.log(max(one, LEAST)) / temperature for one in probabilities]
        highest = max(logits)
        total += highest + math.log(sum(math.exp(one - highest) for one in logits)) - logits[right]
    return total / len(answers)


def fit(answers: list[tuple[list[float], int]]) -> float:
    """The temperature of the least loss, of 0.05 to 20, by golden sections of its logarithm: there is one valley."""
    low, high, golden = math.log(0.05), math.log(20), (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(answers, math.exp(left)) < loss(answers, math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def main(model: str, path: Path) -> None:
    """Prints the temperature."""
    client = OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "unused"),
    )
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    found = [ask(client, model, line, path.parent) for line in lines]
    answers = [one for one in found if one is not None]
    if not answers:
        raise SystemExit("The model refused to answer every question: there is nothing to fit.")
    temperature = fit(answers)
    print(f"{len(answers)} answers, {len(found) - len(answers)} refusals")
    print(f"loss at 1: {loss(answers, 1):.4f}; at {temperature:.3f}: {loss(answers, temperature):.4f}")
    print(f"options: {{judge_temperature: {temperature:.3f}}}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
