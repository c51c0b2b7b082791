"""Endpoints of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relay.core.model import Endpoint, EndpointStatus, Notice
from relay.store import decisions
from relay.store.memory.tables import Tables


class Endpoints(Tables):
    async def sync_endpoints(self, configured: Sequence[Endpoint]) -> None:
        for endpoint in decisions.synced(self._endpoints.values(), configured):
            self._endpoints[endpoint.endpoint_id] = endpoint

    async def endpoints(self) -> list[Endpoint]:
        return sorted(self._endpoints.values(), key=lambda e: e.endpoint_id)

    async def add_endpoint(self, endpoint: Endpoint) -> None:
        if endpoint.endpoint_id in self._endpoints:
            raise ValueError(f"an endpoint {endpoint.endpoint_id} exists")
        self._endpoints[endpoint.endpoint_id] = replace(endpoint, source="api")

    async def update_endpoint(self, endpoint: Endpoint) -> bool:
        if not self._is_of_api(endpoint.endpoint_id):
            return False
        self._endpoints[endpoint.endpoint_id] = replace(endpoint, source="api")
        return True

    async def remove_endpoint(self, endpoint_id: str) -> bool:
        if not self._is_of_api(endpoint_id):
            return False
        del self._endpoints[endpoint_id]
        self._notifications = {
            key: n for key, n in self._notifications.items() if n.endpoint_id != endpoint_id or n.state == "delivered"
        }
        return True

    def _is_of_api(self, endpoint_id: str) -> bool:
        return endpoint_id in self._endpoints and self._endpoints[endpoint_id].source == "api"

    async def set_endpoint_status(
        self,
        endpoint_id: str,
        status: EndpointStatus,
        at: float,
        *,
        was: Sequence[EndpointStatus] = (),
        error: str = "",
        since: float = 0.0,
    ) -> bool:
        known = self._endpoints.get(endpoint_id)
        if known is None or known.status == status or (was and known.status not in was):
            return False
        self._endpoints[endpoint_id] = replace(known, status=status, status_updated_at=at)
        notice = decisions.notice(known, status, at, error, since)
        if notice is not None:
            self._notices.setdefault(notice.notice_id, notice)
        return True

    async def notices(self) -> list[Notice]:
        return sorted(self._notices.values(), key=lambda notice: (notice.at, notice.notice_id))

    async def hand_notice(self, notice_id: str, entry: str) -> bool:
        known = self._notices.get(notice_id)
        if known is None or known.entry:
            return False
        self._notices[notice_id] = known.with_(entry=entry)
        return True

    async def remove_notice(self, notice_id: str) -> None:
        self._notices.pop(notice_id, None)

    def _live(self) -> list[Endpoint]:
        return [e for e in self._endpoints.values() if e.live]
