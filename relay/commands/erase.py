"""One person is erased: from the database with its WAL, the spool, the journal. Counters stay, and an entry of `suppress` by its digest.
A message that went to nobody else goes whole; of others their copy goes, and their address out of every text.

Works while the service runs, and when it does not; to run it again does no harm, and ends what a kill left. Mail on its way to them
is a reason to stop, unless --queue says that it is not to be sent any more. Each node has a spool and a journal of its own: run it
on each. Logs and backups are yours to cut: docs/privacy.md has the list.

Exit code 0: nothing here names them any more. 1: something does, and the sentences say what."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from relay.commands import export

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.persons import Person
    from relay.recipients.erasing import Report

HELP = "erase all that is kept of one recipient"


def arguments(parser: argparse.ArgumentParser) -> None:
    export.arguments(parser)
    parser.add_argument("--queue", action="store_true", help="mail on its way to them goes too, and is not sent")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    settings = config.settings_of(args)
    who = export.asked(settings, args)
    if who is None:
        return 2
    if not args.yes and (code := unsure(args)):
        return code
    return asyncio.run(act(settings, who, args))


def unsure(args: argparse.Namespace) -> int:
    """The exit code where nothing is to be done, else 0."""
    if not sys.stdin.isatty():
        print("trackrelay erase: it can't be undone: say --yes", file=sys.stderr)
        return 2
    of = f" as far as it is of the grant {args.grant}" if args.grant else ""
    print(f"Erase all that is kept of {args.recipient}{of}? It can't be undone. [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return 0
    print("trackrelay erase: nothing was erased", file=sys.stderr)
    return 1


async def act(settings: Settings, who: Person, args: argparse.Namespace) -> int:
    from relay import keys, opening, store
    from relay.recipients import erasing, looking

    try:
        async with opening.opened(settings) as opened:
            work = erasing.Erasing(
                opened,
                settings.state_dir,
                who,
                args.grant,
                keys=looking.token_keys(settings.state_dir),
                progress=export.progress(),
            )
            report = await work.run(queue=args.queue)
    except erasing.InFlight as reason:
        print(
            f"trackrelay erase: nothing was erased: mail is on its way to them ({', '.join(reason.names)}): wait until it is"
            " delivered, or say --queue and it is not sent",
            file=sys.stderr,
        )
        return 1
    except (store.Unavailable, keys.Unusable) as reason:
        print(f"trackrelay erase: {reason}; run it again", file=sys.stderr)
        return 1
    say(report)
    return 1 if report.left else 0


def say(report: Report) -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    done = ", ".join(f"{number} {table}" for table, number in report.rows.items())
    print(f"erased: {done or 'nothing, there was nothing'}")
    for where, why in report.left:
        print(f"trackrelay erase: left: {where}: {why}", file=sys.stderr)
    for sentence in report.kept:
        print(f"note: {sentence}")
