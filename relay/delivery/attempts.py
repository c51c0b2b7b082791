"""One copy on its way to the upstream, as a machine: its states, what can happen, and what each does.

Owns: the table, and with it the promise that a copy is in the spool at most once. A step that the table does not have is
a bug, and raises. Leaves to others: what makes the steps happen (`carrying`), what the client hears (`core.answer`).

    WAITING ─ a server hears of it ─▶ SENDING
       └───────────┬─────────────────────┤
                   │                     ├─ all accepted ─▶ SENT
                   │                     ├─ none put off ─▶ REFUSED
                   │                     └─ some put off, or cut off ─▶ DEFERRED ─▶ KEEPING ─┬─ written ──▶ KEPT
                   │                                                                         └─ disk full ▶ UNKEPT
                   └─ the client's patience is over ─▶ HANDING_WAITING, HANDING_SENDING: the whole copy is being written
    HANDING_WAITING ─ written ─▶ HANDED_OVER
    HANDING_SENDING ─ written ─▶ OUTLASTING ─┬─ the upstream's last word ─▶ SETTLED
                                             └─ cut off ─▶ HANDED_OVER
    either ─ the upstream's last word ─▶ HANDING_SENT, HANDING_REFUSED, HANDING_DEFERRED ─ written ─▶ SETTLED

Where the whole copy can't be written, the attempt goes on as if nobody had tried: HANDING_X is X again, and what was put
off is not kept.

What its recipients' sender hears: of those accepted, 250; of those refused, a report where somebody accepted, else the
refusal; of those put off, 250 once they are KEPT, 4xx where the attempt stays DEFERRED ("pass") or UNKEPT. HANDED_OVER,
OUTLASTING and SETTLED copies are in the spool, whole: 250. The spool tries what was HANDED_OVER, waits for what is
OUTLASTING, and does with what is SETTLED as the outcomes say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from relay.core import answer, dsn, envelopes, queue
from relay.core.model import Done, Later, Never, Outcome, Recipient, Reply, Submission

if TYPE_CHECKING:
    from relay import outbound


class State(Enum):
    __hash__ = object.__hash__  # Enum's own is in Python

    WAITING = auto()  # for a place; no server has heard of it
    SENDING = auto()  # a server may have heard of it
    SENT = auto()
    REFUSED = auto()  # for some recipients or for all, and put off for none
    DEFERRED = auto()  # for some recipients or for all, and not kept
    KEEPING = auto()  # what was put off is being written
    KEPT = auto()
    UNKEPT = auto()
    HANDING_WAITING = auto()  # these are WAITING, SENDING …, and the whole copy is being written
    HANDING_SENDING = auto()
    HANDING_SENT = auto()
    HANDING_REFUSED = auto()
    HANDING_DEFERRED = auto()
    HANDED_OVER = auto()  # the spool has it, and the attempt is over
    OUTLASTING = auto()  # the spool has it, and the attempt goes on
    SETTLED = auto()  # the spool has it, and the attempt's outcomes


class Step(Enum):
    __hash__ = object.__hash__

    BEGIN = auto()  # a server hears of it; of the next one where that could not be reached, it hears too
    ACCEPT = auto()  # three last words of the upstream: accepted for all,
    REFUSE = auto()  # put off for none,
    DEFER = auto()  # put off for some
    CUT = auto()  # the attempt ends without a word: the service stops
    KEEP = auto()  # what was put off is to be written
    HAND_OVER = auto()  # the whole copy is to be written: the client waits no longer
    WRITTEN = auto()
    UNWRITABLE = auto()


S, E = State, Step
TABLE: dict[State, dict[Step, State]] = {
    S.WAITING: {
        E.BEGIN: S.SENDING, E.ACCEPT: S.SENT, E.REFUSE: S.REFUSED, E.DEFER: S.DEFERRED, E.CUT: S.DEFERRED,
        E.HAND_OVER: S.HANDING_WAITING,
    },
    S.SENDING: {
        E.BEGIN: S.SENDING, E.ACCEPT: S.SENT, E.REFUSE: S.REFUSED, E.DEFER: S.DEFERRED, E.CUT: S.DEFERRED,
        E.HAND_OVER: S.HANDING_SENDING,
    },
    S.SENT: {},
    S.REFUSED: {},
    S.DEFERRED: {E.KEEP: S.KEEPING},
    S.KEEPING: {E.WRITTEN: S.KEPT, E.UNWRITABLE: S.UNKEPT},
    S.KEPT: {},
    S.UNKEPT: {},
    S.HANDING_WAITING: {
        E.BEGIN: S.HANDING_SENDING, E.ACCEPT: S.HANDING_SENT, E.REFUSE: S.HANDING_REFUSED,
        E.DEFER: S.HANDING_DEFERRED, E.WRITTEN: S.HANDED_OVER, E.UNWRITABLE: S.WAITING,
    },
    S.HANDING_SENDING: {
        E.BEGIN: S.HANDING_SENDING, E.ACCEPT: S.HANDING_SENT, E.REFUSE: S.HANDING_REFUSED,
        E.DEFER: S.HANDING_DEFERRED, E.WRITTEN: S.OUTLASTING, E.UNWRITABLE: S.SENDING,
    },
    S.HANDING_SENT: {E.WRITTEN: S.SETTLED, E.UNWRITABLE: S.SENT},
    S.HANDING_REFUSED: {E.WRITTEN: S.SETTLED, E.UNWRITABLE: S.REFUSED},
    S.HANDING_DEFERRED: {E.WRITTEN: S.SETTLED, E.UNWRITABLE: S.UNKEPT},
    S.HANDED_OVER: {},
    S.OUTLASTING: {
        E.BEGIN: S.OUTLASTING, E.ACCEPT: S.SETTLED, E.REFUSE: S.SETTLED, E.DEFER: S.SETTLED, E.CUT: S.HANDED_OVER,
    },
    S.SETTLED: {},
}  # fmt: skip
UNDER_WAY = (S.WAITING, S.SENDING)  # and nobody but the attempt has the copy
IN_SPOOL = (S.HANDED_OVER, S.OUTLASTING, S.SETTLED)  # whole
FAILED = Reply(451, "4.3.0 The message could not be taken; try again")


class Illegal(RuntimeError):
    """A step that the table does not have."""


@dataclass(eq=False, slots=True)
class Attempt:
    """One copy. `places` are its recipients' indexes among the submission's. `host`: of the upstream that may have heard
    of it last, "" before. `outcomes`: the upstream's last word for each recipient, in order, once there is one.
    `reason`: why the disk did not take it."""

    recipients: tuple[Recipient, ...]
    options: tuple[str, ...]
    places: tuple[int, ...]
    make: Callable[[], bytes] | None = field(repr=False)
    state: State = State.WAITING
    host: str = ""
    outcomes: tuple[Outcome, ...] = ()
    reason: str = ""
    content: bytes | None = field(default=None, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    # -- what happens ------------------------------------------------------------------------------------------------

    def began(self, host: str) -> None:
        """The server at `host` may hear of it from now on."""
        self._step(Step.BEGIN)
        self.host = host

    def answered(self, outcomes: Sequence[Outcome]) -> None:
        """The upstream's last word, for all recipients."""
        kinds = set(map(type, outcomes))
        self.outcomes = tuple(outcomes)
        self._step(Step.DEFER if Later in kinds else Step.REFUSE if Never in kinds else Step.ACCEPT)

    def cut_off(self) -> None:
        """Nobody makes the attempt any more."""
        self._step(Step.CUT)
        if self.state is State.DEFERRED:
            self.outcomes = (Later(FAILED),) * len(self.recipients)

    def keep(self) -> None:
        """What was put off is about to be written; `written` or `unwritable` follows."""
        self._step(Step.KEEP)

    def hand_over(self) -> None:
        """The whole copy is about to be written; `written` or `unwritable` follows."""
        self._step(Step.HAND_OVER)

    def written(self) -> None:
        self._step(Step.WRITTEN)

    def unwritable(self, reason: str) -> None:
        self._step(Step.UNWRITABLE)
        self.reason = reason

    def _step(self, step: Step) -> None:
        after = TABLE[self.state].get(step)
        if after is None:
            raise Illegal(f"{step.name} in {self.state.name}")
        self.state = after
        if not TABLE[after]:
            self._let_go()

    # -- what is known -----------------------------------------------------------------------------------------------

    @property
    def under_way(self) -> bool:
        return self.state in UNDER_WAY

    @property
    def in_spool(self) -> bool:
        """Does the spool have it whole, and answers for its outcomes?"""
        return self.state in IN_SPOOL

    @property
    def fates(self) -> Sequence[answer.Fate]:
        """What may be said of its recipients, in order. Not of an attempt that is under way."""
        match self.state:
            case State.SENT | State.REFUSED | State.DEFERRED:
                return self.outcomes
            case State.KEPT:
                return [answer.KEPT if isinstance(o, Later) else o for o in self.outcomes]
            case State.UNKEPT:
                return [answer.Unwritable(self.reason) if isinstance(o, Later) else o for o in self.outcomes]
            case State.HANDED_OVER | State.OUTLASTING | State.SETTLED:
                return [answer.KEPT] * len(self.recipients)
            case _:
                raise Illegal(f"an answer in {self.state.name}")

    def waiting(self) -> list[queue.Waiting]:
        pairs = zip(self.places, self.recipients, strict=True)
        return [queue.Waiting(r.address, r.options, place) for place, r in pairs]

    def words(self) -> list[tuple[queue.Waiting, Outcome]]:
        """The upstream's last word for each recipient."""
        return list(zip(self.waiting(), self.outcomes, strict=True))

    def word(self, n: int) -> tuple[queue.Waiting, Outcome]:
        """The last word for the `n`th."""
        recipient = self.recipients[n]
        return queue.Waiting(recipient.address, recipient.options, self.places[n]), self.outcomes[n]

    # -- the bytes ---------------------------------------------------------------------------------------------------

    def render(self) -> bytes:
        """The copy's bytes. Made once; then the submission's own, which they were made from, can go."""
        with self.lock:  # a large one is made in a thread
            if self.content is None:
                if self.make is None:
                    raise RuntimeError("the copy has gone")
                self.content, self.make = self.make(), None
            return self.content

    def _let_go(self) -> None:
        """Of what no report needs, at the end."""
        if self.in_spool or all(isinstance(o, Done) and not o.unconfirmed for o in self.outcomes):
            self.content = None
        elif self.content and len(self.content) > dsn.LONGEST_ORIGINAL:
            self.content = envelopes.header_section(self.content)


