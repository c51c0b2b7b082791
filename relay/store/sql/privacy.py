"""What a store over a SQL database does for who is written to: suppressions, erasures, and what is too old.

Owns: which program is whose. Leaves to others: the programs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

from relay.core.persons import Person
from relay.core.suppressions import Erasure, Suppression
from relay.store import Erased, PersonMark, PersonPage, Purged, PurgeMark, decisions
from relay.store.lists import Suppressions
from relay.store.sql import persons, purging, suppressions
from relay.store.sql.running import Running


class Privacy(Running):
    """See `relay.store.contract.Store`."""

    # -- recipients who are not tracked, or not written to -------------------------------------------------------------

    async def suppress(self, those: Sequence[Suppression]) -> int:
        return await self.write(suppressions.add, [decisions.mended(one) for one in those])

    async def suppressed(self, digests: Collection[str]) -> list[Suppression]:
        return await self.read(suppressions.of, digests)

    async def list_suppressions(self, asked: Suppressions, limit: int) -> list[Suppression]:
        return await self.read(suppressions.listed, asked, limit)

    async def unsuppress(self, those: Sequence[tuple[str, str, str]]) -> int:
        return await self.write(suppressions.remove, those)

    async def forget_suppressed(self, digests: Collection[str]) -> int:
        return await self.write(suppressions.forget, digests)

    async def ask_erasure(self, erasure: Erasure) -> bool:
        mended: Erasure = decisions.mended(erasure)
        return await self.write(suppressions.ask, mended)

    async def erasures(self, limit: int = 100, after: tuple[float, str] = (0.0, "")) -> list[Erasure]:
        return await self.read(suppressions.asked, limit, after)

    async def settle_erasure(self, digest: str) -> bool:
        return await self.write(suppressions.settle, digest)

    # -- what is too old -----------------------------------------------------------------------------------------------

    async def purge(self, mark: PurgeMark, before: float, most: int) -> Purged:
        return await self.write(purging.step, mark, before, most)

    async def cut_addresses(self, mark: PurgeMark, since: float, before: float, most: int) -> Purged:
        return await self.write(purging.cut, mark, since, before, most)

    async def oldest(self) -> float | None:
        return await self.read(purging.oldest)

    # -- one person ----------------------------------------------------------------------------------------------------

    async def messages_to(self, address: str, mark: tuple[float, str], limit: int) -> list[str]:
        return await self.read(persons.messages_to, decisions.mended(address), mark, limit)

    async def person_page(self, who: Person, mark: PersonMark) -> PersonPage:
        return await self.read(persons.page, who, mark)

    async def erase_person(self, who: Person, table: str, key: Sequence[Any]) -> Erased:
        return await self.write(persons.erase, who, table, key)

    async def erased_marks(self, message_ids: Sequence[str]) -> dict[str, list[int]]:
        return await self.read(persons.marks, message_ids)

    @abstractmethod
    async def overwrite(self, who: Person) -> str: ...
