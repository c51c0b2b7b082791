"""For any instant at which the program is killed: what a client heard 250 for arrives, whole, and more than once only
where the upstream may have had it at the kill; then with the same bytes. Nothing has to be repaired.

The program is the real one, with its store (SQLite, and PostgreSQL too) and its spool on disk; messages, hits and notifications are under way
all the time. TORTURE_KILLS and TORTURE_SEED change how many and which.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest

from tests import torture
from tests.peers import postgres
from tests.torture import databases, dying
from tests.torture.world import World
from tests.until import until

MESSAGES = 50
SEED = int(os.environ.get("TORTURE_SEED", "1"))
KILLS = int(os.environ.get("TORTURE_KILLS", "200" if torture.FULL else "9"))
AT_RANDOM = KILLS // 2 if torture.FULL else KILLS // 3
EACH = -(-(KILLS - AT_RANDOM) // len(dying.KINDS))
# About how many steps of a kind there are in a load, the way to the empty spool included.
STEPS = {"fsync": 70, "commit": 150, "rename": 25, "unlink": 45, "write": 45, "send": 700}
HITS_LOST_WITHIN = 1.0  # seconds before a kill: an answered hit is in the store, or on its way into the journal

pytestmark = pytest.mark.timeout(3600 if torture.FULL else 180)


async def under_load(world: World) -> None:
    """A load, and a kill somewhere in it or soon after."""
    world.upstream.calm = False
    begun, answers = len(world.books.letters), world.dice.randrange(MESSAGES * 5 // 4)
    load = asyncio.create_task(world.load(MESSAGES, world.dice.choice((10, 25, 50))))
    await until(lambda: load.done() or len(world.books.answered(begun)) >= answers, 30)
    await asyncio.sleep(world.dice.uniform(0, 0.4 if load.done() else 0.02))  # at any instant
    await world.kill()
    await load


async def recovered(world: World) -> None:
    """It comes up by itself, delivers what is left, and nothing is amiss. Nobody else opens the database before it."""
    await world.retry()
    assert await world.start()
    world.later()
    await world.empty()
    wrong = world.wrong()
    assert not wrong, "\n".join(wrong[:20])


async def in_the_end(world: World, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Hits and notifications, over all kills; and the figures."""
    await world.quiet()
    cut = {tid for tid, at in world.hits.items() if any(0 <= k - at <= HITS_LOST_WITHIN for k in world.killed_at)}
    stored = await world.events(without=cut)
    lost = [tid for tid in world.hits if tid not in stored]
    late = [tid for tid in lost if tid not in cut]
    assert not late, f"{len(late)} hits that were answered long before a kill are not stored"
    assert not [tid for tid, times in stored.items() if times > 1]
    owed = await world.owed()
    assert not owed, "\n".join(owed[:20])
    assert "Traceback" not in world.log, world.log[world.log.index("Traceback") - 500 :][:4000]
    letters = world.books.letters.values()
    figures = (
        f"{name}: {len(world.killed_at)} kills, {len(letters)} messages begun, {sum(x.accepted for x in letters)} accepted, "
        f"0 lost; {len(world.upstream.arrived)} copies arrived, {world.books.repeated} again after a kill, "
        f"{world.books.cut} again since the upstream went after the dot; {len(world.hits)} hits answered, "
        f"{len(lost)} lost; {world.notified} events notified in {len(world.hook.received)} requests"
    )
    with capsys.disabled() if torture.FULL else contextlib.nullcontext():
        print("\n" + figures)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_killed_at_random(tmp_path, capsys, engine):
    """A quarter of the times it is killed once more while it recovers."""
    with contextlib.ExitStack() as stack:
        over = None
        if engine == "postgresql":
            over = databases.Postgres(stack.enter_context(postgres.running()))
        await killed_at_random(World(tmp_path, SEED, database=over), capsys, engine)


async def killed_at_random(made: World, capsys: pytest.CaptureFixture[str], engine: str) -> None:
    kills = AT_RANDOM if torture.FULL or engine == "sqlite" else AT_RANDOM // 3
    async with made as world:
        assert await world.start()
        number = 0
        while len(world.killed_at) < kills:
            number += 1
            await under_load(world)
            if number % 4 == 0 and await world.start():
                await asyncio.sleep(world.dice.uniform(0, 0.3))  # at any instant
                await world.kill()
            await recovered(world)
        await in_the_end(world, capsys, f"at random, {engine}")


@pytest.mark.parametrize("kinds", [(kind,) for kind in dying.KINDS] if torture.FULL else [dying.KINDS], ids=" ".join)
async def test_killed_at_a_step(tmp_path, capsys, kinds):
    """The steps of each kind, spread over a load; every other time power is lost."""
    async with World(tmp_path, SEED) as world:
        for number in range(EACH):
            for turn, kind in enumerate(kinds, number):
                step = 1 + int((number + world.dice.random()) * STEPS[kind] / EACH)
                await to_the_step(world, kind=kind, at=step, power=turn % 2)
                await recovered(world)
                await world.stop()
        assert await world.start()
        await in_the_end(world, capsys, f"at steps ({' '.join(kinds)})")


async def to_the_step(world: World, *, kind: str, at: int, power: int) -> None:
    """Load after load until it is dead; what the upstream puts off is tried at once, so that there are steps."""
    world.upstream.calm = False
    if not await world.start(kinds=kind, at=at, power=power):
        return
    began = time.monotonic()
    while world.running and time.monotonic() - began < 20:
        await world.load(MESSAGES, 25)
        await world.retry()
    await world.kill()
