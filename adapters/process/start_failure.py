"""Why a process that a library starts for us did not start.

vLLM logs the exception of an engine that does not start in the engine's own process, and the server only learns the
exit code. So `parent_death.follow` calls `record_failures` in these processes: under `VARIABLE`, the exception of a log
record is also written to a file, which the server reads.
"""

import os
from pathlib import Path

VARIABLE = "MUYBRIDGE_START_FAILURE"
"""Environment variable: the file to write."""
MAX_CHARACTERS = 4000

OUT_OF_MEMORY = ("out of memory", "defaultcpuallocator", "allocate memory", "allocateraw", "free memory on device")
"""How torch (CUDA and CPU), CTranslate2, onnxruntime and vLLM say it, most of them in a plain RuntimeError."""


def is_out_of_memory(message: str) -> bool:
    """Whether the message of a library's exception says that memory ran out."""
    return any(words in message.lower() for words in OUT_OF_MEMORY)


def record_failures() -> None:
    """Writes the first exception that is logged in this process to the file of `VARIABLE`, if that is set."""
    path = os.environ.get(VARIABLE)
    if path is None:
        return
    import logging

    make = logging.getLogRecordFactory()

    def noted(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make(*args, **kwargs)  # pyright: ignore[reportArgumentType]
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            try:
                with open(path, "x", encoding="utf-8") as file:
                    file.write(f"{type(error).__name__}: {error}"[:MAX_CHARACTERS])
            except OSError:  # another process was first, or the engine has started and the file's folder is gone
                pass
        return record

    logging.setLogRecordFactory(noted)


def read_failure(path: Path) -> str:
    """What was written to the file; "" if nothing was."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
