"""Each answered hit is counted once, whatever becomes of a transaction that nobody waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from relay import journal
from relay import store as stores
from relay.core import floods
from relay.core.model import Event
from relay.store import Unavailable
from relay.store.contract import Store
from tests.fakes.stores import MoodyStore
from tests.peers import postgres as servers
from tests.until import until
from tracking_http import folding, recorder

T0 = 1_700_000_000.0
LIMITS = floods.Limits(token=5, message=50)
TOKEN = "c0.0"


def click(number: int, at: float = T0) -> Event:
    return Event(
        f"018bcfe5-6800-7000-8000-{number:012d}", "message.link_clicked", "m" * 20, at, 0, "", 0, "https://example.com/",
        "GET", f"192.0.2.{number % 200}", "", "", "human", "browser",
    )  # fmt: skip


class Late:
    """The store does what it is asked (but for "no"), and says so late: that it did ("yes"), that it did not ("no"), or
    that nobody knows ("unknown")."""

    def __init__(self, store: Store, outcome: str) -> None:
        self.store, self.outcome = store, outcome
        self.said = asyncio.Event()
        self.asked = 0

    async def append(self, event: Event) -> Event | floods.Folded | None:
        self.asked += 1
        done = None if self.outcome == "no" else await asyncio.shield(asyncio.ensure_future(self.store.append(event)))
        await self.said.wait()
        if self.outcome != "yes":
            raise Unavailable(self.outcome)
        return done

    async def append_all(self, events: Sequence[Event]) -> Sequence[Event | floods.Folded | None]:
        return await asyncio.gather(*map(self.append, events))

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        await self.store.fold(folds, by, number)
        if self.outcome == "unknown":
            self.outcome = "yes"  # with the next one
            raise Unavailable("unknown")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async def opened(url: str) -> AsyncIterator[Store]:
        made = stores.open(url, tmp_path, limits=LIMITS)
        await made.start()
        yield made
        await made.stop()

    if request.param != "postgresql":
        async for made in opened({"memory": "memory:", "sqlite": "sqlite:test.db"}[request.param]):
            yield made
        return
    server: servers.Server = request.getfixturevalue("postgres")
    async with server.database() as url:
        async for made in opened(url):
            yield made


@asynccontextmanager
async def feeding(kept: journal.Journal, store: journal.Takes) -> AsyncIterator[None]:
    task = asyncio.create_task(kept.run(store))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def told(store: Store) -> int:
    """How many hits there were, by what is kept of them."""
    await store.append(click(999_999, T0 + 2 * floods.HOUR))
    kept = await store.events(limit=10_000)
    return len(kept) - 1 + sum(event.data.get("folded", 0) for event in kept)


@pytest.mark.parametrize("outcome", ["yes", "no", "unknown"])
async def test_a_hit_is_counted_once_whatever_its_transaction_came_to(
    store: Store, outcome: str, tmp_path: Path
) -> None:
    late, kept = Late(store, outcome), journal.Journal(tmp_path / "journal", pause=0.01)
    record = recorder.Recorder(late, kept, None, LIMITS)
    await asyncio.gather(*(record.record(click(number)) for number in range(40)))  # answered all the same
    hits = 40
    while late.asked < 42:  # two of those that follow are tried on it as well
        await record.record(click(hits))
        hits += 1
        await asyncio.sleep(0.01)  # it is tried by a clock; these are counted meanwhile
    late.said.set()
    async with feeding(kept, late.store):
        await until(lambda: not list((tmp_path / "journal").glob("*.jsonl")))
        late.outcome = "yes"
        for _ in range(3):
            await record.record(click(hits))
            hits += 1
        await record.close()
        await until(lambda: not list((tmp_path / "journal").glob("*.jsonl")))
    await kept.stop()
    assert await told(store) == hits


async def test_a_number_whose_transaction_nobody_knows_of_is_handed_over_once(store: Store) -> None:
    late = Late(store, "unknown")
    numbers = folding.Folding(late, LIMITS)
    for number in range(40):
        if isinstance(await store.append(click(number)), floods.Folded):
            numbers.count(click(number))
    await numbers.close()
    numbers.count(click(40))  # it waits for those before
    await numbers.close()
    assert await told(store) == 41


@pytest.mark.parametrize("lost", [False, True])
async def test_a_segment_that_is_fed_again_is_counted_once(store: Store, lost: bool, tmp_path: Path) -> None:
    """After a kill between the last commit and its removal; or since nobody knows of that commit."""
    kept = journal.Journal(tmp_path / "journal", pause=0.01)
    assert all(await asyncio.gather(*(kept.append(click(number)) for number in range(40))))
    await kept.stop()
    (segment,) = (tmp_path / "journal").glob("*.jsonl")
    content = segment.read_bytes()
    late = Late(store, "yes")
    late.said.set()
    if lost:
        late.outcome = "unknown"
    for _ in range(2):
        async with feeding(kept, Untold(late)):
            await until(lambda: not segment.exists())
        segment.write_bytes(content)
    assert await told(store) == 40


class Untold(Late):
    """Of appends what the store says, of numbers what `late` says."""

    def __init__(self, late: Late) -> None:
        super().__init__(late.store, "yes")
        self.late = late
        self.said.set()

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        await self.late.fold(folds, by, number)


async def test_what_a_full_journal_leaves_to_the_store_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("in the way")
    store, kept = MoodyStore("locked"), journal.Journal(tmp_path / "journal")
    store.folding[TOKEN] = floods.Folded(T0 + 30, everyone=True)
    record = recorder.Recorder(store, kept, None, LIMITS)
    await asyncio.gather(*(record.record(click(number)) for number in range(20)))
    store.be("open")
    await record.close()
    assert sum(fold.hits for fold in store.folds) == 20
