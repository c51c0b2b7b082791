"""Everything on loopback, nothing to configure: write a message, read it in a built-in inbox, click, reply, and watch
each of these arrive. State is in a temporary folder and gone at the end."""

from __future__ import annotations

import argparse

HELP = "try it: everything on loopback, with a built-in inbox"


def port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text}: a port is a number from 0 (any free one) to 65535")
    return int(text)


def arguments(parser: argparse.ArgumentParser) -> None:
    for name, usual in (("smtp", 2525), ("http", 8080), ("admin", 8081)):
        words = f"port of the {name.upper() if name != 'admin' else name} server (default {usual}); the next free one where it is busy"
        parser.add_argument(f"--{name}-port", type=port, default=usual, metavar="PORT", help=words)
    parser.add_argument("--verbose", action="store_true", help="log what happens, to standard error")


def run(args: argparse.Namespace) -> int:
    import logging

    from relay import demo, log

    log.start("text", logging.INFO if args.verbose else logging.WARNING)
    return demo.main(args.smtp_port, args.http_port, args.admin_port)
