"""The child process of one model: hosts its adapter and serves calls over a socket (see `client.py`)."""

import asyncio
import logging
import os
import signal
import socket
import sys
from typing import Any

from adapters import registry
from adapters.base import Adapter, LoadProgress, ModelFiles
from adapters.process import device_fault, protocol
from adapters.process.parent_death import die_with_parent
from adapters.process.protocol import Frame


class Host:
    """Serves one adapter until the socket is closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes over the two directions of the socket."""
        self._reader = reader
        self._writer = writer
        self._adapter: Adapter | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Reads calls and starts each in a task of its own; returns when the server closes the socket."""
        while (frame := await protocol.read(self._reader)) is not None:
            if frame.operation == "cancel":
                if task := self._tasks.get(frame.call):
                    task.cancel()
                continue
            if frame.operation == "ping":
                await self._send(Frame(0, "pong"))
                continue
            task = asyncio.create_task(self._serve(frame))
            self._tasks[frame.call] = task
            task.add_done_callback(lambda _, call=frame.call: self._tasks.pop(call, None))

    async def _serve(self, frame: Frame) -> None:
        try:
            if frame.operation == "load":
                await self._load(protocol.item(ModelFiles.__name__, frame.body))
            else:
                await self._answer(frame)
        except asyncio.CancelledError:
            raise  # no caller waits for an answer
        except Exception as error:
            logging.getLogger(__name__).debug("a call failed", exc_info=error)
            if not isinstance(error, protocol.errors.AdapterError):
                logging.getLogger(__name__).exception("the model failed")
            await self._send(protocol.error_frame(frame.call, error))
            device_fault.note(error)
            # Or the engine's own process has died.
            if device_fault.occurred() or (self._adapter is not None and not self._adapter.alive):
                self._writer.close()  # flushes first; it ends `run`, and the server loads the model again

    async def _load(self, model: ModelFiles) -> None:
        loop = asyncio.get_running_loop()

        def report(progress: LoadProgress) -> None:  # may be called from any thread
            sent = protocol.encode(Frame(0, "progress", type(progress).__name__, progress))
            loop.call_soon_threadsafe(self._writer.write, sent)

        self._adapter = await registry.implementation(model.backend).load(model, report)
        await self._send(Frame(0, "result", body={"supports_images": getattr(self._adapter, "supports_images", False)}))

    async def _answer(self, frame: Frame) -> None:
        name, body = frame.body
        work: Any = getattr(self._adapter, frame.name)(protocol.item(name, body))
        if frame.operation == "call":
            result = await work
            await self._send(Frame(frame.call, "result", type(result).__name__, result))
            return
        try:
            async for event in work:
                await self._send(Frame(frame.call, "event", type(event).__name__, event))
        finally:
            await work.aclose()
        await self._send(Frame(frame.call, "end"))

    async def _send(self, frame: Frame) -> None:
        self._writer.write(protocol.encode(frame))
        await self._writer.drain()


async def _main(descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    await Host(reader, writer).run()
    os._exit(0)  # a normal exit would wait for the threads of engines


if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which stops its children itself
    logging.basicConfig(level="WARNING")  # for libraries, some of which log every request
    logging.getLogger("adapters").setLevel(os.environ.get("MUYBRIDGE_LOG_LEVEL", "info").upper())
    asyncio.run(_main(int(sys.argv[1])))
