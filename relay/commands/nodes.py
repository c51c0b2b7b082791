"""The processes that share the store: who runs where, with which roles, version, queue and token keys.

Each says so every 10 seconds. What is wrong among them is said on stderr, and the exit code is 1 then: a node that is gone
with mail in its spool, one that lacks the key with which another signs, [[webhooks]] that differ.
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


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    return asyncio.run(show(config.settings_of(args), as_json=args.json))


async def show(settings: Settings, *, as_json: bool) -> int:
    from relay import nodes, store
    from relay.core import nodes as core

    opened = store.open(settings.store.url, settings.state_dir, password=settings.store.password)
    try:
        await opened.start()
        roll = await opened.nodes()
    except store.Unavailable as reason:
        print(f"trackrelay nodes: {reason}", file=sys.stderr)
        return 1
    finally:
        await opened.stop()
    for node in nodes.described(roll):
        print(json.dumps(node) if as_json else nodes.line(node))
    troubles = core.troubles(roll)
    for trouble in troubles:
        print(f"trackrelay nodes: {trouble.sentence}", file=sys.stderr)
    if not roll.nodes:
        print("trackrelay nodes: nobody runs, or nobody said so yet", file=sys.stderr)
    return 1 if troubles else 0
