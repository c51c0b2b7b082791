"""What the hits around a hit show: a gateway follows all links in a row, a person opens a few tabs.

Owns: what must be remembered of the hits of one copy; the rules by which they correct each other's verdicts; the reason
codes of those and of `crowds`. Leaves to others: what one hit shows alone (`classify`), what one address does over the copies
of several recipients (`crowds`), keeping what is remembered (`tally.Facts`, in the store), writing what changed (`relay.store`).

A hit is corrected in one direction only: what looked like a person's turns out to be a machine's. What speaks for a person
is that the picture was loaded at least two seconds before the first click, by the same program or from the same address,
or by a mail provider's proxy: gateways load it seldom, and read nothing. Without that, as many links in as short a time
are a machine's as no hand could follow, or all links of the message one after the other. With it the time must be
shorter than a hand can be.

No address and no agent is remembered, but keyed hashes of them: see `Identity`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Literal, NamedTuple

import msgspec

from relay.core.model import Verdict

REASONS: Mapping[str, str] = {
    "burst": "Several links of the copy within two seconds.",
    "sweep": "All links of the copy one after the other, with nobody to be seen who read it.",
    "canary": "Followed the link that nobody sees.",
    "around_canary": "Came with one that followed the link that nobody sees.",
    "after_head": "The same program, or one beside it, had asked without wanting the content (HEAD).",
    "beside_machine": "The same program did what only machines do, within a minute.",
    "beside_click": "Somebody else's click on the same link, within seconds of the click of the person who had loaded the picture.",
    "many_recipients": "One address followed links of several recipients within seconds.",
}

READING = 2.0  # seconds between the picture and the first click, at least, where somebody reads
BURST = 2.0  # seconds
TOGETHER = 20.0  # seconds between a click and a scan of the same link at the time of the click
COMPANY = 60.0  # seconds around what only machines do, in which the same program is one
STEADY = 75.0  # seconds in which a machine that loads the picture too goes through all links at one pace, at most
PAUSE = 30.0  # seconds without a click, after which other programs' clicks are others'
CANARY = 300.0  # the same around a canary
NEAR_CANARY = 10.0  # and others without a picture, from anywhere
HAND = 0.35  # seconds between two links that no hand is faster than
SOME, SOME_SECONDS = 5, 60.0  # so many links, of however many, within so long
SOON = 600.0  # seconds after the delivery in which three links, or two, can be a sweep
AGES = 600.0  # seconds for which clicks are remembered
DAY = 86_400.0  # and pictures
CLICKS, OPENS, CANARIES, IDS = 32, 8, 8, 8  # marks of each kind, and hits per mark, that are remembered per copy
FEWEST = min(CLICKS, OPENS, CANARIES)

FOLLOWED: tuple[Verdict, str] = ("scanner", "canary")  # of a person's program that followed the canary

Kind = Literal["open", "click", "canary"]
PEOPLE = frozenset(("human", "unknown", "proxy"))


class Identity(NamedTuple):
    """Who made a hit: hashes, with a key that lives a day, of address and agent together (`who`) and of the address
    alone (`where`). 0 is not known."""

    who: int
    where: int


NOBODY = Identity(0, 0)


class Mark(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of the hits of one program on one link, or on the picture."""

    ids: list[str]
    at: float
    kind: Kind
    link: int
    who: int
    where: int
    verdict: Verdict  # as it is now
    method: str = "GET"


class Change(NamedTuple):
    """These hits have this verdict from now on."""

    ids: Sequence[str]
    verdict: Verdict
    reason: str


class Copy(msgspec.Struct, frozen=True, gc=False):
    """What is known of a copy: how many links it has (0 where that is not known), and when it was delivered."""

    links: int = 0
    sent_at: float | None = None


NO_COPY = Copy()


