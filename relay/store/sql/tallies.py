"""What has been counted for a message, in one row each.

Owns: reading and writing these rows; hits that are only counted. Leaves to others: what is in them (`core.tally`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from relay.core import floods, tally
from relay.store.sql.program import Program, insert, replacing, spelt, write

COLUMNS = ("message_id", "facts")
SAVE = insert("tallies", COLUMNS, replacing(COLUMNS, "message_id"))
ONE = "SELECT facts FROM tallies WHERE message_id = ?"
THESE = spelt("SELECT message_id, facts FROM tallies WHERE message_id {many}")

UNUSUAL = ",{},{},{},[],{}]"  # the end of most facts, from `levels` on

_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(tally.Facts).decode


def encode(facts: tally.Facts) -> str:
    """JSON: a list, in the order of the fields, mostly without the empty ones at its end."""
    text = _encode(facts).decode()
    return text.removesuffix(UNUSUAL) + "]" if text.endswith(UNUSUAL) else text


def fold(folds: Sequence[floods.Fold]) -> Program[None]:
    """What is known of a message is one row: so each row is read and written once."""
    found: dict[str, tally.Facts] = {}
    for message_id in {fold.message_id for fold in folds}:
        if rows := (yield ONE, (message_id,)):
            found[message_id] = decode(rows[0][0])
    for fold in folds:
        if fold.message_id in found:
            tally.fold(found[fold.message_id], fold.token, fold.hits)
    yield from write((SAVE, [(key, encode(fact)) for key, fact in found.items()]))
