"""Big blocks go back to the system when they are freed, and pages of one that is kept when they are given back."""

import mmap
import subprocess
import sys

import pytest

from relay import allocator

PROGRAM = """
import sys
from relay import allocator
if "start" in sys.argv:
    allocator.start()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
before = resident()
blocks, keep = [], []
for size in range(1 << 20, 8 << 20, 1 << 18):  # as messages come: each grows, small things are kept in between
    block = bytearray()
    while len(block) < size:
        block += bytes(1 << 18)
        keep.append(bytes(100_000))
    blocks.append(bytes(block))
del block, blocks
print(resident() - before - sum(map(len, keep)))
"""


def test_big_blocks_go_back():
    if not allocator.start():
        pytest.skip("no mallopt in this C library")
    left = int(subprocess.run([sys.executable, "-c", PROGRAM, "start"], capture_output=True, check=True).stdout)
    assert left < 20_000_000  # of some 127 MB


@pytest.mark.skipif(sys.platform != "linux", reason="madvise(2) only advises there")
@pytest.mark.parametrize("size", [0, 1, mmap.PAGESIZE, 2 * mmap.PAGESIZE - 1, 262_144])
def test_pages_are_given_back_and_the_block_stays(size):
    """Only whole pages of it: what is before and behind it belongs to others."""
    around = bytearray(b"x" * (size + 40_000))
    block = memoryview(around)[20_000 : 20_000 + size]
    allocator.give_back(block)
    gone = around.count(0)
    assert size - 2 * mmap.PAGESIZE < gone <= size
    assert gone % mmap.PAGESIZE == 0
    assert around.count(b"x") == len(around) - gone
    assert around[:20_000].count(0) == around[20_000 + size :].count(0) == 0
    block[:] = b"y" * size
    assert around.count(b"y") == size
