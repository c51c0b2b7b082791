"""The header fields of a message that is made here.

Owns: what may stand in one, how it is encoded (RFC 2047) and folded (RFC 5322 2.2.3). Whatever could end a line is
refused, with the name of the field that has it. Leaves to others: which fields a message has (`compose`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from email import charset, header

from relay.core import addresses as reading
from relay.core import domains, envelopes
from relay.core.model import Value

WIDTH = 76  # characters of a line, where it can be folded
LONGEST_LINE = 998  # RFC 5322 2.1.1
MAX_SUBJECT = 10_000  # characters
MAX_CUSTOM = 100
MAX_VALUE = 16_384  # characters of a further field

NAME = re.compile(r"[!-9;-~]{1,200}")
ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+")  # RFC 5322 3.2.3, with spaces between
IDENTIFIER = re.compile(r"[!-;=?-~]{1,900}")
CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\u2028\u2029\x85\ud800-\udfff]")
# What is written by us, tells who sent it, is a trace of the way, or is about the body that we make.
OURS = frozenset(
    {
        "from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references",
        "mime-version", "return-path", "received", "delivered-to", "x-original-to", "authentication-results",
        "received-spf", "dkim-signature", "domainkey-signature", "x-google-dkim-signature",
    }
)  # fmt: skip
OURS_FROM = ("content-", "resent-", "arc-")
TRACKING = "x-track"
UTF8 = charset.Charset("utf-8")
UTF8.header_encoding = charset.SHORTEST


class Unfit(Exception):
    """What can't stand in a message. `field` is its name in the description."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field, self.sentence = field, sentence


class Mailbox(Value, frozen=True):
    address: str
    name: str = ""


def clean(field: str, text: str) -> str:
    found = CONTROLS.search(text)
    if found:
        what = "a line break" if found[0] in "\r\n\x85\u2028\u2029" else "a control character"
        raise Unfit(field, f"{what} can't stand in it")
    return text


def checked(field: str, group: Sequence[Mailbox]) -> list[Mailbox]:
    """The same, with addresses as they go onto the wire."""
    return [Mailbox(spelt(field, each.address), clean(field, each.name)) for each in group]


def spelt(field: str, address: str) -> str:
    """The address with its domain as DNS is asked for it, where the local part needs no SMTPUTF8. Raises `Unfit`."""
    given = clean(field, address).strip()
    local, at, domain = given.rpartition("@")
    if not (at and local and domain):
        raise Unfit(field, f"{address[:100]!r} is no e-mail address")
    if not domain.isascii():
        domain = domains.spelt(domain)
    whole = f"{local}@{domain}"
    # Readers must find this one address in it, and no other.
    if not envelopes.fits(whole) or len(whole) > 320 or reading.specs(whole) != (whole,):
        raise Unfit(field, f"{address[:100]!r} is no e-mail address")
    return whole


def addresses(name: str, group: Sequence[Mailbox]) -> str:
    return folded(name, [f"{mailbox(each)}{',' if n < len(group) else ''}" for n, each in enumerate(group, 1)])


def mailbox(given: Mailbox) -> str:
    name = " ".join(given.name.split())
    if not name:
        return given.address if given.address.isascii() else f"<{given.address}>"
    if not name.isascii() or "=?" in name or len(name) > WIDTH * 8:
        return f"{encoded(name, 1)} <{given.address}>"
    if not ATOMS.fullmatch(name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{given.address}>"


def unstructured(name: str, text: str) -> str:
    """Encoded where it is not ASCII, or would be read as another text."""
    if len(text) > MAX_SUBJECT + MAX_VALUE:
        raise Unfit(name.lower(), f"it may have {MAX_SUBJECT + MAX_VALUE:,} characters")
    words = text.split(" ")
    plain = text.isascii() and text.isprintable() and "=?" not in text and "" not in words
    if text and (not plain or max(map(len, words)) > LONGEST_LINE - len(name) - 20):
        return f"{name}: {encoded(text, len(name) + 2)}"
    return folded(name, words) if text else f"{name}: "


def encoded(text: str, taken: int) -> str:
    """As encoded words, in lines that begin with a space (but the first)."""
    made = header.Header(text, UTF8, maxlinelen=WIDTH, continuation_ws=" ", header_name="x" * min(taken, 40))
    return made.encode(splitchars="", linesep="\r\n")


def folded(name: str, items: Iterable[str]) -> str:
    """The items with a space between them, a line each where they don't fit."""
    lines: list[str] = [f"{name}:"]
    for item in items:
        if len(lines[-1]) + 1 + len(item.partition("\r\n")[0]) > WIDTH and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] = f"{lines[-1]} {item}"
        if "\r\n" in item:
            before, _, last = lines[-1].rpartition("\r\n")
            lines[-1:] = [before, last]
    if lines == [f"{name}:"]:
        return ""
    return "\r\n".join(lines)


def identifier(field: str, text: str) -> str:
    """A message identifier without its brackets. Raises `Unfit`."""
    given = clean(field, text).strip()
    if given.startswith("<") and given.endswith(">"):
        given = given[1:-1]
    if not IDENTIFIER.fullmatch(given):
        raise Unfit(field, f"{text[:100]!r} is no Message-ID")
    return given


def identifiers(name: str, given: Sequence[str]) -> str:
    return folded(name, [f"<{each}>" for each in given])


def control(name: str, value: str) -> str:
    """A field for `instructions`, which takes it out. Its value is ASCII; it may be long."""
    return f"{name}: {value}"


def custom(given: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Further fields, as they are named. Raises `Unfit`."""
    if len(given) > MAX_CUSTOM:
        raise Unfit("custom_headers", f"there may be {MAX_CUSTOM}")
    for name, value in given:
        field = f"custom_headers, {name[:60]!r}"
        if not NAME.fullmatch(name):
            raise Unfit(field, "this is no name of a header field")
        small = name.lower()
        if small in OURS or small.startswith(OURS_FROM):
            raise Unfit(field, "this field is written by the relay; use the message's own fields")
        if len(value) > MAX_VALUE:
            raise Unfit(field, f"a value may have {MAX_VALUE:,} characters")
        clean(field, value)
        if small == TRACKING or small.startswith(f"{TRACKING}-"):
            if not value.isascii():
                value = encoded(value, len(name) + 2)
            yield f"{name}: {value}"
        else:
            yield unstructured(name, value)
