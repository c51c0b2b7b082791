"""Reason codes in words for people.

Owns: a sentence for each, which the live page and the commands show. Leaves to others: when a code is given.
"""

from __future__ import annotations

from relay.core.model import Reason

WORDS: dict[Reason, str] = {
    "not_requested": "nobody asked for tracking: no X-Track header, no rule and no default",
    "invalid_instruction": "its X-Track headers or its From field could not be understood",
    "no_html": "it has no HTML part",
    "no_mailbox": "there is no mailbox in which its replies could be seen",
    "excluded_recipient": "this recipient was excluded by X-Track-Exclude",
    "suppressed": "this recipient is on the list of those who are not tracked, or not written to",
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


def said(code: str | None) -> str:
    """The sentence for a reason code, without a full stop; the code itself if it is not known here."""
    if not code:
        return ""
    return next((text for known, text in WORDS.items() if known == code), code)
