"""What the server adds to embeddings: transformers called directly, and POST /v1/embeddings on the same weights.

Direct: tokenizer, network, pooling and length one in this process, text by text and in batches. The server: one client,
32 clients at once (requests are collected into batches), and one request with many texts. Rounds are interleaved;
medians over rounds, with the lowest and highest. The clients' own cost counts against the server. Where other
work runs, wall clocks tell of that work: the lowest tenth of single requests and CPU seconds tell more.
`python benchmarks/embeddings.py`
"""

import argparse
import asyncio
import base64
import http.client
import json
import os
import random
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

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
MODEL = "all-minilm-l6-v2"
CLIENTS = 32
WORDS = ("the", "horse", "lifted", "all", "four", "feet", "nobody", "had", "seen", "that", "before", "a", "picture")


class Direct:
    """sentence-transformers' recipe for this model, by hand."""

    def __init__(self, path: Path, threads: int) -> None:
        """Loads tokenizer and network."""
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(threads)
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(path)
        self._network = AutoModel.from_pretrained(path).eval()

    def embed(self, texts: list[str]) -> Any:
        """float32 [texts, 384], of length one."""
        batch = self._tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
        with self._torch.inference_mode():
            hidden = self._network(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            return self._torch.nn.functional.normalize(pooled, dim=1).numpy()


class Client:
    """One connection to the server, kept open."""

    def __init__(self, port: int) -> None:
        """Connects on the first request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def embed(self, texts: list[str], encoding: str = "base64") -> Any:
        """The vectors that the server makes."""
        body = json.dumps({"model": MODEL, "input": texts, "encoding_format": encoding})
        try:
            self._connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        except ConnectionError:  # idle for long, so the server has closed it
            self._connection.close()
            self._connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
        reply = self._connection.getresponse()
        content = json.loads(reply.read())
        if reply.status != 200:
            raise RuntimeError(content)
        if encoding == "float":
            return np.array([one["embedding"] for one in content["data"]], "<f4")
        return np.stack([np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in content["data"]])


def rate(work: Callable[[], Any], texts: int) -> float:
    """Texts per second."""
    begun = time.perf_counter()
    work()
    return texts / (time.perf_counter() - begun)


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process has used, without its children."""
    times = process.cpu_times()
    return times.user + times.system


async def weights(cache: Path) -> Path:
    """The checkpoint, fetched where it is not here yet."""
    from adapters.catalog.catalog import load_catalog
    from adapters.loader import fetch

    entry = load_catalog().models[MODEL]
    return await fetch.fetch(MODEL, entry.sources, cache / "models", lambda _: None, backend=entry.backend)


def measure(direct: Direct, port: int, pid: int, texts: list[str], rounds: int) -> dict[str, list[float]]:
    """Texts per second of each way, round by round; and the milliseconds of single requests."""
    server = psutil.Process(pid)
    clients = [Client(port) for _ in range(CLIENTS)]
    found: dict[str, list[float]] = {}
    single = texts[:64]

    def concurrent() -> None:
        def some(at: int) -> None:
            for text in texts[at::CLIENTS]:
                clients[at].embed([text])

        with ThreadPoolExecutor(CLIENTS) as threads:
            list(threads.map(some, range(CLIENTS)))

    ways: dict[str, tuple[Callable[[], Any], int]] = {
        "direct, one by one": (lambda: [direct.embed([text]) for text in single], len(single)),
        "server, one client": (lambda: [clients[0].embed([text]) for text in single], len(single)),
        "direct, batches of 32": (
            lambda: [direct.embed(texts[at : at + 32]) for at in range(0, len(texts), 32)],
            len(texts),
        ),
        f"server, {CLIENTS} clients, one text each": (concurrent, len(texts)),
        "server, one request with all": (lambda: clients[0].embed(texts), len(texts)),
        "server, the same as floats": (lambda: clients[0].embed(texts, "float"), len(texts)),
    }
    for turn in range(rounds + 1):
        for name, (work, count) in ways.items():
            measured = rate(work, count)
            if turn:  # the first round warms up
                found.setdefault(name, []).append(measured)
        if turn:
            before = cpu_s(server)
            # Text by text, one side right after the other: what the neighbours of this machine do then hits both.
            for text in single:
                begun = time.perf_counter()
                direct.embed([text])
                middle = time.perf_counter()
                clients[0].embed([text])
                over = time.perf_counter()
                found.setdefault("direct ms", []).append((middle - begun) * 1000)
                found.setdefault("server ms", []).append((over - middle) * 1000)
            used = (cpu_s(server) - before) / len(single) * 1000
            found.setdefault("server's own CPU ms", []).append(used)
    return found


def show(found: dict[str, list[float]]) -> None:
    """Prints the table."""
    base = statistics.median(found["direct, one by one"])
    table = Table(title="all-MiniLM-L6-v2, texts a second (median, lowest-highest)")
    for column in ("way", "texts/s", "spread", "to direct, one by one"):
        table.add_column(column)
    for name, values in found.items():
        if not name.endswith(" ms"):
            middle = statistics.median(values)
            table.add_row(name, f"{middle:.0f}", f"{min(values):.0f}-{max(values):.0f}", f"{middle / base:.2f}")
    Console().print(table)
    for what, pick in (("median", statistics.median), ("lowest tenth", lambda all_: sorted(all_)[len(all_) // 10])):
        direct, server = pick(found["direct ms"]), pick(found["server ms"])
        print(f"one text, {what}: direct {direct:.2f} ms, server {server:.2f} ms: {server - direct:+.2f} ms (C5: 1 ms)")
    own = statistics.median(found["server's own CPU ms"])
    print(f"CPU of the server's own process: {own:.2f} ms a request (the model's process not counted)")


def main() -> None:
    """Starts a server and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # of both sides
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cache = Path(os.environ.get("MUYBRIDGE_CACHE_DIR", "~/.cache/muybridge")).expanduser()
    path = asyncio.run(weights(cache))
    draw = random.Random(1)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(5, 30))) for _ in range(arguments.texts)]
    direct = Direct(path, arguments.threads)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        options = ["--port", str(port), "--data-dir", data, "--cache-dir", str(cache), "--log-level", "error"]
        with subprocess.Popen([sys.executable, "-m", "server", "serve", *options], cwd=ROOT) as server:
            try:
                while True:
                    try:
                        urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live").close()
                        break
                    except OSError:
                        time.sleep(0.05)
                same = np.abs(Client(port).embed(texts[:64]) - direct.embed(texts[:64])).max()
                show(measure(direct, port, server.pid, texts, arguments.rounds))
                print(f"largest difference between the sides' numbers: {same:.1e}")
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
