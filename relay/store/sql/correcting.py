"""Verdicts that change after their event was written.

Owns: writing them, the event that tells of each, and the counters and notifications that go with it. Leaves to others: which
change, and why (`decisions`, whoever calls).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Mapping, Sequence

from relay.core import counts, tally
from relay.core.model import Endpoint, Event, Verdict
from relay.store import decisions
from relay.store.sql import counts as counters
from relay.store.sql import events, knowledge, messages, outbox, tallies
from relay.store.sql.program import Many, Program, Rows, spelt, write
from relay.store.tables import EVENTS

THESE = spelt(f"{events.FROM_EVENTS} WHERE event_id {{many}}")
CORRECTED = ("event_id", "verdict", "reason", "first_verdict", "changed_at")
CORRECT = Rows(
    f"UPDATE events SET {', '.join(f'{name} = v.column{n}' for n, name in enumerate(CORRECTED[1:], 2))}"
    " FROM {rows} AS v WHERE event_id = v.column1",
    [f"events.{name}" for name in CORRECTED],
)


def correct(
    event_id: str, verdict: Verdict, reason: str, now: float, asking: knowledge.Asking
) -> Program[Event | None]:
    """See `contract.Store.correct`."""
    rows = yield events.ONE, (event_id,)
    if not rows:
        return None
    found = yield from knowledge.read([EVENTS.value(rows[0][:-1])], asking)
    correction = decisions.Correction(verdict, decisions.mended(reason), now)
    changed = yield from change({event_id: correction}, {}, found.endpoints, found.position, now)
    return changed[0] if changed else EVENTS.value(rows[0][:-1])


def change(
    corrections: Mapping[str, decisions.Correction],
    facts: Mapping[str, tally.Facts],
    live: Sequence[Endpoint],
    position: int,
    now: float,
) -> Program[list[Event]]:
    """These events get other verdicts, and each an event that says so. All of their messages are counted anew: what was a
    first open may be none any more, and another be it. `facts` are those that are known already, and are written again;
    `position` is the last one that was used."""
    of: dict[str, list[tuple[Event, Event]]] = {}
    rows = yield THESE, (Many(corrections),)
    there = {event.event_id: event for event in map(EVENTS.value, rows)}
    for event_id, (verdict, reason, at) in corrections.items():
        old = there.get(event_id)
        if old is not None and old.verdict != verdict:  # else something else was quicker
            of.setdefault(old.message_id, []).append((old, tally.corrected(old, verdict, reason, at)))
    if not of:
        return []
    known = {message_id: facts[message_id] for message_id in of if message_id in facts}
    rows = yield tallies.THESE, (Many(of.keys() - known.keys()),)
    known |= {message_id: tallies.decode(text) for message_id, text in rows}
    upto = yield from counters.upto()
    counted = [message_id for message_id in of if counters.includes(upto, message_id)]
    totals: counts.Totals = {}
    for message_id in counted:
        yield from messages.count(totals, message_id, -1)
    new = [new for pairs in of.values() for _, new in pairs]
    yield from write((CORRECT, [(e.event_id, e.verdict, e.reason, e.first_verdict, e.changed_at) for e in new]))
    for message_id in counted:
        yield from messages.count(totals, message_id)
    told: list[Event] = []
    owed: list[decisions.Owed] = []
    for message_id, pairs in of.items():
        fact = known.setdefault(message_id, tally.Facts())
        for old, one in pairs:
            position += 1
            told.append(tally.changed(old, one, one.changed_at, fact, position))
            more, less = decisions.reconsidered(live, old, one, fact.turns, now)
            owed += more
            for endpoint_id, trigger in less:
                yield outbox.CANCEL, (one.position, endpoint_id, trigger)
    owed += decisions.owed(live, told, known, now)
    yield from write(
        counters.added(totals),
        (events.APPEND, [EVENTS.row(event, "") for event in told]),
        (tallies.SAVE, [(key, tallies.encode(fact)) for key, fact in known.items()]),
        (outbox.OWE, outbox.rows(owed, now)),
    )
    yield from counters.clean(totals)
    return new
