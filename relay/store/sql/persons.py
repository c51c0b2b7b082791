"""What stands of one person in the tables: found, and erased.

Owns: the walk along each table by its key (what names a person in a text has no index), and what becomes of a row of each table.
Leaves to others: what names a person (`core.persons`), which tables there are (`copying`), the files (`relay.recipients`).

A message that went to nobody else goes whole, with its events and all that hangs on it; what stays is in `tallies` that it was
erased, so that a later hit of its links is not kept. Of a message to several the others' copies stay, and the person is taken out of
its texts. Counters stay.
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from relay.core import tally
from relay.core.persons import Person
from relay.store import Erased, PersonMark, PersonPage, PersonRow, packing, tables
from relay.store.sql import contents, copying, counts, tallies
from relay.store.sql.copying import Copied
from relay.store.sql.program import Many, Program, Row, spelt, write

# `tallies` and `seen` are numbers, and `api_keys` names of the operator's.
WALKED = tuple(table for table in copying.TABLES if table.name not in ("tallies", "seen", "api_keys"))
BY_NAME: Mapping[str, Copied] = {table.name: table for table in copying.TABLES}
PACKED: Mapping[str, Callable[[str], Any]] = {"links": packing.read_links, "explanation": packing.read_explanation}
KEPT_BY_OPERATOR = {"endpoints": "an address to tell of an endpoint", "notices": "an address to tell of an endpoint"}

TO = spelt(
    "SELECT message_id FROM copies WHERE {recipient} AND (at, message_id) > (?, ?) ORDER BY at, message_id LIMIT ?",
    recipient=("recipient = ? COLLATE NOCASE", "lower(recipient) = lower(?)"),
)
COPIES = "SELECT idx, position, recipient, reply FROM copies WHERE message_id = ?"
COPY_ERASED = "UPDATE copies SET recipient = '', reply = '' WHERE message_id = ? AND idx = ? AND position = ?"
COPY_CLEANED = "UPDATE copies SET reply = ? WHERE message_id = ? AND idx = ? AND position = ?"
POSITIONS = ("IN (SELECT value FROM json_each(?))", "= ANY(CAST(? AS bigint[]))")
FORGIVE = spelt("DELETE FROM deliveries WHERE position {positions} RETURNING 1", positions=POSITIONS)
EVENTS_GONE = spelt("DELETE FROM events WHERE position {positions} RETURNING 1", positions=POSITIONS)
OF_MESSAGE = {
    "answers": "DELETE FROM answers WHERE message_id = :message_id RETURNING 1",
    "seen": "DELETE FROM seen WHERE message_id = :message_id RETURNING 1",
    "identifiers": "DELETE FROM identifiers WHERE message_id = :message_id AND identifier IN ("
    "SELECT internet_message_id FROM messages WHERE message_id = :message_id"
    " UNION SELECT upstream_id FROM copies WHERE message_id = :message_id) RETURNING 1",
    "kept": "DELETE FROM kept WHERE message_id = :message_id RETURNING 1",
    "copies": "DELETE FROM copies WHERE message_id = :message_id RETURNING 1",
    "messages": "DELETE FROM messages WHERE message_id = :message_id RETURNING 1",
}


# -- finding -----------------------------------------------------------------------------------------------------------


def messages_to(address: str, mark: tuple[float, str], most: int) -> Program[list[str]]:
    rows = yield TO, (address, *mark, most)
    return [str(row[0]) for row in rows]


def page(who: Person, mark: PersonMark) -> Program[PersonPage]:
    """The next rows, of which those that name the person."""
    table = WALKED[mark.table]
    stored = yield from copying.page(table, mark.after)
    rows = [plain(table, row) for row in stored]
    found = [
        PersonRow(table.name, tuple(copying.key_of(table, row)), shown(table, row)) for row in rows if names(who, row)
    ]
    if len(rows) == table.most:
        following: PersonMark | None = PersonMark(mark.table, tuple(copying.key_of(table, rows[-1])))
    else:
        following = PersonMark(mark.table + 1) if mark.table + 1 < len(WALKED) else None
    return PersonPage(table.name, found, len(rows), following)


def plain(table: Copied, row: Row) -> Row:
    """With texts as they are where they stand in a short form, which may have an address in pieces."""
    if table.name != "messages":
        return row
    return [
        tables.json(PACKED[name](value)) if name in PACKED else value
        for name, value in zip(table.columns, row, strict=True)
    ]


def names(who: Person, row: Row) -> bool:
    return any(
        who.named(value) if isinstance(value, str) else isinstance(value, bytes) and who.named_in(value)
        for value in row
    )


def shown(table: Copied, row: Row) -> dict[str, Any]:
    return {name: read(value) for name, value in zip(table.columns, row, strict=True)}


def read(value: Any) -> Any:
    """A column that is JSON as what it says."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


