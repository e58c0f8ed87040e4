"""The loop that every stage runs in: seeded, resumable, with averaged weights and a curve of its losses.

Randomness comes from the seed and the step number, so that a run that was stopped and resumed gives the same
weights as one that was not. A run's folder holds `state.pt` (all that is needed to go on; never served),
`losses.csv` and `losses.png`.
"""

import csv
import math
import random
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from starter.training.curves import draw_curves
from starter.training.muon import Muon

SAVE_EVERY_S = 120.0


class Stage(ABC):
    """What one command trains."""

    name: str
    """Of the stage, and of its run's folder."""
    seed: int
    steps: int
    """How many by default."""
    rate = 1e-3
    """AdamW's learning rate at its highest; it warms up for `warm_up` steps and falls by a cosine to a hundredth."""
    matrix_rate = 0.02
    """Muon's, likewise."""
    warm_up = 50
    decay = 0.999
    """Of the averaged weights."""
    weight_decay = 0.01

    @abstractmethod
    def __init__(self, runs: Path) -> None:
        """Fresh weights, by the stage's seed; `runs` is the folder of all runs, where those that came before lie."""

    @abstractmethod
    def parts(self) -> Mapping[str, nn.Module]:
        """The modules that are trained."""

    def warm(self, checkpoints: Path) -> None:
        """Takes the weights of a checkpoint that was exported, to train on where a run's own state is lost."""
        raise NotImplementedError(f"{self.name} cannot begin with a checkpoint")

    def matrices(self) -> Mapping[str, bool]:
        """Which weights Muon may move, by parts of their names; the first that fits decides. The others are AdamW's."""
        return {"conv_in": False, "conv_out": False, "embed": False, "head": False, "": True}

    @abstractmethod
    def loss(self, step: int, rng: random.Random) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch, and the figures to log. torch's own chance is seeded already."""


def averaged(folder: Path, part: str) -> dict[str, Tensor]:
    """The averaged weights of one part of a run, with its buffers, on the CPU.

    Raises:
        FileNotFoundError: The stage has not been trained.
    """
    path = folder / "state.pt"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: train {folder.name} first")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    state: dict[str, Tensor] = saved["parts"][part]
    return {name: saved["average"].get(f"{part}.{name}", value) for name, value in state.items()}


def steps_done(folder: Path) -> tuple[int, int]:
    """The steps that a run has done, and those that its schedule has; 0 where its state does not say."""
    saved = torch.load(folder / "state.pt", map_location="cpu", weights_only=True, mmap=True)
    return saved["step"], saved.get("steps", 0)


