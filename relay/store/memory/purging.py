"""What is too old goes: see `relay.store.sql.purging`."""

from __future__ import annotations

from relay.core import tally
from relay.store import Purged, PurgeMark, decisions
from relay.store.memory.tables import Tables


class Purging(Tables):
    async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged:
        """All at once: nobody waits for it."""
        if self._upto is not None:
            return Purged({}, None)
        self._purge_events(before)
        for message_id, message in list(self._messages.items()):
            if message.sent and message.sent.submitted_at < before:
                self._purge_message(message_id)
        self._requests = {key: known for key, known in self._requests.items() if known.at >= before}
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] >= before}
        self._notices = {key: notice for key, notice in self._notices.items() if notice.at >= before}
        drafts = [d.draft_id for d in self._drafts.values() if d.updated_at < before]
        later = [
            s.schedule_id for s in self._schedules.values() if s.closed_at < before and s.state not in decisions.OPEN
        ]
        for owner_id in (*drafts, *later):
            self._contents.pop(owner_id, None)
            self._drafts.pop(owner_id, None)
            self._schedules.pop(owner_id, None)
        return Purged({}, None)

    def _purge_events(self, before: float) -> None:
        old = {e.event_id for e in self._events if e.at < before}
        self._events = [e for e in self._events if e.event_id not in old]
        self._by_id = {key: found for key, found in self._by_id.items() if key not in old}
        self._notifications = {key: n for key, n in self._notifications.items() if n.event_id not in old}
        for message_id, message in list(self._messages.items()):
            message.events = [e for e in message.events if e.event_id not in old]
            if not message.events and not message.sent and not message.facts.erased:
                del self._messages[message_id]

    def _purge_message(self, message_id: str) -> None:
        message = self._messages[message_id]
        message.sent = None
        if not message.events and not message.facts.erased:
            del self._messages[message_id]
        self._seen.pop(message_id, None)
        self._kept.pop(message_id, None)
        self._answers = {key: a for key, a in self._answers.items() if a.message_id != message_id}
        for identifier, named in list(self._identifiers.items()):
            named.discard(message_id)
            if not named:
                del self._identifiers[identifier]

    async def cut_addresses(self, mark: PurgeMark, since: float, before: float, most: int) -> Purged:
        for message in self._messages.values():
            if message.sent and since <= message.sent.submitted_at < before:
                message.sent = message.sent.with_(submitter_ip="")
            for event in list(message.events):
                if since <= event.at < before and event.type in tally.HITS:
                    new = event.with_(ip="", user_agent="")
                    self._by_id[event.event_id] = new, self._by_id[event.event_id][1]
                    for listed in (self._events, message.events):
                        listed[listed.index(event)] = new
        return Purged({}, None)

    async def oldest(self) -> float | None:
        return min((m.sent.submitted_at for m in self._messages.values() if m.sent), default=None)
