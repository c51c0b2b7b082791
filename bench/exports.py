"""Exports of 1,000,000 events by a running program: how its memory grows (goal: under 20 MB), also behind a reader that
stops reading and under one that goes away; and the p99 of pixels and of mail through the same process meanwhile, as a
ratio to the same without, beside that under sums of a week.

Pixels and mail are asked for one after the other with a pause, as a person's mail program does it: what is measured is
how long each waits, not how many there can be.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import shutil
import smtplib
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import _database, _load, _relay, pixel

EVENTS = 1_000_000
GOAL = 20_000_000  # octets
STALLED = 5.0  # seconds that a reader does not read
PAUSE = 0.004  # seconds between two hits
EXPORTS = ("events", "events?format=jsonl", "messages", "messages?format=jsonl", "aggregates")
WEEK = "/api/aggregates?by=label&step=hour"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.exports", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--database", type=Path, help="one that is there, of which a copy is made")
    parser.add_argument("--hits", type=int, default=1500, help="pixels in one measurement")
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        (folder / "relay" / "state").mkdir(parents=True, mode=0o700)
        database = folder / "relay" / "state" / "trackrelay.db"
        if options.database:
            shutil.copy(options.database, database)
        else:
            _database.fill(database, options.events, now=time.time())
        asyncio.run(pixel.sent(folder / "relay" / "state", folder / "paths"))
        generator = _load.generator(folder)
        sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
        relay = _relay.start(
            stack, folder / "relay", sink.port, more="hits_per_message = 0", only="smtp,queue,http,admin"
        )
        over = memory(relay)
        latency(relay, (folder / "paths").read_text().split(), options.hits)
    return 1 if over else 0


# -- memory ------------------------------------------------------------------------------------------------------------


def memory(relay: _relay.Relay) -> list[str]:
    """The exports that were over the goal."""
    _read(relay, "events", most=1_000_000)  # caches, and what is imported with the first
    _read(relay, "messages", most=1_000_000)
    print(f"\nmemory of the process, goal {GOAL / 1e6:.0f} MB more")
    over = []
    for what in EXPORTS:
        began = time.perf_counter()
        size, grown = growth(relay, lambda what=what: _read(relay, what))  # type: ignore[misc]
        rate = size / 1e6 / (time.perf_counter() - began)
        print(f"  {what:24} {size / 1e6:7.1f} MB at {rate:5.1f} MB/s   {grown / 1e6:+6.1f} MB", flush=True)
        over += [what] if grown > GOAL else []
    for what, how in (
        ("a reader that stops", _stall),
        ("ten that stop", _stall_ten),
        ("a hundred that go away", _leave),
    ):
        _, grown = growth(relay, lambda how=how: how(relay))  # type: ignore[misc]
        print(f"  {what:24} {'':25}   {grown / 1e6:+6.1f} MB", flush=True)
        over += [what] if grown > GOAL else []
    return over


def growth(relay: _relay.Relay, work: Callable[[], int]) -> tuple[int, int]:
    """What it gives, and how much more memory the process had at most meanwhile."""
    before = highest = _load.resident(relay.pid)[0]
    ended = threading.Event()

    def look() -> None:
        nonlocal highest
        while not ended.wait(0.05):
            highest = max(highest, _load.resident(relay.pid)[0])

    looking = threading.Thread(target=look)
    looking.start()
    try:
        given = work()
    finally:
        ended.set()
        looking.join()
    return given, highest - before


def _read(relay: _relay.Relay, what: str, most: int = sys.maxsize) -> int:
    """Octets. Ends the bench where the export breaks off."""
    connection = http.client.HTTPConnection("127.0.0.1", relay.admin, timeout=60)
    connection.request("GET", f"/api/export/{what}")
    answer = connection.getresponse()
    size = 0
    while size < most and (part := answer.read(1 << 16)):
        size += len(part)
    connection.close()
    return size


def _stall(relay: _relay.Relay) -> int:
    return _stalled(relay, 1)


def _stall_ten(relay: _relay.Relay) -> int:
    return _stalled(relay, 10)


def _stalled(relay: _relay.Relay, count: int) -> int:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            reader = stack.enter_context(_asking(relay))
            reader.recv(1000)
        time.sleep(STALLED)
    return 0


def _leave(relay: _relay.Relay) -> int:
    for _ in range(100):
        with _asking(relay) as reader:
            reader.recv(1000)
    time.sleep(1)
    return 0


@contextlib.contextmanager
def _asking(relay: _relay.Relay) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", relay.admin), timeout=60) as reader:
        reader.sendall(b"GET /api/export/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        yield reader


# -- the others meanwhile ----------------------------------------------------------------------------------------------


def latency(relay: _relay.Relay, paths: list[str], count: int) -> None:
    port = relay.http
    mail = _relay.newsletter(5_000)
    print(f"\np99 of {count} pixels and {count // 10} messages through the same process, in ms")
    base: tuple[float, float] | None = None
    for name, path in (
        ("nothing else", ""),
        ("an export", "/api/export/events"),
        ("sums of a week", WEEK),
        ("nothing else", ""),
    ):
        with _busy(relay, path) as asked:
            hits = _times(lambda n: _hit(port, paths[n % len(paths)]), count, PAUSE)
            sent = _times(lambda n: _send(relay.port, mail), count // 10, PAUSE * 5)
            times = asked()
        found = (_p99(hits), _p99(sent))
        base = base or found
        ratios = " ".join(f"{x:7.2f} ms {x / y:5.2f} x  " for x, y in zip(found, base, strict=True))
        print(f"  beside {name:16} ({times:4} times)  pixels {ratios.replace('   ', '   mail ', 1)}", flush=True)


@contextlib.contextmanager
def _busy(relay: _relay.Relay, path: str) -> Iterator[Callable[[], int]]:
    """Asks for that path again and again, without a pause."""
    ended, times = threading.Event(), 0

    def ask() -> None:
        nonlocal times
        while path and not ended.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", relay.admin, timeout=60)
            connection.request("GET", path)
            answer = connection.getresponse()
            while not ended.is_set() and answer.read(1 << 16):
                pass
            connection.close()
            times += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield lambda: times
    finally:
        ended.set()
        asking.join()


def _times(work: Callable[[int], None], count: int, pause: float) -> list[float]:
    found = []
    for number in range(count):
        began = time.perf_counter()
        work(number)
        found.append((time.perf_counter() - began) * 1e3)
        time.sleep(pause)
    return sorted(found)


def _p99(times: list[float]) -> float:
    return times[int(len(times) * 0.99) - 1]


def _hit(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        sys.exit(f"{path}: {answer.status}")


def _send(port: int, mail: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.sendmail("sender@example.com", ["recipient@example.org"], mail)


if __name__ == "__main__":
    sys.exit(main())
