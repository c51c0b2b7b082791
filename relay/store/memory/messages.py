"""Messages and what the upstream said of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from relay.core.model import Sent
from relay.core.suppressions import Suppression
from relay.store import UpstreamReply, decisions
from relay.store.lists import Answer
from relay.store.memory.counts import Counts


class Messages(Counts):
    async def record_sent(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]:
        if listed := [one for one in self._suppressions.values() if one.digest in unless]:
            return listed
        earlier = self._find(sent.references)
        answer = None if earlier else self._find_answer(sent.references, sent.grant_id)
        known = earlier or answer
        thread_id = sent.thread_id or (known.thread_id if known else sent.message_id)
        if (before := self._sent(sent.message_id)) is not None:
            sent = decisions.again(sent, before)
        self._count(sent.message_id, -1)
        self._messages[sent.message_id].sent = sent.with_(thread_id=thread_id)
        self._count(sent.message_id)
        for identifier in decisions.names(sent):
            self._identifiers[identifier].add(sent.message_id)
        return ()

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        for reply in decisions.last_replies(replies):
            if (sent := self._sent(reply.message_id)) is None:
                continue
            copies = [
                c.with_(state=reply.state, reply=reply.reply, upstream_id=reply.upstream_id or c.upstream_id)
                if c.recipient == reply.recipient
                else c
                for c in sent.copies
            ]
            self._count(reply.message_id, -1)
            self._messages[reply.message_id].sent = sent.with_(copies=tuple(copies))
            self._count(reply.message_id)
        for named in replies:
            if named.upstream_id and self._sent(named.message_id):
                self._identifiers[named.upstream_id].add(named.message_id)

    async def sent(self, message_id: str) -> Sent | None:
        return self._sent(message_id)

    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None:
        return self._find(internet_ids, grant_id, recipients)

    def _find(self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()) -> Sent | None:
        for identifier in internet_ids:
            names = [name for name in decisions.spellings(identifier) if name in self._identifiers]
            named = [self._sent(key) for key in set().union(*(self._identifiers[name] for name in names))]
            if found := [sent for sent in named if sent and grant_id in ("", sent.grant_id)]:
                found = sorted(found, key=lambda sent: sent.message_id, reverse=True)[: decisions.MAX_NAMESAKES]
                meant = (s for s in found if any(c.recipient.lower() in recipients for c in s.copies))
                return next(meant, found[0])
        return None

    async def find_answer(self, internet_ids: Sequence[str], grant_id: str) -> Answer | None:
        return self._find_answer(internet_ids, grant_id)

    def _find_answer(self, internet_ids: Sequence[str], grant_id: str) -> Answer | None:
        for identifier in filter(None, internet_ids):
            named = [a for a in self._answers.values() if (a.internet_message_id, a.grant_id) == (identifier, grant_id)]
            if named:
                return min(named, key=lambda answer: answer.answer_id)
        return None

    async def thread_root(self, thread_id: str, grant_id: str) -> Sent | None:
        own = (
            m.sent
            for m in self._messages.values()
            if m.sent and (m.sent.thread_id, m.sent.grant_id) == (thread_id, grant_id)
        )
        told = (sent for sent in own if sent.thread_replies and any(c.thread_replies for c in sent.copies))
        return min(told, key=lambda sent: (sent.submitted_at, sent.message_id), default=None)

    async def find_queued(self, queue_id: str) -> Sent | None:
        known = [m.sent for m in self._messages.values() if m.sent and queue_id and m.sent.queue_id == queue_id]
        return max(known, key=lambda sent: sent.message_id, default=None)

    async def recent_sent(self, limit: int = 50, before: float | None = None, *, grant_id: str = "") -> list[Sent]:
        known = [m.sent for m in self._messages.values() if m.sent and grant_id in ("", m.sent.grant_id)]
        found = [sent for sent in known if before is None or sent.submitted_at < before]
        return sorted(found, key=lambda s: (s.submitted_at, s.message_id), reverse=True)[:limit]

    async def remove_message(self, message_id: str) -> bool:
        self._count(message_id, -1)
        message = self._messages.pop(message_id, None)
        self._kept.pop(message_id, None)
        for identifier, named in list(self._identifiers.items()):
            named.discard(message_id)
            if not named:
                del self._identifiers[identifier]
        self._events = [e for e in self._events if e.message_id != message_id]
        self._by_id = {key: found for key, found in self._by_id.items() if found[0].message_id != message_id}
        self._notifications = {key: n for key, n in self._notifications.items() if n.message_id != message_id}
        self._answers = {key: a for key, a in self._answers.items() if a.message_id != message_id}
        return message is not None
