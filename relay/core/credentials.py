"""Whether a grant's credentials work, as an event.

Owns: what such an event is called, when one follows another. Leaves to others: who finds out, and asking the store
(`relay.credentials`); how a notification tells it (`payload`).

The event is about no message. Where others have the message's id, it has the name of the credentials: so the last one
about them is found as the last event of a message is.
"""

from __future__ import annotations

import uuid
from typing import Literal

from relay.core.model import Event, EventType

Access = Literal["mailbox", "upstream"]
ACCESSES: tuple[Access, ...] = ("mailbox", "upstream")
KINDS: tuple[EventType, ...] = ("grant.expired", "grant.updated")
NAMESPACE = uuid.UUID("2b0c1c9e-52b7-4a0f-9a55-0d6f4a1e7c33")
MAX_REASON = 300  # characters


def name(grant_id: str, access: Access) -> str:
    return f"grant:{grant_id}:{access}"


def refused(grant_id: str, access: Access, reason: str, at: float, last: Event | None) -> Event | None:
    """The event that they stopped working, after the `last` one about them; None where that said so already."""
    if last is not None and last.type == "grant.expired":
        return None
    return _event("grant.expired", grant_id, access, reason[:MAX_REASON], at, last)


def accepted(grant_id: str, access: Access, at: float, last: Event | None) -> Event | None:
    """The event that they work again; None where it was never said that they did not."""
    if last is None or last.type == "grant.updated":
        return None
    return _event("grant.updated", grant_id, access, "", at, last)


def _event(kind: EventType, grant_id: str, access: Access, reason: str, at: float, last: Event | None) -> Event:
    """Of two processes that see the same after the same, one writes it."""
    named = name(grant_id, access)
    identity = str(uuid.uuid5(NAMESPACE, f"{named} {kind} {last.event_id if last else ''}"))
    return Event(identity, kind, named, at, reason=reason, data={"access": access}, grant_id=grant_id)
