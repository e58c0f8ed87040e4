"""`muybridge demo`: starts a server with the starter profile, and runs the story pipeline against it."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import IO

STORY = Path(__file__).parents[2] / "examples" / "story_pipeline.py"
START_S = 60.0
PROGRESS = (": downloading", ": joining", ": converting", ": waiting", "loading ", "loaded ", "unloaded ")
"""Lines of the server's log that are shown: downloading and loading models."""


def run_demo(output: Path) -> int:
    """Makes the demo's video, writes it and the server's log to the folder, and returns the exit status."""
    output.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "server", "serve", "--profile", "starter", "--port", str(port)]
    env = {name: value for name, value in os.environ.items() if name not in ("MUYBRIDGE_API_KEYS", "MUYBRIDGE_HOST")}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, errors="replace") as server:
        assert server.stderr is not None
        watcher = threading.Thread(target=_watch, args=(server.stderr, output / "server.log"))
        watcher.start()
        try:
            if not _wait_until_ready(server, port):
                print(f"The server did not start; see {output / 'server.log'}.", file=sys.stderr)
                return 1
            story = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "unused"}
            return subprocess.call([sys.executable, str(STORY), "--output", str(output)], env=env | story)
        finally:
            server.terminate()
            server.wait()
            watcher.join()


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
