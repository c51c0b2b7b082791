"""For any instant at which PostgreSQL's server is killed, is replaced by its standby, or has no room left: mail goes on,
hits are answered, and what was answered is stored once the server is back. Nothing is lost, and nothing is there twice.

TORTURE_SERVERS and TORTURE_SEED change how often and when. Kills of the program itself over PostgreSQL are `test_kills`'.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests import torture
from tests.peers import postgres
from tests.torture import databases
from tests.torture.world import World
from tests.until import until

SEED = int(os.environ.get("TORTURE_SEED", "1"))
TIMES = int(os.environ.get("TORTURE_SERVERS", "20" if torture.FULL else "1"))
MESSAGES = 40

pytestmark = pytest.mark.timeout(3600 if torture.FULL else 180)


async def under_load(world: World, fault: Callable[[], Awaitable[None]]) -> None:
    """The fault comes somewhere in a load; that and the hits go on meanwhile."""
    world.upstream.calm = False
    begun, answers = len(world.books.letters), world.dice.randrange(MESSAGES // 2)
    load = asyncio.create_task(world.load(MESSAGES, 20))
    await until(lambda: load.done() or len(world.books.answered(begun)) >= answers, 60)
    await fault()
    await load
    assert world.running, world.log[-3000:]
    # It is found to be back, without anybody's help: mail is tracked again.
    await until(lambda: tracked(world), 60)


async def tracked(world: World) -> bool:
    before = len(world.upstream.arrived)
    await world.load(1, 1)
    await world.retry()
    await until(lambda: len(world.upstream.arrived) > before, 60)
    return any(b"/o/" in kept.content for _, kept in world.upstream.arrived[before:])


async def in_the_end(world: World, capsys: pytest.CaptureFixture[str], name: str) -> None:
    await world.empty(60)
    await world.quiet()
    wrong = [one for one in world.wrong() if ": not tracked: " not in one]  # while there was no database
    assert not wrong, "\n".join(wrong[:20])
    assert world.books.repeated == world.books.cut == 0
    stored = await world.events(60, without=())
    lost = [tid for tid in world.hits if tid not in stored]
    assert not lost, f"{len(lost)} of {len(world.hits)} answered hits are not stored"
    assert not [tid for tid, times in stored.items() if times > 1]
    owed = await world.owed()
    assert not owed, "\n".join(owed[:20])
    assert "Traceback" not in world.log, world.log[world.log.index("Traceback") - 500 :][:4000]
    found = world.books.letters.values()
    with capsys.disabled() if torture.FULL else contextlib.nullcontext():
        print(
            f"\n{name}: {len(found)} messages begun, {sum(x.accepted for x in found)} accepted, 0 lost, 0 repeated; "
            f"{len(world.hits)} hits answered, 0 lost, 0 twice; {world.notified} events notified in "
            f"{len(world.hook.received)} requests"
        )


async def test_the_server_is_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with postgres.running() as server:
        async with World(tmp_path, SEED, polite=True, database=databases.Postgres(server)) as world:
            assert await world.start()

            async def kill() -> None:
                await asyncio.to_thread(server.kill)
                await asyncio.sleep(world.dice.choice((0, 0.5, 3)))  # for so long it is away
                await asyncio.to_thread(server.start)

            for _ in range(TIMES):
                await under_load(world, kill)
            await in_the_end(world, capsys, f"killed {TIMES} times")


@pytest.mark.skipif(not torture.FULL, reason="takes minutes: TORTURE=1; 72-scale has one failover")
async def test_the_standby_is_promoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each commit waits for the standby; the next standby is a copy of that."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(postgres.running())
        standby = follower(primary, stack)
        database = databases.Postgres(primary, standby)
        async with World(tmp_path, SEED, polite=True, database=database) as world:
            assert await world.start()

            async def fail_over() -> None:
                nonlocal primary, standby
                gone = primary
                await asyncio.to_thread(primary.kill)
                await asyncio.to_thread(standby.psql, "SELECT pg_promote()")
                primary = database.server = standby
                # The place of the one that is gone is the new standby's: the program knows these two addresses.
                standby = await asyncio.to_thread(follower, primary, stack, gone.port)

            for _ in range(TIMES):
                await under_load(world, fail_over)
            await in_the_end(world, capsys, f"failed over {TIMES} times")


def follower(primary: postgres.Server, stack: contextlib.ExitStack, port: int = 0) -> postgres.Server:
    made = postgres.Server(of=primary, port=port)
    stack.callback(made.remove)
    made.start()
    primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.psql("SELECT pg_reload_conf()")
    return made


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small() -> Iterator[postgres.Server]:
    """A server whose data are on a disk of 160 MB. Its log is elsewhere."""
    if os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root only")
    disk = Path(tempfile.mkdtemp(prefix="small-", dir="/tmp"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        disk.rmdir()
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    server = postgres.Server({"max_wal_size": "48MB", "min_wal_size": "32MB"})
    try:
        subprocess.run(["mv", str(server.data), str(disk / "data")], check=True)
        server.data = disk / "data"
        server.start()
        yield server
    finally:
        server.remove()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        shutil.rmtree(disk, ignore_errors=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 8192, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)


async def test_the_server_has_no_room(
    small: postgres.Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It refuses what it has no room for, and may give up altogether. Whoever made room starts it again then."""
    disk = small.data.parent
    async with World(tmp_path, SEED, polite=True, database=databases.Postgres(small)) as world:
        assert await world.start()

        async def run_full() -> None:
            await asyncio.to_thread(fill, disk)
            hits = len(world.hits)
            await until(lambda: journaled(world), 60)
            await until(lambda: len(world.hits) > hits + 50, 60)
            (disk / "filler").unlink()
            if not small.running:
                await asyncio.to_thread(small.start)

        for _ in range(TIMES):
            await under_load(world, run_full)
        await in_the_end(world, capsys, f"full {TIMES} times")


def journaled(world: World) -> bool:
    return any(path.stat().st_size for path in (world.folder / "var" / "journal").glob("*.jsonl"))
