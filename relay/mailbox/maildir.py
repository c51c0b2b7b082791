"""A mailbox as a Maildir on this machine: what came into new/ and cur/ since the cursor.

Owns: looking, and the cursor of file names. Leaves to others: what a message means.

A file is new where it came (its ctime) since the cursor's time and its name, without the flags, was not seen. The
cursor keeps the names of the last minutes only; a file that is renamed later, with its flags, may be read once more
after a restart, which makes no second event.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import stat
import time
from collections.abc import AsyncGenerator, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from relay import causes
from relay.core import headers
from relay.core.reports import inspected
from relay.mailbox.source import LONGEST_HEADERS, LONGEST_MESSAGE, Fetched, LoginRefused, Unreachable
from relay.store import Cursor

FOLDERS = ("new", "cur")
LONGEST_PAUSE = 1.0  # seconds between two looks: two calls to stat
SLACK = 600.0  # seconds before the cursor's time for which names are kept
MAX_NAMES = 1_000  # beyond, the oldest are let go
COARSE = 2.0  # seconds within which a folder's mtime may not show a second change


class File(NamedTuple):
    """`name` is without the flags; `came` is the ctime in Unix seconds."""

    name: str
    came: float


class Maildir:
    """See `source.Source`. The cursor's `uid` is a time in whole Unix seconds, `uidvalidity` is 1."""

    def __init__(self, name: str, path: str, interval: float) -> None:
        self.name = name
        self.path = Path(path)
        self.pause = min(interval, LONGEST_PAUSE)

    async def messages(self, cursor: Cursor | None, since: float) -> AsyncGenerator[Fetched | Cursor, None]:
        known: set[str] = set()  # by this process
        mark = since if cursor is None else cursor.uid - SLACK
        now = cursor or Cursor(self.name, 1, int(since))
        recent = dict.fromkeys(now.seen, float(now.uid))
        stamp: tuple[int, ...] = ()
        while True:
            before = await asyncio.to_thread(self.stamp)
            if before != stamp:
                files = await asyncio.to_thread(self.files, known)
                known.update(file.name for file in files)
                for file in files:
                    if file.came < mark or file.name in recent:
                        continue
                    recent[file.name] = file.came
                    now = stand(now, recent)
                    head = await asyncio.to_thread(read, self.path, file.name, LONGEST_HEADERS)
                    if head is not None:
                        whole = partial(asyncio.to_thread, self.whole, file.name)
                        yield Fetched(headers_of(head), now, file.came, whole)
                stamp = before if time.time() - max(before) / 1e9 > COARSE else ()
            yield now
            await asyncio.sleep(self.pause)

    async def probe(self) -> str:
        await asyncio.to_thread(self.stamp)
        files = await asyncio.to_thread(self.files, set())
        return f"{self.path} is a Maildir of {len(files)} messages"

    def stamp(self) -> tuple[int, ...]:
        """When the folders last changed, in nanoseconds."""
        with self.failing():
            return tuple(os.stat(self.path / folder).st_mtime_ns for folder in FOLDERS)

    def files(self, known: Collection[str]) -> list[File]:
        """Those that are not known, oldest first."""
        with self.failing():
            found = self.scanned(known)
        return sorted(found.values(), key=lambda file: (file.came, file.name))

    def scanned(self, known: Collection[str]) -> dict[str, File]:
        found: dict[str, File] = {}
        for folder in FOLDERS:
            with os.scandir(self.path / folder) as entries:
                for entry in entries:
                    name = bare(entry.name)
                    if name in known or name.startswith("."):
                        continue
                    try:
                        status = entry.stat()
                    except FileNotFoundError:  # it moved from new to cur, or is gone
                        continue
                    if stat.S_ISREG(status.st_mode):
                        found[name] = File(name, status.st_ctime)
        return found

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Raises what fails in the block as `LoginRefused` or `Unreachable`."""
        try:
            yield
        except FileNotFoundError as reason:
            raise Unreachable(f"{self.path} is no Maildir: {causes.at(reason)}") from reason
        except OSError as reason:
            raise LoginRefused(f"{reason.filename or self.path} can't be read: {causes.of(reason)}") from reason

    def whole(self, name: str) -> bytes:
        return read(self.path, name, LONGEST_MESSAGE) or b""


def bare(name: str) -> str:
    """A file's name without its flags (`:2,S`)."""
    return name.partition(":")[0]


def stand(cursor: Cursor, recent: dict[str, float]) -> Cursor:
    """The cursor after the newest of `recent`, from which the names that no longer matter are taken out."""
    mark = max(cursor.uid, int(max(recent.values())))
    if len(recent) > MAX_NAMES or mark != cursor.uid:
        newest = sorted(recent.items(), key=lambda item: item[1])[-MAX_NAMES:]
        recent.clear()
        recent.update((name, came) for name, came in newest if came >= mark - SLACK)
    return Cursor(cursor.mailbox, 1, mark, tuple(recent))


def read(folder: Path, name: str, limit: int) -> bytes | None:
    """The first octets of a message, wherever it is now; None where it is gone."""
    for place in FOLDERS:
        candidates = [folder / place / name]
        if place == "cur":
            candidates = sorted((folder / place).glob(glob.escape(name) + "*"))
        for path in candidates:
            try:
                with path.open("rb") as file:
                    return file.read(limit)
            except OSError:
                continue
    return None


def headers_of(raw: bytes) -> bytes:
    """The header section, which is all that is needed of most."""
    raw = inspected.unmarked(raw)
    return raw[: headers.read(raw).body]
