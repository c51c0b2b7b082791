"""Unosend's notifications, as documented at docs.unosend.co under "webhooks" and "tracking".

Owns: their fields and types. Leaves to others: who gets what. One address each in `to`; times in ISO 8601, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from relay.core.model import Event, History

NAMES: Mapping[str, tuple[str, ...]] = {
    "message.sent": ("email.sent",),
    "message.delivered": ("email.delivered",),
    "message.opened": ("email.opened",),
    "message.link_clicked": ("email.clicked",),
    "message.bounce_detected": ("email.bounced",),
    "message.complained": ("email.complained",),
    "message.failed": ("email.failed",),
    "message.verdict_changed": ("message.verdict_changed",),
}
BELIEF = ("verified", "authentication")  # how far a report is believed
UNDISCLOSED = "undisclosed-recipients:;"  # RFC 5322 3.4: several share the copy, and its message's row is gone


def notification_id(event: Event) -> str:
    return "evt_" + event.event_id.replace("-", "")


def notification(history: History, trigger: str) -> dict[str, Any]:
    event = history.event
    return {
        "id": notification_id(event),
        "type": trigger,
        "created_at": moment(event.at),
        "data": common(history) | particular(history),
    }


def common(history: History) -> dict[str, Any]:
    event, sent = history.event, history.sent
    found: dict[str, Any] = {
        "email_id": event.message_id,
        "to": event.recipient or (", ".join(sent.to) if sent else "") or UNDISCLOSED,
        "subject": sent.subject if sent else "",
        "tags": dict(sent.metadata) if sent else {},
        "label": sent.label if sent else "",
        "internet_message_id": sent.internet_message_id if sent else "",
        "sequence": event.sequence,
    }
    if sent and sent.sender:
        found["from"] = sent.sender
    return found


def particular(history: History) -> dict[str, Any]:
    event = history.event
    match event.type:
        case "message.opened":
            first = history.first_at or event.at
            return {"opened_at": moment(min(first, event.at))} | visit(event)
        case "message.link_clicked":
            # The documentation's click example, the server's own code and the events API each use another name.
            link = {"link": event.url, "link_url": event.url, "url": event.url}
            clicked = {"clicked_at": moment(event.at), "referer": event.referer, "tid": event.data.get("tid", "")}
            return link | clicked | visit(event)
        case "message.verdict_changed":
            data = event.data
            return {
                "changed_event_id": "evt_" + str(data.get("event_id", "")).replace("-", ""),
                "changed_event_type": next(iter(NAMES.get(str(data.get("event_type")), ())), ""),
                "previous_verdict": str(data.get("from", "")),
                "first_verdict": event.first_verdict,
                "verdict": event.verdict,
                "verdict_reason": event.reason,
                "changed_at": moment(event.at),
                "url": event.url,
            }
        case "message.bounce_detected" | "message.failed" | "message.complained":
            data = event.data
            why = str(data.get("reason") or event.reason)
            belief = {name: data[name] for name in BELIEF if name in data}
            if event.type == "message.complained":  # nothing was refused: there is no code, and no type of a bounce
                said = {"complaint_type": str(data.get("feedback", ""))}
                return {"reason": why, "code": 0, "bounce_type": ""} | said | belief
            return {"reason": why, "code": data.get("code", 0), "bounce_type": str(data.get("type", ""))} | belief
    return {}


def visit(event: Event) -> dict[str, Any]:
    return {
        "user_agent": event.user_agent,
        "ip_address": event.ip,
        "verdict": event.verdict,
        "verdict_reason": event.reason,
    }


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
