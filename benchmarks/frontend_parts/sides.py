"""The servers that are compared, each a process on a port of its own with an engine of the same settings."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from frontend_parts import load
from frontend_parts.checkpoint import MAX_MODEL_LEN

ROOT = Path(__file__).parents[2]
MUYBRIDGE, VLLM, RUST = "muybridge", "vllm", "vllm-rust"
ENGINE: dict[str, Any] = {
    "dtype": "bfloat16",
    "max_model_len": MAX_MODEL_LEN,
    "max_num_seqs": 64,
    "max_num_batched_tokens": 2048,
    "enforce_eager": True,
}
"""What both our options and vLLM's arguments call by the same names. Prefixes are cached on all sides."""
KV_CACHE_BYTES = 2**28
BLOCK_SIZE = 32
"""What our adapter sets on a CPU."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "PYTHONWARNINGS": "ignore",
}
"""As our adapter starts its engine on a CPU."""
START_S = 600.0


@dataclass(frozen=True)
class Side:
    """A running server."""

    name: str
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """CPU seconds of its processes and all their threads, engines left out.

        The kernel's clock of a process counts nanoseconds, where /proc/PID/stat counts hundredths of a second.
        """
        pids = [
            process.pid for process in (self.process, *self.process.children(recursive=True)) if not _engine(process)
        ]
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)  # see clock_getcpuclockid(3)


def _engine(process: psutil.Process) -> bool:
    return any("EngineCore" in word for word in (process.name(), *process.cmdline()))


def free_port() -> int:
    """A port that no one uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def vllm_arguments(model: Path, port: int, *, as_shipped: bool = False) -> list[str]:
    """The arguments of vLLM's server: our engine's settings.

    Args:
        model: The checkpoint.
        port: To listen on.
        as_shipped: With its statistics and its access log, which cost, and which it has unless they are turned off.
    """
    settings = {
        **ENGINE,
        "model": model,
        "served_model_name": "front",
        "load_format": "safetensors",
        "kv_cache_memory_bytes": KV_CACHE_BYTES,
        "block_size": BLOCK_SIZE,
        "enable_prefix_caching": True,
        "distributed_executor_backend": "uni",
        "host": "127.0.0.1",
        "port": port,
        "disable_log_stats": not as_shipped,
        "disable_uvicorn_access_log": not as_shipped,
    }
    flags = [(f"--{name.replace('_', '-')}", value) for name, value in settings.items()]
    given = [(flag, value) for flag, value in flags if value is not False]
    return [word for flag, value in given for word in ((flag,) if value is True else (flag, str(value)))]


def muybridge_arguments(model: Path, port: int, work: Path, *, as_shipped: bool = False) -> list[str]:
    """The arguments of our server, and the catalog that they name; as shipped, it logs each request too."""
    options = {**ENGINE, "kv_cache_gib": KV_CACHE_BYTES / 2**30, "threads": 1}
    entry = {"kind": "text", "backend": "vllm", "license": "none", "sources": [str(model)], "options": options}
    catalog = work / "catalog.yaml"
    catalog.write_text(yaml.safe_dump({"models": {"front": entry}, "profiles": {"front": {"models": ["front"]}}}))
    given = {
        "catalog": catalog,
        "profile": "front",
        "port": port,
        "data-dir": work / "data",
        "log-level": "info" if as_shipped else "error",
    }
    return ["serve", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


@contextlib.contextmanager
def running(
    name: str,
    model: Path,
    work: Path,
    *,
    mock: bool = False,
    rust: str = "",
    cores: set[int] | None = None,
    as_shipped: bool = False,
) -> Iterator[Side]:
    """A server that has answered, ended with all its processes afterwards.

    Args:
        name: Which of the three.
        model: The checkpoint.
        work: An empty directory.
        mock: With the engine of `mock_engine.py` in its own process instead of a real one.
        rust: Where vLLM's Rust front end lies, for that side.
        cores: That it may use; None: all.
        as_shipped: With the statistics and logs that it has by itself.

    Raises:
        RuntimeError: It did not start.
    """
    port = free_port()
    environment = {**os.environ, **ENVIRONMENT}
    parts = str(Path(__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (parts, str(ROOT), os.environ.get("PYTHONPATH"))))
    if name == MUYBRIDGE:
        module, arguments = "server", muybridge_arguments(model, port, work, as_shipped=as_shipped)
    elif name == VLLM:
        module, arguments = "vllm.entrypoints.openai.api_server", vllm_arguments(model, port, as_shipped=as_shipped)
    else:
        module, arguments = "frontend_parts.vllm_serve", vllm_arguments(model, port, as_shipped=as_shipped)
        environment |= {"VLLM_USE_RUST_FRONTEND": "1", "VLLM_RUST_FRONTEND_PATH": rust}
    command = [sys.executable, "-m", *(("frontend_parts.mock_engine",) if mock else ()), module, *arguments]
    log = work / "log"
    own = os.sched_getaffinity(0)
    with log.open("wb") as output:
        os.sched_setaffinity(0, cores or own)  # which a process inherits
        process = subprocess.Popen(
            command, env=environment, cwd=work, stdout=output, stderr=output, start_new_session=True
        )
        os.sched_setaffinity(0, own)
    try:
        _wait(process, port, log)
        yield Side(name, port, psutil.Process(process.pid))
    finally:
        family: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = [(own := psutil.Process(process.pid)), *own.children(recursive=True)]
            process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, 20)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns when a chat request has been answered."""
    content = load.request("Hello.", 4, stream=False).partition(b"\r\n\r\n")[2]
    url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"content-type": "application/json"}
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=START_S).close()
            return
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"the server failed on its first request:\n{error.read().decode()[:1000]}") from error
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start ({error}):\n{log.read_text()[-3000:]}") from error
            time.sleep(0.2)
