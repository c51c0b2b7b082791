"""What a rewrite changed, for people: header fields and the decoded text of parts, as a unified diff.

Owns: how it reads (long lines broken at tags, cut around what changed; control characters made visible).
Leaves to others: the change itself (`rewrite`) and the machine's account of it (`rewrite.explain`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from relay.core import headers, parts

WIDTH = 160  # longer lines are broken after each tag
MAX_LINES = 20_000  # lines of one text that are compared line by line

RED, GREEN, CYAN, BOLD, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[1m", "\x1b[0m"
# What a terminal would act upon, and what turns the direction of writing.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
BREAK = re.compile(r"[^>]{1,600}>?|>")


def render(before: bytes, after: bytes, *, colour: bool) -> str:
    """A diff of two forms of one message; "" where they are equal. For any bytes."""
    if before == after:
        return ""
    lines: list[str] = []
    for title, old, new in _pairs(before, after):
        lines += _compared(title, old, new)
    if not lines:
        lines = ["--- encoding", "+++ encoding", " The octets differ, the decoded texts do not."]
    return "".join(f"{_coloured(line) if colour else _seen(line)}\n" for line in lines)


def _pairs(before: bytes, after: bytes) -> Iterator[tuple[str, list[str], list[str]]]:
    """(title, old lines, new lines) of the top-level header and of every part's header and text."""
    tops = headers.read(before), headers.read(after)
    above = [_lines(top.raw[: top.start]) for top in tops]  # what a file has before a message
    yield "header", above[0] + _fields(tops[0]), above[1] + _fields(tops[1])
    old, new = (
        {part.path: part for part in parts.scan(raw, top).parts} for raw, top in zip((before, after), tops, strict=True)
    )
    for path in dict.fromkeys((*old, *new)):
        one, two = old.get(path), new.get(path)
        if path != "1":
            yield f"part {path} header", _fields(one.headers) if one else [], _fields(two.headers) if two else []
        kind = (one or two).content_type  # type: ignore[union-attr]
        if kind.startswith("multipart/"):
            continue
        texts = [_text(raw, part) for raw, part in ((before, one), (after, two))]
        yield f"part {path} {kind}", texts[0], texts[1]


def _fields(head: headers.Headers) -> list[str]:
    return [line for field in head.fields for line in _lines(head.raw[field.start : field.end])]


def _lines(text: bytes) -> list[str]:
    return text.decode("utf-8", "replace").splitlines()


def _text(raw: bytes, part: parts.Part | None) -> list[str]:
    if part is None:
        return []
    text = parts.text(raw, part)
    if text is None:
        text = raw[part.start : part.end].decode("latin-1")
    return [piece for line in re.split("\r?\n", text) for piece in _broken(line)]


def _broken(line: str) -> list[str]:
    return [line] if len(line) <= WIDTH else BREAK.findall(line)


def alike(old: Sequence[object], new: Sequence[object]) -> tuple[int, int]:
    """How many are the same at the beginning, and of the rest at the end."""
    first = 0
    while first < min(len(old), len(new)) and old[first] == new[first]:
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and old[-1 - last] == new[-1 - last]:
        last += 1
    return first, last


def _compared(title: str, old: Sequence[str], new: Sequence[str]) -> list[str]:
    if old == new:
        return []
    first, last = alike(old, new)
    start = max(0, first - 1)
    a, b = old[start : len(old) - max(0, last - 1)], new[start : len(new) - max(0, last - 1)]
    if max(len(a), len(b)) > MAX_LINES:
        body = [*(f"-{line}" for line in a[:MAX_LINES]), *(f"+{line}" for line in b[:MAX_LINES])]
    else:
        body = list(difflib.unified_diff(a, b, n=1, lineterm=""))[2:]
    return [f"--- {title}", f"+++ {title}", *(_shifted(line, start) for line in body)]


def _shifted(line: str, by: int) -> str:
    """A line of the diff, with line numbers of the whole text."""
    if not line.startswith("@@"):
        return line
    return re.sub(r"([-+])(\d+)", lambda match: f"{match[1]}{int(match[2]) + by}", line)


def _coloured(line: str) -> str:
    line = _seen(line)
    if line.startswith(("--- ", "+++ ")):
        return f"{BOLD}{line}{PLAIN}"
    mark = {"-": RED, "+": GREEN, "@": CYAN}.get(line[:1])
    return f"{mark}{line}{PLAIN}" if mark else line


def _seen(line: str) -> str:
    return UNSEEN.sub(
        lambda match: f"\\u{ord(match[0]):04x}" if ord(match[0]) > 255 else f"\\x{ord(match[0]):02x}", line
    )
