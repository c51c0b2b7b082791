"""What the contract suite makes: messages, events, endpoints with everything but the point at hand filled in."""

import itertools
import uuid
from typing import Any

from relay.core.model import Endpoint, Event, Sent, SentCopy

T0 = 1_700_000_000.0
SOON = 10_000_000_000.0  # later than any clock that a test meets
_numbers = itertools.count()


def sent(message_id: str = "m1", **changes: Any) -> Sent:
    values: dict[str, Any] = {
        "message_id": message_id,
        "grant_id": "sales",
        "internet_message_id": f"{message_id}@mail.example",
        "submitted_at": T0,
        "sender": "ann@example.com",
        "reverse_path": "bounces@example.com",
        "to": ("bob@example.org", "Čeněk <c@example.org>"),
        "cc": ("dora@example.org",),
        "subject": "Grüße \N{PARTY POPPER}",
        "label": "spring",
        "metadata": {"campaign": "7"},
        "submitter_ip": "8.8.4.4",
        "size": 5120,
        "opens": True,
        "links_tracked": True,
        "thread_replies": True,
        "links": ("https://a.example/", "https://b.example/", "https://a.example/"),
        "copies": (SentCopy("bob@example.org", 0, True), SentCopy("c@example.org", 1, True)),
        "explanation": {"parts": [{"path": "1", "action": "edited"}]},
    }
    return Sent(**(values | changes))


def event(kind: str = "message.opened", message_id: str = "m1", at: float = T0, **changes: Any) -> Event:
    values: dict[str, Any] = {"event_id": str(uuid.UUID(int=next(_numbers))), "ip": "8.8.8.8", "user_agent": "Mail/1.0"}
    return Event(type=kind, message_id=message_id, at=at, **(values | changes))  # type: ignore[arg-type]


def click(link: int = 0, message_id: str = "m1", **changes: Any) -> Event:
    """Each is another client's."""
    number = next(_numbers)
    values = {"ip": f"9.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", "url": "https://a.example/"}
    return event("message.link_clicked", message_id, link_index=link, **(values | changes))


def endpoint(endpoint_id: str = "e1", *triggers: str, **changes: Any) -> Endpoint:
    values: dict[str, Any] = {"url": f"https://{endpoint_id}.example/hook", "secret": "whsec_AAAA"}
    return Endpoint(endpoint_id, triggers=triggers or ("message.opened", "message.link_clicked"), **(values | changes))
