"""What only PostgreSQL's store promises: one transaction for many, a commit of unknown outcome, servers that go and come
back, nodes that start or write at once, who hears of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from relay.core import floods
from relay.core.model import Event
from relay.store import Migrating, Newer, PurgeMark, Unavailable, UpstreamReply, locator, tables
from relay.store.postgres import Postgres, looking, migrations, schema, turns
from relay.store.postgres.connections import Connector
from relay.store.postgres.writer import Times
from tests.fakes import certificates, cut
from tests.peers import pgbouncer
from tests.peers import postgres as servers
from tests.store.contract import click, endpoint, event, sent
from tests.store.test_drafts import schedule
from tests.until import until

UNLIMITED = floods.Limits(0, 0)
IMPATIENT = Times(patience=60.0, impatience=0.2)  # once something is known to be wrong
HASTY = Times(patience=0.4, impatience=0.2)
PATIENT = Times(patience=60.0, impatience=60.0)


@pytest.fixture
async def url(postgres: servers.Server) -> AsyncIterator[str]:
    async with postgres.database() as made:
        yield made


def make(url: str, times: Times = PATIENT) -> Postgres:
    return Postgres(locator.read(url), limits=UNLIMITED, times=times)


@contextlib.asynccontextmanager
async def running(url: str, times: Times = PATIENT) -> AsyncIterator[Postgres]:
    async with starting(url, times) as opened:
        await opened.start()
        yield opened


@contextlib.asynccontextmanager
async def starting(url: str, times: Times) -> AsyncIterator[Postgres]:
    opened = make(url, times)
    try:
        yield opened
    finally:
        await opened.stop()


async def test_a_start_waits_while_the_tables_are_brought_up_to_date(postgres: servers.Server) -> None:
    """However long it takes: here another node does it."""
    async with postgres.database():
        postgres.psql("CREATE DATABASE migrating")
    other = await asyncpg.connect(postgres.url("migrating"))
    async with starting(postgres.url("migrating"), HASTY) as opened:
        async with other.transaction():
            await other.execute(schema.LOCK.format(which=1))
            while True:
                with pytest.raises(Unavailable) as refused:  # another one: no server has answered yet
                    await opened.check()
                if isinstance(refused.value, Migrating):
                    break
            start = asyncio.create_task(opened.start())
            for _ in range(2):
                with pytest.raises(Migrating):
                    await opened.check()
            assert not start.done()
        await start
        assert await ask(postgres.url("migrating"), "SELECT count(*) FROM migrations") == schema.LATEST
    await other.close()


async def checked(store: Postgres) -> bool:
    with contextlib.suppress(Unavailable):
        await store.check()
        return True
    return False


@pytest.fixture
async def store(url: str) -> AsyncIterator[Postgres]:
    async with running(url) as opened:
        yield opened


@contextlib.asynccontextmanager
async def another(url: str) -> AsyncIterator[Any]:
    """A connection of somebody else."""
    db = await asyncpg.connect(url)
    try:
        yield db
    finally:
        await db.close()


async def ask(url: str, sql: str) -> Any:
    async with another(url) as db:
        return await db.fetchval(sql)


async def cut_off(url: str) -> None:
    """All connections to the database but this one."""
    await ask(
        url,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid != pg_backend_pid()",
    )


# -- the schema --------------------------------------------------------------------------------------------------------


async def test_nodes_that_start_at_once_make_one_schema(postgres: servers.Server) -> None:
    postgres.psql("CREATE DATABASE starting")
    opened = [make(postgres.url("starting")) for _ in range(6)]
    await asyncio.gather(*(it.start() for it in opened))
    await asyncio.gather(*(it.stop() for it in opened))
    assert await ask(postgres.url("starting"), "SELECT count(*) FROM migrations") == schema.LATEST


async def test_a_newer_schema_is_refused_at_once(url: str) -> None:
    await ask(url, "INSERT INTO migrations (number, applied_at) VALUES (9999, 0)")
    opened = make(url)
    with pytest.raises(Newer, match="9999"):
        await opened.start()
    with pytest.raises(Newer):
        await looking.examine(locator.read(url), "")
    await opened.stop()
    await ask(url, "DELETE FROM migrations WHERE number = 9999")


async def test_a_step_that_fails_leaves_nothing(postgres: servers.Server) -> None:
    postgres.psql("CREATE DATABASE failing")
    async with another(postgres.url("failing")) as db:
        with pytest.raises(asyncpg.UndefinedTableError):
            await schema.migrate(db, (*migrations.STEPS, ("CREATE TABLE more (id int)", "DROP TABLE nowhere")))
        assert await schema.version(db) == 0
        await schema.migrate(db)
        assert await schema.version(db) == schema.LATEST
    assert "will be made" not in await looking.examine(locator.read(postgres.url("failing")), "")


async def test_each_column_is_there(url: str) -> None:
    async with another(url) as db:
        there = await schema.types(db)
    for table in tables.ALL:
        assert {f"{table.name}.{column}" for column in table.columns} == {
            name for name in there if name.startswith(f"{table.name}.")
        }


async def test_no_database_and_no_server_are_said(postgres: servers.Server) -> None:
    for wrong, words in ((postgres.url("nowhere"), "nowhere"), ("postgresql://u@127.0.0.1:1/db", "127.0.0.1:1/db: ")):
        opened = make(wrong, IMPATIENT)
        with pytest.raises(Unavailable, match=words):
            await opened.start()
        with pytest.raises(Unavailable, match=words):
            await opened.events()
        with pytest.raises(Unavailable, match=words):
            await looking.examine(locator.read(wrong), "")
        await opened.stop()


async def test_a_database_that_can_not_hold_all_text_is_refused(postgres: servers.Server) -> None:
    postgres.psql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    opened = make(postgres.url("latin"), IMPATIENT)
    with pytest.raises(Unavailable, match="encoding is LATIN1"):
        await opened.start()
    with pytest.raises(Unavailable, match="encoding is LATIN1"):
        await looking.examine(locator.read(postgres.url("latin")), "")
    await opened.stop()


ASTRAY = (
    ("ALTER TABLE {table} OWNER TO postgres", "ALTER TABLE {table} OWNER TO relay_app", "permission denied for table {table}"),
    ("ALTER TABLE {table} RENAME TO gone", "ALTER TABLE gone RENAME TO {table}", '"{table}" does not exist'),
)  # fmt: skip


@pytest.mark.parametrize(("takes", "gives", "words"), ASTRAY, ids=["no right", "not there"])
async def test_what_can_not_be_written_for_the_tables_sake_is_still_to_be_written(
    postgres: servers.Server, caplog: pytest.LogCaptureFixture, takes: str, gives: str, words: str
) -> None:
    """Who brought it hears `Unavailable`, and so keeps it. All else goes on, and the log says it once."""
    name = f"astray_{ASTRAY.index((takes, gives, words))}"
    postgres.psql("DO $$ BEGIN CREATE ROLE relay_app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    postgres.psql(f"CREATE DATABASE {name} OWNER relay_app")
    async with running(postgres.url(name).replace("postgres@", "relay_app@")) as store:
        await store.record_sent(sent())
        hit = click()
        await store.append(click(1))
        caplog.clear()
        for table, works in (
            ("events", lambda: store.append(hit)),
            ("messages", lambda: store.record_sent(sent("m2"))),
            ("api_keys", store.api_keys),
        ):
            postgres.psql(takes.format(table=table), name)
            for _ in range(2):
                with pytest.raises(Unavailable, match=words.format(table=table)):
                    await works()
            await store.sync_endpoints([endpoint()])
            postgres.psql(gives.format(table=table), name)
            await works()
        assert [e.link_index for e in await store.events()] == [1, 0]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"].count("tables_astray") == 1


# -- group commit ------------------------------------------------------------------------------------------------------


async def batches(url: str) -> int:
    return int(await ask(url, "SELECT coalesce(sum(batch), 0)::bigint FROM writers"))


async def test_what_has_queued_is_one_transaction_of_each_kind(store: Postgres, url: str) -> None:
    """Messages, hits, replies of the upstream, and all others together."""
    before = await batches(url)
    await asyncio.gather(
        *(store.record_sent(sent(f"m{n}")) for n in range(50)),
        *(store.append(click(n % 3, f"m{n}")) for n in range(50)),
        store.record_replies([UpstreamReply("m1", ("c@example.org",), "done", "250 ok")]),
        store.sync_endpoints([endpoint()]),
        store.sync_endpoints([endpoint(), endpoint("e2")]),
    )
    assert await batches(url) == before + 4
    assert len(await store.events(limit=1000)) == 50


async def test_few_round_trips(store: Postgres, url: str) -> None:
    """As the driver makes them: the lock with what is asked, the commit with what is written."""
    await store.record_sent(sent())
    await store.sync_endpoints([endpoint("e1", "message.link_clicked")])
    for _ in range(2):  # the month's table is there, and known to be
        await store.append(click())
    calls: list[str] = []
    session = store.writer._session
    assert session is not None

    def heard(query: Any) -> None:
        calls.append(query.query)

    with session._db.query_logger(heard):
        await asyncio.gather(*(store.append(click(n % 3)) for n in range(100)))
        assert len(calls) == 2, calls
        await asyncio.gather(*(store.record_sent(sent(f"n{n}")) for n in range(100)))
        assert len(calls) == 4, calls


async def test_text_that_the_database_refuses_is_kept_all_the_same(store: Postgres) -> None:
    await asyncio.gather(
        store.append(event(user_agent="good")),
        store.append(event(user_agent="a\0b \udcff", recipient_index=1, data={"a": ["\0"]})),
        store.record_sent(sent("m7", subject="Gr\0ße", metadata={"key1": "x\0", "n": "\ud800"})),
    )
    stored = {e.recipient_index: e for e in await store.events()}
    assert stored[0].user_agent == "good"
    assert (stored[1].user_agent, stored[1].data) == ("a\N{REPLACEMENT CHARACTER}b ?", {"a": ["\0"]})
    message = await store.sent("m7")
    assert message is not None
    assert (message.subject, message.metadata) == ("Gr\N{REPLACEMENT CHARACTER}ße", {"key1": "x\0", "n": "?"})
    assert await store.find_sent(["\0@x"], "", ["\0", "\ud800"]) is None


async def test_one_bad_operation_harms_no_other(store: Postgres) -> None:
    def bad() -> Any:
        yield "SELECT 1 / 0", ()

    results = await asyncio.gather(
        *(store.append(e) for e in (click(0), event(recipient_index=2**40), click(1))),
        store.writer.submit(bad),
        store.append(click(2)),
        return_exceptions=True,
    )
    assert [type(r).__name__ for r in results if isinstance(r, BaseException)] == ["DataError", "DivisionByZeroError"]
    assert [(e.sequence, e.link_index) for e in await store.events()] == [(1, 0), (2, 1), (3, 2)]


async def test_what_has_queued_is_written_by_a_stop(url: str) -> None:
    store = make(url)
    await store.start()
    tasks = [asyncio.ensure_future(store.append(click(n))) for n in range(100)]
    await asyncio.sleep(0)
    await store.stop()
    assert all(await asyncio.gather(*tasks))
    assert await ask(url, "SELECT count(*) FROM events") == 100
    with pytest.raises(Unavailable, match="stopped"):
        await store.append(click())


async def test_stores_of_several_processes_claim_each_delivery_once(store: Postgres, url: str) -> None:
    async with running(url) as other:
        await store.sync_endpoints([endpoint()])
        await asyncio.gather(*(it.append(click(n)) for n in range(50) for it in (store, other)))
        claims = await asyncio.gather(*(it.claim_due(1e11, limit=20) for _ in range(10) for it in (store, other)))
        ids = [d.delivery_id for claim in claims for d in claim]
        assert len(ids) == len(set(ids)) == 100


async def test_what_is_due_is_due_by_the_servers_clock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the machines is an hour ahead: it claims nothing that another is at."""
    right = time.time
    async with running(url) as store:
        monkeypatch.setattr(time, "time", lambda: right() + 3600)
        async with running(url) as ahead:
            assert abs(ahead.now() - store.now()) < 60
            assert abs(ahead.now() - right()) < 60
            await store.sync_endpoints([endpoint()])
            await ahead.append(click())
            (claimed,) = await store.claim_due(store.now())
            assert await ahead.claim_due(ahead.now()) == []
            assert claimed.attempt == 1
        monkeypatch.undo()


