"""The tables of the SQLite store: what a file of an earlier program becomes, and that it has the columns declared."""

import asyncio
import gzip
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay import store as stores
from relay.core.model import SentCopy
from relay.store import ApiKey, Cursor, Newer, Unavailable, tables
from relay.store.lists import Messages, Threads
from relay.store.sql import messages
from relay.store.sqlite import Sqlite, migrations, programs, schema
from tests.store.contract import SOON, T0, click, sent

if TYPE_CHECKING:
    from sqlite_utils import Database

ROOT = Path(__file__).parents[2]
# Made by the program that had schema 1 first, when it stopped: messages, events, an outbox, a cursor, a key.
ADDED = ("message_id", "login", "queue_id", "daemon", "sender_domain")  # since, and what is given anew
OTHERS = [f'"{column}"' for column in tables.MESSAGES.columns if column not in ADDED]
FIRST = Path(__file__).with_name("schema-1.db.gz")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.db"


@pytest.fixture
def old(path: Path) -> Path:
    path.write_bytes(gzip.decompress(FIRST.read_bytes()))
    return path


@pytest.fixture
def empty(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def shape(db: sqlite3.Connection) -> dict[str, object]:
    """Everything of a schema that has a meaning: not how it is spelled."""
    found: dict[str, object] = {}
    for name, kind, columns, without_rowid in db.execute(
        "SELECT name, type, ncol, wr FROM pragma_table_list WHERE schema = 'main' ORDER BY name"
    ).fetchall():
        sql = str(db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (name,)).fetchone() or "")
        indexes = {
            index: (
                unique,
                db.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index,)).fetchall(),
                partial and db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).fetchone()[0],
            )
            for _, index, unique, _, partial in db.execute("SELECT * FROM pragma_index_list(?)", (name,)).fetchall()
        }
        about = db.execute('SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info(?)', (name,)).fetchall()
        found[name] = (kind, columns, without_rowid, about, indexes, "AUTOINCREMENT" in sql, "CHECK (id = 1)" in sql)
    return found


async def test_a_file_of_the_first_program_is_read_whole(old: Path) -> None:
    store = Sqlite(old)
    await store.start()
    assert await store.sent("m1") == sent(
        "m1",
        thread_id="m1",
        reason="limit_links",
        copies=(
            SentCopy("bob@example.org", 0, True, thread_replies=True),
            SentCopy("c@example.org", 1, True, None, "done", "250 2.0.0 ok", "made-up@upstream.example", True),
        ),
    )
    (by_id,) = [await store.find_sent(["made-up@upstream.example"])]
    assert by_id is not None
    assert by_id.message_id == "m1"
    events = await store.events()
    assert [(e.position, e.sequence, e.counted, e.ordinal) for e in events] == [
        *((n, n, True, n - 1) for n in range(1, 7)),
        (7, 7, True, 0),
        (8, 8, False, -1),
    ]
    assert events[6].data == {"x": ["ü", 1]}
    history = await store.history(events[4].event_id)
    assert history is not None
    assert history.link_counts == (2, 2, 1)
    assert await store.cursor("sales imaps://x") == Cursor("sales imaps://x", 7, 11, ("a", "b"))
    assert await store.api_keys() == [ApiKey("one", "d1", ("messages:read", "events:read"), "sales", T0)]
    assert [(e.endpoint_id, e.status, e.verdicts) for e in await store.endpoints()] == [
        ("e1", "active", ()), ("e2", "gone", ("human",)),
    ]  # fmt: skip
    assert [(n.delivery_id, n.state, n.attempt) for n in await store.notifications(limit=7)] == [
        (7, "pending", 0), (6, "pending", 0), (5, "pending", 0), (4, "pending", 0), (3, "pending", 1), (2, "dead", 1),
        (1, "delivered", 1),
    ]  # fmt: skip
    done = await store.append(click())
    assert done is not None
    assert (done.position, done.sequence, done.ordinal, done.grant_id) == (9, 9, 6, "sales")
    assert len(await store.claim_due(SOON)) == 6
    await store.stop()


def test_a_new_file_has_the_tables_of_the_first_program(old: Path, tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(old)) as db,
        closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as new,
    ):
        schema.migrate(new, migrations.STEPS[:1])
        assert shape(new) == shape(db)


