"""Which allocator serves Python's objects: its own arenas, or the C library's. For CPython 3.11 to 3.13."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_RAW, _MEM, _OBJ = 0, 1, 2
"""`PyMemAllocatorDomain` of CPython's C API."""


class _Allocator(ctypes.Structure):
    """`PyMemAllocatorEx` of CPython's C API."""

    _fields_ = (
        ("ctx", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


@contextmanager
def spared() -> Iterator[None]:
    """Has all threads take new memory from the C library until it ends, so that no arena is filled for a while only.

    For what makes many objects that go again, such as a vocabulary. An arena is returned to the system when nothing is
    left in it, and some object always comes to lie there that stays; the C library returns single pages. Memory is
    freed where it came from: what is not from an arena Python has always handed on, as it does with large objects.

    One at a time. Where something else serves already (PYTHONMALLOC, PYTHONDEVMODE, tracemalloc), nothing changes. The
    count of `sys.getallocatedblocks` is wrong afterwards.
    """
    raw, own = _serving(_RAW), {domain: _serving(domain) for domain in (_MEM, _OBJ)}
    if raw.ctx or any(one.ctx or one.malloc == raw.malloc for one in own.values()):
        yield
        return
    try:
        for domain, one in own.items():
            _serve(domain, _Allocator(None, raw.malloc, raw.calloc, one.realloc, one.free))
        yield
    finally:
        for domain, one in own.items():
            _serve(domain, one)


def _serving(domain: int) -> _Allocator:
    found = _Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(found))
    return found


def _serve(domain: int, allocator: _Allocator) -> None:
    """Copies the allocator into the interpreter, which holds its own lock meanwhile."""
    ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(allocator))
