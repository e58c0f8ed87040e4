"""The starter profile on this machine: how long until it answers, and how fast it is then.

Starts a server of its own and drives it through the official client. Absolute times of one machine: to see what to
expect and to notice when it changes, not to compare machines. `python benchmarks/starter.py`
"""

import base64
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
ROUNDS = 5


def timed(work: Callable[[], Any]) -> float:
    """Seconds that a piece of work takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def chat(client: openai.OpenAI, tokens: int) -> tuple[float, float, int]:
    """(seconds to the first token, tokens per second after it, tokens) of one stream."""
    begun, first, count = time.perf_counter(), 0.0, 0
    stream = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Count from one upwards, in words, and never stop."}],
        max_completion_tokens=tokens,
        temperature=0,
        stream=True,
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = first or time.perf_counter()
            count += 1
    return first - begun, (count - 1) / (time.perf_counter() - first), count


def measure(client: openai.OpenAI, url: str, pid: int, table: Table) -> None:
    """Fills the table."""

    def row(what: str, values: list[float], unit: str) -> None:
        middle = f"{statistics.median(values):.3g}"
        spread = f"{min(values):.3g}-{max(values):.3g}" if len(values) > 1 else ""
        table.add_row(what, f"{middle} {unit}", spread)

    image_data = ""

    def draw() -> None:
        nonlocal image_data
        image_data = client.images.generate(prompt="a fox", extra_body={"seed": 1}).data[0].b64_json or ""

    def transcribe() -> None:
        with (ROOT / "examples" / "narration.ogg").open("rb") as audio:
            client.audio.transcriptions.create(model="whisper-1", file=audio)

    def generate_video() -> None:
        reference = ("k.png", base64.b64decode(image_data))
        client.videos.create_and_poll(model="sora-2", prompt="a fox", input_reference=reference, poll_interval_ms=50)

    def validate() -> None:
        image = f"data:image/png;base64,{image_data}"
        body = {"model": "starter-vision", "image": image, "description": "a fox, a boat, a house, with fog"}
        client.post("/scenes/validations", body=body, cast_to=dict[str, Any])

    row("chat: first request, model loaded for it", [timed(lambda: chat(client, 2))], "s")
    streams = [chat(client, 64) for _ in range(ROUNDS)]
    row("chat: first token", [first * 1000 for first, _, _ in streams], "ms")
    row("chat: tokens/s of one stream", [rate for _, rate, _ in streams], "")
    with ThreadPoolExecutor(16) as threads:
        begun = time.perf_counter()
        together = list(threads.map(lambda _: chat(client, 64), range(16)))
    rate = sum(count for _, _, count in together) / (time.perf_counter() - begun)
    row("chat: tokens/s of 16 streams together", [rate], "")
    for name, work in (
        ("image 128x128, 8 steps", draw),
        ("transcription of 10 s of speech", transcribe),
        ("video of 25 frames 128x128, 8 steps, to MP4", generate_video),
        ("scene validation, 4 elements", validate),
    ):
        row(f"{name}: first request, model loaded for it", [timed(work)], "s")
        row(name, [timed(work) for _ in range(ROUNDS)], "s")
    row(
        "health while idle",
        [timed(lambda: urllib.request.urlopen(f"{url}/health/live").close()) * 1000 for _ in range(50)],
        "ms",
    )
    server = psutil.Process(pid)
    row("memory of the server itself", [server.memory_info().rss / 2**30], "GiB")
    for child in server.children(recursive=True):
        held = child.memory_info().rss / 2**30
        if held > 0.2:
            row(f"memory of a model's process ({child.name()})", [held], "GiB")


def main() -> None:
    """Prints the table."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    table = Table(title=f"starter profile, {os.cpu_count()} cores (median of {ROUNDS}, lowest-highest)")
    for column in ("what", "median", "spread"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as data:
        command = [
            sys.executable,
            "-m",
            "server",
            "serve",
            "--port",
            str(port),
            "--data-dir",
            data,
            "--log-level",
            "error",
        ]
        begun = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT) as server:
            try:
                while True:
                    try:
                        urllib.request.urlopen(f"{url}/v1/models").close()
                        break
                    except OSError:
                        time.sleep(0.02)
                table.add_row("start to the first answer of /v1/models", f"{time.perf_counter() - begun:.3g} s", "")
                client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", timeout=600, max_retries=0)
                measure(client, url, server.pid, table)
            finally:
                table.add_row(
                    "SIGTERM to the end of all processes",
                    f"{timed(lambda: (server.terminate(), server.wait())):.3g} s",
                    "",
                )
    Console().print(table)


if __name__ == "__main__":
    main()
