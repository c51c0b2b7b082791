"""Whose name a login may send in.

Owns: the comparison of the addresses that a client gives with the patterns of its login, and the refusal. Leaves to
others: which patterns a login has (`relay.smtp.accounts`), when it is asked (`relay.smtp` of the reverse-path,
`relay.outbound` of the message), how a pattern is read (`addresses`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from relay.core import addresses
from relay.core.headers import Headers
from relay.core.model import Reply

Senders = tuple[str, ...] | None  # patterns; None where a client may send as anybody

NAMED = 10  # patterns in a refusal
# From behind a line that is no header field: nobody here reads it as one, others may.
STRAY = re.compile(rb"^from[ \t]*:", re.I | re.M)
BLANK = re.compile(rb"\n\r?\n")


def refusal(given: Iterable[str], senders: Senders) -> Reply | None:
    """None where the login may send as all of these addresses."""
    if senders is None:
        return None
    return next((refused(address, senders) for address in given if not addresses.matches(address, senders)), None)


def refusal_of_message(head: Headers, senders: Senders) -> Reply | None:
    """The same of the author's addresses: each of each From field, since readers differ in which they show."""
    if senders is None:
        return None
    if head.malformed >= 0:
        end = BLANK.search(head.raw, head.malformed)
        if STRAY.search(head.raw, head.malformed, end.start() + 1 if end else len(head.raw)):
            return Reply(553, "5.7.1 The From field stands behind a line that is no header field")
    return refusal(addresses.listed(head, "from"), senders)


def refused(address: str, senders: Sequence[str]) -> Reply:
    if not senders:
        return Reply(553, f"5.7.1 This login may not send as {address}: no sender addresses are set for it")
    more = " and others" if len(senders) > NAMED else ""
    return Reply(553, f"5.7.1 This login may not send as {address}, only as {', '.join(senders[:NAMED])}{more}")
