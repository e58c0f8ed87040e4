"""Short-lived objects fill no arenas of CPython's own allocator."""

import os
import subprocess
import sys

import pytest
from support.servers import ROOT

COUNT = """
import gc, os, re, sys, tempfile, threading
from adapters.engines.python_allocator import malloc_only

def arenas():
    with tempfile.TemporaryFile() as report:
        own = os.dup(2)
        os.dup2(report.fileno(), 2)
        sys._debugmallocstats()
        os.dup2(own, 2)
        report.seek(0)
        return int(re.search(r"arenas allocated current += +([0-9,]+)", report.read().decode())[1].replace(",", ""))

def vocabulary():
    return {f"token {number}": (number, [number], {number: 1.5}) for number in range(100_000)}
"""
FILLS = """
before = arenas()
with malloc_only():
    words = vocabulary()
    grown = {text: [*parts, "more"] for text, parts in words.items()}
assert arenas() - before < 5, (before, arenas())
mixed = vocabulary()  # of arenas again
assert arenas() - before > 20
for text, parts in grown.items():
    parts.extend(words.pop(text))
    mixed[text][1].append(parts)
assert mixed["token 7"][1] == [7, [7, [7], {7: 1.5}, "more", 7, [7], {7: 1.5}]]
with malloc_only():
    mixed.clear()
    del grown, parts, text
gc.collect()  # which empties Python's lists of freed tuples, floats and the like
assert arenas() - before < 10, (before, arenas())
"""
THREADS = """
def churn():
    kept = []
    while not over.is_set():
        kept.append([str(number) * 3 for number in range(300)])
        del kept[::2]
over = threading.Event()
threads = [threading.Thread(target=churn) for _ in range(4)]
for one in threads:
    one.start()
for _ in range(2000):
    with malloc_only():
        made = [{"a": number} for number in range(50)]
over.set()
for one in threads:
    one.join()
"""


@pytest.mark.parametrize("work", [FILLS, THREADS], ids=["fills", "threads"])
def test_short_lived_objects_fill_no_arenas(work: str) -> None:
    subprocess.run([sys.executable, "-c", COUNT + work], cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("how", [{"PYTHONMALLOC": "malloc"}, {"PYTHONMALLOC": "debug"}, {"PYTHONTRACEMALLOC": "1"}])
def test_another_allocator_is_left_alone(how: dict[str, str]) -> None:
    work = "from adapters.engines.python_allocator import malloc_only\nwith malloc_only():\n    made = [{n: str(n)} for n in range(10_000)]\ndel made"
    subprocess.run([sys.executable, "-c", work], cwd=ROOT, env={**os.environ, **how}, check=True, timeout=60)
