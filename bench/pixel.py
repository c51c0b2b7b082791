"""Hits per second with each event stored, as a ratio to plain aiohttp handlers that return the GIF, or a redirect.

Same loop, one process each. Goal: 0.75 x, for the pixels that are asked for alike. There are three runs:

- `alike`: pixels, all asked for with the same header section from one address, each many times;
- `pixels` and `links`: each of a recipient of its own, asked for once, by a client of its own: another address (which a proxy
  names, as it does where one stands before the server) and another header section. So nothing that is remembered of a client
  is of use, and each hit counts.

With --workers N the tracking server has so many processes, and the CPU is that of all of them (of a database's server none);
--store postgresql has it store in PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import _load, _stores
from relay import keys, store
from relay.core import tokens
from relay.core.model import Sent, SentCopy, Token, TokenKind

CONNECTIONS = 64
HITS = 8000  # a round
MESSAGES = 4000  # so many that no pixel is asked for so often that its hits would only be counted
AT_ONCE = 1000  # that are recorded

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
SYSTEMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 14; K",
)
LANGUAGES = (
    "en-US,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.7",
    "fr-FR,fr;q=0.8,en-US;q=0.5,en;q=0.3",
    "es-ES,es;q=0.9",
    "ja,en;q=0.8",
)
PAGES = ("https://webmail.example.org/", "https://mail.example.net/inbox/", "")


def client(number: int, kind: str, dice: random.Random) -> list[str]:
    """The header fields of one: of a browser, behind a proxy."""
    version, system = dice.randrange(100, 140), dice.choice(SYSTEMS)
    agent = f"({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    if dice.random() < 0.3:
        agent = f"({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
    page, picture = dice.choice(PAGES), kind == "open"
    return [
        "Connection: keep-alive",
        f"User-Agent: Mozilla/5.0 {agent}",
        f"Accept: {'image/avif,image/webp,*/*;q=0.8' if picture else 'text/html,application/xhtml+xml,*/*;q=0.8'}",
        f"Sec-Fetch-Site: {'cross-site' if page else 'none'}",
        f"Sec-Fetch-Mode: {'no-cors' if picture else 'navigate'}",
        f"Sec-Fetch-Dest: {'image' if picture else 'document'}",
        *([f"Referer: {page}"] if page else []),
        "Accept-Encoding: gzip, deflate, br",
        f"Accept-Language: {dice.choice(LANGUAGES)}",
        f"X-Forwarded-For: 198.{18 + (number >> 16 & 1)}.{number >> 8 & 255}.{number & 255}",  # RFC 2544's
    ]


async def recorded(state: Path, number: int, kinds: Sequence[TokenKind], url: str = "sqlite") -> list[list[str]]:
    """So many messages on record, and per kind the paths of their pixels or links."""
    signing = keys.TokenKeys(state / "keys" / "tokens.json")
    shelf = store.open(opened(url), state)
    await shelf.start()
    found: list[list[str]] = [[] for _ in kinds]
    link = "https://example.com/news?article=%d"

    async def record(number: int) -> None:
        key = tokens.message_key(time.time(), random.randbytes(6))
        copy = SentCopy(f"r{number}@example.org", 0, tracked=True)
        await shelf.record_sent(
            Sent(
                tokens.message_id(key), "default", f"{number}@example.com", time.time(), opens=True,
                links=(link % number,), copies=(copy,),
            )
        )  # fmt: skip
        for kind, paths in zip(kinds, found, strict=True):
            token = Token(kind, key, 0) if kind == "open" else Token(kind, key, 0, 0, link % number)
            paths.append(f"/{kind[0]}/" + tokens.write(token, signing.now()))

    for at in range(0, number, AT_ONCE):
        await asyncio.gather(*map(record, range(at, min(number, at + AT_ONCE))))
    await shelf.stop()
    return found


async def sent(state: Path, file: Path, url: str = "sqlite") -> None:
    """Messages on record, and the paths of their pixels in `file`, one a line."""
    (paths,) = await recorded(state, MESSAGES, ["open"], url)
    file.write_text("\n".join(paths) + "\n")


def opened(url: str) -> str:
    return "sqlite:trackrelay.db" if url == "sqlite" else url


def parts(folder: Path, kind: TokenKind, paths: Sequence[str]) -> Iterator[Path]:
    """Files with a round's requests each."""
    dice = random.Random(7)
    for at in range(0, len(paths), HITS):
        file = folder / f"{kind}-{at}"
        lines = ["\t".join([path, *client(at + n, kind, dice)]) for n, path in enumerate(paths[at : at + HITS])]
        file.write_text("\n".join(lines) + "\n")
        yield file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.pixel", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", nargs="+", choices=("alike", "pixels", "links"), default=["alike", "pixels", "links"])
    _stores.arguments(parser)
    options = parser.parse_args()
    _load.header()
    rounds = options.rounds + 1  # the first one is not counted
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        generator = _load.generator(folder)
        file = folder / "paths"
        state = folder / "state"
        state.mkdir()
        url = _stores.urls(stack, options.store)()
        asyncio.run(sent(state, file, url))
        kinds: list[TokenKind] = ["open", "click"]
        own = asyncio.run(recorded(state, HITS * rounds if options.runs != ["alike"] else 0, kinds, url))
        files = {
            "alike": [file] * rounds,
            "pixels": [*parts(folder, "open", own[0])],
            "links": [*parts(folder, "click", own[1])],
        }
        (port,) = _load.free_ports(1)
        toml = RELAY.format(http=port, workers=options.workers, store=_stores.toml(url))
        ours = stack.enter_context(_load.relay(folder, toml, "--only", "http")).pid
        ports = {"tracking": port}
        for name in ("picture", "bytes"):
            ports[name] = stack.enter_context(
                _load.printing_its_port(sys.executable, "-m", "bench._subjects", name, log=folder / f"{name}.log")
            ).port

        def subject(name: str, run: str, times: int = 1) -> Callable[[], _load.Result]:
            pid, left = ours if name == "tracking" else 0, iter(files[run])
            return lambda: _load.load(generator, "http", ports[name], CONNECTIONS, HITS * times, next(left), pid=pid)

        failed = False
        for run in options.runs:
            before = asyncio.run(count(state, url))
            found = _load.rounds(
                options.rounds,
                {
                    "aiohttp handler": subject("picture", run),
                    "generator alone (a protocol that answers)": subject("bytes", run, 3),
                    "tracking server, each event stored": subject("tracking", run),
                },
            )
            failed |= not report(run, options, found, stored(state, url, before, HITS * rounds))
    return int(failed)


