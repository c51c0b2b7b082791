"""What a message, a hit and each question cost a store of 10,000, 1,000,000 and 10,000,000 messages and events, as ratios to
the smallest. Goals: at most 1.3 x for a message and a hit.

The stores are filled by the database itself (see tests/store/filled.py); SQLite's stay in a folder, so that a second run
begins at once, until `--remove`. A message has one recipient; hits are of mail of the last day, and of any mail there is.
Operations come from 16 waiters, in the batches that the store makes of them. CPU is that of this process, and with
PostgreSQL that of the server's processes too. 1,000,000 take 1.9 GB and half a minute to fill in SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from bench import _load
from relay import store as stores
from relay.core import tally, tokens
from relay.core.model import Event, Sent, SentCopy
from tests.peers import postgres
from tests.store import asks, filled

SIZES = (10_000, 1_000_000)
GOAL, SLOW = 1.3, 1.5
WAITERS = 16
SERVER = {
    "fsync": "on", "full_page_writes": "on", "shared_buffers": "512MB", "max_wal_size": "8GB", "autovacuum": "on",
    "effective_cache_size": "2GB",
}  # fmt: skip


class Subject(NamedTuple):
    """A store of that many messages. `cpu` gives the seconds that it, and this process, have used."""

    store: Any
    of: filled.Filled
    cpu: Callable[[], float]


class Spent(NamedTuple):
    """Microseconds an operation."""

    cpu: float
    wall: float


def said(text: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {text}", flush=True)


async def sqlite(folder: Path, size: int) -> Subject:
    path = folder / f"scale-{size}.db"
    part, mark = path.with_suffix(".part"), path.with_suffix(".now")
    if not mark.exists():
        for old in folder.glob(f"{part.name}*"):
            old.unlink()
        of = filled.Filled(size, float(int(time.time())))
        await asyncio.to_thread(filled.sqlite, part, of, said)
        part.replace(path)
        mark.write_text(str(of.now))
    store: Any = stores.open(f"sqlite:{path}", folder)
    await store.start()
    said(
        f"SQLite with {size}: {path.stat().st_size / size:.0f} octets a message and event, {path.stat().st_size / 1e9:.1f} GB"
    )
    return Subject(store, filled.Filled(size, float(mark.read_text())), time.process_time)


async def of_postgres(server: postgres.Server, url: str, size: int) -> Subject:
    of = filled.Filled(size, float(int(time.time())))
    db = await asyncpg.connect(url)
    await filled.postgres(db, of, said)
    octets = await db.fetchval("SELECT pg_database_size(current_database())")
    await db.close()
    store: Any = stores.open(url, Path("/"))
    await store.start()
    said(f"PostgreSQL with {size}: {octets / size:.0f} octets a message and event, {octets / 1e9:.1f} GB")
    return Subject(store, of, lambda: time.process_time() + server.cpu())


async def spent(subject: Subject, count: int, work: Callable[[Subject, int], Awaitable[Any]]) -> Spent:
    left = iter(range(count))

    async def waiter() -> None:
        for number in left:
            await work(subject, number)

    began, cpu = time.perf_counter(), subject.cpu()
    await asyncio.gather(*(waiter() for _ in range(WAITERS)))
    return Spent((subject.cpu() - cpu) / count * 1e6, (time.perf_counter() - began) / count * 1e6)


def record(subject: Subject, number: int) -> Awaitable[Any]:
    now, some = time.time(), random.randbytes(12)
    message_id = tokens.message_id(tokens.message_key(now, some))
    recipient = f"r{some[:4].hex()}@example.org"
    return subject.store.record_sent(
        Sent(
            message_id, "sales", f"{some.hex()}@mail.example", now, f"ann{number % 10}@example.com", "b@example.com",
            to=(recipient,), subject="A message of the usual kind", label=f"campaign-{number % 5}", opens=True,
            links_tracked=True, links=tuple(f"https://shop{n}.example.com/offers/spring" for n in range(5)),
            copies=(SentCopy(recipient, 0, True),), explanation={"parts": [{"path": "1", "action": "edited"}]},
        )
    )  # fmt: skip


def hit(share: float) -> Callable[[Subject, int], Awaitable[Any]]:
    """Of the last messages, so much of all of them."""

    def work(subject: Subject, number: int) -> Awaitable[Any]:
        size, now = subject.of.size, time.time()
        message_id = subject.of.message(size - 1 - random.randrange(max(1, int(size * share))))
        client = random.randbytes(4)
        return subject.store.append(
            Event(
                tally.event_id(now, random.randbytes(10)), "message.link_clicked", message_id, now, link_index=number % 5,
                url=f"https://shop{number % 5}.example.com/offers/spring", ip=".".join(map(str, client)), user_agent=filled.AGENT,
            )
        )  # fmt: skip

    return work


OPERATIONS = {
    "a message": record,
    "a hit of the last day's mail": hit(1 / filled.DAYS),
    "a hit of any mail": hit(1.0),
}


async def costs(subjects: Sequence[Subject], rounds: int, count: int) -> None:
    print(f"\nscale, {rounds} rounds of {count}, medians, in us an operation", flush=True)
    for name, work in OPERATIONS.items():
        found: list[list[Spent]] = [[] for _ in subjects]
        for number in range(rounds + 1):
            for subject, own in zip(subjects, found, strict=True):
                one = await spent(subject, count, work)
                own += [one] if number else []
        medians = [Spent(*map(statistics.median, zip(*own, strict=True))) for own in found]
        for subject, one in zip(subjects, medians, strict=True):
            ratio = one.cpu / medians[0].cpu
            print(f"  {name:30} {subject.of.size:>11} CPU {one.cpu:8.1f} {ratio:5.2f} x   wall {one.wall:8.1f}"
                  f" {one.wall / medians[0].wall:5.2f} x{'   OVER' if ratio > GOAL else ''}", flush=True)  # fmt: skip


async def questions(subjects: Sequence[Subject], calls: int) -> None:
    """p50 and p99 of each, and those that take longer in a larger one."""
    every = [{**dict(asks.lists(subject.of)), **dict(asks.reads(subject.of))} for subject in subjects]
    slow = 0
    worst = [0.0] * len(subjects)
    for name in every[0]:
        times: list[list[float]] = [[] for _ in subjects]
        for number in range(calls + 1):
            for subject, own, taken in zip(subjects, every, times, strict=True):
                began = time.perf_counter()
                await own[name](subject.store)
                taken += [(time.perf_counter() - began) * 1e3] if number else []
        halves = [statistics.median(some) for some in times]
        ends = [sorted(some)[int(len(some) * 0.99) - 1] for some in times]
        worst = [max(both) for both in zip(worst, halves, strict=True)]
        if max(halves) > SLOW * halves[0] + 0.3:
            slow += 1
            figures = "   ".join(f"{half:7.2f} {end:7.2f}" for half, end in zip(halves, ends, strict=True))
            print(f"  {name[:60]:60} p50, p99 in ms: {figures}", flush=True)
    print(
        f"  {len(every[0]) - slow} of {len(every[0])} questions take no longer; the dearest p50: {', '.join(f'{x:.1f} ms' for x in worst)}"
    )


@contextlib.asynccontextmanager
async def opened(engine: str, folder: Path, sizes: Sequence[int]) -> AsyncIterator[list[Subject]]:
    async with contextlib.AsyncExitStack() as stack:
        if engine == "sqlite":
            subjects = [await sqlite(folder, size) for size in sizes]
        else:
            server = stack.enter_context(postgres.running(SERVER))
            urls = [await stack.enter_async_context(server.database()) for _ in sizes]
            subjects = [await of_postgres(server, url, size) for url, size in zip(urls, sizes, strict=True)]
        yield subjects
        for subject in subjects:
            await subject.store.stop()


async def run(options: argparse.Namespace) -> None:
    for engine in options.engine or ("sqlite", "postgresql"):
        print(f"\n{engine}", flush=True)
        async with opened(engine, options.folder, options.sizes) as subjects:
            await costs(subjects, options.rounds, options.count)
            if options.calls:
                await questions(subjects, options.calls)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="messages, the smallest first")
    parser.add_argument("--engine", action="append", choices=("sqlite", "postgresql"))
    parser.add_argument(
        "--folder", type=Path, default=Path("/var/tmp/trackrelay-scale"), help="where SQLite's files stay"
    )
    parser.add_argument("--remove", action="store_true", help="them, and do nothing else")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1_500, help="operations in a round")
    parser.add_argument("--calls", type=int, default=10, help="of each question; 0 for none")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if options.remove:
        for path in options.folder.glob("scale-*"):
            path.unlink()
        return 0
    _load.header()
    asyncio.run(run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
