"""Which sent message does a report in a mailbox speak of, and of whose copy?

Owns: the look-up, by identifiers and by our tokens, and what it proves. Leaves to others: what the message says
(`core.reports`), what answers speak of (`relay.replies`), the events (`mailbox.reading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relay import replies
from relay.core import addresses, identifiers
from relay.core.model import Keys, Sent, SentCopy

MAX_PEOPLE = 100  # of one report, by whom a message is looked up


@dataclass(frozen=True, slots=True)
class Match:
    """`named` are the recipient indexes of the tokens that came back. `known`: a Message-ID led here, and not only a
    token."""

    sent: Sent
    named: frozenset[int]
    known: bool

    def addressed(self, people: Sequence[str]) -> SentCopy | None:
        """The copy that one of these addresses was sent."""
        spelt = {addresses.comparable(address) for address in people if address}
        return next((copy for copy in self.sent.copies if addresses.comparable(copy.recipient) in spelt), None)

    def tokened(self) -> SentCopy | None:
        """The copy that the tokens name, if it is one person's."""
        return only([copy for copy in self.sent.copies if copy.index in self.named])

    def sole(self) -> SentCopy | None:
        """The copy of a message that had a single recipient."""
        return only(self.sent.copies)

    def verified(self, copy: SentCopy | None) -> bool:
        """Whether a token of that copy came back; without one: of any copy of this message."""
        return bool(self.named) if copy is None else copy.index in self.named


async def find(
    store: replies.SentMail, grant_id: str, keys: Keys, ids: Sequence[str], people: Sequence[str], envelope_id: str = ""
) -> Match | None:
    """The message of this grant that the identifiers name: by those recorded, else by the tokens in them, which also
    stand where an upstream wrote a Message-ID of its own. `envelope_id` is the one that a report brings back.

    Programs that send to each recipient anew write one Message-ID into many messages. Of these it is the one that a token
    names, else the newest that one of these `people` was sent."""
    good = [identifier for identifier in ids if identifiers.unique(identifier)]
    spelt = [addresses.comparable(address) for address in people[:MAX_PEOPLE]]
    found = await store.find_sent(good, grant_id, spelt) if good else None
    ours = list(replies.genuine(keys, ids, envelope_id))
    for message_id, enveloped in dict.fromkeys((message_id, not identifier) for message_id, _, identifier in ours):
        if found is not None and message_id == found.message_id:
            break
        sent = await store.sent(message_id)
        if sent is None or sent.grant_id != grant_id:
            continue
        if found is None or enveloped or sent.internet_message_id == found.internet_message_id:
            return Match(sent, replies.indexes(sent, ours), found is not None)
    return None if found is None else Match(found, replies.indexes(found, ours), True)


def only(copies: Sequence[SentCopy]) -> SentCopy | None:
    return copies[0] if len(copies) == 1 else None
