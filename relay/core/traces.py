"""Hits as lines of JSON -> their verdicts: the rules at work, without a store.

Owns: what a line may say, and the verdict of each hit once all are read. Leaves to others: the rules (`classify`,
`neighbours`), files (`relay.commands.classify`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from relay.core import classify, crowds, neighbours
from relay.core.model import Verdict

Time = float | int | str


class Line(msgspec.Struct, forbid_unknown_fields=False):
    """One hit. `link` is a number or the URL itself; `links` says how many the copy has; times are Unix seconds, or text
    as RFC 3339 has it. All but `kind` and `at` may be missing or null."""

    kind: Literal["open", "click", "canary"]
    at: Time
    message: str | None = None
    recipient: str | None = None
    link: int | str | None = None
    links: int | list[Any] | None = None
    sent_at: Time | None = None
    method: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    headers: Mapping[str, Any] | list[tuple[str, Any]] | None = None


class Judged(msgspec.Struct):
    verdict: Verdict
    reason: str
    first_verdict: Verdict


class Unreadable(Exception):
    """What is wrong with a line, in a sentence."""


decode = msgspec.json.Decoder(Line).decode


def read(line: bytes) -> Line:
    """Raises Unreadable."""
    try:
        hit = decode(line)
        seconds(hit.at)
        seconds(hit.sent_at)
    except (msgspec.DecodeError, ValueError) as error:  # ValidationError is a DecodeError
        raise Unreadable(str(error)) from None
    return hit


def seconds(time: Time | None) -> float | None:
    """Raises ValueError with a sentence."""
    if not isinstance(time, str):
        return time
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        raise ValueError(f'"{time[:40]}" is no time') from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


class Copy(NamedTuple):
    marks: list[neighbours.Mark]
    links: dict[int | str, int]  # what the lines call a link -> its number here


def judge(hits: Sequence[Line], network: Callable[[str], str]) -> list[Judged]:
    """The verdicts, as the lines are ordered; they are looked at in order of time. `network` is as `classify.hit` has it of
    an address."""
    times = [seconds(hit.at) or 0.0 for hit in hits]
    copies: dict[tuple[str, str], Copy] = {}
    crowd = crowds.Crowd()
    found: dict[int, Judged] = {}
    for number in sorted(range(len(hits)), key=times.__getitem__):
        hit, at = hits[number], times[number]
        key = (hit.message or "", (hit.recipient or "").lower())
        copy = copies.setdefault(key, Copy([], {}))
        sent_at = seconds(hit.sent_at)
        method, agent, address = (hit.method or "GET").upper(), hit.user_agent or "", hit.ip or ""
        verdict, reason = classify.hit(
            method=method,
            agent=agent,
            headers=lowered(hit.headers),
            network=network(address) if address else "",
            age=None if sent_at is None else at - sent_at,
            click=hit.kind != "open",
        )
        first = verdict
        if hit.kind == "canary" and verdict not in ("scanner", "crawler"):
            verdict, reason = "scanner", "canary"
        found[number] = Judged(verdict, reason, first)
        who = neighbours.identity(b"", address, agent)
        link = (
            copy.links.setdefault(hit.link if hit.link is not None else "", len(copy.links))
            if hit.kind == "click"
            else -1
        )
        if isinstance(hit.link, int):
            link = hit.link
        mark = neighbours.Mark([str(number)], at, hit.kind, link, who.who, who.where, verdict, method)
        of = neighbours.Copy(len(hit.links) if isinstance(hit.links, list) else hit.links or 0, sent_at)
        for change in crowds.judge(copy.marks, crowd, mark, of, f"{key[0]} {key[1]}"):
            for one in map(int, change.ids):
                if found[one].verdict in neighbours.PEOPLE:
                    found[one].verdict, found[one].reason = change.verdict, change.reason
    return [found[number] for number in range(len(hits))]


def lowered(headers: Mapping[str, Any] | Sequence[tuple[str, Any]] | None) -> classify.Headers:
    if not headers:
        return classify.NONE
    pairs: Iterator[tuple[str, Any]] | Iterable[tuple[str, Any]]
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {name.lower(): value if isinstance(value, str) else str(value) for name, value in pairs}
