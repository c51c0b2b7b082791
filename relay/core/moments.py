"""A time as people write it on a command line.

Owns: its forms. Leaves to others: what the time is now.
"""

from __future__ import annotations

from datetime import datetime

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = 12  # digits, and a unit: some thousand years
FORMS = "2026-01-31T12:00, 90s, 15m, 2h or 3d"


def read(text: str, now: float) -> float | None:
    """ISO 8601 (local time without an offset), an age before `now` (90s, 15m, 2h, 3d) or Unix seconds, as those; None where
    it is none of them."""
    text = text.strip()
    if text.isascii() and text[-1:] in UNITS and text[:-1].isdecimal() and len(text) < LONGEST:
        return now - int(text[:-1]) * UNITS[text[-1]]
    if text.isascii() and text.replace(".", "", 1).isdecimal() and 9 <= len(text.partition(".")[0]) < LONGEST:
        return float(text)  # shorter ones are years and days for fromisoformat
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
