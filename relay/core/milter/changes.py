"""What a mail server is told of a message: its changes one by one, and then that it may go on.

Owns: edits as packets. Leaves to others: which edits (`core.rewrite`), which packets there are (`packets`).

Values are sent with LF at the end of folded lines, as libmilter has it: a mail server would keep the CR. A body is sent
as the mail server sent it, with CRLF.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relay.core.milter import packets
from relay.core.rewrite import Added, Edits, HeaderEdit, Removed, Replaced

# Where a field on top goes: Sendmail counts its own Received field, which stands at 0; Postfix hides it, and takes 0 for 1.
TOP = 1


def answer(edits: Edits, *, leading_space: bool) -> bytes:
    """All of it, with the acceptance at the end."""
    found = list(of_headers(edits.headers, leading_space=leading_space))
    if edits.body is not None:
        found += packets.replace_body(edits.body)
    return b"".join((*found, packets.ACCEPT))


def of_headers(edits: Iterable[HeaderEdit], *, leading_space: bool) -> Iterator[bytes]:
    def sent(value: bytes) -> bytes:
        value = value.replace(b"\r\n", b"\n")
        if not leading_space:  # the mail server writes a space itself
            value = value.removeprefix(b" ")
        return value or b" "  # a field of no value would be removed

    for edit in edits:
        match edit:
            case Removed(name, index):
                yield packets.change_header(index, name, b"")
            case Replaced(name, index, value):
                yield packets.change_header(index, name, sent(value))
            case Added(name, value, 0):
                yield packets.insert_header(TOP, name, sent(value))
            case Added(name, value, _):
                yield packets.add_header(name, sent(value))
