"""Notifications per second to receivers on this machine that answer at once: what is owed when the process starts, until
all of it is delivered, each signed, sent, and settled in the database. As a ratio to POSTs of one notification's size by
the library alone (aiohttp, the same number at a time), in the same run.

One endpoint gets at most so many at a time (`webhooks.LANE`), so the same is measured for several.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import aiohttp

from bench import _database, _load
from relay.core.model import Endpoint
from relay.store.sqlite import database

EVENTS = 3_000
RELAY = """
state_dir = "state"
[upstream]
url = "smtp://127.0.0.1:9"
[tracking]
url = "https://t.example.com"
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
[admin]
listen = "127.0.0.1:{admin}"
open = true
"""


def owed(folder: Path, ports: Sequence[int]) -> int:
    """A database in which each endpoint is owed the same; the number of all."""
    state = folder / "state"
    state.mkdir(parents=True, mode=0o700)
    endpoints = [
        Endpoint(
            f"wh_{n}", f"http://127.0.0.1:{port}/hook", ("message.opened", "message.link_clicked"), secret="whsec_AAAA",
            source="api",
        )
        for n, port in enumerate(ports)
    ]  # fmt: skip
    filled = _database.fill(
        state / "trackrelay.db", EVENTS // len(ports), now=time.time(), owed_to=endpoints, delivered=False
    )
    return filled.deliveries


def delivered(folder: Path, ports: Sequence[int]) -> float:
    """Notifications per second."""
    count = owed(folder, ports)
    (admin,) = _load.free_ports(1)
    began = time.perf_counter()
    with _load.relay(folder, RELAY.format(admin=admin), "--only", "webhooks"):
        first = None
        while (done := settled(folder)) < count:
            if done and first is None:
                first = (done, time.perf_counter())  # the start of the process is not counted
            if time.perf_counter() - began > 120:
                sys.exit(f"{done} of {count} are delivered after two minutes: see {folder}/stderr.log")
            time.sleep(0.02)
        ended = time.perf_counter()
    at, when = first or (0, began)
    return (count - at) / (ended - when)


def settled(folder: Path) -> int:
    with closing(database.connect(folder / "state" / "trackrelay.db", busy=1.0, reading=True)) as db:
        found = db.execute("SELECT coalesce(sum(number), 0) FROM standings WHERE state = 'delivered'").fetchone()
    return int(found[0])


async def posted(port: int, size: int, at_once: int) -> float:
    """POSTs per second by the library alone."""
    body, left = b"x" * size, itertools.repeat(None, EVENTS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def client() -> None:
            for _ in left:
                async with session.post(f"http://127.0.0.1:{port}/hook", data=body) as answer:
                    await answer.read()

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(at_once)))
        return EVENTS / (time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.notifications", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    _load.header()
    found: dict[str, list[float]] = {"aiohttp alone, 50 at a time": [], "one endpoint": [], "five endpoints": []}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ports = [
            stack.enter_context(
                _load.printing_its_port(sys.executable, "-m", "bench._subjects", "receiver", log=folder / f"{n}.log")
            ).port
            for n in range(5)
        ]
        for number in range(options.rounds):
            found["aiohttp alone, 50 at a time"].append(asyncio.run(posted(ports[0], 700, 50)))
            found["one endpoint"].append(delivered(folder / f"one-{number}", ports[:1]))
            found["five endpoints"].append(delivered(folder / f"five-{number}", ports))
    print(f"\nnotifications, some {EVENTS} owed, {options.rounds} rounds, medians")
    base = statistics.median(found["aiohttp alone, 50 at a time"])
    for what, rates in found.items():
        print(f"  {what:30} {statistics.median(rates):7.0f}/s   {statistics.median(rates) / base:5.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
