"""Who is not to be tracked, or not to be written to, and what that comes to for a message.

Owns: which addresses are one mailbox's, the keyed digest by which it is known, what a reason does under which setting.
Leaves to others: keeping it (`store`), looking it up (`relay.suppressions`), where a reason comes from.

One mailbox: the address without regard to case, of the domain and of the local part; the domain in its one spelling
(`domains`), so that "bücher.example" is "xn--bcher-kva.example"; the local part without quotes that it does not need (RFC
5321 4.1.2), in NFC. What stands behind a "+", and Gmail's dots, are as they were written: only the server knows whose such
an address is.

The digest is HMAC-SHA256 with a key that is made of the oldest token key: that is never removed, is in each backup, and
all nodes have it. Without it nobody can try addresses against what an erasure left.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, get_args

from relay.core import addresses
from relay.core.model import Event, EventType, Keys, Value

Ground = Literal["refusal", "bounce", "complaint", "manual"]
GROUNDS: tuple[Ground, ...] = get_args(Ground)
Setting = Literal["off", "untrack", "reject"]
Effect = Literal["", "untrack", "reject"]

PURPOSE = b"trackrelay: recipients"
DIGITS = 32  # hexadecimal: 128 bits
# A quoted string whose content needs no quotes: a dot-atom, pairs of a backslash and a character resolved.
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
PAIR = re.compile(r"\\(.)", re.S)
DOT_ATOM = re.compile(r"[^\s\x00-\x1f\x7f()<>\[\]:;,@\\\".]+(?:\.[^\s\x00-\x1f\x7f()<>\[\]:;,@\\\".]+)*")

SENTENCES: dict[Ground, str] = {
    "refusal": "the recipient refused to be tracked",
    "bounce": "an earlier message could not be delivered there for good",
    "complaint": "the recipient complained about an earlier message",
    "manual": "the operator put it on the list",
}


class Suppression(Value, frozen=True):
    """That one mailbox is on the list, for one reason. `digest` names it; `recipient` is its address, "" once that was
    erased. `grant_id` "" is for the mail of all grants. `since` in Unix seconds, `event_id` is of the event that it
    comes from, if any. `source` says who put it there: "page", "mailbox", "command" or "api"."""

    digest: str
    grant_id: str
    reason: Ground
    recipient: str
    since: float
    source: str = ""
    event_id: str = ""
    note: str = ""


class Erasure(Value, frozen=True):
    """That somebody asked at `at` to have deleted what is kept of this mailbox, from the page of that message."""

    digest: str
    recipient: str
    at: float
    message_id: str = ""


def mailbox(address: str) -> str:
    """The spelling that the addresses of one mailbox share."""
    local, at, domain = addresses.comparable(address.strip()).rpartition("@")
    if at and local[:1] == '"' and (match := QUOTED.fullmatch(local)):
        plain = PAIR.sub(r"\1", match[1])
        local = plain if DOT_ATOM.fullmatch(plain) else local
    return f"{local}{at}{domain}"


def digest(address: str, keys: Keys) -> str:
    """What the mailbox is known by, also when its address is erased."""
    first, second = _halves(keys.secrets[min(keys.secrets)])
    inner, outer = first.copy(), second.copy()
    inner.update(mailbox(address).encode(errors="surrogatepass"))
    outer.update(inner.digest())
    return outer.hexdigest()[:DIGITS]


@lru_cache(maxsize=8)
def _halves(secret: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Of HMAC (RFC 2104). `hmac.digest` would release the interpreter's lock for each recipient, to whoever waits for it."""
    block = hmac.digest(secret, PURPOSE, hashlib.sha256).ljust(64, b"\0")
    inner, outer = (hashlib.sha256(bytes(octet ^ pad for octet in block)) for pad in (0x36, 0x5C))
    return inner, outer


def said(grounds: object) -> list[str]:
    """The reasons in a message's record, in words."""
    return [SENTENCES[ground] for ground in GROUNDS if isinstance(grounds, list | tuple) and ground in grounds]


def effect(setting: Setting, found: Iterable[Suppression], grant_id: str) -> tuple[Effect, Ground | None]:
    """What becomes of the copy to a mailbox with these entries, and for which reason. A refusal says that somebody does not want to be
    tracked, and nothing of not being written to: it untracks, whatever is set. The others do what the setting says."""
    grounds = {one.reason for one in found if one.grant_id in ("", grant_id)}
    hard = next((ground for ground in GROUNDS if ground != "refusal" and ground in grounds), None)
    if setting == "reject" and hard:
        return "reject", hard
    if "refusal" in grounds:
        return "untrack", "refusal"
    return ("untrack", hard) if setting == "untrack" and hard else ("", None)


def refused(found: Iterable[Suppression], grant_id: str) -> float | None:
    """Since when the mailbox with these entries does not want to be tracked by this grant; None where it has not said so."""
    since = [one.since for one in found if one.reason == "refusal" and one.grant_id in ("", grant_id)]
    return min(since, default=None)


# -- where entries come from -------------------------------------------------------------------------------------------

WISHES: tuple[EventType, ...] = ("message.tracking_refused", "message.erasure_requested")
# Statuses of class 5 that say that nobody is there (RFC 3463 3.2, 3.3; RFC 7505): not that a mailbox is full, or the message
# not welcome.
NOBODY_THERE = frozenset({"1.0", "1.1", "1.2", "1.3", "1.6", "1.10", "2.0", "2.1"})
VAGUE = frozenset({"", "0.0", "4.0", "4.4"})  # then its words must say so
NOBODY_WORDS = re.compile(
    r"unknown (?:user|recipient|address|mailbox|local)|(?:user|recipient|address|mailbox|account|domain)(?: name)? (?:is )?unknown"
    r"|no such (?:user|person|recipient|address|mailbox|account|domain)|(?:does not|doesn't|doesn&#39;t) exist|not exist"
    r"|(?:user|recipient|address|mailbox|account|host|domain)[^.;]{0,40} not found|no mailbox|invalid (?:recipient|mailbox|address|user)"
    r"|(?:mailbox|account|address|user|recipient)[^.;]{0,40}(?:disabled|inactive|deactivated|closed|suspended|unavailable)"
    r"|unrout(?:e)?able address|not a (?:known|valid) (?:user|recipient|mailbox)",
    re.I,
)


def ground(event: Event) -> Ground | None:
    """The reason for which this event puts its recipient on the list; None where it does not. A report must be verified: a
    token of ours came back with it, so that nobody can put others on the list by writing one."""
    if event.type in WISHES:
        return "refusal"
    if event.data.get("verified") is not True:
        return None
    if event.type == "message.complained":
        return "complaint"
    return "bounce" if event.type == "message.bounce_detected" and nobody_there(event) else None


def nobody_there(event: Event) -> bool:
    """Whether a bounce says for good that there is no such mailbox."""
    status, code = str(event.data.get("status") or ""), event.data.get("code")
    kind, _, detail = status.partition(".")
    if kind not in ("5", "") or (not kind and not (isinstance(code, int) and 550 <= code <= 559)):
        return False
    return detail in NOBODY_THERE or (
        detail in VAGUE and bool(NOBODY_WORDS.search(str(event.data.get("reason") or "")))
    )


def masked(address: str) -> str:
    """So much of it that its owner knows it again, and nobody else learns it."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}\N{BULLET}\N{BULLET}\N{BULLET}{at}{domain}"
