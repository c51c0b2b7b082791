"""Events appended and messages recorded per second, each durable when its caller goes on, as ratios to a loop of plain
sqlite3 transactions of one row each, on the same disk in the same run, with the same settings (WAL, synchronous FULL).

CPU is that of the whole process, the waiters included.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench import _load
from relay import store as stores
from relay.core import tally
from relay.core.model import Endpoint, Event, Sent, SentCopy
from relay.store.contract import Store

ROWS, EVENTS, SENT = 600, 6000, 1500  # a round
MESSAGES = 500


def plain(folder: Path) -> _load.Result:
    """One row, one transaction, after the other."""
    db = sqlite3.connect(folder / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, message TEXT, at REAL, agent TEXT)")
    begun, cpu = time.perf_counter(), time.process_time()
    for number in range(ROWS):
        db.execute("INSERT INTO rows (message, at, agent) VALUES (?, ?, ?)", (f"m{number}", time.time(), "Mail/1.0"))
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    db.close()
    return figures(ROWS, took, cpu)


def figures(count: int, took: float, cpu: float) -> _load.Result:
    """As `_load.rounds` takes them: p50_ms carries microseconds of CPU per operation here."""
    return {"per_second": count / took, "p50_ms": cpu / count * 1e6, "p99_ms": 0.0}


def by_many(count: int, waiters: int, work: Callable[[Store, int], Awaitable[Any]]) -> Callable[[Path], _load.Result]:
    async def run(folder: Path) -> _load.Result:
        store = stores.open("sqlite:store.db", folder)
        await store.start()
        left = iter(range(count))

        async def waiter() -> None:
            for number in left:
                await work(store, number)

        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(waiter() for _ in range(waiters)))
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        await store.stop()
        return figures(count, took, cpu)

    return lambda folder: asyncio.run(run(folder))


def append(store: Store, number: int) -> Awaitable[Any]:
    return store.append(
        Event(
            tally.event_id(time.time(), os.urandom(10)),
            "message.link_clicked",
            f"message-{number % MESSAGES:012d}",
            time.time(),
            url="https://www.example.com/",
            ip=f"192.0.{number >> 8 & 255}.{number & 255}",  # one client's second click would be none
            user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
        )
    )


def record(store: Store, number: int) -> Awaitable[Any]:
    return store.record_sent(sent(f"{time.time_ns():020d}-{number}"))


def sent(message_id: str) -> Sent:
    return Sent(
        message_id, "default", f"{message_id}@example.com", time.time(), "ann@example.com", "ann@example.com",
        to=("bob@example.org",), subject="A message of the usual kind", opens=True, links_tracked=True,
        links=tuple(f"https://www.example.com/{n}" for n in range(10)), copies=(SentCopy("bob@example.org", 0, True),),
        explanation={"parts": [{"path": "1", "action": "edited"}], "links": 10, "pixel": "1"},
    )  # fmt: skip


async def prepare(folder: Path) -> None:
    store = stores.open("sqlite:store.db", folder)
    await store.start()
    await store.sync_endpoints([Endpoint("e1", "https://app.example.com/hooks", ("message.link_clicked",))])
    await asyncio.gather(*(store.record_sent(sent(f"message-{n:012d}")) for n in range(MESSAGES)))
    await store.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(prepare(folder))
        base = "sqlite3, one row a transaction"
        subjects = {
            base: plain,
            "events appended, 64 waiters, one webhook owed": by_many(EVENTS, 64, append),
            "events appended, 1 waiter": by_many(ROWS, 1, append),
            "messages recorded, 10 waiters": by_many(SENT, 10, record),
        }
        found = _load.rounds(options.rounds, {k: (lambda s=s: s(folder)) for k, s in subjects.items()})  # type: ignore[misc]
    print(f"\nstore, {options.rounds} rounds, medians")
    for name, result in found.items():
        ratio = result["per_second"] / found[base]["per_second"]
        print(f"  {name:46} {result['per_second']:8.0f}/s   CPU {result['p50_ms']:6.1f} us   {ratio:6.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
