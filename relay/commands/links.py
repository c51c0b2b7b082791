"""The kill-switch for links that were already sent: a blocked one answers 410 and a page that says so, within a second
in every process, also while the database is away. Pictures are still shown.

WHAT is a URL (with any query, where it has none), a host (and all below it), or a message, by its id or Message-ID."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.core.blocks import Block
    from relay.core.model import Sent

HELP = "block links that were already sent, list what is blocked, unblock"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="block|list|unblock", required=True)
    block = verbs.add_parser("block", help="from now on such links lead nowhere")
    block.add_argument("what", metavar="WHAT", help="a URL, a host, or a message's id or Message-ID")
    verbs.add_parser("list", help="print what is blocked, oldest first")
    unblock = verbs.add_parser("unblock", help="such links lead on again")
    unblock.add_argument("what", metavar="WHAT", help="as it was blocked, or as `list` shows it")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import blocklist, config

    settings = config.settings_of(args)
    path = blocklist.path_in(settings.state_dir)
    try:
        if args.verb == "list":
            return show(blocklist.read(path))
        block = asyncio.run(named(settings, args.what))
        if isinstance(block, str):
            print(f"trackrelay links: {block}", file=sys.stderr)
            return 2
        changed = blocklist.add(path, block) if args.verb == "block" else blocklist.remove(path, block)
    except blocklist.Unusable as reason:
        print(f"trackrelay links: {reason}", file=sys.stderr)
        return 1
    return said(args.verb, block, changed)


def said(verb: str, block: Block, changed: bool) -> int:
    thing = f"{block.kind} {block.value}"
    if not changed:
        already = "is blocked already" if verb == "block" else "is not blocked; see: trackrelay links list"
        print(f"trackrelay links: {thing} {already}", file=sys.stderr)
        return 0 if verb == "block" else 1
    print(
        f"{thing} is {'blocked' if verb == 'block' else 'no longer blocked'}; running services notice within a second"
    )
    return 0


def show(blocks: tuple[Block, ...]) -> int:
    import time

    for block in blocks:
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(block.since))
        print(f"{block.kind}\t{block.value}\t{since}" + (f"\t{block.named}" if block.named else ""))
    return 0


async def named(settings: Settings, what: str) -> Block | str:
    """What is meant, or a sentence that says why that is nothing that could be blocked. Only a Message-ID needs the
    database. Raises `blocklist.Unusable` where that can't be asked."""
    import time

    from relay import blocklist, opening, store

    async def find(internet_id: str) -> Sent | None:
        async with opening.opened(settings) as opened:
            return await opened.find_sent([internet_id])

    try:
        return await blocklist.meant(what, time.time(), find)
    except store.Unavailable as reason:
        raise blocklist.Unusable(
            f"a Message-ID is looked up in the database, and that can't be asked ({reason}); name the message's own id"
        ) from reason
