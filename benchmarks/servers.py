"""Granian or uvicorn: what a streamed frame and a request cost the server's process (ADR 2).

Both serve the same ASGI application in one process on uvloop: our own `EventStream` over frames that are ready at once,
and a small JSON reply. CPU seconds are the process's own (user and system, all threads), so the client does not count.
Rounds are interleaved; medians and spread are over rounds. Run alone: `python benchmarks/servers.py`.
"""

import argparse
import asyncio
import http.client
import multiprocessing
import socket
import statistics
import time
from collections.abc import AsyncGenerator
from typing import Any

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

FRAME = b'data: {"id":"chatcmpl-0","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}\n\n'
SERVERS = ("granian", "uvicorn")


def application(frames: int) -> Any:
    """An ASGI application with a stream of `frames` frames and a small reply."""
    from server.http.streaming import EventStream

    async def produce() -> AsyncGenerator[bytes]:
        for _ in range(frames - 1):
            await asyncio.sleep(0)  # as a model does: one wake a token
            yield FRAME

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"]:
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        if scope["path"] == "/stream":
            return await EventStream(FRAME, produce())(scope, receive, send)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def serve(kind: str, port: int, frames: int) -> None:
    """Runs one server for ever."""
    app = application(frames)
    if kind == "uvicorn":
        import uvicorn

        config = uvicorn.Config(app, port=port, log_level="warning", http="httptools", loop="uvloop", lifespan="off")
        uvloop.run(uvicorn.Server(config).serve())
    else:
        from granian.constants import HTTPModes, Interfaces
        from granian.server.embed import Server

        options: dict[str, Any] = {"interface": Interfaces.ASGINL, "http": HTTPModes.http1, "log_enabled": False}
        uvloop.run(Server(app, port=port, websockets=False, **options).serve())


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


def streams(port: int, count: int) -> None:
    """Reads `count` streams, one after the other."""
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/stream")
        connection.getresponse().read()
        connection.close()


def requests(port: int, count: int) -> None:
    """Makes `count` small requests on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(count):
        connection.request("GET", "/small")
        connection.getresponse().read()
    connection.close()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=3_000)
    arguments = parser.parse_args()
    ports, processes = {}, {}
    context = multiprocessing.get_context("spawn")
    children = []
    for kind in SERVERS:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports[kind] = probe.getsockname()[1]
        child = context.Process(target=serve, args=(kind, ports[kind], arguments.frames), daemon=True)
        child.start()
        children.append(child)
        processes[kind] = psutil.Process(child.pid)
    time.sleep(4)
    found: dict[tuple[str, str], list[float]] = {}
    for turn in range(arguments.rounds + 1):
        for kind in SERVERS:
            for what, work, count, units in (
                ("frame", streams, 2, 2 * arguments.frames),
                ("request", requests, arguments.requests, arguments.requests),
            ):
                before = cpu_s(processes[kind])
                work(ports[kind], count)
                if turn:  # the first round warms up
                    found.setdefault((what, kind), []).append((cpu_s(processes[kind]) - before) / units * 1e6)
    table = Table(title="CPU of the server's process, µs (median, lowest-highest)")
    for column in ("per", *SERVERS, "granian / uvicorn"):
        table.add_column(column)
    for what in ("frame", "request"):
        cells = [found[what, kind] for kind in SERVERS]
        medians = [statistics.median(cell) for cell in cells]
        shown = [f"{m:.1f} ({min(c):.1f}-{max(c):.1f})" for m, c in zip(medians, cells, strict=True)]
        table.add_row(what, *shown, f"{medians[0] / medians[1]:.2f}")
    Console().print(table)
    for child in children:
        child.kill()


if __name__ == "__main__":
    main()
