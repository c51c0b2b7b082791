"""Which sent message does this one answer? And the entry of ours that makes it findable.

Owns: what In-Reply-To and References (RFC 5322 3.6.4) name, our entry `<t.TOKEN@host>` among it.
Leaves to others: reading identifiers (`identifiers`), the token (`tokens`), the look-up (`store`), and whether an entry is wanted at all (`outbound`).

The entry stands first in References: the last identifier stays the parent, by which clients build their trees, and
those who trim the field keep its first. It is for upstreams that replace the Message-ID: an answer then names one
that was never seen here, but copies References.
"""

from __future__ import annotations

import re

from relay.core import headers, identifiers, tokens
from relay.core.model import Edit, Keys, Sent

MAX_PARENTS = 20  # identifiers taken from In-Reply-To; more than one is rare, hundreds are an attack
MAX_REFERENCES = 300  # identifiers taken from References: the first, which began the thread, and the last
MAX_FIRST = 100
WIDTH = 78

ENVELOPE_ID = re.compile(r"t\.([A-Za-z0-9_-]+)(?:\.([1-9][0-9]?))?")


def references(head: headers.Headers) -> tuple[str, ...]:
    """The identifiers of what this message answers, likeliest first and without brackets: those of In-Reply-To, then
    References from last to first. No duplicates; at most 20 and 300. Never raises."""
    if "references" not in head.named and "in-reply-to" not in head.named:
        return ()
    parents, ancestors = identifiers.answered(head, "in-reply-to"), identifiers.answered(head, "references")
    if len(ancestors) > MAX_REFERENCES:
        ancestors = [*ancestors[:MAX_FIRST], *ancestors[MAX_FIRST - MAX_REFERENCES :]]
    return tuple(dict.fromkeys([*parents[:MAX_PARENTS], *reversed(ancestors)]))


def ancestry(sent: Sent) -> tuple[str, ...]:
    """What an answer to that message names in References (RFC 5322 3.6.4), oldest first, without brackets; the last is
    what it answers. Where upstreams gave its copies other identifiers, recipients know it by these, and by its own who
    got it as it was. At most 20 of what it answers itself: the first, which began the thread, and the last."""
    earlier = tuple(dict.fromkeys(reversed(sent.references)))
    if len(earlier) > MAX_PARENTS:
        earlier = (earlier[0], *earlier[1 - MAX_PARENTS :])
    given = (copy.upstream_id for copy in sent.copies if "@" in copy.upstream_id)
    own = sent.internet_message_id
    return tuple(dict.fromkeys(i for i in (*earlier, *given) if i != own)) + ((own,) if own else ())


def entry(host: str, token: str) -> str:
    """The identifier that carries a token, without brackets: also for a Message-ID that has to be made."""
    return f"t.{token}@{host}"


def token(identifier: str) -> str | None:
    """The token in an identifier of that form, with or without brackets; whether it is ours only a key can say."""
    local, at, host = identifier.strip().removeprefix("<").removesuffix(">").rpartition("@")
    return local[2:] if at and host and local.startswith("t.") and len(local) > 2 else None


def names(identifier: str, key: bytes, keys: Keys) -> bool:
    """Whether the message with this Message-ID is the one that has this key: bound to it, or in an identifier that was made
    here, of a message that had none, or of one that was composed here (it begins with its id)."""
    ours = token(identifier)
    known = tokens.read(ours, "reference", keys) if ours else None
    if (known and known.message_key == key) or tokens.is_bound(key, identifier, keys):
        return True
    return identifier.rpartition("@")[0] == tokens.message_id(key)


def envelope_id(token: str, times: int = 1) -> str:
    """The envelope identifier (RFC 3461 4.4) that carries a token, of a message that leaves for the `times`th time."""
    return f"t.{token}.{times}" if times > 1 else f"t.{token}"


def enveloped(identifier: str) -> tuple[str, int]:
    """The token in an envelope identifier of that form, and how often it left; whether it is ours only a key can say.
    ("", 0) for all others."""
    found = ENVELOPE_ID.fullmatch(identifier)
    return (found[1], int(found[2] or 1)) if found else ("", 0)


def edits(head: headers.Headers, entry: str, newline: bytes) -> tuple[Edit, ...]:
    """Puts the entry first in References, and leaves what is there as it is. Where there is no References, one is
    made of the entry and the identifiers of In-Reply-To: without these Dovecot takes the message out of its thread.
    `newline` ends the lines."""
    ours = f"<{entry}>".encode()
    field = head.first("references")
    if field is not None and head.bytes(field):
        text = head.raw[field.value : field.end]
        if text.lstrip(b" \t\r\n").startswith(ours):
            return ()
        if text.lstrip(b" \t")[:1] in (b"\r", b"\n"):  # the first line is empty: the entry fills it
            return (Edit(field.value, field.value, b" " + ours),)
        space = b"" if text[:1] in (b" ", b"\t") else b" "
        return (Edit(field.value, field.value, b" " + ours + newline + space),)
    parents = [i for f in head.all("in-reply-to") for i in identifiers.plain(head.text(f))]
    line = folded([ours, *(f"<{i}>".encode() for i in dict.fromkeys(parents[:MAX_PARENTS]))], newline)
    if field is not None:
        return (Edit(field.value, field.end, line.removeprefix(b"References:")),)
    glue = b"" if head.end == head.start or head.raw[: head.end].endswith(b"\n") else newline
    return (Edit(head.end, head.end, glue + line),)


def folded(words: list[bytes], newline: bytes) -> bytes:
    """The References field of these words, lines at most 78 octets long where a single word is not longer."""
    lines = [b"References:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > WIDTH and lines[-1] != b"References:":
            lines.append(b"")
        lines[-1] += b" " + word
    return newline.join(lines) + newline