async def months(url: str) -> dict[str, int]:
    async with another(url) as db:
        found = await db.fetch("SELECT tableoid::regclass::text AS month, count(*) FROM events GROUP BY 1 ORDER BY 1")
    return {str(row[0]): int(row[1]) for row in found}


async def test_each_month_has_a_table_of_its_own(store: Postgres, url: str) -> None:
    november, december = 1_700_000_000.0, 1_701_388_800.0  # the second is the first moment of its month
    times = (november, december - 0.001, december, december + 1, 0.0, -1e300, 4_102_444_800.0, 1e300)
    hits = [click(at=at) for at in times]
    done = await asyncio.gather(*map(store.append, hits))
    assert await months(url) == {"events_2023_11": 2, "events_2023_12": 2, "events_after": 2, "events_before": 2}
    assert await store.events() == list(done)
    assert [await store.append(hit) for hit in hits] == [None] * len(hits)
    reply = event("thread.replied", at=november)
    assert await store.append(reply) is not None
    assert await store.append(reply.with_(at=december)) is None  # seen again, a month later


async def test_a_dump_holds_up_no_new_month(store: Postgres, url: str) -> None:
    await store.append(click(at=1_700_000_000.0))
    async with another(url) as dump, dump.transaction():
        await dump.execute("LOCK TABLE events IN ACCESS SHARE MODE")
        assert await store.append(click(at=1_710_000_000.0)) is not None
    assert await months(url) == {"events_2023_11": 1, "events_2024_03": 1}


