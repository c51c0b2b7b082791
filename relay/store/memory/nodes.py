"""Who shares the store, and who watches which mailbox."""

from __future__ import annotations

from collections.abc import Collection

from relay.core.nodes import Node, Roll
from relay.store import decisions
from relay.store.memory.tables import Tables


class Nodes(Tables):
    async def nodes(self) -> Roll:
        return Roll(self._clock(), tuple(node for _, node in sorted(self._nodes.items())))

    async def beat(self, node: Node) -> Roll:
        roll = decisions.called(await self.nodes(), node)
        self._nodes = {(one.name, one.roles): one for one in roll.nodes}
        return roll

    async def leave(self, node: Node) -> None:
        match decisions.left(await self.nodes(), node):
            case None:
                return
            case Node(queue=0):
                del self._nodes[node.name, node.roles]
            case left:
                self._nodes[node.name, node.roles] = left

    async def remove_node(self, name: str) -> tuple[Node, ...]:
        before = await self.nodes()
        removed = decisions.removable(before, name)
        for one in removed:
            del self._nodes[one.name, one.roles]
        if decisions.nothing_left(before, removed):
            self._schedules |= {
                key: one.with_(holder="")
                for key, one in self._schedules.items()
                if one.holder == name and not one.closed_at
            }
        return removed

    async def take_leases(self, mailboxes: Collection[str], holder: str, seconds: float) -> frozenset[str]:
        now = self._clock()
        others = {
            mailbox
            for mailbox in mailboxes
            if mailbox in self._leases and decisions.leased_to_another(*self._leases[mailbox], holder, now, seconds)
        }
        held = frozenset(mailboxes) - others
        self._leases |= {mailbox: (holder, now + seconds) for mailbox in held}
        return held

    async def release_leases(self, holder: str) -> None:
        self._leases = {mailbox: lease for mailbox, lease in self._leases.items() if lease[0] != holder}

    def _may_move(self, mailbox: str, holder: str) -> bool:
        return mailbox not in self._leases or self._leases[mailbox][0] == holder