def stored(state: Path, url: str, before: int, expected: int) -> tuple[int, int, int]:
    """(so many, at once, expected) events came to be in the store; the others by way of the journal."""
    number = at_once = asyncio.run(count(state, url)) - before
    deadline = time.monotonic() + 60
    while number < expected and time.monotonic() < deadline:
        time.sleep(1)
        number = asyncio.run(count(state, url)) - before
    return number, at_once, expected


def report(run: str, options: argparse.Namespace, found: dict[str, _load.Result], events: tuple[int, int, int]) -> bool:
    what = {
        "alike": "pixels, all asked for alike",
        "pixels": "pixels of different clients",
        "links": "links of different clients",
    }
    _load.table(
        f"{what[run]}, {options.workers} worker{'s' * (options.workers > 1)}, {HITS} hits, {CONNECTIONS} connections, "
        f"{options.rounds} rounds, medians",
        found, "aiohttp handler", "generator alone (a protocol that answers)",
    )  # fmt: skip
    number, at_once, expected = events
    print(f"  {number} of {expected} events in the store, {number - at_once} of them by way of the journal")
    return number == expected


async def count(state: Path, url: str) -> int:
    shelf = store.open(opened(url), state)
    await shelf.start()
    number, after = 0, 0
    while batch := await shelf.events(after, 5000):
        number += sum(event.type in ("message.opened", "message.link_clicked") for event in batch)
        after = batch[-1].position
    await shelf.stop()
    return number


if __name__ == "__main__":
    sys.exit(main())
