"""Keys of the API."""

from __future__ import annotations

from dataclasses import replace

from relay.store import ApiKey
from relay.store.memory.tables import Tables


class Keys(Tables):
    async def add_api_key(self, key: ApiKey) -> None:
        if key.name in self._keys:
            raise ValueError(f"a key named {key.name} exists")
        self._keys[key.name] = key

    async def api_keys(self) -> list[ApiKey]:
        return sorted(self._keys.values(), key=lambda k: (k.created_at, k.name))

    async def find_api_key(self, digest: str) -> ApiKey | None:
        return next((k for k in self._keys.values() if k.digest == digest), None)

    async def revoke_api_key(self, name: str) -> bool:
        return self._keys.pop(name, None) is not None

    async def use_api_key(self, digest: str, at: float) -> None:
        for key in self._keys.values():
            if key.digest == digest and key.last_used_at < at:
                self._keys[key.name] = replace(key, last_used_at=at)
                return
