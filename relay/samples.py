"""Where the figures of a process are kept, so that others can read them: a page of memory.

Owns: the page (which samples there are, the value of each, and a note in words), and the values of prometheus_client's
metrics in it. Leaves to others: what is counted (`metrics`), whose memory it is (`workers.board`; `units`, which copies it
into a file).

prometheus_client can have several processes by itself. Its values are then in files that are mapped: an increment takes
2.4 times as long (here 1.1 times), a disk that is full kills the process, gauges that are a function are left out, and
what a dead process held has to be told to it. So only its way to declare a metric and to write all of them is used, with
values of our own. Snapshots, each some 1 ms, would be old when they are read, and lack what was counted before a kill.

A page has an owner, who alone writes it. The samples are a line of JSON each, and are only added to. A process that comes
after another one in the same page goes on counting where that one ended; gauges begin anew.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

from prometheus_client import values

MAGIC = int.from_bytes(b"figures1", "little")
NAMES_AT, NOTE_AT, CELLS_AT, SIZE = 64, 163_840, 196_608, 262_144  # octets
MOST = (SIZE - CELLS_AT) // 8  # samples

# The words of the head.
MADE, USED, COUNT, NOTE, CHECK, SERVICE = range(6)


class Key(NamedTuple):
    """What a sample is known by. `over`: what its value is over all processes: "livesum", "livemax" (both for gauges, of
    those that run), "sum", or "" for each its own."""

    over: str
    metric: str
    name: str
    labels: tuple[str, ...]
    values: tuple[str, ...]


class Page:
    """`memory` has `SIZE` octets. Who writes begins anew where something else is in it; for who does not that is a
    ValueError."""

    def __init__(self, memory: memoryview | None = None, *, writes: bool = True) -> None:
        self.memory = own() if memory is None else memory
        self._head = self.memory[:NAMES_AT].cast("Q")
        self.cells: memoryview[float] = self.memory[CELLS_AT:].cast("d")
        self._places: dict[Key, int] = {}
        if writes:
            self._begin()
        elif self._head[MADE] != MAGIC:
            raise ValueError("these are no figures of this version")

    # -- its owner -------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Goes on with what is there, if that can be read."""
        try:
            if self._head[MADE] == MAGIC:
                self._mend()
                self._places = {key: at for at, (key, _) in enumerate(self.read())}
                return self.rest()
        except (ValueError, TypeError):
            self._places = {}
        self._head[USED] = self._head[COUNT] = self._head[NOTE] = 0
        self._head[MADE] = MAGIC

    def _mend(self) -> None:
        """Where the predecessor was killed while it added a name."""
        used, count = self._head[USED], self._head[COUNT]
        lines = bytes(self.memory[NAMES_AT : min(NAMES_AT + used, NOTE_AT)]).count(b"\n")
        for at in range(count, min(lines, MOST)):
            self.cells[at] = 0.0
        self._head[COUNT] = lines

    def place(self, key: Key) -> int:
        """Of its value among `cells`; -1 where there is no room for it."""
        found = self._places.get(key)
        if found is not None:
            return found
        line = json.dumps(key).encode() + b"\n"
        used, count = self._head[USED], self._head[COUNT]
        if count >= MOST or NAMES_AT + used + len(line) > NOTE_AT:
            return -1
        self.memory[NAMES_AT + used : NAMES_AT + used + len(line)] = line
        self.cells[count] = 0.0
        self._head[USED], self._head[COUNT] = used + len(line), count + 1
        self._places[key] = count
        return count

    @property
    def service(self) -> int:
        """The same for all processes of a service; 0 for one that is alone."""
        return int(self._head[SERVICE])

    @service.setter
    def service(self, number: int) -> None:
        self._head[SERVICE] = number

    def say(self, note: Mapping[str, Any]) -> None:
        """In place of the note before. One that is too long is not said."""
        text = json.dumps(note).encode()
        if NOTE_AT + len(text) <= CELLS_AT:
            self.memory[NOTE_AT : NOTE_AT + len(text)] = text
            self._head[NOTE], self._head[CHECK] = len(text), zlib.crc32(text)

    def rest(self) -> None:
        """Nobody is there any more: no gauges, no note."""
        for at, (key, _) in enumerate(self.read()):
            if key.over != "sum":
                self.cells[at] = 0.0
        self._head[NOTE] = 0

    # -- anybody ---------------------------------------------------------------------------------------------------------

    def read(self) -> Iterator[tuple[Key, float]]:
        """The samples. ValueError where the page is damaged."""
        used, count = self._head[USED], self._head[COUNT]
        if count > MOST or NAMES_AT + used > NOTE_AT:
            raise ValueError("the page is damaged")
        lines = bytes(self.memory[NAMES_AT : NAMES_AT + used]).splitlines()
        for line, value in zip(lines[:count], self.cells[:count].tolist(), strict=False):
            over, metric, name, labels, values = json.loads(line)
            yield Key(over, metric, name, tuple(labels), tuple(values)), value

    def note(self) -> dict[str, Any]:
        """{} where there is none, or it is being written."""
        length = self._head[NOTE]
        text = bytes(self.memory[NOTE_AT : min(NOTE_AT + length, CELLS_AT)])
        if not length or zlib.crc32(text) != self._head[CHECK]:
            return {}
        found: dict[str, Any] = json.loads(text)
        return found

    def parts(self) -> list[tuple[int, int]]:
        """What there is to copy, as from where to where, in the order in which it is safe to: the names before the
        values, the head last."""
        used, count, note = self._head[USED], self._head[COUNT], self._head[NOTE]
        return [(NAMES_AT, NAMES_AT + used), (CELLS_AT, CELLS_AT + 8 * count), (NOTE_AT, NOTE_AT + note), (0, NAMES_AT)]


