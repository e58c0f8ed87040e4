"""What questions about an image cost, and how often the starter's vision model answers them right.

Cost: one question and fifty about one image, each image seen for the first time, through POST /v1/decisions and the
official client; rounds interleaved, medians with the lowest and highest. Where other work runs, CPU seconds of server
and engine together say more than the clock. The goal: fifty cost less than five times one.

Labelled: held-out scenes of the project's own renderer (`starter/questions.py` knows the answers), asked through the
same route; and scene validation against true descriptions and such with one attribute wrong. What an untrained model
gives is chance. `python benchmarks/vision.py [--scenes 100] [--model starter-vision]`
"""

import argparse
import base64
import io
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from starter.captions import caption  # noqa: E402
from starter.drawing import draw  # noqa: E402
from starter.questions import LabelledQuestion, altered, choice, predicate  # noqa: E402
from starter.training.images import random_scenes  # noqa: E402

MANY = 50
PICTURES = 8
"""A round's, so that the clock of CPU seconds, which ticks a hundred times a second, is fine enough."""
BINS = 10


def data_url(image: Image.Image) -> str:
    """The image as a request takes it."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def shown(image: str) -> list[Any]:
    """The image as the input of a decision."""
    return [{"role": "user", "content": [{"type": "input_image", "image_url": image}]}]


@contextmanager
def serving() -> Iterator[tuple[str, psutil.Process]]:
    """A server of the starter profile."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        options = ["--port", str(port), "--data-dir", data, "--log-level", "error"]
        with subprocess.Popen([sys.executable, "-m", "server", "serve", *options], cwd=ROOT) as server:
            try:
                while True:
                    try:
                        urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live").close()
                        break
                    except OSError:
                        time.sleep(0.05)
                yield f"http://127.0.0.1:{port}/v1", psutil.Process(server.pid)
            finally:
                server.terminate()


def cpu_s(server: psutil.Process) -> float:
    """CPU seconds of the server and its engines so far."""
    spent = [process.cpu_times() for process in (server, *server.children(recursive=True))]
    return sum(times.user + times.system for times in spent)


def cost(client: openai.OpenAI, model: str, server: psutil.Process, rounds: int) -> None:
    """Prints what one question costs, and what fifty do."""
    rng = random.Random(1)
    found: dict[int, list[tuple[float, float]]] = {1: [], MANY: []}
    for turn in range(rounds + 1):
        for count, values in found.items():
            images = [data_url(draw(scene)) for scene in random_scenes(PICTURES, rng)]
            questions: Any = [{"type": "predicate", "instructions": f"Is it number {n}?"} for n in range(count)]
            cpu, begun = cpu_s(server), time.perf_counter()
            for image in images:
                client.decisions.create(model=model, input=shown(image), questions=questions)
            if turn:  # the first round loads and warms up
                values.append(((cpu_s(server) - cpu) / PICTURES, (time.perf_counter() - begun) / PICTURES))
    table = Table(title=f"questions about one new image, {model} (median of {rounds}, lowest-highest)")
    for column in ("questions", "CPU ms", "spread", "wall ms", "spread"):
        table.add_column(column)
    for count, values in found.items():
        cells = [str(count)]
        for side in (0, 1):
            some = [1000 * value[side] for value in values]
            cells += [f"{statistics.median(some):.1f}", f"{min(some):.1f}-{max(some):.1f}"]
        table.add_row(*cells)
    Console().print(table)
    for side, name in enumerate(("CPU", "wall")):
        ratio = statistics.median(
            many[side] / one[side] for one, many in zip(found[1], found[MANY], strict=True) if one[side]
        )
        print(f"{name}: {MANY} questions cost {ratio:.1f}x of one (goal: < 5x)")


def wire(asked: LabelledQuestion) -> dict[str, Any]:
    """A question of the starter's world as a decision takes it."""
    text = asked.text.rpartition("Question: ")[2]
    if asked.options == ("yes", "no"):
        return {"type": "predicate", "instructions": text}
    return {"type": "choice", "instructions": text, "choices": [{"value": option} for option in asked.options]}


def labelled(client: openai.OpenAI, model: str, count: int) -> None:
    """Prints how often the model is right about scenes that it never saw."""
    rng = random.Random(2)
    right: dict[str, list[bool]] = {"predicate": [], "choice": []}
    sure: list[tuple[float, bool]] = []
    refused = 0
    validations: dict[bool, list[float]] = {True: [], False: []}
    for scene in random_scenes(count, rng, held=True):
        image = data_url(draw(scene))
        asked = [kind(scene, rng) for kind in (predicate, choice) for _ in range(4)]
        decision = client.decisions.create(model=model, input=shown(image), questions=[wire(one) for one in asked])  # type: ignore[misc]
        for one, answer in zip(asked, decision.answers, strict=True):
            if answer.type == "predicate":
                said = "yes" if answer.probability >= 0.5 else "no"
                chance = max(answer.probability, 1 - answer.probability)
            elif answer.type == "choice":
                said, chance = str(answer.choice), answer.confidence
            else:
                refused += 1
                continue
            right[answer.type].append(said == one.answer)
            sure.append((chance, said == one.answer))
        for truth, mentioned in ((True, scene), (False, altered(scene, rng))):
            body = {"model": model, "image": image, "description": caption(mentioned, rng, {}).text}
            reply: dict[str, Any] = client.post("/scenes/validations", body=body, cast_to=dict[str, Any])
            validations[truth].append(reply["match_score"])
    table = Table(title=f"{count} held-out scenes, {model}")
    for column in ("what", "found"):
        table.add_column(column)
    for kind, answers in right.items():
        table.add_row(f"{kind}s right", share(answers))
    table.add_row("refusals", str(refused))
    table.add_row("calibration error of ten bins (arXiv:1706.04599)", f"{calibration_error(sure):.3f}")
    true, false = validations[True], validations[False]
    above = sum((one > other) + (one == other) / 2 for one in true for other in false)
    table.add_row("validation AUC, one attribute wrong", f"{above / (len(true) * len(false)):.3f}")
    Console().print(table)


def share(answers: list[bool]) -> str:
    """As text."""
    return f"{100 * sum(answers) / len(answers):.1f} % of {len(answers)}" if answers else "none was answered"


def calibration_error(answers: list[tuple[float, bool]]) -> float:
    """How far confidence and accuracy are apart, on average."""
    error = 0.0
    for number in range(BINS):
        some = [one for one in answers if number / BINS < one[0] <= (number + 1) / BINS]
        error += abs(sum(chance for chance, _ in some) - sum(right for _, right in some))
    return error / max(1, len(answers))


def main() -> None:
    """Starts a server and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--model", default="starter-vision")
    given = parser.parse_args()
    with serving() as (url, server):
        client = openai.OpenAI(base_url=url, api_key="unused", timeout=600, max_retries=0)
        work: list[Callable[[], None]] = [lambda: cost(client, given.model, server, given.rounds)]
        if given.scenes:
            work.append(lambda: labelled(client, given.model, given.scenes))
        for one in work:
            one()


if __name__ == "__main__":
    main()