def follow(marks: list[Mark], hit: Mark, copy: Copy) -> list[Change]:
    """What the hit changes, itself included. `marks` are those of its copy, oldest first, and are moved on."""
    again = remember(marks, hit)
    if again is not None and again.verdict == "scanner" and hit.who and hit.verdict in PEOPLE:
        return [Change(hit.ids, "scanner", "beside_machine")]
    if innocent(marks, hit):
        return []
    return list(apply([*company(marks)] if hit.kind == "open" else found(marks, copy)))


def innocent(marks: Sequence[Mark], hit: Mark) -> bool:
    """Whether no rule has anything to find: no machine, no canary, no HEAD, and one click at most, or clicks on one link
    only and no picture."""
    clicks = opens = 0
    for m in marks:
        if m.verdict not in PEOPLE or m.kind == "canary" or m.method != "GET":
            return False
        if m.kind == "open":
            opens += 1
        elif m.link == hit.link:
            clicks += 1
        elif hit.kind == "click":
            return False
    return clicks < 2 or not opens or hit.kind == "open"


def apply(suspects: Iterable[tuple[Mark, str]]) -> Iterable[Change]:
    for mark, reason in suspects:
        if mark.verdict in PEOPLE:
            mark.verdict = "scanner"
            yield Change(mark.ids, "scanner", reason)


def remember(marks: list[Mark], hit: Mark) -> Mark | None:
    """The mark that the hit went into, if the same program had done the same before."""
    oldest = hit.at - AGES
    if marks and marks[0].at < oldest:
        marks[:] = [m for m in marks if (m.at >= oldest if m.kind != "open" else m.at >= hit.at - DAY)]
    for m in marks:
        if (
            m.who == hit.who
            and m.kind == hit.kind
            and m.link == hit.link
            and m.method == hit.method
            and m.where == hit.where
        ):
            if m.verdict not in PEOPLE and hit.verdict in PEOPLE and abs(hit.at - m.at) > COMPANY:
                break  # too long after: it is looked at anew
            m.ids = [*m.ids[-IDS + 1 :], *hit.ids]
            if hit.verdict not in PEOPLE and m.verdict in PEOPLE:
                m.verdict = hit.verdict
            return m
    marks.append(hit)
    if len(marks) > 1 and marks[-2].at > hit.at:
        marks.sort(key=lambda m: m.at)
    if len(marks) <= FEWEST:
        return None
    for kind, most in (("open", OPENS), ("click", CLICKS), ("canary", CANARIES)):
        some = [m for m in marks if m.kind == kind]
        if len(some) > most:
            marks.remove(some[1] if kind == "open" else some[0])
    return None


def found(marks: Sequence[Mark], copy: Copy) -> list[tuple[Mark, str]]:
    """What the rules find, the plainest first."""
    clicks = [m for m in marks if m.kind == "click"]
    read = {id(m): readers(m, marks) for m in clicks}
    own = {key for key, by in read.items() if by == "own"}
    suspects: list[tuple[Mark, str]] = [(m, "canary") for m in marks if m.kind == "canary"]
    suspects += canary(marks, own)
    suspects += after_head(clicks, own)
    looked = [m for m in clicks if m.verdict != "prefetch"]  # what a browser fetched ahead for a person makes no row
    programs: dict[int, list[Mark]] = {}
    addresses: dict[int, list[Mark]] = {}
    for m in looked:
        if m.who:
            programs.setdefault(m.who, []).append(m)
            addresses.setdefault(m.where, []).append(m)
    for group in programs.values():
        if len(group) > 1:
            suspects += row(group, marks, copy, any(read[id(m)] for m in group))
    for group in addresses.values():
        if len({m.who for m in group}) > 1:
            for run in runs(group):
                suspects += row(run, marks, copy, any(read[id(m)] for m in run))
    strangers = [m for m in looked if not read[id(m)] and m.verdict != "crawler"]
    if len({m.who or id(m) for m in strangers}) > 1:
        for run in runs(strangers):
            machines = row(run, marks, copy, was_read=False, several=True)
            suspects += machines + list(pictures(machines, marks))
    suspects += beside_click(clicks, own, read)
    guilty = {id(m) for m, _ in suspects}
    return suspects + list(company(marks, guilty))


