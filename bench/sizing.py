"""What a machine needs: processor time, memory and disk for a message and for a hit, as the tables of docs/operations.md.

One process with SQLite, as `trackrelay run` is by default: newsletters of 5 and of 50 kB to a sink in C, and pixels, each stored.
The first table is measured; the second follows from it, for so many messages a day. Processor times are true on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import sqlite3
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import _load, _relay, pixel

SESSIONS, CONNECTIONS = 10, 64
MESSAGES, LARGE, HITS = 10_000, 2_000, 20_000
PER_DAY = (10_000, 100_000, 1_000_000, 10_000_000)
PEAK = 0.1  # of a day's mail that one hour has
HITS_PER_MESSAGE = 2  # pictures and links, machines' too


@dataclass(frozen=True)
class Measured:
    small_ms: float  # processor time of a message
    large_ms: float
    hit_ms: float
    rest_mb: float  # memory
    busy_mb: float
    message_kb: float  # in the database
    hit_kb: float
    log_kb: float


ROWS = {
    "small_ms": ("processor time of a message of 5 kB", "ms"),
    "large_ms": ("processor time of a message of 50 kB", "ms"),
    "hit_ms": ("processor time of a pixel or link that is asked for", "ms"),
    "rest_mb": ("memory of the process at rest", "MB"),
    "busy_mb": ("memory after this bench", "MB"),
    "message_kb": ("database, for a message", "kB"),
    "hit_kb": ("database, for an open or click", "kB"),
    "log_kb": ("log, for a message", "kB"),
}


def written(measured: Measured) -> list[str]:
    """The first table's rows."""
    return [f"| {words} | {figure(getattr(measured, name))} {unit} |" for name, (words, unit) in ROWS.items()]


def read(text: str) -> Measured:
    """From a text that has these rows."""
    found = {}
    for name, (words, unit) in ROWS.items():
        (value,) = re.findall(rf"(?m)^\| {re.escape(words)} \| ([\d.]+) {unit} \|$", text)
        found[name] = float(value)
    return Measured(**found)


def needed(measured: Measured) -> list[str]:
    """The second table's rows: messages a day, of 5 kB and with one recipient, in a second of the busiest hour, processors that are
    busy then, and what a year is on disk."""
    rows = []
    for day in PER_DAY:
        second = day * PEAK / 3600
        busy = second * (measured.small_ms + HITS_PER_MESSAGE * measured.hit_ms) / 1000
        year = day * 365 * (measured.message_kb + HITS_PER_MESSAGE * measured.hit_kb)
        log = day * measured.log_kb
        rows.append(f"| {day:,} | {figure(second)} | {figure(busy)} | {size(year)} | {size(log)} |")
    return rows


def figure(value: float) -> str:
    """With two digits that mean something."""
    if value >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def size(kilobytes: float) -> str:
    for unit in ("kB", "MB", "GB"):
        if kilobytes < 1000:
            return f"{figure(kilobytes)} {unit}"
        kilobytes /= 1000
    return f"{figure(kilobytes)} TB"


def stored(state: Path) -> int:
    """Octets of the database, with all that waits in its log."""
    file = state / "trackrelay.db"
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, size, free = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size", "freelist_count")
        )
    return int((pages - free) * size)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.sizing", description=__doc__)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the messages and hits; less is quicker and coarser"
    )
    share = parser.parse_args().share
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        measured = measure(Path(name), stack, share)
    print("\n| what | figure |\n|---|---|", *written(measured), sep="\n")
    print(
        "\n| messages a day | in a second of the busiest hour | processors busy then | database after a year | log of a day |",
        "|---|---|---|---|---|", *needed(read("\n".join(written(measured)))), sep="\n",  # from what stands above
    )  # fmt: skip
    return 0


def measure(folder: Path, stack: contextlib.ExitStack, share: float) -> Measured:
    many, large, hits = (int(count * share) for count in (MESSAGES, LARGE, HITS))
    generator = _load.generator(folder)
    sink = stack.enter_context(_load.printing_its_port(generator, "sink", log=folder / "sink.log"))
    state, paths = folder / "relay" / "state", folder / "paths"
    state.mkdir(parents=True)
    asyncio.run(pixel.sent(state, paths))
    relay = _relay.start(stack, folder / "relay", sink.port, only="smtp,queue,http,admin")

    def resident() -> float:
        return _load.metrics(relay.admin)["trackrelay_resident_bytes"] / 1e6

    def mail(octets: int, count: int) -> _load.Result:
        file = folder / f"{octets}.eml"
        file.write_bytes(_relay.newsletter(octets))
        return _load.load(generator, "smtp", relay.port, SESSIONS, count, file, pid=relay.pid)

    def all_stored() -> bool:
        """Also those that went by way of the journal."""
        found = _load.metrics(relay.admin)
        seen = sum(value for name, value in found.items() if name.startswith("trackrelay_verdicts_total"))
        return seen >= hits and not found["trackrelay_journal_bytes"]

    rest, log = resident(), folder / "relay" / "stderr.log"
    empty = stored(state)
    asked = _load.load(generator, "http", relay.http, CONNECTIONS, hits, paths, pid=relay.pid)
    deadline = time.monotonic() + 60
    while not all_stored():
        if time.monotonic() > deadline:
            sys.exit(f"not all was stored: see {log}")
        time.sleep(0.5)
    opened = stored(state)
    before = log.stat().st_size
    small = mail(5_000, many)
    _relay.proved(relay, many)
    after, lines = stored(state), log.stat().st_size
    bulk = mail(50_000, large)
    return Measured(
        small["cpu_us"] / 1e3, bulk["cpu_us"] / 1e3, asked["cpu_us"] / 1e3, rest, resident(),
        (after - opened) / many / 1e3, (opened - empty) / hits / 1e3, (lines - before) / many / 1e3,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
