"""Webhook endpoints -> the rows of the page's table. Pure.

Owns: what a row has, and who made an endpoint, in words. Leaves to others: what they were sent (`store.backlog`), how it
looks (`endpoints.js`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relay.core import urls
from relay.core.model import Endpoint, EndpointStatus, Registry
from relay.store import Backlog
from tracking_http.dashboard import shape

MAKERS: Mapping[Registry, str] = {"nylas": "API, as Nylas'", "unosend": "API, as Unosend's", "own": "API, our own"}
STATES: Mapping[EndpointStatus, str] = {
    "active": "active",
    "failing": "failing: attempts go on",
    "failed": "failed: it is sent nothing until it is set active",
    "pause": "paused: it is sent nothing",
}


def table(found: Sequence[Endpoint], stands: Mapping[str, Backlog], grant: str) -> list[dict[str, Any]]:
    """Those that this key sees: all, or those of its grant. What is no more in relay.toml is left out."""
    mine = [one for one in found if one.status != "gone" and grant in ("", one.grant_id)]
    return [row(one, stands.get(one.endpoint_id, Backlog(one.endpoint_id))) for one in mine]


def row(one: Endpoint, stand: Backlog) -> dict[str, Any]:
    return {
        "id": one.endpoint_id,
        "url": shape.clip(urls.shown(one.url), 500),
        "description": shape.clip(one.description, 200),
        "made_by": "relay.toml" if one.source == "config" else MAKERS[one.registry],
        "grant": one.grant_id,
        "format": one.format,
        "status": one.status,
        "state": STATES[one.status],
        "since": one.status_updated_at,
        "triggers": list(one.triggers),
        "pending": stand.pending,
        "oldest": stand.oldest,
        "delivered": stand.delivered,
        "dead": stand.dead,
    }
