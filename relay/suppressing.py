"""Events that put a recipient on the list: a refusal, a verified hard bounce, a verified complaint.

Owns: that the entry is durable before its event is, so that none is lost with a crash between, and what comes again does no
harm. Leaves to others: which events do (`core.suppressions`), the list (`store`), what an entry comes to (`outbound`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from relay import log, metrics
from relay.core import floods, suppressions
from relay.core.model import Event, Keys, Sent, SentCopy
from relay.core.suppressions import Erasure, Suppression

LOG = log.room("suppressions")

ADDRESS = "address"  # data["address"]: what somebody says is theirs, where several share a copy; it is not kept
Heard = Callable[[Event], Awaitable[Event | None]]


class Records(Protocol):
    """What is asked of a store here."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def suppress(self, those: Sequence[Suppression]) -> int: ...
    async def ask_erasure(self, erasure: Erasure) -> bool: ...
    def append(self, event: Event) -> Awaitable[Event | floods.Folded | None]: ...

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None: ...


async def unheard(event: Event) -> Event | None:
    """Where nobody keeps a list."""
    return event


class Suppressing:
    """Stands before a store where such events may come; `keys` gives the keys that digests are made with, None where there
    are none yet: then nobody is put on a list."""

    def __init__(self, records: Records, keys: Callable[[], Keys | None]) -> None:
        self._records, self._keys = records, keys

    async def append(self, event: Event) -> Event | floods.Folded | None:
        """As the store's. None also where it is a wish, and nobody can say whose."""
        heard = await self.heard(event)
        return None if heard is None else await self._records.append(heard)

    async def fold(self, folds: Sequence[floods.Fold], by: str, number: int) -> None:
        await self._records.fold(folds, by, number)

    async def heard(self, event: Event) -> Event | None:
        """The event as it is to be stored; what it puts on the list is there. None for a wish of nobody. Raises
        `store.Unavailable`."""
        ground = suppressions.ground(event)
        keys = self._keys() if ground else None
        if ground is None or keys is None:
            return event
        wish = event.type in suppressions.WISHES
        sent = await self._records.sent(event.message_id)
        copy, own = whose(event, sent) if wish else ((of(event, sent), False))
        if sent is None or copy is None:
            return None if wish else event
        entry = Suppression(
            suppressions.digest(copy.recipient, keys),
            # One's own word is for all mail. What a mailbox saw is for that of its grant, and so is the word of
            # somebody who only says who they are.
            "" if own else sent.grant_id,
            ground,
            copy.recipient,
            event.at,
            "page" if wish else "mailbox",
            event.event_id,
        )
        if await self._records.suppress([entry]):
            metrics.SUPPRESSED.labels(ground).inc()
            LOG.info("suppressed", reason=ground, message_id=event.message_id, grant=entry.grant_id or None)
        if event.type == "message.erasure_requested" and await self._records.ask_erasure(
            Erasure(entry.digest, copy.recipient, event.at, event.message_id)
        ):
            LOG.warning("erasure_requested", message_id=event.message_id, digest=entry.digest)
        if not wish:
            return event
        data = {name: value for name, value in event.data.items() if name != ADDRESS}
        return event.with_(recipient=copy.recipient, data=data)


def of(event: Event, sent: Sent | None) -> SentCopy | None:
    """The copy that a report is about."""
    copies = sent.copies if sent else ()
    return next((copy for copy in copies if event.recipient and copy.recipient == event.recipient), None)


def whose(event: Event, sent: Sent | None) -> tuple[SentCopy | None, bool]:
    """Whose wish it is, and whether that is sure: the copy is one recipient's alone. Else it is that of those who share it who
    has the address that was given."""
    own = [copy for copy in sent.copies if copy.index == event.recipient_index] if sent else []
    if len(own) == 1:
        return own[0], True
    given = suppressions.mailbox(str(event.data.get(ADDRESS) or ""))
    return next((copy for copy in own if suppressions.mailbox(copy.recipient) == given), None), False
