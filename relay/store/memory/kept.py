"""What messages said."""

from __future__ import annotations

from relay.store.memory.tables import Tables


class Kept(Tables):
    async def keep_message(self, message_id: str, at: float, octets: bytes, *, oldest: float, most: int) -> None:
        self._kept.pop(message_id, None)
        self._kept[message_id] = (at, octets)
        left = most
        for name, (when, content) in reversed(list(self._kept.items())):
            left -= len(content)
            if when < oldest or left < 0:
                del self._kept[name]

    async def kept_message(self, message_id: str) -> bytes | None:
        found = self._kept.get(message_id)
        return found[1] if found else None
