"""A GPU that fails: the process ends, so that the model can be loaded again."""

import asyncio
from pathlib import Path

import pytest

from adapters.base import ModelFiles, TextRequest
from adapters.engines.errors import translated
from adapters.errors import GenerationFailed, Interrupted, OutOfMemory
from adapters.process import device_fault
from adapters.process.remote import RemoteText

BROKEN = """
import adapters.registry
from dataclasses import replace
from adapters.engines.errors import translated
from adapters.fake.models import FakeText

class Broken(FakeText):
    async def generate(self, request, outlet=None):
        with translated():
            raise RuntimeError("CUDA error: " + request.prompt)
        yield

row = adapters.registry.BACKENDS["fake-text"]
adapters.registry.BACKENDS["broken-text"] = replace(row, target="sitecustomize:Broken")
"""


async def test_the_process_ends_with_the_first_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(BROKEN)
    import os

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    model = await RemoteText.load(ModelFiles("broken", "broken-text", ""), lambda _: None)
    with pytest.raises(GenerationFailed):
        await anext(model.generate(TextRequest(prompt="invalid configuration argument")))
    assert model.alive, "the next request may succeed"
    with pytest.raises(Interrupted, match="loads the model again"):
        await anext(model.generate(TextRequest(prompt="an illegal memory access was encountered")))
    async with asyncio.timeout(20):
        await model.worker._process.wait()
        while model.alive:
            await asyncio.sleep(0.01)
    await model.unload()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA error: device-side assert triggered", Interrupted),
        ("CUDA failed with error unspecified launch failure", Interrupted),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", Interrupted),
        ("CUDA error: out of memory", OutOfMemory),
        ("CUDA error: no kernel image is available for execution on the device", GenerationFailed),
    ],
)
def test_which_errors_are_faults(message: str, expected: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_fault, "_occurred", False)
    with pytest.raises(expected), translated():
        raise RuntimeError(message)
    assert device_fault.occurred() == (expected is Interrupted)
