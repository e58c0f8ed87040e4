"""What the machine has, and what a container leaves of it."""

import os
from pathlib import Path

import psutil
import pytest
from support.nvml import Card, simulated
from support.servers import has_gpu

from adapters import hardware
from adapters.process.memory_usage import used_bytes


def test_the_cpu_is_always_there() -> None:
    found = hardware.find()
    assert found.cpu.kind == "cpu"
    assert found.cpu.name
    assert 0 < found.cpu.free_bytes <= found.cpu.total_bytes == found.ram_bytes <= psutil.virtual_memory().total
    assert 1 <= found.cpu_count <= (psutil.cpu_count() or 1)
    if not has_gpu():
        assert found.devices == (found.main,) == (found.cpu,)


@pytest.mark.gpu
def test_gpus_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = hardware.find()
    assert found.main.kind == "cuda"
    assert 0 < found.main.free_bytes <= found.main.total_bytes
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert hardware.gpus() == ()


UUIDS = ["GPU-aaa1", "GPU-bbb2", "GPU-bbb3"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        ("GPU-bbb2", [1]),
        ("GPU-b", []),  # it could be two
        ("1,7,0", [1]),  # what means nothing ends the list
        ("-1", []),
    ],
)
def test_visible_gpus(value: str | None, shown: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert hardware.visible(UUIDS) == shown


def group(root: Path, path: str, limit: str, used: int = 0, inactive: int = 0) -> None:
    directory = root / path
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "memory.max").write_text(limit + "\n")
    (directory / "memory.current").write_text(f"{used}\n")
    (directory / "memory.stat").write_text(f"anon {used}\ninactive_file {inactive}\n")


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/\n")
    group(tmp_path / "fs", "", "8589934592", used=5_000, inactive=1_000)
    assert hardware.cgroup_memory(tmp_path / "fs", membership) == (8_589_934_592, 4_000)


def test_the_least_limit_above_counts(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("12:cpu:/old\n0::/slice/service\n")
    group(tmp_path / "fs", "slice", "1000", used=300)
    group(tmp_path / "fs", "slice/service", "max", used=200)
    assert hardware.cgroup_memory(tmp_path / "fs", membership) == (1000, 300)
    group(tmp_path / "fs", "slice/service", "900", used=200)
    assert hardware.cgroup_memory(tmp_path / "fs", membership) == (900, 200)


def test_no_limit(tmp_path: Path) -> None:
    assert hardware.cgroup_memory(tmp_path, tmp_path / "none") == (None, 0)
    membership = tmp_path / "cgroup"
    membership.write_text("0::/\n")
    assert hardware.cgroup_memory(tmp_path / "fs", membership) == (None, 0)
    group(tmp_path / "fs", "", "max")
    assert hardware.cgroup_memory(tmp_path / "fs", membership) == (None, 0)


@pytest.fixture(autouse=True)
def all_gpus_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def divided() -> tuple[Card, Card]:
    """A whole GPU, and one that is divided into two MIG instances."""
    parts = [Card(20, uuid="MIG-a1"), Card(40, uuid="MIG-b2")]
    return Card(24, uuid="GPU-0"), Card(80, uuid="GPU-1", instances=parts)


def test_the_instances_of_a_divided_gpu_are_devices_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated(*divided()):
        assert [(one.index, one.total_bytes // 2**30) for one in hardware.gpus()] == [(0, 24), (200, 20), (201, 40)]
        assert hardware.environment((201,))["CUDA_VISIBLE_DEVICES"] == "MIG-b2"
        assert hardware.environment((0,))["CUDA_VISIBLE_DEVICES"] == "0"
        for value, found in (("MIG-b2", [201]), ("1", [200]), ("0", [0]), ("GPU-1", [])):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
            assert [one.index for one in hardware.gpus()] == found, value


def test_a_lost_gpu_does_not_hide_the_others() -> None:
    with simulated(Card(24, uuid="GPU-0", lost=True), Card(48, uuid="GPU-1")):
        assert [one.index for one in hardware.gpus()] == [1]


def test_memory_of_processes_is_unknown_where_the_driver_does_not_tell_it() -> None:
    own = {1: 5 * 2**30}
    with simulated(Card(24, processes=own)) as nvml:
        assert hardware.gpu_bytes({1, 2}) == 5 * 2**30
        assert hardware.gpu_bytes({7}) is None, "a container: the driver names processes by their ids on the host"
        nvml.fails = True
        assert hardware.gpu_bytes({1}) is None
    with simulated(Card(80, instances=[Card(20, uuid="MIG-a1", processes={1: None})])):
        assert hardware.gpu_bytes({1}) is None


def test_ram_of_a_process_is_never_taken_for_gpu_memory() -> None:
    with simulated(Card(24)):
        assert used_bytes(os.getpid(), (0,)) is None
        assert used_bytes(os.getpid()) is None
        assert (used_bytes(os.getpid(), ()) or 0) > 10_000_000, "a model on the CPU of this machine"