def threads() -> list[messages.Record]:
    """Of two grants, and some of one moment."""
    made = []
    for n in range(60):
        root = n - n % 6
        made.append(
            messages.Record(
                sent(
                    f"m{n:02}",
                    grant_id="sales" if n % 4 else "news",
                    submitted_at=T0 + n // 3,
                    thread_id=f"m{root:02}" if n % 6 != 5 else "",
                    label="spring" if n % 2 else "",
                ),
                (),
            )
        )
    return made


ASKED = [
    Messages(),
    Messages(grant_id="news"),
    Messages(label="spring"),
    Messages(sender="Ann@example.com"),
    Messages(sending_domain="example.com"),
    Messages(thread_id="m06"),
    Messages(thread_id="m06", grant_id="sales", since=T0 + 3),
    Messages(thread_id="m11"),
]


async def lists_of(store: Sqlite) -> list[object]:
    """All that goes along the indexes of messages, in pages."""
    found: list[object] = []
    for asked in ASKED:
        before = None
        while True:
            page = await store.list_messages(asked.with_(before=before), 4)
            found.append(page.items)
            if (before := page.after) is None:
                break
    for grant in ("sales", "news"):
        found.append(await store.list_threads(Threads(grant, SOON), 100))
        found += [await store.thread(f"m{n:02}", grant) for n in range(60)]
        found += [await store.thread_root(f"m{n:02}", grant) for n in range(60)]
    return found


