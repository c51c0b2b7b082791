"""Keys for the admin listener. `create` prints the key once, alone on standard output; only its SHA-256 is kept."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings
    from relay.store.contract import Store

HELP = "create, list and revoke keys for the admin listener"
SCOPES = ("send", "read", "manage", "admin")


def some_scopes(text: str) -> tuple[str, ...]:
    given = tuple(word.strip() for word in text.split(","))
    unknown = [word for word in given if word not in SCOPES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no scope; there are {', '.join(SCOPES)}")
    return given


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    create = verbs.add_parser("create", help="make a key and print it")
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--scope",
        action="append",
        type=some_scopes,
        metavar="SCOPE",
        help=f"what it may do, of {', '.join(SCOPES)}: send, read what happened, manage webhooks, links and the queue; everything by default",
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
    from relay import opening, store

    verbs = {"list": listing, "revoke": revoke, "create": create}
    try:
        async with opening.opened(settings, "make" if args.verb == "create" else "refuse") as opened:
            return await verbs[args.verb](opened, settings, args)
    except store.Unavailable as reason:
        print(f"trackrelay api-key: {reason}", file=sys.stderr)
        return 1


async def listing(opened: Store, settings: Settings, args: argparse.Namespace) -> int:
    import time

    for key in await opened.api_keys():
        made = time.strftime("%Y-%m-%d", time.localtime(key.created_at))
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(key.last_used_at)) if key.last_used_at else "never"
        print(f"{key.name}\t{made}\t{key.grant or 'all grants'}\t{','.join(key.scopes)}\tused {used}")
    return 0


async def revoke(opened: Store, settings: Settings, args: argparse.Namespace) -> int:
    if await opened.revoke_api_key(args.name):
        return 0
    print(f"trackrelay api-key: there is no key named {args.name!r}; see: trackrelay api-key list", file=sys.stderr)
    return 1


async def create(opened: Store, settings: Settings, args: argparse.Namespace) -> int:
    import hashlib
    import secrets
    import time

    from relay import store

    if args.name in {key.name for key in await opened.api_keys()}:
        print(f"trackrelay api-key: there is a key named {args.name!r} already; revoke it, or choose another name",
              file=sys.stderr)  # fmt: skip
        return 1
    if args.grant and args.grant not in {grant.id for grant in settings.grants}:
        print(f"trackrelay api-key: there is no grant {args.grant!r} in {settings.file}", file=sys.stderr)
        return 2
    secret = "tr_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    scopes = tuple(dict.fromkeys(scope for given in args.scope or [SCOPES] for scope in given))
    await opened.add_api_key(store.ApiKey(args.name, digest, scopes, args.grant, time.time()))
    print(secret)
    return 0
