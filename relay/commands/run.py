"""Run the service: all roles under one supervisor, or some of them."""

from __future__ import annotations

import argparse
import sys

from relay import roles

HELP = "run the service"


def some_roles(text: str) -> frozenset[str]:
    chosen = frozenset(word.strip() for word in text.split(",") if word.strip())
    unknown = sorted(chosen - set(roles.ALL))
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'}: the roles are {', '.join(roles.ALL)}")
    return chosen


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", type=some_roles, metavar="ROLES", help=f"some of {','.join(roles.ALL)}; all of them by default"
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="the form of the log's lines")
    parser.add_argument("--verbose", action="store_true", help="also log each request for a pixel, a link or a page")


def run(args: argparse.Namespace) -> int:
    from relay import collector

    collector.load()

    import logging

    from relay import config, dumps, log

    chosen: frozenset[str] = args.only or frozenset(roles.ALL)
    dumps.forbid()  # before the first password is read
    settings = config.settings_of(args, chosen, needs_secrets=True)
    if "milter" in chosen and not settings.milter.listen:
        if args.only:
            print(f"{settings.file}: milter.listen: is empty, so nothing would listen", file=sys.stderr)
            return 2
        chosen -= {"milter"}
    elif not args.only and not settings.upstream.url:
        chosen -= roles.OF_UPSTREAM  # the mail server that asks the milter delivers the mail
    if chosen & roles.OF_UPSTREAM and not settings.upstream.url:
        print(
            f"{settings.file}: upstream.url: is missing: name the server that delivers the mail, "
            'for example url = "smtp://user@smtp.example.com:587" under [upstream]',
            file=sys.stderr,
        )
        return 2
    log.start(args.log_format, logging.DEBUG if args.verbose else logging.INFO)

    import os

    from relay import app, inherited, starting, workers

    for warning in settings.warnings:
        log.room("config").warning("doubtful", what=warning)

    def ready(addresses: dict[str, list[tuple[str, int]]]) -> None:
        print("trackrelay ready", file=sys.stderr, flush=True)

    try:
        given = inherited.take(os.environ)
        parts = workers.parts(settings, chosen)
        if len(parts) > 1:
            from relay.workers import supervisor

            supervisor.main(settings, parts, given=given, ready=ready)
        else:
            app.main(settings, only=chosen, given=given, ready=ready)
    except starting.CannotStart as reason:
        print(f"trackrelay: {reason}", file=sys.stderr)
        return reason.code
    return 0
