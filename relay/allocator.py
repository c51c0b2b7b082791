"""How the C library's allocator treats big blocks.

Owns: one setting of the process. At first, glibc gives each block of 128 kB or more a mapping of its own, which goes
back to the system when it is freed. But it adapts: with each block that is freed it raises that limit, to as much as
32 MB, and keeps such blocks in its heap, where the holes between messages add up to a quarter of their size. A fixed
limit stops that.
"""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD = -3  # <malloc.h>
BIG = 1 << 20  # octets; the heap is faster for smaller blocks


def start() -> bool:
    """Blocks of 1 MB or more go back to the system when they are freed. False if the C library can't do that (musl)."""
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, BIG))
    except (OSError, AttributeError):
        return False
