"""`muybridge demo` and the processes that it starts. On the fakes: how it ends does not depend on the models."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.servers import ROOT, default_signals


def until(reached, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_what_ends_the_demo_ends_its_server(number: signal.Signals, status: int, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()  # The demo is started where there is another package of that name.
    (tmp_path / "server" / "__init__.py").write_text("raise SystemExit('the current directory was imported')\n")
    # A fake that takes a second for each word: the story still runs when the signal comes.
    slow = "models: {slow: {kind: text, backend: fake-text, options: {delay_ms: 1000}}}\n"
    names = "[slow, fake-vision, fake-speech, fake-voice, fake-image, fake-video]"
    (tmp_path / "c.yaml").write_text(f"{slow}profiles: {{mine: {{models: {names}, aliases: {{gpt-4o-mini: slow}}}}}}\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MUYBRIDGE_")}
    env |= {"MUYBRIDGE_CATALOG": str(tmp_path / "c.yaml"), "MUYBRIDGE_DATA_DIR": str(tmp_path / "data")}
    env["PYTHONPATH"] = str(ROOT)
    log = tmp_path / "out" / "server.log"
    command = [sys.executable, "-P", "-m", "server", "demo", "--profile", "mine", "--output", str(log.parent)]
    with subprocess.Popen(command, cwd=tmp_path, env=env, preexec_fn=default_signals) as demo:
        until(lambda: log.exists() and "loaded " in log.read_text())  # the story's first request has come
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) == 2, children  # the server, the story
        demo.send_signal(number)
        assert demo.wait(30) == status
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), 10)
