"""Memory that all processes of a service see: what each of them holds, and what was seen last.

Owns: the layout, who writes where, and the bells. Leaves to others: what it's used through (`sharing`), how a place is found
and written (`tables`, `answers`), the figures (`samples`), the processes (`supervisor`).

A process writes in its own slot only, and reads all of them, so nobody waits for a lock, and one that dies holds none.
Kept are:

- a `Sum`: a number of each process, which are added up (connections, octets in flight);
- `Held`: such numbers by a key (connections of an address);
- `Latest`: a value by a key, where what was written last counts, whoever wrote it (failed logins, buckets of rates);
- `Answers`: which messages are under way, and what the client of one would have heard that left before it did;
- the page of each process' figures (`samples`);
- a bell, by which one process is told that another has stored an event. It is rung once for each time that it is heard;
- a bell of each process, by which another asks it to look at its connections (`Answers.ask`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import mmap
import os
import secrets
from collections.abc import Callable

from relay import samples
from relay.workers.answers import BELLS, TEXT, SharedAnswers
from relay.workers.sharing import SECRET, Helds, Latests, Sums
from relay.workers.tables import WAYS, SharedHeld, SharedLatest, SharedSum, Table

SUMS: tuple[Sums, ...] = ("smtp.connections", "smtp.in_flight", "http.connections")
# Sets of places, of two processes. Of more each has fewer, since each has fewer of the keys.
HELDS: dict[Helds, int] = {"smtp.addresses": 2048, "smtp.trying": 256, "http.clients": 8192}
LATESTS: dict[Latests, int] = {
    "smtp.failures": 8192, "smtp.friends": 8192, "smtp.known": 8192, "smtp.budget": 1, "smtp.rates": 8192,
    "http.about": 1024,
}  # fmt: skip

FEWEST = 256  # sets
WORD = 8  # octets
ANSWERS = 2048  # sets of places for answers, of two processes
MAX_SLOTS = 256

MAGIC = int.from_bytes(b"relay 1\0", "little")
SECRET_AT = 16  # octets
BELL, WAITS = 4, 5  # words: the descriptor of the bell, which all inherit; whether somebody waits for it


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
