"""Which messages are under way in the processes of a service, and what their clients would have heard.

Owns: the places of answers in the memory that all see, and the looks at connections that one process asks another for.
Leaves to others: where they lie (`board`), how a place is found (`tables`), and what follows (`delivery.resubmissions`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable

from relay.workers.sharing import TURNS, UNDER_WAY, Answer, Place
from relay.workers.tables import WAYS, Table

TEXT = 1024  # octets of an answer, with two for its length; what is longer is cut
BELLS = 8  # words from here: the descriptor of each process' own bell


class SharedAnswers:
    """Behind the key of each place are the code, and when it is forgotten and was begun; the texts are `start` octets away
    from the beginning, in the order of the places. Of each process two words at `looks` count how often it began to look
    at its connections, and which of these looks is over."""

    def __init__(self, table: Table, reals: memoryview[float], octets: memoryview, start: int, looks: int) -> None:
        self._table, self._reals, self._octets, self._start, self._looks = table, reals, octets, start, looks
        self._slot = table.mine // WAYS

    def begin(self, key: str, now: float, until: float) -> tuple[bool, Place]:
        table, words, reals, width = self._table, self._table.words, self._reals, self._table.width
        mark, start, marks = table.find(key)
        first = start + table.mine
        cell = self._room(mark, first, marks)
        # What is under way twice here, and what is known, stays.
        if words[cell] != mark or words[cell + width] < UNDER_WAY or reals[cell + 2 * width] < now:
            words[cell] = 0
            words[cell + width] = UNDER_WAY
            reals[cell + 2 * width] = until
            reals[cell + 3 * width] = now
            words[cell] = mark
        marks = words[start : start + width].tolist()  # with what was begun meanwhile: of two, one sees the other
        if marks.count(mark) == 1 and words[cell + width] <= 0:
            return False, (cell, mark)
        return self._best(mark, start, marks, now, now) is not None, (cell, mark)

    def over(self, place: Place, code: int, until: float) -> None:
        cell, mark = place
        words, width = self._table.words, self._table.width
        if words[cell] == mark and words[cell + width] == UNDER_WAY:
            if code:
                self._reals[cell + 2 * width] = until
                words[cell + width] = -code
            else:
                words[cell] = 0

    def expect(self, key: str, until: float) -> None:
        table, words, reals, width = self._table, self._table.words, self._reals, self._table.width
        mark, start, marks = table.find(key)
        cell = self._room(mark, start + table.mine, marks)
        if words[cell] != mark:
            reals[cell + 3 * width] = 0.0
        words[cell] = 0
        words[cell + width] = 0
        reals[cell + 2 * width] = until
        words[cell] = mark

    def settle(self, key: str, answer: Answer) -> None:
        cell, at = self._place(key)
        if cell:
            text = answer.text.encode("utf-8", "replace")[: TEXT - 2]
            self._octets[at : at + 2 + len(text)] = len(text).to_bytes(2, "little") + text
            self._table.words[cell + self._table.width] = answer.code

    def drop(self, key: str) -> None:
        cell, _ = self._place(key)
        if cell:
            self._table.words[cell] = 0

    def _room(self, mark: int, first: int, marks: list[int]) -> int:
        """This process' place for it: its own, one that is free, or the one that would be forgotten next."""
        table = self._table
        mine = marks[table.mine : table.end]
        if mark in mine:
            return first + mine.index(mark)
        if 0 in mine:
            return first + mine.index(0)
        ends = self._reals[first + 2 * table.width : first + 2 * table.width + WAYS].tolist()
        return first + ends.index(min(ends))

    def _place(self, key: str) -> tuple[int, int]:
        """Of this process' own answer, and of its text; zeros where it has none."""
        table = self._table
        mark, start, marks = table.find(key)
        mine = marks[table.mine : table.end]
        if mark not in mine:
            return 0, 0
        place = table.mine + mine.index(mark)
        return start + place, self._text(start, place)

    def _text(self, start: int, place: int) -> int:
        table = self._table
        return self._start + ((start - table.at) // table.step * table.width + place) * TEXT

    def find(self, key: str, now: float, before: float = math.inf) -> Answer | None:
        mark, start, marks = self._table.find(key)
        return self._best(mark, start, marks, now, before) if mark in marks else None

    def _best(self, mark: int, start: int, marks: list[int], now: float, before: float) -> Answer | None:
        words, width = self._table.words, self._table.width
        found = None
        for cell in self._cells(mark, start, marks, now, before):
            answer = Answer(words[cell + width])
            if answer.code > 0:
                at = self._text(start, cell - start)
                length = int.from_bytes(self._octets[at : at + 2], "little")
                text = bytes(self._octets[at + 2 : at + 2 + min(length, TEXT - 2)])
                answer = Answer(answer.code, text.decode("utf-8", "ignore"))
            elif cell - start in range(self._table.mine, self._table.end) and before < math.inf:
                continue
            if words[cell] == mark and (found is None or answer.code > found.code):
                found = answer
        return found

    def _cells(self, mark: int, start: int, marks: list[int], now: float, before: float) -> list[int]:
        """Where it is in time, begun before then. Of two that were begun at one time, the one of the lower slot is the
        first."""
        reals, width, limit = self._reals, self._table.width, (before, self._slot)
        return [
            start + place
            for place, each in enumerate(marks)
            if each == mark
            and reals[start + place + 2 * width] >= now
            and (reals[start + place + 3 * width], place // WAYS) < limit
        ]

    def ask(self, key: str, now: float, before: float) -> Callable[[], bool]:
        table, words, looks = self._table, self._table.words, self._looks
        mark, start, marks = table.find(key)
        asked: dict[int, int] = {}
        for cell in self._cells(mark, start, marks, now, before):
            slot = (cell - start) // WAYS
            if words[cell + table.width] == UNDER_WAY and slot != self._slot:
                asked[slot] = words[looks + 2 * slot]
                with contextlib.suppress(OSError):  # it is full, so it rings
                    os.eventfd_write(words[BELLS + slot], 1)
        return lambda: all(words[looks + 2 * slot + 1] > begun for slot, begun in asked.items())

    @property
    def bell(self) -> int:
        """The descriptor of this process' own."""
        return int(self._table.words[BELLS + self._slot])

    def listen(self) -> None:
        words, at, bell = self._table.words, self._looks + 2 * self._slot, self.bell
        loop = asyncio.get_running_loop()

        def rung() -> None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(bell)
            words[at] += 1  # first, so that who rings from now on is told of a later look only
            turn(words[at], TURNS)

        def turn(look: int, left: int) -> None:
            if left:
                loop.call_soon(turn, look, left - 1)
            else:
                words[at + 1] = look

        loop.add_reader(bell, rung)

    def clear(self, slot: int) -> None:
        """Nobody will know any more what was not known yet."""
        table, words = self._table, self._table.words
        for start in range(table.at, table.at + table.sets * table.step, table.step):
            for cell in range(start + slot * WAYS, start + (slot + 1) * WAYS):
                if words[cell] and words[cell + table.width] in (0, UNDER_WAY):
                    words[cell] = 0
