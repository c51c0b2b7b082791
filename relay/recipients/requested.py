"""Those who asked to be erased, erased without being asked: [privacy] on_request = "erase".

Owns: when, and that mail which is on its way to them arrives first. Leaves to others: the erasure (`erasing`), who asked
(`tracking_http.about`, by `relay.suppressing`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from relay import keys as token_keys
from relay import log, metrics, store
from relay.core.persons import Person
from relay.core.suppressions import Erasure
from relay.recipients import erasing, looking

LOG = log.room("erasing")

EVERY = 5.0  # seconds between two looks
AGAIN = 60.0  # until one is tried again that could not be done: to look for a person takes a while
PAGE = 100


class Records(erasing.Records, Protocol):
    """What is asked of a store here."""

    async def erasures(self, limit: int = 100, after: tuple[float, str] = (0.0, "")) -> list[Erasure]: ...


class Requested:
    """`clock` gives monotonic seconds."""

    def __init__(
        self,
        records: Records,
        state_dir: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._records, self._state_dir, self._clock, self._sleep = records, state_dir, clock, sleep
        self._again: dict[str, float] = {}  # of those that could not be done: when to try again

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.round()
            except (store.Unavailable, OSError) as reason:
                LOG.warning("erasure_put_off", reason=reason)
            except Exception:  # the edge
                metrics.ERRORS.labels("erasing").inc()
                LOG.exception("erasure_failed")
            await self._sleep(EVERY)

    async def round(self) -> int:
        """Erases all that can be now; how many. Raises `store.Unavailable`, OSError."""
        done, after, waiting = 0, (0.0, ""), set()
        while page := await self._records.erasures(PAGE, after):
            for one in page:
                waiting.add(one.digest)
                if self._again.get(one.digest, 0.0) <= self._clock():
                    self._again[one.digest] = self._clock() + AGAIN
                    done += await self._erase(one)
            after = (page[-1].at, page[-1].digest)
        self._again = {digest: at for digest, at in self._again.items() if digest in waiting}
        return done

    async def _erase(self, one: Erasure) -> bool:
        try:
            who, keys = Person(one.recipient), await asyncio.to_thread(looking.token_keys, self._state_dir)
            report = await erasing.Erasing(self._records, self._state_dir, who, keys=keys).run()
        except erasing.InFlight:
            return False
        except (ValueError, token_keys.Unusable) as reason:
            LOG.error("erasure_not_possible", digest=one.digest, reason=reason)
            return False
        for where, why in report.left:
            LOG.warning("erasure_left", where=where, why=why)
        return True