def of(submission: Submission, tracked: outbound.Tracked) -> list[Attempt]:
    """One per copy; and one, REFUSED from the start, of all recipients that have none."""
    if len(tracked.copies) == 1 and tracked.copies[0].recipients == submission.recipients:  # as nearly always
        (copy,) = tracked.copies
        return [Attempt(copy.recipients, copy.options, tuple(range(len(copy.recipients))), copy.render)]
    places: dict[Recipient, list[int]] = {}
    for i, recipient in enumerate(submission.recipients):
        places.setdefault(recipient, []).append(i)

    def place(recipient: Recipient) -> int:
        """A recipient named twice stands in the copies as often."""
        own = places.get(recipient)
        return own.pop(0) if own else 0

    found = [
        Attempt(copy.recipients, copy.options, tuple(map(place, copy.recipients)), copy.render)
        for copy in tracked.copies
    ]
    if tracked.refused:
        recipients = tuple(recipient for recipient, _ in tracked.refused)
        outcomes = tuple(Never(reply) for _, reply in tracked.refused)
        # Reported only where others accepted a copy: then that is what the report shows.
        make = tracked.copies[0].render if tracked.copies else None
        refused = Attempt(
            recipients, submission.options, tuple(map(place, recipients)), make, State.REFUSED, outcomes=outcomes
        )
        found.append(refused)
    return found
