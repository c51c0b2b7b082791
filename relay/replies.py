"""Which messages of ours does an answer name? Of all its identifiers, then by what was kept of other answers.

Owns: the look-ups, by identifiers and by our tokens in them. Leaves to others: which of these messages was answered and
whether it is told of (`core.replies`), reports (`mailbox.matching`).

Whoever was sent a message knows its Message-ID, and a Message-ID proves nothing. A token of ours in References or in the
envelope identifier proves that the message was made by somebody who had that copy, or stands on its way. A message of
another grant is never found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from relay.core import addresses, identifiers, replies, threads, tokens
from relay.core.model import Keys, Sent
from relay.core.replies import Answered, Match
from relay.store.lists import Answer

Genuine = tuple[str, int, str]  # the message, the recipient index, the identifier in which that token stood
MAX_TOKENS = 20  # messages that are looked up by tokens
NONE = Keys(0, {})


class SentMail(Protocol):
    """What is asked of a store here."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def find_sent(
        self, internet_ids: Sequence[str], grant_id: str = "", recipients: Sequence[str] = ()
    ) -> Sent | None: ...
    async def find_answer(self, internet_ids: Sequence[str], grant_id: str) -> Answer | None: ...
    async def thread_root(self, thread_id: str, grant_id: str) -> Sent | None: ...


async def told(
    store: SentMail, grant_id: str, ids: Sequence[str], parents: int, author: str, keys: Keys = NONE
) -> tuple[Answered, Sent] | None:
    """What is told of an answer by this author, and the message that begins its thread; None where nothing is. `ids` are
    those of its In-Reply-To, which are so many as `parents`, then those of its References, likeliest first."""
    matches, first = await named(store, grant_id, ids, parents, author, keys)
    if not matches:
        matches = await by_answer(store, grant_id, ids)
    match = replies.answered(matches, first, author)
    if match is None:
        return None
    others = [other for other in matches if other is not match]
    for thread_id in dict.fromkeys(m.sent.thread_id for m in (match, *others)):
        root = await store.thread_root(thread_id, grant_id)
        if root is not None:
            found = replies.told(match, others, root, author)
            return (found, root) if found else None
    return None


async def named(
    store: SentMail, grant_id: str, ids: Sequence[str], parents: int, author: str, keys: Keys
) -> tuple[list[Match], int]:
    """The messages that the identifiers name, likeliest first, and how many of them In-Reply-To does. Of several with one
    Message-ID it is the one that a token names, else the newest that the author was sent.

    No more are looked for where In-Reply-To names a message that tells of the author's answers."""
    ours = list(genuine(keys, ids, ""))
    tokened: dict[str, Sent] = {}
    for message_id in list(dict.fromkeys(message_id for message_id, _, _ in ours))[:MAX_TOKENS]:
        sent = await store.sent(message_id)
        if sent is not None and sent.grant_id == grant_id:
            tokened[message_id] = sent
    by_token = {identifier: message_id for message_id, _, identifier in ours}
    people = spellings(author)
    found: dict[str, Match] = {}
    first = 0
    for number, identifier in enumerate(ids):
        if number == parents:
            first = len(found)
            if any(tells(match.sent, author) for match in found.values()):
                break
        known = await store.find_sent([identifier], grant_id, people) if identifiers.unique(identifier) else None
        meant = known or tokened.get(by_token.get(identifier, ""))
        if known is not None:
            twins = (sent for sent in tokened.values() if sent.internet_message_id == known.internet_message_id)
            meant = next(twins, known)
        if meant is not None:
            before = found.get(meant.message_id)
            certain = known is not None or (before is not None and before.known)
            found[meant.message_id] = Match(meant, indexes(meant, ours), certain)
    return list(found.values()), first if len(ids) > parents else len(found)


def tells(sent: Sent, author: str) -> bool:
    return replies.tells(sent, replies.copies_of(sent, author))


def spellings(author: str) -> list[str]:
    """How the author's address may stand among a message's recipients."""
    spelt = addresses.comparable(author)
    local, at, domain = spelt.rpartition("@")
    return list(dict.fromkeys((spelt, f"{local.partition('+')[0]}{at}{domain}"))) if spelt else []


async def by_answer(store: SentMail, grant_id: str, ids: Sequence[str]) -> list[Match]:
    """The message that another answer was to, which this one names: some programs name nothing else."""
    answer = await store.find_answer(ids, grant_id)
    sent = await store.sent(answer.message_id) if answer else None
    return [Match(sent)] if sent else []


def genuine(keys: Keys, ids: Sequence[str], envelope_id: str) -> Iterator[Genuine]:
    """What the tokens say that were signed by our keys."""
    enveloped, _ = threads.enveloped(envelope_id)
    for identifier, text in (("", enveloped), *((i, threads.token(i)) for i in ids)):
        token = tokens.read(text, "reference", keys) if text else None
        if token is not None:
            yield tokens.message_id(token.message_key), token.recipient, identifier


def indexes(sent: Sent, ours: Sequence[Genuine]) -> frozenset[int]:
    """The recipient indexes of the tokens that are this message's. A Message-ID that was made here has a token too, but
    all copies have the same one: of several it names none."""
    several = len({copy.index for copy in sent.copies}) > 1
    return frozenset(
        index
        for message_id, index, identifier in ours
        if message_id == sent.message_id and not (several and identifier == sent.internet_message_id)
    )
