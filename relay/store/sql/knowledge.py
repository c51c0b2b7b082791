"""What is known of their messages when events come.

Owns: the one question about a whole batch, and what its answer says. Leaves to others: what the batch comes to (`decisions`),
writing it (`appending`).
"""
# ruff: noqa: S608 - SQL is put together from constants of this package; values are bound

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from relay.core import counts, tally
from relay.core.model import Endpoint, Event
from relay.core.suppressions import Suppression, refused
from relay.store import decisions
from relay.store.sql import counts as counters
from relay.store.sql import (
    endpoints,
    suppressions,
)
from relay.store.sql.program import Over, Program, Row, Rows, both, spelt
from relay.store.tables import ENDPOINTS

LINKS, FACTS = 1, 2  # what else is asked of an event's message
NO_FACTS = tally.Facts()  # stands where they are asked for
KNOWN = Rows(
    spelt(
        f"""
SELECT (SELECT {{begin}}{{array}}(asked.column1, e.position, m.grant_id, m.submitted_at, m.submitter_ip,
    m.label, m.sender, s.opens, s.machine_opens, s.clicks, s.machine_clicks,
    CASE WHEN asked.column7 IN ({LINKS}, {LINKS + FACTS}) THEN json_array_length({{links}}) END,
    (SELECT CASE WHEN c.sole THEN {{json}}(c.recipient) ELSE {{json}}((SELECT count(*) FROM copies s
        WHERE s.message_id = asked.column3 AND s.idx = asked.column4)) END FROM copies c
      WHERE c.message_id = asked.column3 AND c.idx = asked.column4 LIMIT 1))
    {{and_facts}}CASE WHEN asked.column7 >= {FACTS} THEN t.facts END{{end}}
  FROM {{rows}} AS asked
  LEFT JOIN events e ON e.event_id = asked.column2 {{near}}
  LEFT JOIN messages m ON m.message_id = asked.column3
  LEFT JOIN tallies t ON t.message_id = asked.column3
  LEFT JOIN seen s ON s.message_id = asked.column3 AND s.idx = asked.column4
  WHERE asked.column1 IS NOT NULL),
  {{last}},
  (SELECT {{group}}({{array}}({ENDPOINTS.names("l")})){{text}} FROM endpoints l WHERE {endpoints.IS_LIVE}),
  (SELECT upto FROM counting),
  ({{refusal}})
""",
        refusal=both(suppressions.FIRST_REFUSAL),
        # Facts are JSON already: as text in it they would be written, and read, twice.
        begin=("'[' || group_concat('[' || ", "json_agg(json_build_array("),
        and_facts=("|| ',' || coalesce(", ", CAST("),
        end=(", 'null') || ']') || ']'", " AS json)))::text"),
        links=("m.links", "CAST(m.links AS json)"),
        near=("", "AND e.at BETWEEN asked.column5 AND asked.column6"),  # its tables are by time
        last=("(SELECT seq FROM sqlite_sequence WHERE name = 'events')", "(SELECT position FROM counting)"),
    ),
    (
        "events.sequence",
        "events.event_id",
        "events.message_id",
        "copies.idx",
        "events.at",
        "events.at",
        "copies.idx",
    ),
)
ALWAYS = (float("-inf"), float("inf"))


decode_endpoints = msgspec.json.Decoder(list[list[Any]]).decode
decode_known = msgspec.json.Decoder(
    list[
        tuple[
            tuple[
                int,
                int | None,
                str | None,
                float | None,
                str | None,
                str | None,
                str | None,
                int | None,
                int | None,
                int | None,
                int | None,
                int | None,
                str | int | None,
            ],
            tally.Facts | None,
        ]
    ]
).decode


Digest = Callable[[str], str]  # of an address, as `suppressions` has it


class Asking:
    """The endpoints that take notifications. They change seldom and every batch needs them: a text equal to the last
    one is not decoded again."""

    def __init__(self) -> None:
        self._text = ""
        self._endpoints: list[Endpoint] = []

    def read(self, text: str) -> list[Endpoint]:
        if text != self._text:
            self._endpoints = [ENDPOINTS.value(row) for row in decode_endpoints(text)]
            self._text = text
        return self._endpoints


class Found(NamedTuple):
    """What is known when a batch comes, per event and per message; the last position; the live endpoints. `counted` has
    of messages that are in the counters, per recipient index, what rates take from them, and what was done with the copy."""

    known: list[decisions.Known]
    facts: dict[str, tally.Facts]
    position: int
    endpoints: list[Endpoint]
    counted: dict[tuple[str, int], tuple[counts.About, counts.Seen]]


def read(batch: Sequence[Event], asking: Asking, digest: Digest | None = None) -> Program[Found]:
    known: list[decisions.Known] = [(False, tally.UNKNOWN)] * len(batch)
    facts: dict[str, tally.Facts] = {}
    counted: dict[tuple[str, int], tuple[counts.About, counts.Seen]] = {}
    asked: list[Row] = []
    for n, event in enumerate(batch):
        message_id, kind = event.message_id, event.type
        ask = LINKS if kind == "message.link_clicked" else 0
        if message_id not in facts:
            # It may be long, and the hits of a message come together: it is read once, with the first of them.
            facts[message_id] = NO_FACTS
            ask += FACTS
        # When it is, where it is there already: a hit has one time, whatever way it comes. What is seen in a mailbox may
        # be seen again, later.
        since, until = (event.at, event.at) if kind in tally.HITS else ALWAYS
        asked.append((n, event.event_id, message_id, event.recipient_index, since, until, ask))
    found = yield Over(KNOWN, asked)
    _, last, live, _, refusal = found[0]
    for text, _, _, upto, _ in found:
        for row, fact in decode_known(text):
            (
                n,
                position,
                grant,
                submitted_at,
                ip,
                label,
                sender,
                opens,
                machine_opens,
                clicks,
                machine_clicks,
                links,
                to,
            ) = row
            event, origin = batch[n], tally.UNKNOWN
            message_id = event.message_id
            if grant is not None:
                if upto is None or counters.includes(upto, message_id):
                    key = (message_id, event.recipient_index)
                    if key not in counted:
                        counted[key] = (
                            counts.About(grant, submitted_at or 0.0, label or "", sender or ""),
                            [opens or 0, machine_opens or 0, clicks or 0, machine_clicks or 0],
                        )
                # A text is the one who has the copy, a number how many share it.
                sole, sharing = (to, 1) if isinstance(to, str) else ("", to or 1)
                origin = tally.Origin(grant, submitted_at or 0.0, ip or "", sole, sharing, links or 0)
            known[n] = (position is not None, origin)
            if fact is not None:
                facts[message_id] = fact
            elif facts[message_id] is NO_FACTS:
                facts[message_id] = tally.Facts()
    if refusal is not None and digest is not None:
        yield from heed(batch, known, digest)
    return Found(known, facts, last or 0, asking.read(live or "[]"), counted)


def heed(batch: Sequence[Event], known: list[decisions.Known], digest: Digest) -> Program[None]:
    """Which of these are by somebody who refused."""
    digests = {
        origin.recipient: digest(origin.recipient)
        for event, (_, origin) in zip(batch, known, strict=True)
        if origin.recipient and event.type in tally.HITS
    }
    listed: dict[str, list[Suppression]] = {}
    for one in (yield from suppressions.of(digests.values())) if digests else ():
        listed.setdefault(one.digest, []).append(one)
    for at, (there, origin) in enumerate(known):
        if origin.recipient in digests and (own := listed.get(digests[origin.recipient])):
            known[at] = (there, origin.with_(refused=refused(own, origin.grant_id)))
