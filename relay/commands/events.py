"""What happened to the mail that was sent: one line per event, newest last. A message begins with a line of its own, so that
those to which nothing happened are seen too.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.model import Event, Sent
    from relay.store.contract import Store

HELP = "what happened, newest last"
LATE = 60.0  # seconds after which a message that was submitted is recorded at the latest
LOOK = 0.5  # seconds between two looks, where nothing is heard of others
Row = tuple[float, int, str]  # time, order among equals, text


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="keep printing events as they happen")
    parser.add_argument("--json", action="store_true", help="one JSON object per line, events only")
    parser.add_argument(
        "--messages", action="store_true", help="with --json: messages too, as of `messages list --json`"
    )
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="only the last N (default 100)")
    parser.add_argument(
        "--message", default="", metavar="ID", help="only those of one message: its id, its Message-ID, or its queue ID"
    )


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    settings = config.settings_of(args)
    if args.limit < 1:
        print("trackrelay events: --limit must be at least 1", file=sys.stderr)
        return 2
    return asyncio.run(show(settings, args))


async def show(settings: Settings, args: argparse.Namespace) -> int:
    from relay import opening, store

    try:
        async with opening.opened(settings) as opened:
            if args.message and not await named(opened, args):
                return 1
            await Shown(opened, args).run()
    except store.Unavailable as reason:
        print(f"trackrelay events: {reason}", file=sys.stderr)
        return 1
    return 0


async def named(opened: Store, args: argparse.Namespace) -> bool:
    """Whether something is known of the message that was named; its id is in `args.message` then."""
    from relay import log
    from relay.commands import messages

    sent = await messages.find(opened, args.message)
    args.message = sent.message_id if sent else args.message
    if sent or await opened.events(limit=1, message_id=args.message):
        return True
    print(f"trackrelay events: there is no message {log.safe(args.message)}; see: trackrelay messages list",
          file=sys.stderr)  # fmt: skip
    return False


class Shown:
    """What was printed, and goes on from there."""

    def __init__(self, opened: Store, args: argparse.Namespace) -> None:
        self.opened, self.args = opened, args
        self.position = 0
        self.known: dict[str, float] = {}  # messages that were printed, by when they were submitted
        self.with_messages = args.messages or not args.json

    async def run(self) -> None:
        import asyncio

        args = self.args
        events = await self.opened.events(limit=args.limit, newest=True, message_id=args.message)
        sent = await self.messages(0.0, args.limit)
        self.say([*map(self.of_event, events), *map(self.of_message, sent)], args.limit)
        news = asyncio.Event()
        if args.follow:
            self.opened.watch(news.set)
        while args.follow:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):  # `wait_for` of 3.11 may lose a Ctrl-C that comes with news
                    await news.wait()
            news.clear()
            events = await self.opened.events(after=self.position, limit=500, message_id=args.message)
            since = max(self.known.values(), default=0.0) - LATE
            sent = [one for one in await self.messages(since, 1_000) if one.message_id not in self.known]
            self.known = {key: at for key, at in self.known.items() if at >= since}
            self.say([*map(self.of_event, events), *map(self.of_message, sent)])

    async def messages(self, since: float, most: int) -> list[Sent]:
        from relay.store import lists

        if not self.with_messages:
            return []
        if self.args.message:
            sent = await self.opened.sent(self.args.message)
            return [sent] if sent else []
        found: list[Sent] = []
        asked = lists.Messages(since=since)
        while len(found) < most:
            page = await self.opened.list_messages(asked, min(most - len(found), 200))
            found += page.items
            if page.after is None:
                break
            asked = asked.with_(before=page.after)
        return found

    def of_event(self, event: Event) -> Row:
        from relay import describing, log

        self.position = max(self.position, event.position)
        text = json_line(event) if self.args.json else log.safe(describing.happened(event))
        return event.at, event.position, text

    def of_message(self, sent: Sent) -> Row:
        from relay import describing
        from relay.commands import messages

        self.known[sent.message_id] = sent.submitted_at
        text = messages.json_line(sent) if self.args.json else describing.submitted(sent)
        return sent.submitted_at, -1, text

    def say(self, rows: list[Row], most: int = 0) -> None:
        if self.with_messages:  # events alone stay in the order of their positions
            rows.sort(key=lambda row: row[:2])
        for _, _, text in rows[-most:]:
            print(text)
        sys.stdout.flush()


def json_line(event: Event) -> str:
    import msgspec

    return msgspec.json.encode(event).decode()
