"""All that a store remembers is taken into another, from each engine to each."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from relay import store as stores
from relay.core.model import Settlement
from relay.core.suppressions import Erasure, Suppression
from relay.store import ApiKey, Cursor, Request, UpstreamReply, copying
from relay.store.copying import count
from relay.store.lists import Answer
from relay.store.sql.copying import TABLES
from relay.store.sql.engine import Engine
from relay.store.sqlite import schema
from tests.peers import postgres as servers
from tests.store.contract import T0, click, endpoint, event, sent
from tests.store.test_drafts import draft, schedule

KINDS = ["sqlite", "postgresql"]


@contextlib.asynccontextmanager
async def opened(kind: str, folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with contextlib.AsyncExitStack() as stack:
        url = f"sqlite:{kind}-{len(list(folder.iterdir()))}.db"
        if kind == "postgresql":
            server: servers.Server = request.getfixturevalue("postgres")
            url = await stack.enter_async_context(server.database())
        store = stores.open(url, folder)
        assert isinstance(store, Engine)
        await store.start()
        yield store
        await store.stop()


async def fill(store: Engine, number: int = 30) -> None:
    """With something in each table."""
    await store.sync_endpoints([endpoint(notify=("ops@example.com",))])
    await store.add_endpoint(endpoint("e2", compressed=True))
    await asyncio.gather(*(store.record_sent(sent(f"m{n:03}", metadata={"key1": "\0"})) for n in range(number)))
    await store.record_replies([UpstreamReply("m001", ("bob@example.org",), "never", "550 no", "u@x")])
    for n in range(number):
        await store.append(click(n % 3, f"m{n % 7:03}"))
    kept = Answer("a1", "sales", "m001", "m001", T0, "a1@x", to=("ann@example.com",), automatic=True)
    await store.append(event("thread.replied", "m002", data={"reply_id": "a1"}), Cursor("inbox", 7, 3), kept)
    (first, *_) = await store.claim_due(1e11)
    await store.settle(first.delivery_id, Settlement("dead", T0, status=500, error="HTTP 500"))
    await store.set_endpoint_status("e1", "failing", T0)
    await store.add_api_key(ApiKey("key", "digest", ("read",)))
    await store.save_draft(draft(), [b"\0octets", b""])
    await store.add_schedule(schedule(), [b"message"])
    await store.begin_request(Request("k1", "d", "m001", T0), 0.0)
    await store.keep_message("m003", T0, b"kept \xff", oldest=0.0, most=1000)
    await store.suppress([Suppression("d1", "", "refusal", "bob@example.org", T0)])
    await store.ask_erasure(Erasure("d1", "bob@example.org", T0))
    await store.remove_message("m006")  # so that numbers are missing
    await store.append(click(message_id="m029"))
    await store.remove_message("m029")


def quiet(*_: object) -> None: ...


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("kind", KINDS)
async def test_all_is_there_and_goes_on(kind: str, to: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async with opened(kind, tmp_path, request) as source, opened(to, tmp_path, request) as target:
        await fill(source)
        for table in TABLES:
            assert await count(source, table) == await count(source, table._replace(most=1)) > 0, table.name
        number = await copying.copy(source, target, quiet)
        assert number == await copying.copy(source, target, quiet) > 150  # again, and nothing is left to do
        assert await target.events(limit=1000) == await source.events(limit=1000)
        assert await target.recent_sent(100) == await source.recent_sent(100)
        assert await target.notifications(limit=1000) == await source.notifications(limit=1000)
        assert await target.backlog() == await source.backlog()
        assert await target.endpoints() == await source.endpoints()
        assert await target.contents("d001") == [b"\0octets", b""]
        assert await target.aggregates("sender", 0, 1 << 40, step="all") == await source.aggregates(
            "sender", 0, 1 << 40, step="all"
        )
        hit = click(message_id="m001", event_id="x")
        one, other = [await store.append(hit) for store in (source, target)]
        assert one == other
        assert [n.delivery_id for n in await target.notifications(event_id="x")] == [
            n.delivery_id for n in await source.notifications(event_id="x")
        ]


async def test_it_goes_on_where_it_ended(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async with opened("sqlite", tmp_path, request) as source, opened("postgresql", tmp_path, request) as target:
        await fill(source)

        def interrupted(what: str, table: str, *_: object) -> None:
            if table == "events":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await copying.copy(source, target, interrupted)
        assert await target.recent_sent(100)
        said: list[str] = []
        await copying.copy(source, target, lambda what, table, *_: said.append(f"{what} {table}"))
        assert "copied messages" not in said
        assert "copied deliveries" in said
        assert await target.events(limit=1000) == await source.events(limit=1000)


async def labels(store: Engine) -> None:
    for n, label in enumerate(["", "a", "a\0", "a\0b", "aab", "a\N{REPLACEMENT CHARACTER}b", "b\ud800", "z"]):
        changed = {"label": label, "internet_message_id": f"{label}@mail.example", "sender": f"ann@{label}.example"}
        await store.record_sent(sent(f"m{n}", **changed))
        await store.save_cursor(Cursor(f"inbox {label}".rstrip("\ud800"), 4294967295, 4294967295 + n))


async def times(store: Engine) -> None:
    for n, at in enumerate((-1e9, -0.5, 0.0, 2147483648.5, 253402300800.0, -1e13, 1e15)):
        await store.record_sent(sent(f"m{n}", submitted_at=at, size=n << 40))
        await store.append(event("message.opened", f"m{n}", at, data={"n": 1 << 60, "f": -1e300, "t": "\0"}))


async def large(store: Engine) -> None:
    for n in range(2):
        await store.keep_message(f"m{n}", T0, bytes([n]) * 5_000_000, oldest=0.0, most=1 << 40)
        await store.save_draft(draft(n), [bytes(5_000_000), b""])
        await store.record_sent(sent(f"m{n}", links=(f"https://x.example/{n}" * 200_000,)))


@pytest.mark.parametrize("filled", [labels, times, large])
async def test_whatever_is_in_it_goes_there_and_back(
    filled: Callable[[Engine], Awaitable[None]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Also without a webhook: no notification has ever had a number."""
    async with (
        opened("sqlite", tmp_path, request) as source,
        opened("postgresql", tmp_path, request) as target,
        opened("sqlite", tmp_path, request) as back,
    ):
        await filled(source)
        number = await copying.copy(source, target, quiet)
        assert number == await copying.copy(source, target, quiet) == await copying.copy(target, back, quiet)


