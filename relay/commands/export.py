"""What this installation has of one person, as JSON lines on standard output: messages to them, what they opened, clicked and
answered, notifications of it, entries of lists, mail on its way to them. `kind` says where each line is from; `mention` that the row
is not theirs, and only names them. Works while the service runs, and when it does not. Each node has a spool and a journal of its
own: run it on each."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.persons import Person
    from relay.recipients.looking import Progress

HELP = "hand out all that is kept of one recipient"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipient", required=True, metavar="ADDRESS")
    parser.add_argument("--grant", default="", metavar="ID", help="only what this grant has of them")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    settings = config.settings_of(args)
    who = asked(settings, args)
    return 2 if who is None else asyncio.run(act(settings, who, args))


def asked(settings: Settings, args: argparse.Namespace) -> Person | None:
    """Whom the command line means; None where it is wrong, which is said."""
    from relay.core import persons

    if args.grant and args.grant not in {grant.id for grant in settings.grants} | {"default"}:
        print(f"trackrelay {args.command}: there is no grant {args.grant!r} in {settings.file}", file=sys.stderr)
        return None
    try:
        return persons.Person(args.recipient)
    except ValueError as reason:
        print(f"trackrelay {args.command}: {reason}", file=sys.stderr)
        return None


async def act(settings: Settings, who: Person, args: argparse.Namespace) -> int:
    import msgspec

    from relay import keys, opening, store
    from relay.recipients import exporting, looking

    number = 0
    try:
        async with opening.opened(settings) as opened:
            found = exporting.lines(
                opened,
                settings.state_dir,
                who,
                args.grant,
                keys=looking.token_keys(settings.state_dir),
                progress=progress(),
            )
            async for line in found:
                print(msgspec.json.encode(line).decode())
                number += 1
    except (store.Unavailable, keys.Unusable) as reason:
        print(f"trackrelay export: {reason}", file=sys.stderr)
        return 1
    if not number:
        print("trackrelay export: nothing is kept of them", file=sys.stderr)
    return 0


def progress() -> Progress:
    """On a terminal, how far it is."""
    from relay.recipients import looking

    if not sys.stderr.isatty():
        return looking.silent
    return lambda table, rows: print(f"\r{table}: {rows}\033[K", end="", file=sys.stderr, flush=True)
