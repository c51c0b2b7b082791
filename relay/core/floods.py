"""How many hits are kept: buckets per pixel, per link and per copy that fill with hits and drain by the hour.

Owns: how full a bucket is, when a hit has room in it, and what one hit is known by. Leaves to others: what counts, and
where the levels stand (`tally`, in the store; `tracking_http.folding`, while no store answers).

A bucket holds its limit and drains by its limit in an hour. So a burst of that many is kept, and what goes on is kept at
that rate. A copy that several recipients share has larger ones.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import NamedTuple, TypeVar

from relay.core.model import Event

K = TypeVar("K")
Level = tuple[float, float]  # how many hits are in a bucket, and when that was so

HOUR = 3600.0  # seconds in which a full bucket drains
FEW = 5  # one in so many of a token's limit: what it has for hits that are not counted
FURTHER = 20  # one in so many of a limit: what each further recipient of a shared copy adds
MOST = 64  # buckets of one message that are remembered; then the fullest half is


class Limits(NamedTuple):
    """Hits within an hour: of one pixel or link, and of one recipient's copy. 0 is no limit."""

    token: int = 200
    message: int = 2000

    def of_copy(self, recipients: int) -> Limits:
        """For a copy that so many recipients share."""
        more = recipients - 1
        if more <= 0:
            return self
        return Limits(self.token + self.token * more // FURTHER, self.message + self.message * more // FURTHER)


LIMITS = Limits()


class Folded(NamedTuple):
    """A hit that is only to be counted, by whoever is told so: nothing was written. Until `until` (Unix seconds) further ones like it will be too: those by any client,
    or (`everyone` is false) those by this one."""

    until: float
    everyone: bool


class Fold(NamedTuple):
    """So many hits of one token that are only counted. `token` is as `token` writes it."""

    message_id: str
    token: str
    hits: int


def of_messages(folds: Iterable[Fold]) -> dict[str, list[Fold]]:
    found: dict[str, list[Fold]] = {}
    for fold in folds:
        found.setdefault(fold.message_id, []).append(fold)
    return found


def token(event: Event) -> str:
    """What names the event's pixel, link or canary within its message."""
    if event.type == "message.link_clicked":
        return f"c{event.recipient_index}.{event.link_index}"
    return f"{'o' if event.type == 'message.opened' else 'n'}{event.recipient_index}"


def take(
    levels: MutableMapping[str, Level], event: Event, limits: Limits, *, counted: bool, recipients: int = 1
) -> float:
    """0.0 where the hit has room in its buckets, which it then takes; else the seconds until it would have. Hits that
    are not counted have a smaller bucket of their own, so that they take no room from those that are."""
    token_limit, copy_limit = limits.of_copy(recipients)
    name = token(event)
    if not counted:
        name, token_limit = "-" + name, token_limit and max(1, token_limit // FEW)
    copy = str(event.recipient_index)
    seconds = max(wait(levels.get(name), event.at, token_limit), wait(levels.get(copy), event.at, copy_limit))
    if not seconds:
        levels[name] = added(levels.get(name), event.at, token_limit)
        levels[copy] = added(levels.get(copy), event.at, copy_limit)
        if len(levels) > MOST:
            forget(levels)
    return seconds


def wait(level: Level | None, at: float, limit: int) -> float:
    """The seconds until one more hit has room."""
    return max(0.0, (drained(level, at, limit) + 1 - limit) * HOUR / limit) if limit else 0.0


def added(level: Level | None, at: float, limit: int) -> Level:
    """The level with one more hit in it."""
    since = at if level is None or abs(at - level[1]) > HOUR else max(at, level[1])
    return round(drained(level, at, limit) + 1, 2), round(since, 2)


def drained(level: Level | None, at: float, limit: int) -> float:
    """How full the bucket is at `at`. Nothing drains for an event from before: a journal hands in old ones late. More
    than an hour away in either direction it says nothing: it has drained, or a clock was set."""
    if level is None or abs(at - level[1]) > HOUR:
        return 0.0
    return max(0.0, level[0] - max(0.0, at - level[1]) * limit / HOUR)


def forget(levels: MutableMapping[K, Level]) -> None:
    """Only the fullest stay."""
    for name in sorted(levels, key=lambda name: levels[name][0])[: len(levels) - MOST // 2]:
        del levels[name]