@pytest.mark.parametrize("pages", [1, 2, 3, 5, 8])
async def test_it_goes_on_wherever_it_ended(pages: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Also where keys are in another order there."""
    async with opened("sqlite", tmp_path, request) as source, opened("postgresql", tmp_path, request) as target:
        await labels(source)
        left = 0

        def cut(what: str, table: str, done: int, whole: int) -> None:
            nonlocal left
            assert done <= whole
            left -= 1
            if not left:
                raise KeyboardInterrupt

        for interrupted in range(1, 20):
            left = pages * interrupted
            with contextlib.suppress(KeyboardInterrupt):
                await copying.copy(source, target, cut)
        await copying.copy(source, target, quiet)
        assert await target.recent_sent(100) == [
            one.with_(
                label=one.label.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                sender=one.sender.replace("\0", "\N{REPLACEMENT CHARACTER}"),
                internet_message_id=one.internet_message_id.replace("\0", "\N{REPLACEMENT CHARACTER}"),
            )
            for one in await source.recent_sent(100)
        ]


async def test_what_is_not_the_same_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async with opened("sqlite", tmp_path, request) as source, opened("sqlite", tmp_path, request) as target:
        await fill(source)
        await target.record_sent(sent("m000", subject="of another store"))
        with pytest.raises(copying.Different, match="messages of the store to copy to has rows"):
            await copying.copy(source, target, quiet)
        await target.remove_message("m000")
        await copying.copy(source, target, quiet)
        await target.set_endpoint_status("e1", "failed", T0)
        with pytest.raises(copying.Different, match="endpoints is not the same in both"):
            await copying.copy(source, target, quiet)


def test_each_table_is_copied_or_made() -> None:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.migrate(db)
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in TABLES:
            columns = {row[1] for row in db.execute(f"PRAGMA table_info({table.name})")}
            assert columns == set(table.columns), table.name
    made = {"migrations", "probe", "standings", "counting", "sqlite_sequence"}
    of_the_moment = {"nodes", "leases"}
    assert names - {table.name for table in TABLES} == made | of_the_moment
