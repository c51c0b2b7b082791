"""What names a person in the files of the state folder: mail in the spool, and events in the journal.

Owns: whose an entry is, and taking a person out of one. Blocking; call it off the loop. Leaves to others: the form of the files
(`spool.disk`, `journal`), the store.

Who sends an entry, or writes a segment, holds its lock: what is held stays, and is asked for again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from relay import files, journal
from relay.core import queue, tally
from relay.core.persons import Person
from relay.spool import disk

Marks = Mapping[str, Sequence[int]]  # erased recipient indexes by message


class InSpool(NamedTuple):
    """An entry that names the person. `own`: they are a recipient; `waits`: it is still on its way to them."""

    entry: queue.Entry
    own: bool
    waits: bool


def entries(kept: disk.Disk, who: Person) -> Iterator[InSpool]:
    for name in kept.scan():
        found = kept.measured(name)
        if found is None:
            continue
        entry, _ = found
        mine = [r for r in entry.recipients if who.same(r.address)]
        if mine or who.named_in(queue.write(entry)) or who.named_in(content(kept, name)):
            yield InSpool(entry, bool(mine), any(r.state == "waiting" for r in mine))


def content(kept: disk.Disk, name: str) -> bytes:
    try:
        return kept.content(name)
    except FileNotFoundError:  # it was sent meanwhile
        return b""


def take_out(kept: disk.Disk, entry_id: str, who: Person) -> str:
    """Of an entry the person as a recipient: what is left to say of it, "" for nothing. Nobody else waiting, it goes."""
    claim = kept.claim(entry_id)
    if claim is None:
        return "it is being sent right now" if kept.size(entry_id) else ""
    try:
        entry = claim.entry
        rest = tuple(r for r in entry.recipients if not who.same(r.address))
        if len(rest) < len(entry.recipients):
            if not any(r.state == "waiting" for r in rest):
                claim.remove()
                return ""
            claim.rewrite(msgspec.structs.replace(entry, recipients=rest))
        return "mail on its way to others names them" if named(claim, who) else ""
    finally:
        claim.release()


def named(claim: disk.Claim, who: Person) -> bool:
    return who.named_in(queue.write(claim.entry)) or who.named_in(claim.content())


def aside(folder: Path, who: Person) -> Iterator[Path]:
    """What nobody sends: what could not be read, notes of what was dropped, what was never finished."""
    for pattern in ("broken/*", "*.dropped", "*.tmp"):
        for path in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):
                if who.named_in(path.read_bytes()):
                    yield path


def events(folder: Path, who: Person, marks: Callable[[list[str]], Marks]) -> Iterator[tuple[Path, list[bytes], int]]:
    """Of each segment that has something of the person: what is left of it, and how many lines go or change."""
    for path in sorted(folder.glob("*.jsonl")):
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:  # it was handed on meanwhile
            continue
        read = [journal.decode(line.rstrip(b"\n")) for line in lines]
        erased = marks(sorted({event.message_id for event in read if event}))
        left, changed = [], 0
        for line, event in zip(lines, read, strict=True):
            if event is None:
                new = b"" if who.named_in(line) else line  # not whole: nobody can read it anyway
            elif (
                (event.type in tally.HITS and event.recipient_index in erased.get(event.message_id, ()))
                or who.same(event.recipient)
                or who.about(event.data)
            ):
                new = b""
            elif who.named_in(line):
                new = journal.encode(msgspec.convert(who.cleaned(msgspec.to_builtins(event)), type(event)))
            else:
                new = line
            changed += new != line
            if new:
                left.append(new)
        if changed:
            yield path, left, changed


def rewrite(path: Path, lines: Sequence[bytes]) -> bool:
    """False where a process has it: it hands the events on, and the store takes none of the person's."""
    descriptor = journal.lock(path)
    if descriptor is None:
        return False
    try:
        if lines:
            files.write(path, b"".join(lines))
        else:
            path.unlink()
            files.sync(path.parent)
    finally:
        os.close(descriptor)
    return True
