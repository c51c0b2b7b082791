"""What rates are made of is counted as it happens. Counting anew from the messages and events that are kept is for a doubt,
or after a repair of the database; a service may be at work meanwhile, and shows less until it is done."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings

HELP = "count opens, clicks and deliveries anew from what is kept"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="rebuild|resume", required=True)
    verbs.add_parser("rebuild", help="empty the counters and count everything again, while the service runs")
    verbs.add_parser("resume", help="go on with what was begun: by a rebuild that ended early, or after an upgrade")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    return asyncio.run(count(config.settings_of(args), anew=args.verb == "rebuild"))


async def count(settings: Settings, *, anew: bool) -> int:
    """Progress goes to stderr, the result to stdout."""
    import time

    from relay import opening, store

    done, begun, said = 0, False, time.monotonic()
    try:
        async with opening.opened(settings) as opened:
            if anew:
                await opened.begin_recount()
                begun = True
            while (more := await opened.recount()) is not None:
                done, begun = done + more, True
                if time.monotonic() - said >= 1:
                    said = time.monotonic()
                    print(f"{done} messages" if done else "emptying the counters", file=sys.stderr)
    except store.Unavailable as reason:
        more_of_it = f"; {done} messages were counted, `trackrelay counts resume` goes on from there" if begun else ""
        print(f"trackrelay counts: {reason}{more_of_it}", file=sys.stderr)
        return 1
    print(f"{done} messages counted")
    return 0
