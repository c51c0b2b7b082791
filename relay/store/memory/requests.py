"""Calls that may be repeated."""

from __future__ import annotations

from relay.store import Request
from relay.store.memory.tables import Tables


class Requests(Tables):
    async def begin_request(self, request: Request, oldest: float) -> Request | None:
        self._requests = {key: known for key, known in self._requests.items() if known.at >= oldest}
        found = self._requests.get(request.request_key)
        if found is None:
            self._requests[request.request_key] = request
        return found

    async def settle_request(self, request: Request) -> None:
        known = self._requests.get(request.request_key)
        if known:
            self._requests[request.request_key] = known.with_(state=request.state, answer=request.answer)

    async def drop_request(self, request_key: str) -> None:
        self._requests.pop(request_key, None)
