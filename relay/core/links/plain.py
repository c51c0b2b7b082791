"""URLs in plain text, where people find them: the spans.

Owns: where a URL in text/plain begins and ends (RFC 3986 appendix C, and what mail readers make clickable).
Leaves to others: whether it is tracked (`links.judge`), what a placeholder is (`links.placeholders`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from relay.core.links import placeholders
from relay.core.model import Reason

# From the scheme on, up to what no URL has. Beyond ASCII nothing belongs to it: in Chinese or Japanese text no space
# stands between a URL and the words around it. (A Latin-1 view of bytes shows UTF-8 as such characters too.)
URL = re.compile(r"(?<![A-Za-z0-9+.@-])(https?://)([!#-;=?-Z\[\]_a-z{|}~]++)", re.I | re.A)
TRAILING = frozenset(".,;:!?'\"*_~`")
PAIRS = {")": "(", "]": "[", "}": "{"}
# RFC 3676: a line that ends in a space goes on in the next; with DelSp=yes even in the middle of a word.
REFUSED = '[[data-msys-clicktrack="0"]]'  # SparkPost: leave the URL before this alone
SOFT = re.compile(r" \r?\n")
# RFC 3986 appendix C: what stands in angle brackets is one URL, also where a line ends in it.
BREAK = re.compile(r"[ \t]{0,2}\r?\n[^\s<>]{1,2000}>")


class Found(NamedTuple):
    """`start` to `end` is the URL; `reason` to leave it alone, or None."""

    start: int
    end: int
    reason: Reason | None


def scan(text: str, *, following: Callable[[int], str] | None = None, delsp: bool = False) -> tuple[Found, ...]:
    """The URLs in `text`. Where that is a Latin-1 view of bytes, `following` says which character begins at an offset.
    `delsp`: the text is format=flowed with DelSp=yes."""
    found: list[Found] = []
    for match in URL.finditer(text):
        start, stop = match.span()
        refusal = text.find("[[", start, stop)
        if refusal < 0 or not text.startswith(REFUSED, refusal):
            refusal = stop
        end = start + len(match[1]) + _length(text[match.end(1) : refusal])
        reason: Reason | None = None
        if end == start + len(match[1]):
            continue
        if (
            end == stop
            and stop < len(text)
            and ord(text[stop]) > 127
            and (following(stop) if following else text[stop]).isalnum()
        ):
            reason = "unsafe_place"  # the URL may go on, as an IRI
        elif (delsp and SOFT.match(text, stop)) or (text[start - 1 : start] == "<" and BREAK.match(text, stop)):
            reason = "unsafe_place"  # it goes on in the next line
        elif refusal < stop:
            reason = "refused"
        elif placeholders.across(text, start, end, stop):
            reason = "placeholder"  # the URL is whole once that is filled in
        found.append(Found(start, end, reason))
    return tuple(found)


def _length(text: str) -> int:
    """How much of a run belongs to the URL: no punctuation at its end, and no bracket that it did not open."""
    open_: dict[str, int] = {mark: text.count(mark) for mark in "([{"}
    shut: dict[str, int] = {mark: text.count(mark) for mark in ")]}"}
    end = len(text)
    while end:
        last = text[end - 1]
        if last in TRAILING:
            end -= 1
        elif last in PAIRS and shut[last] > open_[PAIRS[last]]:
            shut[last] -= 1
            end -= 1
        elif last in open_ and open_[last] > 0:  # "see https://a.example/ (" with nothing between
            open_[last] -= 1
            end -= 1
        else:
            break
    return end
