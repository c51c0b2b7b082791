"""Whose answer is it, to which message of ours, and is it told of?

Owns: which copy was the author's, which message's instructions decide, the event. Leaves to others: looking messages up
(`relay.replies`), what kind of an answer it is (`reports`), what counts (`tally`).

Whoever answers may be somebody else than whom the mail was sent to: a colleague, a whole list, the same person by another
address. Nothing is told about a person who did not write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.core import addresses, dsn
from relay.core.addresses import Mailbox
from relay.core.model import Event, EventType, Sent, SentCopy

LONGEST_ADDRESS = 320  # characters of an author's; RFC 5321 4.5.3.1 has room for 254


@dataclass(frozen=True, slots=True)
class Match:
    """A message of ours that an answer names. `named` are the recipient indexes of the tokens that came back. `known`: a
    Message-ID led here, and not only a token."""

    sent: Sent
    named: frozenset[int] = frozenset()
    known: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as it was written. `identity` tells it from any other, `reply_id` is our id for it, `kind` is "reply",
    "reaction", "calendar" or "auto_reply". `own`: by an address of the grant."""

    author: Mailbox
    identity: str
    reply_id: str
    internet_message_id: str = ""
    subject: str = ""
    kind: str = "reply"
    gesture: str = ""
    reason: str = ""
    own: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """`match` is the message that was answered, `about` the one of its thread whose instructions decide. `copy` is what
    the author was sent, of the message `copy_of`."""

    match: Match
    about: Sent
    copy: SentCopy | None = None
    copy_of: str = ""
    copy_recipient: str = ""
    verified: bool = False

    @property
    def index(self) -> int:
        return self.copy.index if self.copy and self.copy_of == self.about.message_id else 0


def copies_of(sent: Sent, author: str) -> list[SentCopy]:
    """What that person was sent: at this very address, else at one with another tag, or in another domain of the same
    organisation."""
    spelt = addresses.comparable(author)
    exact = [copy for copy in sent.copies if addresses.comparable(copy.recipient) == spelt]
    if exact or not author:
        return exact
    local = spelt.rpartition("@")[0].partition("+")[0]
    alike = [copy for copy in sent.copies if copy.recipient.lower().startswith(local)]
    person = addresses.person(author) if alike else ("", "")
    return [copy for copy in alike if addresses.person(copy.recipient) == person]


def tells(sent: Sent, copies: Sequence[SentCopy]) -> bool:
    """Whether answers to one of these copies are told."""
    return sent.thread_replies and any(copy.thread_replies for copy in copies)


def answered(matches: Sequence[Match], parents: int, author: str) -> Match | None:
    """Which of these messages, likeliest first, was answered: one that the author was sent, of the first `parents`, which
    In-Reply-To names; where that names none, of all."""
    first = matches[:parents] or matches
    return next((match for match in first if copies_of(match.sent, author)), first[0] if first else None)


def told(match: Match, others: Sequence[Match], root: Sent | None, author: str) -> Answered | None:
    """What is told of an answer to `match`. `others` are named too, `root` begins the thread. None where answers are not
    told, or not this person's."""
    messages = {m.sent.message_id: m.sent for m in (match, *others)}
    if root is not None:
        messages.setdefault(root.message_id, root)
    telling = [sent for sent in messages.values() if tells(sent, sent.copies)]
    about = telling[0] if telling else None
    for sent in telling:
        theirs = copies_of(sent, author)
        if theirs:
            if not tells(sent, theirs):
                return None
            about = sent
            break
    if about is None:
        return None
    named = {m.sent.message_id: m.named for m in (match, *others)}
    order = dict.fromkeys([about.message_id, match.sent.message_id, *messages])
    copy, copy_of = None, ""
    for message_id in order:
        copy = one(copies_of(messages[message_id], author), named.get(message_id, frozenset()))
        if copy is not None:
            copy_of = message_id
            break
    recognised = (token_copy(messages[key], named.get(key, frozenset())) for key in order)
    theirs_came = copy is not None and copy.index in named.get(copy_of, ())
    return Answered(
        match,
        about,
        copy,
        copy_of,
        next((found.recipient for found in recognised if found), ""),
        theirs_came if copy is not None else any(named.get(key) for key in order),
    )


def one(copies: Sequence[SentCopy], named: frozenset[int]) -> SentCopy | None:
    """The copy, if there is one only: of several the one whose token came back."""
    if len(copies) > 1:
        copies = [copy for copy in copies if copy.index in named]
    return copies[0] if len(copies) == 1 else None


def token_copy(sent: Sent, named: frozenset[int]) -> SentCopy | None:
    copies = [copy for copy in sent.copies if copy.index in named]
    return copies[0] if len(copies) == 1 else None


def event(found: Answered, root: Sent, written: Written, at: float, *, notify: bool, more: Mapping[str, Any]) -> Event:
    """The event of an answer. It is the same whenever this answer is seen again."""
    automatic = written.kind == "auto_reply"
    kind: EventType = "message.auto_replied" if automatic else "thread.replied"
    address = written.author.address[:LONGEST_ADDRESS]
    data: dict[str, Any] = {
        "reply_id": written.reply_id,
        "reply_internet_id": written.internet_message_id,
        "root_message_id": root.message_id,
        "reply_to_message_id": found.match.sent.message_id,
        "reply_from": {"address": address, "name": written.author.name[:LONGEST_ADDRESS]},
        "copy_recipient": found.copy_recipient,
        "from": addresses.comparable(address),
        "subject": written.subject,
        "kind": written.kind,
        "from_self": written.own,
        "notify": notify and not automatic,
        "verified": found.verified,
        **more,
    }
    if written.gesture:
        data["gesture"] = written.gesture
    if root.label != found.about.label:
        data["root_label"] = root.label
    return Event(
        dsn.event_id(found.match.sent.message_id, kind, written.identity, ""),
        kind,
        found.about.message_id,
        at,
        recipient_index=found.index,
        recipient=found.copy.recipient if found.copy else "",
        reason=written.reason if automatic else "",
        data=data,
    )
