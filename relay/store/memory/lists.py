"""Messages, threads, events and answers, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from relay.core.model import Event, Sent
from relay.store import lists
from relay.store.lists import Answer, Listed, Thread
from relay.store.memory.tables import Tables

T = TypeVar("T")


def page(found: Sequence[T], limit: int, key: Callable[[T], tuple[float, object]]) -> Listed[T]:
    some = found[:limit]
    return Listed(some, key(some[-1]) if some and len(found) > limit else None)


def place(keys: Sequence[tuple[float, object]], offset: int) -> lists.Place:
    return lists.Place(len(keys), keys[offset - 1] if 0 < offset <= len(keys) else None)


class Lists(Tables):
    async def list_messages(self, asked: lists.Messages, limit: int) -> Listed[Sent]:
        first = asked.before or (lists.ENDLESS, "")
        found = [
            m.sent
            for m in self._messages.values()
            if m.sent
            and (m.sent.submitted_at, m.sent.message_id) < first
            and lists.meets(m.sent, asked)
            and lists.copies_meet(m.sent, asked)
        ]
        found.sort(key=lambda s: (s.submitted_at, s.message_id), reverse=True)
        return page(found, limit, lambda s: (s.submitted_at, s.message_id))

    async def list_threads(self, asked: lists.Threads, limit: int) -> Listed[Thread]:
        own = [m.sent for m in self._messages.values() if m.sent and m.sent.grant_id == asked.grant_id]
        moves = [(s.thread_id, (s.submitted_at, s.message_id)) for s in own]
        moves += [(a.thread_id, (a.at, a.answer_id)) for a in self._answers.values() if a.grant_id == asked.grant_id]
        last: dict[str, lists.Key] = {}
        for thread_id, key in moves:
            if key[0] < asked.seen:
                last[thread_id] = max(key, last.get(thread_id, key))
        first = min(asked.before or (lists.ENDLESS, ""), (asked.until, ""))
        order = sorted(((key, i) for i, key in last.items() if key < first and key[0] >= asked.since), reverse=True)
        found = []
        for key, thread_id in order:
            thread = self._thread(thread_id, asked.grant_id)
            sent = thread.messages if thread else ()
            if thread and any(lists.meets(s, asked.messages) and lists.copies_meet(s, asked.messages) for s in sent):
                found.append((key, thread))
        some = page(found, limit, lambda pair: pair[0])
        return Listed([thread for _, thread in some.items], some.after)

    async def list_events(self, asked: lists.Events, limit: int) -> Listed[Event]:
        own = (m.sent for m in self._messages.values() if m.sent and asked.thread_id == m.sent.thread_id)
        of_thread = frozenset(s.message_id for s in own) if asked.thread_id else None
        found = [e for e in self._events if lists.event_meets(e, asked, of_thread, self._sent(e.message_id))]
        found.sort(key=lambda e: (e.at, e.position), reverse=True)
        return page(found, limit, lambda e: (e.at, e.position))

    async def place_of_messages(self, grant_id: str, before: lists.Key | None, offset: int, most: int) -> lists.Place:
        found = await self.list_messages(lists.Messages(grant_id=grant_id, before=before), most)
        return place([(sent.submitted_at, sent.message_id) for sent in found.items], offset)

    async def place_of_events(self, asked: lists.Events, offset: int, most: int) -> lists.Place:
        found = await self.list_events(asked, most)
        return place([(event.at, event.position) for event in found.items], offset)

    async def thread(self, thread_id: str, grant_id: str) -> Thread | None:
        return self._thread(thread_id, grant_id)

    def _thread(self, thread_id: str, grant_id: str) -> Thread | None:
        own = [m.sent for m in self._messages.values() if m.sent]
        sent = sorted(
            (s for s in own if (s.thread_id, s.grant_id) == (thread_id, grant_id)),
            key=lambda s: (s.submitted_at, s.message_id),
        )
        answers = sorted(
            (a for a in self._answers.values() if (a.thread_id, a.grant_id) == (thread_id, grant_id)),
            key=lambda a: (a.at, a.answer_id),
        )
        if not sent:
            return None
        at = max(sent[-1].submitted_at, answers[-1].at if answers else 0.0)
        return Thread(thread_id, at, tuple(sent[-lists.MAX_THREAD :]), tuple(answers[-lists.MAX_THREAD :]))

    async def answer(self, answer_id: str, grant_id: str = "") -> Answer | None:
        own = (a for a in self._answers.values() if a.answer_id == answer_id and grant_id in ("", a.grant_id))
        return min(own, key=lambda a: a.grant_id, default=None)

    def _keep(self, answer: Answer) -> None:
        if sum(a.message_id == answer.message_id for a in self._answers.values()) < lists.MAX_ANSWERS:
            self._answers.setdefault((answer.answer_id, answer.grant_id), answer)
