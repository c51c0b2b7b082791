"""Nylas' notifications: v3 (CloudEvents 1.0), the legacy triggers of v3, and the bare deltas of v2.

Owns: their fields and types, as documented at developer.nylas.com under "notification schemas" (v3) and "message
tracking" (v2). Our additions are inside `data.object`, and change no type of theirs. Leaves to others: who gets what.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from relay.core import addresses, tally
from relay.core.model import Event, History, Sent

NAMES: Mapping[str, tuple[str, ...]] = {
    "message.opened": ("message.opened", "message.opened.legacy"),
    "message.link_clicked": ("message.link_clicked", "message.link_clicked.legacy"),
    "thread.replied": ("thread.replied", "thread.replied.legacy"),
    "message.bounce_detected": ("message.bounce_detected",),
    "message.send_success": ("message.send_success",),
    "message.send_failed": ("message.send_failed",),
    "message.verdict_changed": ("message.verdict_changed",),
    "grant.expired": ("grant.expired",),
    "grant.updated": ("grant.updated",),
}
NAMES_V2: Mapping[str, tuple[str, ...]] = {
    "message.opened": ("message.opened",),
    "message.link_clicked": ("message.link_clicked",),
    "thread.replied": ("thread.replied",),
}
LEGACY = ".legacy"
TRACKING, V2, SEND = "/com/nylas/tracking", "/com/nylas/v2/webhooks", "/nylas/send"
SYSTEM = "/nylas/system"
GRANTS = {"grant.expired": 25009, "grant.updated": 25014}  # Nylas' codes
NAMESPACE = uuid.UUID("6f1c0f35-4d0e-4b36-9f0c-0f3c1d6f8a11")
LONGEST_AGENT = 256  # characters of a user agent in `recents`
BELIEF = ("from", "verified", "authentication")  # of what a mailbox saw: who wrote it, and how far that is believed
ANSWERS = ("gesture", "excerpt")  # of an answer, where it has one
SCHEDULED = ("message.send_success", "message.send_failed")
NO_URL = "about:blank"  # for a link whose message's row is gone: its place in `link_data` needs something


def notification_id(event: Event, trigger: str) -> str:
    """The event's own id. Its legacy twin has one derived from it, since receivers drop ids that they have seen."""
    return str(uuid.uuid5(NAMESPACE, event.event_id)) if trigger.endswith(LEGACY) else event.event_id


def notification(history: History, trigger: str, application_id: str, attempt: int) -> dict[str, Any]:
    event = history.event
    if trigger.endswith(LEGACY):
        source, thing = V2, legacy(history)
    elif event.type == "message.bounce_detected":
        source, thing = SEND, bounce(history)
    elif event.type in SCHEDULED:
        source, thing = SEND, scheduled(history)
    elif event.type in GRANTS:
        source, thing = SYSTEM, grant(event, application_id)
    else:
        source, thing = TRACKING, tracked(history, application_id)
    return {
        "specversion": "1.0",
        "type": trigger,
        "source": source,
        "id": notification_id(event, trigger),
        "time": int(event.at),
        "webhook_delivery_attempt": attempt,
        "data": {
            "application_id": application_id,
            "grant_id": event.grant_id,
            "object": thing | {k: v for k, v in ours(history).items() if k not in thing},
            **(failure(event) if event.type == "message.send_failed" else {}),
        },
    }


def ours(history: History) -> dict[str, Any]:
    """What Nylas does not have."""
    event, sent = history.event, history.sent
    found = {
        "recipient": event.recipient,
        "internet_message_id": sent.internet_message_id if sent else "",
        "verdict": event.verdict,
        "reason": event.reason,
        "sequence": event.sequence,
        "event_id": event.event_id,
        "metadata": dict(sent.metadata) if sent else {},
        **{name: event.data[name] for name in BELIEF if name in event.data},
    }
    if event.type == "thread.replied":
        found |= answer(event)
    if folded := event.data.get(tally.FOLDED):
        found["folded"] = folded
    return found


