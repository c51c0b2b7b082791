"""Events stand in a table per month, which must be there before they are.

Owns: which months are known to have theirs. Leaves to others: making one (`events_month`, see `migrations`), appending
(`sql.events`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from relay.store.sql import appending
from relay.store.sql.program import Program

Append = Callable[[Sequence[appending.Hit]], Program[list[Any]]]
MAKE = "WITH made AS (SELECT events_month(?) AS there) SELECT there FROM made"  # no question: those begin with SELECT
EDGES = (-1.0, 4e9)  # times that are far beyond any month that has a table of its own


class Months:
    """`append` is done once the tables of a batch are there."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self._known: set[tuple[int, int]] = set()

    def append(self, batch: Sequence[appending.Hit]) -> Program[list[Any]]:
        yield from self.make(hit.event.at for hit in batch)
        return (yield from self._append(batch))

    def make(self, times: Iterable[float]) -> Program[None]:
        """Those that were there are known from now on. One that is made now may be taken back with its transaction."""
        for month, at in {month_of(at): at for at in times}.items():
            if month not in self._known:
                ((there,),) = yield MAKE, (at,)
                if there:
                    self._known.add(month)

    def mended(self, hit: appending.Hit) -> appending.Hit:
        """Something was bad in a batch: a table may be gone."""
        self._known.clear()
        return appending.mended(hit)


def month_of(at: float) -> tuple[int, int]:
    when = time.gmtime(at if EDGES[0] < at < EDGES[1] else EDGES[1])
    return when.tm_year, when.tm_mon
