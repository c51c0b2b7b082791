"""The recipients who are on the list, and those who asked for an erasure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from relay.core.suppressions import Erasure, Suppression
from relay.store.lists import Suppressions, suppression_key
from relay.store.memory.tables import Tables


class SuppressedRecipients(Tables):
    async def suppress(self, those: Sequence[Suppression]) -> int:
        before = len(self._suppressions)
        for one in those:
            self._suppressions.setdefault((one.digest, one.grant_id, one.reason), one)
        return len(self._suppressions) - before

    async def suppressed(self, digests: Collection[str]) -> list[Suppression]:
        return [one for one in self._suppressions.values() if one.digest in digests]

    async def list_suppressions(self, asked: Suppressions, limit: int) -> list[Suppression]:
        found = [one for one in self._suppressions.values() if asked.fits(one)]
        return sorted(found, key=suppression_key, reverse=True)[:limit]

    async def unsuppress(self, those: Sequence[tuple[str, str, str]]) -> int:
        return sum(self._suppressions.pop(key, None) is not None for key in those)

    async def forget_suppressed(self, digests: Collection[str]) -> int:
        found = {key: one for key, one in self._suppressions.items() if one.digest in digests}
        self._suppressions |= {key: one.with_(recipient="", note="") for key, one in found.items()}
        return len(found)

    async def ask_erasure(self, erasure: Erasure) -> bool:
        return self._erasures.setdefault(erasure.digest, erasure) is erasure

    async def erasures(self, limit: int = 100, after: tuple[float, str] = (0.0, "")) -> list[Erasure]:
        behind = [one for one in self._erasures.values() if (one.at, one.digest) > after]
        return sorted(behind, key=lambda one: (one.at, one.digest))[:limit]

    async def settle_erasure(self, digest: str) -> bool:
        return self._erasures.pop(digest, None) is not None
