"""Move to another store: `trackrelay store copy --to URL` takes everything there, from SQLite to PostgreSQL or back.

Stop the service first, and set store.url to the new one afterwards. A copy that was interrupted goes on where it ended. At
the end all rows of both are compared."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings

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
    if source == args.target:
        print("trackrelay store: --from and --to are the same store", file=sys.stderr)
        return 2
    return asyncio.run(copy(settings, source, args.target))


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
        rows = await copying.copy(here, there, Said().progress)
    except (store.Unavailable, copying.Different) as reason:
        print(f"trackrelay store: {reason}", file=sys.stderr)
        return 1
    finally:
        for one in opened:
            await one.stop()
    print(f"{rows} rows are the same in both; now set store.url to the new one")
    return 0


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
