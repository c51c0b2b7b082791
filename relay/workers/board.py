"""Memory that all processes of a service see: what each of them holds, and what was seen last.

Owns: the layout, who writes where, and what the others read. Leaves to others: what is counted, and what follows from it
(`smtp.limits`, `smtp.throttle`, `tracking_http.listener`); the processes (`supervisor`).

A process writes in its own slot only, and reads all of them, so nobody waits for a lock, and one that dies holds none.
Kept are:

- a `Sum`: a number of each process, which are added up (connections, octets in flight);
- `Held`: such numbers by a key (connections of an address);
- `Latest`: a value by a key, where what was written last counts, whoever wrote it (failed logins, buckets of rates);
- `Answers`: which messages are under way, and what the client of one would have heard that left before it did;
- the page of each process' figures (`samples`);
- a bell, by which one process is told that another has stored an event. It is rung once for each time that it is heard;
- a bell of each process, by which another asks it to look at its connections (`Answers.ask`).

A key is known by 60 bits of a hash that is keyed anew at each start, so nobody can look for two that are the same. Its
place is one of a few; where all are taken, `Held` does without (its process still counts it for itself), and `Latest`
forgets the one that was written longest ago. Who reads while another writes sees that or what was before. So of what
several processes do within the same few microseconds, each but the last may be unseen: such a limit lets one more pass
for each further process, and no more than that at any moment.

In a single process there is `ALONE`, which costs nothing: sums and held numbers of others are 0, and `Latest` is a
dictionary.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import math
import mmap
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from relay import samples

Sums = Literal["smtp.connections", "smtp.in_flight", "http.connections"]
Helds = Literal["smtp.addresses", "smtp.trying", "http.clients"]
Latests = Literal["smtp.failures", "smtp.friends", "smtp.known", "smtp.budget", "smtp.rates", "http.about"]

SUMS: tuple[Sums, ...] = ("smtp.connections", "smtp.in_flight", "http.connections")
# Sets of places, of two processes. Of more each has fewer, since each has fewer of the keys.
HELDS: dict[Helds, int] = {"smtp.addresses": 2048, "smtp.trying": 256, "http.clients": 8192}
LATESTS: dict[Latests, int] = {
    "smtp.failures": 8192, "smtp.friends": 8192, "smtp.known": 8192, "smtp.budget": 1, "smtp.rates": 8192,
    "http.about": 1024,
}  # fmt: skip

WAYS = 4  # places of a key in each slot
FEWEST = 256  # sets
WORD = 8  # octets
ANSWERS = 2048  # sets of places for answers, of two processes
TEXT = 1024  # octets of an answer, with two for its length; what is longer is cut
MAX_SLOTS = 256
MAX_KEYS = 20_000  # of a `Latest` in a single process

MAGIC = int.from_bytes(b"relay 1\0", "little")
SECRET_AT, SECRET = 16, 16  # octets
BELL, WAITS = 4, 5  # words: the descriptor of the bell, which all inherit; whether somebody waits for it
BELLS = 8  # words from here: the descriptor of each process' own bell
# Turns of an event loop after which the end of a connection that has come is known to whoever reads it: one to read it,
# some for TLS, for the protocol, and for the task that is cancelled.
TURNS = 12


class Told(NamedTuple):
    """The value of a key, and when that was so, as whoever wrote it has the time."""

    value: float
    at: float


class Sum(Protocol):
    def others(self) -> int:
        """What all others hold together."""
        ...

    def hold(self, value: int) -> None:
        """So much is held here now."""
        ...


class Held(Protocol):
    def others(self, key: str) -> int:
        """What all others hold of it together."""
        ...

    def hold(self, key: str, value: int) -> None:
        """So much of it is held here now."""
        ...


class Latest(Protocol):
    def get(self, key: str) -> Told | None:
        """What was put last, by any of them."""
        ...

    def put(self, key: str, value: float, at: float) -> None: ...


class Answer(NamedTuple):
    """`code` 0: it is not known yet. `UNDER_WAY`: nor is its client gone. What is below that is the code, negative, that
    its client was there to hear; its text is not known."""

    code: int
    text: str = ""


UNDER_WAY = -1
Place = tuple[int, int]  # and what its key is known by


class Answers(Protocol):
    """`until` is when it is forgotten; all times are monotonic seconds."""

    def begin(self, key: str, now: float, until: float) -> tuple[bool, Place]:
        """This process has the message from now on, and its client waits. Whether another has it, or had; and what `over`
        is to be told."""
        ...

    def over(self, place: Place, code: int, until: float) -> None:
        """It is under way no more: its client, which is not known to have left, hears this. 0: nobody has the message."""
        ...

    def ask(self, key: str, now: float, before: float) -> Callable[[], bool]:
        """Asks those who have it under way since before then whether its client is gone. Gives what says whether all of
        them have looked since: `find` has it, then."""
        ...

    def listen(self) -> None:
        """On the event loop that runs: looks when it is asked to."""
        ...

    def expect(self, key: str, until: float) -> None:
        """This process has the message, and will know."""
        ...

    def settle(self, key: str, answer: Answer) -> None:
        """What was expected is this."""
        ...

    def drop(self, key: str) -> None:
        """It is not to be had from here: nobody has the message."""
        ...

    def find(self, key: str, now: float, before: float = math.inf) -> Answer | None:
        """What any of the others has that it began before then, or what is known here. One that is known counts before one
        that is not, and that before one whose client waits."""
        ...


class Shared(Protocol):
    """What a process has in common with the others of its service. `secret` is the same in all of them, and another one
    after each start."""

    @property
    def alone(self) -> bool: ...

    @property
    def secret(self) -> bytes: ...

    @property
    def number(self) -> int:
        """What tells this service from another one; 0 for a single process."""
        ...

    def sum(self, name: Sums) -> Sum: ...

    def held(self, name: Helds) -> Held: ...

    def latest(self, name: Latests) -> Latest: ...

    def answers(self) -> Answers: ...

    def ring(self) -> None:
        """For whoever listens."""
        ...

    def listen(self, heard: Callable[[], None]) -> None:
        """`heard` is called on the event loop, soon after another process has rung. One process listens."""
        ...

    def page(self) -> memoryview | None:
        """Where this process' figures are to be, if others look there."""
        ...

    def pages(self) -> Sequence[memoryview]:
        """Those of the others."""
        ...


