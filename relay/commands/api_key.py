"""Keys for the admin listener. `create` prints the key once, alone on standard output; only its SHA-256 is kept."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings

HELP = "create, list and revoke keys for the admin listener"
SCOPES = ("send", "read", "manage", "admin")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a key and print it")
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        help="what it may do: send, read what happened, manage webhooks, links and the queue; everything by default",
    )
    create.add_argument("--grant", default="", metavar="ID", help="only the mail of this grant")
    verbs.add_parser("list", help="names, grants, scopes, when made and last used")
    revoke = verbs.add_parser("revoke", help="stop accepting a key")
    revoke.add_argument("name", metavar="NAME")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import config

    return asyncio.run(act(config.settings_of(args), args))


async def act(settings: Settings, args: argparse.Namespace) -> int:
    import hashlib
    import secrets
    import time

    from relay import store

    opened = store.open(settings.store.url, settings.state_dir, password=settings.store.password)
    try:
        await opened.start()
    except store.Unavailable as reason:
        print(f"trackrelay api-key: {reason}", file=sys.stderr)
        return 1
    try:
        known = {key.name: key for key in await opened.api_keys()}
        if args.verb == "list":
            for key in known.values():
                made = time.strftime("%Y-%m-%d", time.localtime(key.created_at))
                used = (
                    time.strftime("%Y-%m-%d %H:%M", time.localtime(key.last_used_at)) if key.last_used_at else "never"
                )
                print(f"{key.name}\t{made}\t{key.grant or 'all grants'}\t{','.join(key.scopes)}\tused {used}")
            return 0
        if args.verb == "revoke":
            if not await opened.revoke_api_key(args.name):
                print(
                    f"trackrelay api-key: there is no key named {args.name!r}; see: trackrelay api-key list",
                    file=sys.stderr,
                )
                return 1
            return 0
        if args.name in known:
            print(
                f"trackrelay api-key: there is a key named {args.name!r} already; revoke it, or choose another name",
                file=sys.stderr,
            )
            return 1
        if args.grant and args.grant not in {grant.id for grant in settings.grants}:
            print(f"trackrelay api-key: there is no grant {args.grant!r} in {settings.file}", file=sys.stderr)
            return 2
        secret = "tr_" + secrets.token_urlsafe(32)
        await opened.add_api_key(
            store.ApiKey(
                name=args.name,
                digest=hashlib.sha256(secret.encode()).hexdigest(),
                scopes=tuple(args.scope or SCOPES),
                grant=args.grant,
                created_at=time.time(),
            )
        )
        print(secret)
        return 0
    finally:
        await opened.stop()
