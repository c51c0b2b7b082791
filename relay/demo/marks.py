"""A message before and after -> the same message with marks where it was changed.

Owns: the shortest way from one to the other, and how it is divided for people: header fields, parts, their text. Leaves to
others: what was changed and why (`core.rewrite`), showing it (`pages`).
Nothing is guessed: without what was added the marked text is what came in, without what was removed it is what left.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from relay.core import diff, headers, parts

Kind = Literal["same", "added", "removed"]
Refine = Callable[[str, str], "list[Run] | None"]

MAX_DIFFERENCES = 800  # of one text; with more, what lies between its equal beginning and end counts as replaced
# Of HTML: a tag, a word, white space. Of a tag: a value in quotation marks, a word, a mark.
PIECES = re.compile(r"<[^<>]*>|[^<\s]+|\s+|<")
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
OF_A_TAG = re.compile(r"\"[^\"]*\"|'[^']*'|[^\s\"'<>=]+|.", re.S)


class Run(NamedTuple):
    """A stretch of text with one mark."""

    kind: Kind
    text: str


class Section(NamedTuple):
    """`runs` is None where there is nothing to read: an attachment, say, of which `note` tells."""

    title: str
    note: str
    runs: list[Run] | None


def readable(before: bytes, after: bytes) -> list[Section]:
    """The header section, then each part's header and its text without the transfer encoding."""
    tops = headers.read(before), headers.read(after)
    found = [Section("Header", "", in_fields(*(fields(top) for top in tops)))]
    old, new = (
        {part.path: part for part in parts.scan(raw, top).parts} for raw, top in zip((before, after), tops, strict=True)
    )
    for path in dict.fromkeys((*old, *new)):
        one, two = old.get(path), new.get(path)
        part = two or one
        assert part is not None
        alone = len(new) == 1 == len(old)
        if path != "1":
            told = in_fields(fields(one.headers) if one else [], fields(two.headers) if two else [])
            found.append(Section(f"Part {path.removeprefix('1.')}", part.content_type, told))
        if part.content_type.startswith("multipart/"):
            continue
        title = "Body" if alone else ""
        texts = [None if each is None else parts.text(raw, each) for raw, each in ((before, one), (after, two))]
        if texts[1] is None and texts[0] is None:
            changed = [raw[each.start : each.end] if each else b"" for raw, each in ((before, one), (after, two))]
            how = "as it came" if changed[0] == changed[1] else "changed"
            found.append(Section(title, f"{part.content_type}, {len(changed[1]):,} octets, {how}", None))
            continue
        note = f"shown without {part.encoding}" if part.encoding in ("quoted-printable", "base64") else ""
        found.append(Section(title, note, in_text(lines(texts[0] or ""), lines(texts[1] or ""))))
    return found


def whole(before: bytes, after: bytes) -> list[Run]:
    """Every octet, as text: UTF-8, and "surrogateescape" for what is none."""
    tops = headers.read(before), headers.read(after)
    old, new = (
        [(part.path, part.start, part.end) for part in parts.scan(raw, top).parts if leaf(part)]
        for raw, top in zip((before, after), tops, strict=True)
    )
    found = in_fields(*(fields(top, rest=True) for top in tops))
    at = [tops[0].body, tops[1].body]
    if [path for path, *_ in old] == [path for path, *_ in new]:
        for (_, *one), (_, *two) in zip(old, new, strict=True):
            for place in (0, 1):  # what stands before the body, then the body
                ends = one[place], two[place]
                found += in_text(text(before[at[0] : ends[0]]), text(after[at[1] : ends[1]]))
                at = [max(at[0], ends[0]), max(at[1], ends[1])]
    return joined([*found, *in_text(text(before[at[0] :]), text(after[at[1] :]))])


def leaf(part: parts.Part) -> bool:
    return not part.content_type.startswith("multipart/")


def summary(before: bytes, after: bytes, tracking: str) -> dict[str, Any]:
    """What was changed, in numbers and names. `tracking` is the URL that tracked links and the pixel begin with."""
    changed = in_fields(*(fields(headers.read(raw)) for raw in (before, after)))
    names = {kind: [run.text.partition(":")[0] for run in changed if run.kind == kind] for kind in ("added", "removed")}
    put = "\n".join(run.text for part in readable(before, after)[1:] for run in part.runs or () if run.kind == "added")
    return {**names, "links": put.count(f"{tracking}/c/"), "pixels": put.count(f"{tracking}/o/")}


# -- header fields and texts -------------------------------------------------------------------------------------------


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def lines(told: str) -> str:
    return told.replace("\r\n", "\n")


def fields(head: headers.Headers, *, rest: bool = False) -> list[str]:
    """The fields with their line endings; with `rest` also what else stands before the body."""
    found = [text(head.raw[field.start : field.end]) for field in head.fields]
    if not rest:
        return list(map(lines, found))
    return list(filter(None, [text(head.raw[: head.start]), *found, text(head.raw[head.end : head.body])]))


