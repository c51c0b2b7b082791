"""What only SQLite's store promises: kills, several processes, a database that fails and comes back."""

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import pytest

from relay.core import floods
from relay.core.model import SentCopy
from relay.core.persons import Person
from relay.store import Migrating, PersonMark, Unavailable
from relay.store.sql import events, outbox
from relay.store.sql.operations import Bulk
from relay.store.sql.program import Program
from relay.store.sqlite import Sqlite, migrations, schema, writer
from relay.store.sqlite.programs import run
from relay.store.sqlite.writer import Times
from tests.store.contract import SOON, click, endpoint, event, sent
from tests.until import until

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
UNLIMITED = floods.Limits(0, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Sqlite]:
    opened = Sqlite(path, limits=UNLIMITED)
    await opened.start()
    yield opened
    await opened.stop()


IMPATIENT = Times(patience=0.2, impatience=0.1, busy=0.05)
LOOKING = Times(look=-1.0)  # at every turn, whether the file is still the same


@asynccontextmanager
async def running(path: Path, times: Times) -> AsyncIterator[Sqlite]:
    opened = Sqlite(path, limits=UNLIMITED, times=times)
    await insist(opened.start)
    yield opened
    await opened.stop()


async def insist(work: Callable[[], Awaitable[T]]) -> T:
    """What it gives once it gets through: a busy machine may need more than the patience of a test."""

    async def tried() -> tuple[T] | None:
        with contextlib.suppress(Unavailable):
            return (await work(),)
        return None

    return (await until(tried))[0]


async def test_a_start_waits_while_the_tables_are_brought_up_to_date(path: Path) -> None:
    """However long it takes."""
    gate = threading.Event()

    def last(file: Any) -> None:
        assert gate.wait(60)
        migrations.STEPS[-1](file)

    slow = partial(schema.migrate, steps=(*migrations.STEPS[:-1], last))
    opened = Sqlite(path, limits=UNLIMITED)
    opened.writer = writer.Writer(path, opened.bulk(), times=IMPATIENT, migrate=slow)
    while True:
        with pytest.raises(Unavailable) as refused:  # another one: it has not begun
            await opened.check()
        if isinstance(refused.value, Migrating):
            break
    start = asyncio.create_task(opened.start())
    for _ in range(2):
        with pytest.raises(Migrating):
            await opened.check()
    assert not start.done()
    gate.set()
    await start
    assert await insist(lambda: opened.sent("m1")) is None
    await opened.stop()


async def appender(path: Path, number: int, message_id: str = "m1") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.appender", str(path), str(number), message_id,
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip


