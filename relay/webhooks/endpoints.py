"""The endpoints of the configuration: [[webhooks]] -> values.

Owns: their ids, and where their secrets are. Leaves to others: endpoints made by the API, which the store keeps whole.
"""

from __future__ import annotations

import hashlib

from relay.config import Settings
from relay.core.model import Endpoint


def endpoint_id(url: str, format: str) -> str:
    """The id of an endpoint of the configuration: the same in every process and after every start."""
    return "wh_" + hashlib.sha256(f"{format} {url}".encode()).hexdigest()[:20]


def configured(settings: Settings) -> list[Endpoint]:
    """The endpoints of [[webhooks]], each with its secret. `Store.sync_endpoints` leaves the secret out."""
    return [
        Endpoint(endpoint_id(hook.url, hook.format), hook.url, hook.triggers, hook.secret, hook.verdicts, hook.format)
        for hook in settings.webhooks
    ]


def secrets(settings: Settings) -> dict[str, str]:
    return {endpoint.endpoint_id: endpoint.secret for endpoint in configured(settings)}
