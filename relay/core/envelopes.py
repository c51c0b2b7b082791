"""An envelope and what an upstream offers -> the commands of one transaction, or why it can't be had there.

Owns: which addresses may stand in a command, which parameters of MAIL and RCPT go along (RFC 1870 SIZE, RFC 6152
8BITMIME, RFC 6531 SMTPUTF8, RFC 3461 DSN), what an upstream's reply means and what of its text is passed on.
Leaves to others: sending (`upstream`), and what becomes of a refusal (`delivery`, `spool`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence

from relay.core import headers, parts
from relay.core.model import Done, Envelope, Later, Never, Outcome, Recipient, Reply, Value

# RFC 5321 4.1.2 Mailbox, wide: whatever can't end a command or its angle brackets. Spaces and brackets stand inside a
# quoted local part only. A broken address is refused: mended, it would be somebody else's.
ADDRESS = re.compile(
    r'(?:[^\x00-\x20\x7f-\x9f<>"\\]+|"(?:[^\x00-\x1f\x7f-\x9f"\\]|\\[\x20-\x7e])*")'
    r'(?:@(?:[^\x00-\x20\x7f-\x9f<>"\\@]+))?'
)
LONGEST_ADDRESS = 1000  # octets; RFC 5321 4.5.3.1.3 asks for 256, real ones are longer
PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:=[!-<>-~\x80-\U0010ffff]+)?")
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?= |\Z)")
DSN_OF_MAIL = ("RET", "ENVID")
DSN_OF_RCPT = ("NOTIFY", "ORCPT")
PIECE = 262_144  # octets
PLAIN = re.compile("[!-~]++(?>(?: [!-~]++)*)")
LONGEST_TEXT = 400  # characters: with code and our own words it stays in one reply line (RFC 5321 4.5.3.1.5)


class Lines(Value, frozen=True):
    """The commands, without line endings. `rcpt[i]` is None where `refused[i]` says why that recipient can't be named
    to this upstream; at least one is not None. `eight`: the upstream is told that the message is 8bit."""

    mail: bytes
    rcpt: tuple[bytes | None, ...]
    refused: tuple[Never | None, ...]
    eight: bool = False


def lines(envelope: Envelope, content: bytes, offered: Mapping[str, str], why: str = "") -> Lines | Never:
    """The MAIL and RCPT commands of a transaction. `offered` are the EHLO keywords in lower case, with their
    parameters. `why`: the reason where the message could not be had in 7bit (`sevenbit`). `Never` where no recipient can
    have this message through this upstream."""
    if not whole(content):
        return Never(Reply(554, "5.6.0 The message has a bare CR or LF (RFC 5321 2.3.8)"))
    if envelope.reverse_path and not fits(envelope.reverse_path):
        return Never(Reply(553, "5.1.7 The sender's address can't stand in a command"))
    most = offered.get("size", "").strip()  # RFC 1870 4: "0", or nothing, is no limit
    if len(most) < 20 and most.isdecimal() and 0 < int(most) < len(content):
        return Never(Reply(552, f"5.3.4 The upstream takes messages up to {most} octets; this one has {len(content)}"))
    utf8, dsn, eight = "smtputf8" in offered, "dsn" in offered, not content.isascii()
    declared: dict[str, str] = {}
    if envelope.options and (eight or dsn):  # else nothing that was declared matters
        declared = {
            option.partition("=")[0].upper(): option for option in envelope.options if PARAMETER.fullmatch(option)
        }
    # RFC 6531 3.4: header fields with UTF-8 need it as much as addresses do. What never declared it goes as it came.
    asked = "SMTPUTF8" in declared and eight
    fields = asked and not header_section(content).isascii()
    if not utf8 and fields:
        return Never(Reply(554, "5.6.7 The upstream does not offer SMTPUTF8, and the header fields need it"))
    if not utf8 and not envelope.reverse_path.isascii():
        return Never(Reply(553, "5.6.7 The upstream does not offer SMTPUTF8, and the sender's address needs it"))
    # What was never declared goes as it came: nobody was promised that it arrives whole, and most servers let it pass.
    if eight and "8bitmime" not in offered and declared.get("BODY", "").upper() == "BODY=8BITMIME":
        return Never(Reply(554, f"5.6.3 The upstream does not offer 8BITMIME, and {why or 'the message needs it'}"))
    rcpt, refused = [], []
    for recipient in envelope.recipients:
        refusal = _unfit(recipient, utf8)
        refused.append(refusal)
        rcpt.append(None if refusal else _rcpt(recipient, offered))
    if all(refused):
        return next(r for r in refused if r)
    # Said only where it is needed: whoever relays the message further would else need a server that offers it.
    unicode = utf8 and (fields or not _named_in_ascii(envelope, rcpt) or (asked and _in_a_part(content)))
    told = eight and "8bitmime" in offered  # what is 7bit says nothing, whatever was declared: any server takes it
    size = b" SIZE=%d" % len(content) if "size" in offered else b""
    mail = b"MAIL FROM:<%b>" % envelope.reverse_path.encode() + size + b" BODY=8BITMIME" * told + b" SMTPUTF8" * unicode
    if dsn:
        mail += b"".join(b" " + declared[name].encode("ascii", "replace") for name in DSN_OF_MAIL if name in declared)
    return Lines(mail, tuple(rcpt), tuple(refused), told)


def _named_in_ascii(envelope: Envelope, rcpt: Sequence[bytes | None]) -> bool:
    return envelope.reverse_path.isascii() and all(line.isascii() for line in rcpt if line)


def _in_a_part(content: bytes) -> bool:
    """Whether a header field of a part has octets beyond ASCII (RFC 6532 3.2). Where SMTPUTF8 is not offered such a message
    goes all the same: it is a file's name, as a rule, and servers let it pass."""
    scanned = parts.scan(content, headers.read(content)).parts
    return any(
        part.headers.fields and not content[part.headers.fields[0].start : part.start].isascii() for part in scanned
    )


