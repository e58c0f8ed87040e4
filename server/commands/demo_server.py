"""`muybridge demo`: a server in a process of its own, and the story pipeline run against it."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO

STORY = Path(__file__).parents[2] / "examples" / "story_pipeline.py"
START_S = 60.0
STOP_S = 40.0
"""The server's time to drain, and some more. After it the server is killed."""
PROGRESS = (": downloading", ": joining", ": converting", ": waiting", "loading ", "loaded ", "unloaded ")
"""Lines of the server's log that are shown: downloading and loading models."""
Process = subprocess.Popen[str] | subprocess.Popen[bytes]
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when its parent's thread ends."""


def run_demo(output: Path, profile: str = "starter") -> int:
    """Makes the demo's video, writes it and the server's log to the folder, and returns the exit status.

    SIGTERM, SIGINT and SIGHUP stop the story, the server and the models' processes, and raise SystemExit.
    """
    output.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-P", "-m", "server", "serve", "--profile", profile, "--port", str(port)]
    env = {name: value for name, value in os.environ.items() if name not in ("MUYBRIDGE_API_KEYS", "MUYBRIDGE_HOST")}
    story_env = env | {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "unused"}
    story_env.pop("PYTHONSAFEPATH", None)  # the story imports modules of its script's directory
    with _stopped_by_signals() as stop:
        end = _end_with_parent()
        server = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, errors="replace", preexec_fn=end)
        stop(server)
        assert server.stderr is not None
        threading.Thread(target=_watch, args=(server.stderr, output / "server.log")).start()
        if not _wait_until_ready(server, port):
            print(f"The server did not start; see {output / 'server.log'}.", file=sys.stderr)
            return 1
        story = subprocess.Popen([sys.executable, str(STORY), "--output", str(output)], env=story_env, preexec_fn=end)
        stop(story)
        return story.wait()


@contextlib.contextmanager
def _stopped_by_signals() -> Generator[Callable[[Process], None]]:
    """Yields a function that registers a process. At the end, or at a signal, all registered processes are stopped."""

    def leave(number: int, _: object) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_IGN)  # a second Ctrl-C must not interrupt stopping the processes
        sys.exit(128 + number)

    processes: list[Process] = []
    before = {one: signal.getsignal(one) for one in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # ignored signals, such as under nohup, stay ignored
            signal.signal(number, leave)
    try:
        yield processes.append
    finally:
        for process in reversed(processes):  # the story first, since the server waits for its requests
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_parent() -> Callable[[], None] | None:
    """For `preexec_fn`: stops the child when this process is killed. None on other systems than Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _watch(lines: IO[str], log: Path) -> None:
    """Writes the server's log to a file, and shows the lines about models."""
    with log.open("w") as file:
        for line in lines:
            file.write(line)
            file.flush()
            if any(word in line for word in PROGRESS):
                print("          " + " ".join(line.split("]", 1)[-1].split("request_id=")[0].split()), flush=True)


def _wait_until_ready(server: subprocess.Popen[str], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False
