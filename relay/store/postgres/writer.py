"""The one connection of a process that writes to its database.

Owns: the queue, group commit, and the rule that an operation either was committed or raises. Leaves to others: what an
operation does (`relay.store.sql`), connections and what their failures mean (`connections`).

Whatever has queued, at most BATCH operations, is one transaction. All processes hold one lock of the database while they
write: so each sees what was there before, and positions are given in the order of the commits. It goes with the
transaction, whatever becomes of the process.

Operations are taken only once the lock is held. Until then they can be taken back, and are after `patience`: `Unavailable`
means that nothing was done. A connection that is lost while it commits leaves a doubt. Then the next one takes the lock,
which shows that the transaction has ended, and looks which was the last that this process committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from relay import log, metrics
from relay.store import Unavailable
from relay.store.postgres import schema
from relay.store.postgres.connections import PATIENCE, PLANNED, Connector, Session, broken, hopeless, transient
from relay.store.postgres.programs import run
from relay.store.sql.engine import Bulk
from relay.store.sql.operations import BATCH, QUEUE, Operation, Outcome, settle
from relay.store.sql.program import Program

LOG = log.room("store")
PAUSES = (0.05, 1.0)  # seconds between two attempts to connect: the first, and the longest
DOUBT = 30.0  # seconds after which a doubt is said
FORGET = 86_400.0  # seconds after which another process's last transaction is of no interest
MILLISECONDS = int(PATIENCE * 1000)
BEGIN = (
    f"BEGIN{{planned}}; SET LOCAL statement_timeout = {MILLISECONDS}; SET LOCAL lock_timeout = {MILLISECONDS // 2};"
    f" SET LOCAL idle_in_transaction_session_timeout = {MILLISECONDS}; {schema.LOCK.format(which=0)}"
)
COMMIT = (
    "INSERT INTO writers (writer_id, batch, at) VALUES ('{writer}', {batch}, {now}) ON CONFLICT (writer_id)"
    " DO UPDATE SET batch = excluded.batch, at = excluded.at; COMMIT"
)
LAST = "SELECT batch FROM writers WHERE writer_id = $1"
OLD = "DELETE FROM writers WHERE at < $1"

Function = Callable[[], Program[Any]]  # makes the program anew each time it is tried


class Times(NamedTuple):
    """In seconds: how long an operation waits for its turn, and how long while it is known that nothing gets through."""

    patience: float = 5.0
    impatience: float = 0.5


USUAL = Times()


class Doubt(NamedTuple):
    """What may have been committed."""

    batch: int
    operations: Sequence[Operation]
    outcomes: Sequence[Outcome]
    since: float


class Writer:
    """`bulk` says of each class of values how many of it are written at once. In one transaction they are written in
    that order, and programs last: what has queued together has no order among itself."""

    def __init__(self, connector: Connector, bulk: Mapping[type, Bulk], *, times: Times = USUAL) -> None:
        self._connector = connector
        self._bulk = bulk
        self._times = times
        self._begin = BEGIN.format(planned=PLANNED if connector.locator.pooler else "")
        self._id = secrets.token_hex(8)
        self._batch = 0
        self._queue: deque[Operation] = deque()
        self._wake = asyncio.Event()
        self._session: Session | None = None
        self._doubt: Doubt | None = None
        self._pause = PAUSES[0]
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._stopping = False
        self._trouble = ""  # what is wrong, while nothing gets through

    def submit(self, work: Any) -> asyncio.Future[Any]:
        """The future of `work`: a value of a class of `bulk`, or a function that makes a program."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if len(self._queue) >= QUEUE or self._stopping:
            future.set_exception(Unavailable("stopped" if self._stopping else f"{QUEUE} operations wait already"))
            return future
        if self._task is None:
            metrics.follow(metrics.STORE_QUEUE, lambda: len(self._queue))
            self._task = loop.create_task(self._run(), name="store-writer")
        self._queue.append(Operation(work, future, loop.time()))
        self._wake.set()
        if self._watch is None:
            self._watch = loop.call_later(self._times.impatience / 2, self._look)
        return future

    async def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._times.patience)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._watch is not None:
            self._watch.cancel()
        self._refuse(self._taken_back(float("inf")), "stopped")
        self._give_up()
        if self._session is not None:
            await self._session.close()

    def _look(self) -> None:
        """Takes back what has waited too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = self._taken_back(now - (self._times.impatience if self._trouble else self._times.patience))
        if late and not self._trouble:
            self._troubled("the lock was not to be had")
        self._refuse(late, self._trouble)
        if self._doubt is not None and now - self._doubt.since > DOUBT:
            self._give_up()
        again = self._queue or self._doubt
        self._watch = loop.call_later(self._times.impatience / 2, self._look) if again else None

    def _taken_back(self, before: float) -> list[Operation]:
        late = []
        while self._queue and self._queue[0].at < before:
            late.append(self._queue.popleft())
        return late

    def _refuse(self, operations: Sequence[Operation], why: str) -> None:
        settle([(operation.future, None, Unavailable(why)) for operation in operations])

    def _give_up(self) -> None:
        """Of a doubt. Who asks again by the same id finds out."""
        if (doubt := self._doubt) is not None:
            self._doubt = None
            self._refuse(doubt.operations, "the connection was lost while it committed: it may have been written")

    # -- one transaction after the other -------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            if not self._queue and self._doubt is None:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._turn()
                self._pause = PAUSES[0]
            except Exception as error:
                self._failed(error)
                await asyncio.sleep(self._pause)
                self._pause = min(2 * self._pause, PAUSES[1])

    def _failed(self, error: Exception) -> None:
        """Of a turn, before any operation was taken, or after it was put back."""
        if not broken(error) and not hopeless(error):
            metrics.ERRORS.labels("store").inc()
            LOG.exception("writer_failed")
        if self._session is not None:
            self._session.drop()
            self._session = None
        self._troubled(str(error) or type(error).__name__)
        if hopeless(error) or not broken(error):
            refused = error if isinstance(error, Unavailable) else Unavailable(self._trouble)
            settle([(operation.future, None, refused) for operation in self._taken_back(float("inf"))])

    def _troubled(self, why: str) -> None:
        if not self._trouble:
            LOG.error("unavailable", database=self._connector.locator.shown, error=why)
        self._trouble = why

    async def _turn(self) -> None:
        """One transaction over what has queued by the time the lock is held."""
        session = await self._connected()
        await session.execute(self._begin)
        if self._doubt is not None:
            await self._ask(session, self._doubt)
        operations = self._take()
        if not operations:
            await session.execute("ROLLBACK")
            return
        began = time.perf_counter()
        try:
            outcomes = await self._perform(session, operations)
        except Exception as error:
            if transient(error):
                self._queue.extendleft(reversed(operations))
            else:
                if not broken(error):
                    metrics.ERRORS.labels("store").inc()
                    LOG.exception("batch_failed")
                self._refuse(operations, f"{self._connector.locator.shown}: {error or type(error).__name__}")
            raise
        await self._commit(session, operations, outcomes)
        metrics.STORE_BATCH.observe(len(operations))
        metrics.STORE_SECONDS.observe(time.perf_counter() - began)
        if self._trouble:
            self._trouble = ""
            LOG.info("available", database=self._connector.locator.shown)
        settle(outcomes)

    async def _commit(self, session: Session, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
        self._batch += 1
        self._doubt = Doubt(self._batch, operations, outcomes, asyncio.get_running_loop().time())
        await session.execute(COMMIT.format(writer=self._id, batch=self._batch, now=time.time()))
        self._doubt = None

    async def _ask(self, session: Session, doubt: Doubt) -> None:
        """Whether the transaction was committed, while the lock is held: so it has ended."""
        rows = await session.fetch(LAST, [self._id])
        self._doubt = None
        if rows and rows[0][0] == doubt.batch:
            settle(doubt.outcomes)
        else:
            self._queue.extendleft(reversed(doubt.operations))

    async def _connected(self) -> Session:
        if self._session is None or self._session.lost:
            self._session = await self._connector.connect()
            await self._session.fetch(OLD, [time.time() - FORGET])
        return self._session

    def _take(self) -> list[Operation]:
        taken = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        # Whoever gave up waiting goes on without it, and must not find it done later.
        return [operation for operation in taken if not operation.future.cancelled()]

    async def _perform(self, session: Session, operations: Sequence[Operation]) -> list[Outcome]:
        """All at once. Where some of it is bad all is taken back, and each goes alone."""
        try:
            return await self._together(session, operations)
        except Exception as error:
            if broken(error):
                raise
        await session.execute("ROLLBACK")
        await session.execute(self._begin)
        return [await self._alone(session, operation) for operation in operations]

    async def _together(self, session: Session, operations: Sequence[Operation]) -> list[Outcome]:
        groups: dict[type | None, list[Operation]] = {}
        for operation in operations:
            kind = type(operation.work)
            groups.setdefault(kind if kind in self._bulk else None, []).append(operation)
        outcomes: list[Outcome] = []
        for kind, bulk in self._bulk.items():
            if group := groups.get(kind):
                results = await run(session, bulk.write([operation.work for operation in group]))
                outcomes += [(o.future, result, None) for o, result in zip(group, results, strict=True)]
        for operation in groups.get(None, ()):
            outcomes.append((operation.future, await run(session, operation.work()), None))
        return outcomes

    async def _alone(self, session: Session, operation: Operation) -> Outcome:
        await session.execute("SAVEPOINT alone")
        try:
            bulk = self._bulk.get(type(operation.work))
            if bulk is None:
                result = await run(session, operation.work(), careful=True)
            else:
                result = (await run(session, bulk.write([bulk.mend(operation.work)]), careful=True))[0]
        except Exception as error:
            if broken(error):
                raise
            await session.execute("ROLLBACK TO alone; RELEASE alone")
            return (operation.future, None, error)
        await session.execute("RELEASE alone")
        return (operation.future, result, None)
