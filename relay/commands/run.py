"""Run the service: all roles under one supervisor, or some of them."""

from __future__ import annotations

import argparse
import sys

HELP = "run the service"
ROLES = ("smtp", "http", "admin", "mailbox", "webhooks", "queue", "milter")


def roles(text: str) -> frozenset[str]:
    chosen = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(chosen - set(ROLES))
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: the roles are {', '.join(ROLES)}")
    return chosen


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", type=roles, metavar="ROLES", help=f"some of {','.join(ROLES)}; all without it")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="one line per event, as this")
    parser.add_argument("--verbose", action="store_true", help="log more")


def run(args: argparse.Namespace) -> int:
    import logging

    from relay import config, log

    settings = config.settings_of(args)
    chosen: frozenset[str] = args.only or frozenset(ROLES)
    if chosen & {"smtp", "queue"} and not settings.upstream.url:
        print(
            f"{settings.file}: upstream.url: is missing: say where the mail goes on to, "
            'for example url = "smtp://user@smtp.example.com:587" under [upstream]',
            file=sys.stderr,
        )
        return 2
    log.start(args.log_format, logging.DEBUG if args.verbose else logging.INFO)

    from relay import app

    for warning in settings.warnings:
        log.room("config").warning("doubtful", what=warning)

    def ready(addresses: dict[str, list[tuple[str, int]]]) -> None:
        print("trackrelay ready", file=sys.stderr, flush=True)

    try:
        app.main(settings, only=chosen, ready=ready)
    except app.CannotStart as reason:
        print(f"trackrelay: {reason}", file=sys.stderr)
        return reason.code
    return 0
