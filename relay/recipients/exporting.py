"""What there is of one person, as JSON lines.

Owns: which of it is theirs to have: their own rows whole, of rows that only name them what does, and other people's addresses only
where they are in a message that the person was sent. Leaves to others: finding it (`looking`, `files`).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from relay import journal
from relay.core import suppressions
from relay.core.model import Keys
from relay.core.persons import Person
from relay.core.suppressions import Suppression
from relay.recipients import files, looking
from relay.recipients.looking import Looking, Progress, silent
from relay.spool import disk
from relay.store import Notification, PersonRow

SECRET = frozenset({"secret", "previous_secret", "digest", "link_counts"})
OWN_TABLES = {"copies": "recipient", "answers": "sender", "events": "recipient", "suppressions": "recipient"}


class Records(looking.Records, Protocol):
    """What is asked of a store here."""

    async def notifications(self, *, event_id: str = "", limit: int = 100) -> list[Notification]: ...
    async def suppressed(self, digests: Sequence[str]) -> list[Suppression]: ...


Line = dict[str, Any]


async def lines(
    records: Records,
    state_dir: Path,
    who: Person,
    grant_id: str = "",
    *,
    keys: Keys | None = None,
    progress: Progress = silent,
) -> AsyncIterator[Line]:
    """Each has `kind`: the table, or where else it is. Raises `store.Unavailable`, OSError."""
    walk = Looking(records, who, grant_id)
    theirs = set(await walk.messages())
    for message_id in sorted(theirs):
        if (sent := await records.sent(message_id)) is not None:
            copies = tuple(copy for copy in sent.copies if who.same(copy.recipient))
            yield {"kind": "messages", **visible(msgspec.to_builtins(sent.with_(copies=copies)))}
    async for rows in walk.rows(progress):
        for row in rows:
            if row.table in ("messages", "copies") and row.row["message_id"] in theirs:
                continue  # as above
            yield shown(who, row, theirs)
            if row.table == "events" and own(who, row, theirs):
                for one in await records.notifications(event_id=str(row.row["event_id"]), limit=1000):
                    yield {"kind": "notifications", **msgspec.to_builtins(one)}
    if keys:
        for entry in await records.suppressed([suppressions.digest(who.mailbox, keys)]):
            if not entry.recipient and grant_id in ("", entry.grant_id):  # the walk does not know whose it is
                yield {"kind": "suppressions", **visible(msgspec.to_builtins(entry))}
    async for line in in_files(walk, state_dir, theirs):
        yield line


async def in_files(walk: Looking, state_dir: Path, theirs: set[str]) -> AsyncIterator[Line]:
    who, kept = walk.who, disk.Disk(state_dir / "spool")
    for found in await asyncio.to_thread(lambda: list(files.entries(kept, who))):
        if found.own and await walk.of_grant(found.entry.message_id):
            entry = msgspec.to_builtins(found.entry)
            entry["recipients"] = [r for r in entry["recipients"] if who.same(r["address"])]
            message = await asyncio.to_thread(files.content, kept, found.entry.entry_id)
            yield {"kind": "spool", **entry, **octets("message", message)}
    if not walk.grant_id:
        for event in await asyncio.to_thread(lambda: list(waiting(state_dir / "journal", who, theirs))):
            yield {"kind": "journal", **event}


def waiting(folder: Path, who: Person, theirs: Iterable[str]) -> Iterable[Line]:
    """Of events that the store has not taken yet those of the person's messages, and those that name them."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            event = journal.decode(line)
            if event and (event.message_id in theirs or who.named_in(line)):
                yield msgspec.to_builtins(event)


def own(who: Person, row: PersonRow, theirs: Iterable[str]) -> bool:
    if row.table in OWN_TABLES:
        return who.same(str(row.row[OWN_TABLES[row.table]])) or who.about(row.row.get("data"))
    if row.table in ("messages", "kept"):
        return row.row["message_id"] in theirs
    return row.table in ("drafts", "erasures", "schedules", "contents")


def shown(who: Person, row: PersonRow, theirs: Iterable[str]) -> Line:
    """Whole, or what names them."""
    if own(who, row, theirs):
        return {"kind": row.table, **visible(row.row)}
    naming = {name: value for name, value in row.row.items() if names(who, value)}
    return {"kind": row.table, "mention": True, "key": list(row.key), **visible(naming)}


def names(who: Person, value: Any) -> bool:
    if isinstance(value, bytes):
        return who.named_in(value)
    return who.named(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def visible(row: Mapping[str, Any]) -> Line:
    found: Line = {}
    for name, value in row.items():
        if name in SECRET:
            continue
        found |= octets(name, value) if isinstance(value, bytes) else {name: value}
    return found


def octets(name: str, value: bytes) -> Line:
    try:
        return {name: value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode()}
