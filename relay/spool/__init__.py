"""Messages kept on disk until they are delivered or given up.

Owns: attempts at what waits, one at a time per entry, a few per destination; what each attempt's outcome does to the
entry. `files` is the disk, `reporting` what senders and the store are told. Leaves to others: when to try and when to give up (`core.queue`),
the form of reports (`core.dsn`), the attempt itself (`courier`), and which mail comes here (`delivery`).

A message's bytes are final when they come here: an attempt changes nothing in them, so control headers and Bcc are
gone, tokens and signature stay the same.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from relay import config, ledger, log, metrics, store
from relay.core import dsn, queue
from relay.core.model import Later, Outcome, Reply
from relay.courier import Courier, Credentials
from relay.spool import files, reporting

LOG = log.room("spool")

MOST_AT_ONCE = 10  # attempts; below the courier's places, so that new mail finds one
PER_DOMAIN = 4
LOOK_SECONDS = 1.0  # between looks at what other processes put or changed
LOOK_AT_ALL_SECONDS = 60.0
SHORT = 500  # entries: a queue up to that is put in order at every event
END_SECONDS = 20.0  # for attempts under way when the service stops

Claim = files.Claim
Unwritable = files.Unwritable


def entry_id(now: float, dice: bytes) -> str:
    """Sorts by time."""
    return f"{int(now * 1000):011x}{dice.hex()}"


class Spool:
    """`directory` is made when missing. `run` sends; `put`, `keep`, `settle` and `report` work without it."""

    def __init__(
        self,
        directory: Path,
        settings: config.Settings,
        courier: Courier,
        store: store.Store,
        *,
        appended: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        schedule: Sequence[float] = queue.SCHEDULE,
        delay_after: float = queue.DELAY_AFTER,
    ) -> None:
        upstream = settings.upstream
        self.files = files.Files(directory)
        self.courier, self.clock = courier, clock
        self.hostname = settings.smtp.hostname or os.uname().nodename
        self.policy = queue.Policy(upstream.queue_lifetime, upstream.bounce_from, schedule, delay_after)
        self.ledger = ledger.Ledger(store, host=courier.host, appended=appended)
        self._known: dict[str, tuple[queue.Entry, int]] = {}  # id -> entry, when its state was written
        self._running: dict[str, asyncio.Task[None]] = {}
        self._busy: collections.Counter[str] = collections.Counter()  # attempts under way by domain
        self._news = asyncio.Event()
        self._due: collections.deque[str] = collections.deque()
        self._sorted_at, self._pause = 0.0, LOOK_SECONDS
        self._started = self._sending = False

    # -- keeping -------------------------------------------------------------------------------------------------------

    def entry(
        self,
        message_id: str,
        reverse_path: str,
        recipients: Sequence[queue.Waiting],
        options: Sequence[str] = (),
        *,
        login: str = "",
        duplicates: int = 0,
        tried: bool = False,
    ) -> queue.Entry:
        """An entry that begins now; `tried` where the first attempt was just made."""
        now = self.clock()
        pause = self.policy.schedule[min(1, len(self.policy.schedule) - 1)] if tried else 0.0
        return queue.Entry(
            entry_id(now, secrets.token_bytes(4)),
            message_id,
            now,
            now + pause,
            reverse_path,
            tuple(recipients),
            tuple(options),
            login=login,
            attempts=int(tried),
            duplicates=duplicates,
        )

    async def keep(self, entry: queue.Entry, content: bytes) -> Claim:
        """Keeps a message that an attempt is under way for: whoever holds the claim settles or releases it. Durable
        when it returns; raises `Unwritable`."""
        return await asyncio.to_thread(self._put, entry, content)

    def _put(self, entry: queue.Entry, content: bytes) -> Claim:
        if not self._started:
            try:
                self.files.start()
            except OSError as reason:
                raise Unwritable(f"{reason.strerror or reason}") from reason
            self._started = True
        return self.files.put(entry, content)

    async def put(self, entry: queue.Entry, content: bytes) -> None:
        """Keeps a message for `run` to send. Durable when it returns; raises `Unwritable`."""
        self.release(await self.keep(entry, content))

    def release(self, claim: Claim) -> None:
        claim.release()
        self._known[claim.entry.entry_id] = (claim.entry, self.files.changed_at(claim.entry.entry_id))
        self._news.set()
        if not self._sending:
            self.files.wake()

    # -- what an attempt's outcome does --------------------------------------------------------------------------------

    async def settle(self, claim: Claim, outcomes: Sequence[Outcome]) -> None:
        """The entry after an attempt: gone, or kept for the next one. Reports are kept before the entry goes on, so a
        crash in between repeats one and loses none."""
        entry = claim.entry
        settled = queue.settle(
            entry,
            outcomes,
            now=self.clock(),
            dice=secrets.randbelow(1_000_000) / 1_000_000,
            policy=self.policy,
            remote=self.courier.host,
        )
        self._tell(entry, outcomes, settled)
        try:
            for group in (settled.failed, settled.delayed):
                if group and entry.kind == "mail":
                    await self.report(entry, await asyncio.to_thread(claim.content), group)
            if settled.entry is None:
                await asyncio.to_thread(claim.remove)
                self._known.pop(entry.entry_id, None)
            else:
                await asyncio.to_thread(claim.save, settled.entry)
                self.release(claim)
        except (OSError, Unwritable) as reason:
            metrics.ERRORS.labels("spool").inc()
            LOG.error("not_settled", entry=entry.entry_id, reason=str(reason))
            await self._hold(claim, settled)

    async def _hold(self, claim: Claim, settled: queue.Settled) -> None:
        """Nothing could be written. Those who have the message must not get it again if that can be had at all; the
        others wait for another attempt, and hear nothing yet."""
        has_it = {(r.address, r.index): r for r in settled.done}
        recipients = tuple(has_it.get((r.address, r.index), r) for r in claim.entry.recipients)
        next_at = self.clock() + self.policy.schedule[-1]
        held = msgspec.structs.replace(claim.entry, recipients=recipients, next_at=next_at)
        if has_it:
            try:
                await asyncio.to_thread(claim.save, held)
            except Unwritable as reason:
                LOG.error("may_be_repeated", entry=held.entry_id, recipients=len(has_it), reason=str(reason))
        claim.entry = held
        self.release(claim)

    def _tell(self, entry: queue.Entry, outcomes: Sequence[Outcome], settled: queue.Settled) -> None:
        if entry.message_id and entry.kind == "mail":
            self.ledger.replies(entry.message_id, [r.address for r in entry.waiting], outcomes)
        for recipient in settled.done:
            LOG.info("delivered", entry=entry.entry_id, message_id=entry.message_id, recipient=recipient.address,
                     attempts=entry.attempts + 1, reply=recipient.reply)  # fmt: skip
        for recipient, notice in settled.failed:
            LOG.warning("given_up", entry=entry.entry_id, message_id=entry.message_id, recipient=recipient.address,
                        kind=entry.kind, status=notice.status, reply=recipient.reply)  # fmt: skip
        if settled.entry:
            LOG.info("put_off", entry=entry.entry_id, message_id=entry.message_id, attempts=settled.entry.attempts,
                     next_in=f"{settled.entry.next_at - self.clock():.0f}s", reply=settled.entry.last_reply)  # fmt: skip

    async def report(
        self, entry: queue.Entry, content: bytes, group: Sequence[tuple[queue.Waiting, dsn.Notice]]
    ) -> None:
        """Tells the sender, who wants to know, by a report that is kept for sending when this returns, and the store.
        The null reverse-path is never told anything. Raises `Unwritable`."""
        now = self.clock()
        made = reporting.Reporter(self.hostname, self.policy.bounce_from, now, entry.created_at + self.policy.lifetime)
        message = made.message(entry, content, group)
        if message:
            name = entry_id(now, secrets.token_bytes(4))
            utf8 = () if entry.reverse_path.isascii() else ("SMTPUTF8",)
            to = (queue.Waiting(entry.reverse_path),)
            await self.put(queue.Entry(name, "", now, now, "", to, utf8, kind="report"), message)
        for event in made.events(entry, group):
            await self.ledger.event(event)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sends what is due until cancelled; attempts under way are then given back, or finish if the upstream already
        has the message."""
        await asyncio.to_thread(self.files.start)
        self._started = self._sending = True
        looked, woken = -LOOK_AT_ALL_SECONDS, -1
        try:
            while True:
                self._news.clear()
                now = time.monotonic()
                touched = self.files.woken_at()
                if touched != woken or now - looked >= LOOK_AT_ALL_SECONDS:
                    woken, looked = touched, now
                    await self._look()
                self._begin()
                try:
                    async with asyncio.timeout(self._pause):
                        await self._news.wait()
                except TimeoutError:
                    pass
        finally:
            self._sending = False
            await self._end()

    async def _look(self) -> None:
        """What is on disk now: entries new to us, and those whose state somebody else changed."""
        known = {name: changed for name, (_, changed) in self._known.items()}
        found, news = await asyncio.to_thread(self._compare, known)
        self._known.update(news)
        for name in known.keys() - found - self._running.keys():
            self._known.pop(name, None)
        self._sorted_at = 0.0

    def _compare(self, known: Mapping[str, int]) -> tuple[set[str], dict[str, tuple[queue.Entry, int]]]:
        found, news = set(), {}
        for name in self.files.scan():
            found.add(name)
            changed = self.files.changed_at(name)
            if known.get(name) != changed:
                entry = self.files.read(name)
                if entry:
                    news[name] = (entry, changed)
        return found, news

    def _begin(self) -> None:
        """Starts attempts at what is due, longest due first. A long queue is put in order once a second only."""
        now = self.clock()
        if time.monotonic() - self._sorted_at >= LOOK_SECONDS or len(self._known) <= SHORT:
            self._sorted_at = time.monotonic()
            due = [(e.next_at, name) for name, (e, _) in self._known.items() if queue.due(e, now, self.policy)]
            self._due = collections.deque(name for _, name in sorted(due))
            soonest = min((e.next_at for e, _ in self._known.values() if e.next_at > now), default=now + LOOK_SECONDS)
            self._pause = min(LOOK_SECONDS, soonest - now)
            self._gauge()
        waiting: list[str] = []
        while self._due and len(self._running) < MOST_AT_ONCE:
            name = self._due.popleft()
            if name in self._running or name not in self._known:
                continue
            entry = self._known[name][0]
            if not queue.due(entry, now, self.policy) or not self._ready(entry):
                continue
            if self._busy[entry.domain] >= PER_DOMAIN:
                waiting.append(name)
                continue
            self._busy[entry.domain] += 1
            task = self._running[name] = asyncio.create_task(self._attempt(name))
            task.add_done_callback(functools.partial(self._ended, name, entry.domain))
        self._due.extendleft(reversed(waiting))

    def _ready(self, entry: queue.Entry) -> bool:
        """A user's own mail waits for the user's session; but not beyond its lifetime."""
        if not entry.login or self.clock() >= entry.created_at + self.policy.lifetime:
            return True
        return self.courier.credentials_of(entry.login) is not None

    def _ended(self, name: str, domain: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(name, None)
        self._busy[domain] -= 1
        if not self._busy[domain]:
            del self._busy[domain]
        self._news.set()

    async def _attempt(self, name: str) -> None:
        claim = None
        try:
            claim = await asyncio.to_thread(self.files.claim, name)
            if claim is None:
                self._leave(name)
                return
            if not queue.due(claim.entry, self.clock(), self.policy):  # somebody else tried it meanwhile
                self.release(claim)
                return
            await self.settle(claim, await self._send(claim))
        except asyncio.CancelledError:
            if claim:
                claim.release()
            raise
        except Exception:  # the edge: an entry that fails in a way nobody thought of must not stop the others
            metrics.ERRORS.labels("spool").inc()
            LOG.exception("attempt_failed", entry=name)
            if claim:
                claim.entry = msgspec.structs.replace(claim.entry, next_at=self.clock() + self.policy.schedule[-1])
                self.release(claim)

    def _leave(self, name: str) -> None:
        """It is another's now, or gone. If that other dies, its lock is free: so it is asked for again soon."""
        entry, changed = self._known.pop(name, (None, 0))
        if entry and self.files.size(name):
            self._known[name] = (msgspec.structs.replace(entry, next_at=self.clock() + LOOK_SECONDS), changed)

    async def _send(self, claim: Claim) -> Sequence[Outcome]:
        entry = claim.entry
        credentials: Credentials = None
        if entry.login:
            credentials = self.courier.credentials_of(entry.login)
            if credentials is None:
                later = Later(Reply(451, f"4.7.8 {entry.login} has not logged in since"))
                return (later,) * len(entry.waiting)
        content = await asyncio.to_thread(claim.content)
        return await self.courier.send(entry.envelope(credentials), content)

    def _gauge(self) -> None:
        metrics.QUEUE.set(len(self._known))
        oldest = min((entry.created_at for entry, _ in self._known.values()), default=None)
        metrics.QUEUE_AGE.set(0 if oldest is None else max(0.0, self.clock() - oldest))

    async def _end(self) -> None:
        """Attempts get a while: one that is cut after its message was handed over would make a duplicate."""
        running = set(self._running.values())
        if running:
            _, left = await asyncio.wait(running, timeout=END_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        await self.ledger.flush()
