"""Helper processes for one task, and their end with the process that started them."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.servers import ROOT

from adapters.process import one_shot

CHILD = """
import sys, time
sys.platform = sys.argv[2]
from adapters.process import parent_death
parent_death.POLL_S = 0.1
parent_death.die_with_parent(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_promise_2_a_process_dies_with_its_killed_parent(platform: str) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, platform]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        child.wait(5)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_process_ends_at_once_if_its_parent_has_ended_before(platform: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, "1", platform], cwd=ROOT, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")


STARTER = """
import asyncio
from adapters.process import one_shot

async def main():
    async with one_shot.started("slow") as process:
        print(process.pid, flush=True)
        await process.wait()

asyncio.run(main())
"""


def test_promise_2_a_helper_dies_with_a_killed_server_while_it_still_imports(tmp_path: Path) -> None:
    program = f"import pathlib, time\npathlib.Path({str(tmp_path / 'up')!r}).touch()\ntime.sleep(60)\n"
    (tmp_path / "slow.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-c", STARTER]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        helper = psutil.Process(int(server.stdout.readline()))
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        server.kill()
        helper.wait(5)


def importing(folder: Path) -> dict[str, str]:
    """An environment in which a helper, which never imports its current directory, finds modules of this folder."""
    return os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}


async def test_a_helper_never_imports_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helper.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    async with one_shot.started("helper", stderr=asyncio.subprocess.DEVNULL) as process:
        assert await process.wait() == 1  # no such module


async def test_a_helper_is_gone_when_its_block_ends(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import sys, time\nprint(sys.argv[1], flush=True)\ntime.sleep(60)\n")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with one_shot.started(
            "helper", "hello", stdout=asyncio.subprocess.PIPE, env=importing(tmp_path)
        ) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"hello\n"
            raise ZeroDivisionError
    assert process.returncode == -9
    assert not psutil.pid_exists(process.pid)


async def test_a_helper_that_has_ended_keeps_its_status(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("raise SystemExit(3)\n")
    async with one_shot.started("helper", env=importing(tmp_path)) as process:
        assert await process.wait() == 3
    assert process.returncode == 3
