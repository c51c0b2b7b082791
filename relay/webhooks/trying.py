"""A test notification, as an endpoint would get a real one: shaped, signed, with all headers.

Owns: making it. Leaves to others: the example (`examples`), sending it (`post`), what is said of the answer (commands, `check`).
"""

from __future__ import annotations

from dataclasses import dataclass

from relay import webhooks
from relay.core import payload
from relay.core.model import Endpoint
from relay.webhooks import examples


@dataclass(frozen=True, slots=True)
class Request:
    trigger: str
    number: str  # the notification's id
    body: bytes
    headers: dict[str, str]


def request(endpoint: Endpoint, application_id: str, trigger: str, now: float) -> Request | None:
    """`trigger` is the endpoint's first where it is "". None where its format has no such."""
    trigger = trigger or (endpoint.triggers or ("",))[0]
    past = examples.example(endpoint, trigger)
    if past is None:
        return None
    trigger = trigger or payload.triggers(endpoint, past.event)[0]
    body = payload.shape(past, endpoint, application_id=application_id, attempt=1, trigger=trigger)
    if endpoint.compressed:
        body = webhooks.compressed(body)
    number = payload.notification_id(past.event, endpoint, trigger)
    headers = dict(webhooks.request_headers(body, endpoint, endpoint.secret or examples.MOCK_SECRET, number, now, 1))
    if endpoint.format == "unosend":
        headers["X-Unosend-Test"] = "true"
    return Request(trigger, number, body, headers)
