"""The parts of a report that were made for programs: delivery status (RFC 3464) and abuse feedback (RFC 5965).

Owns: their fields, and the codes in a remote server's words. Leaves to others: what kind of message it makes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relay.core import addresses, headers

MAX_RECIPIENTS = 1_000  # of one report
LONGEST_REASON = 1_000  # characters
LONGEST_TYPE = 60  # characters of a kind of feedback

# An enhanced status code (RFC 3463): not a piece of an address or a version.
ENHANCED = re.compile(r"(?<![\w.])([245])\.(\d{1,3})\.(\d{1,3})(?![\w]|\.\d)")
# A reply code (RFC 5321 4.2): "550 5.1.1", "550-5.7.1", "'550", "(550)", ":550". Not a number in a running text.
REPLY = re.compile(r"(?<![\w.,-])(?<!port )([45][0-5]\d)(?=[ \-:,]{1,3}(?:\(?#?[245]\.\d|[A-Za-z<\"'\[(#:])|$)", re.M)
ADDRESS = re.compile(r"[^\s<>\"(),;:\[\]]{1,64}@[^\s<>\"(),;:\[\]@]{1,255}")
# Fields with an address in them.
ADDRESSES = frozenset(
    {"final-recipient", "original-recipient", "original-rcpt-to", "removal-recipient", "redacted-address"}
)
# Kinds of feedback (RFC 5965 7.3 and later registrations) that are no complaint about a message.
NOT_COMPLAINTS = frozenset({"auth-failure", "not-spam", "not-junk", "dmarc"})


@dataclass(frozen=True, slots=True)
class RecipientFields:
    """What a report says about one recipient. `recipient` is the address the message was sent to where the report
    knows it, else the one at which it ended; `final` the latter. `status` is an enhanced status code; `smtp_code` the
    remote server's; `action` one of RFC 3464's: failed, delayed, delivered, relayed, expanded."""

    recipient: str
    status: str | None = None
    smtp_code: int | None = None
    action: str | None = None
    reason: str = ""
    final: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A delivery status: `envelope_id` is the ENVID of the transmission (RFC 3464 2.2.1)."""

    entries: tuple[RecipientFields, ...]
    envelope_id: str = ""


def groups(body: bytes) -> list[Mapping[str, str]]:
    """The groups of fields in such a part, in order; in each the first field of a name. Blank lines divide them; a
    line that is no field is stepped over."""
    found: list[Mapping[str, str]] = []
    at = 0
    while at < len(body) and len(found) <= MAX_RECIPIENTS:
        head = headers.read(body, at)
        group: dict[str, str] = {}
        for field in head.fields:
            read = head.undecoded if field.name in ADDRESSES else head.text
            group.setdefault(field.name, read(field))
        if group:
            found.append(group)
        at = head.body
        if head.malformed >= 0:
            line_end = body.find(b"\n", head.malformed)
            at = len(body) if line_end < 0 else line_end + 1
    return found


def status(body: bytes) -> Status:
    """A message/delivery-status part."""
    entries: list[RecipientFields] = []
    envelope_id = ""
    for group in groups(body):
        envelope_id = envelope_id or group.get("original-envelope-id", "")
        if any(name in group for name in ("final-recipient", "original-recipient", "action", "status")):
            entry = recipient(group)
            if entry.recipient or entry.status or "action" in group:
                entries.append(entry)
    return Status(tuple(entries[:MAX_RECIPIENTS]), envelope_id.strip().removeprefix("<").removesuffix(">"))


def recipient(group: Mapping[str, str]) -> RecipientFields:
    """One per-recipient group (RFC 3464 2.3)."""
    final = typed(group.get("final-recipient", ""))
    words = typed(group.get("diagnostic-code", ""))
    code = own = enhanced(group.get("status", ""))
    if code is None or code.endswith(".0.0"):  # the remote server's words may say more than the summary
        said = enhanced(words)
        if said is not None and (code is None or said[0] == code[0]):
            code = said
    action = group.get("action", "").partition("(")[0].split()
    return RecipientFields(
        address(typed(group.get("original-recipient", ""))) or address(final),
        code,
        reply(words) or reply(group.get("status", "")),
        meant(action[0].lower() if action else "", own or code),
        words[:LONGEST_REASON],
        address(final),
    )


def meant(action: str, code: str | None) -> str:
    """The action of RFC 3464 that a word stands for; where there is none, what the status code says; with
    neither it is a failure, of which most reports are."""
    for known in ("failed", "delayed", "delivered", "relayed", "expanded"):
        if action.startswith(known[:4]):
            return known
    if code is None:
        return "failed"
    return {"5": "failed", "4": "delayed", "2": "delivered"}[code[0]]


def feedback(body: bytes) -> tuple[str, tuple[RecipientFields, ...]]:
    """A message/feedback-report part: its type in lower case, and the recipients it names."""
    fields: dict[str, str] = {}
    for group in groups(body):
        fields = {**group, **fields}
    names = ("original-rcpt-to", "removal-recipient", "redacted-address")
    found = [address(fields[name]) for name in names if name in fields]
    entries = tuple(RecipientFields(a, action=None, final=a) for a in dict.fromkeys(found[:1]) if a)
    return fields.get("feedback-type", "").strip().lower(), entries


def typed(value: str) -> str:
    """A value without its type: `rfc822; a@b.example`, `smtp; 550 …` (RFC 3464 2.1.2)."""
    kind, mark, rest = value.partition(";")
    return (rest if mark and " " not in kind.strip() else value).strip()


def address(text: str) -> str:
    """The address in a value; "" where there is none, such as a pipe or a UUCP path."""
    found = addresses.specs(text[:2_000])
    if found and ADDRESS.fullmatch(found[0]):
        return found[0]
    match = ADDRESS.search(text[:2_000])
    return match[0].rstrip(".") if match else ""


def enhanced(text: str) -> str | None:
    match = ENHANCED.search(text[:4_000])
    return ".".join(str(int(group)) for group in match.groups()) if match else None


def reply(text: str) -> int | None:
    match = REPLY.search(text[:4_000])
    return int(match[1]) if match else None
