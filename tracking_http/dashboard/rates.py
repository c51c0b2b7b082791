"""Counters by day and label -> the rows of the page's table. Pure.

Owns: what a row has. Leaves to others: counting (`core.counts`), percent (`core.rates`), how it looks (`rates.js`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from relay.core import rates
from relay.core.counts import COUNTERS
from relay.store import Aggregate
from tracking_http.dashboard import shape


def table(found: Iterable[Aggregate]) -> dict[str, Any]:
    """Newest day first, and the sum of all."""
    rows = sorted(found, key=lambda one: (-one.at, one.key))
    sums = {name: sum(one.counters[name] for one in rows) for name in COUNTERS}
    return {"rows": [row(one) for one in rows], "sum": row(Aggregate(0, "", sums))}


def row(one: Aggregate) -> dict[str, Any]:
    """People's opens and clicks are the first per message and recipient; machines' are those of each machine's fetch."""
    n = one.counters
    found = rates.of(n, n["first_opens"], n["first_clicks"])
    return {
        "at": one.at,
        "label": shape.clip(one.key, 200),
        "sent": n["sent"],
        "delivered": n["delivered"],
        "opened": n["first_opens"],
        "open_rate": found["open_rate"],
        "clicked": n["first_clicks"],
        "click_rate": found["click_rate"],
        "replies": n["replies"],
        "bounced": n["bounced"],
        "failed": n["failed"],
        "machine_opens": n["machine_opens"],
        "machine_clicks": n["machine_clicks"],
    }