def readers(click: Mark, marks: Sequence[Mark]) -> Literal["own", "proxy", ""]:
    """Who had loaded the picture long enough before: the same program or somebody at the same address, a mail provider's
    proxy, or nobody."""
    opens = [m for m in marks if m.kind == "open" and m.verdict in PEOPLE]
    if not opens:
        return ""
    first = min((m.at for m in marks if m.kind == "click" and m.who == click.who), default=click.at)
    by: Literal["own", "proxy", ""] = ""
    for m in opens:
        if m.at > first - READING:
            continue
        if m.who and (m.who == click.who or m.where == click.where):
            return "own"
        if m.verdict == "proxy":
            by = "proxy"
    return by


def runs(clicks: Sequence[Mark]) -> Iterable[list[Mark]]:
    """Clicks of several programs, apart where nobody clicked for a while: who comes then is another."""
    run: list[Mark] = []
    for m in clicks:
        if run and m.at - run[-1].at > PAUSE:
            yield run
            run = []
        run.append(m)
    yield run


def row(
    clicks: Sequence[Mark], marks: Sequence[Mark], copy: Copy, was_read: bool, several: bool = False
) -> list[tuple[Mark, str]]:
    """Clicks that belong together, in order of time: too many too fast, or all there are."""
    suspects: list[tuple[Mark, str]] = []
    for at, first in enumerate(clicks):
        near = [m for m in clicks[at:] if m.at - first.at <= BURST]
        times = first_times(near)
        if too_fast(times, was_read, len(times) == copy.links):
            suspects += [(m, "burst") for m in near if m.at <= times[-1]]
    times = first_times(clicks)
    if copy.links and len(times) >= copy.links > 1:
        span = times[-1] - times[0]
        soon = copy.sent_at is None or times[0] - copy.sent_at <= SOON
        if (not was_read and span <= slowest(copy.links, soon)) or (not several and steady(clicks, marks, times)):
            suspects += [(m, "sweep") for m in clicks]
            return suspects
    if not was_read and len(times) >= SOME and (copy.sent_at is None or times[0] - copy.sent_at <= SOON):
        suspects += [(m, "sweep") for m in clicks if steps(times) <= SOME_SECONDS]
    return suspects


def steps(times: Sequence[float]) -> float:
    """In how many seconds `SOME` links were followed, at the fastest."""
    return min(times[at + SOME - 1] - times[at] for at in range(len(times) - SOME + 1))


def first_times(clicks: Iterable[Mark]) -> list[float]:
    """When each link was followed first, in order."""
    times: dict[int, float] = {}
    for m in clicks:
        times.setdefault(m.link, m.at)
    return sorted(times.values())


def too_fast(times: Sequence[float], was_read: bool, all_of_them: bool = False) -> bool:
    """Different links at these times, all within `BURST`: faster than a hand?"""
    many = len(times)
    if many < 2:
        return False
    gap = (times[-1] - times[0]) / (many - 1)
    if was_read:
        return gap < 0.25 if many >= 3 else all_of_them and gap < 0.15
    if many == 2:
        return gap < HAND
    return True


def slowest(links: int, soon: bool) -> float:
    """In how many seconds all links of a copy are followed by machines, where nobody is seen who read it."""
    if links >= 6:
        return 180.0
    if links >= 4:
        return 90.0
    if not soon:
        return 5.0 if links == 3 else HAND
    return 60.0 if links == 3 else 1.0


