"""The endpoints of the configuration: [[webhooks]] -> values.

Owns: their ids, and where their secrets are. Leaves to others: endpoints made by the API, which the store keeps whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from relay.config import Settings
from relay.core import urls
from relay.core.model import Endpoint


def endpoint_id(url: str, format: str) -> str:
    """The id of an endpoint of the configuration: the same in every process and after every start, whatever its login."""
    return "wh_" + hashlib.sha256(f"{format} {urls.masked(url)}".encode()).hexdigest()[:20]


def configured(settings: Settings, now: float = 0.0) -> list[Endpoint]:
    """The endpoints of [[webhooks]], each with its secret and the login in its URL. `Store.sync_endpoints` leaves these
    out, and takes `now` for the time of those that are new or were changed."""
    return [
        Endpoint(
            endpoint_id(hook.url, hook.format), hook.url, hook.triggers, hook.secret, hook.verdicts, hook.format,
            created_at=now, updated_at=now, settle=hook.settle,
        )
        for hook in settings.webhooks
    ]  # fmt: skip


def by_id(settings: Settings) -> dict[str, Endpoint]:
    return {endpoint.endpoint_id: endpoint for endpoint in configured(settings)}


def whole(endpoint: Endpoint, own: Mapping[str, Endpoint]) -> Endpoint:
    """An endpoint of the store with what only the configuration has. `own` are those of the configuration."""
    found = own.get(endpoint.endpoint_id)
    return replace(endpoint, url=found.url, secret=found.secret) if found else endpoint