def look(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    db = sqlite3.connect(path)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


async def test_nothing_acknowledged_is_lost_by_a_kill(path: Path) -> None:
    dice = random.Random(14)
    acknowledged: set[str] = set()
    for _ in range(5):
        process = await appender(path, 1_000_000)
        assert process.stdout is not None
        acknowledged.add((await process.stdout.readline()).decode().strip())  # it is at work
        reading = asyncio.create_task(process.stdout.read())
        await asyncio.sleep(dice.random() * 0.15)  # at any instant
        process.send_signal(signal.SIGKILL)
        await process.wait()
        whole, _, _ = (await reading).rpartition(b"\n")  # the last line may be cut
        acknowledged.update(whole.decode().split())
        assert look(path, "PRAGMA integrity_check") == [("ok",)]
    stored = {str(row[0]) for row in look(path, "SELECT event_id FROM events")}
    assert acknowledged <= stored
    assert len(acknowledged) > 100
    count = len(stored)
    assert look(path, "SELECT min(sequence), max(sequence), count(DISTINCT sequence) FROM events") == [
        (1, count, count)
    ]
    assert look(path, "SELECT count(DISTINCT position), count(*) FROM deliveries") == [(count, count)]


async def test_processes_share_one_file(path: Path) -> None:
    processes = [await appender(path, 300) for _ in range(2)]
    outputs = [await p.communicate() for p in processes]
    assert [p.returncode for p in processes] == [0, 0]
    assert [len(out.split()) for out, _ in outputs] == [300, 300]
    numbers = [row[0] for row in look(path, "SELECT sequence FROM events ORDER BY position")]
    assert numbers == list(range(1, 601))
    last = look(path, "SELECT link_counts FROM events ORDER BY position DESC LIMIT 1")
    assert last == [('{"0":200,"1":200,"2":200}',)]


async def test_two_stores_of_one_process_see_each_other(store: Sqlite, path: Path) -> None:
    other = Sqlite(path, limits=UNLIMITED)
    await other.start()
    await store.sync_endpoints([endpoint()])
    await asyncio.gather(*(it.append(click(n)) for n in range(50) for it in (store, other)))
    claims = await asyncio.gather(*(it.claim_due(1e11, limit=20) for _ in range(10) for it in (store, other)))
    ids = [d.delivery_id for claim in claims for d in claim]
    assert len(ids) == len(set(ids)) == 100
    await other.stop()


async def test_a_locked_database_is_unavailable_and_then_available_again(path: Path) -> None:
    async with running(path, IMPATIENT) as store:
        await insist(lambda: store.append(event()))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="another process"):
            await store.append(click())
        with pytest.raises(Unavailable):
            await store.check()
        assert len(await store.events()) == 1  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        await insist(store.check)
        assert await insist(lambda: store.append(click())) is not None
        assert len(await store.events()) == 2  # and the one refused was not done