def own() -> memoryview:
    """Memory for a page of this process alone. One that it forks has a copy."""
    return memoryview(mmap.mmap(-1, SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class Value:
    """What prometheus_client has for each sample. `elsewhere` is what other processes have, while all are added up."""

    __slots__ = ("_at", "_cells", "_lock", "elsewhere", "key")
    _multiprocess = False

    def __init__(
        self, kind: str, metric: str, name: str, labels: Sequence[str], values: Sequence[str], help_text: str,
        multiprocess_mode: str = "", **_: Any,
    ) -> None:  # fmt: skip
        over = ("" if multiprocess_mode == "all" else multiprocess_mode) if kind == "gauge" else "sum"
        self.key = Key(over, metric, name, tuple(labels), tuple(map(str, values)))
        self.elsewhere = 0.0
        self._lock = Lock()
        with MAKING:
            self._move(STATE[0], 0.0)
            ALL[self.key] = self

    def _move(self, page: Page, before: float) -> None:
        at = page.place(self.key)
        # Without a place it is known in this process alone.
        self._at, self._cells = (at, page.cells) if at >= 0 else (0, memoryview(bytearray(8)).cast("d"))
        if before:
            self._cells[self._at] += before

    def move(self, page: Page, *, inherited: bool) -> None:
        self._move(page, 0.0 if inherited else self._cells[self._at])

    def inc(self, amount: float) -> None:
        self._lock.acquire()  # by `with` it takes twice as long, and each message counts a score of things
        try:
            self._cells[self._at] += amount
        finally:
            self._lock.release()

    def inc_with(self, amount: float, bucket: Value) -> None:
        """Adds 1 to the bucket as well, which is added to in no other way."""
        self._lock.acquire()
        try:
            self._cells[self._at] += amount
            bucket._cells[bucket._at] += 1.0
        finally:
            self._lock.release()

    def set(self, value: float, timestamp: float | None = None) -> None:
        with self._lock:
            self._cells[self._at] = value

    def set_exemplar(self, exemplar: Any) -> None: ...

    def get_exemplar(self) -> None: ...

    def get(self) -> float:
        mine = self._cells[self._at]
        return max(mine, self.elsewhere) if self.key.over == "livemax" else mine + self.elsewhere


MAKING = Lock()
STATE = [Page()]  # the one in use …
OWNER = [os.getpid()]  # … and the process that uses it
ALL: dict[Key, Value] = {}
values.ValueClass = Value


def move(page: Page) -> None:
    """From now on this process' figures are in that page, added to what is there. What a process counted that forked
    this one is not this one's."""
    inherited = OWNER[0] != os.getpid()
    with MAKING:
        for value in ALL.values():
            value.move(page, inherited=inherited)
        STATE[0], OWNER[0] = page, os.getpid()


def here() -> Page:
    return STATE[0]


def added(pages: Iterable[tuple[Page, bool]]) -> dict[Key, float]:
    """What these have together; True is with each that runs. Damaged ones count for nothing."""
    found: dict[Key, float] = {}
    for page, runs in pages:
        try:
            samples = list(page.read())
        except (ValueError, TypeError):
            continue
        for key, value in samples:
            if key.over == "sum" or (key.over == "livesum" and runs):
                found[key] = found.get(key, 0.0) + value
            elif key.over == "livemax" and runs:
                found[key] = max(found.get(key, value), value)
    return found
