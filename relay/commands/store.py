"""Move to another store: `trackrelay store copy --to URL` takes everything there, from SQLite to PostgreSQL or back.

Stop the service first, and set store.url to the new one afterwards: nothing is copied while one runs with either. A copy
that was interrupted goes on where it ended. At the end all rows of both are compared."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings
    from relay.store.contract import Store

HELP = "move what is remembered to another database"
SAID = 1.0  # seconds between two lines of progress


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="copy", required=True)
    copy = verbs.add_parser("copy", help="take everything from one store to another, and compare")
    copy.add_argument("--from", dest="source", default="", metavar="URL", help="the store to read (default: store.url)")
    copy.add_argument("--to", dest="target", required=True, metavar="URL", help="the store to fill: an empty one")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config, store

    settings = config.settings_of(args)
    source = args.source or settings.store.url
    for url in (source, args.target):
        if wrong := store.misspelled(url):
            print(f"trackrelay store: {wrong}", file=sys.stderr)
            return 2
    if same(source, args.target, settings.state_dir):
        print("trackrelay store: --from and --to are the same store", file=sys.stderr)
        return 2
    return asyncio.run(copy(settings, source, args.target))


def same(source: str, target: str, state_dir: Path) -> bool:
    from relay import store

    if source.startswith("sqlite") and target.startswith("sqlite"):
        source, target = (str(store.sqlite_file(url, state_dir).resolve()) for url in (source, target))
    return source == target


async def copy(settings: Settings, source: str, target: str) -> int:
    from relay import store
    from relay.store import copying
    from relay.store.sql.engine import Engine

    opened = [store.open(url, settings.state_dir, password=settings.store.password) for url in (source, target)]
    here, there = opened
    assert isinstance(here, Engine)
    assert isinstance(there, Engine)
    try:
        for one in opened:
            await one.start()
        for one, url in zip(opened, (source, target), strict=True):
            if running := await living(one):
                print(f"trackrelay store: {running} runs with {url}: stop it first. (If it was killed, it is taken for running for a minute)",
                      file=sys.stderr)  # fmt: skip
                return 1
        rows = await copying.copy(here, there, Said().progress)
    except copying.Different as reason:
        print(f"trackrelay store: {reason}. Empty the store to copy to, and copy again while nothing runs with either",
              file=sys.stderr)  # fmt: skip
        return 1
    except store.Unavailable as reason:
        print(f"trackrelay store: {reason}", file=sys.stderr)
        return 1
    finally:
        for one in opened:
            await one.stop()
    print(f"{rows} rows are the same in both; now set store.url to the new one")
    return 0


async def living(opened: Store) -> str:
    """Who is at work with that store; "" for nobody."""
    from relay.core import nodes

    roll = await opened.nodes()
    return ", ".join(node.called for node in roll.nodes if nodes.alive(node, roll.now))


class Said:
    """Progress, once in a while."""

    def __init__(self) -> None:
        self.at = 0.0

    def progress(self, what: str, table: str, number: int, whole: int) -> None:
        import time

        now = time.monotonic()
        if now - self.at >= SAID:
            self.at = now
            print(f"{table}: {number} of {whole} {what}", file=sys.stderr)
