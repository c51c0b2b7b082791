"""Numbers by a key in the memory that all processes of a service see.

Owns: how a place is found, and how one is written and read without a lock. Leaves to others: where the tables lie (`board`),
and what an answer is (`answers`).

A process writes in its own slot only, and reads all of them. A key is known by 60 bits of a hash that is keyed anew at each
start, so nobody can look for two that are the same. Its place is one of a few; where all are taken, `SharedHeld` does
without (its process still counts it for itself), and `SharedLatest` forgets the one that was written longest ago. Who
reads while another writes sees that or what was before. So of what several processes do within the same few microseconds,
each but the last may be unseen: such a limit lets one more pass for each further process, and no more than that at any
moment.
"""

from __future__ import annotations

import hashlib

from relay.workers.sharing import Told

WAYS = 4  # places of a key in each slot


class SharedSum:
    def __init__(self, words: memoryview, at: int, slots: int, slot: int) -> None:
        self._words, self._from, self._to, self._slot = words, at, at + slots, slot

    def others(self) -> int:
        found = self._words[self._from : self._to].tolist()
        return sum(found) - (found[self._slot] if self._slot >= 0 else 0)

    def hold(self, value: int) -> None:
        self._words[self._from + self._slot] = value


class Table:
    """Sets of places, each with the keys of all slots and then, as often as `planes` less one, what belongs to them."""

    def __init__(
        self, words: memoryview, at: int, sets: int, planes: int, slots: int, slot: int, secret: bytes
    ) -> None:
        self.words, self.at, self.sets, self._secret = words, at, sets, secret
        self.width = slots * WAYS  # from one plane to the next
        self.step = self.width * planes
        self.mine, self.end = slot * WAYS, (slot + 1) * WAYS

    def find(self, key: str) -> tuple[int, int, list[int]]:
        """What the key is known by, where its set begins, and the keys that are there."""
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret).digest()
        mark = int.from_bytes(digest, "little") >> 4 or 1
        at = self.at + mark % self.sets * self.step
        return mark, at, self.words[at : at + self.width].tolist()


class SharedHeld:
    def __init__(self, table: Table) -> None:
        self._table = table

    def others(self, key: str) -> int:
        table = self._table
        mark, at, marks = table.find(key)
        found = 0
        if mark in marks:
            words, width = table.words, table.width
            for place, each in enumerate(marks):
                if each == mark and not table.mine <= place < table.end:
                    value = words[at + width + place]
                    if words[at + place] == mark:  # it is still its place
                        found += value
        return found

    def hold(self, key: str, value: int) -> None:
        table = self._table
        mark, at, marks = table.find(key)
        mine = marks[table.mine : table.end]
        words, width = table.words, table.width
        if mark in mine:
            place = at + table.mine + mine.index(mark)
            if value:
                words[place + width] = value
            else:
                words[place] = 0
        elif value and 0 in mine:
            place = at + table.mine + mine.index(0)
            words[place + width] = value
            words[place] = mark


class SharedLatest:
    """Each value has a number: one more than the highest that was seen. Of two with the same, written at the same time,
    the higher value counts."""

    def __init__(self, table: Table, reals: memoryview[float]) -> None:
        self._table, self._reals = table, reals

    def get(self, key: str) -> Told | None:
        mark, at, marks = self._table.find(key)
        if mark not in marks:
            return None
        _, value, when = self._newest(mark, at, marks)
        return Told(value, when)

    def _newest(self, mark: int, at: int, marks: list[int]) -> tuple[int, float, float]:
        words, reals, width = self._table.words, self._reals, self._table.width
        newest = (0, 0.0, 0.0)
        for place, each in enumerate(marks):
            if each == mark:
                cell = at + place
                found = (words[cell + width], reals[cell + 2 * width], reals[cell + 3 * width])
                if found > newest and words[cell] == mark:
                    newest = found
        return newest

    def put(self, key: str, value: float, at: float) -> None:
        table, words, reals, width = self._table, self._table.words, self._reals, self._table.width
        mark, start, marks = table.find(key)
        number = self._newest(mark, start, marks)[0] + 1 if mark in marks else 1
        first = start + table.mine
        mine = marks[table.mine : table.end]
        if mark in mine:
            cell = first + mine.index(mark)
        elif 0 in mine:
            cell = first + mine.index(0)
        else:  # the one that was written longest ago
            cell = min(range(first, first + WAYS), key=lambda cell: reals[cell + 3 * width])
            words[cell] = 0
        reals[cell + 2 * width] = value
        reals[cell + 3 * width] = at
        words[cell + width] = number
        words[cell] = mark
