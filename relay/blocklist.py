"""What the operator blocked, in one file that every process follows.

Owns: `<state_dir>/links/blocked.json`, who may write it when, and when a running process reads it again. No database is
asked for it, so that a block holds while there is none. Leaves to others: what is blocked and how it is spelt
(`core.blocks`), how a private file is written (`files`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from relay import causes, files, log
from relay.core import blocks, identifiers
from relay.core.blocks import Block, Blocks
from relay.core.model import Sent

LOG = log.room("links")

STAT_SECONDS = 0.1  # a running process looks at most this often whether the file is another
NONE = Blocks()


class Unusable(Exception):
    """The file is damaged, or can't be read or written. The text says which file and why."""


async def meant(what: str, now: float, find: Callable[[str], Awaitable[Sent | None]]) -> Block | str:
    """What somebody means by a URL, a host, a message's id or Message-ID; or a sentence that says why that is nothing that
    could be blocked. `find` finds a message by its Message-ID."""
    block = None if what.strip().startswith("<") else blocks.read(what)
    if block is not None:
        return block.with_(since=now)
    wanted = identifiers.of_message(what)
    if "@" not in wanted:
        return (
            f"{what!r} is no URL, no host and no message: a URL begins with https://, a message's id has 20 characters"
        )
    sent = await find(wanted)
    if sent is None:
        return f"no message with the Message-ID {what} was sent from here"
    return Block("message", sent.message_id, now, wanted)


class Document(msgspec.Struct):
    blocked: list[Block] = []


def path_in(state_dir: Path) -> Path:
    return state_dir / "links" / "blocked.json"


class Blocklist:
    """The blocks of one file, which need not be there. A file that goes is an empty one; while one can't be read the
    blocks at hand go on. `clock` gives seconds of any origin."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._blocks, self._mark = NONE, (0, 0, 0)
        self._complaint = ""
        self._next_look = float("-inf")

    def now(self) -> Blocks:
        """One stat in STAT_SECONDS at most; never raises."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + STAT_SECONDS
            self._follow()
        return self._blocks

    def _follow(self) -> None:
        try:
            mark = _mark(self._path)
            if mark == self._mark:
                return
            self._blocks = Blocks(read(self._path))
        except (Unusable, OSError) as reason:
            if str(reason) != self._complaint:  # said once, not ten times a second
                LOG.error("blocks_not_read", path=str(self._path), reason=str(reason))
            self._complaint = str(reason)
            return
        self._mark, self._complaint = mark, ""
        LOG.info("blocks_read", blocks=len(self._blocks.all))


def _mark(path: Path) -> tuple[int, int, int]:
    """What tells one version of the file from another; zeros for none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def read(path: Path) -> tuple[Block, ...]:
    """What is blocked, oldest first. Raises `Unusable`."""
    try:
        return tuple(msgspec.json.decode(path.read_bytes(), type=Document).blocked)
    except FileNotFoundError:
        return ()
    except OSError as reason:
        raise Unusable(f"{path}: {causes.of(reason)}") from reason
    except (msgspec.MsgspecError, UnicodeDecodeError) as reason:
        raise Unusable(f"{path} is damaged ({reason}): put it back from a backup, or remove it") from reason


def add(path: Path, block: Block) -> bool:
    """Blocks it from now on, in all processes; False where it is blocked already. Durable. Raises `Unusable`."""
    return _change(path, lambda there: None if _same(there, block) else [*there, block])


def remove(path: Path, block: Block) -> bool:
    """Blocks it no longer; False where it is not blocked. Raises `Unusable`."""
    return _change(path, lambda there: [b for b in there if not _same([b], block)] if _same(there, block) else None)


def _same(there: list[Block], block: Block) -> bool:
    return any((other.kind, other.value) == (block.kind, block.value) for other in there)


def _change(path: Path, change: Callable[[list[Block]], list[Block] | None]) -> bool:
    try:
        files.make_folder(path.parent)
        with files.locked(path.with_suffix(".lock")):
            wanted = change(list(read(path)))
            if wanted is None:
                return False
            files.write(path, msgspec.json.format(msgspec.json.encode(Document(wanted)), indent=2) + b"\n")
    except OSError as reason:
        raise Unusable(f"{path}: {causes.of(reason)}") from reason
    return True
