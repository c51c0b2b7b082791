"""The whole service on loopback with nothing to configure: write a message, read it in a built-in inbox, click, reply,
and watch the events arrive. Its state is in a temporary folder, which is removed at the end."""

from __future__ import annotations

import argparse

HELP = "try everything on loopback, with a built-in inbox"


def port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text}: a port is a number from 0 (any free one) to 65535")
    return int(text)


def arguments(parser: argparse.ArgumentParser) -> None:
    for name, usual in (("smtp", 2525), ("http", 8080), ("admin", 8081)):
        words = f"port of the {name.upper() if name != 'admin' else name} server (default {usual}); if it is taken, the next free one"
        parser.add_argument(f"--{name}-port", type=port, default=usual, metavar="PORT", help=words)
    parser.add_argument("--verbose", action="store_true", help="log to standard error")


def run(args: argparse.Namespace) -> int:
    import logging

    from relay import demo, log

    log.start("text", logging.INFO if args.verbose else logging.WARNING)
    return demo.main(args.smtp_port, args.http_port, args.admin_port)
