"""Rates as Unosend computes them: percent with one decimal, 0 where nothing was there to divide by.

Owns: this arithmetic. Leaves to others: the counters (`counts`), whose opens are meant.
"""

from __future__ import annotations

from collections.abc import Mapping


def percent(part: int, whole: int) -> float:
    """A half is rounded up, as the rest of the world does, and in whole numbers."""
    return (2000 * part + whole) // (2 * whole) / 10 if whole > 0 else 0.0


def of(counters: Mapping[str, int], first_opens: int, first_clicks: int) -> dict[str, float]:
    return {
        "delivery_rate": percent(counters["delivered"], counters["sent"]),
        "bounce_rate": percent(counters["bounced"], counters["sent"]),
        "open_rate": percent(first_opens, counters["delivered"]),
        "click_rate": percent(first_clicks, counters["delivered"]),
    }
