"""One person is erased, in all places.

Owns: the order, which leaves what is not done to be found again: the spool first, whose entries lead to their messages; then the
store, where each change is a transaction of its own; then the journal, whose events are known by what the store marked; then
the store once more, for what came meanwhile; and last the octets of its files. Leaves to others: each of these.

What is on its way to the person is not taken away unasked (`InFlight`). What can't be erased now, or here, is said (`Left`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from relay import log
from relay.core import suppressions
from relay.core.model import Keys
from relay.core.persons import Person
from relay.recipients import files, looking
from relay.recipients.looking import Looking, Progress, silent
from relay.spool import disk
from relay.store import Erased, PersonRow

LOG = log.room("erasing")
PATIENCE = 20.0  # seconds for an entry that is being sent, a segment that is being written
AGAIN = 0.5
TOGETHER = 10  # rows that are erased at a time: what a commit costs is shared, and nobody waits for long
PASSES = 5  # through the store: what names them may come while it is gone through
CONTENTS = "contents"


class Records(looking.Records, Protocol):
    """What is asked of a store here."""

    async def erase_person(self, who: Person, table: str, key: Sequence[Any]) -> Erased: ...
    async def erased_marks(self, message_ids: Sequence[str]) -> dict[str, list[int]]: ...
    async def overwrite(self, who: Person) -> str: ...
    async def forget_suppressed(self, digests: Collection[str]) -> int: ...
    async def settle_erasure(self, digest: str) -> bool: ...


class Left(NamedTuple):
    """Something that still names the person: where, and why."""

    where: str
    why: str


class Report(NamedTuple):
    """`rows` is what was changed, by table, and of files. `kept` is what no erasure reaches, in sentences."""

    rows: Mapping[str, int]
    left: Sequence[Left]
    kept: Sequence[str]


class InFlight(Exception):
    """Mail is on its way to the person: entries of the spool, and messages that are sent later. Nothing was done."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"on its way to them: {', '.join(names)}")
        self.names = names


class Erasing:
    def __init__(
        self,
        records: Records,
        state_dir: Path,
        who: Person,
        grant_id: str = "",
        *,
        keys: Keys | None = None,
        progress: Progress = silent,
        patience: float = PATIENCE,
    ) -> None:
        self._records, self._who, self._keys = records, who, keys
        self._spool, self._journal = disk.Disk(state_dir / "spool"), state_dir / "journal"
        self._looking = Looking(records, who, grant_id)
        self._progress, self._patience = progress, patience
        self._rows: Counter[str] = Counter()
        self._left: dict[Left, None] = {}

    async def in_flight(self) -> list[str]:
        """What is on its way to the person: names of entries and of schedules."""
        names = [one.entry.entry_id for one in await self._entries() if one.waits]
        async for rows in self._looking.rows(self._progress):
            names += [str(row.key[0]) for row in rows if self._later(row)]
        return names

    def _later(self, row: PersonRow) -> bool:
        if row.table != CONTENTS or row.row["number"] != 0:
            return False
        try:
            envelope = msgspec.msgpack.decode(row.row["octets"])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return looking.envelope_of(self._who, envelope)

    async def run(self, *, queue: bool = False) -> Report:
        """Raises `InFlight`, unless `queue` says that what is on its way goes too; `store.Unavailable`; OSError."""
        if not queue and (names := await self.in_flight()):
            raise InFlight(names)
        await self._clear_spool()
        await self._erase([("messages", (message_id,)) for message_id in await self._looking.messages()])
        await self._clear_store()
        await self._clear_journal()
        await self._clear_store()
        if self._keys and not self._looking.grant_id:
            digest = suppressions.digest(self._who.mailbox, self._keys)
            self._rows["suppressions"] += await self._records.forget_suppressed([digest])
            await self._records.settle_erasure(digest)
        stays = await self._records.overwrite(self._who)
        LOG.info("erased", **{k: v for k, v in self._rows.items() if v}, left=len(self._left) or None)
        return Report({k: v for k, v in self._rows.items() if v}, list(self._left), [stays] if stays else [])

    async def _clear_store(self) -> None:
        for _ in range(PASSES):
            if not await self._walk():
                return
        self._left[Left("store", "something that names them keeps coming")] = None

    async def _walk(self) -> int:
        """Once through the store: how much of it was changed."""
        changed = 0
        async for rows in self._looking.rows(self._progress):
            changed += await self._erase([(row.table, row.key) for row in rows])
        return changed

    async def _erase(self, those: Sequence[tuple[str, Sequence[Any]]]) -> int:
        """Some at a time: they share a commit."""
        changed = 0
        for at in range(0, len(those), TOGETHER):
            some = those[at : at + TOGETHER]
            work = [self._records.erase_person(self._who, table, key) for table, key in some]
            for (table, key), done in zip(some, await asyncio.gather(*work), strict=True):
                self._rows.update(done.rows)
                changed += sum(done.rows.values())
                if done.left:
                    self._left[Left(f"{table} {' '.join(map(str, key))}", done.left)] = None
        return changed

    # -- files ---------------------------------------------------------------------------------------------------------

    async def _entries(self) -> list[files.InSpool]:
        found = await asyncio.to_thread(lambda: list(files.entries(self._spool, self._who)))
        return [one for one in found if await self._looking.of_grant(one.entry.message_id)]

    async def _clear_spool(self) -> None:
        for one in await self._entries():
            why = await self._once(files.take_out, self._spool, one.entry.entry_id, self._who)
            if why:
                self._left[Left(f"spool {one.entry.entry_id}", why)] = None
            if one.own and not why.startswith("it is"):
                self._rows["spool"] += 1
        if not self._looking.grant_id:
            for path in await asyncio.to_thread(lambda: list(files.aside(self._spool.directory, self._who))):
                with contextlib.suppress(FileNotFoundError):
                    await asyncio.to_thread(path.unlink)
                self._rows["spool"] += 1
        await asyncio.to_thread(self._spool.wake)

    async def _once(self, work: Callable[..., str], *args: Any) -> str:
        """Until it is nobody else's any more, or for so long."""
        until = time.monotonic() + self._patience
        while True:
            why: str = await asyncio.to_thread(work, *args)
            if not why.startswith("it is") or time.monotonic() >= until:
                return why
            await asyncio.sleep(AGAIN)

    async def _clear_journal(self) -> None:
        until = time.monotonic() + self._patience
        while True:
            held = await self._rewrite_segments()
            if not held:
                return
            if time.monotonic() >= until:
                for path in held:
                    self._left[Left(f"journal {path.name}", "a process is writing it")] = None
                return
            await asyncio.sleep(AGAIN)

    async def _rewrite_segments(self) -> list[Path]:
        """Those that somebody holds."""
        loop = asyncio.get_running_loop()

        def marks(message_ids: list[str]) -> Mapping[str, Sequence[int]]:
            return asyncio.run_coroutine_threadsafe(self._records.erased_marks(message_ids), loop).result()

        def rewrite() -> tuple[list[Path], int]:
            held, number = [], 0
            for path, lines, changed in files.events(self._journal, self._who, marks):
                if files.rewrite(path, lines):
                    number += changed
                elif path.exists():
                    held.append(path)
            return held, number

        held, number = await asyncio.to_thread(rewrite)
        self._rows["journal"] += number
        return held
