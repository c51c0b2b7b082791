"""What is asked of the store's lists, and what comes back: messages, threads, events, and what was kept of answers.

Owns: these values, and whether a row is what was asked for. Leaves to others: finding rows by an index (the engines), the
forms of the APIs.

A list begins with the newest. It goes on behind the key of the row that was looked at last, and never by a number of
rows: so it has each row once, whatever comes meanwhile. A page walks along one index, and looks at no more than `WALK`
rows of it: where a filter lets few of them through, a page has less than its limit, even nothing, and goes on all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from relay.core import addresses, counts, domains
from relay.core.model import Event, Sent, Value
from relay.core.suppressions import Ground, Suppression

T = TypeVar("T")

WALK = 2_000  # rows of an index that a page looks at
MAX_PEOPLE = 50  # addresses in one filter
MAX_THREAD = 200  # messages, and answers, of one thread that are read
MAX_ANSWERS = 1_000  # answers to one message of which something is kept
ENDLESS = 1e18  # later than any time
INDEXED = ("key1", "key2", "key3", "key4", "key5")  # names in metadata that messages are found by, as Nylas has it

Key = tuple[float, str]  # of a message or a thread: its time, its id
Mark = tuple[float, int]  # of an event: its time, its position
State = Literal["pending", "done", "later", "never", "handed"]


class Answer(Value, frozen=True):
    """What was kept of a message in a mailbox that answers one of ours. `answer_id` is our id for it, as `thread.replied`
    has it; `message_id` is the message that it answers, `automatic` says that no person wrote it. `date` is its Date
    field's, in Unix seconds, 0.0 where that says nothing; `size` is 0 where it was not read whole. `excerpt` is the
    beginning of what is new in it."""

    answer_id: str
    grant_id: str
    message_id: str
    thread_id: str
    at: float
    internet_message_id: str = ""
    sender: str = ""
    sender_name: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    subject: str = ""
    date: float = 0.0
    references: tuple[str, ...] = ()
    excerpt: str = ""
    size: int = 0
    automatic: bool = False


class Thread(Value, frozen=True):
    """`at` is when something was last sent or answered in it. Both are oldest first, the last MAX_THREAD of each."""

    thread_id: str
    at: float
    messages: tuple[Sent, ...] = ()
    answers: tuple[Answer, ...] = ()


class Messages(Value, frozen=True):
    """Which messages: those that meet all of it; "", () and 0 ask for nothing. `people` were sent it or sent it, one of
    `recipients` was sent it. One of `to`, `cc` was sent it and stands in that field, one of `bcc` in neither. `since` <= submitted_at < `until`. `subject` is part of it, without regard to case. `metadata` are pairs that it has, whose names are of INDEXED."""

    grant_id: str = ""
    thread_id: str = ""
    sender: str = ""
    sending_domain: str = ""
    recipients: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    label: str = ""
    state: State | Literal[""] = ""
    internet_message_id: str = ""
    subject: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    since: float = 0.0
    until: float = ENDLESS
    before: Key | None = None


class Threads(Value, frozen=True):
    """Which threads of a grant: those in which a message meets `messages`, that were last active from `since` on and before
    `until`. `seen` is what counts as now: what came later is not there yet, on any page."""

    grant_id: str
    seen: float
    messages: Messages = Messages()
    since: float = 0.0
    until: float = ENDLESS
    before: Key | None = None


class Events(Value, frozen=True):
    """Which events. `since` <= at < `until`; `before` is the mark of the last one of the page before."""

    grant_id: str = ""
    types: tuple[str, ...] = ()
    message_id: str = ""
    thread_id: str = ""
    label: str = ""
    sending_domain: str = ""
    sender: str = ""
    since: float = 0.0
    until: float = ENDLESS
    before: Mark | None = None

    @property
    def of_mail(self) -> bool:
        """Whether the messages must be asked too."""
        return bool(self.label or self.sending_domain or self.sender)


SuppressionKey = tuple[float, str, str, str]  # since, digest, grant, reason


class Suppressions(Value, frozen=True):
    """Which entries of the list. `grant_id` None is those of any grant, "" those that are for all. `after` is the key of
    the last one of the page before."""

    grant_id: str | None = None
    reason: Ground | Literal[""] = ""
    after: SuppressionKey = (ENDLESS, "", "", "")

    def fits(self, one: Suppression) -> bool:
        return (
            self.grant_id in (None, one.grant_id)
            and self.reason in ("", one.reason)
            and suppression_key(one) < self.after
        )


def suppression_key(one: Suppression) -> SuppressionKey:
    return (one.since, one.digest, one.grant_id, one.reason)


class Listed(NamedTuple, Generic[T]):
    """A page; `after` is where the next one begins, None at the end."""

    items: Sequence[T]
    after: tuple[float, object] | None


class Place(NamedTuple):
    """How many there are, `most` at most; and the key of the last one before the page, None where nothing is before it, or
    too little."""

    number: int
    before: tuple[float, Any] | None


def domain_of(sent: Sent) -> str:
    return counts.domain(sent.sender)


def spelt(people: Sequence[str]) -> frozenset[str]:
    return frozenset(map(addresses.comparable, people))


def meets(sent: Sent, asked: Messages) -> bool:
    """Whether a message is one of those, by what its own row says."""
    return (
        asked.grant_id in ("", sent.grant_id)
        and asked.thread_id in ("", sent.thread_id)
        and asked.label in ("", sent.label)
        and asked.internet_message_id in ("", sent.internet_message_id)
        and asked.since <= sent.submitted_at < asked.until
        and all(sent.metadata.get(name) == value for name, value in asked.metadata)
        and (not asked.subject or asked.subject.casefold() in sent.subject.casefold())
        and (not asked.sender or addresses.comparable(asked.sender) == addresses.comparable(sent.sender))
        and (not asked.sending_domain or domains.spelt(asked.sending_domain) == domain_of(sent))
        and (not asked.to or bool(spelt(asked.to) & spelt(sent.to)))
        and (not asked.cc or bool(spelt(asked.cc) & spelt(sent.cc)))
    )


def copies_meet(sent: Sent, asked: Messages) -> bool:
    """The same by what its copies say."""
    if asked.state and all(copy.state != asked.state for copy in sent.copies):
        return False
    if not (asked.recipients or asked.people or asked.to or asked.cc or asked.bcc):
        return True
    people = spelt([copy.recipient for copy in sent.copies])
    named = spelt((*sent.to, *sent.cc))
    return (
        (not asked.recipients or bool(spelt(asked.recipients) & people))
        and (not asked.people or bool(spelt(asked.people) & (people | spelt([sent.sender]))))
        and (not asked.to or bool(spelt(asked.to) & people))
        and (not asked.cc or bool(spelt(asked.cc) & people))
        and (not asked.bcc or bool((spelt(asked.bcc) & people) - named))
    )


def event_meets(event: Event, asked: Events, of_thread: Collection[str] | None, sent: Sent | None) -> bool:
    """Whether an event is one of those. `of_thread` are the messages of the thread that was asked for, `sent` is its message,
    where either matters."""
    return (
        asked.grant_id in ("", event.grant_id)
        and (not asked.types or event.type in asked.types)
        and asked.message_id in ("", event.message_id)
        and (of_thread is None or event.message_id in of_thread)
        and asked.since <= event.at < asked.until
        and (asked.before is None or (event.at, event.position) < asked.before)
        and (
            not asked.of_mail
            or (
                sent is not None
                and meets(sent, Messages(label=asked.label, sender=asked.sender, sending_domain=asked.sending_domain))
            )
        )
    )
