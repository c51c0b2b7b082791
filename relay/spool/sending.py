"""Attempts at what waits in the spool.

Owns: which entry is tried when: one attempt at a time per entry, over all processes; a few per destination; what other
processes put or changed is seen within a second. Leaves to others: what an outcome does to an entry (`spool`), when it
is due (`core.queue`), the files and their locks (`spool.files`).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from relay import clock, log, metrics
from relay.core import queue
from relay.core.model import Later, Outcome, Reply
from relay.spool import files

if TYPE_CHECKING:
    from relay import spool
    from relay.upstream.pool import Credentials

LOG = log.room("spool")

MOST_AT_ONCE = 10  # attempts; below the places at an upstream, so that new mail finds one
PER_DOMAIN = 4
MOST_OCTETS = 100_000_000  # of messages read for attempts under way; one alone may be larger
LOOK_SECONDS = 1.0  # between looks at what other processes put or changed
LOOK_AT_ALL_SECONDS = 60.0
SHORT = 500  # entries: a queue up to that is put in order at every event
END_SECONDS = 10.0  # for attempts under way when the service stops
AGAIN_SECONDS = 15.0  # after which an entry that could not be had is asked for again
SAY_SECONDS = 60.0  # between two lines about files that can't be had: there may be one per entry


class Sender:
    """`running`: this process sends, so it need not be told through the disk of what it kept itself."""

    def __init__(self, spool: spool.Spool) -> None:
        self.spool = spool
        self.running = False
        self._known: dict[str, tuple[queue.Entry, int]] = {}  # id -> entry, when its state was written
        self._attempts: dict[str, asyncio.Task[None]] = {}
        self._settling: set[asyncio.Task[None]] = set()
        self._busy: collections.Counter[str] = collections.Counter()  # attempts under way by domain
        self._octets = 0  # read for them
        self._news = asyncio.Event()
        self._due: collections.deque[str] = collections.deque()
        self._sorted_at, self._pause = 0.0, LOOK_SECONDS
        self._steps = clock.Steps(spool.clock)
        self._ending = asyncio.Event()
        self._said_at = -SAY_SECONDS

    def returned(self, entry: queue.Entry) -> None:
        """It was put, or somebody is done with it for now."""
        self._known[entry.entry_id] = (entry, self.spool.files.changed_at(entry.entry_id))
        self._news.set()

    def removed(self, entry: queue.Entry) -> None:
        self._known.pop(entry.entry_id, None)

    async def run(self) -> None:
        """Until cancelled; attempts under way get a while to end, then are given back."""
        self.running = True
        looked, woken = -LOOK_AT_ALL_SECONDS, -1
        try:
            while True:
                self._news.clear()
                now = time.monotonic()
                touched = self.spool.files.woken_at()
                if touched != woken or now - looked >= LOOK_AT_ALL_SECONDS:
                    try:
                        await self._look()
                        woken, looked = touched, now
                    except OSError as reason:  # no descriptors, for one: new mail is known without
                        self._trouble(reason)
                self._stepped(self._steps.look())
                self._begin()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause):
                        await self._news.wait()
        except asyncio.CancelledError:
            self._ending.set()
            raise
        finally:
            self.running = False
            await self._end()

    async def _look(self) -> None:
        """What is on disk now: entries new to us, and those whose state somebody else changed."""
        known = {name: changed for name, (_, changed) in self._known.items()}
        found, news = await asyncio.to_thread(self._compare, known)
        self._known.update(news)
        for name in known.keys() - found - self._attempts.keys():
            self._known.pop(name, None)
        self._sorted_at = 0.0

    def _compare(self, known: Mapping[str, int]) -> tuple[set[str], dict[str, tuple[queue.Entry, int]]]:
        self.spool.files.take_back()
        found, news = set(), {}
        for name in self.spool.files.scan():
            found.add(name)
            changed = self.spool.files.changed_at(name)
            if known.get(name) != changed:
                entry = self.spool.files.read(name)
                if entry:
                    news[name] = (entry, changed)
        return found, news

    def _stepped(self, seconds: float) -> None:
        """The clock was set. Back: what waits would wait for as much longer. Forward: it is tried early, and given up no
        earlier than after all tries (`queue.tries`)."""
        if not seconds:
            return
        LOG.warning("clock_set", seconds=round(seconds, 1), waiting=len(self._known))
        now = self.spool.clock()
        for name, (entry, changed) in self._known.items() if seconds < 0 else ():
            if entry.next_at > now:
                self._known[name] = (msgspec.structs.replace(entry, next_at=entry.next_at + seconds), changed)
        self._sorted_at = 0.0

    def _begin(self) -> None:
        """Starts attempts at what is due, longest due first. A long queue is put in order once a second only."""
        now = self.spool.clock()
        if time.monotonic() - self._sorted_at >= LOOK_SECONDS or len(self._known) <= SHORT:
            self._sorted_at = time.monotonic()
            due = [(e.next_at, name) for name, (e, _) in self._known.items() if queue.due(e, now, self.spool.policy)]
            self._due = collections.deque(name for _, name in sorted(due))
            soonest = min((e.next_at for e, _ in self._known.values() if e.next_at > now), default=now + LOOK_SECONDS)
            self._pause = min(LOOK_SECONDS, soonest - now)
            self._gauge()
        waiting: list[str] = []
        while self._due and len(self._attempts) < MOST_AT_ONCE:
            name = self._due.popleft()
            if name in self._attempts or name not in self._known:
                continue
            entry = self._known[name][0]
            if not queue.due(entry, now, self.spool.policy) or not self._ready(entry):
                continue
            size = self.spool.files.size(name)
            if self._busy[entry.domain] >= PER_DOMAIN or (self._attempts and self._octets + size > MOST_OCTETS):
                waiting.append(name)
                continue
            self._octets += size
            self._busy[entry.domain] += 1
            task = self._attempts[name] = asyncio.create_task(self._attempt(name))
            task.add_done_callback(functools.partial(self._ended, name, entry.domain, size))
        self._due.extendleft(reversed(waiting))

    def _ready(self, entry: queue.Entry) -> bool:
        """A user's own mail waits for the user's session; but not beyond its lifetime."""
        if not entry.login or self.spool.clock() >= entry.created_at + self.spool.policy_of(entry).lifetime:
            return True
        return self.spool.upstreams.credentials_of(entry.login) is not None

    def _ended(self, name: str, domain: str, size: int, _task: asyncio.Task[None]) -> None:
        self._attempts.pop(name, None)
        self._octets -= size
        self._busy[domain] -= 1
        if not self._busy[domain]:
            del self._busy[domain]
        self._news.set()

    async def _attempt(self, name: str) -> None:
        claim = settling = None
        try:
            claim = await asyncio.to_thread(self.spool.files.claim, name)
            if claim is None:
                self._leave(name)
                return
            known = self._known.get(name)
            if known is None or known[0].attempts != claim.entry.attempts:  # somebody else tried it meanwhile
                self.spool.release(claim)
                return
            if not claim.entry.waiting:  # all have it, or heard of it; the disk did not let it be taken away
                await asyncio.to_thread(claim.remove)
                self.removed(claim.entry)
                return
            outcomes, host = await self._send(claim)
            settling = asyncio.create_task(self.spool.settle(claim, outcomes, host))
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)
            await asyncio.shield(settling)
        except asyncio.CancelledError:
            if claim and not settling:  # once it settles, that task sees to the claim
                claim.release()
            raise
        except OSError as reason:
            self._trouble(reason, name)
            self._give_back(name, claim, AGAIN_SECONDS)
        except Exception:  # the edge: an entry that fails in a way nobody thought of must not stop the others
            metrics.ERRORS.labels("spool").inc()
            LOG.exception("attempt_failed", entry=name)
            self._give_back(name, claim, self.spool.policy.schedule[-1])

    def _trouble(self, reason: OSError, name: str | None = None) -> None:
        """The disk does not give what it has, or there are no descriptors left."""
        metrics.ERRORS.labels("spool").inc()
        now = time.monotonic()
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            LOG.error("not_read", entry=name, reason=str(reason))

    def _give_back(self, name: str, claim: files.Claim | None, seconds: float) -> None:
        if claim is None:
            self._leave(name, seconds)
            return
        claim.entry = msgspec.structs.replace(claim.entry, next_at=self.spool.clock() + seconds)
        self.spool.release(claim)

    def _leave(self, name: str, seconds: float = LOOK_SECONDS) -> None:
        """It is another's now, or gone. If that other dies, its lock is free: so it is asked for again soon."""
        entry, changed = self._known.pop(name, (None, 0))
        if entry and self.spool.files.size(name):
            self._known[name] = (msgspec.structs.replace(entry, next_at=self.spool.clock() + seconds), changed)

    async def _send(self, claim: files.Claim) -> tuple[Sequence[Outcome], str]:
        """The outcomes, and the host of the upstream that gave them."""
        entry = claim.entry
        credentials: Credentials = None
        if entry.login:
            credentials = self.spool.upstreams.credentials_of(entry.login)
            if credentials is None:
                later = Later(Reply(451, f"4.7.8 {entry.login} has not logged in since"))
                return (later,) * len(entry.waiting), ""
        content = await asyncio.to_thread(claim.content)
        hosts: list[str] = []
        outcomes = await self.spool.upstreams.send(entry.envelope(credentials), content, started=hosts.append)
        return outcomes, hosts[-1]

    def _gauge(self) -> None:
        metrics.QUEUE.set(len(self._known))
        oldest = min((entry.created_at for entry, _ in self._known.values()), default=None)
        metrics.QUEUE_AGE.set(0 if oldest is None else max(0.0, self.spool.clock() - oldest))

    async def ends_within(self, seconds: float) -> bool:
        """Waits so long; sooner, and True, when the service stops."""
        try:
            async with asyncio.timeout(seconds):
                return await self._ending.wait()
        except TimeoutError:
            return False

    async def _end(self) -> None:
        """Attempts get a while: one that is cut after its message was handed over would make a duplicate."""
        running = set(self._attempts.values())
        if running:
            _, left = await asyncio.wait(running, timeout=END_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if self._settling:
            await asyncio.wait(set(self._settling), timeout=END_SECONDS)