def tracked(history: History, application_id: str) -> dict[str, Any]:
    """`data.object` of an open, a click or a reply."""
    event = history.event
    at = int(event.at)
    common = {
        "object": "message",
        "grant_id": event.grant_id,
        "message_id": event.message_id,
        "label": label_of(history),
        "sender_app_id": application_id,
        "timestamp": at,
    }
    match event.type:
        case "message.verdict_changed":
            return common | changed(event)
        case "message.opened":
            seen = [{"opened_id": e.ordinal} | visit(e) for e in history.recents]
            return common | {"message_data": {"count": event.ordinal + 1, "timestamp": at}, "recents": seen}
        case "message.link_clicked":
            seen = [{"click_id": str(e.ordinal), "link_index": str(e.link_index)} | visit(e) for e in history.recents]
            return common | {"link_data": link_data(history), "recents": seen}
    return common | {
        "object": "thread",
        "message_id": reply_id(event),
        "root_message_id": str(event.data.get("root_message_id") or event.message_id),
        "reply_to_message_id": replied_to(event),
        "reply_data": {"count": max(history.replies, 1)},
        "thread_id": thread_id(history),
        "from_self": bool(event.data.get("from_self")),
        "reply_internet_message_id": str(event.data.get("reply_internet_id", "")),
    }


def changed(event: Event) -> dict[str, Any]:
    """Of which hit the verdict changed, and from what."""
    data = event.data
    return {
        "changed_event_id": str(data.get("event_id", "")),
        "changed_event_type": str(data.get("event_type", "")),
        "changed_event_timestamp": int(data.get("event_at", 0)),
        "previous_verdict": str(data.get("from", "")),
        "first_verdict": event.first_verdict,
        "link_url": event.url,
    }


def answer(event: Event) -> dict[str, Any]:
    """Who answered, and how."""
    data = event.data
    return {
        "reply_from": data.get("reply_from") or {"address": str(data.get("from", "")), "name": ""},
        "copy_recipient": str(data.get("copy_recipient", "")),
        "kind": str(data.get("kind", "reply")),
        **{name: data[name] for name in ANSWERS if name in data},
    }


def label_of(history: History) -> str:
    """Of an answer the label of the message with which its thread began."""
    return str(history.event.data.get("root_label", history.sent.label if history.sent else ""))


def visit(event: Event) -> dict[str, Any]:
    """An entry of `recents`, without its ids. What the privacy settings removed is "". Fifty of them stand in each
    notification: so a user agent, which is as long as a stranger likes, is cut."""
    return {
        "ip": event.ip,
        "timestamp": int(event.at),
        "user_agent": event.user_agent[:LONGEST_AGENT],
        "recipient": event.recipient,
        "verdict": event.verdict,
        "reason": event.reason,
    }


def link_data(history: History) -> list[dict[str, Any]]:
    """All tracked links of the message in their order, duplicates kept; `link_index` points into it."""
    urls = list(history.sent.links) if history.sent else []
    urls += [NO_URL] * (len(history.link_counts) - len(urls))
    if history.sent is None:
        for event in history.recents:  # the tokens that were clicked say it
            if event.link_index < len(urls):
                urls[event.link_index] = event.url or NO_URL
    counts = history.link_counts + (0,) * (len(urls) - len(history.link_counts))
    return [{"count": count, "url": url} for url, count in zip(urls, counts, strict=True)]


def reply_id(event: Event) -> str:
    return str(event.data.get("reply_id") or event.event_id)


def replied_to(event: Event) -> str:
    return str(event.data.get("reply_to_message_id") or event.message_id)


def thread_id(history: History) -> str:
    return (history.sent.thread_id if history.sent else "") or history.event.message_id


def bounce(history: History) -> dict[str, Any]:
    event, sent = history.event, history.sent
    data = event.data
    return {
        "bounce_reason": str(data.get("reason") or event.reason),
        "bounce_date": date(event.at),
        "bounced_addresses": event.recipient or str(data.get("recipient") or "unknown"),
        "type": str(data.get("type") or "mailbox_unavailable"),
        "code": int(data.get("code") or 550),
        "grant_id": event.grant_id,
        "message_id": event.message_id,
        "label": sent.label if sent else "",
        "origin": {
            "to": list(sent.to) if sent else [],
            "from": [sent.sender] if sent else [],
            "cc": list(sent.cc) if sent else [],
            "bcc": bcc(sent) if sent else [],
            "subject": sent.subject if sent else "",
            "mime_id": (sent.internet_message_id if sent else "") or event.message_id,
            "id": event.message_id,
            "original_send_at": date(sent.submitted_at if sent else event.at),
        },
    }


