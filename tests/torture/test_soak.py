"""Ten minutes of mail, hits, notifications and an upstream that puts off. Memory stays where it was.

The first quarter is as fast as it goes and is not counted: SQLite's caches fill, 16 MB for each of three connections.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

import pytest

from tests import torture
from tests.torture.world import World

SECONDS = float(os.environ.get("TORTURE_SOAK", "600"))
BEGIN = 0.25  # of the time
GROWTH = 1.10

pytestmark = [
    pytest.mark.skipif(not torture.FULL, reason="takes ten minutes: TORTURE=1"),
    pytest.mark.timeout(SECONDS + 300),
]


def resident(pid: int) -> int:
    """Octets in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def test_memory_stays(tmp_path, capsys):
    async with World(tmp_path, 1, hitters=2) as world:
        assert await world.start()
        assert world.process
        samples: list[tuple[float, int]] = []
        began = time.monotonic()
        while (now := time.monotonic() - began) < SECONDS:
            turn = time.monotonic()
            await world.load(20, 10)
            samples.append((now, resident(world.process.pid)))
            if world.loads % 20 == 0:
                await world.retry()
            if now > BEGIN * SECONDS:
                world.pace = 0.02
                await asyncio.sleep(max(0.0, turn + 1 - time.monotonic()))  # the load: 20 a second
        await world.empty(120)
        wrong = world.wrong()
        assert not wrong, "\n".join(wrong[:20])
        early = [size for at, size in samples if BEGIN * SECONDS <= at < (BEGIN + 0.15) * SECONDS]
        late = [size for at, size in samples if at >= 0.85 * SECONDS]
        before, after = statistics.median(early), statistics.median(late)
        with capsys.disabled():
            print(
                f"\n{SECONDS:.0f} s, {len(world.books.letters)} messages, {len(world.hits)} hits, "
                f"{len(world.hook.received)} notifications: from {before / 1e6:.1f} MB to {after / 1e6:.1f} MB, "
                f"{after / before - 1:+.1%}"
            )
        assert after < GROWTH * before, samples[:: max(1, len(samples) // 60)]
