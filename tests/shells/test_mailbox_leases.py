"""Which node watches a mailbox, where several share a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from relay import mailbox
from relay import store as stores
from relay.config import Grant, Mailbox, Settings
from relay.core.model import Keys
from relay.mailbox import leases
from relay.mailbox.source import Times
from relay.store.contract import Store
from tests.until import until

EVERY = 0.05  # seconds
KEYS = Keys(0, {0: b"k" * 32})


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = stores.open("memory:", Path("."))
    await opened.start()
    yield opened
    await opened.stop()


class Node:
    """One that notes which mailboxes it watches."""

    def __init__(self, store: leases.Records, holder: str) -> None:
        self.store, self.holder = store, holder
        self.watched: set[str] = set()

    async def watch(self, name: str) -> None:
        self.watched.add(name)
        try:
            await asyncio.Event().wait()
        finally:
            self.watched.remove(name)

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncIterator[Node]:
        mailboxes = {name: partial(self.watch, name) for name in names}
        task = asyncio.create_task(leases.watch(mailboxes, self.store, self.holder, every=EVERY))
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_each_is_watched_by_one_and_by_the_other_once_that_has_stopped(store: Store) -> None:
    async with Node(store, "one").running("a", "b") as one:
        await until(lambda: one.watched == {"a", "b"})
        async with Node(store, "two").running("a", "b", "c") as two:
            await until(lambda: two.watched == {"c"})
            async with Node(store, "three").running("c") as three:
                assert await store.take_leases(["a", "b", "c"], "four", 1) == frozenset()
            assert (one.watched, two.watched, three.watched) == ({"a", "b"}, {"c"}, set())
    async with Node(store, "two").running("a", "b", "c") as two:
        await until(lambda: two.watched == {"a", "b", "c"})


async def test_of_one_that_died_the_lease_runs_out(store: Store) -> None:
    await store.take_leases(["a"], "dead", 4 * EVERY)
    async with Node(store, "one").running("a") as one:
        await until(lambda: one.watched == {"a"})


async def test_one_that_comes_back_need_not_wait(store: Store) -> None:
    await store.take_leases(["a"], "one", 3600)
    async with Node(store, "one").running("a") as one:
        await until(lambda: one.watched == {"a"})


class Given:
    """A store of which the test says whose the mailboxes are, and whether it is there."""

    def __init__(self, *ours: str) -> None:
        self.ours, self.away = set(ours), False

    async def take_leases(self, mailboxes: Collection[str], holder: str, seconds: float) -> frozenset[str]:
        if self.away:
            raise stores.Unavailable("away")
        return frozenset(self.ours.intersection(mailboxes))

    async def release_leases(self, holder: str) -> None:
        if self.away:
            raise stores.Unavailable("away")


async def test_one_that_lost_a_lease_stops(caplog: pytest.LogCaptureFixture) -> None:
    given = Given("a", "b")
    with caplog.at_level("INFO", "trackrelay"):
        async with Node(given, "one").running("a", "b") as one:
            await until(lambda: one.watched == {"a", "b"})
            given.ours.remove("a")
            await until(lambda: one.watched == {"b"})
            given.ours.add("a")
            await until(lambda: one.watched == {"a", "b"})
        assert one.watched == set()
    assert [record.message for record in caplog.records] == ["mailbox_elsewhere"]


async def test_without_a_store_what_is_watched_goes_on() -> None:
    given = Given("b")
    given.away = True
    async with Node(given, "one").running("a", "b") as one:
        await until(lambda: one.watched == {"a", "b"})  # each says by itself that the store is away
        given.away = False
        await until(lambda: one.watched == {"b"})
        given.away = True
        await asyncio.sleep(3 * EVERY)  # it asks again, and hears nothing
        assert one.watched == {"b"}


async def test_what_breaks_is_heard_of(store: Store) -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await leases.watch({"a": broken}, store, "one", every=EVERY)
    assert await store.take_leases(["a"], "another", 60) == {"a"}


async def test_mailboxes_by_their_names(store: Store, tmp_path: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    grant = Grant("sales", email="sales@example.test", mailbox=(f"maildir:{tmp_path}",))
    settings = Settings(grants=(grant,), mailbox=Mailbox(poll_interval=0.1))
    times = Times(leases=EVERY)
    nodes = [mailbox.Watcher(settings, store, lambda: KEYS, times=times, holder=name) for name in ("one", "two")]
    tasks = [asyncio.create_task(node.run()) for node in nodes]
    await until(lambda: [state.state for node in nodes for state in node.states] == ["watching"])
    first = 0 if nodes[0].states else 1
    tasks[first].cancel()
    await until(lambda: [state.state for state in nodes[1 - first].states] == ["watching"])
    cursor = await store.cursor(mailbox.named(grant, grant.mailbox[0]))
    assert cursor is not None
    tasks[1 - first].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
