"""Who wants to hear that a webhook fails hears it once, whatever dies when."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relay import config, notices, outcomes, spool, store
from relay.store.contract import Store
from relay.upstream import transaction
from relay.upstream.failover import Upstreams
from tests.fakes import upstream as fake
from tests.fakes.mortal import Died, Mortal
from tests.store.contract import T0, endpoint
from tests.until import until

OPS = ("ops@x.example", "dev@x.example")


class World:
    """A store in which a webhook fails, a spool that sends to a fake server, and the room as processes have it."""

    def __init__(self, folder: Path, server: fake.Upstream, records: Store, **upstream: str) -> None:
        self.records, self.folder, self.server, self.now = records, folder / "spool", server, T0 + 5
        self.settings = config.Settings(
            state_dir=folder,
            smtp=config.Smtp(hostname="relay.test"),
            upstream=config.Upstream(**{"url": server.url, "tls": "never", **upstream}),  # type: ignore[arg-type]
        )
        times = transaction.Times(connect=2, mail=2, data=2, block=2, dot=2)
        out = Upstreams(self.settings, hostname="relay.test", times=times)
        heard = outcomes.Outcomes(records, host=out.host)
        self.spool = spool.Spool(self.folder, self.settings, out, heard, schedule=(0.0, 0.05))

    def clock(self) -> float:
        return self.now

    def room(self, dies: Callable[[], bool] | None = None, *, after: bool = False) -> notices.Notices:
        records, kept = self.records, self.spool
        if dies:
            records, kept = Mortal(records, dies, after=after), Mortal(kept, dies, after=after)  # type: ignore[assignment]
        return notices.Notices(self.settings, records, kept, hostname="relay.test", clock=self.clock)

    async def fail(self, *to: str, status: str = "failing") -> None:
        await self.records.add_endpoint(endpoint("mine", notify=to or OPS))
        assert await self.records.set_endpoint_status("mine", status, T0, error="HTTP 500")  # type: ignore[arg-type]

    async def sent(self) -> list[fake.Kept]:
        """All that leaves, until nothing waits any more."""
        sending = asyncio.create_task(self.spool.run())
        await until(lambda: not list(self.folder.glob("*.msg")))
        sending.cancel()
        assert not list(self.folder.glob("*.held"))
        assert await self.records.notices() == []
        return self.server.kept


@pytest.fixture
async def server() -> AsyncIterator[fake.Upstream]:
    async with fake.Upstream() as server:
        yield server


@pytest.fixture(params=["memory:", "sqlite:test.db"], ids=["memory", "sqlite"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = store.open(request.param, tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_it_goes_out_as_reports_do(tmp_path: Path, server: fake.Upstream, records: Store) -> None:
    world = World(tmp_path, server, records)
    await world.fail(status="failed")
    await world.room().step()
    (kept,) = await world.sent()
    assert (kept.reverse_path, kept.recipients) == ("", list(OPS))
    assert b"\r\nAuto-Submitted: auto-generated\r\n" in kept.content
    assert b"From: trackrelay <MAILER-DAEMON@relay.test>\r\n" in kept.content
    assert b"\r\nSubject: Webhook failed: https://" in kept.content
    await world.room().step()
    assert len(await world.sent()) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_whenever_the_process_dies_it_is_told_once(
    tmp_path: Path, server: fake.Upstream, records: Store, after: bool
) -> None:
    """At each call that it makes; and whatever was admitted by then is sent before the next process begins."""
    world = World(tmp_path, server, records)
    await world.fail()
    for step in itertools.count(1):
        calls = itertools.count(1)
        try:
            await world.room(lambda step=step, calls=calls: next(calls) == step, after=after).step()  # type: ignore[misc]
        except Died:
            sending = asyncio.create_task(world.spool.run())
            await until(lambda: not list(world.folder.glob("*.msg")))
            sending.cancel()
        else:
            break
    assert step > 3
    assert len(await world.sent()) == 1


async def test_of_many_processes_one_tells_it(tmp_path: Path, server: fake.Upstream, records: Store) -> None:
    world = World(tmp_path, server, records)
    await world.fail()
    await asyncio.gather(*(world.room().step() for _ in range(8)))
    assert len(await world.sent()) == 1


async def test_an_upstream_that_refuses_the_null_sender(tmp_path: Path, records: Store) -> None:
    refuses = {"mail": lambda command: "550 5.7.1 no null sender" if "<>" in command else None}
    async with fake.Upstream(refuses) as server:
        world = World(tmp_path, server, records, bounce_from="bounces@here.example")
        await world.fail()
        await world.room().step()
        (kept,) = await world.sent()
    assert kept.reverse_path == "bounces@here.example"
    assert b"From: trackrelay <bounces@here.example>\r\n" in kept.content


@pytest.mark.parametrize(("late", "to"), [(notices.STALE, OPS), (5.0, ("no address",))], ids=["late", "no address"])
async def test_where_nobody_can_be_told_the_log_says_it_once(
    tmp_path: Path, server: fake.Upstream, records: Store, late: float, to: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    world = World(tmp_path, server, records)
    await world.fail(*to)
    world.now = T0 + late
    for _ in range(3):
        await world.room().step()
    assert await world.records.notices() == []
    assert [r.getMessage() for r in caplog.records].count("nobody_told") == 1


async def test_a_disk_that_takes_nothing_puts_it_off(tmp_path: Path, server: fake.Upstream, records: Store) -> None:
    world = World(tmp_path, server, records)
    await world.fail()
    world.folder.write_text("in the way")
    await world.room().step()
    assert len(await records.notices()) == 1
    world.folder.unlink()
    await world.room().step()
    assert len(await world.sent()) == 1
