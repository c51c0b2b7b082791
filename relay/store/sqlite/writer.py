"""The one thread of a process that writes to its SQLite database.

Owns: the queue, group commit, and the rule that an operation either was committed or raises. Leaves to others: what an
operation does (`relay.store.sql`), the file and its lock (`database`).

Whatever has queued, some BATCH values at most, is one transaction, and so one fsync. Operations are taken only once the
lock between processes is held; until then the event loop can take them back, and does after `patience`: `Unavailable`
means that nothing was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from relay import log, metrics
from relay.store import Migrating, Newer, Unavailable
from relay.store.sql.operations import BATCH, QUEUE, Bulk, Operation, Outcome, fitting, settle, values
from relay.store.sqlite import faults, schema
from relay.store.sqlite.database import Database
from relay.store.sqlite.programs import run

LOG = log.room("store")
# Each transaction takes the interpreter's lock from the event loop a dozen times. While several wait at a time, fewer and
# larger ones let all get on faster (as PostgreSQL's commit_delay and commit_siblings); one alone never waits. Once the event
# loop has nothing to do, all who could bring something may be among those that wait, and there is nobody to be held up.
CROWD = 3  # values that somebody waits for in one transaction, from which on there is one a GAP
GAP = 0.012  # seconds between the beginnings of two transactions then, at most …
ROUNDS = 4  # … and less where so many rounds of the event loop in turn bring nothing …
EMPTY = 0.00005  # … and take no longer than this, in seconds
CROWDED = 32  # transactions with fewer until there is none
HELD = "nothing was written for a while: another process holds the database, or the disk hangs"
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
BROKEN = LOCKED | {
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_NOTADB,
}  # fmt: skip


class Times(NamedTuple):
    """In seconds: how long an operation waits for its turn, and how long while it is known that nothing gets through; how
    long SQLite itself waits for a lock that is not ours, before the queue is looked at again; between two looks whether
    the file is still the one that is open."""

    patience: float = 5.0
    impatience: float = 0.5
    busy: float = 1.0
    look: float = 0.2


USUAL = Times()


def doze(wake: SimpleQueue[None], seconds: float) -> None:
    """Until it is woken, and no longer."""
    with contextlib.suppress(Empty):
        wake.get(timeout=seconds)


class Writer:
    """`bulk` says of each class of values how many of it are written at once. In one transaction they are written in
    that order, and functions last: what has queued together has no order among itself."""

    def __init__(
        self,
        path: Path,
        bulk: Mapping[type, Bulk],
        *,
        times: Times = USUAL,
        doze: Callable[[SimpleQueue[None], float], None] = doze,
        clock: Callable[[], float] = time.monotonic,
        migrate: Callable[..., None] = schema.migrate,
    ) -> None:
        self.path = path
        self._migrate = migrate
        self._bulk = bulk
        self._times = times
        self._doze = doze
        self._clock = clock
        self._migrating = False  # the tables are being changed for this program
        self._file = Database(path, self._prepare, busy=times.busy, look=times.look)
        self._queue: deque[Operation] = deque()
        self._taking = threading.Lock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._asleep = self._lingering = False
        self._rounds = 0  # of the event loop, in turn, that brought nothing and were empty
        self._rounding = False
        self._round_began = 0.0
        self._stopping = False
        self._stuck = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._crowded = 0

    # -- on the event loop ---------------------------------------------------------------------------------------------

    def submit(self, work: Any, many: int = 1) -> asyncio.Future[Any]:
        """The future of `work`, which counts as so many. Must be called on the event loop."""
        loop = self._loop
        if loop is None or self._thread is None:
            loop = self._start()
        future: asyncio.Future[Any] = loop.create_future()
        if len(self._queue) >= QUEUE or self._stopping:
            future.set_exception(Unavailable("stopped" if self._stopping else f"{QUEUE} operations wait already"))
            return future
        self._queue.append(Operation(work, future, loop.time(), many))
        self._rounds = 0
        if self._crowded and not self._rounding:
            self._rounding, self._round_began = True, self._clock()
            loop.call_soon(self._round, loop)
        if self._asleep:
            self._asleep = False  # one token wakes it, further ones would only turn it around
            self._wake.put(None)
        if self._watch is None:
            self._watch = loop.call_later(self._times.impatience / 2, self._look)
        return future

    async def stop(self) -> None:
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
        if (thread := self._thread) is not None:
            self._wake.put(None)
            await asyncio.to_thread(thread.join, self._times.patience)
        self._thread = None

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.get_running_loop()
        metrics.follow(metrics.STORE_QUEUE, lambda: len(self._queue))
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()
        return loop

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop went around once, with all that was ready."""
        now = self._clock()
        self._rounds = self._rounds + 1 if now - self._round_began < EMPTY else 0
        self._round_began = now
        self._rounding = self._rounds < ROUNDS
        if self._rounding:
            loop.call_soon(self._round, loop)
        elif self._lingering:
            self._wake.put(None)

    def _look(self) -> None:
        """Takes back what has waited too long."""
        loop, late = self._loop, []
        assert loop is not None
        limit = loop.time() - (self._times.impatience if self._stuck else self._times.patience)
        with self._taking:
            while self._queue and self._queue[0].at < limit:
                late.append(self._queue.popleft())
        if late and not self._stuck and not self._migrating:
            self._stuck = True
            LOG.error("locked", path=self.path, waited=self._times.patience)
        for operation in late:
            if not operation.future.done():
                operation.future.set_exception(Migrating() if self._migrating else Unavailable(HELD))
        self._watch = loop.call_later(self._times.impatience / 2, self._look) if self._queue else None

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _prepare(self, db: sqlite3.Connection) -> None:
        try:
            self._migrate(db, begins=self._migration_begins)
        finally:
            self._migrating = False

    def _migration_begins(self) -> None:
        self._migrating = True

    def _run(self) -> None:
        while True:
            if not self._queue:
                if self._stopping:
                    break
                self._asleep = True
                if not self._queue:  # asked again: whoever appends looks at _asleep after it
                    self._wake.get()
                self._asleep = False
                continue
            if self._crowded:
                self._linger()
            try:
                self._began = self._clock()
                self._turn()
            except Exception as error:
                if not isinstance(error, sqlite3.Error | OSError | Unavailable):
                    metrics.ERRORS.labels("store").inc()
                    LOG.exception("writer_failed")
                if code(error) in LOCKED:  # the operations wait on, until the event loop takes them back
                    time.sleep(0.01)
                    continue
                self._broken(error, self._take())
        self._file.close()

    def _linger(self) -> None:
        """While more may come, it shares the transaction."""
        self._lingering = True
        while self._rounds < ROUNDS and len(self._queue) < BATCH and not self._stopping:
            if (pause := self._began + GAP - self._clock()) <= 0:
                break
            self._doze(self._wake, pause)
        self._lingering = False

    def _turn(self) -> None:
        """One transaction over what has queued by the time the lock is held."""
        self._file.hold()
        try:
            if not self._queue:
                return
            began = time.perf_counter()
            db = self._file.connection()
            db.execute("BEGIN IMMEDIATE")
            operations = self._take()
            self._count(operations)
            try:
                outcomes = self._perform(db, operations)
                db.execute("COMMIT")
                metrics.STORE_BATCH.observe(values(operations))
                metrics.STORE_SECONDS.observe(time.perf_counter() - began)
            except BaseException as error:
                self._undo(db)
                if not isinstance(error, sqlite3.Error | OSError):
                    metrics.ERRORS.labels("store").inc()
                    LOG.exception("batch_failed")
                self._broken(error, operations)
                return
            if self._stuck:
                self._stuck = False
                LOG.info("available", path=self.path)
            self._resolve(outcomes)
            self._file.copy_back(crowded=bool(self._crowded), waited_for=bool(self._queue))
        finally:
            self._file.release()

    def _take(self) -> list[Operation]:
        with self._taking:
            taken = fitting(self._queue)
            for _ in taken:
                self._queue.popleft()
        # Whoever gave up waiting goes on without it, and must not find it done later.
        return [operation for operation in taken if not operation.future.cancelled()]

    def _count(self, operations: Sequence[Operation]) -> None:
        lazy = [kind for kind, bulk in self._bulk.items() if not bulk.awaited]
        waiting = sum([operation.many for operation in operations if type(operation.work) not in lazy])
        self._crowded = CROWDED if waiting >= CROWD else max(0, self._crowded - 1)

    def _perform(self, db: sqlite3.Connection, operations: list[Operation]) -> list[Outcome]:
        """What goes in bulk, without savepoints; where some of it is bad, all is taken back and each goes alone."""
        groups: dict[type | None, list[Operation]] = {}
        for operation in operations:
            kind = type(operation.work)
            groups.setdefault(kind if kind in self._bulk else None, []).append(operation)
        outcomes: list[Outcome] = []
        try:
            for kind, bulk in self._bulk.items():
                if group := groups.get(kind):
                    results = run(db, bulk.write([operation.work for operation in group]))
                    outcomes += [(o.future, result, None) for o, result in zip(group, results, strict=True)]
        except Exception as error:
            if broken(error) or not db.in_transaction:
                raise
            db.execute("ROLLBACK")
            db.execute("BEGIN IMMEDIATE")
            return [self._alone(db, operation) for operation in operations]
        return outcomes + [self._alone(db, operation) for operation in groups.get(None, ())]

    def _alone(self, db: sqlite3.Connection, operation: Operation) -> Outcome:
        work = operation.work
        db.execute("SAVEPOINT alone")
        try:
            if type(work) in self._bulk:
                bulk = self._bulk[type(work)]
                result = run(db, bulk.write([bulk.mend(work)]))[0]
            else:
                result = work(db)
        except Exception as error:
            if broken(error) or not db.in_transaction:
                raise
            db.execute("ROLLBACK TO alone")
            db.execute("RELEASE alone")
            return (operation.future, None, error)
        db.execute("RELEASE alone")
        return (operation.future, result, None)

    def _resolve(self, outcomes: list[Outcome]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle, outcomes)

    def _broken(self, error: BaseException, operations: list[Operation]) -> None:
        """These were not written, and why. The next operation tries anew."""
        if not self._stuck:
            self._stuck = True
            LOG.error("unavailable", path=self.path, error=faults.said(error))
        if code(error) != sqlite3.SQLITE_FULL:
            self._file.close()
        raised = error if isinstance(error, Unavailable) else Unavailable(f"{self.path.name}: {faults.said(error)}")
        self._resolve([(operation.future, None, raised) for operation in operations])

    def _undo(self, db: sqlite3.Connection) -> None:
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error:
            self._file.close()


def code(error: BaseException) -> int:
    """SQLite's primary result code; -1 for an error that is not SQLite's."""
    return getattr(error, "sqlite_errorcode", -1) & 0xFF if isinstance(error, sqlite3.Error) else -1


def broken(error: BaseException) -> bool:
    """Is it the database that failed, and not this one operation?"""
    return isinstance(error, Newer | OSError | MemoryError) or code(error) in BROKEN