def bcc(sent: Sent) -> list[str]:
    """The envelope recipients that no header names."""
    shown = {addresses.comparable(a) for text in (*sent.to, *sent.cc) for a in addresses.specs(text)}
    return [c.recipient for c in sent.copies if addresses.comparable(c.recipient) not in shown]


def scheduled(history: History) -> dict[str, Any]:
    """`data.object` of a message that was sent later. What it was to be stands in the event: of one that failed there may
    be no record."""
    event = history.event
    data = event.data
    lists = {name: list(data.get(name, ())) for name in ("from", "to", "cc", "bcc", "reply_to", "attachments")}
    if not lists["from"] and history.sent:
        lists["from"] = [{"email": history.sent.sender}]
    return lists | {
        "object": "message",
        "grant_id": event.grant_id,
        "id": event.message_id,
        "schedule_id": str(data.get("schedule_id") or event.message_id),
        "send_at": int(data.get("send_at") or event.at),
        "subject": str(data.get("subject", "")),
        "snippet": str(data.get("snippet", "")),
        "use_draft": False,
    }


def failure(event: Event) -> dict[str, Any]:
    """What stands beside `data.object`: why a message that was to be sent later was not."""
    said = str(event.data.get("reason") or event.reason)
    error = {"type": "provider_error", "message": said, "status_code": int(event.data.get("code") or 500)}
    return {"reason": said, "error": error}


def grant(event: Event, application_id: str) -> dict[str, Any]:
    """`data.object` of a grant whose credentials stopped working, or work again. There are no integrations here: the
    application stands for one. The login is the credentials' name."""
    common = {
        "code": GRANTS[event.type],
        "grant_id": event.grant_id,
        "integration_id": application_id,
        "provider": "imap",
        "access": str(event.data.get("access", "")),
    }
    if event.type == "grant.expired":
        return common | {"login_id": event.message_id}
    return common | {"reauthentication_flag": True}


def date(at: float) -> str:
    """RFC 5322 3.3, in UTC."""
    return format_datetime(datetime.fromtimestamp(int(at), UTC))


# -- v2 ----------------------------------------------------------------------------------------------------------------


def legacy(history: History) -> dict[str, Any]:
    """`data.object` of a legacy trigger: v2's delta inside v3's envelope. Ids and link indexes are integers here."""
    event = history.event
    thing = "message" if event.type == "thread.replied" else "metadata"
    delta = {
        "date": int(event.at),
        "object": thing,
        "object_data": {
            "account_id": event.grant_id,
            "id": event.event_id,
            "metadata": metadata(history),
            "namespace_id": event.grant_id,
            "object": thing,
        },
        "type": event.type,
    }
    outer = "thread" if event.type == "thread.replied" else "message"
    return {"deltas": [delta], "grant_id": event.grant_id, "object": outer}


def bare(history: History, application_id: str) -> dict[str, Any]:
    """The whole notification as v2 sent it."""
    event = history.event
    return {
        "deltas": [
            {
                "date": int(event.at),
                "type": event.type,
                "object": "metadata",
                "object_data": {
                    "object": "metadata",
                    "id": event.event_id,
                    "account_id": event.grant_id,
                    "namespace_id": event.grant_id,
                    "metadata": {"sender_app_id": application_id} | metadata(history),
                },
            }
        ]
    }


def metadata(history: History) -> dict[str, Any]:
    event = history.event
    common = {"payload": label_of(history), "timestamp": int(event.at)}
    match event.type:
        case "message.opened":
            seen = [{"id": e.ordinal} | visit(e) for e in history.recents]
            return common | {"message_id": event.message_id, "count": event.ordinal + 1, "recents": seen}
        case "message.link_clicked":
            seen = [{"id": e.ordinal, "link_index": e.link_index} | visit(e) for e in history.recents]
            return common | {"message_id": event.message_id, "link_data": link_data(history), "recents": seen}
    return common | {
        "message_id": reply_id(event),
        "reply_to_message_id": replied_to(event),
        "thread_id": thread_id(history),
        "from_self": bool(event.data.get("from_self")),
    }
