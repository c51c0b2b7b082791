"""For SIGTERM at any instant under load: it ends by itself within 30 seconds, nothing that a client heard 250 for is
lost, nothing comes twice, and each hit that was answered is stored.
"""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests import torture
from tests.torture.world import World
from tests.until import until

STOPS = 100 if torture.FULL else 6
MESSAGES = 30

pytestmark = pytest.mark.timeout(3600 if torture.FULL else 180)


async def test_stopped_under_load(tmp_path, capsys):
    async with World(tmp_path, 1, polite=True) as world:
        for _ in range(STOPS):
            assert await world.start()
            world.upstream.calm = False
            begun, answers = len(world.books.letters), world.dice.randrange(MESSAGES)
            load = asyncio.create_task(world.load(MESSAGES, world.dice.choice((10, 30))))
            await until(lambda: load.done() or len(world.books.answered(begun)) >= answers, 30)  # noqa: B023
            await world.stop()
            await load
            await world.retry()
        assert await world.start()
        await world.empty()
        wrong = world.wrong()
        assert not wrong, "\n".join(wrong[:20])
        assert world.books.repeated == world.books.cut == 0
        await world.quiet()
        stored = await world.events(without=())
        lost = [tid for tid in world.hits if tid not in stored]
        assert not lost, f"{len(lost)} of {len(world.hits)} answered hits are not stored"
        owed = await world.owed()
        assert not owed, "\n".join(owed[:20])
        assert "Traceback" not in world.log, world.log[world.log.index("Traceback") - 500 :][:4000]
        letters = world.books.letters.values()
        with capsys.disabled() if torture.FULL else contextlib.nullcontext():
            print(
                f"\n{STOPS} stops under load: {len(letters)} messages begun, {sum(x.accepted for x in letters)} accepted, "
                f"0 lost, 0 repeated; {len(world.hits)} hits answered, 0 lost; the longest stop took "
                f"{max(world.stopped):.1f} s"
            )


@pytest.mark.skipif(not torture.FULL, reason="takes half a minute each: TORTURE=1")
@pytest.mark.parametrize("more", ["", 'on_defer = "pass"'], ids=["spool", "pass"])
@pytest.mark.parametrize("point", ["banner", "mail", "data", "dot"])
async def test_stopped_before_an_upstream_that_hangs(tmp_path, point, more):
    """What it holds then is in the spool, or its client heard no 250."""
    async with World(tmp_path, 1, polite=True, upstream=more) as world:
        world.upstream.calm = True
        world.upstream.script[point] = "hang"
        assert await world.start()
        load = asyncio.create_task(world.load(10, 10))
        await until(lambda: world.upstream.met.get(point))
        await world.stop()
        await load
        print(f"stopped in {world.stopped[-1]:.1f} s")
        world.upstream.script[point] = None
        assert await world.start()
        await world.empty()
        wrong = [w for w in world.wrong() if point != "dot" or "came again" not in w]  # the upstream may have had it
        assert not wrong, "\n".join(wrong[:20])
