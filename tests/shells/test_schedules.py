"""Messages that are sent later: when they are due, once, whatever dies when."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from relay import config, outbound, outcomes, schedules, spool, store
from relay.core import tokens
from relay.core.model import Keys, Recipient, Submission, Tracking
from relay.store import Schedule, decisions
from relay.store.contract import Store
from relay.upstream import transaction
from relay.upstream.failover import Upstreams
from tests.fakes import upstream as fake
from tests.fakes.mortal import Died, Mortal
from tests.store.contract import T0
from tests.until import until

CONTENT = b"From: a@here.example\r\nTo: b@x.example\r\nSubject: Later\r\nMessage-ID: <1@here.example>\r\n\r\nHello\r\n"
TO = (Recipient("b@x.example"), Recipient("c@x.example"))
MESSAGE_ID = tokens.message_id(tokens.message_key(T0 + 600, b"abcdef"))
FIELDS = {"schedule_id": "s1", "send_at": T0 + 600, "subject": "Later"}
SCHEDULE = Schedule("s1", "default", MESSAGE_ID, T0 + 600, T0, FIELDS)
DONE = ["message.send_success", "message.send_failed"]


class World:
    """A store, a spool that sends to a fake server, and a clock."""

    def __init__(self, folder: Path, server: fake.Upstream, records: Store) -> None:
        self.now, self.server, self.records = T0, server, records
        settings = config.Settings(
            state_dir=folder,
            smtp=config.Smtp(hostname="relay.test"),
            upstream=config.Upstream(url=server.url, tls="never"),
            tracking=Tracking(url="https://t.example", opens=True),
        )
        times = transaction.Times(connect=2, mail=2, data=2, block=2, dot=2)
        out = Upstreams(settings, hostname="relay.test", times=times)
        self.outcomes = outcomes.Outcomes(records, host=out.host)
        self.spool = spool.Spool(folder / "spool", settings, out, self.outcomes, schedule=(0.0, 0.05), clock=self.clock)
        self.tracker = outbound.Tracker(settings, lambda: Keys(0, {0: bytes(32)}), records, clock=self.clock)
        self.schedules = self.room()
        self.folder = folder / "spool"

    def clock(self) -> float:
        return self.now

    def room(
        self, dies: Callable[[], bool] | None = None, *, after: bool = False, holder: str = ""
    ) -> schedules.Schedules:
        """The room, as a process has it."""
        records, kept = self.records, self.spool
        if dies:
            records, kept = Mortal(records, dies, after=after), Mortal(kept, dies, after=after)  # type: ignore[assignment]
        return schedules.Schedules(records, self.tracker, kept, holder=holder, clock=self.clock)

    async def add(self, *recipients: Recipient, content: bytes = CONTENT) -> None:
        submission = Submission("a@here.example", recipients or TO[:1], content)
        assert await schedules.add(self.records, SCHEDULE, submission)

    async def schedule(self) -> Schedule:
        found = await self.records.schedule("default", "s1")
        assert found
        return found

    async def end(self) -> Schedule:
        """How it is closed in the end, as time goes by."""

        async def closed() -> Schedule | None:
            self.now += 60
            await self.schedules.step()
            found = await self.schedule()
            return found if found.closed_at else None

        found: Schedule = await until(closed)
        return found

    async def events(self) -> list[tuple[str, str]]:
        return [(e.type, e.reason) for e in await self.records.events() if e.type in DONE]


@pytest.fixture
async def server() -> AsyncIterator[fake.Upstream]:
    async with fake.Upstream() as server:
        yield server


@pytest.fixture(params=["memory:", "sqlite:test.db"], ids=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, server: fake.Upstream) -> AsyncIterator[World]:
    records = store.open(request.param, tmp_path)
    await records.start()
    made = World(tmp_path, server, records)
    running = asyncio.create_task(made.spool.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await made.outcomes.flush()
    await records.stop()


async def test_what_was_sent_later_is_kept_where_that_is_asked_for(world: World) -> None:
    await world.add()
    world.now = SCHEDULE.send_at + 1
    world.schedules = schedules.Schedules(
        world.records, world.tracker, world.spool, settings=config.Admin(keep_messages=60.0), clock=world.clock
    )
    await world.schedules.step()
    assert await world.records.kept_message(SCHEDULE.message_id) == CONTENT


async def test_a_message_is_sent_when_it_is_due_and_its_end_is_told(world: World) -> None:
    await world.add(*TO)
    world.now = T0 + 599
    assert await world.schedules.step() == 0
    assert (await world.schedule()).state == "scheduled"
    world.now = T0 + 600
    assert await world.schedules.step() == 1
    assert (await world.schedule()).state == "handed"
    await until(lambda: len(world.server.kept) == 1)
    closed = await world.end()
    assert (closed.state, closed.error) == ("sent", "")
    assert await world.events() == [("message.send_success", "")]
    (event,) = [event for event in await world.records.events() if event.type in DONE]
    assert (event.message_id, event.grant_id, dict(event.data)) == (MESSAGE_ID, "default", FIELDS)
    sent = await world.records.sent(MESSAGE_ID)
    assert sent is not None
    assert (sent.subject, sent.submitted_at) == ("Later", T0 + 600)
    assert [path.name for path in world.folder.glob("*.*") if path.suffix in (".msg", ".held")] == []


@pytest.mark.parametrize("reply", ["550 5.1.1 nobody", "554 5.7.1 no"])
async def test_a_refusal_by_the_upstream_is_a_failure_with_its_words(world: World, reply: str) -> None:
    world.server.script["rcpt"] = reply
    await world.add()
    world.now = T0 + 600
    await world.schedules.step()
    closed = await world.end()
    assert (closed.state, closed.error) == ("failed", reply)
    assert await world.events() == [("message.send_failed", reply)]


async def test_what_must_not_leave_is_a_failure_at_once(world: World) -> None:
    await world.add(content=b"X-Track: maybe\r\n" + CONTENT)
    world.tracker.settings = config.Settings(tracking=Tracking(on_invalid="reject"))
    world.tracker = outbound.Tracker(
        world.tracker.settings, lambda: Keys(0, {0: bytes(32)}), world.records, clock=world.clock
    )
    world.now = T0 + 600
    await world.room().step()
    closed = await world.schedule()
    assert closed.state == "failed"
    assert "5.6.0" in closed.error
    assert world.server.kept == []


async def test_one_that_waits_for_its_upstream_is_neither_sent_nor_failed(world: World) -> None:
    world.server.script["mail"] = "451 4.3.0 later"
    await world.add()
    for ahead in (600, 700, 800):
        world.now = T0 + ahead
        await world.schedules.step()
    assert (await world.schedule()).state == "handed"
    world.server.script.clear()
    assert (await world.end()).state == "sent"
    assert await world.events() == [("message.send_success", "")]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", range(1, 20))
async def test_whenever_the_process_dies_nothing_is_lost_and_nothing_sent_twice(
    world: World, call: int, after: bool
) -> None:
    await world.add(*TO)
    calls = iter(range(1, 1000))
    mortal = world.room(lambda: next(calls) == call, after=after)
    with contextlib.suppress(Died):
        for ahead in (600, 660, 720):
            world.now = T0 + ahead
            await mortal.step()
    world.now += decisions.LEASE
    closed = await world.end()
    assert closed.state == "sent"
    assert sorted(to for message in world.server.kept for to in message.recipients) == [r.address for r in TO]
    assert await world.events() == [("message.send_success", "")]
    assert [path.name for path in world.folder.glob("*.held")] == []


async def test_a_claim_that_outlived_its_lease_sends_nothing(world: World) -> None:
    await world.add()
    world.now = T0 + 600
    slow, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Mortal):
        async def hold(self, *args: Any) -> None:
            slow.set()
            await go_on.wait()
            await self._thing.hold(*args)

    late = schedules.Schedules(
        world.records, world.tracker, Slow(world.spool, lambda: False, after=False), clock=world.clock
    )
    stuck = asyncio.create_task(late.step())
    await slow.wait()
    world.now += decisions.LEASE
    assert (await world.end()).state == "sent"
    go_on.set()
    await stuck
    assert await world.schedules.step() == 0
    assert len(world.server.kept) == 1
    assert [path.name for path in world.folder.glob("*.held")] == []


async def test_of_many_processes_each_message_is_one_s(world: World) -> None:
    await world.add()
    world.now = T0 + 600
    await asyncio.gather(*(world.room().step() for _ in range(5)))
    await world.end()
    assert len(world.server.kept) == 1


async def test_a_clock_that_is_set_forward_sends_and_one_that_is_set_back_waits(world: World) -> None:
    await world.add()
    world.now = T0 - 86_400
    assert await world.schedules.step() == 0
    world.now = T0 + 86_400
    assert await world.schedules.step() == 1
    world.now = T0  # the lease and the looks were written by the other clock
    assert (await world.end()).state == "sent"
    assert len(world.server.kept) == 1


async def test_another_machine_neither_follows_nor_closes_what_is_in_this_ones_spool(
    world: World, server: fake.Upstream, tmp_path: Path
) -> None:
    """It has none of its entries, which does not mean that they were sent."""
    other = World(tmp_path / "other", server, world.records)
    here, there = world.room(holder="mail-1"), other.room(holder="mail-2")
    server.script["mail"] = "451 4.3.0 later"
    await world.add()
    world.now = T0 + 600
    await here.step()
    for ahead in (700, 800, 900):
        world.now = other.now = T0 + ahead
        assert await there.step() == 0
    assert (await world.schedule()).state == "handed"
    assert await world.events() == []
    server.script.clear()
    world.schedules = here
    assert (await world.end()).state == "sent"
    assert len(server.kept) == 1


async def test_what_a_machine_held_when_it_died_is_sent_when_it_is_back(
    world: World, server: fake.Upstream, tmp_path: Path
) -> None:
    other = World(tmp_path / "other", server, world.records)
    await world.add()
    world.now = T0 + 600
    settled = iter(
        (False, False, False, False, True)
    )  # next, claim, contents, and what it holds; then it is handed over
    there = other.room(holder="mail-2")
    with contextlib.suppress(Died):
        await world.room(lambda: next(settled, True), after=True, holder="mail-1").step()
    assert (await world.schedule()).state == "handed"
    for ahead in (700, 900):
        other.now = T0 + ahead
        await there.step()
    assert server.kept == []
    world.schedules = world.room(holder="mail-1")
    assert (await world.end()).state == "sent"
    assert len(server.kept) == 1
