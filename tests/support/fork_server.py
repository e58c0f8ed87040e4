"""Runs `muybridge` in processes that are forked from one that has imported it: a second less for each of a hundred.

`ForkServer` is the side of the tests. Run as a program, this file is the other side: it waits for requests, and each
forks a watcher, which forks the command and reports how it ended. All else is as `python -m server` makes it: a process of
its own with its own environment, output and exit status, that signals end.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
PRELOADED = ("dbos", "server.app", "server.commands.serve", "adapters.fake.models", "aiosqlite", "uvicorn", "uvloop")
"""What every server imports. None of it may start a thread: a fork takes no threads along."""


class ForkedProcess:
    """A command, as `subprocess.Popen` would show it."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._status = status
        """A pipe from which the exit status comes."""

    def poll(self) -> int | None:
        """The exit status, or None while it runs; the negative number of the signal that ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("muybridge", timeout or 0.0)
            self.returncode = os.waitstatus_to_exitcode(int(os.read(self._status, 32)))
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Does nothing once it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that commands are forked from. It ends when this one does."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())]
        with theirs:  # in a session of its own: Ctrl-C is for pytest, which then ends the servers
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True)
        self._requests = ours
        atexit.register(self.close)

    def close(self) -> None:
        """Ends the process."""
        self._requests.close()
        self._process.wait(10)

    def start(
        self, arguments: Sequence[str], environment: dict[str, str], output: IO[bytes], errors: IO[bytes]
    ) -> ForkedProcess:
        """Starts `muybridge` with these arguments and this environment, and files for what it prints."""
        reader, writer = os.pipe()
        request = json.dumps([arguments, environment]).encode()
        socket.send_fds(self._requests, [request], [output.fileno(), errors.fileno(), writer])
        os.close(writer)
        return ForkedProcess(int(os.read(reader, 32)), reader)

    def run(
        self, arguments: Sequence[str], environment: dict[str, str], timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs `muybridge` to its end."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = self.start(arguments, environment, output, errors)
            try:
                status = process.wait(timeout_s)
            finally:
                process.kill()
            for file in (output, errors):
                file.seek(0)
            return subprocess.CompletedProcess(arguments, status, output.read().decode(), errors.read().decode())


def main(requests: socket.socket) -> None:
    """Forks commands until the other side is gone."""
    for name in PRELOADED:
        __import__(name)
    threads = os.listdir("/proc/self/task") if sys.platform == "linux" else ["?"]
    assert len(threads) == 1, f"one of {PRELOADED} starts a thread"
    gc.freeze()  # what all commands share is no garbage of theirs
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # watchers leave no zombies
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, 2**20, 3)
        if not data:
            return
        if os.fork() == 0:
            requests.close()
            watch(*json.loads(data), *descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def watch(arguments: list[str], environment: dict[str, str], output: int, errors: int, status: int) -> None:
    """Forks the command. In the watcher, this ends with the process; in the command, it returns when that is done."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid != 0:
        os.close(output)
        os.close(errors)
        os.write(status, b"%d" % pid)
        os.write(status, b"%d" % os.waitpid(pid, 0)[1])
        os._exit(0)
    os.close(status)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.close(output)
    os.close(errors)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = ["server", *arguments]
    runpy.run_module("server", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
