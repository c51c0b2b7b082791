"""Big blocks go back to the system when they are freed."""

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
