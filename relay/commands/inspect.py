"""Say how the mailbox reader understands the messages in some files. No store is asked, and nothing is written."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relay.core.reports import Report

HELP = "say how the mailbox reader understands messages: reply, bounce, automatic reply …"
LONGEST = 2_097_152  # octets that are read of a file: what is looked at, and more


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help='a message (RFC 5322); "-" is standard input')


def run(args: argparse.Namespace) -> int:
    import sys

    for name in args.files:
        sys.stdout.write(line(name) + "\n")
        sys.stdout.flush()
    return 0


def line(name: str) -> str:
    """One message as one line of JSON. A file that can't be read is of kind "other", with the reason."""
    import json
    import sys
    from pathlib import Path

    from relay.core import reports

    try:
        if name == "-":
            raw = sys.stdin.buffer.read(LONGEST)
        else:
            with Path(name).open("rb") as file:
                raw = file.read(LONGEST)
        report = reports.read(raw)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        report = reports.Report("other", reason=f"unreadable: {getattr(error, 'strerror', None) or error}")
    return json.dumps(shown(report))


def shown(report: Report) -> dict[str, Any]:
    """A report as it is printed: as a whole, and what it says of each recipient."""
    return {
        "kind": report.kind,
        "recipients": list(report.recipients),
        "status": report.status,
        "smtp_code": report.smtp_code,
        "action": report.action,
        "original_message_id": report.original_message_id,
        "references": list(report.references),
        "reason": report.reason,
        "each": [
            {
                "recipient": e.recipient,
                "action": e.action,
                "status": e.status,
                "smtp_code": e.smtp_code,
                "reason": e.reason,
            }
            for e in report.entries
        ],
    }
