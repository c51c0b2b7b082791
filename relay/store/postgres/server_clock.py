"""The server's clock, by which all that share a database go: leases and times that are due would mean another thing to a
machine whose own clock is an hour ahead.

Owns: how far it is from a clock of this machine that nobody can set. Leaves to others: when it is asked (`connections`,
`engine`).
"""

from __future__ import annotations

import time

from relay.clock import steady

QUICK = 0.5  # seconds that an answer may take which says what time it is


class ServerClock:
    """Seconds since 1970. Before the server was heard, those of this machine."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    def __call__(self) -> float:
        return time.time() if self._ahead is None else steady() + self._ahead

    def heard(self, at: float, began: float) -> None:
        """The server said `at` to who asked at `began`, by `steady`. Of later answers only quick ones count."""
        ended = steady()
        if self._ahead is None or ended - began <= QUICK:
            self._ahead = at - (began + ended) / 2
