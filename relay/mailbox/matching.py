"""Which sent message does a message in a mailbox speak of, and of whose copy?

Owns: the look-up, by identifiers and by our tokens, and what it proves. Leaves to others: what the message says
(`core.reports`, `core.threads`), the events (`mailbox.reading`).

Whoever was sent a message knows its Message-ID, and a Message-ID proves nothing. A token of ours in References or in the
envelope identifier proves that the message was made by somebody who had that copy, or stands on its way. A message of
another grant is never found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from relay.core import addresses, identifiers, threads, tokens
from relay.core.model import Keys, Sent, SentCopy

MAX_PEOPLE = 100  # of one report, by whom a message is looked up


class SentMail(Protocol):
    """What is asked of a store here."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None: ...


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
    store: SentMail, grant_id: str, keys: Keys, ids: Sequence[str], people: Sequence[str], envelope_id: str = ""
) -> Match | None:
    """The message of this grant that the identifiers name: by those recorded, else by the tokens in them, which also
    stand where an upstream wrote a Message-ID of its own. `envelope_id` is the one that a report brings back.

    Programs that send to each recipient anew write one Message-ID into many messages. Of these it is the one that a token
    names, else the newest that one of these `people` was sent."""
    good = [identifier for identifier in ids if identifiers.unique(identifier)]
    spelt = [addresses.comparable(address) for address in people[:MAX_PEOPLE]]
    found = await store.find_sent(good, grant_id, spelt) if good else None
    ours = list(genuine(keys, ids, envelope_id))
    for message_id, enveloped in dict.fromkeys((message_id, not identifier) for message_id, _, identifier in ours):
        if found is not None and message_id == found.message_id:
            break
        sent = await store.sent(message_id)
        if sent is None or sent.grant_id != grant_id:
            continue
        if found is None or enveloped or sent.internet_message_id == found.internet_message_id:
            return Match(sent, named(sent, ours), found is not None)
    return None if found is None else Match(found, named(found, ours), True)


Genuine = tuple[str, int, str]  # the message, the recipient index, the identifier in which that token stood


def genuine(keys: Keys, ids: Sequence[str], envelope_id: str) -> Iterator[Genuine]:
    """What the tokens say that were signed by our keys."""
    enveloped, _ = threads.enveloped(envelope_id)
    for identifier, text in (("", enveloped), *((i, threads.token(i)) for i in ids)):
        token = tokens.read(text, "reference", keys) if text else None
        if token is not None:
            yield tokens.message_id(token.message_key), token.recipient, identifier


def named(sent: Sent, ours: Sequence[Genuine]) -> frozenset[int]:
    """The recipient indexes of the tokens that are this message's. A Message-ID that was made here has a token too, but
    all copies have the same one: of several it names none."""
    several = len({copy.index for copy in sent.copies}) > 1
    return frozenset(
        index
        for message_id, index, identifier in ours
        if message_id == sent.message_id and not (several and identifier == sent.internet_message_id)
    )


def only(copies: Sequence[SentCopy]) -> SentCopy | None:
    return copies[0] if len(copies) == 1 else None
