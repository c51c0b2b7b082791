"""This process among those that share its store: it says what it is, every few seconds, and hears of the others.

Owns: the heartbeat, what was heard last, that a trouble is logged once and counted while it lasts. Leaves to others: what is
a trouble (`core.nodes`), keeping what is said (`store`). No mail and no hit waits for any of this: while the store is away
nothing is heard, and nobody is called gone.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from relay import __version__, log, metrics, roles, store, webhooks
from relay.config import Settings
from relay.core import nodes
from relay.core.model import Keys
from relay.core.nodes import Node, Roll, Trouble

LOG = log.room("nodes")


class Records(Protocol):
    """What is asked of a store here."""

    async def beat(self, node: Node) -> Roll: ...
    async def leave(self, node: Node) -> None: ...


Spool = Callable[[], Awaitable[tuple[int, float]]]


async def no_spool() -> tuple[int, float]:
    return 0, 0.0


class Nodes:
    """`keys` are None for a process that has none. `spool` says how many messages are in it, and since when (0.0: none)."""

    def __init__(
        self,
        settings: Settings,
        only: frozenset[str],
        records: Records,
        *,
        keys: Callable[[], Keys] | None = None,
        every: float = nodes.EVERY,
        clock: Callable[[], float] = time.time,
        process: str = "",
    ) -> None:
        self._settings, self._records, self._keys, self._every, self._clock = settings, records, keys, every, clock
        self._signs = bool(only & {"smtp", "milter"}) or ("admin" in only and bool(settings.upstream.url))
        self._endpoints = {e.endpoint_id: nodes.likeness(e) for e in webhooks.configured(settings)}
        self.process = process or secrets.token_hex(8)
        self.spool: Spool = no_spool
        self._node = Node(
            name(settings), tuple(role for role in roles.ALL if role in only), self.process, __version__, clock()
        )
        self._roll: Roll | None = None
        self._since = 0.0  # by the store's clock: the others are heard ever since
        self._strangers = 0  # times in a row that another process had our place
        self._troubles: dict[tuple[nodes.Kind, str], Trouble] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.beat()
            except store.Unavailable as reason:  # said by the store itself
                LOG.debug("not_heard", reason=reason)
            await asyncio.sleep(self._every)

    async def beat(self) -> None:
        """Says it once. Raises `Unavailable`."""
        before = self._roll
        node, asked = await self._now(), self._clock()
        roll = self._roll = await self._records.beat(node)
        heard = self._clock()
        if before is None or roll.now - before.now > 3 * self._every:
            self._since = roll.now
        stranger = before is not None and roll.was is not None and roll.was.process != self.process
        self._strangers = self._strangers + 1 if stranger else 0
        # Once is a successor at a restart.
        troubles = nodes.troubles(roll, since=self._since, process=self.process if self._strangers > 1 else "")
        self._look([*troubles, *nodes.clock_apart(node, asked, heard, roll.now)])

    async def leave(self) -> None:
        """It stops."""
        try:
            await self._records.leave(await self._now())
        except store.Unavailable as reason:
            LOG.debug("not_heard", reason=reason)

    async def _now(self) -> Node:
        queue, oldest = await self.spool()
        keys = self._keys() if self._keys else None
        self._node = self._node.with_(
            queue=queue,
            oldest=oldest,
            keys=nodes.ring(keys) if keys else {},
            signs=keys.current if keys and self._signs else -1,
            endpoints=self._endpoints,
        )
        return self._node

    def _look(self, found: Iterable[Trouble]) -> None:
        now = {(trouble.kind, trouble.subject): trouble for trouble in found}
        for key, trouble in now.items():
            if key not in self._troubles:
                LOG.error("node_trouble", kind=trouble.kind, reason=trouble.sentence)
        for kind, subject in self._troubles.keys() - now.keys():
            LOG.info("node_trouble_over", kind=kind, subject=subject)
        self._troubles = now
        for kind in nodes.KINDS:
            metrics.NODE_TROUBLE.labels(kind).set(sum(trouble.kind == kind for trouble in now.values()))

    # -- what was heard last ---------------------------------------------------------------------------------------------

    @property
    def troubles(self) -> list[str]:
        return [trouble.sentence for trouble in self._troubles.values()]

    @property
    def shown(self) -> list[dict[str, Any]]:
        """All nodes, as /readyz and the commands show them; this one alone before anything was heard."""
        if self._roll is None:
            return described(Roll(self._clock(), (self._node.with_(at=self._clock()),)))
        return described(self._roll, self._since)


def name(settings: Settings) -> str:
    return settings.node or os.uname().nodename


def described(roll: Roll, since: float = 0.0) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "roles": list(node.roles),
            "state": nodes.state(node, roll.now, since),
            "version": node.version,
            "heard_seconds": round(max(0.0, roll.now - node.at), 1),
            "queue": node.queue,
            "oldest_seconds": round(max(0.0, roll.now - node.oldest)) if node.queue else 0,
            "keys": [int(key_id) for key_id in sorted(node.keys, key=int)],
            "signs": node.signs if node.signs >= 0 else None,
        }
        for node in roll.nodes
    ]


def line(node: Mapping[str, Any]) -> str:
    """One of `described` for people."""
    keys: Sequence[int] = node["keys"]
    parts = [f"{node['state']}, heard {nodes.age(node['heard_seconds'])} ago"]
    if node["queue"]:
        parts.append(f"{node['queue']} in the queue, the oldest for {nodes.age(node['oldest_seconds'])}")
    if keys:
        signs = "" if node["signs"] is None else f", signs with {node['signs']}"
        parts.append(f"key{'s' if len(keys) > 1 else ''} {', '.join(map(str, keys))}{signs}")
    return "\t".join((node["name"], ",".join(node["roles"]), node["version"], *parts))