# -- a single process --------------------------------------------------------------------------------------------------


class Nobody:
    """There are no others."""

    def others(self, key: str = "") -> int:
        return 0

    def hold(self, *what: object) -> None:
        return None


class NoAnswers:
    """Of nobody else."""

    def begin(self, key: str, now: float, until: float) -> tuple[bool, Place]:
        return False, (0, 0)

    def over(self, place: Place, code: int, until: float) -> None: ...

    def ask(self, key: str, now: float, before: float) -> Callable[[], bool]:
        return lambda: True

    def listen(self) -> None: ...

    def expect(self, key: str, until: float) -> None: ...

    def settle(self, key: str, answer: Answer) -> None: ...

    def drop(self, key: str) -> None: ...

    def find(self, key: str, now: float, before: float = math.inf) -> None:
        return None


class Own:
    """A `Latest` of one process: of the keys beyond `keys`, the ones written longest ago are forgotten."""

    def __init__(self, keys: int) -> None:
        self._keys = keys
        self._told: OrderedDict[str, Told] = OrderedDict()

    def get(self, key: str) -> Told | None:
        return self._told.get(key)

    def put(self, key: str, value: float, at: float) -> None:
        self._told[key] = Told(value, at)
        self._told.move_to_end(key)
        while len(self._told) > self._keys:
            self._told.popitem(last=False)


class Alone:
    """`keys` are remembered of each `Latest`."""

    alone = True
    number = 0

    def __init__(self, keys: int = MAX_KEYS) -> None:
        self._keys = keys
        self.secret = secrets.token_bytes(SECRET)

    def sum(self, name: Sums) -> Sum:
        return Nobody()

    def held(self, name: Helds) -> Held:
        return Nobody()

    def latest(self, name: Latests) -> Latest:
        return Own(self._keys)

    def answers(self) -> Answers:
        return NoAnswers()

    def ring(self) -> None: ...

    def listen(self, heard: Callable[[], None]) -> None: ...

    def page(self) -> None:
        return None

    def pages(self) -> tuple[memoryview, ...]:
        return ()


ALONE = Alone()


# -- several -----------------------------------------------------------------------------------------------------------