async def test_a_process_that_hangs_with_the_lock(path: Path) -> None:
    async with running(path, IMPATIENT) as store:
        held = os.open(f"{path}.lock", os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable):
            await store.append(click())
        waiting = asyncio.ensure_future(store.append(click(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        os.close(held)
        assert await insist(lambda: store.append(click(2))) is not None
        assert [e.link_index for e in await store.events()] == [2]  # neither refused nor given up ones are done later


async def test_a_full_disk(store: Sqlite) -> None:
    await store.record_sent(sent())
    pages = await store.writer.submit(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await store.writer.submit(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchone())

    async def fill() -> None:
        for n in range(1000):
            await store.append(click(n, user_agent="x" * 500))

    with pytest.raises(Unavailable, match="full"):
        await fill()
    stored = len(await store.events(limit=2000))
    await store.writer.submit(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    assert await store.append(click()) is not None
    assert len(await store.events(limit=2000)) == stored + 1
    assert [e.sequence for e in await store.events(limit=2000)] == list(range(1, stored + 2))


async def test_a_folder_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    store = Sqlite(folder / "t.db", times=LOOKING)
    await store.start()
    await store.append(event())
    away = tmp_path / "away"
    folder.rename(away)
    with pytest.raises(Unavailable):
        await store.append(click())
    with pytest.raises(Unavailable):
        await store.events()
    away.rename(folder)
    assert await store.append(click()) is not None
    assert len(await store.events()) == 2
    await store.stop()


async def test_a_file_that_was_deleted_is_made_again(path: Path) -> None:
    async with running(path, LOOKING) as store:
        await store.append(event())
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
        assert await store.append(click()) is not None
        assert len(await store.events()) == 1


async def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"something else entirely " * 1000)
    store = Sqlite(path)
    with pytest.raises(Unavailable, match="not a database"):
        await store.start()
    with pytest.raises(Unavailable):
        await store.append(click())
    path.unlink()
    assert await store.append(click()) is not None
    await store.stop()


async def test_one_bad_operation_harms_no_other(store: Sqlite) -> None:
    bad = event(at=float("nan"))  # SQLite has no NaN: it would be NULL
    results = await asyncio.gather(
        *(store.append(e) for e in (click(0), bad, click(1))),
        store.writer.submit(lambda db: db.execute("INSERT INTO nowhere VALUES (1)")),
        store.append(click(2)),
        return_exceptions=True,
    )
    failed = [type(r).__name__ for r in results if isinstance(r, BaseException)]
    assert failed == ["IntegrityError", "OperationalError"]
    assert [(e.sequence, e.link_index) for e in await store.events()] == [(1, 0), (2, 1), (3, 2)]


async def test_the_file_is_its_owners_only_and_says_its_version(store: Sqlite, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert look(path, "SELECT max(number) FROM migrations") == [(schema.LATEST,)]
    assert look(path, "PRAGMA journal_mode") == [("wal",)]


async def test_a_backup_is_consistent_while_others_write(store: Sqlite, tmp_path: Path) -> None:
    await store.record_sent(sent())
    stop, written = False, 0

    async def write() -> None:
        nonlocal written
        while not stop:
            await store.append(click())
            written += 1

    writers = [asyncio.create_task(write()) for _ in range(8)]
    copy = tmp_path / "copy.db"
    for n in range(1, 4):
        await until(lambda: written >= 20 * n)  # noqa: B023
        await store.backup(copy)
        assert look(copy, "PRAGMA integrity_check") == [("ok",)]
        ((events, sequence),) = look(copy, "SELECT count(*), max(sequence) FROM events")
        assert events == sequence
    stop = True
    await asyncio.gather(*writers)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not Path(f"{copy}-wal").exists()
    restored = Sqlite(copy)
    await restored.start()
    assert await restored.sent("m1") == await store.sent("m1")
    await restored.stop()
    with pytest.raises(Unavailable):
        await store.backup(tmp_path / "no" / "such" / "folder.db")


async def test_what_has_queued_is_written_by_a_stop(path: Path) -> None:
    store = Sqlite(path)
    await store.start()
    tasks = [asyncio.ensure_future(store.append(click(n))) for n in range(100)]
    await asyncio.sleep(0)
    await store.stop()
    done = await asyncio.gather(*tasks)
    assert all(done)
    assert look(path, "SELECT count(*) FROM events") == [(100,)]
    with pytest.raises(Unavailable, match="stopped"):
        await store.append(click())


async def test_a_history_takes_no_longer_with_more_events(store: Sqlite) -> None:
    """Counted in SQLite's own steps: a message clicked ten times as often costs the same."""
    await store.record_sent(sent())

    async def steps() -> int:
        done = await store.append(click())
        assert done is not None
        count = 0

        def work(db: sqlite3.Connection) -> None:
            def step() -> int:
                nonlocal count
                count += 1
                return 0

            db.set_progress_handler(step, 10)
            run(db, events.history(done.event_id))
            db.set_progress_handler(None, 0)

        await store.readers.read(work)
        return count

    await asyncio.gather(*(store.append(click()) for _ in range(100)))
    few = await steps()
    await asyncio.gather(*(store.append(click()) for _ in range(1000)))
    assert await steps() <= few * 1.1


async def test_a_claim_takes_no_longer_with_more_that_waits(store: Sqlite) -> None:
    """Counted in SQLite's own steps, for what was not tried yet and for what is due later."""
    await store.sync_endpoints([endpoint("e1", "message.link_clicked")])

    async def steps() -> int:
        count = 0

        def work(db: sqlite3.Connection) -> int:
            def step() -> int:
                nonlocal count
                count += 1
                return 0

            db.set_progress_handler(step, 10)
            found = run(db, outbox.claim(SOON, {}, 8, 8))
            db.set_progress_handler(None, 0)
            return len(found)

        assert await store.writer.submit(work) == 8
        return count

    await asyncio.gather(*(store.append(click()) for _ in range(100)))
    few = await steps()
    await asyncio.gather(*(store.append(click()) for _ in range(2000)))
    await store.writer.submit(lambda db: db.execute("UPDATE deliveries SET attempt = 1, next_at = 1e12 WHERE turn % 2"))
    assert await steps() <= few * 1.1


def same(batch: Sequence[Any]) -> Program[Sequence[Any]]:
    yield "SELECT 1", ()
    return batch


async def test_a_crowd_shares_transactions_and_one_alone_never_waits(path: Path) -> None:
    """int stands for what somebody waits for, str for what nobody does."""
    dozed: list[float] = []
    dozing = threading.Event()

    def doze(wake: SimpleQueue[None], seconds: float) -> None:
        dozed.append(seconds)
        dozing.set()
        writer.doze(wake, seconds)

    bulk = {
        int: Bulk(same, int),
        str: Bulk(same, str, awaited=False),
    }
    it = writer.Writer(path, bulk, doze=doze, clock=lambda: 0.0)

    async def alone(number: int) -> None:
        assert await it.submit(number) == number
        assert await it.submit(str(number)) == str(number)

    for number in range(20):
        await alone(number)
    assert not dozed
    gate = threading.Event()
    begun = it.submit(lambda _: gate.wait(30))
    crowd = [it.submit(number) for number in range(writer.CROWD)]
    gate.set()
    await asyncio.gather(begun, *crowd)
    shared = it.submit(0)
    assert dozing.wait(30)  # the event loop is held up meanwhile: more may come
    assert max(dozed) <= writer.GAP
    assert await shared == 0
    for number in range(2 * writer.CROWDED):
        await alone(number)
    dozed.clear()
    await alone(0)
    assert not dozed
    await it.stop()


async def test_what_keeps_coming_shares_the_transaction(path: Path) -> None:
    """As long as something comes in each round of the event loop. The clock stands still here."""
    loop, batches = asyncio.get_running_loop(), list[int]()
    later: list[asyncio.Future[Any]] = []

    def count(batch: Sequence[Any]) -> Program[Sequence[Any]]:
        batches.append(len(batch))
        yield "SELECT 1", ()
        return batch

    def bring(more: int) -> None:
        later.append(it.submit(0))
        if more:
            loop.call_soon(bring, more - 1)

    it = writer.Writer(path, {int: Bulk(count, int)}, clock=lambda: 0.0)
    gate = threading.Event()
    begun = it.submit(lambda _: gate.wait(30))
    crowd = [it.submit(number) for number in range(writer.CROWD)]
    gate.set()
    await asyncio.gather(begun, *crowd)
    bring(5)
    await asyncio.gather(*later)
    assert sum(batches) == writer.CROWD + 1 + 5
    assert batches[-1] == 1 + 5
    assert len(later) == 1 + 5
    await it.stop()


async def test_what_is_much_is_copied_into_the_file_behind_the_commit(store: Sqlite, path: Path) -> None:
    """And not one row alone: then the log alone has it."""
    await store.record_sent(sent("m0", copies=(SentCopy("ann@first.example", 0, True),)))
    assert b"ann@first.example" not in path.read_bytes()
    await asyncio.gather(*(store.record_sent(sent(f"m{n}")) for n in range(1, 300)))
    await until(lambda: b"ann@first.example" in path.read_bytes())


async def test_what_was_erased_stands_in_no_page(store: Sqlite, path: Path) -> None:
    """Nor does what an earlier version deleted without overwriting it, nor what a page kept that was divided."""
    name, who = "ada.lovelace@example.net", Person("ada.lovelace@example.net")
    for number in range(150):
        people = (SentCopy(name, 0, True), SentCopy(f"p{number}@example.org", 1, True))
        await store.record_sent(
            sent(f"m{number:03}", to=(name,), cc=(), subject="x" * (number * 7 % 90), copies=people)
        )
        await store.append(click(message_id=f"m{number:03}", url=f"https://x.test/?e={name}&n={number}"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("CREATE TABLE old (text TEXT)")
        db.executemany("INSERT INTO old VALUES (?)", [(f"{name} {number}",) for number in range(500)])
        db.execute("DROP TABLE old")
    mark: PersonMark | None = PersonMark()
    while mark is not None:
        page = await store.person_page(who, mark)
        for row in page.found:
            await store.erase_person(who, row.table, row.key)
        mark = page.next
    await store.overwrite(who)
    left = [file.name for file in path.parent.iterdir() if b"lovelace" in file.read_bytes()]
    assert left == []
    assert len(await store.recent_sent(limit=1000)) == 150
