"""Events appended, many at once.

Owns: the path of every hit, which is one question about a whole batch (`knowledge`), `decisions.append` in memory, and bulk
writes. Leaves to others: what a batch comes to (`decisions`), verdicts that change with it (`correcting`), the transaction
(the engines), columns (`tables`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from relay.core import counts, crowds, floods
from relay.core.model import Event, Value
from relay.store import Cursor, decisions, tables
from relay.store.lists import Answer
from relay.store.sql import answers, correcting, cursors, events, knowledge, outbox, tallies
from relay.store.sql import counts as counters
from relay.store.sql.program import Program, Row, Rows, write
from relay.store.tables import EVENTS


class Hit(Value, frozen=True, gc=False):
    """An event to append, and the mailbox cursor and the answer that go with it."""

    event: Event
    cursor: Cursor | None
    answer: Answer | None = None


class Hits(Value, frozen=True, gc=False):
    """Events to append, and nothing else."""

    events: Sequence[Event]


Result = Event | floods.Folded | None  # the event as it was completed; that it was folded; or it is there already


class How(NamedTuple):
    """What a store goes by, whatever it appends."""

    asking: knowledge.Asking
    now: float
    limits: floods.Limits
    crowd: crowds.Crowd | None = None
    digest: knowledge.Digest | None = None


def append(batch: Sequence[Hit], how: How) -> Program[list[Result]]:
    """Per hit what came of it."""
    results = yield from kept([hit.event for hit in batch], how)
    yield from answers.keep([hit.answer for hit, new in zip(batch, results, strict=True) if hit.answer and new])
    yield from cursors.save({hit.cursor.mailbox: hit.cursor for hit in batch if hit.cursor}.values())
    return results


def append_all(batch: Sequence[Hits], how: How) -> Program[list[list[Result]]]:
    """The same, of each of these."""
    results = iter((yield from kept([event for hits in batch for event in hits.events], how)))
    return [list(islice(results, len(hits.events))) for hits in batch]


def kept(came: Sequence[Event], how: How) -> Program[list[Result]]:
    """These events, in order."""
    if not came:
        return []
    now = how.now
    found = yield from knowledge.read(came, how.asking, how.digest)
    done = decisions.append(came, found.known, found.facts, found.position, found.endpoints, now, how.limits, how.crowd)
    link_counts = [tables.json(counts) if counts else "" for counts in done.link_counts]
    yield from write(
        (events.APPEND, list(map(EVENTS.row, done.events, link_counts))),
        (tallies.SAVE, [(key, tallies.encode(fact)) for key, fact in done.facts.items()]),
        *count(done.events, found),
        (outbox.OWE, outbox.rows(done.owed, now)),
    )
    if done.changes:
        position = done.events[-1].position if done.events else found.position
        yield from correcting.change(done.changes, done.facts, found.endpoints, position, now)
    return done.results


def count(made: Sequence[Event], found: knowledge.Found) -> list[tuple[Rows, Sequence[Row]]]:
    """What is written."""
    totals: counts.Totals = {}
    shared: counts.Shared = {}
    changed: dict[tuple[str, int], counts.Seen] = {}
    for event in made:
        key = (event.message_id, event.recipient_index)
        known = found.counted.get(key)
        if known is not None and counts.happened(totals, *known, event, shared):
            changed[key] = known[1]
    counts.spread(totals, shared)
    return [counters.added(totals), counters.seen(changed)]


def mended(hit: Hit) -> Hit:
    return Hit(decisions.mended(hit.event), hit.cursor, decisions.mended(hit.answer))


def mended_all(hits: Hits) -> Hits:
    return Hits(decisions.mended(hits.events))
