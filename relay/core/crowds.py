"""What one address does over the copies of several recipients: a gateway follows the links of all of them at once.

Owns: what must be remembered of the hits of one address, and from when on these are a crowd; all that one hit changes, on its
own copy and there. Leaves to others: what the hits of one copy show (`neighbours`, which also has the reason codes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from itertools import islice

from relay.core import neighbours

CROWD, CROWD_SECONDS = 4, 5.0  # so many recipients' links by one program
# From one address by several; and so many pictures: an office opens its mail in the same minutes.
CROWD_OTHERS, CROWD_OPENS = 6, 12
CROWD_HITS = 64  # of one address that are remembered for it
ADDRESSES = 4096  # that are

One = tuple[str, float, Hashable, int]  # a hit: its id, when it was, on whose copy, by which program


class Around:
    """The hits of one address within seconds, in the order in which they came; how many of them are on which copy, in all
    and per program; and which were not said yet to be a crowd's."""

    __slots__ = ("copies", "hits", "names", "own", "unsaid")

    def __init__(self) -> None:
        self.hits: deque[One] = deque()
        self.names: set[str] = set()
        self.copies: dict[Hashable, int] = {}
        self.own: dict[int, dict[Hashable, int]] = {}
        self.unsaid: dict[str, int] = {}

    def add(self, one: One) -> None:
        hit, at, copy, who = one
        hits = self.hits
        if hit in self.names:  # its transaction was taken back, and with it all that was said there
            before = next(other for other in hits if other[0] == hit)
            hits.remove(before)
            self.drop(before)
            self.unsaid = {name: by for name, _, _, by in hits}
        while hits and (len(hits) >= CROWD_HITS or abs(at - hits[0][1]) > CROWD_SECONDS):
            self.drop(hits.popleft())
        hits.append(one)
        self.names.add(hit)
        self.unsaid[hit] = who
        own = self.own.get(who)
        if own is None:
            own = self.own[who] = {}
        own[copy] = own.get(copy, 0) + 1
        self.copies[copy] = self.copies.get(copy, 0) + 1

    def drop(self, one: One) -> None:
        hit, _, copy, who = one
        self.names.discard(hit)
        self.unsaid.pop(hit, None)
        own = self.own[who]
        for counts in (self.copies, own):
            if counts[copy] == 1:
                del counts[copy]
            else:
                counts[copy] -= 1
        if not own:
            del self.own[who]

    def say(self, who: int | None) -> list[str]:
        """Those by this program, or by all, that were not said yet: they are from now on."""
        found = [hit for hit, by in self.unsaid.items() if who is None or by == who]
        for hit in found:
            del self.unsaid[hit]
        return found


class Crowd:
    """What one address does over the copies of several recipients, within seconds. It is remembered by one process, in
    memory, for so long."""

    def __init__(self) -> None:
        self._around: dict[int, One | Around] = {}  # of an address that made no others within seconds, the one hit

    def follow(self, hit: neighbours.Mark, copy: Hashable, was_read: bool) -> list[neighbours.Change]:
        """`copy` names message and recipient. What was read by somebody is left out. Each hit is said once; one that
        comes again is one whose transaction failed."""
        if hit.verdict not in ("human", "unknown") or not hit.where or was_read:
            return []
        opens = hit.kind == "open"
        key = hit.where * 2 + opens
        one = (hit.ids[-1], hit.at, copy, hit.who)
        around = self._around.pop(key, None)  # the last one to be heard of stands last
        if around is None:
            self._around[key] = one
            if len(self._around) > ADDRESSES:
                for oldest in list(islice(self._around, ADDRESSES // 4)):  # many: from its front a dict gives slowly
                    del self._around[oldest]
            return []
        if not isinstance(around, Around):
            if around[0] == one[0] or abs(hit.at - around[1]) > CROWD_SECONDS:
                self._around[key] = one
                return []
            first, around = around, Around()
            around.add(first)
        self._around[key] = around
        around.add(one)
        if len(around.own[hit.who]) >= (CROWD_OPENS if opens else CROWD):
            said = around.say(hit.who)
        elif not opens and len(around.copies) >= CROWD_OTHERS:
            said = around.say(None)
        else:
            return []
        return [neighbours.Change(said, "scanner", "many_recipients")]


def judge(
    marks: list[neighbours.Mark], crowd: Crowd, hit: neighbours.Mark, copy: neighbours.Copy, name: Hashable
) -> list[neighbours.Change]:
    """All that the hit changes, on its own copy and with others. `name` is of the copy. Of the first hit of a copy nothing else has to
    be known of it."""
    kind = hit.kind
    if not marks and kind != "canary":
        marks.append(hit)
        return crowd.follow(hit, name, was_read=False)
    changes = neighbours.follow(marks, hit, copy)
    if kind != "canary" and hit.verdict in neighbours.PEOPLE:
        was_read = kind == "click" and len(marks) > 1 and neighbours.readers(hit, marks) != ""
        changes += crowd.follow(hit, name, was_read)
    return changes
