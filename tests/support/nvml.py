"""A simulated NVIDIA management library: cards of any size, MIG instances, processes, errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from adapters import hardware

GIB = 2**30


@dataclass
class Card:
    """A GPU, or a MIG instance of one."""

    total_gib: float
    used_gib: float = 0.3
    uuid: str = "GPU-0"
    processes: dict[int, int | None] = field(default_factory=dict[int, int | None])
    """Bytes by process id; None: the driver does not tell."""
    instances: list["Card"] = field(default_factory=list["Card"])
    lost: bool = False
    capability: tuple[int, int] = (8, 9)


class Nvml:
    """The functions of `pynvml` that `adapters/hardware.py` calls."""

    class NVMLError(Exception):
        """The base of its errors."""

    def __init__(self, *cards: Card) -> None:
        self.cards = cards
        self.fails = False

    def _check(self, card: Card) -> Card:
        if self.fails or card.lost:
            raise self.NVMLError("GPU is lost")
        return card

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Card:
        return self._check(self.cards[index])

    def nvmlDeviceGetUUID(self, card: Card) -> str:
        return self._check(card).uuid

    def nvmlDeviceGetMigMode(self, card: Card) -> list[int]:
        if not card.instances:
            raise self.NVMLError("Not Supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, card: Card) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, card: Card, index: int) -> Card:
        if index >= len(card.instances):
            raise self.NVMLError("Not Found")
        return card.instances[index]

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95.05"

    def nvmlDeviceGetCudaComputeCapability(self, card: Card) -> tuple[int, int]:
        if card.uuid.startswith("MIG"):
            raise self.NVMLError("Invalid Argument")
        return card.capability

    def nvmlDeviceGetMemoryInfo(self, card: Card) -> Any:
        if card.instances:
            raise self.NVMLError("Insufficient Permissions")
        total, used = int(card.total_gib * GIB), int(card.used_gib * GIB)
        return SimpleNamespace(total=total, free=total - used, used=used)

    def nvmlDeviceGetName(self, card: Card) -> str:
        return f"Simulated {card.total_gib:g} GB"

    def nvmlDeviceGetComputeRunningProcesses(self, card: Card) -> list[Any]:
        self._check(card)
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in card.processes.items()]


@contextmanager
def simulated(*cards: Card) -> Iterator[Nvml]:
    """Makes these the GPUs of this machine."""
    nvml = Nvml(*cards)
    with patch.object(hardware, "_nvml", lambda: nvml):
        yield nvml