def in_fields(old: Sequence[str], new: Sequence[str]) -> list[Run]:
    """Field by field; one that has another value is marked where that differs."""

    def refined(one: str, two: str) -> list[Run] | None:
        return in_words(one, two) if one.partition(":")[0] == two.partition(":")[0] else None

    return differences(old, new, refined)


def in_words(old: str, new: str) -> list[Run]:
    return joined(differences(PIECES.findall(old), PIECES.findall(new)))


def in_text(old: str, new: str) -> list[Run]:
    if old == new:
        return [Run("same", old)] if old else []
    return joined(differences(PIECES.findall(old), PIECES.findall(new), in_a_tag))


def in_a_tag(old: str, new: str) -> list[Run] | None:
    """Two tags of one name: what differs in their attributes."""
    if not (old.startswith("<") and new.startswith("<") and name(old) == name(new)):
        return None
    return differences(OF_A_TAG.findall(old), OF_A_TAG.findall(new), in_quotes)


def name(tag: str) -> str:
    return tag.split(None, 1)[0].rstrip(">")


def in_quotes(old: str, new: str) -> list[Run] | None:
    if not (QUOTED.fullmatch(old) and QUOTED.fullmatch(new) and old[0] == new[0]):
        return None
    mark = Run("same", old[:1])
    return [mark, Run("removed", old[1:-1]), Run("added", new[1:-1]), mark]


# -- the shortest way --------------------------------------------------------------------------------------------------


def differences(old: Sequence[str], new: Sequence[str], refine: Refine | None = None) -> list[Run]:
    """The runs that lead from one to the other. `refine` looks into two that stand in for one another; None where they are
    strangers."""
    found: list[Run] = []
    for removed, added, same in steps(old, new):
        pairs = (
            [refine(*pair) for pair in zip(removed, added, strict=True)]
            if refine and len(removed) == len(added)
            else []
        )
        if pairs and all(pair is not None for pair in pairs):
            found += [run for pair in pairs if pair is not None for run in pair]
        else:
            found += [Run("removed", each) for each in removed]
            found += [Run("added", each) for each in added]
        if same:
            found.append(Run("same", "".join(same)))
    return found


def steps(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[str], Sequence[str]]]:
    """What goes, what comes, what stays, again and again to the end."""
    first, last = diff.alike(old, new)
    yield (), (), old[:first]
    a, b = old[first : len(old) - last], new[first : len(new) - last]
    x = y = 0
    for i, j, length in [*matches(a, b), (len(a), len(b), 0)]:
        yield a[x:i], b[y:j], a[i : i + length]
        x, y = i + length, j + length
    yield (), (), old[len(old) - last :]


def matches(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int, int]]:
    """Where they are equal, as (place in a, place in b, how many): Myers' greedy algorithm (1986), which finds the fewest
    differences. None are found where there are too many of them."""
    reach = {1: 0}
    trace: list[dict[int, int]] = []
    for d in range(min(len(a) + len(b), MAX_DIFFERENCES) + 1):
        trace.append(dict(reach))
        for k in range(-d, d + 1, 2):
            down = k == -d or (k != d and reach[k - 1] < reach[k + 1])
            x = reach[k + 1] if down else reach[k - 1] + 1
            y = x - k
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x, y = x + 1, y + 1
            reach[k] = x
            if x >= len(a) and y >= len(b):
                return walked(trace, len(a), len(b))
    return []


def walked(trace: Sequence[dict[int, int]], x: int, y: int) -> list[tuple[int, int, int]]:
    """The way back through the trace: its diagonals."""
    found: list[tuple[int, int, int]] = []
    for d in range(len(trace) - 1, -1, -1):
        reach, k = trace[d], x - y
        down = k == -d or (k != d and reach[k - 1] < reach[k + 1])
        before = reach[k + 1] if down else reach[k - 1]
        start = before if down else before + 1
        if d == 0:
            start = 0
        if x > start:
            found.append((start, start - k, x - start))
        x, y = before, before - (k + 1 if down else k - 1)
    return found[::-1]


def joined(runs: Sequence[Run]) -> list[Run]:
    """Neighbours with one mark are one. What is removed stands before what is added in its place."""
    found: list[Run] = []
    for same, group in itertools.groupby((run for run in runs if run.text), lambda run: run.kind == "same"):
        texts: dict[Kind, list[str]] = {}
        for run in group:
            texts.setdefault(run.kind, []).append(run.text)
        kinds: Sequence[Kind] = ("same",) if same else ("removed", "added")
        found += [Run(kind, "".join(texts[kind])) for kind in kinds if kind in texts]
    return found
