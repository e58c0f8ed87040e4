"""What memory a process returns to the system, and when."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from support.servers import ROOT

from adapters.process import memory_usage
from adapters.process.memory_usage import MemoryTrimmer

KNOTS = """
import gc, weakref
from adapters.process.memory_usage import trim

class Knot:
    def __init__(self, cache):
        self.me = self
        self.cache = cache

    def __del__(self):
        self.cache.clear()

gc.disable()  # collects only in trim
cache = []
cache.append(inner := Knot([]))
outer = Knot(cache)
gone = weakref.ref(inner)
del inner, outer
trim()
assert gone() is None
"""


def test_what_finalizers_let_go_of_is_collected_as_well() -> None:
    subprocess.run([sys.executable, "-c", KNOTS], cwd=ROOT, check=True, timeout=60)


NAMES = """
import gc, sys
from adapters.process.memory_usage import trim

gc.disable()
trim()
before = sys.getallocatedblocks()
names = [f"name {number}" for number in range(10_000)]
for name in names:
    getattr(object, name, None)
del name, names
kept = sys.getallocatedblocks() - before
assert kept > 100, "Python no longer caches names: trim need not clear them"
trim()
assert sys.getallocatedblocks() - before < 20, kept
"""


def test_no_names_of_attributes_are_kept_that_would_hold_arenas() -> None:
    subprocess.run([sys.executable, "-c", NAMES], cwd=ROOT, check=True, timeout=60)


HEAPS = """
import ctypes, sys, threading
from adapters.process.memory_usage import keep_one_heap
if sys.argv[1] == "one":
    keep_one_heap()
gate = threading.Barrier(4)
def work():
    gate.wait()
    kept.append([bytes(1000) for _ in range(2000)])
    gate.wait()
kept = []
threads = [threading.Thread(target=work) for _ in range(4)]
[one.start() for one in threads]
[one.join() for one in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.fopen.argtypes = libc.malloc_info.argtypes = None
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
@pytest.mark.parametrize(("how", "one"), [("one", True), ("many", False)])
def test_all_threads_share_one_heap(how: str, one: bool, tmp_path: Any) -> None:
    report = tmp_path / "malloc.xml"
    subprocess.run([sys.executable, "-c", HEAPS, how, str(report)], cwd=ROOT, check=True, timeout=60)
    assert (report.read_text().count("<heap nr=") == 1) == one


async def test_memory_is_given_back_once_when_no_model_was_unloaded_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[float] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(memory_usage, "DELAY_S", 0.2)
    trimmer, begin = MemoryTrimmer(lambda: calls.append(loop.time())), loop.time()
    for _ in range(3):
        trimmer.request()
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.6)
    assert len(calls) == 1
    assert calls[0] - begin >= 0.3, "the last request waited as well"
    trimmer.request()
    await asyncio.sleep(0.5)
    assert len(calls) == 2
    trimmer.request()
    await asyncio.sleep(0)
    trimmer.stop()
    await asyncio.sleep(0.4)
    assert len(calls) == 2
