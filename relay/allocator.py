"""How the C library's allocator treats big blocks.

Owns: one setting of the process. glibc begins by giving each block of 128 kB and more a mapping of its own, which goes
back to the system when it is freed; but it learns from each that is freed, and soon keeps blocks of up to 32 MB in
its heap, where the holes between messages add up to a quarter of their size. Here it does not learn.
"""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # <malloc.h>
BIG = 1 << 20  # octets; smaller blocks are had faster from the heap


def start() -> bool:
    """Blocks from 1 MB on go back when they are freed. False where the C library has no such setting (musl)."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, BIG))
    except (OSError, AttributeError):
        return False
