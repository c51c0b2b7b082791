"""Reason codes, verdicts and events in words for people.

Owns: the sentences of the live page. Leaves to others: what is true (`shape`) and how it looks (the templates).
No sentence counts reads: a pixel shows that a message was opened at least once, and nothing about how often.
"""

from __future__ import annotations

from relay.core.model import EventType, Reason, Verdict

REASONS: dict[Reason, str] = {
    "not_requested": "nobody asked for tracking: no X-Track header, no rule and no default",
    "invalid_instruction": "its X-Track headers or its From field could not be understood",
    "no_html": "it has no HTML part",
    "no_mailbox": "there is no mailbox in which its replies could be seen",
    "excluded_recipient": "this recipient was excluded by X-Track-Exclude",
    "suppressed": "this recipient has refused tracking",
    "null_sender": "it has no sender, as a bounce has none",
    "auto_reply": "it is an automatic reply or a report",
    "signed": "it is signed, and any change would break the signature",
    "encrypted": "it is encrypted",
    "pgp": "it contains PGP text, which must not change",
    "calendar": "a calendar part is never changed",
    "amp": "an AMP part is never changed",
    "attachment": "attachments are never changed",
    "embedded": "a message inside the message is never changed",
    "charset": "its character set can't be read reliably",
    "unsafe_place": "the HTML is written in a way that would hide a pixel",
    "limit_size": "it is too large to be analysed",
    "limit_parts": "it has too many parts",
    "limit_depth": "its parts are nested too deeply",
    "limit_headers": "it has too many headers",
    "limit_time": "it takes too long to read",
    "limit_links": "the message has more links than are tracked",
    "limit_url": "the tracked URL would be too long for some programs",
    "scheme": "only web links are tracked",
    "relative": "the link is relative",
    "credentials": "the link contains a password or a key",
    "unsubscribe": "unsubscribe links are left alone",
    "placeholder": "the link is a template's placeholder",
    "own_link": "the link is tracked already",
    "refused": "the link asks not to be tracked",
    "host_excluded": "links to this host are excluded by a setting",
    "visible_url": "the text of the link is a URL itself",
    "duplicate_pixel": "it already has a pixel of ours",
    "internal_error": "tracking failed; the message went out as it came",
}

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
}


def reason(code: str | None) -> str:
    """The sentence for a reason code, without a full stop; the code itself if this page does not know it."""
    if not code:
        return ""
    return next((text for known, text in REASONS.items() if known == code), code)


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
