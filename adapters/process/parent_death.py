"""Python processes that a library starts for us die with us, even when we are killed.

vLLM starts its engine through multiprocessing and watches it; nothing watches the other way, so after `kill -9` of
the server the engine would run on with all its memory. `muybridge.pth` has every interpreter of the environment call
`follow` when it starts, and only a child that was started under `VARIABLE` does anything there.
"""

import os
import sys

VARIABLE = "MUYBRIDGE_LIFELINE"
"""Environment variable, set while a library starts processes: the id of the process that they must not outlive."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that this process gets when the *thread* that started it ends. So that thread must stay."""

_following = False
"""Python reads the .pth files of a virtual environment twice."""


def follow() -> None:
    """Ties this process to its parent, if it is a child of multiprocessing and its parent wants that.

    The helper that removes multiprocessing's leftovers is no such child: it must outlive a parent that was killed.
    """
    global _following
    parent = os.environ.get(VARIABLE)
    if _following or parent is None or "--multiprocessing-fork" not in sys.orig_argv:
        return
    _following = True
    if sys.platform == "linux":
        import ctypes  # Here, because nearly no interpreter comes this far.
        import signal

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if str(os.getppid()) != parent:
        os._exit(1)  # It died before we asked.
    os.environ[VARIABLE] = str(os.getpid())  # What this process starts follows this process.
