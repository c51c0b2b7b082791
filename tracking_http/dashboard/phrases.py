"""Verdicts and events in words for people.

Owns: the sentences of the live page. Leaves to others: reason codes (`relay.core.reasons`), what is true (`shape`) and how it looks (the templates).
No sentence counts reads: a pixel shows that a message was opened at least once, and nothing about how often.
"""

from __future__ import annotations

from relay.core.model import EventType, Verdict

VERDICTS: dict[Verdict, str] = {
    "human": "a person",
    "proxy": "an image proxy, for a person",
    "prefetch": "fetched in advance, without a person",
    "scanner": "a security scanner",
    "crawler": "a crawler",
    "self": "the sender's own address",
    "unknown": "nothing shows who it was",
}

# Verdicts that can mean a person; the others are no sign of one.
PEOPLE: frozenset[Verdict] = frozenset({"human", "proxy", "unknown"})

TITLES: dict[EventType, str] = {
    "message.opened": "Opened",
    "message.link_clicked": "Link clicked",
    "thread.replied": "Replied",
    "message.bounce_detected": "Bounced",
    "message.delayed": "Delayed",
    "message.complained": "Marked as spam",
    "message.auto_replied": "Answered automatically",
    "message.read_receipt": "Read, by a receipt",
    "message.sent": "Sent",
    "message.delivered": "Delivered",
    "message.failed": "Failed",
    "message.send_success": "Sent at its time",
    "message.send_failed": "Not sent at its time",
    "grant.expired": "Login refused",
    "grant.updated": "Login works again",
    "message.verdict_changed": "Taken for something else now",
    "message.canary_followed": "Followed the link that nobody sees",
    "message.tracking_refused": "Refused to be tracked",
    "message.erasure_requested": "Asked to be erased",
}


def title(type_: str, verdict: str, *, first: bool, from_self: bool = False, who: str = "") -> str:
    """The headline of one event. `first`: it is the first of its kind that counts, by `who` where there are several."""
    plain = next((text for known, text in TITLES.items() if known == type_), type_)
    if type_ == "message.opened":
        if verdict not in PEOPLE:
            return "Pixel loaded by a machine" if verdict != "self" else "Pixel loaded by the sender"
        if first:
            return f"First open by {who}" if who else "Opened at least once"
        return "Pixel loaded again"
    if type_ == "message.link_clicked" and verdict not in PEOPLE:
        return "Link followed by a machine" if verdict != "self" else "Link followed by the sender"
    if type_ == "thread.replied" and from_self:
        return "The sender wrote again"
    return plain
