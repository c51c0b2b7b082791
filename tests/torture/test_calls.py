"""For any instant at which the program is killed: a message that a program sends by API with an Idempotency-Key, and a
call that it repeats until it has an answer, arrives, and more than once only where the upstream may have had it at the
kill; then with the same bytes. Where admin is a process of its own, a kill of that one never makes a second.

TORTURE_KILLS and TORTURE_SEED change how many and which.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests import torture
from tests.torture import dying
from tests.torture.calls import Callers
from tests.torture.world import World
from tests.until import until

CALLS = 40 if torture.FULL else 20
AT_ONCE = 8
SEED = int(os.environ.get("TORTURE_SEED", "1"))
KILLS = int(os.environ.get("TORTURE_KILLS", "100" if torture.FULL else "2"))
# About how many steps of a kind there are in a load.
STEPS = {"fsync": 60, "commit": 150, "rename": 30, "unlink": 30, "write": 60, "send": 600}

pytestmark = pytest.mark.timeout(3600 if torture.FULL else 180)


async def checked(world: World, callers: Callers, load: asyncio.Task[None]) -> None:
    """Every call gets its answer, what waits is delivered, and nothing is amiss."""
    await load
    await world.empty()
    wrong = world.wrong()
    assert not wrong, "\n".join(wrong[:20])


class Apart:
    """Admin, and beside it who sends: each can die."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.killed = 0

    async def start(self, role: str, **dying: Any) -> None:
        """`dying` kills itself then: also before it is ready."""
        log = "stderr.log" if role == "admin" else "queue.log"
        self.processes[role] = await self.world.run("--only", role, log=log, **dying)
        if role == "admin":
            self.world.up.set()

    async def kill(self, role: str) -> None:
        process = self.processes[role]
        process.kill()
        await asyncio.to_thread(process.wait)
        assert process.returncode == -signal.SIGKILL, process.returncode
        self.killed += 1
        if role == "admin":
            self.world.up.clear()
        else:  # the upstream sees nothing of the other one's death
            await self.world.upstream.bury()
            self.world.books.died(self.world.waiting())

    def running(self, role: str) -> bool:
        return self.processes[role].poll() is None

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def figures(world: World, callers: Callers, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    known = callers.books.calls.values()
    assert "Traceback" not in world.log, world.log[world.log.index("Traceback") - 500 :][:4000]
    with capsys.disabled() if torture.FULL else contextlib.nullcontext():
        print(
            f"\n{name}: {len(world.killed_at)} kills, {len(known)} calls, each answered: "
            f"{sum(each.status == 200 for each in known)} sent, 0 lost; {len(world.upstream.arrived)} copies arrived, "
            f"{callers.books.repeated} again after a kill, {callers.books.cut} again since the upstream went after the dot"
        )


async def test_killed_at_random(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with World(tmp_path, SEED, hitters=0) as world:
        callers = Callers(world)
        assert await world.start()
        while len(world.killed_at) < KILLS:
            world.upstream.calm = False
            load = asyncio.create_task(callers.load(CALLS, AT_ONCE))
            for _ in range(2):
                some = callers.books.answers + world.dice.randrange(CALLS // 2)
                await until(lambda: load.done() or callers.books.answers >= some, 30)  # noqa: B023
                await asyncio.sleep(world.dice.uniform(0, 0.02))  # at any instant
                await world.kill()
                assert await world.start()
            await checked(world, callers, load)
        figures(world, callers, "one process, at random", capsys)


@pytest.mark.parametrize(
    "kinds", [(kind,) for kind in dying.KINDS] if torture.FULL else [("commit", "send")], ids=" ".join
)
async def test_killed_at_a_step(tmp_path: Path, capsys: pytest.CaptureFixture[str], kinds: tuple[str, ...]) -> None:
    each = -(-KILLS // 6) if torture.FULL else 1
    async with World(tmp_path, SEED, hitters=0) as world:
        callers = Callers(world)
        for number in range(each):
            for kind in kinds:
                world.upstream.calm = False
                at = 1 + int((number + world.dice.random()) * STEPS[kind] / each)
                load = asyncio.create_task(callers.load(CALLS, AT_ONCE))
                if await world.start(kinds=kind, at=at, power=number % 2):
                    began = time.monotonic()
                    while world.running and not load.done() and time.monotonic() - began < 20:
                        await asyncio.sleep(0.01)  # until it has died
                    await world.kill()
                assert await world.start()
                await checked(world, callers, load)
                await world.stop()
        figures(world, callers, f"one process, at steps ({' '.join(kinds)})", capsys)


async def test_where_admin_sends_nothing_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Either of the two processes dies, at any instant or at a step of its own."""
    async with World(tmp_path, SEED, hitters=0) as world:
        callers, apart = Callers(world, sends=False), Apart(world)
        try:
            await apart.start("queue")
            await apart.start("admin")
            while apart.killed < 2 * KILLS:
                world.upstream.calm = False
                load = asyncio.create_task(callers.load(CALLS, AT_ONCE))
                for role in world.dice.sample(["admin", "admin", "queue", "queue"], 2):
                    some = callers.books.answers + world.dice.randrange(CALLS // 2)
                    await until(lambda: load.done() or callers.books.answers >= some, 30)  # noqa: B023
                    await asyncio.sleep(world.dice.uniform(0, 0.02))  # at any instant
                    await apart.kill(role)
                    await apart.start(role)
                await checked(world, callers, load)
                kind = world.dice.choice(dying.KINDS)
                await apart.kill("admin")
                load = asyncio.create_task(callers.load(CALLS, AT_ONCE))
                await apart.start(
                    "admin", kinds=kind, at=world.dice.randrange(1, STEPS[kind]), power=world.dice.randrange(2)
                )
                await until(lambda: load.done() or not apart.running("admin"), 30)  # noqa: B023
                await apart.kill("admin")
                await apart.start("admin")
                await checked(world, callers, load)
            world.killed_at = [0.0] * apart.killed
            figures(world, callers, "admin alone, and the queue", capsys)
        finally:
            apart.end()
