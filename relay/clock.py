"""The system's clock, and whether somebody set it.

Owns: comparing Unix time with a clock that nobody can set. Whatever waits on disk or in the store waits until a Unix
time; if the clock is set back, it would wait that much longer. Leaves to others: what they do about it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STEP = 2.0  # seconds; NTP corrects smaller differences without a step


def steady() -> float:
    """Seconds since the machine booted. On Linux it keeps counting while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Steps:
    """How far the clock was set since the last look."""

    def __init__(self, clock: Callable[[], float] = time.time, reference: Callable[[], float] = steady) -> None:
        self._clock, self._reference = clock, reference
        self._apart = clock() - reference()

    def look(self) -> float:
        """Seconds by which the clock was set; negative if it was set back, and nearly always 0.0."""
        apart = self._clock() - self._reference()
        step = apart - self._apart
        self._apart = apart
        return step if abs(step) >= STEP else 0.0
