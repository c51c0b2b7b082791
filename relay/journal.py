"""Events that the store could not take, kept on disk until it can.

Owns: the files, their format, and feeding them back into the store. Leaves to others: when an event comes here
(`tracking_http.public`), and that an event which comes twice is written once (the store, by `event_id`).

The journal is a folder of segments, `<nanoseconds>-<pid>-<number>.jsonl`. Each is written by one process, which holds
a `flock` on it; if that process dies, whoever gets the lock reads the segment. A line is the CRC-32 of the rest in
eight hexadecimal digits, a space, and the event as JSON. A line that a crash cut short is recognised and skipped, and
no other line is lost with it. An event that the store refuses for another reason than being unavailable goes to
`refused.jsonl`, and holds up nothing.

A kill loses only what `append` had not yet returned for: the events that came in during one fsync.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from relay import files, log, metrics
from relay import store as stores
from relay.core import floods, tally
from relay.core.model import Event

LOG = log.room("journal")
BATCH = 256  # events on their way into the store at once
DECODER = msgspec.json.Decoder(Event)


class Takes(Protocol):
    """What is asked of a store here."""

    def append(self, event: Event) -> Awaitable[Event | floods.Folded | None]: ...

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None: ...


class Journal:
    """The journal in the folder `path`, with at most `limit` octets in all its segments. `pause` is the time in seconds
    between two rounds, and after the store refused; `look` the time between looks for segments of dead processes."""

    def __init__(self, path: Path, limit: int = 64_000_000, *, pause: float = 1.0, look: float = 15.0) -> None:
        self.path = path
        self.limit = limit
        self._pause, self._look = pause, look
        self._queue: list[tuple[bytes, asyncio.Future[bool]]] = []
        self._queued = 0  # octets
        self._size: int | None = None  # octets on disk; None until measured
        self._writer: asyncio.Task[None] | None = None
        self._segment: tuple[Path, int] | None = None  # the one being written, and its descriptor
        self._made = 0
        self._refusing = False
        self._work = asyncio.Event()
        self._lock = asyncio.Lock()  # over the segment being written
        metrics.follow(metrics.JOURNAL, self._measure)

    async def append(self, event: Event) -> bool:
        """The event is durable when this returns True. False: the journal is full or the disk refuses, and the event is
        still the caller's. Events that come at the same time share one fsync."""
        line = encode(event)
        if self._size is None:
            try:
                self._size = self._measure()  # once, and quick; in a thread the order of events would be lost
            except OSError as error:
                return self._refuses(error)
        if self._size + self._queued + len(line) > self.limit:
            return self._refuses("full")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append((line, waiter))
        self._queued += len(line)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_queue())
        return await waiter

    def _refuses(self, why: object) -> bool:
        if not self._refusing:  # one line for each spell of trouble
            self._refusing = True
            LOG.error("takes_nothing", why=why, folder=self.path, limit=self.limit)
        return False

    async def _write_queue(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            data = b"".join(line for line, _ in batch)
            async with self._lock:
                try:
                    await asyncio.to_thread(self._write, data)
                    written = True
                except OSError as error:
                    written = self._refuses(error)
            self._queued -= len(data)
            if written:
                self._size = (self._size or 0) + len(data)
                self._refusing = False
                metrics.JOURNALED.inc(len(batch))
                self._work.set()
            for _, waiter in batch:
                if not waiter.done():
                    waiter.set_result(written)

    async def run(self, store: Takes) -> None:
        """Feeds the segments to the store, oldest first and each in order, until cancelled."""
        while True:
            try:
                settled = await self._round(store)
            except OSError as error:
                metrics.ERRORS.labels("journal").inc()
                LOG.error("journal_read_failed", error=error)
                settled = True
            await asyncio.sleep(self._pause)
            if settled and not self._work.is_set():
                # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the work.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._look):
                        await self._work.wait()

    async def stop(self) -> None:
        """Waits until what is being written is on disk."""
        if self._writer is not None:
            await asyncio.wait((self._writer,))
        async with self._lock:
            self._close()

    async def _round(self, store: Takes) -> bool:
        """Whether everything has gone into the store."""
        self._work.clear()
        async with self._lock:
            self._close()  # events that come from now on go to a new segment
        for segment in await asyncio.to_thread(self._segments):
            descriptor = await asyncio.to_thread(lock, segment)
            if descriptor is None:
                continue
            try:
                if not await self._feed(segment, store):
                    return False
                await asyncio.to_thread(segment.unlink)
            finally:
                os.close(descriptor)
            self._size = await asyncio.to_thread(self._measure)
        return True

    async def _feed(self, segment: Path, store: Takes) -> bool:
        """What is only to be counted is handed over once all of the segment was fed, under its name: it may be fed again."""
        fed = broken = 0
        folded: Counter[tuple[str, str]] = Counter()
        for batch in batches(await asyncio.to_thread(segment.read_bytes)):
            events = [event for event in batch if event is not None]
            broken += len(batch) - len(events)
            # They are started in order, so the store queues them in order, and many share one commit.
            results = await asyncio.gather(*(store.append(event) for event in events), return_exceptions=True)
            for event, result in zip(events, results, strict=True):
                if isinstance(result, stores.Unavailable):
                    return False
                if isinstance(result, Exception):
                    await asyncio.to_thread(self._refuse, event, result)
                elif isinstance(result, floods.Folded):
                    folded[event.message_id, floods.token(event)] += 1
                fed += 1
        if folded and not await self._fold(segment, store, [floods.Fold(*key, hits) for key, hits in folded.items()]):
            return False
        LOG.info("journal_replayed", events=fed, broken=broken or None)
        return True

    async def _fold(self, segment: Path, store: Takes, folds: Sequence[floods.Fold]) -> bool:
        try:
            await store.fold(folds, segment.stem, 1)
        except stores.Unavailable:
            return False
        except Exception:  # the edge: a number is not worth that the segment stays
            metrics.ERRORS.labels("journal").inc()
            LOG.exception("fold_failed")
        return True

    def _refuse(self, event: Event, error: Exception) -> None:
        metrics.ERRORS.labels("journal").inc()
        LOG.error("event_refused", event_id=event.event_id, error=repr(error))
        descriptor = files.open(self.path / "refused.jsonl", os.O_APPEND)
        try:
            files.fill(descriptor, encode(event))
            os.fsync(descriptor)  # its segment is deleted next
        finally:
            os.close(descriptor)

    # -- in a thread

    def _write(self, data: bytes) -> None:
        if self._segment is None:
            self._segment = self._open()
        descriptor = self._segment[1]
        start = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            files.fill(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):  # the rest of a batch would break the next line
                os.ftruncate(descriptor, start)
            raise

    def _open(self) -> tuple[Path, int]:
        files.make_folder(self.path)
        self._made += 1
        path = self.path / f"{time.time_ns():020d}-{os.getpid()}-{self._made}.jsonl"
        descriptor = files.create(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            files.sync(self.path)
        except OSError:
            os.close(descriptor)  # it is empty, and harmless when it is read
            raise
        return path, descriptor

    def _close(self) -> None:
        if self._segment is not None:
            os.close(self._segment[1])
            self._segment = None

    def _segments(self) -> list[Path]:
        return sorted(p for p in self.path.glob("*.jsonl") if p.name != "refused.jsonl")

    def _measure(self) -> int:
        total = 0
        for path in self._segments():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total


def lock(path: Path) -> int | None:
    """A descriptor that holds the segment's lock. None if another process holds it, or the segment is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists():  # whoever held the lock before may have finished with it
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def encode(event: Event) -> bytes:
    """A line, without what the privacy settings allow in memory only."""
    if tally.TRANSIENT in event.data:
        event = event.with_(data={k: v for k, v in event.data.items() if k != tally.TRANSIENT})
    body = msgspec.json.encode(event)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode(line: bytes) -> Event | None:
    """The event in a line, or None if the line is not whole."""
    check, _, body = line.partition(b" ")
    try:
        return DECODER.decode(body) if int(check, 16) == zlib.crc32(body) else None
    except (ValueError, msgspec.MsgspecError):
        return None


def batches(data: bytes) -> Iterator[list[Event | None]]:
    """The decoded lines of a segment, in batches."""
    lines = data.split(b"\n")
    if not lines[-1]:  # what follows the last line ending; anything there is a line that was cut short
        lines.pop()
    for start in range(0, len(lines), BATCH):
        yield [decode(line) for line in lines[start : start + BATCH]]
