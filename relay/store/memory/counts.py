"""The counters: see `relay.core.counts`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from relay.core import counts
from relay.store import Aggregate, Engagement, decisions
from relay.store.memory.tables import Tables


class Counts(Tables):
    def _counted(self, message_id: str) -> bool:
        return self._upto is None or message_id <= self._upto

    def _count(self, message_id: str, sign: int = 1) -> None:
        """Adds all that a message has in the counters, or takes it away."""
        sent = self._sent(message_id)
        if sent is None or not self._counted(message_id):
            return
        totals, seen = counts.message(sent, self._messages[message_id].events)
        counts.add(self._counts, totals, sign)
        if sign > 0:
            self._seen[message_id] = seen
        else:
            self._seen.pop(message_id, None)

    async def aggregates(
        self,
        by: str,
        since: int,
        until: int,
        *,
        step: str = "day",
        offset: int = 0,
        grant_id: str = "",
        after: tuple[int, str] | None = None,
        limit: int = 1000,
    ) -> list[Aggregate]:
        seconds, (dimension, column) = decisions.PERIODS[step], decisions.DIMENSIONS[by]
        found: dict[tuple[int, str], list[int]] = {}
        for (name, hour, grant, value), row in self._counts.items():
            if name == dimension and since // 3600 <= hour < -(-until // 3600) and grant_id in ("", grant) and any(row):
                at = (hour * 3600 + offset) // seconds * seconds - offset
                key = "" if not column else grant if column == "grant" else value
                sums = found.setdefault((at, key), [0] * len(counts.COUNTERS))
                for index, number in enumerate(row):
                    sums[index] += number
        rows = sorted((key, row) for key, row in found.items() if after is None or key > after)
        return [Aggregate(*key, dict(zip(counts.COUNTERS, row, strict=True))) for key, row in rows[:limit]]

    async def top_links(
        self, since: int, until: int, *, grant_id: str = "", limit: int = 20
    ) -> tuple[list[tuple[str, int, int]], int]:
        people, machines = counts.AT["clicks"], counts.AT["machine_clicks"]
        links: dict[str, int] = defaultdict(int)
        of_machines: dict[str, int] = defaultdict(int)
        clicks = 0
        days = range(counts.row_hour("link", since // 3600), counts.row_hour("link", (until - 1) // 3600) + counts.DAY)
        for (name, hour, grant, value), row in self._counts.items():
            if hour in days and grant_id in ("", grant):
                if name == "link":
                    links[value] += row[people] + row[machines]
                    of_machines[value] += row[machines]
                elif name == "label":
                    clicks += row[people] + row[machines]
        rows = sorted(
            ((url, number, of_machines[url]) for url, number in links.items() if number), key=lambda r: (-r[1], r[0])
        )
        return rows[:limit], clicks

    async def engagements(self, message_ids: Sequence[str]) -> dict[str, Engagement]:
        found = {}
        for message_id in message_ids:
            if rows := [row for row in self._seen.get(message_id, {}).values() if any(row)]:
                found[message_id] = Engagement(
                    sum(row[0] > 0 for row in rows),
                    sum(row[2] > 0 for row in rows),
                    sum(row[0] == 0 < row[1] for row in rows),
                    sum(row[2] == 0 < row[3] for row in rows),
                    *(sum(row[at] for row in rows) for at in range(4)),
                )
        return found

    async def begin_recount(self) -> None:
        oldest = min((m.sent.submitted_at for m in self._messages.values() if m.sent), default=None)
        if oldest is not None:
            first = int(oldest // 3600)
            self._counts = {key: row for key, row in self._counts.items() if key[1] < counts.row_hour(key[0], first)}
        self._upto = ""

    async def recount(self) -> int | None:
        if self._upto is None:
            return None
        left = sorted(key for key, message in self._messages.items() if message.sent and key > str(self._upto))
        self._upto = left[0] if left else None
        if left:
            self._count(left[0])
        return len(left[:1])

    async def counting(self) -> bool:
        return self._upto is not None
