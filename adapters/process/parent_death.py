"""Ties a process to its parent, so that it never outlives a server that was killed.

A model's process and `helper.py` call `die_with_parent`. Processes that a library starts for us cannot
do that: vLLM starts its engine through multiprocessing and watches it, but the engine does
not watch the server, so after `kill -9` of the server it would keep running with all its memory. For them,
`muybridge.pth` has every interpreter of the environment call `follow` when it starts, which does nothing unless the
process was started by multiprocessing under `VARIABLE`.
"""

import os
import sys
import time

VARIABLE = "MUYBRIDGE_LIFELINE"
"""Environment variable, set while a library starts processes: the id of the process that they must not outlive."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when the *thread* that started it ends. So that thread must stay."""

POLL_S = 1.0
"""Time between two looks at the parent's id, where the kernel sends no such signal."""

_following = False
"""Python reads the .pth files of a virtual environment twice."""


def die_with_parent(parent: int) -> None:
    """Has this process killed when its parent ends, and ends it at once if the parent has ended already.

    On Linux the kernel sends the signal, so it also works while a library holds the interpreter lock.

    Args:
        parent: The parent's process id.
    """
    # The imports are here because `follow` runs in every interpreter, and nearly none comes this far.
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        import threading

        threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)


def follow() -> None:
    """Ties this process to its parent if multiprocessing started it under `VARIABLE`.

    Multiprocessing's resource tracker is left alone: it must outlive a killed parent to clean up.
    """
    global _following
    parent = os.environ.get(VARIABLE)
    if _following or parent is None or "--multiprocessing-fork" not in sys.orig_argv:
        return
    _following = True
    die_with_parent(int(parent))
    os.environ[VARIABLE] = str(os.getpid())  # Processes that this one starts follow this one.
    from adapters.process import start_failure

    start_failure.record_failures()
