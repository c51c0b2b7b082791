"""Mail loops: how often a message has been here, by the envelope identifier that it left with, and by its trace fields.

Owns: that identifier (RFC 3461 4.4), and how often is too often. It is `ENVID=t.TOKEN`, from the second time on
`t.TOKEN.2` and so on; servers hand it on with the message, and a bounce brings it back. What a client's own identifier
is, is the client's, and stays. Received fields tell where a server on the way knows no DSN. Leaves to others: these fields
(`core.trace`), how many of all servers a message may have (`smtp`), the identifier's place in the command
(`core.envelopes`).

Once is no loop: mail comes back to a relay that stands before two servers, or to one of two that share their keys or
their name, and goes out by another door. So either way it is the sixth time that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from relay.core import headers, threads, tokens, trace
from relay.core.model import Keys, Reply

MAX_TIMES = 5
REFUSAL = Reply(554, f"5.4.6 This message left here {MAX_TIMES} times already: mail loop")


def refusal(options: Sequence[str], keys: Keys) -> Reply | None:
    """What a message with these options of MAIL hears that has been here too often."""
    return REFUSAL if options and left(identifier(options), keys)[1] >= MAX_TIMES else None


def refusal_by_trace(head: headers.Headers, hostname: str) -> Reply | None:
    """The same by its Received fields."""
    return REFUSAL if trace.passes(head, hostname) >= MAX_TIMES else None


def marked(options: Sequence[str], keys: Keys, token: str) -> tuple[str, ...]:
    """The options with which it goes on: `token` in an identifier of ours where there is none, counted up where there is
    one of ours."""
    given = identifier(options) if options else ""
    if not given:
        return (*options, f"ENVID={threads.envelope_id(token)}")
    before, times = left(given, keys)
    if not before:
        return tuple(options)
    rest = (option for option in options if option[:6].upper() != "ENVID=")
    return (*rest, f"ENVID={threads.envelope_id(before, times + 1)}")


def identifier(options: Sequence[str]) -> str:
    return next((option[6:] for option in options if option[:6].upper() == "ENVID="), "")


def left(identifier: str, keys: Keys) -> tuple[str, int]:
    """The token that we put into it, and how often it left here; ("", 0) for an identifier that is not ours."""
    token, times = threads.enveloped(identifier)
    return (token, times) if token and tokens.read(token, "reference", keys) else ("", 0)
