"""How often a key may call.

Owns: the count, in memory. Leaves to others: what is said to who calls too often (`tracking_http.admin`).
"""

from __future__ import annotations

import math
from collections import OrderedDict


class Rates:
    """A bucket for each key, which holds the calls of one minute and fills evenly. `each` 0 is no limit. So many `keys` are
    remembered; of those beyond, the ones that were quiet for longest have full buckets."""

    def __init__(self, each: int, *, keys: int = 10_000) -> None:
        self._each, self._keys = each, keys
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> what is left, when that was

    def take(self, key: str, now: float) -> int:
        """0 where the call may be made; else the seconds until one may. `now` is a monotonic time in seconds."""
        if not self._each:
            return 0
        left, at = self._buckets.pop(key, (float(self._each), now))
        left = min(float(self._each), left + (now - at) * self._each / 60)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) * 60 / self._each - 1e-6))
