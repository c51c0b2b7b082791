"""Pixel hits per second with each event stored, as a ratio to a plain aiohttp handler that returns the GIF.

Same loop, one process each. Goal: 0.6 x.
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

from bench import _load
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
"""


async def sent(state: Path, file: Path) -> None:
    """Messages on record, and the paths of their pixels in `file`, one a line."""
    signing = keys.TokenKeys(state / "keys" / "tokens.json")
    shelf = store.open("sqlite:trackrelay.db", state)
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pixel", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    _load.header()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder)
        file = folder / "paths"
        (folder / "state").mkdir()
        asyncio.run(sent(folder / "state", file))
        (port,) = _load.free_ports(1)
        stack.enter_context(_load.relay(folder, RELAY.format(http=port), "--only", "http"))
        ports = {"tracking": port}
        for name in ("picture", "bytes"):
            ports[name] = stack.enter_context(
                _load.printing_its_port(sys.executable, "-m", "bench._subjects", name, log=folder / f"{name}.log")
            ).port

        def subject(name: str, times: int = 1) -> Callable[[], _load.Result]:
            return lambda: _load.load(generator, "http", ports[name], CONNECTIONS, HITS * times, file)

        found = _load.rounds(
            options.rounds,
            {
                "aiohttp handler with the GIF": subject("picture"),
                "generator alone (a protocol that answers)": subject("bytes", 3),
                "tracking server, each event stored": subject("tracking"),
            },
        )
        stored = asyncio.run(count(folder / "state"))
    _load.table(
        f"pixel, {HITS} hits, {CONNECTIONS} connections, {options.rounds} rounds, medians", found,
        "aiohttp handler with the GIF", "generator alone (a protocol that answers)",
    )  # fmt: skip
    expected = HITS * (options.rounds + 1)
    print(f"  {stored} of {expected} events in the store")
    return 0 if stored == expected else 1


async def count(state: Path) -> int:
    shelf = store.open("sqlite:trackrelay.db", state)
    await shelf.start()
    number, after = 0, 0
    while batch := await shelf.events(after, 5000):
        number, after = number + len(batch), batch[-1].position
    await shelf.stop()
    return number


if __name__ == "__main__":
    sys.exit(main())
