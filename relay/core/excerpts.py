"""The beginning of what is new in an answer.

Owns: where that begins and ends: without what it quotes. Leaves to others: parts and their text (`reports`, `parts`), whether
anything of it is kept (`mailbox`).
"""

from __future__ import annotations

import re

from relay.core import headers, parts, reports, threads

LONGEST = 1_000  # characters
LOOKED_AT = 20_000  # characters of the text

# The line by which mail programs introduce what they quote: from there on nothing is new.
INTRODUCES = re.compile(
    r"-{2,} ?(?:original|forwarded) (?:message|e-?mail) ?-{2,}|_{10,}|-{2,} ?urspr\S{1,6}ngliche nachricht ?-{2,}"
    r"|(?:on|am|le|el|il|op) .{4,200}(?:wrote|schrieb.{0,100}|a \S{1,2}crit|escribi\S{1,2}|ha scritto|schreef.{0,100}) ?:",
    re.I,
)


def excerpt(raw: bytes) -> str:
    """At most LONGEST characters; "" where there is no text. Never raises, for any bytes."""
    head = headers.read(raw)
    scan = parts.scan(raw, head)
    found = reports.texts(reports.Inspected(raw, head, scan.parts, threads.references(head)))
    return new("\n".join(found)[:LOOKED_AT])[:LONGEST].rstrip()


def new(text: str) -> str:
    """The text without what it quotes, and with at most one empty line in a row."""
    lines: list[str] = []
    rows = [line.strip() for line in text.replace("\r", "").split("\n")]
    for at, line in enumerate(rows):
        following = rows[at + 1] if at + 1 < len(rows) else ""
        if INTRODUCES.fullmatch(line) or (line and INTRODUCES.fullmatch(f"{line} {following}")):
            break
        if line.startswith(">") or (not line and (not lines or not lines[-1])):
            continue
        lines.append(clean(line))
    return "\n".join(lines).strip()


def clean(line: str) -> str:
    """Without control characters, and without half surrogate pairs."""
    return "".join(c if c.isprintable() or c == "\t" else " " for c in line)
