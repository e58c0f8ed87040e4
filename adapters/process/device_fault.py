"""Faults of a GPU after which a process cannot use it any more.

CUDA reports them at every later call ("sticky" errors; CUDA Runtime API, `cudaError_t`): the process must end, and the
server loads the model again. `adapters/engines/errors.py` notes them, `child.py` ends the process.
"""

import logging

log = logging.getLogger(__name__)

STICKY = (
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "launch failure",
    "launch timed out",
    "device-side assert",
    "hardware stack error",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "uncorrectable ecc",
    "uncorrectable nvlink",
    "cuda error: unknown error",
    "context is destroyed",
    "driver shutting down",
    "gpu is lost",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
)
"""How CUDA, cuBLAS and cuDNN say it; torch and CTranslate2 pass their words on."""

_occurred = False


def note(error: BaseException) -> bool:
    """Whether an exception is such a fault; remembered until the process ends."""
    global _occurred
    message = str(error).lower()
    if any(words in message for words in STICKY):
        if not _occurred:
            log.error("the GPU failed, and this process must end: %s", message.partition("\n")[0])
        _occurred = True
        return True
    return False


def occurred() -> bool:
    """Whether such a fault was noted in this process."""
    return _occurred
