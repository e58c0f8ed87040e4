"""What the machine has, and what a container leaves of it."""

from pathlib import Path

import psutil
import pytest
from support.servers import has_gpu

from adapters import hardware


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
