"""Who of a message's recipients is not to be tracked, or not to be written to.

Owns: what may be said of a recipient before the message is there; asking the store for that, once for all who ask while it
answers; the digests that `outbound` asks with, as it records a message. Leaves to others: what an entry comes to (`core.suppressions`), keeping them (`store`), doing it (`outbound`,
`smtp`, `milter`).

Nothing is remembered from one question to the next: an entry that any process wrote holds for the next message. Under load the
questions of many messages are one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from relay import config, log, metrics, patience, store
from relay.core import addresses, suppressions
from relay.core.model import Keys, Reply
from relay.core.suppressions import Ground, Suppression

LOG = log.room("suppressions")

SECONDS = 1.0  # that a message waits for it
NOBODY: Mapping[str, Sequence[Suppression]] = {}


class Entries(Protocol):
    """What is asked of a store here."""

    async def suppressed(self, digests: Collection[str]) -> list[Suppression]: ...


class Lookup:
    """`keys` gives the keys that digests are made with."""

    def __init__(self, entries: Entries, keys: Callable[[], Keys]) -> None:
        self._entries, self._keys = entries, keys
        self._patience = patience.Patience(SECONDS)
        self._next: tuple[set[str], asyncio.Future[list[Suppression]]] | None = None
        self._asking: asyncio.Task[None] | None = None

    async def of(self, recipients: Iterable[str]) -> Mapping[str, Sequence[Suppression]]:
        """The entries of those of them that have some. Raises `store.Unavailable`, and TimeoutError after SECONDS."""
        wanted = self.digests(recipients)
        if self._next is None:
            self._next = set(), asyncio.get_running_loop().create_future()
        digests, answer = self._next
        digests.update(wanted.values())
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        with self._patience.wait():
            found = await asyncio.shield(answer)
        return by_address(wanted, found)

    def digests(self, recipients: Iterable[str]) -> dict[str, str]:
        """By address."""
        keys = self._keys()
        return {address: suppressions.digest(address, keys) for address in recipients}

    async def _ask(self) -> None:
        while self._next is not None:
            (digests, answer), self._next = self._next, None
            try:
                found = await self._entries.suppressed(digests)
            except Exception as reason:  # it is for those who asked
                answer.set_exception(reason)
                answer.exception()  # they may have gone meanwhile
            else:
                answer.set_result(found)


def by_address(digests: Mapping[str, str], found: Iterable[Suppression]) -> Mapping[str, Sequence[Suppression]]:
    """The entries that were found, for each address that has some."""
    by: dict[str, list[Suppression]] = {}
    for one in found:
        by.setdefault(one.digest, []).append(one)
    return {address: by[digest] for address, digest in digests.items() if digest in by} if by else NOBODY


def refusal(ground: Ground | None) -> Reply:
    """What a sender hears of a recipient who is not written to."""
    return Reply(550, f"5.7.1 This recipient is suppressed: {suppressions.SENTENCES[ground or 'manual']}")


class AtOnce:
    """What can be said of a recipient before its message is there: whether it is refused whatever From says."""

    def __init__(self, settings: config.Settings, lookup: Lookup) -> None:
        self._settings, self._lookup = settings, lookup
        tracking = (settings.tracking, *(rule.tracking for rule in settings.rules))
        self.asks = any(options.suppress == "reject" for options in tracking)

    def is_set(self, recipient: str) -> bool:
        """Whether "reject" is in force for it, whoever is the author."""
        for rule in self._settings.rules:
            if not addresses.matches(recipient, (rule.recipient,)):
                continue
            if rule.tracking.suppress != "reject":
                return False
            if rule.sender == "*":
                return True
        return self._settings.tracking.suppress == "reject"

    async def refusal(self, reverse_path: str, recipient: str) -> Reply | None:
        """None also where nobody knows yet, or where the list can't be asked: mail goes first. A bounce has no sender who could be told."""
        if not (self.asks and reverse_path and self.is_set(recipient)):
            return None
        try:
            found = (await self._lookup.of((recipient,))).get(recipient, ())
        except (store.Unavailable, TimeoutError) as reason:
            metrics.FAILED_OPEN.labels("suppress").inc()
            LOG.warning("suppress_not_asked", reason=str(reason) or "the store is slow")
            return None
        # An entry that is for one grant holds where there is no other.
        grants = {grant.id for grant in self._settings.grants} | {"default"}
        only = "default" if grants == {"default"} else ""
        effect, ground = suppressions.effect("reject", found, only)
        return refusal(ground) if effect == "reject" else None