def _unfit(recipient: Recipient, utf8: bool) -> Never | None:
    if not fits(recipient.address):
        return Never(Reply(553, "5.1.3 The recipient's address can't stand in a command"))
    if not utf8 and not recipient.address.isascii():
        return Never(Reply(553, "5.6.7 The upstream does not offer SMTPUTF8, and the recipient's address needs it"))
    return None


def _rcpt(recipient: Recipient, offered: Mapping[str, str]) -> bytes:
    line = b"RCPT TO:<%b>" % recipient.address.encode()
    if recipient.options and "dsn" in offered:
        for option in recipient.options:
            name = option.partition("=")[0].upper()
            if name in DSN_OF_RCPT and PARAMETER.fullmatch(option) and (option.isascii() or "smtputf8" in offered):
                line += b" " + option.encode()
    return line


def fits(address: str) -> bool:
    """May it stand between the angle brackets of a command?"""
    try:
        return bool(ADDRESS.fullmatch(address)) and len(address.encode()) <= LONGEST_ADDRESS
    except UnicodeEncodeError:  # a lone surrogate: bytes that were no UTF-8
        return False


def whole(content: bytes) -> bool:
    """Does every line end in CRLF, and is there no other CR or LF? (A bare one can end the message early, or make a
    header field, at a server that takes it for a line ending.)"""
    # Each message is looked at twice, and this takes a quarter of what counting takes, or splitting into lines.
    reader = io.IncrementalNewlineDecoder(None, translate=False)
    for at in range(0, len(content), PIECE):  # no second copy of a large one
        reader.decode(content[at : at + PIECE].decode("latin-1"))
    reader.decode("", final=True)
    return reader.newlines in (None, "\r\n")


def header_section(content: bytes) -> bytes:
    """The header fields, without the empty line."""
    end = content.find(b"\r\n\r\n")
    return content if end < 0 else content[: end + 2]


# -- replies -----------------------------------------------------------------------------------------------------------


def reply(code: int, texts: list[str]) -> Reply:
    """A reply that may be passed on and logged: one line of printable ASCII, bounded. The enhanced status code, which
    servers repeat on each line, stays once."""
    if len(texts) == 1 and len(texts[0]) <= LONGEST_TEXT and PLAIN.fullmatch(texts[0]):
        return Reply(code, texts[0])  # as nearly all are
    first = ENHANCED.match(texts[0]) if texts else None
    parts = [t[len(first[0]) :] if first and t.startswith(first[0]) else t for t in texts[1:]]
    text = " ".join(" ".join([*texts[:1], *parts]).split())
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return Reply(code, printable if len(printable) <= LONGEST_TEXT else printable[: LONGEST_TEXT - 3] + "...")


def outcome(word: Reply) -> Outcome:
    """What a last word means (RFC 5321 4.2.1). A code that is no answer to what was asked is temporary."""
    match word.code // 100:
        case 2:
            return Done(word)
        case 5:
            return Never(word)
        case 4:  # a 421 is about the upstream's connection, not about our client's
            return Later(word if word.code != 421 else Reply(451, word.text))
    return Later(Reply(451, f"4.5.0 The upstream answered {word.code} {word.text}"))


def status(word: Reply) -> str:
    """The enhanced status code (RFC 3463) of a reply, made from the basic code where it has none."""
    found = ENHANCED.match(word.text)
    return found[0] if found else f"{word.code // 100 if word.code // 100 in (2, 4, 5) else 4}.0.0"


# What a bounce is about, by its enhanced status code: the first line whose beginning fits its subject and detail. It is
# the `type` of notifications; docs/webhooks.md has the table.
NATURES = (
    ("2.2.", "mailbox_full"),
    ("2.3.", "message_too_large"),
    ("3.4.", "message_too_large"),
    ("7.", "blocked"),
    ("", "mailbox_unavailable"),
)


def nature(status: str) -> str:
    """What a bounce is about, in a word, by its enhanced status code (RFC 3463 3)."""
    detail = status.partition(".")[2] + "."
    return next(word for start, word in NATURES if detail.startswith(start))
