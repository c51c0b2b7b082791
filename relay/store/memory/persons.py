"""What stands of one person: see `relay.store.sql.persons`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from relay.core import tally
from relay.core.model import Event
from relay.core.persons import Person
from relay.store import Erased, PersonMark, PersonPage, PersonRow
from relay.store.memory.tables import Tables
from relay.store.sql import persons

T = TypeVar("T")


class Persons(Tables):
    async def messages_to(self, address: str, mark: tuple[float, str], limit: int) -> list[str]:
        found = sorted(
            (m.sent.submitted_at, m.sent.message_id)
            for m in self._messages.values()
            if m.sent and any(c.recipient.lower() == address.lower() for c in m.sent.copies)
        )
        return [name for at, name in found if (at, name) > mark][:limit]

    async def person_page(self, who: Person, mark: PersonMark) -> PersonPage:
        found = [
            PersonRow(table, key, row)
            for table, key, value in self._rows()
            for row in (msgspec.to_builtins(value),)
            if any(map(who.named, texts(row)))
        ]
        return PersonPage("", found, len(found), None)

    def _rows(self) -> Iterator[tuple[str, tuple[Any, ...], object]]:
        for name, message in list(self._messages.items()):
            if message.sent:
                yield "messages", (name,), message.sent
        for event in list(self._events):
            yield "events", (event.position,), event
        for answer_key, answer in list(self._answers.items()):
            yield "answers", answer_key, answer
        for draft_id, draft in list(self._drafts.items()):
            yield "drafts", (draft_id,), draft
        for request_key, request in list(self._requests.items()):
            yield "requests", (request_key,), request

    async def erase_person(self, who: Person, table: str, key: Collection[Any]) -> Erased:
        first, *_ = key
        match table:
            case "messages" | "copies":
                return self._erase_message(who, first)
            case "events":
                for event in [e for e in self._events if e.position == first]:
                    self._erase_events(who, event.message_id, [event], whole=False)
            case "answers":
                answer = self._answers[key]  # type: ignore[index]
                if who.same(answer.sender):
                    del self._answers[key]  # type: ignore[arg-type]
                else:
                    self._answers[key] = cleaned(who, answer)  # type: ignore[index]
            case "drafts":
                draft = self._drafts[first]
                people = [one for name in ("to", "cc", "bcc") for one in persons.listed(draft.fields.get(name))]
                if people and all(map(who.listed, people)):
                    del self._drafts[first]
                    self._contents.pop(first, None)
                else:
                    self._drafts[first] = cleaned(who, draft)
            case "requests":
                self._requests[first] = cleaned(who, self._requests[first])
        return Erased({table: 1})

    def _erase_message(self, who: Person, message_id: str) -> Erased:
        message = self._messages[message_id]
        sent = message.sent
        copies = sent.copies if sent else ()
        others = {c.index for c in copies if not who.same(c.recipient)}
        mine = [c for c in copies if who.same(c.recipient)]
        own = {c.index for c in mine} - others
        whole = bool(mine) and len(mine) == len(copies)
        tally.erase(message.facts, own)
        self._erase_events(who, message_id, list(message.events), whole=whole, own=own)
        if whole:
            message.sent = None
            self._seen.pop(message_id, None)
            self._kept.pop(message_id, None)
            self._answers = {key: a for key, a in self._answers.items() if a.message_id != message_id}
            for named in self._identifiers.values():
                named.discard(message_id)
        elif sent:
            clean = cleaned(who, sent)
            message.sent = clean.with_(
                copies=tuple(
                    copy.with_(recipient="", reply="") if copy in mine else new
                    for copy, new in zip(copies, clean.copies, strict=True)
                )
            )
        return Erased({"messages": 1})

    def _erase_events(
        self, who: Person, message_id: str, some: Collection[Event], *, whole: bool, own: Collection[int] = ()
    ) -> None:
        sent = self._sent(message_id)
        holders = {c.index for c in sent.copies if who.same(c.recipient)} if sent else set()
        holders -= {c.index for c in sent.copies if not who.same(c.recipient)} if sent else set()
        changed: dict[str, Event | None] = {}
        for event in some:
            its_copy = event.recipient_index in {*own, *holders}
            if whole or persons.is_own(who, event.recipient, event.type, event.data, its_copy):
                changed[event.event_id] = None
            else:
                changed[event.event_id] = cleaned(who, event)
        message = self._messages[message_id]
        self._events, message.events = [
            [new for e in listed if (new := changed.get(e.event_id, e)) is not None]
            for listed in (self._events, message.events)
        ]
        for event_id, new in changed.items():
            if new is None:
                del self._by_id[event_id]
            else:
                self._by_id[event_id] = new, self._by_id[event_id][1]
        gone = {event_id for event_id, new in changed.items() if new is None}
        self._notifications = {key: n for key, n in self._notifications.items() if n.event_id not in gone}

    async def erased_marks(self, message_ids: Collection[str]) -> dict[str, list[int]]:
        return {
            name: self._messages[name].facts.erased
            for name in message_ids
            if name in self._messages and self._messages[name].facts.erased
        }

    async def overwrite(self, who: Person) -> str:
        return ""


def cleaned(who: Person, value: T) -> T:
    return msgspec.convert(who.cleaned(msgspec.to_builtins(value)), type(value), strict=False)


def texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for one in value.values():
                yield from texts(one)
        case list() | tuple():
            for one in value:
                yield from texts(one)
