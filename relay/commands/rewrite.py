"""Read a message on standard input, and write to standard output exactly what the relay would send, without its Received
field: nobody has sent this message yet.

Nothing else is written. The settings are those of the configuration file, if there is one. Without keys, one
of no installation signs; without a tracking server, links lead to http://127.0.0.1:8080."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.config import Settings
    from relay.core import dkim
    from relay.core.model import Keys
    from relay.core.suppressions import Suppression

HELP = "dry run: show what would be sent, and why"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="the message; standard input by default")
    parser.add_argument(
        "--rcpt",
        metavar="ADDRESS",
        action="append",
        help="an envelope recipient; each makes a copy, and the first one's is shown",
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
        "--explain", action="store_true", help="JSON instead: every part and link, what was done to it and why"
    )
    shown.add_argument("--diff", action="store_true", help="a readable diff instead")


def run(args: argparse.Namespace) -> int:
    from relay import causes, keys, outbound
    from relay.core import dkim

    settings = with_defaults(settings_or_none(args), args)
    path = settings.state_dir / "keys" / "tokens.json"
    try:
        content = read(args.file)
        found = keys.TokenKeys(path).now() if settings.file and path.exists() else keys.dry_run()
        signers = outbound.signers(settings)
    except OSError as reason:
        print(f"trackrelay rewrite: {causes.at(reason)}", file=sys.stderr)
        return 2
    except (keys.Unusable, dkim.BadKey) as reason:
        print(f"trackrelay rewrite: {reason}", file=sys.stderr)
        return 2
    show(content, *dry_run(settings, found, signers, content, args.rcpt), args)
    return 0


def settings_or_none(args: argparse.Namespace) -> Settings:
    """A dry run needs no file. One that was named but is missing, or that has mistakes, is reported all the same."""
    from relay import config

    if args.config is None:
        try:
            config.find(None)
        except config.Missing:
            return config.Settings()
    return config.settings_of(args, needs_secrets=True)


def with_defaults(settings: Settings, args: argparse.Namespace) -> Settings:
    """The settings with what the command line says laid over [tracking] and every rule."""
    from dataclasses import replace

    given = {k: getattr(args, k) for k in ("opens", "links", "thread_replies", "text_links", "label")}
    given = {k: v for k, v in given.items() if v is not None}
    tracking = replace(settings.tracking, url=settings.tracking.url or "http://127.0.0.1:8080", **given)
    rules = tuple(
        replace(
            r, tracking=replace(r.tracking, url=r.tracking.url or tracking.url, **given), keys=r.keys - given.keys()
        )
        for r in settings.rules
    )
    return replace(settings, tracking=tracking, rules=rules)


def read(name: str | None) -> bytes:
    if name is None:
        return sys.stdin.buffer.read()
    with open(name, "rb") as file:
        return file.read()


def dry_run(
    settings: Settings, found: Keys, signers: Sequence[dkim.Signer], content: bytes, rcpt: list[str] | None
) -> tuple[bytes, dict[str, Any]]:
    """The first recipient's copy, and the report about it."""
    import time

    from relay import outbound
    from relay.core import addresses, headers
    from relay.core.model import Recipient, Submission
    from relay.store import memory

    head = headers.read(content)
    recipients = rcpt or list(addresses.listed(head, "to")[:1]) or ["recipient@example.com"]
    submission = Submission(
        reverse_path=addresses.author(head).address or "sender@example.com",
        recipients=tuple(Recipient(a) for a in recipients),
        content=content,
        received_at=time.time(),
    )
    tracker = outbound.Tracker(settings, lambda: found, memory.Memory(), signers)
    return tracker.explain(submission, recipients[0], suppressed(settings, found, recipients))


def suppressed(settings: Settings, found: Keys, recipients: Sequence[str]) -> Mapping[str, Sequence[Suppression]]:
    """Those of them who are on the list of the installation, if there is one."""
    import asyncio

    from relay import store
    from relay.core import suppressions

    if not settings.file:
        return {}
    digests = {address: suppressions.digest(address, found) for address in recipients}
    try:
        rows = asyncio.run(
            store.suppressed(settings.store.url, settings.state_dir, set(digests.values()), settings.store.password)
        )
    except (store.Unavailable, OSError) as reason:
        print(f"trackrelay rewrite: the list of suppressed recipients can't be asked: {reason}", file=sys.stderr)
        return {}
    return {
        address: own for address, digest in digests.items() if (own := [one for one in rows if one.digest == digest])
    }


def show(content: bytes, result: bytes, report: dict[str, Any], args: argparse.Namespace) -> None:
    import msgspec

    from relay.core import diff

    if args.explain:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n")
    elif args.diff:
        sys.stdout.write(diff.render(content, result, colour=sys.stdout.isatty()))
    else:
        sys.stdout.buffer.write(result)
        sys.stdout.buffer.flush()
