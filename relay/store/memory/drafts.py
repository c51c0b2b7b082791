"""Drafts, with the octets of their files."""

from __future__ import annotations

from collections.abc import Sequence

from relay.store import Draft
from relay.store.memory.tables import Tables


class Drafts(Tables):
    async def save_draft(self, draft: Draft, contents: Sequence[bytes] | None = None) -> bool:
        known = self._drafts.get(draft.draft_id)
        if known and known.grant_id != draft.grant_id:
            return False
        self._drafts[draft.draft_id] = draft
        if contents is not None:
            self._contents[draft.draft_id] = list(contents)
        return True

    async def draft(self, grant_id: str, draft_id: str) -> Draft | None:
        found = self._drafts.get(draft_id)
        return found if found and found.grant_id == grant_id else None

    async def drafts(self, grant_id: str, limit: int = 50, before: str = "") -> list[Draft]:
        own = [d for d in self._drafts.values() if d.grant_id == grant_id and (not before or d.draft_id < before)]
        return sorted(own, key=lambda d: d.draft_id, reverse=True)[:limit]

    async def contents(self, owner_id: str) -> list[bytes]:
        return list(self._contents.get(owner_id, ()))

    async def remove_draft(self, grant_id: str, draft_id: str) -> bool:
        if await self.draft(grant_id, draft_id) is None:
            return False
        del self._drafts[draft_id]
        self._contents.pop(draft_id, None)
        return True
