"""The processes that share the store: who runs where, with which roles, version, queue and token keys.

Each says so every 10 seconds. What is wrong among them is said on stderr, and the exit code is 1 then: a node that is gone
with mail in its spool, one that lacks the key with which another signs, [[webhooks]] that differ.
`remove NAME` forgets one that will not come back.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings

HELP = "show who runs where, and what is wrong among them"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    verbs = parser.add_subparsers(dest="verb", metavar="remove")
    removing = verbs.add_parser("remove", help="forget one that does not run any more")
    removing.add_argument("name", metavar="NAME")
    removing.add_argument("--force", action="store_true", help="also with mail in its spool")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config, store

    settings = config.settings_of(args)
    try:
        if args.verb == "remove":
            return asyncio.run(remove(settings, args.name, force=args.force))
        return asyncio.run(show(settings, as_json=args.json))
    except store.Unavailable as reason:
        say(str(reason))
        return 1


async def remove(settings: Settings, name: str, *, force: bool) -> int:
    from relay import opening
    from relay.core import nodes

    async with opening.opened(settings) as opened:
        roll = await opened.nodes()
        known = [node for node in roll.nodes if node.name == name]
        if not known:
            say(f"there is no node {name}")
            return 1
        left = [node for node in known if not nodes.alive(node, roll.now)]  # also of one that runs in other roles now
        if not left:
            say(f"{name} runs: stop it first. Nothing was changed")
            return 1
        spools = any("queue" in node.roles for node in known if node not in left)
        queue = 0 if spools else sum(node.queue for node in left)
        fate = (
            f"{nodes.mail(queue)} in its spool when it was heard last: nobody sends them, and their senders hear nothing, "
            "before the files of its state_dir/spool are in that of a node with the role queue"
        )
        if queue and not force:
            say(f"{name} had {fate}. Nothing was changed; with --force it is forgotten all the same")
            return 1
        await opened.remove_node(name)
    what = name if left == known else ", ".join(node.called for node in left)
    print(f"{what} is forgotten" + (f". It had {fate}" if queue else ""))
    return 0


async def show(settings: Settings, *, as_json: bool) -> int:
    from relay import nodes, opening
    from relay.core import nodes as core

    async with opening.opened(settings) as opened:
        roll = await opened.nodes()
    for node in nodes.described(roll):
        print(json.dumps(node) if as_json else nodes.line(node))
    troubles = core.troubles(roll)
    for trouble in troubles:
        say(trouble.sentence)
    if not roll.nodes:
        say("nobody runs, or nobody said so yet")
    return 1 if troubles else 0


def say(sentence: str) -> None:
    print(f"trackrelay nodes: {sentence}", file=sys.stderr)
