"""Event -> notification: the bytes that an endpoint gets, and the headers that sign them.

Owns: which notifications an endpoint gets, and the choice of a shape. `nylas` (v3, its legacy triggers, the bare v2
deltas) and `unosend` have the shapes, `signing` the signatures. Leaves to others: sending them (`webhooks`), what
counts (`tally`).

A body depends only on the history, the endpoint, the trigger and the attempt: a retry repeats it byte for byte, except
for the number of the attempt in the shapes that have one.
"""

from __future__ import annotations

import msgspec

from relay.core.model import Endpoint, Event, History
from relay.core.payload import nylas, unosend
from relay.core.payload.signing import signatures

__all__ = ["NAMES", "notification_id", "shape", "signatures", "triggers", "wants"]

NAMES = {"nylas": nylas.NAMES, "nylas-v2": nylas.NAMES_V2, "unosend": unosend.NAMES}
CHANGED = "message.verdict_changed"
HITS = ("message.opened", "message.link_clicked")
encode = msgspec.json.Encoder().encode


def triggers(endpoint: Endpoint, event: Event) -> tuple[str, ...]:
    """The types of the notifications that this endpoint gets of this event, as its format names them.

    Only counted events are notified, except that an Unosend endpoint gets every GET of a pixel. An endpoint without
    triggers gets all that its format has, other than the legacy ones."""
    if not event.counted and not (
        endpoint.format == "unosend" and event.type == "message.opened" and event.method == "GET"
    ):
        return ()
    if event.type == CHANGED and (endpoint.registry == "nylas" or CHANGED not in endpoint.triggers):
        return ()  # Nylas' SDKs know no such trigger: only who names it gets it
    if endpoint.grant_id and endpoint.grant_id != event.grant_id:
        return ()
    if endpoint.verdicts and event.type in HITS and event.verdict not in endpoint.verdicts:
        return ()
    names = NAMES[endpoint.format].get(event.type, ())
    if not endpoint.triggers:
        return names[:1]
    return tuple(name for name in names if name in endpoint.triggers)


def wants(endpoint: Endpoint, event: Event) -> bool:
    return bool(triggers(endpoint, event))


def notification_id(event: Event, endpoint: Endpoint, trigger: str) -> str:
    """The `id` of the notification: the same on every attempt and at every endpoint of the format."""
    if endpoint.format == "unosend":
        return unosend.notification_id(event)
    return nylas.notification_id(event, trigger)


def shape(history: History, endpoint: Endpoint, *, application_id: str, attempt: int, trigger: str = "") -> bytes:
    """The body: UTF-8 JSON. `trigger` is one of `triggers`; "" means the format's first name for the event. `attempt`
    counts from 1. Raises ValueError for an event that the format has no name for."""
    names = NAMES[endpoint.format].get(history.event.type, ())
    if not names:
        raise ValueError(f"{endpoint.format} has no notification of {history.event.type}")
    name = trigger or names[0]
    match endpoint.format:
        case "unosend":
            return encode(unosend.notification(history, name))
        case "nylas-v2":
            return encode(nylas.bare(history, application_id))
        case "nylas":
            return encode(nylas.notification(history, name, application_id, attempt))
