"""What is new in an answer: without what it quotes, and without signature and closing words.

Owns: where that begins and ends, in the layouts of mail programs: above the quoted message, below it, between its lines.
`phrases` has the words. Leaves to others: parts and their text (`reports`, `parts`), whether anything of it is kept
(`mailbox`).

Line by line, in time linear in the text: the libraries for it match whole messages, and eight kB of spaces between words hold
them for eight seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from relay.core import headers, parts, threads
from relay.core.excerpts import phrases
from relay.core.reports import inspected, prose

LONGEST = 1_000  # characters
LOOKED_AT = 20_000  # characters of the text, after what HTML quotes is taken out
LONGEST_HTML = 400_000  # characters
INTRODUCTION = 3  # lines over which an introduction may be folded
SECTION = 6  # lines in which the labels of a quoted header section stand

# Where a program's HTML begins what it quotes; below is nothing new.
CONTAINER = re.compile(
    r"<(?:div|span|blockquote|hr|table|p)\b[^<>]{0,300}?(?:class=[\"']?[^\"'<>]{0,80}?(?:gmail_quote|yahoo_quoted|moz-cite-prefix|protonmail_quote|OutlookMessageHeader|zmail_extra"
    r"|tutanota_quote|WordSection1_quote)|id=[\"']?(?:x_)?(?:appendonsend|divRplyFwdMsg|mail-editor-reference-message-container|stopSpelling|reply-intro|isForwardContent|ms-outlook-mobile-body-separator-line))"
    r"|<div\b[^<>]{0,200}?border-top: ?solid #(?:E1E1E1|B5C4DF)",
    re.I,
)
SIGNED = re.compile(
    r"<(?:div|span|table)\b[^<>]{0,300}?(?:class=[\"']?[^\"'<>]{0,80}?(?:gmail_signature|moz-signature|protonmail_signature)|id=[\"']?(?:x_)?(?:Signature|ms-outlook-mobile-signature|AppleMailSignature))",
    re.I,
)
BLOCK = re.compile(r"<(/?)blockquote\b[^<>]{0,1000}>", re.I)
UNSEEN = re.compile(r"<(style|script|head|title)\b[^<>]{0,1000}>[^<]{0,100000}</\1\s*>", re.I)


def excerpt(raw: bytes) -> str:
    """At most LONGEST characters; "" where there is no text. Never raises, for any bytes."""
    head = headers.read(raw)
    scan = parts.scan(raw, head)
    message = inspected.Inspected(raw, head, scan.parts, threads.references(head))
    for part in scan.parts:
        if part.content_type == "text/html" and part.disposition != "attachment":
            html = message.text(part)
            break
        if inspected.plain(part) and part.disposition != "attachment" and message.text(part).strip():
            html = ""
            break
    else:
        html = ""
    text = prose.plain(unquoted(html)) if html else "\n".join(inspected.texts(message))
    return new(text[:LOOKED_AT])[:LONGEST].rstrip()


def unquoted(html: str) -> str:
    """HTML without what it quotes."""
    html = UNSEEN.sub(" ", uncommented(html[:LONGEST_HTML]))
    cut = CONTAINER.search(html)
    if cut and prose.plain(html[: cut.start()]).strip():
        html = html[: cut.start()]
    signed = SIGNED.search(html)
    if signed and prose.plain(html[: signed.start()]).strip():
        html = html[: signed.start()]
    kept: list[str] = []
    depth = at = 0
    for mark in BLOCK.finditer(html):
        if not depth:
            kept.append(html[at : mark.start()])
        depth = max(0, depth - 1) if mark[1] else depth + 1
        at = mark.end()
    return "\n".join([*kept, html[at:] if not depth else ""])


def uncommented(html: str) -> str:
    kept, at = [], 0
    while (start := html.find("<!--", at)) >= 0 and (end := html.find("-->", start)) >= 0:
        kept.append(html[at:start])
        at = end + 3
    return "".join([*kept, html[at:]])


def new(text: str) -> str:
    """The text without what it quotes, and with at most one empty line in a row."""
    rows = [line.strip() for line in text.replace("\r", "").replace("\u00a0", " ").split("\n")]
    bare = [phrases.bare(row) for row in rows]
    kept: list[int] = []
    at = 0
    while at < len(rows):
        line = bare[at]
        if not line:
            kept += [] if rows[at] else [at]  # a stroke of underscores says nothing
        elif rows[at].startswith((">", "＞", "|>")) or (not any(bare[k] for k in kept) and phrases.BANNER.match(line)):
            pass
        elif lines := introduction(bare, at):
            if not quotes(rows, at + lines):
                break
            at += lines
            continue
        elif (
            phrases.divides(line)
            or section(bare, at)
            or phrases.SIGNATURE.fullmatch(rows[at])
            or phrases.DISCLAIMER.match(line)
        ):
            break
        elif not phrases.MOBILE.fullmatch(line):
            kept.append(at)
        at += 1
    return "\n".join(written(rows, bare, kept))


def introduction(bare: Sequence[str], at: int) -> int:
    """How many lines from here on introduce what is quoted; 0 where they don't."""
    joined = ""
    for lines in range(1, INTRODUCTION + 1):
        if at + lines > len(bare) or not bare[at + lines - 1]:
            return 0
        joined = f"{joined} {bare[at + lines - 1]}".strip()
        if phrases.introduces(joined):
            return lines
        if len(joined) > phrases.LONGEST:
            return 0
    return 0


def quotes(rows: Sequence[str], at: int) -> bool:
    """Whether what follows is marked as quoted: then answers may stand between its lines."""
    following = next((row for row in rows[at : at + 3] if row), "")
    return following.startswith((">", "＞", "|>"))


def section(bare: Sequence[str], at: int) -> bool:
    """Whether a quoted header section begins here, perhaps below a stroke."""
    if phrases.UNDERLINE.fullmatch(bare[at]):
        below = next((n for n in range(at + 1, min(at + 3, len(bare))) if bare[n]), len(bare))
        return below < len(bare) and section(bare, below)
    if not phrases.FROM.fullmatch(bare[at]):
        return False
    fields = sum(bool(phrases.FIELD.fullmatch(line)) for line in bare[at + 1 : at + SECTION])
    return fields >= 2 or (fields == 1 and "@" in bare[at])


def written(rows: Sequence[str], bare: Sequence[str], kept: list[int]) -> list[str]:
    """The lines that are kept, up to the closing words where only a signature is below them."""
    said = [at for at in kept if bare[at]]
    closing = -1
    for number in range(max(1, len(said) - phrases.MAX_SIGNATURE - 1), len(said)):
        if phrases.signs_off(bare[said[number]], [bare[n] for n in said[number + 1 :]]):
            closing = said[number]
            break
    if closing >= 0:
        kept = kept[: kept.index(closing)]
    lines: list[str] = []
    for at in kept:
        if rows[at] or (lines and lines[-1]):
            lines.append(clean(rows[at]))
    while lines and not lines[-1]:
        lines.pop()
    return lines


def clean(line: str) -> str:
    """Without control characters, and without half surrogate pairs."""
    return "".join(c if c.isprintable() or c == "\t" else " " for c in line)
