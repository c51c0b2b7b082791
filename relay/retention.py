"""What is kept for no longer than the settings say: `privacy.retention_days`, and `privacy.ip_days` of addresses.

Owns: when something is too old, who looks (of several processes one at a time, which has the lease), and how gently: a step
is as large as takes some milliseconds, and behind it there is a pause several times as long. What lies in files is each
process's own: what no journal hands on any more, what a spool set aside. Leaves to others: what goes with what (`store`).

To stop anywhere does no harm: the next look goes on with what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from relay import journal, log, metrics, store
from relay.store import Cursor, Purged, PurgeMark

LOG = log.room("retention")

LEASE = "retention"  # beside the names of mailboxes, which are URLs
CUT = "retention: addresses"  # the cursor that says up to when addresses were cut
HOUR, DAY = 3600.0, 86_400.0
LATE = DAY  # before the last look: a journal may have handed in events of then
MOST = 500  # rows in one step, where the store is quick
FEWEST = 20


class Times(NamedTuple):
    """Seconds. `first`: from the start to the first look, `look` between two. `step`: how long one may take. `rest`: how many
    times as long the pause behind it is, and `pause` what it is at least. `lease`: how long nobody else looks."""

    first: float = 5.0
    look: float = 900.0
    step: float = 0.003
    rest: float = 4.0
    pause: float = 0.015
    lease: float = 120.0


TIMES = Times()


class Records(Protocol):
    """What is asked of a store here."""

    async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged: ...
    async def cut_addresses(self, mark: PurgeMark, since: float, before: float, most: int) -> Purged: ...
    async def oldest(self) -> float | None: ...
    async def cursor(self, mailbox: str) -> Cursor | None: ...
    async def save_cursor(self, cursor: Cursor) -> None: ...
    async def take_leases(self, mailboxes: Collection[str], holder: str, seconds: float) -> frozenset[str]: ...
    async def release_leases(self, holder: str) -> None: ...


class Lost(Exception):
    """Another process has the lease now."""


class Retention:
    """`days` and `ip_days` are the settings; 0 of the latter is as long as all else. `holder` is this process. `folder` is
    the state folder, where this process looks after files."""

    def __init__(
        self,
        records: Records,
        *,
        days: int,
        ip_days: int = 0,
        holder: str,
        folder: Path,
        times: Times = TIMES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records, self._days, self._ip_days = records, days, ip_days
        self._holder, self._folder = holder, folder
        self._times, self._clock = times, clock
        self._most = MOST
        self._held_until = 0.0
        self._ahead = clock() - time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(self._times.first)
        while True:
            try:
                await self.look()
            except (store.Unavailable, Lost) as reason:  # the store says the former itself
                LOG.debug("retention_put_off", reason=reason)
            await asyncio.sleep(self._times.look)

    async def look(self) -> None:
        """All that is too old now, once. Raises `Unavailable`."""
        began = self._clock()
        ahead, self._ahead = self._ahead, began - time.monotonic()
        if self._ahead - ahead > DAY:
            LOG.warning(
                "clock_jumped",
                by=f"{(self._ahead - ahead) / DAY:.0f} d",
                advice="nothing is deleted before the next look",
            )
            return
        # On the hour: what an hour's counters are made of goes as a whole.
        before = (began - self._days * DAY) // HOUR * HOUR
        await asyncio.to_thread(self._files, before)
        self._held_until = 0.0
        try:
            await self._hold()
        except Lost:
            return
        try:
            rows = await self._through(lambda mark, most: self._records.purge(mark, before, most))
            cut = await self._addresses(before, began)
        finally:
            with contextlib.suppress(store.Unavailable):  # it runs out
                await self._records.release_leases(self._holder)
        oldest = await self._records.oldest()
        metrics.RETENTION_OLDEST.set(max(0.0, self._clock() - oldest) if oldest is not None else 0.0)
        if rows or cut:
            LOG.info(
                "retention_done", seconds=round(self._clock() - began, 1), before=_day(before), cut=cut.total() or None,
                **dict(rows),
            )  # fmt: skip

    async def _addresses(self, kept_from: float, now: float) -> Counter[str]:
        if not 0 < self._ip_days < self._days:
            return Counter()
        before = now - self._ip_days * DAY
        known = await self._records.cursor(CUT)
        since = max(kept_from, known.at - LATE) if known else kept_from
        if known and before - known.at < HOUR:
            return Counter()
        rows = await self._through(lambda mark, most: self._records.cut_addresses(mark, since, before, most), cut=True)
        await self._records.save_cursor(Cursor(CUT, at=before))
        return rows

    async def _through(self, step: Callable[[PurgeMark, int], Awaitable[Purged]], *, cut: bool = False) -> Counter[str]:
        """Step by step to the end: the rows by table."""
        rows: Counter[str] = Counter()
        mark: PurgeMark | None = PurgeMark()
        while mark is not None:
            await self._hold()
            began = time.perf_counter()
            done = await step(mark, self._most)
            took = time.perf_counter() - began
            metrics.RETENTION_SECONDS.inc(took)
            here = Counter({table: number for table, number in done.rows.items() if number})
            rows += here
            for table, number in here.items():
                (metrics.RETENTION_CUT if cut else metrics.RETENTION_DELETED).labels(table).inc(number)
            if here:
                self._adapt(took)
                await asyncio.sleep(max(self._times.pause, self._times.rest * took))
            mark = done.next
        return rows

    def _adapt(self, took: float) -> None:
        """The store is slow where it has much to do: then less is asked of it."""
        if took > self._times.step:
            self._most = max(FEWEST, self._most // 2)
        elif took < self._times.step / 2:
            self._most = min(MOST, self._most * 5 // 4)

    async def _hold(self) -> None:
        """The lease, well before it runs out. Raises `Lost`."""
        now = time.monotonic()
        if now < self._held_until:
            return
        if not await self._records.take_leases([LEASE], self._holder, self._times.lease):
            raise Lost
        self._held_until = now + self._times.lease / 2

    # -- in a thread

    def _files(self, before: float) -> None:
        """What lies about, by when it was written last: events that the store refused, segments of processes that are gone
        while no process here hands them on, mail that could not be read, notes of what was dropped."""
        number = 0
        for path in leftovers(self._folder):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < before and remove(path):
                    number += 1
        if number:
            metrics.RETENTION_DELETED.labels("files").inc(number)
            LOG.info("retention_files", number=number, before=_day(before))


def leftovers(folder: Path) -> Iterable[Path]:
    for name, kinds in (("journal", ("*.jsonl", "*.tmp")), ("spool", ("broken/*", "*.dropped", "*.tmp"))):
        for kind in kinds:
            yield from (folder / name).glob(kind)


def remove(path: Path) -> bool:
    """False where a process has it."""
    if path.suffix != ".jsonl":
        path.unlink()
        return True
    descriptor = journal.lock(path)
    if descriptor is None:
        return False
    try:
        path.unlink()
    finally:
        os.close(descriptor)
    return True


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(at))
