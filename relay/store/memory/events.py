"""Events, each with what it changes elsewhere, and the cursors of mailboxes that go with them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from relay.core import counts, floods, suppressions, tally
from relay.core.model import Endpoint, Event, History, Sent, Verdict
from relay.store import Cursor, decisions
from relay.store.lists import Answer
from relay.store.memory.counts import Counts
from relay.store.memory.lists import Lists
from relay.store.memory.nodes import Nodes
from relay.store.memory.outbox import Outbox


class Events(Counts, Lists, Outbox, Nodes):
    async def append(
        self, event: Event, cursor: Cursor | None = None, answer: Answer | None = None
    ) -> Event | floods.Folded | None:
        if cursor is not None:
            await self.save_cursor(cursor)
        known = event.event_id in self._by_id, self._heeding(origin(self._sent(event.message_id), event))
        facts = {event.message_id: self._messages[event.message_id].facts}
        now = self._clock()
        live = self._live()
        done = decisions.append([event], [known], facts, self._position, live, now, self._limits, self._crowd)
        for made, link_counts in zip(done.events, done.link_counts, strict=True):
            self._position = made.position
            self._events.append(made)
            self._by_id[made.event_id] = made, link_counts
            message = self._messages[made.message_id]
            message.events.append(made)
            if message.sent and self._counted(made.message_id):
                own = self._seen[made.message_id].setdefault(made.recipient_index, counts.unseen())
                counts.happened(self._counts, counts.about(message.sent), own, made)
        for owed in done.owed:
            self._owe(owed, now)
        if done.changes:
            self._correct(done.changes, live, now)
        if answer and done.events:
            self._keep(answer)
        return done.results[0]

    async def append_all(self, events: Sequence[Event]) -> list[Event | floods.Folded | None]:
        return [await self.append(event) for event in events]

    def heed_refusals(self, digest: Callable[[str], str]) -> None:
        self._digest = digest

    def _heeding(self, of: tally.Origin) -> tally.Origin:
        if self._digest is None or not of.recipient:
            return of
        digest = self._digest(of.recipient)
        own = [one for one in self._suppressions.values() if one.digest == digest]
        return of.with_(refused=suppressions.refused(own, of.grant_id))

    async def correct(self, event_id: str, verdict: Verdict, reason: str) -> Event | None:
        now = self._clock()
        found = self._correct({event_id: decisions.Correction(verdict, reason, now)}, self._live(), now)
        return found[0] if found else self._by_id.get(event_id, (None,))[0]

    def _correct(
        self, corrections: Mapping[str, decisions.Correction], live: Sequence[Endpoint], now: float
    ) -> list[Event]:
        made = []
        for event_id, (verdict, reason, at) in corrections.items():
            if event_id not in self._by_id:
                continue
            old, link_counts = self._by_id[event_id]
            if old.verdict == verdict:  # something else was quicker
                continue
            new = tally.corrected(old, verdict, reason, at)
            message = self._messages[old.message_id]
            self._count(old.message_id, -1)
            self._by_id[event_id] = new, link_counts
            for listed in (self._events, message.events):
                listed[listed.index(old)] = new
            self._count(old.message_id)
            self._position += 1
            told = tally.changed(old, new, at, message.facts, self._position)
            self._events.append(told)
            message.events.append(told)
            self._by_id[told.event_id] = told, {}
            more, less = decisions.reconsidered(live, old, new, message.facts.turns, now)
            for endpoint_id, trigger in less:
                self._cancel(new, endpoint_id, trigger)
            for owed in (*more, *decisions.owed(live, [told], {old.message_id: message.facts}, now)):
                self._owe(owed, now)
            made.append(new)
        return made

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        for message_id, own in floods.of_messages(folds).items():
            if message_id in self._messages and self._messages[message_id].events:
                tally.fold(self._messages[message_id].facts, own, by, number)

    async def events(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        newest: bool = False,
        message_id: str = "",
        types: Sequence[str] = (),
    ) -> list[Event]:
        found = [
            e
            for e in self._events[bisect_right(self._events, after, key=lambda e: e.position) :]
            if message_id in ("", e.message_id) and (not types or e.type in types)
        ]
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def history(self, event_id: str) -> History | None:
        if event_id not in self._by_id:
            return None
        event, counts = self._by_id[event_id]
        message = self._messages[event.message_id]
        counted = [e for e in message.events if e.counted and e.type == event.type and e.position <= event.position]
        first_at = next((e.at for e in counted if e.recipient_index == event.recipient_index), 0.0)
        return History(
            event,
            message.sent,
            tuple(counted[-decisions.RECENTS :]),
            decisions.link_counts(message.sent, event, counts),
            first_at,
            self._replies(event, message.sent) if event.type == "thread.replied" else 0,
        )

    def _replies(self, event: Event, sent: Sent | None) -> int:
        """How many counted answers the thread has, up to this one."""
        thread = (sent.thread_id, sent.grant_id) if sent else None
        return sum(
            (of is not None and (of.thread_id, of.grant_id) == thread) or other.message_id == event.message_id
            for other in self._events
            if other.type == event.type and other.counted and other.position <= event.position
            for of in (self._sent(other.message_id),)
        )

    async def cursor(self, mailbox: str) -> Cursor | None:
        return self._cursors.get(mailbox)

    async def save_cursor(self, cursor: Cursor) -> None:
        if self._may_move(cursor.mailbox, cursor.holder):
            self._cursors[cursor.mailbox] = replace(cursor, holder="")


def origin(sent: Sent | None, event: Event) -> tally.Origin:
    if sent is None:
        return tally.UNKNOWN
    having = [c.recipient for c in sent.copies if c.index == event.recipient_index]
    sole = having[0] if len(having) == 1 else ""
    return tally.Origin(sent.grant_id, sent.submitted_at, sent.submitter_ip, sole, len(having) or 1, len(sent.links))
