"""Makes cuBLAS 12 loadable for CTranslate2, beside the CUDA 13 of torch and vLLM."""

import ctypes
import logging
from importlib import metadata

log = logging.getLogger(__name__)

PACKAGE = "nvidia-cublas-cu12"
LIBRARIES = ("libcublasLt.so.12", "libcublas.so.12")
"""In the order in which they need each other."""


def preload_cublas() -> None:
    """Loads cuBLAS 12 from its package by path: `dlopen` then finds it under the name that CTranslate2 asks for.

    Without the package, a library that the system's loader finds is used.
    """
    # INTERNAL ctranslate2==4.8: it opens "libcublas.so.12" at the first product on a GPU, not when it is imported.
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return
    for name in LIBRARIES:
        for file in files:
            if file.name == name:
                try:
                    ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
                except OSError as error:
                    log.warning("%s of %s cannot be loaded: %s", name, PACKAGE, error)
