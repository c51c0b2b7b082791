"""Validate the configuration, then try what it says: ports, upstream, mailboxes, tracking host, DKIM records.

Prints one line for each check. Nothing is changed, no mail is sent, and no notification without --send-test. The exit
code is 1 if something failed, 2 if the file itself has mistakes, else 0.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.check import Finding
    from relay.config import Settings

HELP = "validate the configuration and try what it says"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--send-test", action="store_true", help="also send one test notification to each of [[webhooks]]"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line: kind, what, sentence")


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import check, config

    settings = config.settings_of(args, needs_secrets=True)
    say(check.ok("file", f"{settings.file} has no mistakes"), args.json)
    for words in settings.warnings:
        place, key, sentence = words.split(": ", 2)
        say(check.warning(key, f"{sentence} ({place})"), args.json)
    return asyncio.run(_report(settings, args))


def say(finding: Finding, as_json: bool) -> None:
    import dataclasses
    import json

    print(json.dumps(dataclasses.asdict(finding), ensure_ascii=False) if as_json else finding, flush=True)


async def _report(settings: Settings, args: argparse.Namespace) -> int:
    from relay import check

    failed = False
    async for finding in check.run(settings, send_test=args.send_test):
        say(finding, args.json)
        failed = failed or finding.kind == "failure"
    return 1 if failed else 0
