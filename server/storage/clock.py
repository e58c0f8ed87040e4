"""The clock that deletes: Unix time that a jump of the system's clock cannot push ahead.

A clock that is set 40 days ahead for a minute would otherwise remove all that expires in these days, for good. What
clients see as expired follows the system's clock, and comes back with it.
"""

import time

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def _elapsed() -> float:
    """Seconds on a clock that never jumps; on Linux it counts sleep of the machine as well."""
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)


_started_at, _started = time.time(), _elapsed()


def steady_time() -> float:
    """Unix time in seconds, at most as far ahead as the time that has passed since this process started."""
    return min(time.time(), _started_at + _elapsed() - _started)
