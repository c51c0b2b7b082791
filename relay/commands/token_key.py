"""The keys that sign pixels and links. A retired key still verifies, so links that were already sent stay alive."""

from __future__ import annotations

import argparse
import sys

HELP = "rotate and list the keys that sign pixels and links"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="rotate|list", required=True)
    verbs.add_parser("rotate", help="make a new key, which signs from now on; the old ones still verify")
    verbs.add_parser("list", help="print id, date and use of each key, oldest first")


def run(args: argparse.Namespace) -> int:
    from relay import config, keys

    path = config.settings_of(args).state_dir / "keys" / "tokens.json"
    try:
        if args.verb == "rotate":
            new = keys.rotate(path)
            print(f"key {new.key_id} signs from now on; running services notice within a second")
            old = len(keys.listing(path)) - 1
            verify = "key still verifies" if old == 1 else "keys still verify"
            print(f"{old} older {verify}, and always will: keep {path} in your backups")
        else:
            for key in keys.listing(path):
                print(f"{key.key_id}\t{key.created[:19]}Z\t{'signs and verifies' if key.current else 'verifies'}")
    except keys.Unusable as reason:
        print(f"trackrelay token-key: {reason}", file=sys.stderr)
        return 1
    return 0
