"""Validate the configuration, then try what it says: ports, upstream, mailboxes, tracking host, DKIM records.

Prints one line for each check. Nothing is changed and no mail is sent. The exit code is 0 if all is well or there are
only warnings, 1 if something failed, 2 if the file itself has mistakes.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from relay.config import Settings

HELP = "validate the configuration and try what it says"


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    import asyncio

    from relay import check, config

    settings = config.settings_of(args, needs_secrets=True)
    print(check.ok("file", f"{settings.file} has no mistakes"))
    for words in settings.warnings:
        place, key, sentence = words.split(": ", 2)
        print(check.warning(key, f"{sentence} ({place})"))
    return asyncio.run(_report(settings))


async def _report(settings: Settings) -> int:
    from relay import check

    failed = False
    async for finding in check.run(settings):
        print(finding, flush=True)
        failed = failed or finding.kind == "failure"
    return 1 if failed else 0
