"""For any instant at which one of several processes is killed: the others go on, it is replaced, what a client heard 250 for
arrives, and each hit that was answered is stored. The service is never started again.

The form is that of `test_kills`; TORTURE_KILLS and TORTURE_SEED change how many and which.
"""

from __future__ import annotations

import asyncio
import os

import aiohttp
import pytest

from tests import torture
from tests.torture.test_kills import MESSAGES, SEED, in_the_end
from tests.torture.world import World
from tests.until import until

KILLS = int(os.environ.get("TORTURE_KILLS", "100"))

pytestmark = pytest.mark.timeout(3600)


async def up(world: World) -> bool:
    """All processes, as the one that answers says."""
    try:
        url = f"http://127.0.0.1:{world.ports[2]}/readyz"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return all(each["state"] == "up" for each in (await answer.json())["workers"])
    except aiohttp.ClientError:  # it is the one that was killed
        return False


@pytest.mark.skipif(not torture.FULL, reason="its short form is 72-workers: TORTURE=1")
async def test_one_of_several_killed_at_random(tmp_path, capsys):
    async with World(tmp_path, SEED, workers=2) as world:
        assert await world.start()
        for _ in range(KILLS):
            world.upstream.calm = False
            begun, answers = len(world.books.letters), world.dice.randrange(MESSAGES)
            load = asyncio.create_task(world.load(MESSAGES, world.dice.choice((10, 25, 50))))
            await until(lambda: load.done() or len(world.books.answered(begun)) >= answers, 30)  # noqa: B023
            await world.kill_one()
            await load
            await until(lambda: up(world), 90)  # one that was killed often pauses
        assert world.running
        world.later()
        await world.empty()
        wrong = world.wrong()
        assert not wrong, "\n".join(wrong[:20])
        died = [line for line in world.log.split("\n") if " worker_died " in line]
        assert len(died) == KILLS, "\n".join(died)
        assert all("killed by SIGKILL" in line for line in died), "\n".join(died)
        await in_the_end(world, capsys, "one of several")
        await world.stop()
