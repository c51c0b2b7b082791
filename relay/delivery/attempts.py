"""One copy on its way to the upstream: what is known of it.

Owns: the values. Leaves to others: every step (`delivery`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.core import queue
from relay.core.model import Outcome, Recipient, Submission

if TYPE_CHECKING:
    from relay import outbound


@dataclass(eq=False, slots=True)
class Attempt:
    """One copy on its way. `places` are its recipients' indexes among the submission's. `started`: the upstream may have
    heard of it."""

    copy: outbound.PendingCopy
    places: tuple[int, ...]
    content: bytes | None = field(default=None, repr=False)
    started: bool = False
    outcomes: tuple[Outcome, ...] = ()
    kept: bool = False  # handed over: the spool has it, and the attempt under way owns that entry
    put_off: bool = False  # the upstream put some recipients off, and the spool has them
    unwritable: str = ""  # why the spool did not take what was put off

    def render(self) -> bytes:
        if self.content is None:
            self.content = self.copy.render()
        return self.content

    def waiting(self) -> list[queue.Waiting]:
        pairs = zip(self.places, self.copy.recipients, strict=True)
        return [queue.Waiting(r.address, r.options, place) for place, r in pairs]

    def words(self) -> list[tuple[queue.Waiting, Outcome]]:
        return list(zip(self.waiting(), self.outcomes, strict=True))


@dataclass(frozen=True, slots=True)
class Journey:
    """What all attempts of one submission have in common. `spools`: what is put off is kept without asking."""

    submission: Submission
    message_id: str
    credentials: tuple[str, str] | None
    spools: bool


def of(submission: Submission, tracked: outbound.Tracked) -> list[Attempt]:
    """One per copy."""
    places: dict[Recipient, list[int]] = {}
    for i, recipient in enumerate(submission.recipients):
        places.setdefault(recipient, []).append(i)
    # A recipient named twice stands in the copies as often.
    return [
        Attempt(copy, tuple(places[r].pop(0) if places.get(r) else 0 for r in copy.recipients))
        for copy in tracked.copies
    ]
