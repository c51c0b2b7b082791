"""Read a message on standard input, write on standard output exactly what the relay would send.

Nothing else is written. The settings are those of the configuration file where there is one; without keys, an
ephemeral one signs, and the tracking server is http://127.0.0.1:8080."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings

HELP = "dry run: show what would be sent, and why"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="the message; standard input without it")
    parser.add_argument(
        "--rcpt",
        metavar="ADDRESS",
        action="append",
        help="envelope recipient; more make more copies, the first is shown",
    )
    parser.add_argument(
        "--opens", action=argparse.BooleanOptionalAction, default=None, help="as the default for this run"
    )
    parser.add_argument(
        "--links", action=argparse.BooleanOptionalAction, default=None, help="as the default for this run"
    )
    parser.add_argument(
        "--thread-replies", action=argparse.BooleanOptionalAction, default=None, help="as the default for this run"
    )
    parser.add_argument(
        "--text-links", action=argparse.BooleanOptionalAction, default=None, help="as the default for this run"
    )
    parser.add_argument("--label", metavar="TEXT", help="as the default for this run")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--explain", action="store_true", help="JSON instead: every part and link, what was done and why"
    )
    shown.add_argument("--diff", action="store_true", help="a readable diff instead")


def settings_or_defaults(args: argparse.Namespace) -> Settings:
    """A dry run needs no file; one that is named, or that has mistakes, is told of."""
    from relay import config

    if args.config is None:
        try:
            config.find(None)
        except config.Missing:
            return config.Settings()
    return config.settings_of(args)


def run(args: argparse.Namespace) -> int:
    import time
    from dataclasses import replace

    import msgspec

    from relay import keys, outbound
    from relay.core import addresses, diff, headers
    from relay.core.model import Recipient, Submission
    from relay.store import memory

    settings = settings_or_defaults(args)
    if args.file:
        with open(args.file, "rb") as file:
            content = file.read()
    else:
        content = sys.stdin.buffer.read()
    given = {k: getattr(args, k) for k in ("opens", "links", "thread_replies", "text_links", "label")}
    given = {k: v for k, v in given.items() if v is not None}
    tracking = replace(settings.tracking, url=settings.tracking.url or "http://127.0.0.1:8080", **given)
    rules = tuple(
        replace(
            r, tracking=replace(r.tracking, url=r.tracking.url or tracking.url, **given), keys=r.keys - given.keys()
        )
        for r in settings.rules
    )
    settings = replace(settings, tracking=tracking, rules=rules)
    file_of_keys = settings.state_dir / "keys" / "tokens.json"
    found = keys.TokenKeys(file_of_keys).now() if settings.file and file_of_keys.exists() else keys.ephemeral()
    tracker = outbound.Tracker(settings, lambda: found, memory.Memory(), outbound.signers(settings))
    head = headers.read(content)
    recipients = args.rcpt or list(addresses.listed(head, "to")[:1]) or ["recipient@example.com"]
    submission = Submission(
        reverse_path=addresses.author(head).address or "sender@example.com",
        recipients=tuple(Recipient(a) for a in recipients),
        content=content,
        received_at=time.time(),
    )
    result, report = tracker.explain(submission, recipients[0])
    if args.explain:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    elif args.diff:
        sys.stdout.write(diff.render(content, result, colour=sys.stdout.isatty()))
    else:
        sys.stdout.buffer.write(result)
        sys.stdout.buffer.flush()
    return 0