def steady(clicks: Sequence[Mark], marks: Sequence[Mark], times: Sequence[float]) -> bool:
    """All links in their order, at the same pace, and the picture at that pace before them."""
    if len(times) < 4 or times[-1] - times[0] > STEADY:
        return False
    order = [m.link for m in clicks]
    if order != sorted(order):
        return False
    gaps = [b - a for a, b in pairwise(times)]
    mean = fmean(gaps)
    if not mean or pstdev(gaps) / mean > 0.35:
        return False
    loads = [times[0] - m.at for m in marks if m.kind == "open" and m.who == clicks[0].who and m.at <= times[0]]
    return bool(loads) and min(loads) <= 2 * mean


def canary(marks: Sequence[Mark], own: set[int]) -> Iterable[tuple[Mark, str]]:
    birds = [m for m in marks if m.kind == "canary"]
    for m in marks:
        for bird in birds:
            apart = abs(m.at - bird.at)
            same = m.who == bird.who and m.who != 0
            if (same and apart <= CANARY) or (m.kind == "click" and apart <= NEAR_CANARY and id(m) not in own):
                yield m, "around_canary"


def after_head(clicks: Sequence[Mark], own: set[int]) -> Iterable[tuple[Mark, str]]:
    """By the same program; or of that link, by another at the address at once, unless somebody there had loaded the picture."""
    heads = [m for m in clicks if m.method != "GET" and m.who]
    for m in clicks:
        if m.method == "GET" and any(
            0 <= m.at - h.at <= COMPANY
            if h.who == m.who
            else h.where == m.where and h.link == m.link and 0 <= m.at - h.at <= BURST and id(m) not in own
            for h in heads
        ):
            yield m, "after_head"


def beside_click(
    clicks: Sequence[Mark], own: set[int], read: Mapping[int, Literal["own", "proxy", ""]]
) -> Iterable[tuple[Mark, str]]:
    """At the time of a click some gateways look at the link themselves."""
    for m in clicks:
        if id(m) not in own and m.where and any(
            o.link == m.link and o.where != m.where and id(o) in own and abs(o.at - m.at) <= TOGETHER for o in clicks
        ):  # fmt: skip
            yield m, "beside_click"


def pictures(machines: Sequence[tuple[Mark, str]], marks: Sequence[Mark]) -> Iterable[tuple[Mark, str]]:
    """Who goes through links from one address after the other loads the picture from another again."""
    if len({m.link for m, _ in machines}) < 3:
        return
    first, last = machines[0][0].at - BURST, machines[-1][0].at
    followed = {m.where for m in marks if m.kind == "click"}
    for m in marks:
        if m.kind == "open" and m.verdict != "proxy" and m.where not in followed and first <= m.at <= last:
            yield m, "beside_machine"


def company(marks: Sequence[Mark], guilty: Iterable[int] = ()) -> Iterable[tuple[Mark, str]]:
    """What the same program did around what only machines do."""
    known = set(guilty)
    bad = [m for m in marks if m.who and (id(m) in known or m.verdict == "scanner")]
    for m in marks:
        if (
            id(m) not in known
            and m.verdict in PEOPLE
            and any(b.who == m.who and abs(b.at - m.at) <= COMPANY for b in bad)
        ):
            yield m, "beside_machine"


def identity(key: bytes, address: str, agent: str) -> Identity:
    """`key` lives a day. Addresses of one IPv6 /64 are one: a machine has many of them in turn."""
    if not address and not agent:
        return NOBODY
    if ":" in address:
        address = ":".join(expanded(address)[:4])
    where = number(key, address) if address else 0
    return Identity(number(key, f"{address} {agent}"), where)


def expanded(address: str) -> list[str]:
    """The eight groups of an IPv6 address, without leading zeros."""
    head, gap, tail = address.lower().partition("::")
    front, back = head.split(":") if head else [], tail.split(":") if tail else []
    fill = ["0"] * (8 - len(front) - len(back)) if gap else []
    return [group.lstrip("0") or "0" for group in front + fill + back]


def number(key: bytes, text: str) -> int:
    """48 bits, so that any JSON reader keeps them."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6, key=key).digest()) or 1
