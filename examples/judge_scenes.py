"""Both validators with nothing but chat, so that any OpenAI tool can use them on any server whose model sees.

Asks one yes-or-no question a time with `logprobs`, and reads the probability of "yes" from the tokens that could have
stood in the answer's place. The server's own routes do more (POST /v1/scenes/validations and /consistency, or
`client.decisions`): every spelling counts, elements are cut from the description, the odd image is named.

`python examples/judge_scenes.py "a red fox in the forest" one.png two.png`
"""

import base64
import math
import os
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

from openai import OpenAI

MODEL = os.environ.get("MODEL", "starter-vision")
ASPECTS = ("subject", "colours", "setting")


def yes(client: OpenAI, images: list[bytes], question: str) -> float:
    """The probability of "yes" against "no", by the model's own distribution over the first token of its answer."""
    parts: list[Any] = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(image).decode()}}
        for image in images
    ]
    text = f"\n\nAnswer the question with exactly one of these, and nothing else: yes, no\n\nQuestion: {question}"
    reply = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": [*parts, {"type": "text", "text": text}]}],
        max_completion_tokens=1,
        temperature=0,
        logprobs=True,
        top_logprobs=20,
    )
    logprobs = reply.choices[0].logprobs
    places = logprobs.content if logprobs and logprobs.content else []
    chances = {"yes": 0.0, "no": 0.0}
    for token in places[0].top_logprobs if places else []:
        word = token.token.strip().lower()
        if word in chances:
            chances[word] += math.exp(token.logprob)
    total = sum(chances.values())
    return chances["yes"] / total if total else 0.5


def main(description: str, paths: list[Path]) -> None:
    """Prints how well each image fits the description, and how well they fit each other."""
    client = OpenAI(
        base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1"),
        api_key=os.environ.get("OPENAI_API_KEY", "unused"),
    )
    images = [path.read_bytes() for path in paths]
    for path, image in zip(paths, images, strict=True):
        chance = yes(client, [image], f'Does the image match this description: "{description}"?')
        print(f"{path.name}: {'matches' if chance >= 0.5 else 'does not match'} ({chance:.2f})")
    for first, second in combinations(range(len(images)), 2):
        for aspect in ASPECTS:
            chance = yes(client, [images[first], images[second]], f"Do the images show the same {aspect}?")
            print(f"{paths[first].name}, {paths[second].name}: the same {aspect}: {chance:.2f}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], [Path(path) for path in sys.argv[2:]])
