"""The keys that sign pixels and links. A retired key still verifies, so links that were already sent stay alive.

On one machine `rotate` does it all. Where several share a store, a new key has to verify everywhere before it signs anywhere:
`add` makes it on one machine, `add --from FILE` takes it to each other one, and `activate N` on each lets it sign, once all
nodes that run have it.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings

HELP = "rotate, add, activate and list the keys that sign pixels and links"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="rotate|add|activate|list", required=True)
    verbs.add_parser("rotate", help="make a new key, which signs from now on; the old ones still verify")
    adding = verbs.add_parser("add", help="make a new key, which verifies and signs nothing yet")
    adding.add_argument(
        "--from",
        dest="file",
        metavar="FILE",
        help="take the keys of another machine's tokens.json instead; - is standard input",
    )
    activating = verbs.add_parser("activate", help="let a key sign, once all nodes that run have it")
    activating.add_argument("key", metavar="N", type=int, help="its id")
    verbs.add_parser("list", help="print id, date and use of each key, oldest first")


class CannotTell(Exception):
    """What can't be read or asked, in a sentence."""


def read(file: str) -> bytes:
    from relay import causes

    try:
        if file == "-":
            return sys.stdin.buffer.read()
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as reason:
        raise CannotTell(f"{file}: {causes.of(reason)}") from reason


def who_lacks(settings: Settings, path: Path, key_id: int) -> list[str]:
    """The nodes that run without that key."""
    import asyncio

    return asyncio.run(lacking(settings, path, key_id))


async def lacking(settings: Settings, path: Path, key_id: int) -> list[str]:
    from relay import causes, keys, store
    from relay.core import nodes

    try:
        own = nodes.ring(keys.load(path)[1])
    except FileNotFoundError:
        return []
    except OSError as reason:
        raise CannotTell(causes.at(reason, path)) from reason
    if str(key_id) not in own:
        return []  # which is said by who activates
    opened = store.open(settings.store.url, settings.state_dir, password=settings.store.password)
    try:
        await opened.start()
        roll = await opened.nodes()
    except store.Unavailable as reason:
        raise CannotTell(f"the other nodes are not known: {reason}") from reason
    finally:
        await opened.stop()
    running = (node for node in roll.nodes if nodes.alive(node, roll.now))
    return nodes.lacking(running, key_id, own[str(key_id)])


def run(args: argparse.Namespace) -> int:
    from relay import config, keys

    settings = config.settings_of(args)
    path = settings.state_dir / "keys" / "tokens.json"
    try:
        if args.verb == "rotate":
            new = keys.rotate(path)
            print(f"key {new.key_id} signs from now on; running services notice within a second")
            old = len(keys.listing(path)) - 1
            verify = "key still verifies" if old == 1 else "keys still verify"
            print(f"{old} older {verify}, and always will: keep {path} in your backups")
        elif args.verb == "add":
            if args.file:
                new_ones = keys.merge(path, read(args.file))
                print(f"added: {', '.join(map(str, new_ones))}" if new_ones else "nothing is lacking")
            else:
                print(f"key {keys.add(path).key_id} verifies from now on; `trackrelay token-key activate` lets it sign")
        elif args.verb == "activate":
            if lacking := who_lacks(settings, path, args.key):
                print(f"trackrelay token-key: {', '.join(lacking)} lacks key {args.key}, or has not said so yet (10 "
                      "seconds): its links would be dead there. Nothing was changed", file=sys.stderr)  # fmt: skip
                return 1
            keys.activate(path, args.key)
            print(f"key {args.key} signs from now on; running services notice within a second")
        else:
            for key in keys.listing(path):
                print(f"{key.key_id}\t{key.created[:19]}Z\t{'signs and verifies' if key.current else 'verifies'}")
    except (keys.Unusable, CannotTell) as reason:
        print(f"trackrelay token-key: {reason}", file=sys.stderr)
        return 1
    return 0
