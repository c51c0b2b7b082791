"""Events stand in a table per month, which must be there before they are.

Owns: which months are known to have theirs. Leaves to others: making one (`events_month`, see `migrations`), appending
(`sql.events`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from relay.store.sql.program import Program

Append = Callable[[Sequence[Any]], Program[Sequence[Any]]]
MAKE = "WITH made AS (SELECT events_month(?) AS there) SELECT there FROM made"  # no question: those begin with SELECT
EDGES = (-1.0, 4e9)  # times that are far beyond any month that has a table of its own


class Months:
    """Before something is appended, the tables of its months are there."""

    def __init__(self) -> None:
        self._known: set[tuple[int, int]] = set()

    def before(self, append: Append, times: Callable[[Any], Iterable[float]]) -> Append:
        """`append` of a batch, whose values are events at such times."""

        def made(batch: Sequence[Any]) -> Program[Sequence[Any]]:
            yield from self.make(at for value in batch for at in times(value))
            return (yield from append(batch))

        return made

    def make(self, times: Iterable[float]) -> Program[None]:
        """Those that were there are known from now on. One that is made now may be taken back with its transaction."""
        for month, at in {month_of(at): at for at in times}.items():
            if month not in self._known:
                ((there,),) = yield MAKE, (at,)
                if there:
                    self._known.add(month)

    def mending(self, mend: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Where something was bad in a batch: a table may be gone."""

        def mended(value: Any) -> Any:
            self._known.clear()
            return mend(value)

        return mended


def month_of(at: float) -> tuple[int, int]:
    when = time.gmtime(at if EDGES[0] < at < EDGES[1] else EDGES[1])
    return when.tm_year, when.tm_mon
