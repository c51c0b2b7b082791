"""Answers that are a gesture and no text: an emoji in Gmail, a yes or no to an invitation.

Owns: recognising them, and what each says. Leaves to others: parts and their octets (`reports`), what follows.
For any bytes.
"""

from __future__ import annotations

import re

import msgspec

REACTION = "text/vnd.google.email-reaction+json"
CALENDAR = "text/calendar"
LONGEST = 65_536  # octets of a part that are read
LONGEST_EMOJI = 32  # characters; a family of four with skin tones has 11
FOLD = re.compile(r"\r?\n[ \t]")
METHOD = re.compile(r"^METHOD(?:;[^:\r\n]{0,200})?:[ \t]*(REPLY|COUNTER)[ \t]*\r?$", re.I | re.M)
PARTSTAT = re.compile(r"^ATTENDEE[^\r\n]{0,2000}?;PARTSTAT=\"?([A-Za-z-]{1,40})", re.I | re.M)
ANSWERS = frozenset({"accepted", "declined", "tentative", "delegated", "completed", "in-process", "needs-action"})


def reaction(body: bytes) -> str:
    """The emoji of Gmail's reaction part (its format 1), "" where it has none."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    emoji = found.get("emoji") if isinstance(found, dict) else None
    return emoji[:LONGEST_EMOJI] if isinstance(emoji, str) else ""


def calendar(text: str) -> str:
    """What an iTIP answer says (RFC 5546 3.2.3): its PARTSTAT in lower case, "countered" where another time is proposed; "" where
    the calendar is no answer."""
    text = FOLD.sub("", text)
    method = METHOD.search(text)
    if method is None:
        return ""
    if method[1].upper() == "COUNTER":
        return "countered"
    status = PARTSTAT.search(text)
    said = status[1].lower() if status else ""
    return said if said in ANSWERS else "answered"
