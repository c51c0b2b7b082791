"""What is too old goes: a step at a time, each a small transaction.

Owns: the order of tables, and the statements that find by an index what is old in them. Leaves to others: what is too old, and
how much at once (`relay.retention`), months of events in tables of their own (`postgres.months`).

An event goes by its own age, and its notifications with it; a message by its own, and its copies, names, answers and text with
it. What is known of a message for its events (`tallies`) goes once neither is there, but for the mark that one of its
recipients was erased. Counters stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from relay.core import tally, tokens
from relay.store import Purged, PurgeMark
from relay.store.sql import counts as counters
from relay.store.sql.lists import TYPES
from relay.store.sql.program import Many, Program, spelt

EVENTS = "SELECT position, message_id FROM events WHERE type = ? AND at < ? ORDER BY at, position LIMIT ?"
POSITIONS = ("IN (SELECT value FROM json_each(:many))", "= ANY(CAST(:many AS bigint[]))")
DELIVERIES = spelt("DELETE FROM deliveries WHERE position {positions} RETURNING 1", positions=POSITIONS)
# The time says in which months' tables to look.
GONE_EVENTS = spelt("DELETE FROM events WHERE position {positions} AND at < :before", positions=POSITIONS)
TALLIES = spelt(
    """
SELECT message_id, facts FROM tallies t WHERE message_id {named}
  AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.message_id = t.message_id)
  AND NOT EXISTS (SELECT 1 FROM events e WHERE e.message_id = t.message_id)
"""
)
TALLY = spelt("DELETE FROM tallies WHERE message_id {named} RETURNING 1")
MESSAGES = """
SELECT message_id, (SELECT count(*) FROM copies c WHERE c.message_id = m.message_id) FROM messages m
WHERE submitted_at < ? ORDER BY submitted_at, message_id LIMIT ?
"""
# In this order: each finds its rows by those that are removed after it. See `messages.REMOVE`.
OF_MESSAGES: Mapping[str, str] = {
    "answers": spelt("DELETE FROM answers WHERE message_id {named} RETURNING 1"),
    "seen": spelt("DELETE FROM seen WHERE message_id {named} RETURNING 1"),
    "identifiers": spelt(
        "DELETE FROM identifiers WHERE {these} IN ("
        "SELECT internet_message_id{also} FROM messages WHERE message_id {named}"
        " UNION SELECT upstream_id{also} FROM copies WHERE message_id {named}) RETURNING 1",
        # Each looks through the whole table for the other's.
        these=("message_id IN (SELECT value FROM json_each(:many)) AND identifier", "(identifier, message_id)"),
        also=("", ", message_id"),
    ),
    "kept": spelt("DELETE FROM kept WHERE message_id {named} RETURNING 1"),
    "copies": spelt("DELETE FROM copies WHERE message_id {named} RETURNING 1"),
    "messages": spelt("DELETE FROM messages WHERE message_id {named} RETURNING 1"),
}
# Of one message with very many copies, some.
SOME_COPIES = """
DELETE FROM copies WHERE message_id = :message_id AND (idx, position) IN (
  SELECT idx, position FROM copies WHERE message_id = :message_id ORDER BY idx, position LIMIT :most) RETURNING 1
"""
OLD: Mapping[str, tuple[str, str]] = {
    "requests": (
        "SELECT request_key FROM requests WHERE at < ? ORDER BY at LIMIT ?",
        spelt("DELETE FROM requests WHERE request_key {named} RETURNING 1"),
    ),
    "kept": (
        "SELECT message_id FROM kept WHERE at < ? ORDER BY at LIMIT ?",
        spelt("DELETE FROM kept WHERE message_id {named} RETURNING 1"),
    ),
    "notices": (
        "SELECT notice_id FROM notices WHERE at < ? ORDER BY at, notice_id LIMIT ?",
        spelt("DELETE FROM notices WHERE notice_id {named} RETURNING 1"),
    ),
}
# Their ids sort by the time at which they were made.
MADE: Mapping[str, tuple[str, str, str]] = {
    "drafts": (
        "SELECT draft_id, created_at, updated_at FROM drafts WHERE draft_id > ? ORDER BY draft_id LIMIT ?",
        spelt("DELETE FROM contents WHERE owner_id {named}"),
        spelt("DELETE FROM drafts WHERE draft_id {named} RETURNING 1"),
    ),
    "schedules": (
        "SELECT schedule_id, created_at, CASE WHEN state IN ('scheduled', 'handed') THEN NULL ELSE closed_at END"
        " FROM schedules WHERE schedule_id > ? ORDER BY schedule_id LIMIT ?",
        spelt("DELETE FROM contents WHERE owner_id {named}"),
        spelt("DELETE FROM schedules WHERE schedule_id {named} RETURNING 1"),
    ),
}
LEFT = """
SELECT message_id FROM tallies WHERE message_id > ? AND message_id < ? ORDER BY message_id LIMIT ?
"""
OLDEST = "SELECT min(submitted_at) FROM messages"
TO_CUT = """
SELECT position, at, ip != '' OR user_agent != '' FROM events WHERE type = ? AND (at, position) > (?, ?) AND at < ?
ORDER BY at, position LIMIT ?
"""
CUT = spelt(
    "UPDATE events SET ip = '', user_agent = '' WHERE position {positions} AND at < :before", positions=POSITIONS
)
SUBMITTERS = """
SELECT message_id, submitted_at, submitter_ip != '' FROM messages WHERE (submitted_at, message_id) > (?, ?) AND submitted_at < ?
ORDER BY submitted_at, message_id LIMIT ?
"""
CUT_SUBMITTERS = spelt("UPDATE messages SET submitter_ip = '' WHERE message_id {named}")
CUT_STAGES = (*tally.HITS, "")  # the last one is for submitters

decode_facts = msgspec.json.Decoder(tally.Facts).decode

Stage = Callable[[PurgeMark, float, int], Program[Purged]]


def step(mark: PurgeMark, before: float, most: int) -> Program[Purged]:
    """See `contract.Store.purge`. What is not in the counters yet stays until it is."""
    if (yield from counters.upto()) is not None:
        return Purged({}, None)
    stage, _ = mark
    if stage < len(TYPES):
        return (yield from events(mark, before, most))
    at = stage - len(TYPES)
    return (yield from STAGES[at](mark, before, most))


def next_stage(stage: int) -> PurgeMark | None:
    return PurgeMark(stage + 1, "") if stage + 1 < len(TYPES) + len(STAGES) else None


def events(mark: PurgeMark, before: float, most: int) -> Program[Purged]:
    rows = yield EVENTS, (TYPES[mark.stage], before, most)
    if not rows:
        return Purged({}, next_stage(mark.stage))
    positions = Many(row[0] for row in rows)
    owed = yield DELIVERIES, {"many": positions}
    yield GONE_EVENTS, {"many": positions, "before": before}
    tallies = yield from forget(sorted({row[1] for row in rows}))
    return Purged({"events": len(rows), "deliveries": len(owed), "tallies": tallies}, mark)


def forget(message_ids: Sequence[str]) -> Program[int]:
    """What was known of messages that are gone, as all their events are. Their number."""
    left = yield TALLIES, {"many": Many(message_ids)}
    gone = [message_id for message_id, facts in left if not erased(facts)]
    return len((yield TALLY, {"many": Many(gone)})) if gone else 0


def erased(facts: str) -> bool:
    """Does a message's row in `tallies` say that one of its recipients was erased?"""
    return bool(decode_facts(facts).erased)