async def test_a_month_that_was_dropped_is_made_again(store: Postgres, url: str) -> None:
    for _ in range(3):
        await store.append(click())
    await ask(url, "DROP TABLE events_2023_11")
    assert await store.events() == []
    assert await store.append(click()) is not None
    assert [e.position for e in await store.events()] == [4]


# -- a commit whose outcome is not known -------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["hits", "messages", "programs"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_connection_that_is_lost_around_the_commit(
    postgres: servers.Server, url: str, when: cut.When, first: str
) -> None:
    """The server never had the commit, or its answer was lost: either way all is there, once, and each caller hears so."""
    async with cut.way(postgres.port) as way, running(through(url, way)) as store:
        await store.record_sent(sent())
        await store.sync_endpoints([endpoint("e1", "message.link_clicked")])
        assert await store.append(click(0, "m0"))  # the month's table is there
        hits = [click(n % 3) for n in range(20)]
        works: dict[str, Callable[[], Awaitable[Any]]] = {
            "hits": lambda: asyncio.gather(*(store.append(hit) for hit in hits)),
            "messages": lambda: asyncio.gather(*(store.record_sent(sent(f"m{n}")) for n in range(2, 5))),
            "programs": lambda: store.add_endpoint(endpoint("e9")),
        }
        way.at, way.when = store.writer.id.encode(), when
        doing = {name: asyncio.ensure_future(works[name]()) for name in sorted(works, key=lambda name: name != first)}
        await asyncio.gather(*doing.values())
        assert way.cuts == 1
        done = doing["hits"].result()
        assert [e.sequence for e in done if isinstance(e, Event)] == list(range(1, 21))
        assert await store.events(1, limit=100) == done
        assert len(await store.recent_sent()) == 4
        assert len(await store.notifications(message_id="m1", limit=100)) == 20
        assert [e.endpoint_id for e in await store.endpoints()] == ["e1", "e9"]


