"""The recipients who are not tracked, or not written to: who refused, whose address bounced for good, who complained, and
whom you put there. What becomes of their mail says tracking.suppress; who refused is never tracked, whatever it says.

`add` and `remove` hold for the next message in all processes. CSV has a first line that names the columns: recipient
(or email), grant, reason, since, note; only the first is needed. One bad line, and nothing of the list is taken."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.config import Settings
    from relay.core.model import Keys
    from relay.core.suppressions import Suppression
    from relay.store.contract import Store

HELP = "recipients who are not tracked, or not written to: add, list, remove"
GROUNDS = ("refusal", "bounce", "complaint", "manual")
PAGE = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="add|list|remove|requests", required=True)
    add = verbs.add_parser("add", help="put addresses on the list")
    add.add_argument("recipients", nargs="*", metavar="ADDRESS")
    add.add_argument("--csv", metavar="FILE", help="a list of them; - is standard input")
    add.add_argument("--grant", default="", metavar="ID", help="for the mail of this grant; else of all")
    add.add_argument("--reason", choices=GROUNDS, default="manual")
    add.add_argument("--note", default="", metavar="TEXT")
    listing = verbs.add_parser("list", help="print the list, newest first")
    listing.add_argument("--recipient", metavar="ADDRESS", help="only this one")
    listing.add_argument("--grant", metavar="ID", help='only what is for this grant; "" is what is for all')
    listing.add_argument("--reason", choices=GROUNDS)
    listing.add_argument("--limit", type=int, default=0, metavar="N", help="so many at most")
    form = listing.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a line")
    form.add_argument("--csv", action="store_true", help="as `add --csv` reads it")
    remove = verbs.add_parser("remove", help="take addresses off the list")
    remove.add_argument("recipients", nargs="+", metavar="ADDRESS")
    remove.add_argument("--grant", metavar="ID", help='only what is for this grant; "" is what is for all')
    remove.add_argument("--reason", choices=GROUNDS, help="only for this reason")
    requests = verbs.add_parser("requests", help="who asked to be erased, oldest first")
    requests.add_argument("--done", metavar="ADDRESS", help="take one off: it was done")
    requests.add_argument("--json", action="store_true", help="a JSON object a line")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    return asyncio.run(act(config.settings_of(args), args))


async def act(settings: Settings, args: argparse.Namespace) -> int:
    from relay import keys, opening, store

    verbs = {"add": add, "list": show, "remove": remove, "requests": requests}
    try:
        async with opening.opened(settings, "make" if args.verb == "add" else "refuse") as opened:
            secrets = keys.TokenKeys(settings.state_dir / "keys" / "tokens.json").now()
            return await verbs[args.verb](opened, settings, secrets, args)
    except (store.Unavailable, keys.Unusable) as reason:
        return wrong(reason, 1)


def wrong(sentence: object, code: int) -> int:
    print(f"trackrelay suppress: {sentence}", file=sys.stderr)
    return code


async def add(opened: Store, settings: Settings, secrets: Keys, args: argparse.Namespace) -> int:
    import time

    from relay.core import suppression_lists as lists
    from relay.core.suppressions import Suppression

    if bool(args.recipients) == bool(args.csv):
        return wrong("add takes addresses, or --csv FILE", 2)
    defaults = lists.Defaults(time.time(), "command", args.grant, args.reason, args.note)
    grants = {grant.id for grant in settings.grants} | {"default"}
    if args.grant and args.grant not in grants:
        return wrong(f"there is no grant {args.grant!r} in {settings.file}", 2)
    made: list[Suppression] = []
    bad: list[str] = []
    if args.csv:
        found = lists.read(read(args.csv), secrets, defaults, grants)
        made = [one for one in found if isinstance(one, Suppression)]
        bad = [str(one) for one in found if isinstance(one, lists.Bad)]
    for address in args.recipients:
        try:
            made.append(lists.entry({"recipient": address}, secrets, defaults, grants))
        except ValueError as reason:
            bad.append(str(reason))
    for sentence in bad:
        wrong(sentence, 2)
    if bad:
        return wrong("nothing was added", 2)
    new = await opened.suppress(made)
    there = f", {len(made) - new} were there already" if len(made) > new else ""
    print(f"{new} added{there}")
    return 0


def read(name: str) -> str:
    """What is no UTF-8 is from a spreadsheet on Windows. Raises OSError."""
    if name == "-":
        octets = sys.stdin.buffer.read()
    else:
        with open(name, "rb") as file:
            octets = file.read()
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


async def chosen(opened: Store, secrets: Keys, args: argparse.Namespace) -> AsyncIterator[Suppression]:
    from relay.core import suppressions
    from relay.store import lists

    asked = lists.Suppressions(args.grant, args.reason or "")
    if args.recipient:
        own = await opened.suppressed([suppressions.digest(args.recipient, secrets)])
        for one in sorted(filter(asked.fits, own), key=lists.suppression_key, reverse=True):
            yield one
        return
    while page := await opened.list_suppressions(asked, PAGE):
        for one in page:
            yield one
        asked = asked.with_(after=lists.suppression_key(page[-1]))


async def show(opened: Store, settings: Settings, secrets: Keys, args: argparse.Namespace) -> int:
    import json

    from relay.core import suppression_lists as lists

    shown = 0
    if args.csv:
        sys.stdout.write(lists.written(()))
    async for one in chosen(opened, secrets, args):
        if args.csv:
            sys.stdout.write(lists.written([one], header=False))
        elif args.json:
            print(json.dumps(lists.shown(one), ensure_ascii=False))
        else:
            line = (one.recipient or f"(erased) {one.digest}", one.reason, lists.when(one.since)[:19] + "Z",
                    one.grant_id or "all grants", one.source, one.event_id, one.note)  # fmt: skip
            print("\t".join(" ".join(word.split()) for word in line).rstrip())
        shown += 1
        if shown == args.limit:
            break
    return 0


async def remove(opened: Store, settings: Settings, secrets: Keys, args: argparse.Namespace) -> int:
    from relay.core import suppressions
    from relay.store import lists

    asked = lists.Suppressions(args.grant, args.reason or "")
    found = await opened.suppressed([suppressions.digest(address, secrets) for address in args.recipients])
    gone = [one for one in found if asked.fits(one)]
    there = {one.digest for one in gone}
    missing = [address for address in args.recipients if suppressions.digest(address, secrets) not in there]
    number = await opened.unsuppress([(one.digest, one.grant_id, one.reason) for one in gone])
    print(f"{number} removed")
    for address in missing:
        wrong(f"{address} is not on the list", 1)
    return 1 if missing else 0


async def requests(opened: Store, settings: Settings, secrets: Keys, args: argparse.Namespace) -> int:
    import json

    import msgspec

    from relay.core import suppression_lists as lists
    from relay.core import suppressions

    if args.done:
        if await opened.settle_erasure(suppressions.digest(args.done, secrets)):
            return 0
        return wrong(f"{args.done} has not asked to be erased", 1)
    after = (0.0, "")
    while page := await opened.erasures(PAGE, after):
        for one in page:
            if args.json:
                print(json.dumps(msgspec.to_builtins(one), ensure_ascii=False))
            else:
                print(f"{lists.when(one.at)[:19]}Z\t{one.recipient or one.digest}\t{one.message_id}")
        after = (page[-1].at, page[-1].digest)
    return 0
