"""A model in a child process, seen from the server: load, call, stream, cancel, kill.

The child is a new interpreter (`adapters/process/child.py`), never a fork: it inherits no locks, no event loop and no
CUDA state. A crash, a fault of the accelerator or a hang ends one model and not the server, and killing the child frees
all its memory. `adapters/process/remote.py` makes adapters of it, one class per kind.
"""

import asyncio
import itertools
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Self

import msgspec

from adapters.base import ModelFiles, Report
from adapters.errors import Interrupted, ModelLoadFailed
from adapters.hardware import environment
from adapters.process import protocol
from adapters.process.protocol import Frame

log = logging.getLogger(__name__)
HEARTBEAT_S = 60.0
"""A child that does not answer a ping within this counts as hung. Libraries may hold its interpreter for seconds."""


class Worker:
    """The child process of one model. Create it with `Worker.start`."""

    def __init__(self, model: ModelFiles, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        """Takes over a started process and the private socket to it."""
        self.devices = model.devices
        """As `ModelFiles.devices`."""
        self.properties: dict[str, Any] = {}
        """The adapter's properties (`supports_images`), which the child sends once the model is loaded."""
        self._name = model.name
        self._process = process
        self._link = link
        self._calls: dict[int, asyncio.Queue[Frame]] = {}
        self._ids = itertools.count(1)
        self._alive = True
        self._answered = True

    @classmethod
    async def start(cls, model: ModelFiles, report: Report) -> Self:
        """Starts a child and has it load the model.

        Raises:
            AdapterError: What `Adapter.load` raises in the child.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # no module out of the current directory
                "-m",
                "adapters.process.child",
                str(theirs.fileno()),
                str(os.getpid()),
                pass_fds=[theirs.fileno()],
                # By default OpenMP's threads spin while they wait for work, and starve all others.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **environment(model.devices)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # engines print to it, and the server's own standard output must stay clean
            )
        finally:
            theirs.close()
        worker = cls(model, process, ours)
        try:
            await worker._load(model, report)
        except BaseException:
            await worker.stop()
            raise
        return worker

    async def _load(self, model: ModelFiles, report: Report) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._link)
        loading = self._calls[0] = asyncio.Queue()
        self._read_task = asyncio.create_task(self._read(reader))
        await self._send(Frame(0, "load", body=model))
        while (frame := await loading.get()).operation == "progress":
            report(protocol.item(frame.name, frame.body))
        del self._calls[0]
        if frame.operation == "error":
            error = protocol.error(frame)
            raise ModelLoadFailed(error.message) if isinstance(error, Interrupted) else error
        self.properties = frame.body
        self._watch_task = asyncio.create_task(self._watch())

    @property
    def alive(self) -> bool:
        """Whether the process still serves calls."""
        return self._alive

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def call(self, verb: str, request: Any) -> Any:
        """Calls the adapter's coroutine method `verb`; returns and raises what it does."""
        call, queue = await self._open("call", verb, request)
        try:
            frame = await queue.get()
        except asyncio.CancelledError:
            self._post(Frame(call, "cancel"))
            raise
        finally:
            del self._calls[call]
        if frame.operation == "error":
            raise protocol.error(frame)
        return protocol.item(frame.name, frame.body)

    async def stream(self, verb: str, request: Any) -> AsyncGenerator[Any]:
        """Yields the events of the adapter's method `verb`. Closing the generator cancels the call in the child."""
        call, queue = await self._open("stream", verb, request)
        ended = False
        try:
            while True:
                frame = await queue.get()
                if frame.operation == "event":
                    yield protocol.item(frame.name, frame.body)
                    continue
                ended = True
                if frame.operation == "error":
                    raise protocol.error(frame)
                return
        finally:
            del self._calls[call]
            if not ended:
                self._post(Frame(call, "cancel"))

    async def stop(self) -> None:
        """Kills the process and waits for its end. Calls in progress end in `Interrupted`."""
        if self._process.returncode is None:
            self._process.kill()  # it has no state that must be saved
        await self._process.wait()
        if hasattr(self, "_watch_task"):
            self._watch_task.cancel()
        if hasattr(self, "_read_task"):
            await self._read_task
            self._writer.close()
        else:
            self._link.close()

    async def _open(self, operation: protocol.Operation, verb: str, request: Any) -> tuple[int, asyncio.Queue[Frame]]:
        if not self._alive:
            raise self._dead_error()
        call = next(self._ids)
        queue = self._calls[call] = asyncio.Queue()
        try:
            await self._send(Frame(call, operation, verb, (type(request).__name__, request)))
        except asyncio.CancelledError:  # while waiting for room; the child still gets the whole frame
            del self._calls[call]
            self._post(Frame(call, "cancel"))
            raise
        return call, queue

    async def _send(self, frame: Frame) -> None:
        self._post(frame)
        with suppress(ConnectionError):  # the reader ends all calls
            await self._writer.drain()

    def _post(self, frame: Frame) -> None:
        """Sends a small frame without waiting for room, so that a caller can give up on a child that hangs."""
        if self._alive:
            self._writer.write(protocol.encode(frame))

    async def _watch(self) -> None:
        """Kills a child that has stopped answering: its calls end in `Interrupted`, and the model is loaded again."""
        while self._alive:
            self._answered = False
            self._post(Frame(0, "ping"))
            await asyncio.sleep(HEARTBEAT_S)
            if not self._answered and self._alive:
                log.error("the process of model %s has not answered for %g s and is killed", self._name, HEARTBEAT_S)
                self._process.kill()
                return

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (frame := await protocol.read(reader)) is not None:
                self._answered = True
                if queue := self._calls.get(frame.call):  # None: the caller has cancelled
                    queue.put_nowait(frame)
        except (msgspec.DecodeError, OSError) as error:
            log.error("the process of model %s sent an invalid frame and is killed: %s", self._name, error)
            self._process.kill()
        finally:
            self._alive = False
            for call, queue in self._calls.items():
                queue.put_nowait(protocol.error_frame(call, self._dead_error()))

    def _dead_error(self) -> Interrupted:
        return Interrupted(
            f"The process of the model {self._name!r} has ended. Send the request again: it loads the model again."
        )