def through(url: str, way: cut.Way) -> str:
    return f"postgresql://postgres@127.0.0.1:{way.port}/{url.rpartition('/')[2]}"


@pytest.mark.parametrize(("when", "stored"), [("before", 0), ("after", 1)])
async def test_who_gave_up_in_doubt_is_written_once_or_not_at_all(
    postgres: servers.Server, url: str, when: cut.When, stored: int
) -> None:
    async with cut.way(postgres.port) as way, running(through(url, way)) as store:
        way.at, way.when = store.writer.id.encode(), when
        hit = click()
        waiting = asyncio.ensure_future(store.append(hit))
        await until(lambda: way.cuts)
        way.shut = True  # nobody finds out for now
        waiting.cancel()
        await asyncio.wait({waiting})
        way.shut = False
        await store.check()
        assert len(await store.events()) == stored
        assert (await store.append(hit) is None) == bool(stored)  # as the journal does
        assert len(await store.events()) == 1


async def test_a_doubt_that_nobody_can_clear_is_said_at_a_stop(postgres: servers.Server, url: str) -> None:
    async with cut.way(postgres.port) as way:
        store = make(through(url, way), HASTY)
        await until(lambda: checked(store))
        way.at, way.when = store.writer.id.encode(), "after"
        waiting = asyncio.ensure_future(store.append(click()))
        await until(lambda: way.cuts)
        way.shut = True
        await store.stop()
        with pytest.raises(Unavailable, match="may have been written"):
            await waiting


# -- servers that go and come back -------------------------------------------------------------------------------------


async def test_connections_that_are_cut_off_are_made_again(store: Postgres, url: str) -> None:
    await store.append(click())
    await store.events()
    await cut_off(url)
    assert len(await store.events()) == 1
    assert await store.append(click(1)) is not None
    assert len(await store.events()) == 2


