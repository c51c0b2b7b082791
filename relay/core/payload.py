"""Event -> notification.

Owns: which notifications an endpoint is owed, their bytes and signatures. Leaves to others: sending them (`webhooks`).
"""

from __future__ import annotations

from relay.core.model import Endpoint, Event

# What each format calls an event. A nylas endpoint may ask for either name, or both.
NYLAS: dict[str, tuple[str, ...]] = {
    "message.opened": ("message.opened", "message.opened.legacy"),
    "message.link_clicked": ("message.link_clicked", "message.link_clicked.legacy"),
    "thread.replied": ("thread.replied", "thread.replied.legacy"),
    "message.bounce_detected": ("message.bounce_detected",),
}
NYLAS_V2: dict[str, tuple[str, ...]] = {
    "message.opened": ("message.opened",),
    "message.link_clicked": ("message.link_clicked",),
    "thread.replied": ("thread.replied",),
}
UNOSEND: dict[str, tuple[str, ...]] = {
    "message.sent": ("email.sent",),
    "message.delivered": ("email.delivered",),
    "message.opened": ("email.opened",),
    "message.link_clicked": ("email.clicked",),
    "message.bounce_detected": ("email.bounced",),
    "message.complained": ("email.complained",),
    "message.failed": ("email.failed",),
}
NAMES = {"nylas": NYLAS, "nylas-v2": NYLAS_V2, "unosend": UNOSEND}
HITS = ("message.opened", "message.link_clicked")


def triggers(endpoint: Endpoint, event: Event) -> tuple[str, ...]:
    """The types of the notifications that this endpoint is owed of this event, as its format names them.

    Counted events only; but of a pixel an Unosend endpoint gets every GET. An endpoint without triggers gets all its
    format has, legacy ones left out."""
    if not event.counted and not (
        endpoint.format == "unosend" and event.type == "message.opened" and event.method == "GET"
    ):
        return ()
    if endpoint.verdicts and event.type in HITS and event.verdict not in endpoint.verdicts:
        return ()
    names = NAMES[endpoint.format].get(event.type, ())
    if not endpoint.triggers:
        return names[:1]
    return tuple(name for name in names if name in endpoint.triggers)


def wants(endpoint: Endpoint, event: Event) -> bool:
    return bool(triggers(endpoint, event))