# -- erasing -----------------------------------------------------------------------------------------------------------


def erase(who: Person, table: str, key: Row) -> Program[Erased]:
    """What becomes of this row, in one transaction. It may be gone, or say nothing of the person any more."""
    if table in ("messages", "copies"):
        return (yield from message(who, str(key[0])))
    stored = yield from copying.at(BY_NAME[table], key)
    row = plain(BY_NAME[table], stored) if stored else None
    if row is None or not names(who, row):
        return Erased({})
    if table in KEPT_BY_OPERATOR:
        return Erased({}, KEPT_BY_OPERATOR[table])
    return (yield from DOING.get(table, cleaned)(who, BY_NAME[table], row))


def message(who: Person, message_id: str) -> Program[Erased]:
    copies = yield COPIES, (message_id,)
    mine = [copy for copy in copies if who.same(copy[2])]
    own = {copy[0] for copy in mine} - {copy[0] for copy in copies if not who.same(copy[2])}
    whole = bool(mine) and len(mine) == len(copies)
    if own:
        yield from marked(message_id, own)
    done = {"events": 0, "deliveries": 0}
    gone = []
    rows = yield counts.EVENTS_OF, (message_id,)
    for row in rows:
        event = tables.EVENTS.value(row)
        if whole or is_own(who, event.recipient, event.type, event.data, event.recipient_index in own):
            gone.append(event.position)
    if gone:
        done = yield from without_events(gone)
    if whole:
        for table, sql in OF_MESSAGE.items():
            done[table] = len((yield sql, {"message_id": message_id}))
        return Erased(done)
    for idx, position, recipient, reply in copies:
        if who.same(recipient):
            yield COPY_ERASED, (message_id, idx, position)
            done["copies"] = done.get("copies", 0) + 1
        elif who.named(reply):
            yield COPY_CLEANED, (who.without(reply), message_id, idx, position)
    found = yield from copying.at(BY_NAME["messages"], (message_id,))
    if found is not None:
        done |= (yield from cleaned(who, BY_NAME["messages"], plain(BY_NAME["messages"], found))).rows
    return Erased(done)


def marked(message_id: str, indexes: set[int]) -> Program[None]:
    """Of these recipient indexes nothing is kept any more."""
    rows = yield tallies.ONE, (message_id,)
    facts = tallies.decode(rows[0][0]) if rows else tally.Facts()
    tally.erase(facts, indexes)
    yield from write((tallies.SAVE, [(message_id, tallies.encode(facts))]))


def is_own(who: Person, recipient: str, kind: str, data: Any, its_copy: bool) -> bool:
    """Is an event about this person, or does it only name them?"""
    if kind in tally.HITS:
        return its_copy or who.same(recipient)
    return who.same(recipient) or who.about(data)


def without_events(positions: Sequence[int]) -> Program[dict[str, int]]:
    owed = yield FORGIVE, (Many(positions),)
    gone = yield EVENTS_GONE, (Many(positions),)
    return {"deliveries": len(owed), "events": len(gone)}


def cleaned(who: Person, table: Copied, row: Row) -> Program[Erased]:
    """The person is taken out of the texts that are no part of the key; a row whose key names them goes."""
    if names(who, copying.key_of(table, row)):
        return (yield from removed(table, row))
    changes = {
        name: cell(who, value)
        for name, value in zip(table.columns, row, strict=True)
        if isinstance(value, str) and who.named(value)
    }
    left = "a text that is not changed" if any(isinstance(v, bytes) and who.named_in(v) for v in row) else ""
    if changes:
        sets = ", ".join(f'"{name}" = ?' for name in changes)
        yield f"UPDATE {table.name} SET {sets} WHERE {keyed(table)}", (*changes.values(), *copying.key_of(table, row))
    return Erased({table.name: 1} if changes else {}, left)