async def test_a_server_that_takes_no_writes_is_away(url: str) -> None:
    async with running(url, IMPATIENT) as store:
        name = url.rpartition("/")[2]
        await ask(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await cut_off(url)
        with pytest.raises(Unavailable, match="takes no writes"):
            await store.append(click())
        with pytest.raises(Unavailable, match="takes no writes"):
            await looking.examine(locator.read(f"{url}?target_session_attrs=any"), "")
        await ask(f"{url.rpartition('/')[0]}/postgres", f"ALTER DATABASE {name} RESET ALL")
        await until(lambda: written(store))
        assert len(await store.events()) == 1  # and the one refused was not done


async def test_a_server_that_takes_no_writes_any_more_leaves_no_doubt(url: str) -> None:
    """It says so of the statement that would commit: nothing was done, and the connection lives on."""
    async with running(url) as store:
        assert await store.append(click())
    async with running(url, IMPATIENT) as store:
        name = url.rpartition("/")[2]
        session = store.writer._session
        assert session is not None
        await session.execute("SET default_transaction_read_only = on")
        await ask(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(Unavailable, match=r"read-(only|write)"):
            await store.append(click(1))
        await ask(f"{url.rpartition('/')[0]}/postgres", f"ALTER DATABASE {name} RESET ALL")
        await until(lambda: written(store))
        assert [e.link_index for e in await store.events()] == [0, 5]


async def written(store: Postgres) -> bool:
    try:
        return await store.append(click(5)) is not None
    except Unavailable:
        return False


async def test_a_table_that_somebody_locks_is_said_and_is_asked_for_once(store: Postgres, url: str) -> None:
    await store.append(click())
    await asyncio.gather(
        *(store.events() for _ in range(4))
    )  # four connections that could all wait, one after the other
    async with another(url) as other, other.transaction():
        await other.execute("LOCK TABLE events")
        with pytest.raises(Unavailable, match="lock timeout"):
            await store.events()
        readers = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        assert not await other.fetchval(readers)
    assert len(await store.events()) == 1


async def test_connections_that_are_made_at_once_try_each_server(url: str) -> None:
    """Here the first one fails while another connection finds the second."""
    held, met = asyncio.Event(), 0

    async def fails(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        if met == 1:
            await held.wait()
        writer.close()

    first = await asyncio.start_server(fails, "127.0.0.1", 0)
    port = first.sockets[0].getsockname()[1]
    connector = Connector(locator.read(url.replace("@127.0.0.1", f"@127.0.0.1:{port},127.0.0.1")))
    one = asyncio.create_task(connector.raw())
    await until(lambda: met)
    other = await connector.raw()
    held.set()
    for made in (await one, other):
        await made.close()
    first.close()
    await first.wait_closed()


async def test_a_server_that_knows_nothing_of_us_keeps_nobody_from_the_next(postgres: servers.Server, url: str) -> None:
    """It was the primary, and is being made anew; a node begins with it, since it stands first."""
    database = url.rpartition("/")[2]
    with servers.running() as anew:
        both = f"postgresql://postgres@127.0.0.1:{anew.port},127.0.0.1:{postgres.port}/{database}"
        async with running(both) as store:
            assert await store.append(click())
            assert len(await store.events()) == 1
    away = f"postgresql://postgres@127.0.0.1:{anew.port},127.0.0.1:{postgres.port}/nowhere"
    with pytest.raises(
        Unavailable,
        match=rf"nowhere: 127.0.0.1:{anew.port}: connection refused.*; 127.0.0.1:{postgres.port}: .*nowhere",
    ):
        await looking.examine(locator.read(away), "")


@pytest.mark.parametrize("how", ["transaction", "question"])
async def test_a_process_that_hangs_with_the_lock(url: str, how: str) -> None:
    async with starting(url, HASTY) as store, another(url) as other:
        await until(lambda: checked(store))
        await other.execute(turns.SETTINGS)
        if how == "transaction":
            await other.execute(turns.BEGIN)
        else:
            assert await other.fetch(turns.locked("SELECT 1", 0), True)
            assert await other.fetchval("SHOW idle_session_timeout") == "10s"
        assert await other.fetchval("SHOW idle_in_transaction_session_timeout") == "10s"
        assert await other.fetchval("SHOW statement_timeout") == "10s"
        with pytest.raises(Unavailable, match="lock"):
            await store.append(click())
        waiting = asyncio.ensure_future(store.append(click(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await store.events() == []  # reading goes on
        await other.execute("ROLLBACK" if how == "transaction" else f"SELECT {turns.FREE}")
        assert await other.fetchval("SHOW idle_session_timeout") == "0"
        assert await until(lambda: written(store))
        assert [e.link_index for e in await store.events()] == [5]  # neither refused nor given up ones are done later


WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"


async def test_what_was_taken_back_while_the_lock_was_waited_for_is_not_done(store: Postgres, url: str) -> None:
    async with another(url) as other, another(url) as looking_on:

        async def waits() -> bool:
            return bool(await looking_on.fetchval(WAITS))

        await other.execute(turns.BEGIN)
        given_up, wanted = asyncio.ensure_future(store.append(click(1))), asyncio.ensure_future(store.append(click(2)))
        await until(waits)
        given_up.cancel()
        await other.execute("ROLLBACK")
        assert await wanted
        assert [e.link_index for e in await store.events()] == [2]


async def test_what_came_while_the_lock_was_waited_for_goes_with_it(store: Postgres, url: str) -> None:
    async with another(url) as other, another(url) as looking_on:

        async def waits() -> bool:
            return bool(await looking_on.fetchval(WAITS))

        before = await batches(url)
        await other.execute(turns.BEGIN)
        first = asyncio.ensure_future(store.record_sent(sent()))
        await until(waits)
        others = [asyncio.ensure_future(store.record_sent(sent(f"m{n}"))) for n in range(2, 12)]
        await asyncio.sleep(0)
        await other.execute("ROLLBACK")
        await asyncio.gather(first, *others)
        assert await batches(url) == before + 1
        assert len(await store.recent_sent()) == 11


async def test_a_standby_that_was_promoted_is_found() -> None:
    """What was acknowledged is on both, since the primary waits for its standby."""
    with servers.running({"synchronous_standby_names": "*", "synchronous_commit": "local"}) as primary:
        standby = servers.Server(of=primary)
        try:
            standby.start()
            primary.psql("CREATE DATABASE relay")
            primary.psql("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
            primary.psql("SELECT pg_reload_conf()")
            async with running(primary.url("relay", standby)) as store:
                await store.record_sent(sent())
                first = await store.append(click())
                assert len(await store.events()) == 1
                primary.kill()
                waiting = [asyncio.ensure_future(store.append(click(n))) for n in range(5)]
                standby.psql("ALTER SYSTEM SET synchronous_standby_names = ''")
                standby.psql("SELECT pg_promote()")
                done = await asyncio.gather(*waiting)
                assert await store.events() == [first, *done]
                assert [e.sequence for e in await store.events()] == [1, 2, 3, 4, 5, 6]
        finally:
            standby.remove()


async def test_a_server_that_is_killed_and_started_again_has_all_that_was_acknowledged() -> None:
    with servers.running() as server:
        server.psql("CREATE DATABASE relay")
        async with running(server.url("relay")) as store:
            acknowledged: list[str] = []

            async def work(number: int) -> None:
                for n in range(40):
                    done = await store.append(click(n % 3, f"m{number}"))
                    assert isinstance(done, Event)
                    acknowledged.append(done.event_id)

            working = [asyncio.ensure_future(work(n)) for n in range(8)]
            for at in (40, 160):
                await until(lambda: len(acknowledged) >= at)  # noqa: B023
                server.kill()
                await asyncio.to_thread(server.start)
            await asyncio.gather(*working)
            stored = [e.event_id for e in await store.events(limit=1000)]
            assert sorted(stored) == sorted(acknowledged)
            assert [e.position for e in await store.events(limit=1000)] == list(range(1, 321))


async def test_a_backup_is_for_the_databases_own_tools(store: Postgres, tmp_path: Path) -> None:
    assert await store.backup(tmp_path / "copy.db") is False
    assert not list(tmp_path.iterdir())


# -- who hears of it ---------------------------------------------------------------------------------------------------


async def test_others_hear_at_once_what_was_appended(store: Postgres, url: str) -> None:
    heard = asyncio.Event()
    store.watch(heard.set)
    await asyncio.wait_for(heard.wait(), 20)  # it listens from now on
    heard.clear()
    async with running(url) as other:
        await other.append(click())
        await asyncio.wait_for(heard.wait(), 20)
        assert len(await store.events()) == 1


# -- TLS, passwords, poolers -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[servers.Server, Path]]:
    """A server that wants TLS and a password, and the certificate that it is to be known by."""
    pair = certificates.make(tmp_path_factory.mktemp("tls"))
    server = servers.Server()
    try:
        files = {"ssl_cert_file": server.owned(pair.certificate), "ssl_key_file": server.owned(pair.key)}
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("ssl = on\n" + "".join(f"{name} = '{path}'\n" for name, path in files.items()))
        (server.data / "pg_hba.conf").write_text("local all all trust\nhostssl all relay 127.0.0.1/32 scram-sha-256\n")
        server.start()
        server.psql("CREATE ROLE relay LOGIN PASSWORD 'pässword'")
        server.psql("CREATE DATABASE relay OWNER relay")
        yield server, pair.certificate
    finally:
        server.remove()


async def test_tls_is_verified_and_a_password_is_needed(guarded: tuple[servers.Server, Path], tmp_path: Path) -> None:
    server, certificate = guarded
    url = f"postgresql://relay@127.0.0.1:{server.port}/relay?sslmode=verify-full"
    trusting = f"{url}&sslrootcert={certificate}"
    other = certificates.make(tmp_path / "other").certificate
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:relay:relay:pässword\n")
    passfile.chmod(0o600)
    for wrong, password, words in (
        (url, "pässword", "certificate"),
        (f"{url}&sslrootcert={other}", "pässword", "certificate"),
        (f"{url}&sslrootcert={tmp_path}/none.pem", "pässword", "there is no such file"),
        (trusting, "wrong", "password authentication failed"),
        (url.replace("verify-full", "disable"), "pässword", "no encryption"),
    ):
        store = Postgres(locator.read(wrong), password, times=PATIENT)  # said at once all the same
        with pytest.raises(Unavailable, match=words):
            await store.start()
        with pytest.raises(Unavailable, match=words):
            await store.events()
        await store.stop()
    for right, password in ((trusting, "pässword"), (f"{trusting}&passfile={passfile}", "")):
        store = Postgres(locator.read(right), password, times=PATIENT)
        await store.start()
        await store.record_sent(sent())
        assert await store.sent("m1") is not None
        assert "with TLS) has schema" in await looking.examine(locator.read(right), password)
        await store.stop()


async def test_a_password_that_is_changed_is_read_again_from_a_passfile(
    guarded: tuple[servers.Server, Path], tmp_path: Path
) -> None:
    server, certificate = guarded
    passfile = tmp_path / "pgpass"
    passfile.write_text("*:*:*:rotating:first\n")
    passfile.chmod(0o600)
    server.psql("CREATE ROLE rotating LOGIN PASSWORD 'first'")
    server.psql("CREATE DATABASE rotating OWNER rotating")
    with (server.data / "pg_hba.conf").open("a") as file:
        file.write("hostssl all rotating 127.0.0.1/32 scram-sha-256\n")
    server.psql("SELECT pg_reload_conf()")
    url = f"postgresql://rotating@127.0.0.1:{server.port}/rotating?sslmode=verify-full&sslrootcert={certificate}"
    async with starting(f"{url}&passfile={passfile}", PATIENT) as store:
        assert await until(lambda: checked(store))
        server.psql("ALTER ROLE rotating PASSWORD 'second'")
        server.psql("SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE usename = 'rotating'")
        with pytest.raises(Unavailable, match="password authentication failed"):
            await store.check()
        passfile.write_text("*:*:*:rotating:second\n")
        await store.check()


async def test_a_role_without_rights_is_told(guarded: tuple[servers.Server, Path]) -> None:
    server, certificate = guarded
    server.psql("CREATE DATABASE closed")
    where = locator.read(
        f"postgresql://relay@127.0.0.1:{server.port}/closed?sslrootcert={certificate}&sslmode=verify-ca"
    )
    with pytest.raises(Unavailable, match="no right to make tables"):
        await looking.examine(where, "pässword")
    store = Postgres(where, "pässword", times=PATIENT)
    with pytest.raises(Unavailable, match="permission denied"):
        await store.start()
    await store.stop()


async def test_a_pooler_may_give_each_transaction_another_connection(postgres: servers.Server, url: str) -> None:
    with pgbouncer.running(postgres) as port:
        pooled = f"postgresql://postgres@127.0.0.1:{port}/{url.rpartition('/')[2]}?pooler=transaction"
        async with running(pooled) as store, running(pooled) as other:
            store.watch(lambda: None)
            await store.sync_endpoints([endpoint()])
            await asyncio.gather(*(it.record_sent(sent(f"m{n}")) for n in range(20) for it in (store, other)))
            hits = [it.append(click(n % 3, f"m{n % 20}")) for n in range(60) for it in (store, other)]
            reads = [it.sent(f"m{n}") for n in range(20) for it in (store, other)]
            done, found = await asyncio.gather(asyncio.gather(*hits), asyncio.gather(*reads))
            assert all(done)
            assert all(found)
            assert [e.position for e in await other.events(limit=1000)] == list(range(1, 121))
            claimed = await asyncio.gather(*(it.claim_due(1e11, limit=50) for it in (store, other) * 2))
            assert len({d.delivery_id for some in claimed for d in some}) == 120
            with pytest.raises(ValueError, match="exists"):
                await store.add_endpoint(endpoint())
            assert await store.add_schedule(schedule(), [b"octets"])
            assert "PostgreSQL" in await looking.examine(locator.read(pooled), "")


@pytest.mark.parametrize(
    ("url", "hosts", "tls"),
    [
        ("postgresql://u@db/r", (("db", 5432),), "verify-full"),
        ("postgres://u@a:1,b/r?sslmode=require", (("a", 1), ("b", 5432)), "require"),
        ("postgresql://u@127.0.0.1,[::1]:7/r", (("127.0.0.1", 5432), ("::1", 7)), "disable"),
        ("postgresql://u@[2001:db8::1]:7/r", (("2001:db8::1", 7),), "verify-full"),
        ("postgresql://u@/r?host=/run/postgresql", (("/run/postgresql", 5432),), "disable"),
        ("postgresql://u@%2Frun%2Fpostgresql/r", (("/run/postgresql", 5432),), "disable"),
        ("postgresql://u@/r?host=a,b&port=1,2", (("a", 1), ("b", 2)), "verify-full"),
        ("postgresql://u@127.0.0.1,db/r", (("127.0.0.1", 5432), ("db", 5432)), "verify-full"),
    ],
)
def test_a_url_says_where(url: str, hosts: tuple[tuple[str, int], ...], tls: str) -> None:
    found = locator.read(url)
    assert (found.hosts, found.tls, found.user, found.database) == (hosts, tls, "u", "r")


@pytest.mark.parametrize(
    "url",
    ["postgresql:db", "postgresql://db/r", "postgresql://u@/r", "postgresql://u@db", "postgresql://u:p@db/r",
     "postgresql://u@db:x/r", "postgresql://u@db:70000/r", "postgresql://u@db/r?sslmode=prefer", "postgresql://u@db/r?a=b",
     "postgresql://u@db/r?password=x", "postgresql://u@db/r?connect_timeout=0", "postgresql://u@db/r#x",
     "postgresql://u@[::1/r"],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError) as wrong:
        locator.read(url)
    assert "p@db" not in str(wrong.value)


async def purged(store: Postgres, before: float) -> dict[str, int]:
    rows: dict[str, int] = {}
    mark: PurgeMark | None = PurgeMark()
    while mark is not None:
        done = await store.purge(mark, before, 100)
        mark = done.next
        rows |= {table: rows.get(table, 0) + number for table, number in done.rows.items() if number}
    return rows


async def test_whole_months_are_dropped(store: Postgres, url: str) -> None:
    october, november, december = 1_698_000_000.0, 1_700_000_000.0, 1_702_000_000.0
    await store.sync_endpoints([endpoint()])
    for number, at in enumerate((october, november, december)):
        await store.record_sent(sent(f"m{number}", submitted_at=at))
        await store.append(click(message_id=f"m{number}", at=at))
        await store.append(click(message_id=f"m{number}", at=at + 10))
    await store.append(click(message_id="m1", at=0.0))
    rows = await purged(store, november + 5)
    assert (rows["events"], rows["deliveries"], rows["messages"]) == (4, 4, 2)
    assert await months(url) == {"events_2023_11": 1, "events_2023_12": 2}
    for table, there in (("events_2023_10", False), ("events_before", False), ("events_2023_11", True)):
        assert bool(await ask(url, f"SELECT to_regclass('{table}') IS NOT NULL")) is there
    assert [row.pending for row in await store.backlog()] == [3]
    assert await purged(store, november + 5) == {}
    # The months' tables come again, for whoever knew the old ones too.
    assert await store.append(click(message_id="m9", at=october)) is not None
    assert await months(url) == {"events_2023_10": 1, "events_2023_11": 1, "events_2023_12": 2}


async def test_a_month_that_was_detached_only_is_dropped_the_next_time(store: Postgres, url: str) -> None:
    october = 1_698_000_000.0
    await store.append(click(at=october))
    async with another(url) as db:
        await db.execute("ALTER TABLE events DETACH PARTITION events_2023_10")
    assert await purged(store, october + 86_400 * 40) == {"events": 1}
    async with another(url) as db:
        assert await db.fetchval("SELECT to_regclass('events_2023_10')") is None


async def test_a_table_that_somebody_else_needs_stays_until_it_can_go(store: Postgres, url: str) -> None:
    october = 1_698_000_000.0
    await store.append(click(at=october))
    await ask(url, "CREATE VIEW theirs AS SELECT * FROM events_2023_10")
    assert await purged(store, october + 86_400 * 40) == {}
    assert await store.events() == []  # it is no part of the events any more
    await ask(url, "DROP VIEW theirs")
    assert await purged(store, october + 86_400 * 40) == {"events": 1}
