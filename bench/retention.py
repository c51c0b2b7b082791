"""What is too old goes from a database of 1,000,000 events while pixels go on: their p99 beside it, as a ratio to the same without
(goal: at most 2 x). On SQLite, and with --postgresql on PostgreSQL, from a tenth as many events there.

Two processes with a copy of the database each: one keeps everything, the other cleans. Windows alternate, and while one is
measured the other stands still. Pixels are asked for one after the other with a pause: what is measured is how long each waits.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from bench import _database, _load, _relay, exports, pixel
from relay import store
from relay.store import copying
from relay.store.sql import copying as tables
from relay.store.sql.engine import Engine

EVENTS = 1_000_000
AGE = 400 * 86_400  # seconds since the last event
PAUSE = 0.002  # seconds between two hits
GOAL = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.retention", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--windows", type=int, default=12, help="of each kind")
    parser.add_argument("--seconds", type=float, default=5.0, help="in a window")
    parser.add_argument("--postgresql", action="store_true")
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for kind in ("quiet", "cleaning"):
            (folder / kind / "state").mkdir(parents=True, mode=0o700)
        filled = folder / "quiet" / "state" / "trackrelay.db"
        began = time.perf_counter()
        _database.fill(filled, options.events // (10 if options.postgresql else 1), now=time.time() - AGE)
        asyncio.run(pixel.sent(filled.parent, folder / "paths", "sqlite"))
        shutil.copytree(filled.parent, folder / "cleaning" / "state", dirs_exist_ok=True)
        urls = {"quiet": "sqlite:trackrelay.db", "cleaning": "sqlite:trackrelay.db"}
        if options.postgresql:
            urls = dict(zip(urls, stack.enter_context(copied(filled)), strict=True))
        print(f"filled in {time.perf_counter() - began:.0f} s: {filled.stat().st_size / 1e6:.0f} MB")
        generator = _load.generator(folder)
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        relays = {
            kind: _relay.start(
                stack, folder / kind, sink.port, only="http,admin",
                more=f'hits_per_message = 0\n[store]\nurl = "{url}"\n[privacy]\nretention_days = {days}\n',
            )
            for (kind, url), days in zip(urls.items(), (36_500, 399), strict=True)
        }  # fmt: skip
        return measure(relays, (folder / "paths").read_text().split(), options.windows, options.seconds)


def measure(relays: dict[str, _relay.Relay], paths: list[str], windows: int, seconds: float) -> int:
    until(lambda: rows(relays["cleaning"]) > 0)
    times: dict[str, list[float]] = {kind: [] for kind in relays}
    cleaned, began = rows(relays["cleaning"]), 0.0
    spent = 0.0
    for number in range(windows):
        for kind, relay in sorted(relays.items(), reverse=number % 2 == 0):
            with alone(relay, relays.values()):
                began = time.perf_counter()
                while time.perf_counter() - began < seconds:
                    times[kind] += exports._times(partial(hit, relay.http, paths), 100, PAUSE)
                spent += (time.perf_counter() - began) if kind == "cleaning" else 0.0
    cleaned = rows(relays["cleaning"]) - cleaned
    found = {kind: exports._p99(sorted(own)) for kind, own in times.items()}
    medians = {kind: sorted(own)[len(own) // 2] for kind, own in times.items()}
    ratio = found["cleaning"] / found["quiet"]
    for kind, own in times.items():
        print(
            f"  {kind:8}  {len(own)} pixels: median {medians[kind]:.2f} ms, p99 {found[kind]:.2f} ms, most {max(own):.1f} ms"
        )
    print(f"  p99 {ratio:.2f} x (goal {GOAL} x); {cleaned / max(spent, 1e-9):.0f} rows a second went meanwhile")
    if not cleaned:
        sys.exit("nothing was cleaned")
    return 1 if ratio > GOAL else 0


def hit(port: int, paths: list[str], number: int) -> None:
    exports._hit(port, paths[number % len(paths)])


def rows(relay: _relay.Relay) -> float:
    """That went, so far."""
    found = _load.metrics(relay.admin)
    return sum(number for name, number in found.items() if name.startswith("trackrelay_retention_deleted_rows_total"))


@contextlib.contextmanager
def alone(relay: _relay.Relay, others: Iterable[_relay.Relay]) -> Iterator[None]:
    """Meanwhile the other one stands still."""
    stopped = [other.pid for other in others if other.pid != relay.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def until(true: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            sys.exit("the cleaning does not begin")
        time.sleep(0.2)


@contextlib.contextmanager
def copied(filled: Path) -> Iterator[list[str]]:
    """The same in two databases of a server of its own: their URLs."""
    from tests.peers import postgres

    async def fill(url: str) -> None:
        source, target = store.open("sqlite:trackrelay.db", filled.parent), store.open(url, filled.parent)
        assert isinstance(source, Engine)
        assert isinstance(target, Engine)
        for one in (source, target):
            await one.start()
        for table in tables.TABLES:
            await copying.carry(source, target, table, lambda *_: None)
        await target.write(tables.close, await source.read(tables.ends))
        for one in (source, target):
            await one.stop()

    with postgres.running() as server:
        urls = []
        for name in ("quiet", "cleaning"):
            server.psql(f"CREATE DATABASE {name}")
            urls.append(server.url(name))
            asyncio.run(fill(urls[-1]))
        yield urls


if __name__ == "__main__":
    sys.exit(main())
