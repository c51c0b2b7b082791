"""The one connection of a process that writes to its database.

Owns: the queue, group commit, and the rule that an operation either was committed or raises. Leaves to others: what an
operation does (`relay.store.sql`), connections and what their failures mean (`connections`).

Whatever has queued of the kind of the oldest, some BATCH values at most, is one transaction (`turns`). All processes hold one
lock of the database while they write: so each sees what was there before, and positions are given in the order of the
commits. It goes with the transaction, whatever becomes of the process.

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
from functools import partial
from typing import Any, NamedTuple

from relay import log, metrics
from relay.store import Migrating, Unavailable
from relay.store.postgres.connections import Connector, Session, astray, broken, hopeless, refused, transient
from relay.store.postgres.programs import run
from relay.store.postgres.turns import SETTINGS, Changed, Turn
from relay.store.sql.operations import BATCH, QUEUE, Bulk, Operation, Outcome, fitting, settle, values
from relay.store.sql.program import Program

LOG = log.room("store")
PAUSES = (0.05, 1.0)  # seconds between two attempts to connect: the first, and the longest
DOUBT = 30.0  # seconds after which a doubt is said
ASTRAY = 60.0  # seconds between two lines about tables that are not as they should be
FORGET = 86_400.0  # seconds after which another process's last transaction is of no interest
# While several wait at a time, fewer and larger transactions let all get on faster, also those of other processes; one alone
# never waits. Once the event loop has nothing to do, all who could bring something may be among those that wait.
CROWD = 3  # values in one transaction, from which on there is one a GAP
CROWDED = 32  # transactions with fewer until there is none
GAP = 0.012  # seconds between the beginnings of two transactions then, at most …
ROUNDS = 4  # … and less where so many rounds of the event loop in turn bring nothing …
EMPTY = 0.00005  # … and take no longer than this, in seconds
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
    """`bulk` says of each class of values how many of it are written at once. What is of no such class are programs."""

    def __init__(self, connector: Connector, bulk: Mapping[type, Bulk], *, times: Times = USUAL) -> None:
        self._connector = connector
        self._bulk = bulk
        self._times = times
        self._pooled = bool(connector.locator.pooler)
        self.id = secrets.token_hex(8)  # of this process in `writers`
        self._batch = 0
        self._took_at = self._began = 0.0
        self._crowded = 0
        self._queue: deque[Operation] = deque()
        self._wake = asyncio.Event()
        self._session: Session | None = None
        self._doubt: Doubt | None = None
        self._pause = PAUSES[0]
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._stopping = False
        self._trouble = ""  # what is wrong, while nothing gets through
        self._astray_at = float("-inf")  # when it was said last

    def submit(self, work: Any, many: int = 1) -> asyncio.Future[Any]:
        """The future of `work`, which counts as so many: a value of a class of `bulk`, or a function that makes a program."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if len(self._queue) >= QUEUE or self._stopping:
            future.set_exception(Unavailable("stopped" if self._stopping else f"{QUEUE} operations wait already"))
            return future
        if self._task is None:
            metrics.follow(metrics.STORE_QUEUE, lambda: len(self._queue))
            self._task = loop.create_task(self._run(), name="store-writer")
        self._queue.append(Operation(work, future, loop.time(), many))
        self._wake.set()
        self._keep_watch()
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

    def _keep_watch(self) -> None:
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(self._times.impatience / 2, self._look)

    def _look(self) -> None:
        """Takes back what has waited too long."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = self._taken_back(now - (self._times.impatience if self._trouble else self._times.patience))
        if self._connector.migrating:
            settle([(operation.future, None, Migrating()) for operation in late])
        else:
            if late and not self._trouble:
                self._troubled("the lock was not to be had" if self._session else "no server has answered yet")
            self._refuse(late, self._trouble)
        if self._doubt is not None and now - self._doubt.since > DOUBT:
            self._give_up()
        self._watch = None
        if self._queue or self._doubt:
            self._keep_watch()

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
            if self._crowded:
                await self._linger()
            try:
                self._began = time.perf_counter()
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
        self._keep_watch()  # over what was put back

    def _astray(self, error: Exception) -> Unavailable:
        """Said once a minute: others may get through all the while."""
        now = asyncio.get_running_loop().time()
        if now - self._astray_at > ASTRAY:
            self._astray_at = now
            metrics.ERRORS.labels("store").inc()
            LOG.error("tables_astray", database=self._connector.locator.shown, error=str(error))
        return Unavailable(f"{self._connector.locator.shown}: {error}")

    def _troubled(self, why: str) -> None:
        if not self._trouble:
            LOG.error("unavailable", database=self._connector.locator.shown, error=why)
        self._trouble = why

    async def _linger(self) -> None:
        """While more may come, it shares the transaction."""
        empty, at = 0, time.perf_counter()
        while empty < ROUNDS and at < self._began + GAP and len(self._queue) < BATCH and not self._stopping:
            queued, since = len(self._queue), at
            await asyncio.sleep(0)
            at = time.perf_counter()
            empty = empty + 1 if len(self._queue) == queued and at - since < EMPTY else 0

    async def _turn(self) -> None:
        """One transaction over what has queued by the time its lock is asked for."""
        session = await self._connected()
        if self._doubt is not None:
            await self._ask(session, self._doubt)
        if not self._queue:
            return
        bulk = self._bulk_of(self._queue[0])
        operations = self._queued(bulk)
        turn = Turn(session, partial(self._take, bulk, operations), pooled=self._pooled)
        try:
            outcomes = await self._perform(turn, bulk, operations)
        except Exception as error:
            if turn.held and self._doubt is None:
                self._undone(operations, error)
            raise
        if self._trouble:
            self._trouble = ""
            LOG.info("available", database=self._connector.locator.shown)
        self._crowded = CROWDED if values(operations) >= CROWD else max(0, self._crowded - 1)
        if operations:
            metrics.STORE_BATCH.observe(values(operations))
            metrics.STORE_SECONDS.observe(time.perf_counter() - self._took_at)
        settle(outcomes)

    def _bulk_of(self, operation: Operation) -> Bulk | None:
        return self._bulk.get(type(operation.work))

    def _take(self, bulk: Bulk | None, operations: list[Operation]) -> bool:
        """The lock is held: they are taken from the queue. What was taken back meanwhile is left out, also by whoever gave
        up waiting, who goes on without it and must not find it done later; what has come meanwhile is taken too, if it is
        more. Whether they are the ones that were asked about."""
        self._took_at = time.perf_counter()
        asked = {one for one in operations if not one.future.done()}
        came = [one for one in self._queued(bulk) if one not in asked and not one.future.done()]
        same = len(asked) == len(operations) and values(came) <= values(asked)
        if not same:
            operations[:] = fitting([*(one for one in operations if one in asked), *came])
        taken = set(operations)
        self._queue = deque(one for one in self._queue if one not in taken and not one.future.done())
        return same

    def _queued(self, bulk: Bulk | None) -> list[Operation]:
        """Of this kind, as many as go together."""
        return fitting(one for one in self._queue if self._bulk_of(one) is bulk)

    def _undone(self, operations: Sequence[Operation], error: Exception) -> None:
        """They were taken, and nothing came of it."""
        if transient(error):
            self._queue.extendleft(reversed(operations))
            return
        if not broken(error):
            metrics.ERRORS.labels("store").inc()
            LOG.exception("batch_failed")
        self._refuse(operations, f"{self._connector.locator.shown}: {error or type(error).__name__}")

    async def _ask(self, session: Session, doubt: Doubt) -> None:
        """Whether the transaction was committed, while the lock is held: so it has ended."""
        turn = Turn(session, lambda: True, pooled=self._pooled)
        await turn.begin()
        rows = await session.fetch(LAST, [self.id])
        self._doubt = None
        if rows and rows[0][0] == doubt.batch:
            settle(doubt.outcomes)
        else:
            self._queue.extendleft(reversed(doubt.operations))
        await turn.leave()

    async def _connected(self) -> Session:
        if self._session is None or self._session.lost:
            self._session = await self._connector.connect()
            if not self._pooled:
                await self._session.execute(SETTINGS)
            await self._session.fetch(OLD, [time.time() - FORGET])
        return self._session

    async def _perform(self, turn: Turn, bulk: Bulk | None, operations: Sequence[Operation]) -> list[Outcome]:
        """All at once. Where some of it is bad all is taken back, and each goes alone."""
        together = True
        while True:
            try:
                outcomes = await (self._together if together else self._each)(turn, bulk, operations)
                await self._commit(turn, operations, outcomes)
            except Changed:
                continue
            except Exception as error:
                if not together or self._doubt is not None or broken(error):
                    raise
                together = False
            else:
                return outcomes

    async def _commit(self, turn: Turn, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
        self._batch += 1
        self._doubt = Doubt(self._batch, operations, outcomes, asyncio.get_running_loop().time())
        try:
            await turn.commit(self.id, self._batch)
        except Exception as error:
            if refused(error):
                self._doubt = None
            raise
        self._doubt = None

    async def _together(self, turn: Turn, bulk: Bulk | None, operations: Sequence[Operation]) -> list[Outcome]:
        if (bulk is None or self._pooled) and not turn.held:
            await turn.begin()
        if bulk is None:
            return [(one.future, await run(turn, one.work()), None) for one in operations]
        if not operations:
            return []
        results = await run(turn, bulk.write([one.work for one in operations]))
        return [(one.future, result, None) for one, result in zip(operations, results, strict=True)]

    async def _each(self, turn: Turn, bulk: Bulk | None, operations: Sequence[Operation]) -> list[Outcome]:
        await turn.begin()
        return [await self._alone(turn.session, bulk, one) for one in operations]

    async def _alone(self, session: Session, bulk: Bulk | None, operation: Operation) -> Outcome:
        await session.execute("SAVEPOINT alone")
        try:
            if bulk is None:
                result = await run(session, operation.work(), careful=True)
            else:
                result = (await run(session, bulk.write([bulk.mend(operation.work)]), careful=True))[0]
        except Exception as error:
            if broken(error):
                raise
            await session.execute("ROLLBACK TO alone; RELEASE alone")
            return (operation.future, None, self._astray(error) if astray(error) else error)
        await session.execute("RELEASE alone")
        return (operation.future, result, None)
