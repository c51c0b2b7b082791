"""What happened to the mail that was sent: one line per event, newest last."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.core.model import Event

HELP = "what happened, newest last"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="keep printing events as they happen")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="only the last N (default 100)")
    parser.add_argument("--message", default="", metavar="ID", help="only those of one message")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    settings = config.settings_of(args)
    return asyncio.run(show(settings.store.url, settings.state_dir, args))


async def show(url: str, state_dir: object, args: argparse.Namespace) -> int:
    import asyncio
    from pathlib import Path

    from relay import store

    opened = store.open(url, Path(str(state_dir)))
    try:
        await opened.start()
    except store.Unavailable as reason:
        print(f"trackrelay events: {reason}", file=sys.stderr)
        return 1
    try:
        found = await opened.events(limit=args.limit, newest=True, message_id=args.message)
        last = 0
        while True:
            for event in found:
                print(json_line(event) if args.json else line(event))
            sys.stdout.flush()
            if not args.follow:
                return 0
            last = found[-1].position if found else last
            await asyncio.sleep(0.5)
            found = await opened.events(after=last, limit=500, message_id=args.message)
    finally:
        await opened.stop()


def line(event: Event) -> str:
    """Time, type, message, recipient, then what only this type has."""
    import time

    from relay import log

    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    more = [event.url] if event.url else []
    more += [f"{k}={v}" for k, v in event.data.items() if isinstance(v, str | int) and v != ""]
    verdict = event.verdict + (f" ({event.reason})" if event.reason else "")
    counted = "" if event.counted else " not counted"
    words = [stamp, f"{event.type:<22}", event.message_id, event.recipient or "-", verdict + counted, *more]
    return log.safe(" ".join(words))


def json_line(event: Event) -> str:
    import msgspec

    return msgspec.json.encode(event).decode()
