"""When to try again. A schedule is a sequence of pauses in seconds; jitter is a number from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence


def after(schedule: Sequence[float], attempt: int, jitter: float, spread: float = 0.1) -> float | None:
    """Seconds until the next attempt, after `attempt` (from 1) has failed; None at the end of the schedule.

    `schedule[0]` is the pause before the first attempt, so `schedule[attempt]` is the one after it. The pause is
    changed by up to `spread` of itself either way, so that what failed together is not retried together.
    """
    if attempt >= len(schedule):
        return None
    return schedule[attempt] * (1 + spread * (2 * jitter - 1))
