"""Switches between CPython's own allocator, with arenas of a megabyte, and the C library's.

INTERNAL cpython==3.11..3.13: allocators may be switched at run time, and each frees what the other allocated.
"""

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
def malloc_only() -> Iterator[None]:
    """Has all threads allocate with the C library's malloc inside the block, to keep short-lived objects out of arenas.

    For work that creates many short-lived objects, such as reading a vocabulary. An arena is returned to the system
    only when it is empty, and some long-lived object always ends up in it; the C library returns single pages. Memory
    is freed where it was allocated: CPython passes on what is not from an arena, as it does with large objects.

    Not reentrant. Where another allocator is in use (PYTHONMALLOC, PYTHONDEVMODE, tracemalloc), nothing changes. The
    count of `sys.getallocatedblocks` is wrong afterwards.
    """
    raw, own = _get(_RAW), {domain: _get(domain) for domain in (_MEM, _OBJ)}
    if raw.ctx or any(one.ctx or one.malloc == raw.malloc for one in own.values()):
        yield
        return
    try:
        for domain, one in own.items():
            _set(domain, _Allocator(None, raw.malloc, raw.calloc, one.realloc, one.free))
        yield
    finally:
        for domain, one in own.items():
            _set(domain, one)


def _get(domain: int) -> _Allocator:
    found = _Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(found))
    return found


def _set(domain: int, allocator: _Allocator) -> None:
    """Has CPython copy the allocator; the interpreter lock is held."""
    ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(allocator))
