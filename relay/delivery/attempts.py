"""One copy on its way to the upstream: what is known of it.

Owns: the values. Leaves to others: every step (`delivery`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.core import dsn, envelopes, queue
from relay.core.model import Done, Later, Outcome, Recipient, Submission

if TYPE_CHECKING:
    from relay import outbound


@dataclass(eq=False, slots=True)
class Attempt:
    """One copy on its way. `places` are its recipients' indexes among the submission's. `host`: of the upstream that may
    have heard of it, "" before."""

    recipients: tuple[Recipient, ...]
    options: tuple[str, ...]
    places: tuple[int, ...]
    make: Callable[[], bytes] | None = field(repr=False)
    content: bytes | None = field(default=None, repr=False)
    host: str = ""
    outcomes: tuple[Outcome, ...] = ()
    kept: bool = False  # handed over, or being: the spool's entry is the attempt's, and settled with its outcomes
    put_off: bool = False  # the upstream put some recipients off, and the spool has them
    unwritable: str = ""  # why the spool did not take what was put off
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def render(self) -> bytes:
        """The copy's bytes. Made once; then the submission's own, which they were made from, can go."""
        with self.lock:  # a large one is made in a thread
            if self.content is None:
                if self.make is None:
                    raise RuntimeError("the copy has gone")
                self.content, self.make = self.make(), None
            return self.content

    def ended(self) -> None:
        """Lets go of what no report needs."""
        if self.sent:
            self.content = None
        elif self.content and len(self.content) > dsn.LONGEST_ORIGINAL and (self.put_off or not self.late):
            self.content = envelopes.header_section(self.content)

    @property
    def sent(self) -> bool:
        """Does the upstream have it for all recipients, with nothing more to tell their sender?"""
        if self.kept or not self.outcomes:
            return False
        return all(isinstance(outcome, Done) and not outcome.unconfirmed for outcome in self.outcomes)

    @property
    def late(self) -> bool:
        """Was a recipient put off?"""
        return any(isinstance(outcome, Later) for outcome in self.outcomes)

    def waiting(self) -> list[queue.Waiting]:
        pairs = zip(self.places, self.recipients, strict=True)
        return [queue.Waiting(r.address, r.options, place) for place, r in pairs]

    def words(self) -> list[tuple[queue.Waiting, Outcome]]:
        return list(zip(self.waiting(), self.outcomes, strict=True))


@dataclass(frozen=True, slots=True)
class Journey:
    """What all attempts of one submission have in common. `upstream` is the name of the one that it is for. `spools`:
    what is put off is kept without asking."""

    message_id: str
    reverse_path: str
    size: int
    recipients: int
    upstream: str
    credentials: tuple[str, str] | None = field(repr=False)
    spools: bool


def of(submission: Submission, tracked: outbound.Tracked) -> list[Attempt]:
    """One per copy."""
    places: dict[Recipient, list[int]] = {}
    for i, recipient in enumerate(submission.recipients):
        places.setdefault(recipient, []).append(i)
    # A recipient named twice stands in the copies as often.
    return [
        Attempt(
            copy.recipients,
            copy.options,
            tuple(places[r].pop(0) if places.get(r) else 0 for r in copy.recipients),
            copy.render,
        )
        for copy in tracked.copies
    ]
