"""The mail that was sent, whether anything happened to it or not: a list, newest first, or all that is known of one message:
who it went to and what became of it, what is tracked in it, and why the rest is not.

TIME is ISO 8601 (2026-01-31T12:00, local time if there is no offset), an age (90s, 15m, 2h, 3d) or Unix seconds.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.core.model import Event, Sent
    from relay.store.contract import Store
    from relay.store.lists import Messages

HELP = "what was sent, and what became of it"
SHORT_PAGES = 100  # of a list whose filters seldom meet: each is some thousand rows that were looked at
STATES = ("pending", "done", "later", "never", "handed")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="list|show", required=True)
    listing = verbs.add_parser("list", help="the newest messages, a line each")
    listing.add_argument("--limit", type=int, default=50, metavar="N", help="only the newest N (default 50)")
    listing.add_argument(
        "--state",
        default="",
        choices=STATES,
        help="some recipient's is this: not sent yet, taken by the upstream, to be tried again, refused or given up, handed "
        "back to the mail server that asked",
    )
    listing.add_argument("--label", default="", metavar="TEXT", help="with this label")
    listing.add_argument("--recipient", default="", metavar="ADDRESS", help="that went to this address")
    listing.add_argument("--since", default="", metavar="TIME", help="from this time on")
    listing.add_argument("--before", default="", metavar="TIME|ID", help="older than this time, or than this message")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")
    one = verbs.add_parser("show", help="all of one message")
    one.add_argument(
        "id", metavar="ID", help="its id, its Message-ID, or what the mail server that asked calls it in its queue"
    )
    one.add_argument("--json", action="store_true", help="as a JSON object")


def run(args: argparse.Namespace) -> int:
    import asyncio
    import time

    from relay import config
    from relay.core import moments

    settings = config.settings_of(args)
    if args.verb == "list":
        args.after = moments.read(args.since, time.time()) if args.since else 0.0
        if args.after is None:
            print(f"trackrelay messages: {args.since!r} is no time; write {moments.FORMS}", file=sys.stderr)
            return 2
        args.until = moments.read(args.before, time.time())
        if args.limit < 1:
            print("trackrelay messages: --limit must be at least 1", file=sys.stderr)
            return 2
    return asyncio.run(answer(settings, args))


async def answer(settings: Any, args: argparse.Namespace) -> int:
    from relay import opening, store

    try:
        async with opening.opened(settings) as opened:
            return await (listing if args.verb == "list" else show)(opened, args)
    except store.Unavailable as reason:
        print(f"trackrelay messages: {reason}", file=sys.stderr)
        return 1


# -- list --------------------------------------------------------------------------------------------------------------


async def listing(opened: Store, args: argparse.Namespace) -> int:
    from relay import describing

    asked = await asked_for(opened, args)
    if asked is None:
        return unknown(args.before)
    count = 0
    async for found in listed(opened, asked, args.limit):
        if isinstance(found, Stopped):
            print(f"trackrelay messages: {found}", file=sys.stderr)
            return 0
        print(json_line(found) if args.json else describing.line(found))
        count += 1
    if not count and not args.json:
        some = args.state or args.label or args.recipient or args.since or args.before
        print("no such message" if some else "no message yet")
    return 0


class Stopped(NamedTuple):
    """Too much was looked at for what was found. The last message that was looked at."""

    at: float
    message_id: str

    def __str__(self) -> str:
        from relay import describing

        return f"looked back to {describing.stamp(self.at)}; for older ones: --before {self.message_id}"


async def asked_for(opened: Store, args: argparse.Namespace) -> Messages | None:
    """None where there is no message that `--before` names."""
    from relay.store import lists

    people = (args.recipient,) if args.recipient else ()
    asked = lists.Messages(label=args.label, state=args.state, recipients=people, since=args.after)
    if not args.before:
        return asked
    if args.until is not None:
        return asked.with_(until=args.until)
    last = await find(opened, args.before)
    return asked.with_(before=(last.submitted_at, last.message_id)) if last else None


async def listed(opened: Store, asked: Messages, left: int) -> AsyncIterator[Sent | Stopped]:
    """Page by page, until there are as many as were asked for."""
    short = 0
    while left > 0:
        wanted = min(left, 200)
        page = await opened.list_messages(asked, wanted)
        for sent in page.items:
            yield sent
        left -= len(page.items)
        if page.after is None:
            return
        short += len(page.items) < wanted
        if short == SHORT_PAGES:
            at, message_id = page.after
            yield Stopped(at, str(message_id))
            return
        asked = asked.with_(before=page.after)


def json_line(sent: Sent) -> str:
    import msgspec

    return msgspec.json.encode(sent).decode()


# -- show --------------------------------------------------------------------------------------------------------------


async def show(opened: Store, args: argparse.Namespace) -> int:
    from relay import describing, log
    from relay.store import lists

    sent = await find(opened, args.id)
    if sent is None:
        return unknown(args.id)
    events: list[Event] = []
    asked = lists.Events(message_id=sent.message_id)
    while len(events) < describing.MAX_EVENTS:
        page = await opened.list_events(asked, 200)
        events += page.items
        if page.after is None:
            break
        asked = asked.with_(before=page.after)
    events.reverse()
    if args.json:
        print(whole(sent, events))
        return 0
    for name, value in describing.lines(sent, events):
        print(f"{name:<13} {log.safe(value)}".rstrip())
    return 0


def unknown(name: str) -> int:
    from relay import log

    print(
        f"trackrelay messages: there is no message {log.safe(name)}; see: trackrelay messages list",
        file=sys.stderr,
    )
    return 1


async def find(opened: Store, name: str) -> Sent | None:
    """By our id, by its Message-ID with or without brackets, or by a mail server's queue id."""
    name = name.strip()
    return (
        await opened.sent(name)
        or await opened.find_sent([name.removeprefix("<").removesuffix(">")])
        or await opened.find_queued(name)
    )


def whole(sent: Sent, events: Sequence[Event]) -> str:
    import msgspec

    fields = msgspec.to_builtins(sent) | {"events": msgspec.to_builtins(events)}
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()
