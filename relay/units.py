"""What the processes with this state folder tell each other: their figures, and what keeps them from working.

Owns: the folder `units` in it, with a file for each process of a service that has not all roles, and what the others say
there. Leaves to others: what is in a file (`samples.Page`), and the memory of a service (`workers.board`).

The processes of one service see each other's memory, so their figures are exact, also of one that was killed. Units are
services of their own: each writes its page every half second, as far as it has changed, and not more. One that is killed
lacks what it counted last. A file belongs to who holds its lock. Its name is the roles': the successor of a process finds
it and goes on counting, so no counter goes back. The first of all to start takes away what the last ones left.

Where the folder can't be written, or the disk is full, the figures of the units are not added up. Nothing else happens,
and no memory is mapped from a file, since a full disk would kill who writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from relay import files, log, metrics, samples
from relay.workers import sharing

LOG = log.room("units")

FOLDER = "units"
LOCK = ".lock"
EVERY = 0.5  # seconds between two copies
ASK = 2.5  # seconds between two questions for what keeps a process from working
STALE = 60.0  # seconds after which what a process said of itself says nothing
MOST = 64  # files that are looked at

Troubles = tuple[list[str], list[str]]  # what keeps mail from being accepted, and what only delays it
Ask = Callable[[], Awaitable[Troubles]]
Pages = list[tuple[samples.Page, bool]]  # and whether its process runs


async def nothing() -> Troubles:
    return [], []


class Units:
    """`name` is this process' file, or "" where there is no unit beside its service. `shared` is the service's memory.
    `ask` is asked for its troubles; `clock` gives Unix seconds."""

    def __init__(
        self,
        state_dir: Path,
        name: str = "",
        shared: sharing.Shared = sharing.ALONE,
        *,
        ask: Ask = nothing,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._name, self._clock, self._ask = state_dir / FOLDER, name, clock, ask
        self._shared = shared
        self._mine = samples.here()
        self._file: int | None = None
        self._path: Path | None = None
        self._written: dict[int, bytes] = {}  # by where it is
        self._said = False  # that it does not work
        self._asked = float("-inf")

    def start(self) -> None:
        """Takes its file, and goes on from what is in it. Blocks, for a moment."""
        memory, before = self._shared.page(), b""
        if self._name:
            try:
                files.make_folder(self._folder)
                with files.locked(self._folder / LOCK):
                    self._sweep()
                    self._file, self._path = self._claim()
                before = os.pread(self._file, samples.SIZE, 0)
            except OSError as reason:
                self._fails(reason)
        if memory is None and not before:
            return  # what it has counts
        if memory is None:
            memory = samples.own()
        if not any(
            memory[: samples.NAMES_AT]
        ):  # else the predecessor was of this service, and it says more than its file
            memory[: len(before)] = before
        self._mine = samples.Page(memory)
        self._mine.service = self._shared.number
        metrics.share(self._mine)

    def _sweep(self) -> None:
        """Where nobody is there, what is left goes."""
        found = list(self._others())
        if not any(runs for _, runs in found):
            for path, _ in found:
                path.unlink(missing_ok=True)

    def _claim(self) -> tuple[int, Path]:
        for n in range(1, MOST + 1):
            path = self._folder / (self._name if n == 1 else f"{self._name}-{n}")
            file = files.open(path, os.O_NOFOLLOW)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            except BaseException:
                os.close(file)
                raise
            return file, path
        raise BlockingIOError(0, f"{MOST} processes have these roles")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.tell()
            await asyncio.sleep(EVERY)

    async def tell(self) -> None:
        """Once: the figures as they are now, and now and then what keeps this process from working."""
        metrics.refresh()
        now = self._clock()
        if not 0 <= now - self._asked < ASK:
            self._asked = now
            reasons, warnings = await self._ask()
            self._mine.say({"at": now, "reasons": reasons, "warnings": warnings})
        changed = [(at, part) for at, part in self._parts() if self._written.get(at) != part]
        if changed and self._file is not None:
            try:
                await asyncio.to_thread(self._write, changed)
            except OSError as reason:
                self._fails(reason)
            else:
                self._said = False

    def _parts(self) -> Iterator[tuple[int, bytes]]:
        for start, end in self._mine.parts():
            yield start, bytes(self._mine.memory[start:end])

    def _write(self, changed: Sequence[tuple[int, bytes]]) -> None:
        assert self._file is not None
        for at, part in changed:
            if os.pwrite(self._file, part, at) == len(part):
                self._written[at] = part

    def _fails(self, reason: OSError) -> None:
        if not self._said:
            self._said = True
            LOG.warning("figures_not_shared", folder=self._folder, reason=reason)

    async def stop(self) -> None:
        """The last figures, and nobody runs here any more."""
        self._mine.rest()
        if self._file is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._write, list(self._parts()))
            os.close(self._file)
            self._file = None

    # -- the others ------------------------------------------------------------------------------------------------------

    async def others(self) -> Pages:
        """Of the processes beside this one: those of its service, and the units."""
        found = [page for page in map(read, self._shared.pages()) if page]
        return [*((page, True) for page in found), *await asyncio.to_thread(self._read)]

    async def troubles(self) -> Troubles:
        """What the units say. (The processes of one service tell each other by themselves.)"""
        reasons: list[str] = []
        warnings: list[str] = []
        for page, runs in await asyncio.to_thread(self._read):
            note = page.note() if runs else {}
            if note and abs(self._clock() - note["at"]) < STALE:
                reasons += note["reasons"]
                warnings += note["warnings"]
        return reasons, warnings

    def _read(self) -> Pages:
        found: Pages = []
        if not self._name:
            return found
        try:
            with files.locked(self._folder / LOCK):
                running = dict(self._others())
        except OSError:  # there are no units
            return found
        for path, runs in running.items():
            with contextlib.suppress(OSError):  # gone meanwhile
                octets = path.read_bytes()[: samples.SIZE].ljust(samples.SIZE, b"\0")
                page = read(memoryview(octets))
                if page and not 0 != page.service == self._shared.number:  # those of this service are in memory
                    found.append((page, runs))
        return found

    def _others(self) -> Iterator[tuple[Path, bool]]:
        """The other files, and whether their processes run. Under the lock: nobody claims one meanwhile."""
        for path in sorted(self._folder.iterdir())[: MOST + 1]:
            if path.name == LOCK or path == self._path:
                continue
            with contextlib.suppress(OSError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    runs = False
                except BlockingIOError:
                    runs = True
                yield path, runs


def read(memory: memoryview) -> samples.Page | None:
    """None where nobody has been yet, or it is of another version."""
    try:
        return samples.Page(memory, writes=False)
    except ValueError:
        return None
