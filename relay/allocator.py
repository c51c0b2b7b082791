"""How the C library's allocator treats big blocks, and pages of one that is kept.

Owns: one setting of the process, and giving pages back. At first, glibc gives each block of 128 kB or more a mapping of its own, which goes
back to the system when it is freed. But it adapts: with each block that is freed it raises that limit, to as much as
32 MB, and keeps such blocks in its heap, where the holes between messages add up to a quarter of their size. A fixed
limit stops that.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap

M_MMAP_THRESHOLD = -3  # <malloc.h>
BIG = 1 << 20  # octets; the heap is faster for smaller blocks


def start() -> bool:
    """Blocks of 1 MB or more go back to the system when they are freed. False if the C library can't do that (musl)."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, BIG))
    except (OSError, AttributeError):
        return False


def give_back(block: memoryview) -> None:
    """The whole pages of a block go back to the system, and what was in them is gone; the block stays. For one that is kept
    and has nothing in it that anybody needs."""
    advise = _advise()
    if advise is None or not block.nbytes:
        return
    at = ctypes.addressof(ctypes.c_char.from_buffer(block))
    first, end = -(-at // mmap.PAGESIZE) * mmap.PAGESIZE, (at + block.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < end:
        advise(first, end - first, mmap.MADV_DONTNEED)


@functools.cache
def _advise() -> ctypes._NamedFuncPointer | None:
    """madvise(2); None where its advice may be ignored: only on Linux are the pages gone when it returns."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        found = ctypes.CDLL(None).madvise
        found.argtypes, found.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
        return found
    return None
