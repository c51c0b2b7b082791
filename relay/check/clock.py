"""This machine's clock, against what other servers say in passing: the Date of the tracking host, the greeting of an upstream.

Nobody is asked for it. Owns: how far off is too far. Leaves to others: the conversations (`tracking_host`, `upstreams`).
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from relay.check import Finding, failure, ok, warning

# A date as mail and HTTP have it (RFC 5322 3.3, RFC 9110 5.6.7), within a greeting: "220 mx ESMTP Exim 4.96 Sun, 29 Nov 2026 …".
DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), {1,2}\d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (?:[+-]\d{4}|GMT|UTC)"
)
DOUBTFUL, WRONG = (
    30.0,
    300.0,
)  # seconds; webhook receivers refuse signatures that are 5 minutes old (Standard Webhooks 1.0)


def read(text: str) -> float | None:
    """The moment that is named there, in Unix seconds."""
    found = DATE.search(text)
    try:
        return parsedate_to_datetime(found[0]).timestamp() if found else None
    except (ValueError, OverflowError):
        return None


def compared(who: str, theirs: str, now: float) -> list[Finding]:
    """`theirs` is a text that may have a date in it."""
    at = read(theirs)
    if at is None:
        return []
    ahead = now - at
    if abs(ahead) < DOUBTFUL:
        return [ok("clock", f"agrees with that of {who}")]
    words = f"is {spelt(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} that of {who}"
    if abs(ahead) < WRONG:
        return [warning("clock", f"{words}; let systemd-timesyncd or chrony set it")]
    return [failure("clock", f"{words}: receivers refuse notifications that seem so old or so new, and certificates seem to have expired; "
                    "let systemd-timesyncd or chrony set it, unless it is theirs that is wrong")]  # fmt: skip


def spelt(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            many = round(seconds / size)
            return f"{many} {name}{'s' if many != 1 else ''}"
    return f"{round(seconds)} seconds"