class Board:
    """`slot` is this process' place, from 0; -1 for one that only looks, such as the supervisor. `fd` is to be
    inherited by whoever attaches it."""

    alone = False

    def __init__(self, fd: int, slot: int = -1) -> None:
        self.fd, self.slot = fd, slot
        self._map = mmap.mmap(fd, 0)
        self._words = memoryview(self._map).cast("q")
        self._reals: memoryview[float] = memoryview(self._map).cast("d")
        if self._words[0] != MAGIC:
            raise ValueError("this is no memory of a service of this version")
        self.slots = self._words[1]
        if slot >= self.slots:
            raise ValueError(f"there is no slot {slot} of {self.slots}")
        self.secret = self._map[SECRET_AT : SECRET_AT + SECRET]
        self.number = int.from_bytes(hashlib.blake2b(self.secret, digest_size=8).digest(), "little") or 1
        self._at, self._pages = layout(self.slots)

    def sum(self, name: Sums) -> SharedSum:
        return SharedSum(self._words, self._at[name], self.slots, self.slot)

    def held(self, name: Helds) -> SharedHeld:
        return SharedHeld(self._table(name, sets(HELDS[name], self.slots)))

    def latest(self, name: Latests) -> SharedLatest:
        return SharedLatest(self._table(name, sets(LATESTS[name], self.slots)), self._reals)

    def answers(self) -> SharedAnswers:
        of = sets(ANSWERS, self.slots)
        start = self._at["answers"]
        table = Table(self._words, start, of, 4, self.slots, self.slot, self.secret)
        octets = memoryview(self._map)
        return SharedAnswers(table, self._reals, octets, (start + of * 4 * table.width) * WORD, self._at["looks"])

    @property
    def bell(self) -> int:
        """Its descriptor."""
        return int(self._words[BELL])

    def ring(self) -> None:
        if self._words[WAITS]:
            self._words[WAITS] = 0
            with contextlib.suppress(OSError):  # it is full, so it rings
                os.eventfd_write(self.bell, 1)

    def listen(self, heard: Callable[[], None]) -> None:
        bell = self.bell

        def rung() -> None:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(bell)
            self._words[WAITS] = 1  # first, so that it rings again for what comes after the look
            heard()

        asyncio.get_running_loop().add_reader(bell, rung)
        rung()

    def page(self) -> memoryview:
        return self._page(self.slot)

    def pages(self) -> list[memoryview]:
        return [self._page(slot) for slot in range(-1, self.slots) if slot != self.slot]

    def _page(self, slot: int) -> memoryview:
        at = self._pages * WORD + (slot if slot >= 0 else self.slots) * samples.SIZE  # the supervisor's is the last
        return memoryview(self._map)[at : at + samples.SIZE]

    def _table(self, name: Helds | Latests, of: int) -> Table:
        return Table(self._words, self._at[name], of, 2 if name in HELDS else 4, self.slots, self.slot, self.secret)

    def clear(self, slot: int) -> None:
        """The process that was there has died: it holds nothing any more. What it has seen stays."""
        for name in SUMS:
            self._words[self._at[name] + slot] = 0
        nothing = memoryview(bytes(WORD * WAYS)).cast("q")
        width = self.slots * WAYS
        for held, wanted in HELDS.items():
            for place in range(self._at[held], self._at[held] + sets(wanted, self.slots) * 2 * width, 2 * width):
                at = place + slot * WAYS
                self._words[at : at + WAYS] = nothing  # the keys first: a number without one is nobody's
                self._words[at + width : at + width + WAYS] = nothing
        self.answers().clear(slot)
        page = self._page(slot)
        if any(page[:WORD]):
            samples.Page(page, writes=False).rest()

    def close(self) -> None:
        self._words.release()
        self._reals.release()
        with contextlib.suppress(BufferError):  # a page is in use
            self._map.close()
        os.close(self.fd)


def sets(wanted: int, slots: int) -> int:
    return max(min(wanted, FEWEST), 2 * wanted // max(2, slots))


def layout(slots: int) -> tuple[dict[str, int], int]:
    """Where each begins, in words, and where the pages do, behind them."""
    found: dict[str, int] = {}
    at = 512  # the first page says what this is
    for name in SUMS:
        found[name] = at
        at += slots
    for held, wanted in HELDS.items():
        found[held] = at
        at += sets(wanted, slots) * slots * WAYS * 2
    for latest, wanted in LATESTS.items():
        found[latest] = at
        at += sets(wanted, slots) * slots * WAYS * 4
    found["answers"] = at
    at += sets(ANSWERS, slots) * slots * WAYS * (4 + TEXT // WORD)
    found["looks"] = at
    at += slots * 2
    return found, -(-at // 512) * 512


def create(slots: int) -> Board:
    """For so many processes. It is memory and no file, takes room as it is filled, and is gone with the last of them.
    Raises OSError."""
    if not 0 < slots <= MAX_SLOTS:
        raise ValueError(f"1 to {MAX_SLOTS} slots")
    fd = os.memfd_create("trackrelay", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, layout(slots)[1] * WORD + (slots + 1) * samples.SIZE)
        # Nobody can take it away below the others, who would be killed by the next look at it.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        head = b"".join(n.to_bytes(WORD, "little") for n in (MAGIC, slots)) + secrets.token_bytes(SECRET)
        os.pwrite(fd, head, 0)
        for at in (BELL, *range(BELLS, BELLS + slots)):
            os.pwrite(fd, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK).to_bytes(WORD, "little"), at * WORD)
        return Board(fd)
    except BaseException:
        os.close(fd)
        raise


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
