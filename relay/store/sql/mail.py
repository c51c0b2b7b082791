"""What a store over a SQL database does with mail: messages, what happened to them, and the lists and counters of both.

Owns: which program is whose. Leaves to others: the programs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence

from relay.core import floods
from relay.core.model import Event, History, Sent, Verdict
from relay.core.suppressions import Suppression
from relay.store import Aggregate, Cursor, Engagement, UpstreamReply, decisions
from relay.store.lists import Answer, Events, Key, Listed, Messages, Place, Thread, Threads
from relay.store.sql import answers, appending, correcting, counts, events, kept, knowledge, lists, messages, tallies
from relay.store.sql.program import Program
from relay.store.sql.running import Running


class Mail(Running):
    """See `relay.store.contract.Store`."""

    # -- messages ------------------------------------------------------------------------------------------------------

    async def record_sent(self, sent: Sent, unless: Collection[str] = ()) -> Sequence[Suppression]:
        listed: Sequence[Suppression] = await self._bulk(messages.Record(sent, unless))
        return listed

    async def record_replies(self, replies: Sequence[UpstreamReply]) -> None:
        await self._bulk(messages.Replies(tuple(replies)))

    async def sent(self, message_id: str) -> Sent | None:
        return await self.read(messages.one, message_id)

    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None:
        return await self.read(messages.find, internet_ids, grant_id, recipients)

    async def find_answer(self, internet_ids: Sequence[str], grant_id: str) -> Answer | None:
        return await self.read(answers.find, internet_ids, grant_id)

    async def thread_root(self, thread_id: str, grant_id: str) -> Sent | None:
        return await self.read(messages.root, thread_id, grant_id)

    async def find_queued(self, queue_id: str) -> Sent | None:
        return await self.read(messages.queued, decisions.mended(queue_id))

    async def recent_sent(self, limit: int = 50, before: float | None = None, *, grant_id: str = "") -> list[Sent]:
        return await self.read(messages.recent, limit, before, grant_id)

    async def remove_message(self, message_id: str) -> bool:
        return await self.write(messages.remove, message_id)

    # -- events --------------------------------------------------------------------------------------------------------

    def append(
        self, event: Event, cursor: Cursor | None = None, answer: Answer | None = None
    ) -> Awaitable[Event | floods.Folded | None]:
        return self._bulk(appending.Hit(event, cursor, answer))

    def append_all(self, events: Sequence[Event]) -> Awaitable[list[Event | floods.Folded | None]]:
        return self._bulk(appending.Hits(events), len(events))

    def heed_refusals(self, digest: knowledge.Digest) -> None:
        self._digest = digest

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        await self.write(tallies.fold, folds, by, number)

    async def events(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        newest: bool = False,
        message_id: str = "",
        types: Sequence[str] = (),
    ) -> list[Event]:
        return await self.read(events.listed, after, limit, newest, message_id, types)

    async def history(self, event_id: str) -> History | None:
        return await self.read(events.history, event_id)

    # -- counters ------------------------------------------------------------------------------------------------------

    async def correct(self, event_id: str, verdict: Verdict, reason: str) -> Event | None:
        return await self.write(self.correction, event_id, verdict, reason, self._clock())

    def correction(self, event_id: str, verdict: Verdict, reason: str, now: float) -> Program[Event | None]:
        return correcting.correct(event_id, verdict, reason, now, self._asking)

    async def aggregates(
        self,
        by: str,
        since: int,
        until: int,
        *,
        step: str = "day",
        offset: int = 0,
        grant_id: str = "",
        after: tuple[int, str] | None = None,
        limit: int = 1000,
    ) -> list[Aggregate]:
        return await self.read(counts.listed, by, since, until, step, offset, grant_id, after, limit)

    async def top_links(
        self, since: int, until: int, *, grant_id: str = "", limit: int = 20
    ) -> tuple[list[tuple[str, int, int]], int]:
        return await self.read(counts.top_links, since, until, grant_id, limit)

    async def engagements(self, message_ids: Sequence[str]) -> dict[str, Engagement]:
        return await self.read(counts.engagements, message_ids)

    async def begin_recount(self) -> None:
        await self.write(counts.begin)

    async def recount(self) -> int | None:
        return await self.write(messages.recount, self.step)

    async def counting(self) -> bool:
        return await self.read(counts.counting)

    # -- lists ---------------------------------------------------------------------------------------------------------

    async def list_messages(self, asked: Messages, limit: int) -> Listed[Sent]:
        return await self.read(lists.listed, asked, limit, self.walk)

    async def list_threads(self, asked: Threads, limit: int) -> Listed[Thread]:
        return await self.read(lists.threads, asked, limit, self.walk)

    async def list_events(self, asked: Events, limit: int) -> Listed[Event]:
        return await self.read(lists.events, asked, limit, self.walk)

    async def place_of_messages(self, grant_id: str, before: Key | None, offset: int, most: int) -> Place:
        return await self.read(lists.place_of_messages, grant_id, before, offset, most)

    async def place_of_events(self, asked: Events, offset: int, most: int) -> Place:
        return await self.read(lists.place_of_events, asked, offset, most)

    async def thread(self, thread_id: str, grant_id: str) -> Thread | None:
        return await self.read(lists.thread, thread_id, grant_id)

    async def answer(self, answer_id: str, grant_id: str = "") -> Answer | None:
        return await self.read(answers.one, answer_id, grant_id)

    # -- what messages said --------------------------------------------------------------------------------------------

    async def keep_message(self, message_id: str, at: float, octets: bytes, *, oldest: float, most: int) -> None:
        await self.write(kept.keep, message_id, at, octets, oldest, most)

    async def kept_message(self, message_id: str) -> bytes | None:
        return await self.read(kept.one, message_id)
