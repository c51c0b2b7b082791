"""Pixel hits per second with each event stored, as a ratio to a plain aiohttp handler that returns the GIF.

Same loop, one process each. Goal: 0.6 x. With --workers N the tracking server has so many processes, and the CPU is that of all of
them (of a database's server none); --store postgresql has it store in PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import _load, _stores
from relay import keys, store
from relay.core import tokens
from relay.core.model import Sent, SentCopy, Token

CONNECTIONS = 64
HITS = 8000  # a round
MESSAGES = 4000  # so many that no pixel is asked for so often that its hits would only be counted

RELAY = """
state_dir = "state"
[upstream]
url = "smtp://127.0.0.1:9"
[tracking]
url = "http://127.0.0.1:{http}"
[http]
listen = "127.0.0.1:{http}"
workers = {workers}
{store}
"""


async def sent(state: Path, file: Path, url: str = "sqlite") -> None:
    """Messages on record, and the paths of their pixels in `file`, one a line."""
    signing = keys.TokenKeys(state / "keys" / "tokens.json")
    shelf = store.open(opened(url), state)
    await shelf.start()
    paths = []

    async def record(number: int) -> None:
        key = tokens.message_key(time.time(), number.to_bytes(6, "big"))
        copy = SentCopy(f"r{number}@example.org", 0, tracked=True)
        await shelf.record_sent(
            Sent(tokens.message_id(key), "default", f"{number}@example.com", time.time(), opens=True, copies=(copy,))
        )
        paths.append("/o/" + tokens.write(Token("open", key, 0), signing.now()))

    await asyncio.gather(*map(record, range(MESSAGES)))
    await shelf.stop()
    file.write_text("\n".join(paths) + "\n")


def opened(url: str) -> str:
    return "sqlite:trackrelay.db" if url == "sqlite" else url


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pixel", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    _stores.arguments(parser)
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder)
        file = folder / "paths"
        (folder / "state").mkdir()
        url = _stores.urls(stack, options.store)()
        asyncio.run(sent(folder / "state", file, url))
        (port,) = _load.free_ports(1)
        toml = RELAY.format(http=port, workers=options.workers, store=_stores.toml(url))
        ours = stack.enter_context(_load.relay(folder, toml, "--only", "http")).pid
        before = asyncio.run(count(folder / "state", url))
        ports = {"tracking": port}
        for name in ("picture", "bytes"):
            ports[name] = stack.enter_context(
                _load.printing_its_port(sys.executable, "-m", "bench._subjects", name, log=folder / f"{name}.log")
            ).port

        def subject(name: str, times: int = 1) -> Callable[[], _load.Result]:
            pid = ours if name == "tracking" else 0
            return lambda: _load.load(generator, "http", ports[name], CONNECTIONS, HITS * times, file, pid=pid)

        found = _load.rounds(
            options.rounds,
            {
                "aiohttp handler with the GIF": subject("picture"),
                "generator alone (a protocol that answers)": subject("bytes", 3),
                "tracking server, each event stored": subject("tracking"),
            },
        )
        stored = asyncio.run(count(folder / "state", url)) - before
        at_once, deadline = stored, time.monotonic() + 60
        while stored < HITS * (options.rounds + 1) and time.monotonic() < deadline:  # from the journal
            time.sleep(1)
            stored = asyncio.run(count(folder / "state", url)) - before
    _load.table(
        f"pixel, {options.workers} worker{'s' * (options.workers > 1)}, {HITS} hits, {CONNECTIONS} connections, {options.rounds} rounds, medians", found,
        "aiohttp handler with the GIF", "generator alone (a protocol that answers)",
    )  # fmt: skip
    expected = HITS * (options.rounds + 1)
    print(f"  {stored} of {expected} events in the store, {stored - at_once} of them by way of the journal")
    return 0 if stored == expected else 1


async def count(state: Path, url: str) -> int:
    shelf = store.open(opened(url), state)
    await shelf.start()
    number, after = 0, 0
    while batch := await shelf.events(after, 5000):
        number += sum(event.type == "message.opened" for event in batch)  # and not that a verdict changed
        after = batch[-1].position
    await shelf.stop()
    return number


if __name__ == "__main__":
    sys.exit(main())
