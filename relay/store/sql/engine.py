"""The store over a SQL database, put together.

Owns: which values are written many at once. Leaves to others: the parts (`mail`, `webhooks`, `calls`, `privacy`), the programs (one
module per subject), running them (the engines).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from relay.core import floods
from relay.core.model import Event
from relay.core.nodes import Node, Roll
from relay.store import Cursor
from relay.store.sql import appending, copying, cursors, messages, nodes, outbox
from relay.store.sql.calls import Calls
from relay.store.sql.mail import Mail
from relay.store.sql.operations import Bulk
from relay.store.sql.privacy import Privacy
from relay.store.sql.program import Program, Row
from relay.store.sql.webhooks import Webhooks

PROBE = "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at"


def probe(now: float) -> Program[None]:
    yield PROBE, (now,)


class Engine(Mail, Webhooks, Calls, Privacy):
    """What `relay.store.contract.Store` says of messages, events and all else that programs do."""

    def bulk(self) -> dict[type, Bulk]:
        """In the order in which they are written in one transaction."""
        return {
            messages.Record: Bulk(messages.record, messages.Record.mended),
            messages.Replies: Bulk(messages.record_replies, messages.mended, awaited=False),
            appending.Hit: Bulk(self._hits, appending.mended),
            appending.Hits: Bulk(self._all_hits, appending.mended_all),
            outbox.Settle: Bulk(outbox.settle, outbox.mended),
        }

    def _hits(self, batch: Sequence[appending.Hit]) -> Program[list[Event | floods.Folded | None]]:
        return appending.append(batch, self._appending())

    def _all_hits(self, batch: Sequence[appending.Hits]) -> Program[list[list[Event | floods.Folded | None]]]:
        return appending.append_all(batch, self._appending())

    def _appending(self) -> appending.How:
        return appending.How(self._asking, self._clock(), self._limits, self._crowd, self._digest)

    def adding(self, table: copying.Copied, rows: Sequence[Row]) -> Program[None]:
        """Rows of another store, as they stand there."""
        return copying.add(table, rows)

    async def check(self) -> None:
        await self.write(probe, self._clock())

    # -- cursors of mailboxes ------------------------------------------------------------------------------------------

    async def cursor(self, mailbox: str) -> Cursor | None:
        return await self.read(cursors.one, mailbox)

    async def save_cursor(self, cursor: Cursor) -> None:
        await self.write(cursors.save, [cursor])

    async def take_leases(self, mailboxes: Collection[str], holder: str, seconds: float) -> frozenset[str]:
        return await self.write(nodes.take, mailboxes, holder, seconds, self._clock())

    async def release_leases(self, holder: str) -> None:
        await self.write(nodes.release, holder)

    # -- nodes ---------------------------------------------------------------------------------------------------------

    async def beat(self, node: Node) -> Roll:
        return await self.write(nodes.beat, node, self._clock())

    async def leave(self, node: Node) -> None:
        await self.write(nodes.leave, node, self._clock())

    async def remove_node(self, name: str) -> tuple[Node, ...]:
        return await self.write(nodes.remove, name, self._clock())

    async def nodes(self) -> Roll:
        return await self.read(nodes.listed, self._clock())