class Run:
    """A stage, its optimizer and its averaged weights, saved in a folder."""

    def __init__(
        self,
        stage: Stage,
        folder: Path,
        steps: int | None = None,
        device: str = "cpu",
        warm: tuple[Path, int] | None = None,
    ) -> None:
        """Begins, or goes on where the folder's last state left off.

        Args:
            stage: What is trained.
            folder: Of the run.
            steps: How many in all; None: as the stage says.
            device: Where.
            warm: Checkpoints and a step: where the folder holds no state, begin with those weights at that step.
        """
        self.stage = stage
        self.folder = folder
        self.steps = steps or stage.steps
        self.step = 0
        self.losses: list[dict[str, float]] = []
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / "state.pt"
        if warm and not state.is_file():
            stage.warm(warm[0])
            self.step = warm[1]
        self._parts = stage.parts()
        for part in self._parts.values():
            part.to(device).train()
        named = {
            f"{key}.{name}": weight
            for key, part in self._parts.items()
            for name, weight in part.named_parameters()
            if weight.requires_grad
        }
        self._names, self._weights = list(named), list(named.values())
        self._average = [weight.detach().clone() for weight in self._weights]
        self._optimizers = self._divided()
        if state.is_file():
            self._load(torch.load(state, map_location=device, weights_only=True))

    def _divided(self) -> list[torch.optim.Optimizer]:
        """AdamW for vectors, embeddings and ends; Muon for the matrices between."""
        rules, inner, outer = self.stage.matrices(), list[nn.Parameter](), list[nn.Parameter]()
        for name, weight in zip(self._names, self._weights, strict=True):
            rule = next(allowed for text, allowed in rules.items() if text in name)
            (inner if rule and weight.ndim > 1 else outer).append(weight)
        stage, made = self.stage, list[torch.optim.Optimizer]()
        if outer:
            decay = stage.weight_decay
            made.append(torch.optim.AdamW(outer, stage.rate, betas=(0.9, 0.99), weight_decay=decay, fused=True))
        if inner:
            made.append(Muon(inner, stage.matrix_rate, weight_decay=stage.weight_decay))
        return made

    def _load(self, state: dict[str, object]) -> None:
        for name, part in self._parts.items():
            part.load_state_dict(state["parts"][name])  # pyright: ignore
        for name, mine in zip(self._names, self._average, strict=True):
            mine.copy_(state["average"][name])  # pyright: ignore
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):  # pyright: ignore
            optimizer.load_state_dict(saved)
        self.step = int(state["step"])  # pyright: ignore
        self.losses = list(state["losses"])  # pyright: ignore

    def save(self) -> None:
        """Writes the state (whole or not at all) and the curve."""
        part = self.folder / "state.pt.part"
        torch.save(
            {
                "parts": {name: part.state_dict() for name, part in self._parts.items()},
                "average": dict(zip(self._names, self._average, strict=True)),
                "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
                "step": self.step,
                "steps": self.steps,
                "losses": self.losses,
            },
            part,
        )
        part.replace(self.folder / "state.pt")
        if self.losses:
            with (self.folder / "losses.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, ["step", *[key for key in self.losses[-1] if key != "step"]])
                writer.writeheader()
                writer.writerows(self.losses)
            draw_curves(self.losses, self.folder / "losses.png", self.stage.name)

    def pace(self, step: int) -> float:
        """The learning rates at a step, as a part of their highest."""
        warm = min(1.0, (step + 1) / self.stage.warm_up)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return warm * max(0.01, fall)

    def train(self, log_every: int = 50) -> bool:
        """Trains to the last step, or until SIGTERM or SIGINT asks for an end; returns whether all steps are done."""
        asked: list[int] = []
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in before:
            signal.signal(number, lambda signum, _: asked.append(signum))
        try:
            self._steps(asked, log_every)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.save()
        return self.step >= self.steps

    def _steps(self, asked: list[int], log_every: int) -> None:
        saved, begun, sums, since = time.monotonic(), time.monotonic(), dict[str, float](), 0
        while self.step < self.steps and not asked:
            figures = self._one()
            since += 1
            for key, value in figures.items():
                sums[key] = sums.get(key, 0.0) + value
            if self.step % log_every == 0 or self.step == self.steps:
                means = {key: value / since for key, value in sums.items()}
                pace = (time.monotonic() - begun) / since
                self.losses.append({"step": float(self.step), **means})
                shown = "  ".join(f"{key} {value:.4f}" for key, value in means.items())
                print(f"{self.stage.name} {self.step}/{self.steps}  {shown}  {pace:.2f} s a step", flush=True)
                begun, sums, since = time.monotonic(), {}, 0
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.save()
                saved = time.monotonic()

    def _one(self) -> dict[str, float]:
        stage, chance = self.stage, self.stage.seed * 1_000_003 + self.step
        torch.manual_seed(chance)
        pace = self.pace(self.step)
        for optimizer in self._optimizers:
            rate = stage.matrix_rate if isinstance(optimizer, Muon) else stage.rate
            for group in optimizer.param_groups:
                group["lr"] = rate * pace
        loss, figures = stage.loss(self.step, random.Random(chance))  # noqa: S311
        loss.backward()
        nn.utils.clip_grad_norm_(self._weights, 1.0)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(stage.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, [weight.detach() for weight in self._weights], 1 - keep)
        return figures