def cell(who: Person, text: str) -> str:
    value = read(text)
    return who.without(text) if isinstance(value, str) else tables.json(who.cleaned(value))


def keyed(table: Copied) -> str:
    return " AND ".join(f'"{name}" = ?' for name in table.key)


def removed(table: Copied, row: Row) -> Program[Erased]:
    yield f"DELETE FROM {table.name} WHERE {keyed(table)}", copying.key_of(table, row)
    return Erased({table.name: 1})


def event(who: Person, table: Copied, row: Row) -> Program[Erased]:
    found = tables.EVENTS.value(row[: len(row) - 1])
    rows = yield COPIES, (found.message_id,)
    holders = [copy[2] for copy in rows if copy[0] == found.recipient_index]
    if is_own(who, found.recipient, found.type, found.data, bool(holders) and all(map(who.same, holders))):
        return Erased((yield from without_events([found.position])))
    return (yield from cleaned(who, table, row))


def answer(who: Person, table: Copied, row: Row) -> Program[Erased]:
    if who.same(tables.ANSWERS.value(row).sender):
        return (yield from removed(table, row))
    return (yield from cleaned(who, table, row))


def draft(who: Person, table: Copied, row: Row) -> Program[Erased]:
    """One that is for nobody else goes, with its files."""
    people = [one for name in ("to", "cc", "bcc") for one in listed(tables.DRAFTS.value(row).fields.get(name))]
    if people and all(map(who.listed, people)):
        yield contents.REMOVE, (row[0],)
        return (yield from removed(table, row))
    return (yield from cleaned(who, table, row))


def listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def content(who: Person, table: Copied, row: Row) -> Program[Erased]:
    """Of what is sent later the envelope is one; all else stays as it is until its owner goes."""
    owner_id, number, octets = row
    envelope = envelope_of(octets) if number == 0 else None
    if envelope is None:
        return Erased({}, "a message that is sent later, or a file of a draft")
    rest = [one for one in envelope["recipients"] if not who.listed(one)]
    if not rest:
        yield contents.REMOVE, (owner_id,)
        gone = yield "DELETE FROM schedules WHERE schedule_id = ? RETURNING 1", (owner_id,)
        return Erased({"schedules": len(gone)})
    changed = msgspec.msgpack.encode(who.cleaned({**envelope, "recipients": rest}))
    yield "UPDATE contents SET octets = ? WHERE owner_id = ? AND number = ?", (changed, owner_id, number)
    return Erased({"contents": 1})


def envelope_of(octets: bytes) -> dict[str, Any] | None:
    """As `relay.schedules` writes it."""
    try:
        found = msgspec.msgpack.decode(octets)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("recipients"), list) else None


def count(who: Person, table: Copied, row: Row) -> Program[Erased]:
    """A link, a label: what was counted stays, under the name without the person."""
    dimension, hour, grant, value, *numbers = row
    yield from removed(table, row)
    yield from write((counts.ADD, [(dimension, hour, grant, who.without(value), *numbers)]))
    return Erased({"counts": 1})


def suppression(who: Person, table: Copied, row: Row) -> Program[Erased]:
    """That it is on the list stays, by its digest."""
    digest, *key = copying.key_of(table, row)
    found = tables.SUPPRESSIONS.value(row)
    values = ("", "") if who.same(found.recipient) else (found.recipient, who.without(found.note))
    yield f"UPDATE suppressions SET recipient = ?, note = ? WHERE {keyed(table)}", (*values, digest, *key)
    return Erased({"suppressions": 1})


def gone(who: Person, table: Copied, row: Row) -> Program[Erased]:
    return (yield from removed(table, row))


DOING: Mapping[str, Callable[[Person, Copied, Row], Program[Erased]]] = {
    "events": event,
    "answers": answer,
    "drafts": draft,
    "contents": content,
    "counts": count,
    "suppressions": suppression,
    "identifiers": gone,
    "kept": gone,
    "erasures": gone,
}


def marks(message_ids: Sequence[str]) -> Program[dict[str, list[int]]]:
    """The erased recipient indexes of each of these messages that has some."""
    rows = yield tallies.THESE, (Many(message_ids),)
    return {str(message_id): found for message_id, facts in rows if (found := tallies.decode(facts).erased)}
