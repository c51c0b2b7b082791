"""Whether an endpoint fails for so long that it is called failing, and then failed.

Owns: the rule: where 95 % of the attempts fail for 15 minutes it is "failing", where they go on to for 72 hours "failed".
Leaves to others: what an attempt is (`webhooks`), what the statuses mean (`core.model.LIVE`), keeping them (`store`).
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.core.model import EndpointStatus

SHARE = 0.95  # of the attempts, from which on it is a spell of failure
WINDOW = 900.0  # seconds until it is called failing; what is older counts half, and so on
GIVEN_UP = 72 * 3600.0  # seconds of failing until it is failed


@dataclass(slots=True)
class Spell:
    """What was heard of one endpoint. `since` is when the spell of failure began, None where there is none."""

    good: float = 0.0
    bad: float = 0.0
    at: float = 0.0
    since: float | None = None

    def hear(self, good: bool, at: float, status: EndpointStatus, status_since: float) -> EndpointStatus:
        """The status after an attempt that ended at `at`. A program that was started anew knows of a spell by the
        status."""
        if status == "active" and self.since is not None and status_since > self.since:  # somebody set it active
            self.since, self.good, self.bad = None, 0.0, 0.0
        if self.since is None and status == "failing":
            self.since, self.bad = status_since, 1.0
        elif self.since is None and not good:
            self.since, self.good, self.bad = at, 0.0, 0.0
        faded = 0.5 ** (max(at - self.at, 0.0) / WINDOW) if self.at else 1.0
        self.good, self.bad, self.at = self.good * faded + good, self.bad * faded + (not good), at
        if self.bad < SHARE * (self.good + self.bad):
            self.since = None
            return "active" if status == "failing" else status
        if status == "active" and self.since is not None and at - self.since >= WINDOW:
            return "failing"
        if status == "failing" and not good and at - status_since >= GIVEN_UP:
            return "failed"
        return status
