"""What is told of a grant's credentials: that a mailbox or an upstream refuses them, and that it takes them again.

Owns: that each change is one event, whichever processes see it and however often it is seen. Leaves to others: logging
in, and what a refusal for good is (`mailbox`, `upstream`); which event follows which (`core.credentials`).

For the room that logs in: `Credentials(store, appended=…)` once per process; then at each login
`await credentials.refused(grant_id, "mailbox", reason)` where it was refused for good, `await
credentials.accepted(grant_id, "mailbox")` where it succeeded. Both are cheap where nothing changed, and raise
`store.Unavailable` where the store takes nothing: the next login tells it then. For an upstream's login, call them with
"upstream" for each of `upstream.choice.grants(settings, name)`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from relay import log
from relay.core import credentials, floods
from relay.core.credentials import Access
from relay.core.model import Event
from relay.store import Unavailable

LOG = log.room("credentials")


class Records(Protocol):
    """What is asked of a store here."""

    async def events(self, *, limit: int, newest: bool, message_id: str, types: Sequence[str]) -> list[Event]: ...
    def append(self, event: Event) -> Awaitable[Event | floods.Folded | None]: ...


class Credentials:
    """`appended` is called when an event was stored."""

    def __init__(
        self, records: Records, *, appended: Callable[[], None] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._records, self._appended, self._clock = records, appended, clock
        self._work: dict[tuple[str, Access], bool] = {}  # as they were seen here last

    async def refused(self, grant_id: str, access: Access, reason: str) -> None:
        """A server refused them for good. `reason` is what the operator is told; it holds no secret."""
        if self._work.get((grant_id, access)) is False:
            return
        last = await self._last(grant_id, access)
        await self._tell(credentials.refused(grant_id, access, reason, self._clock(), last))
        self._work[grant_id, access] = False

    async def accepted(self, grant_id: str, access: Access) -> None:
        """A server took them."""
        if self._work.get((grant_id, access)):
            return
        last = await self._last(grant_id, access)
        await self._tell(credentials.accepted(grant_id, access, self._clock(), last))
        self._work[grant_id, access] = True

    async def _last(self, grant_id: str, access: Access) -> Event | None:
        found = await self._records.events(
            limit=1, newest=True, message_id=credentials.name(grant_id, access), types=credentials.KINDS
        )
        return found[-1] if found else None

    async def _tell(self, event: Event | None) -> None:
        if event is None or await self._records.append(event) is None:
            return
        LOG.warning(event.type.replace(".", "_"), grant=event.grant_id, reason=event.reason or None, **event.data)
        if self._appended is not None:
            self._appended()


class OfUpstreams:
    """Tells of the upstreams' logins, beside the mail, which does not wait for it. `grants` gives those whose mail an
    upstream carries."""

    def __init__(self, credentials_: Credentials, grants: Callable[[str], Sequence[str]]) -> None:
        self._credentials, self._grants = credentials_, grants
        self._last: dict[str, str] = {}  # upstream -> what its login came to last
        self._telling: dict[str, asyncio.Task[None]] = {}

    def told(self, upstream: str, refusal: str) -> None:
        """A login ended: `refusal` is "", or why it was refused for good."""
        self._last[upstream] = refusal
        if upstream not in self._telling:
            task = self._telling[upstream] = asyncio.create_task(self._tell(upstream))
            task.add_done_callback(lambda _: self._telling.pop(upstream))

    async def _tell(self, upstream: str) -> None:
        refusal = None
        while refusal != self._last[upstream]:
            refusal = self._last[upstream]
            try:
                for grant_id in self._grants(upstream):
                    if refusal:
                        await self._credentials.refused(grant_id, "upstream", refusal)
                    else:
                        await self._credentials.accepted(grant_id, "upstream")
            except Unavailable as reason:  # the next login tells it
                LOG.debug("credentials_not_told", upstream=upstream, reason=reason)
