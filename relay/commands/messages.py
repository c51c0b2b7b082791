"""The mail that was sent: a list, newest first, or all that is known of one message."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.core.model import Sent
    from relay.store.contract import Store

HELP = "what was sent, and what became of it"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="the newest messages, a line each")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="only the newest N (default 50)")
    listing.add_argument(
        "--state", default="", choices=["pending", "done", "later", "never", "handed"], help="some recipient's is this"
    )
    listing.add_argument("--label", default="", metavar="TEXT", help="with this label")
    listing.add_argument("--recipient", default="", metavar="ADDRESS", help="that went to this address")
    listing.add_argument("--since", type=float, default=0.0, metavar="TIME", help="from this time on, in Unix seconds")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    one = verbs.add_parser("show", help="all of one message, as JSON")
    one.add_argument("id", help="its id, its Message-ID, or what the mail server that asked calls it in its queue")


def run(args: argparse.Namespace) -> int:
    import asyncio
    from contextlib import suppress

    from relay import config

    settings = config.settings_of(args)
    with suppress(BrokenPipeError):
        return asyncio.run(answer(settings, args))
    return 0


async def answer(settings: object, args: argparse.Namespace) -> int:
    from relay import config, store

    assert isinstance(settings, config.Settings)
    opened = store.open(settings.store.url, settings.state_dir)
    try:
        await opened.start()
    except store.Unavailable as reason:
        print(f"trackrelay messages: {reason}", file=sys.stderr)
        return 1
    try:
        if args.verb == "list":
            async for sent in listed(opened, args):
                print(json_line(sent) if args.json else line(sent))
            return 0
        found = await find(opened, args.id)
        if found is None:
            print(f"trackrelay messages: there is no message {args.id}", file=sys.stderr)
            return 1
        print(json_line(found, indent=2))
        return 0
    finally:
        await opened.stop()


async def listed(opened: Store, args: argparse.Namespace) -> AsyncIterator[Sent]:
    """Page by page, until there are as many as were asked for."""
    from relay.store import lists

    people = (args.recipient,) if args.recipient else ()
    asked = lists.Messages(label=args.label, state=args.state, recipients=people, since=args.since)
    left = max(1, args.limit)
    while left > 0:
        page = await opened.list_messages(asked, min(left, 200))
        for sent in page.items:
            yield sent
        left -= len(page.items)
        if page.after is None:
            return
        asked = asked.with_(before=page.after)


async def find(opened: Store, name: str) -> Sent | None:
    """By our id, by its Message-ID with or without brackets, or by a mail server's queue id."""
    name = name.strip()
    return (
        await opened.sent(name)
        or await opened.find_sent([name.removeprefix("<").removesuffix(">")])
        or await opened.find_queued(name)
    )


def line(sent: Sent) -> str:
    """Time, id, sender, recipients with their states, then subject."""
    import time

    from relay import log

    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(sent.submitted_at))
    people = ",".join(f"{copy.recipient}={copy.state}" for copy in sent.copies[:5]) or "-"
    more = f" and {len(sent.copies) - 5} more" if len(sent.copies) > 5 else ""
    queued = [f"queue_id={sent.queue_id}"] if sent.queue_id else []
    words = [stamp, sent.message_id, sent.sender or "-", people + more, *queued, sent.reason or "tracked", sent.subject]
    return log.safe(" ".join(words))


def json_line(sent: Sent, indent: int = 0) -> str:
    import msgspec

    text = msgspec.json.encode(sent)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()
