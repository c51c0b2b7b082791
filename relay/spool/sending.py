"""Attempts at what waits in the spool.

Owns: which entry is tried when: one attempt at a time per entry, over all processes; a few per destination; what other
processes put or changed is seen within a second. Leaves to others: what is there (`spool.keeping`), what an outcome does
to it (`spool.settling`), when it is due (`core.queue`).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from relay import clock as clocks
from relay import log, metrics
from relay.core import queue
from relay.core.model import Envelope, Later, Outcome, Reply
from relay.spool import disk, keeping, settling

LOG = log.room("spool")

MAX_ATTEMPTS = 10  # at once; below the places at an upstream, so that new mail finds one
PER_DOMAIN = 4
MAX_OCTETS = 100_000_000  # of messages read for attempts under way; one alone may be larger
SHORT = 500  # entries: a queue up to that is put in order at every event
SAY_SECONDS = 60.0  # between two lines about files that can't be had: there may be one per entry


class Upstreams(Protocol):
    """`host` is that of [upstream]. `started` is called with the host of each server that may have heard of a message."""

    @property
    def host(self) -> str: ...

    async def send(
        self, envelope: Envelope, content: bytes, *, started: Callable[[str], None] | None = None
    ) -> tuple[Outcome, ...]: ...

    def credentials_of(self, login: str) -> tuple[str, str] | None: ...


class Sender:
    def __init__(
        self,
        kept: keeping.Keeping,
        settler: settling.Settler,
        upstreams: Upstreams,
        policy_of: Callable[[queue.Entry], queue.Policy],
        *,
        times: keeping.Times,
        clock: Callable[[], float],
    ) -> None:
        self._kept, self._settler, self._upstreams, self._policy_of = kept, settler, upstreams, policy_of
        self._times, self._clock = times, clock
        self._attempts: dict[str, asyncio.Task[None]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._busy: collections.Counter[str] = collections.Counter()  # attempts under way by domain
        self._octets = 0  # read for them
        self._news = asyncio.Event()  # an entry came or came back, or a place is free
        self._due: collections.deque[str] = collections.deque()
        self._sorted_at, self._pause = float("-inf"), times.look
        self._looked_at = float("-inf")
        self._steps = clocks.Steps(clock)
        self._said_at = float("-inf")

    async def run(self) -> None:
        """Until cancelled; attempts under way get a while to end, then are given back."""
        self._looked_at = float("-inf")
        try:
            with self._kept.watch(self._news.set):
                while True:
                    self._news.clear()
                    await self._look()
                    self._begin()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._pause):
                            await self._news.wait()
        except asyncio.CancelledError:
            self._settler.end()
            raise
        finally:
            await self._end()

    async def _look(self) -> None:
        """Sees what other processes did, and whether the clock was set."""
        now = time.monotonic()
        if now - self._looked_at >= self._times.look_at_all or self._kept.touched:
            try:
                await self._kept.look(self._attempts.keys())
                for gone in await self._kept.notes():
                    self._settler.dropped(gone)
                self._looked_at, self._sorted_at = now, float("-inf")
            except OSError as reason:  # no descriptors, for one: new mail is known without
                self._trouble(reason)
        step = self._steps.look()
        if not step:
            return
        # Set back: what waits would wait for as much longer. Set forward: it is tried early, and given up no earlier
        # than after all tries (`queue.tries`).
        LOG.warning("clock_set", seconds=round(step, 1), waiting=self._kept.count)
        self._kept.shift(min(0.0, step))
        self._sorted_at = float("-inf")

    def _begin(self) -> None:
        """Starts attempts at what is due, longest due first. A long queue is put in order once in a while only."""
        now = self._clock()
        if time.monotonic() - self._sorted_at >= self._times.look or self._kept.count <= SHORT:
            self._sort(now)
        waiting: list[str] = []
        while self._due and len(self._attempts) < MAX_ATTEMPTS:
            name = self._due.popleft()
            entry = self._kept.entry(name)
            if name in self._attempts or entry is None:
                continue
            if not queue.due(entry, now, self._policy_of(entry)) or not self._ready(entry):
                continue
            size = self._kept.size(name)
            if self._busy[entry.domain] >= PER_DOMAIN or (self._attempts and self._octets + size > MAX_OCTETS):
                waiting.append(name)
                continue
            self._octets += size
            self._busy[entry.domain] += 1
            task = self._attempts[name] = asyncio.create_task(self._attempt(entry))
            task.add_done_callback(functools.partial(self._ended, name, entry.domain, size))
        self._due.extendleft(reversed(waiting))

    def _sort(self, now: float) -> None:
        """Puts what is due in order, and finds out how long nothing else will be."""
        self._sorted_at = time.monotonic()
        due: list[tuple[float, str]] = []
        soonest, oldest = now + self._times.look, now
        for entry in self._kept.entries():
            oldest = min(oldest, entry.created_at)
            if queue.due(entry, now, self._policy_of(entry)):
                due.append((entry.next_at, entry.entry_id))
            elif entry.next_at < soonest:
                soonest = entry.next_at
        self._due = collections.deque(name for _, name in sorted(due))
        self._pause = soonest - now
        metrics.QUEUE.set(self._kept.count)
        metrics.QUEUE_AGE.set(now - oldest)

    def _ready(self, entry: queue.Entry) -> bool:
        """A user's own mail waits for the user's session; but not beyond its lifetime."""
        if not entry.login or self._clock() >= entry.created_at + self._policy_of(entry).lifetime:
            return True
        return self._upstreams.credentials_of(entry.login) is not None

    def _ended(self, name: str, domain: str, size: int, _task: asyncio.Task[None]) -> None:
        self._attempts.pop(name, None)
        self._octets -= size
        self._busy[domain] -= 1
        if not self._busy[domain]:
            del self._busy[domain]
        self._news.set()

    async def _attempt(self, entry: queue.Entry) -> None:
        name = entry.entry_id
        claim = settling = None
        try:
            claim = await asyncio.to_thread(self._kept.claim, name)
            if claim is None:  # if who has it dies, its lock is free: so it is asked for again soon
                self._kept.postpone(name, self._times.look)
                return
            known = self._kept.entry(name)
            if known is None or known.attempts != claim.entry.attempts:  # somebody else tried it meanwhile
                self._kept.release(claim)
                return
            if not claim.entry.waiting:  # all have it, or heard of it; the disk did not let it be taken away
                await self._kept.remove(claim)
                return
            outcomes, host = await self._send(claim)
            settling = asyncio.create_task(self._settler.settle(claim, outcomes, host))
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)
            await asyncio.shield(settling)
        except asyncio.CancelledError:
            if claim and not settling:  # once it settles, that task sees to the claim
                claim.release()
            raise
        except OSError as reason:
            self._trouble(reason, name)
            self._give_back(name, claim, self._times.again)
        except Exception:  # the edge: an entry that fails in a way nobody thought of must not stop the others
            metrics.ERRORS.labels("spool").inc()
            LOG.exception("attempt_failed", entry=name)
            self._give_back(name, claim, self._policy_of(entry).schedule[-1])

    def _trouble(self, reason: OSError, name: str | None = None) -> None:
        """The disk does not give what it has, or there are no descriptors left."""
        metrics.ERRORS.labels("spool").inc()
        now = time.monotonic()
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            LOG.error("not_read", entry=name, reason=str(reason))

    def _give_back(self, name: str, claim: disk.Claim | None, seconds: float) -> None:
        if claim is None:
            self._kept.postpone(name, seconds)
        else:
            later = msgspec.structs.replace(claim.entry, next_at=self._clock() + seconds)
            self._kept.release(claim, later)

    async def _send(self, claim: disk.Claim) -> tuple[Sequence[Outcome], str]:
        """The outcomes, and the host of the upstream that gave them."""
        entry = claim.entry
        credentials = None
        if entry.login:
            credentials = self._upstreams.credentials_of(entry.login)
            if credentials is None:
                later = Later(Reply(451, f"4.7.8 {entry.login} has not logged in since"))
                return (later,) * len(entry.waiting), ""
        content = await asyncio.to_thread(claim.content)
        hosts: list[str] = []
        outcomes = await self._upstreams.send(entry.envelope(credentials), content, started=hosts.append)
        return outcomes, hosts[-1]

    async def _end(self) -> None:
        """Attempts get a while: one that is cut after its message was handed over would make a duplicate."""
        running = set(self._attempts.values())
        if running:
            _, left = await asyncio.wait(running, timeout=self._times.end)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if self._settling:
            await asyncio.wait(set(self._settling), timeout=self._times.end)