def messages(mark: PurgeMark, before: float, most: int) -> Program[Purged]:
    found = yield MESSAGES, (before, most)
    if not found:
        return Purged({}, next_stage(mark.stage))
    if found[0][1] > most:
        some = yield SOME_COPIES, {"message_id": found[0][0], "most": most}
        return Purged({"copies": len(some)}, mark)
    chosen: list[str] = []
    room = most
    for message_id, copies in found:
        room -= copies + 1
        if chosen and room < 0:
            break
        chosen.append(message_id)
    rows = {}
    for table, sql in OF_MESSAGES.items():
        rows[table] = len((yield sql, {"many": Many(chosen)}))
    rows["tallies"] = yield from forget(chosen)
    return Purged(rows, mark)


def old(table: str) -> Stage:
    find, remove = OLD[table]

    def stage(mark: PurgeMark, before: float, most: int) -> Program[Purged]:
        found = yield find, (before, most)
        if not found:
            return Purged({}, next_stage(mark.stage))
        gone = yield remove, {"many": Many(row[0] for row in found)}
        return Purged({table: len(gone)}, mark)

    return stage


def made(table: str) -> Stage:
    find, contents, remove = MADE[table]

    def stage(mark: PurgeMark, before: float, most: int) -> Program[Purged]:
        found = yield find, (mark.after, most)
        past = [row for row in found if row[1] < before]
        gone = Many(key for key, _, ended in past if ended is not None and ended < before)
        number = 0
        if gone:
            yield contents, {"many": gone}
            number = len((yield remove, {"many": gone}))
        more = len(past) == most
        return Purged({table: number}, PurgeMark(mark.stage, past[-1][0]) if more else next_stage(mark.stage))

    return stage


def left(mark: PurgeMark, before: float, most: int) -> Program[Purged]:
    """Of messages whose events went after them, and of what was never recorded."""
    upto = tokens.message_id(tokens.message_key(before, bytes(6)))
    found = yield LEFT, (mark.after, upto, most)
    number = yield from forget([row[0] for row in found])
    more = len(found) == most
    return Purged({"tallies": number}, PurgeMark(mark.stage, found[-1][0]) if more else next_stage(mark.stage))


STAGES: tuple[Stage, ...] = (messages, *map(old, OLD), *map(made, MADE), left)


def oldest() -> Program[float | None]:
    rows = yield OLDEST, ()
    return None if rows[0][0] is None else float(rows[0][0])


def cut(mark: PurgeMark, since: float, before: float, most: int) -> Program[Purged]:
    """See `contract.Store.cut_addresses`."""
    at, _, behind = mark.after.partition(" ")
    kind = CUT_STAGES[mark.stage]
    if kind:
        found = yield TO_CUT, (kind, float(at or since), int(behind or 0), before, most)
        if some := Many(position for position, _, full in found if full):
            yield CUT, {"many": some, "before": before}
    else:
        found = yield SUBMITTERS, (float(at or since), behind, before, most)
        if some := Many(message_id for message_id, _, full in found if full):
            yield CUT_SUBMITTERS, {"many": some}
    rows = {"events" if kind else "messages": len(some)}
    if len(found) == most:
        return Purged(rows, PurgeMark(mark.stage, f"{found[-1][1]!r} {found[-1][0]}"))
    return Purged(rows, PurgeMark(mark.stage + 1, "") if mark.stage + 1 < len(CUT_STAGES) else None)
