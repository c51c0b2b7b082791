"""The keys that sign pixels and links. A retired key still verifies, so links that were already sent stay alive.

On one machine `rotate` does it all. Where several share a store, a new key has to verify everywhere before it signs anywhere,
and `rotate` refuses: `add` makes it on one machine, `add --from FILE` takes it to each other one, and `activate N` on each lets it sign, once all
nodes that run have it.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from relay.config import Settings
    from relay.core.nodes import Roll

HELP = "rotate, add, activate and list the keys that sign pixels and links"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="rotate|add|activate|list", required=True)
    rotating = verbs.add_parser("rotate", help="make a new key, which signs from now on; the old ones still verify")
    adding = verbs.add_parser("add", help="make a new key, which verifies and signs nothing yet")
    adding.add_argument(
        "--from",
        dest="file",
        metavar="FILE",
        help="take the keys of another machine's tokens.json instead; - is standard input",
    )
    activating = verbs.add_parser("activate", help="let a key sign, once all nodes that run have it")
    activating.add_argument("key", metavar="N", type=int, help="its id")
    for each in (rotating, activating):
        each.add_argument("--force", action="store_true", help="also where other nodes lack it, or are not known")
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


def heard(settings: Settings) -> Roll:
    """What the nodes said. Raises `CannotTell`."""
    import asyncio

    from relay import store

    try:
        return asyncio.run(store.roll(settings.store.url, settings.state_dir, settings.store.password))
    except store.Unavailable as reason:
        raise CannotTell(
            f"the other nodes are not known: {reason}. Nothing was changed; --force does it all the same"
        ) from reason


def rotate(settings: Settings, path: Path, *, force: bool) -> None:
    from relay import keys, nodes
    from relay.core import nodes as core

    if not force and (
        running := dict.fromkeys(node.name for node in core.others(heard(settings), nodes.name(settings)))
    ):
        raise CannotTell(
            f"{', '.join(running)} would not have the new key that signs here at once, and its links would be dead there. "
            f"Use `token-key add` here, `token-key add --from FILE` there, then `token-key activate`. Nothing was changed"
        )
    new = keys.rotate(path)
    print(f"key {new.key_id} signs from now on; running services notice within a second")
    old = len(keys.listing(path)) - 1
    verify = "key still verifies" if old == 1 else "keys still verify"
    print(f"{old} older {verify}, and always will: keep {path} in your backups")


def activate(settings: Settings, path: Path, key_id: int, *, force: bool) -> None:
    from relay import causes, keys
    from relay.core import nodes

    try:
        own = nodes.ring(keys.load(path)[1]).get(str(key_id))
    except FileNotFoundError:
        own = None
    except OSError as reason:
        raise CannotTell(causes.at(reason, path)) from reason
    if own is not None:  # else who activates says it
        warn(settings, key_id, own, force=force)
    keys.activate(path, key_id)
    print(f"key {key_id} signs from now on; running services notice within a second")


def warn(settings: Settings, key_id: int, is_: str, *, force: bool) -> None:
    """Raises `CannotTell` where a node that runs lacks the key, unless it is to be done all the same."""
    from relay.core import nodes

    try:
        roll = heard(settings)
    except CannotTell:
        if force:
            return
        raise
    running = [node for node in roll.nodes if nodes.alive(node, roll.now)]
    names = nodes.lacking(running, key_id, is_)
    if names and not force:
        raise CannotTell(
            f"{', '.join(names)} lacks key {key_id}, or has not said so yet (10 seconds): its links would be dead there. "
            "There: trackrelay token-key add --from FILE. Nothing was changed; --force does it all the same"
        )
    if names:
        say(f"{', '.join(names)} lacks key {key_id}: what is signed with it is dead there until it is added")
    away = nodes.lacking((node for node in roll.nodes if node not in running), key_id, is_)
    if away := [name for name in away if name not in names]:
        say(
            f"{', '.join(away)} does not run, and lacked key {key_id} when it was heard last: add it there before it starts"
        )


def say(sentence: str) -> None:
    print(f"trackrelay token-key: {sentence}", file=sys.stderr)


def run(args: argparse.Namespace) -> int:
    from relay import config, keys

    settings = config.settings_of(args)
    path = settings.state_dir / "keys" / "tokens.json"
    try:
        if args.verb == "rotate":
            rotate(settings, path, force=args.force)
        elif args.verb == "add":
            if args.file:
                new_ones = keys.merge(path, read(args.file))
                print(f"added: {', '.join(map(str, new_ones))}" if new_ones else "nothing is lacking")
            else:
                print(f"key {keys.add(path).key_id} verifies from now on; `trackrelay token-key activate` lets it sign")
        elif args.verb == "activate":
            activate(settings, path, args.key, force=args.force)
        else:
            for key in keys.listing(path):
                print(f"{key.key_id}\t{key.created[:19]}Z\t{'signs and verifies' if key.current else 'verifies'}")
    except (keys.Unusable, CannotTell) as reason:
        say(str(reason))
        return 1
    return 0
