"""Notifications that tell of nothing: for tests of an endpoint, and for who wants to see one.

Owns: the examples, those of Nylas for what is never sent here (`examples.json`). Leaves to others: the shapes
(`core.payload`).
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from relay.core import payload, tally
from relay.core.model import Endpoint, Event, History, Sent, SentCopy

MOCK_SECRET = "mock-webhook-secret"  # noqa: S105 - what Nylas signs its own test events with


@functools.cache
def of_nylas() -> Mapping[str, Any]:
    """Trigger -> the example in Nylas' documentation of notification schemas."""
    found: Mapping[str, Any] = msgspec.json.decode(Path(__file__).with_name("examples.json").read_bytes())
    return found


def example(endpoint: Endpoint, trigger: str) -> History | None:
    """A history that never happened, of the kind that `trigger` tells; None where the format has no such."""
    kinds = payload.NAMES[endpoint.format]
    kind: Any = next((k for k, names in kinds.items() if trigger in names or not trigger), None)
    if kind is None:
        return None
    now = time.time()
    sent = Sent(
        message_id="example-message",
        grant_id="default",
        internet_message_id="example@trackrelay.invalid",
        submitted_at=now - 60,
        sender="sender@example.com",
        to=("recipient@example.org",),
        subject="An example",
        label="example",
        links=("https://example.com/",),
        copies=(SentCopy("recipient@example.org", 0, True),),
        thread_id="example-message",
    )
    event = Event(
        event_id=tally.event_id(now, os.urandom(10)),
        type=kind,
        message_id=sent.message_id,
        at=now,
        recipient="recipient@example.org",
        url="https://example.com/" if kind == "message.link_clicked" else "",
        ip="192.0.2.1",
        user_agent="trackrelay webhooks test",
        reason="example",
        data={"reason": "an example", "code": 550} if kind == "message.bounce_detected" else {},
        grant_id="default",
        sequence=1,
        counted=True,
        ordinal=0,
    )
    return History(event, sent, (event,), (1,) if kind == "message.link_clicked" else (), now)