async def test_lists_and_threads_of_an_earlier_file_stay_as_they_were(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        schema.migrate(db, migrations.STEPS[:20])
        programs.run(db, messages.record(threads()))
    upgraded, new = Sqlite(path), Sqlite(tmp_path / "new.db")
    for store in (upgraded, new):
        await store.start()
    for record in threads():
        await new.record_sent(record.sent)
    found = await lists_of(upgraded)
    assert found == await lists_of(new)
    of_moment = [row.message_id for row in (await upgraded.list_messages(Messages(), 7)).items]
    assert of_moment == ["m59", "m58", "m57", "m56", "m55", "m54", "m53"]
    thread = await upgraded.thread("m06", "sales")
    assert thread is not None
    assert [m.message_id for m in thread.messages] == ["m06", "m07", "m09", "m10"]
    assert await upgraded.thread("m06", "news") is not None
    for store in (upgraded, new):
        await store.stop()


CANARY = "canary5secret"
LEFT = [
    ["1", f"https://user:{CANARY}@a.example/x", "credentials"],
    ["1", f"https://a.example/reset?token={CANARY}", "credentials"],
    ["1", f"https://b.example/{CANARY}", "not_requested"],
    ["1.2", f"https://B.example/{CANARY}?x=1", "limit_links"],
    ["1.2", f"https://b.example:443/{CANARY}#y", "limit_links"],
    ["1.2", f"https://b.example/é/{CANARY}", "limit_links"],
    ["1.2", f"mailto:a@b.example?body={CANARY}", "scheme"],
    ["1.2", f"/reset/{CANARY}", "relative"],
]


@pytest.mark.parametrize("many", [1, 40], ids=["short", "beyond a page"])
def test_links_that_were_left_lose_their_secrets(old: Path, many: int) -> None:
    """In the rows, and in the bytes of the files."""
    explanation = {"parts": [["1", "text/html", "edited"]], "left": LEFT * many, "pixel": ["1", "bottom", None]}
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        text = json.dumps(explanation, separators=(",", ":"), ensure_ascii=False)
        db.execute("UPDATE messages SET explanation = ? WHERE message_id = 'm1'", (text,))
        for copy in ("x1", "x2"):
            db.execute(
                f"INSERT INTO messages (message_id, explanation, {', '.join(OTHERS)})"
                f" SELECT '{copy}', explanation, {', '.join(OTHERS)} FROM messages WHERE message_id = 'm1'"
            )
        db.execute("PRAGMA secure_delete = OFF")  # as some builds of SQLite have it
        assert CANARY.encode() in b"".join(p.read_bytes() for p in old.parent.iterdir())
        other = f"SELECT {', '.join(OTHERS)} FROM messages WHERE message_id = 'm2'"
        before = db.execute(other).fetchall()
        schema.migrate(db)
        for message_id in ("m1", "x1", "x2"):
            (text,) = db.execute("SELECT explanation FROM messages WHERE message_id = ?", (message_id,)).fetchone()
            assert json.loads(text) == explanation | {
                "left": [
                    ["1", "", "credentials", 2 * many],
                    ["1", "", "not_requested", many],
                    ["1.2", "https://b.example", "limit_links", 2 * many],
                    ["1.2", "https://b.example:443", "limit_links", many],
                    ["1.2", "mailto:", "scheme", many],
                    ["1.2", "", "relative", many],
                ]
            }
        assert db.execute(other).fetchall() == before
        assert CANARY.encode() not in b"".join(p.read_bytes() for p in old.parent.iterdir())


def test_a_file_that_is_up_to_date_costs_no_sqlite_utils(old: Path) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        schema.migrate(db)
    code = f"""
import asyncio, sys
from pathlib import Path
from relay.store.sqlite import Sqlite
async def main():
    store = Sqlite(Path({str(old)!r}))
    await store.start()
    assert len(await store.events()) == 8
    await store.stop()
asyncio.run(main())
print("sqlite_utils" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_the_columns_declared_are_those_of_the_tables(empty: sqlite3.Connection) -> None:
    schema.migrate(empty)
    for table in tables.ALL:
        columns = [row[0] for row in empty.execute("SELECT name FROM pragma_table_info(?)", (table.name,))]
        assert sorted(table.columns) == sorted(columns), table.name


def add(db: "Database") -> None:
    db.table("endpoints").add_column("made_up", str, not_null_default="")
    db.table("endpoints").create_index(["status"], "endpoints_status")
    for partial in (
        "messages_queued",
        "messages_label",
        "messages_thread",
        *(f"messages_key{n}" for n in range(1, 6)),
    ):  # sqlite-utils leaves a table alone that has such an index
        db.execute(f"DROP INDEX {partial}")
    db.table("messages").transform(rename={"label": "tag"})


def fail(db: "Database") -> None:
    raise RuntimeError("a step that fails")


def test_steps_are_made_all_or_none(old: Path) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        before = shape(db)
        with pytest.raises(RuntimeError):
            schema.migrate(db, [*migrations.STEPS, add, fail])
        assert shape(db) == before
        assert schema.version(db) == 1
        schema.migrate(db, [*migrations.STEPS, add])
        assert schema.version(db) == len(migrations.STEPS) + 1
        assert db.execute("SELECT endpoint_id, made_up FROM endpoints ORDER BY endpoint_id").fetchall() == [
            ("e1", ""),
            ("e2", ""),
        ]
        assert db.execute("SELECT message_id, tag FROM messages ORDER BY message_id").fetchall() == [
            ("m1", "spring"),
            ("m2", "spring"),
        ]
        assert ("messages_submitted",) in db.execute("SELECT name FROM pragma_index_list('messages')").fetchall()


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        schema.migrate(db)
        db.execute("INSERT INTO migrations VALUES (9999, 0)")


async def test_a_newer_schema_is_refused(path: Path) -> None:
    newer(path)
    store = Sqlite(path)
    with pytest.raises(Newer, match="9999"):
        await store.start()
    with pytest.raises(Unavailable):
        await store.append(click())
    await store.stop()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (0,)


async def test_processes_that_start_at_once_make_one_schema(path: Path) -> None:
    opened = [Sqlite(path) for _ in range(8)]
    await asyncio.gather(*(it.start() for it in opened))
    await asyncio.gather(*(it.stop() for it in opened))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM migrations").fetchone() == (schema.LATEST,)


async def test_a_look_says_what_a_start_would_find_and_touches_nothing(tmp_path: Path, old: Path) -> None:
    assert await stores.examine("sqlite:t.db", tmp_path) == f"{old} has schema 1 of {schema.LATEST}"
    assert "will be made" in await stores.examine("sqlite:new.db", tmp_path)
    (tmp_path / "bad.db").write_bytes(b"something else entirely " * 1000)
    with pytest.raises(Unavailable, match="can't be read"):
        await stores.examine("sqlite:bad.db", tmp_path)
    newer(tmp_path / "newer.db")
    with pytest.raises(Newer, match="9999"):
        await stores.examine("sqlite:newer.db", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.db", "newer.db", "t.db"]
