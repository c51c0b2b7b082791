"""What has been counted for a message, in one row each.

Owns: reading and writing these rows; the numbers of hits that are only counted. Leaves to others: what is in them
(`core.tally`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from relay.core import floods, tally
from relay.store.sql.program import Program, Row, insert, replacing, spelt, write

COLUMNS = ("message_id", "facts")
SAVE = insert("tallies", COLUMNS, replacing(COLUMNS, "message_id"))
ONE = "SELECT facts FROM tallies WHERE message_id = ?"
THESE = spelt("SELECT message_id, facts FROM tallies WHERE message_id {many}")

UNUSUAL = ",{},{},{},[],{},{}]"  # the end of most facts, from `levels` on
NOTHING = ",{}]"  # of the others, but for a flood's: `handed`

_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(tally.Facts).decode


def encode(facts: tally.Facts) -> str:
    """JSON: a list, in the order of the fields, mostly without the empty ones at its end."""
    text = _encode(facts).decode()
    end = UNUSUAL if text.endswith(UNUSUAL) else NOTHING
    return text.removesuffix(end) + "]" if text.endswith(end) else text


def fold(folds: Sequence[floods.Fold], by: str, number: int) -> Program[None]:
    """What is known of a message is one row: so each row is read and written once."""
    changed: list[Row] = []
    for message_id, own in floods.of_messages(folds).items():
        for (text,) in (yield ONE, (message_id,)):
            facts = decode(text)
            if tally.fold(facts, own, by, number):
                changed.append((message_id, encode(facts)))
    yield from write((SAVE, changed))
