"""Wiring and shutdown: builds what the chosen roles need, keeps it running, stops it in order.

Owns: which room gets which other, signals, readiness, the 30 seconds of a clean stop.
Leaves to others: everything else. A role that fails is logged, counted and restarted; mail does not wait for it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay import (
    allocator,
    causes,
    certificates,
    collector,
    config,
    files,
    keys,
    log,
    metrics,
    nodes,
    notify,
    recounts,
    roles,
    store,
    webhooks,
)
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import floods

if TYPE_CHECKING:
    from aiohttp import web

    from relay import delivery, milter, outbound, outcomes, smtp, spool
    from relay.core import dkim
    from relay.upstream import failover

LOG = log.room("app")

STORE_SECONDS = 2.0  # between attempts to open a store that could not be opened at the start
AGAIN_SECONDS = 1.0  # before a failed role is restarted; doubles up to a minute

WITH_TOKENS = frozenset({"smtp", "http", "admin", "mailbox", "milter"})  # the roles that sign tokens, or verify them

Addresses = dict[str, list[tuple[str, int]]]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `stop` is for all of a clean stop, `drain` of these for clients, and at the same time for the queue and
    the webhooks. `spool` are the spool's own times."""

    stop: float = 30.0
    drain: float = 18.0
    spool: spool.Times | None = None


TIMES = Times()


class CannotStart(Exception):
    """The service can't start. The text is a sentence for the operator. `code` is the exit code: 2 is a mistake in the
    settings, which starting again does not mend; 1 is all else, and systemd starts it again."""

    def __init__(self, sentence: str, code: int = 2) -> None:
        super().__init__(sentence)
        self.code = code


def main(settings: config.Settings, **how: Any) -> None:
    """`run` on the fastest event loop there is."""
    allocator.start()
    if not importlib.util.find_spec("uvloop"):
        asyncio.run(run(settings, **how))  # not in an `except`: the import error would be attached to every other one
        return
    import uvloop

    uvloop.run(run(settings, **how))


async def run(
    settings: config.Settings,
    *,
    only: frozenset[str] = frozenset(roles.ALL),
    ready: Callable[[Addresses], None] | None = None,
    extra_routes: Sequence[web.AbstractRouteDef] = (),
) -> None:
    """Runs until SIGTERM or SIGINT, then drains. `ready` gets the addresses once every listener is up."""
    service = Service(settings, only, extra_routes)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    try:
        addresses = await service.start()
        collector.settle()
        if ready:
            ready(addresses)
        LOG.info(
            "ready", **{role: " ".join(f"{h}:{p}" if p else h for h, p in found) for role, found in addresses.items()}
        )
        notify.tell(READY=1, STATUS=f"running: {', '.join(sorted(addresses) or sorted(only))}")
        await stopping.wait()
        notify.tell(STOPPING=1, STATUS="draining")
        LOG.info("stopping")
    finally:
        await service.stop()


class Service:
    """The roles of one process, and what they share."""

    def __init__(
        self,
        settings: config.Settings,
        only: frozenset[str],
        extra_routes: Sequence[web.AbstractRouteDef] = (),
        *,
        times: Times = TIMES,
    ) -> None:
        self.settings, self.only, self.extra_routes, self.times = settings, only, extra_routes, times
        self.addresses: Addresses = {}
        self.ready = False
        self.tasks: list[asyncio.Task[None]] = []
        self.closers: list[Callable[[], Awaitable[None]]] = []  # called last to first
        self.renewals: list[Callable[[], object]] = []  # of keys and certificates; each may raise OSError
        self.server: smtp.Server | None = None
        self.milter: milter.Server | None = None
        self.out: failover.Upstreams | None = None
        self.spool: spool.Spool | None = None
        self.deliverer: delivery.Delivery | None = None
        self.wake: Callable[[], None] = lambda: None
        self.among: nodes.Nodes | None = None
        self.stop_at = 0.0

    async def start(self) -> Addresses:
        settings = self.settings
        tokens = settings.state_dir / "keys" / "tokens.json"
        try:
            self.prepare_state()
            hidden = tokens.parent.is_dir() and not os.access(tokens.parent, os.X_OK)  # by the unit, from this role
            known = hidden or tokens.exists()
            if self.only & WITH_TOKENS:
                self.keys = keys.TokenKeys(tokens)
                self.renewals.append(self.keys.reload_if_changed)
            limits = floods.Limits(settings.http.hits_per_token, settings.http.hits_per_message)
            self.store = store.open(settings.store.url, settings.state_dir, limits, password=settings.store.password)
        except OSError as reason:
            raise CannotStart(causes.at(reason, settings.state_dir), 1) from reason
        except (store.Unavailable, keys.Unusable) as reason:
            raise CannotStart(str(reason), 1) from reason
        self.closers.append(self.store.stop)
        self.among = nodes.Nodes(
            settings, self.only, self.store, keys=self.keys.now if self.only & WITH_TOKENS else None
        )
        self.closers.append(self.among.leave)
        try:
            await self.open_store()
        except store.Unavailable as reason:
            if isinstance(reason, store.Newer) or not known:
                raise CannotStart(str(reason), 1) from reason
            # It has run here before: a full disk or a damaged file must not stop mail after a restart.
            metrics.ERRORS.labels("app").inc()
            LOG.error(
                "store_unavailable", reason=str(reason), meanwhile="mail goes out untracked, events are journaled"
            )
            self.supervise("store", self.open_store_later)
        starts = {
            "webhooks": self.start_webhooks,
            "queue": self.start_mail,
            "smtp": self.start_mail,
            "milter": self.start_milter,
            "mailbox": self.start_mailbox,
            "http": self.start_http,
            "admin": self.start_admin,
        }
        for start in dict.fromkeys(starts[role] for role in starts if role in self.only):
            await start()
        self.supervise("counts", lambda: recounts.run(self.store))
        self.supervise("nodes", self.among.run)
        seconds = notify.watchdog()
        if seconds:
            self.supervise("watchdog", lambda: beat(seconds))
        self.ready = True
        return self.addresses

    def prepare_state(self) -> None:
        folder = self.settings.state_dir
        files.make_folder(folder)
        exposed = files.exposed(folder)
        if exposed:
            raise CannotStart(exposed, 1)
        if files.readable(folder):
            LOG.warning("state_dir_readable", folder=folder, advice="chmod 700")
        if self.only & {"smtp", "queue"}:  # the roles that every part of it is open to
            keys.arrange(folder / "keys")
        files.sweep(folder / "keys", time.time())

    async def open_store(self) -> None:
        await self.store.start()
        # Every role that appends events must know the endpoints, even if no process delivers yet.
        await self.store.sync_endpoints(webhooks.configured(self.settings, time.time()))

    async def open_store_later(self) -> None:
        while True:
            await asyncio.sleep(STORE_SECONDS)
            try:
                return await self.open_store()
            except store.Unavailable:
                continue

    # -- roles ---------------------------------------------------------------------------------------------------------

    async def start_webhooks(self) -> None:
        room = webhooks.Webhooks(self.settings, self.store)
        self.wake = room.wake
        self.store.watch(room.wake)
        self.supervise("webhooks", room.run)

    async def start_mail(self) -> None:
        """smtp and queue, which share the upstreams and the spool if one process has both."""
        from relay import delivery, notices, smtp

        signers = self.signers()
        out, heard, queue = self.mail(signers)
        self.out, self.spool = out, queue
        if "queue" in self.only:
            self.supervise("queue", queue.run)
            if self.among:
                self.among.spool = queue.standing
            told = notices.Notices(self.settings, self.store, queue, hostname=self.hostname)
            self.supervise("notices", told.run)
        if "smtp" not in self.only:
            return
        tracker = self.tracker(signers)
        self.send_later(tracker, queue)
        deliverer = delivery.Delivery(self.settings, tracker, out, queue, heard)
        self.deliverer = deliverer
        self.closers.append(lambda: deliverer.close(self.left() / 2))
        try:
            self.server = await smtp.serve(self.settings, deliverer.take, verify_upstream=out.try_login)
        except smtp.CannotListen as reason:
            raise CannotStart(f"smtp: {reason}", 1 if reason.now else 2) from reason
        self.addresses["smtp"] = list(self.server.addresses)
        self.renewals.append(self.server.reload)

    def send_later(self, tracker: outbound.Tracker, queue: spool.Spool) -> None:
        """Of each process that can: a message is sent by one of them."""
        from relay import schedules

        later = schedules.Schedules(self.store, tracker, queue, settings=self.settings.admin, appended=self.appended)
        self.supervise("schedules", later.run)

    def mail(self, signers: Sequence[dkim.Signer]) -> tuple[failover.Upstreams, outcomes.Outcomes, spool.Spool]:
        """What sending needs. Nothing is opened before it is used."""
        from relay import credentials, outcomes, spool
        from relay.upstream import choice, failover

        grants = credentials.OfUpstreams(
            credentials.Credentials(self.store, appended=self.appended), lambda name: choice.grants(self.settings, name)
        )
        out = failover.Upstreams(self.settings, hostname=self.hostname, signers=signers, told=grants.told)
        self.closers.append(out.close)
        heard = outcomes.Outcomes(self.store, host=out.host, appended=self.appended)
        self.closers.append(heard.flush)
        times = self.times.spool or spool.Times()
        return out, heard, spool.Spool(self.settings.state_dir / "spool", self.settings, out, heard, times=times)

    async def start_milter(self) -> None:
        from relay import milter

        if not self.settings.milter.listen:
            return
        try:
            self.milter = await milter.serve(self.settings, self.tracker(self.signers()))
        except milter.CannotListen as reason:
            raise CannotStart(f"milter: {reason}", 1 if reason.now else 2) from reason
        self.addresses["milter"] = list(self.milter.addresses)

    @property
    def hostname(self) -> str:
        return self.settings.smtp.hostname or os.uname().nodename

    def signers(self) -> tuple[dkim.Signer, ...]:
        from relay import outbound
        from relay.core import dkim

        try:
            return outbound.signers(self.settings)
        except OSError as reason:
            raise CannotStart(f"dkim: {causes.at(reason)}") from reason
        except dkim.BadKey as reason:
            raise CannotStart(f"dkim: {reason}") from reason

    def tracker(self, signers: Sequence[dkim.Signer]) -> outbound.Tracker:
        from relay import outbound

        recorded = None
        if self.settings.mailbox.notify_self:
            from relay import followups

            following = followups.FollowUps(self.store, appended=self.appended)
            self.closers.append(following.close)
            recorded = following.recorded
        return outbound.Tracker(
            self.settings, self.keys.now, self.store, signers, hostname=self.hostname, recorded=recorded
        )

    async def start_mailbox(self) -> None:
        from relay import mailbox

        watcher = mailbox.Watcher(
            self.settings, self.store, self.keys.now, holder=nodes.name(self.settings), appended=self.appended
        )
        self.supervise("mailbox", watcher.run)

    async def start_http(self) -> None:
        from relay import blocklist, journal
        from tracking_http import public

        events = journal.Journal(self.settings.state_dir / "journal")
        self.closers.append(events.stop)
        self.supervise("journal", lambda: events.run(self.store))
        blocked = blocklist.Blocklist(blocklist.path_in(self.settings.state_dir))
        application = public.application(
            self.settings, self.store, self.keys.now, events, blocks=blocked.now, appended=self.appended
        )
        http = self.settings.http
        await self.listen(
            "http",
            application,
            *http.listen,
            certificate=http.certificate,
            key=http.key,
            behind=http.trusted_proxies,
            **public.RUNNER,
        )

    async def start_admin(self) -> None:
        from relay import submitting
        from tracking_http import admin
        from tracking_http.api import calls, problems
        from tracking_http.dashboard import feed

        door = None
        if self.settings.upstream.url:  # else a mail server asks by the milter, and nothing is sent from here
            signers = self.signers()
            kept, tracker = self.spool or self.mail(signers)[2], self.tracker(signers)
            if "smtp" not in self.only:
                self.send_later(tracker, kept)
            door = submitting.Submitting(self.settings, self.store, tracker, kept, self.deliverer)
        services = calls.Services(settings=self.settings, store=self.store, submitting=door)
        news = feed.Feed(self.store)
        self.store.watch(news.wake)
        application = admin.application(
            self.settings, self.store, state=self, extra=self.extra_routes, services=services, news=news
        )
        await self.listen(
            "admin", application, self.settings.admin.listen, behind=admin.MANY, unreadable=problems.unreadable,
            **admin.RUNNER,
        )  # fmt: skip

    async def troubles(self) -> tuple[list[str], list[str]]:
        """What keeps mail from being accepted, and what only delays it; for /readyz."""
        from relay.upstream import choice

        reasons: list[str] = []
        warnings: list[str] = []
        if self.out and self.spool:
            keeps = self.settings.upstream.on_defer == "spool" and self.settings.smtp.auth != "upstream"
            for name, sentence in (await self.out.troubles()).items():
                stops = name == DEFAULT_UPSTREAM and self.out.stopped and not keeps
                (reasons if stops else warnings).append(f"{choice.section(name)}: {sentence}")
            unwritable = await self.spool.trouble()
            if unwritable:
                reasons.append(f"spool: {unwritable}")
        if self.among:
            warnings += [f"nodes: {sentence}" for sentence in self.among.troubles]
        return reasons, warnings

    def nodes(self) -> list[dict[str, Any]]:
        """Those that share the store, for /readyz."""
        return self.among.shown if self.among else []

    # -- the means -----------------------------------------------------------------------------------------------------

    async def listen(
        self,
        role: str,
        application: web.Application,
        *listen: str,
        certificate: Path | None = None,
        key: Path | None = None,
        **how: Any,
    ) -> None:
        from tracking_http.listener import Listener

        context = None
        if certificate and key:
            try:
                used = certificates.Certificate(certificate, key)
            except certificates.Unusable as reason:
                raise CannotStart(f"{role}.certificate: {reason}") from reason
            context = used.context
            self.renewals.append(used.reload)
        listener = Listener(application, **how)
        self.closers.append(listener.stop)
        for address in listen:
            host, _, port = address.rpartition(":")
            try:
                await listener.start(host.strip("[]"), int(port), context)
            except OSError as reason:
                why = causes.of(reason, listening=True)
                raise CannotStart(f"{role}: can't listen on {address}: {why}", 1) from reason
        self.addresses[role] = listener.addresses

    def supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self.tasks.append(asyncio.create_task(restarted(name, work), name=name))

    def appended(self) -> None:
        """An event was stored in this process: its notifications can go out at once."""
        self.wake()

    def reload(self) -> None:
        """SIGHUP: certificates and token keys, without dropping a session."""
        notify.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        whole = True
        for renew in self.renewals:
            try:
                renew()
            except OSError as reason:  # this certificate can't be used: the old one stays, the others are renewed
                whole = False
                metrics.ERRORS.labels("app").inc()
                LOG.error("not_reloaded", reason=str(reason))
        if whole:
            LOG.info("reloaded")
        notify.tell(READY=1)

    async def stop(self) -> None:
        """Stops listeners first, then what is under way, then the store; within `times.stop`, whatever upstreams do."""
        self.ready = False
        self.stop_at = asyncio.get_running_loop().time() + self.times.stop
        for task in self.tasks:
            task.cancel()
        ending = asyncio.gather(*self.tasks, return_exceptions=True)
        await self.end(self.drain_clients)
        await ending
        for close in reversed(self.closers):
            await self.end(close)

    async def drain_clients(self) -> None:
        servers = [server for server in (self.server, self.milter) if server]
        for server in servers:
            server.stop_listening()
        await asyncio.gather(*(server.drain(self.times.drain) for server in servers))

    async def end(self, close: Callable[[], Awaitable[None]]) -> None:
        """One step of the stop. Whatever becomes of it, the others are taken."""
        try:
            async with asyncio.timeout(max(1.0, self.left())):
                await close()
        except Exception:
            metrics.ERRORS.labels("app").inc()
            LOG.exception("not_closed", what=getattr(close, "__qualname__", repr(close)))

    def left(self) -> float:
        """Seconds that a stop may still take."""
        return self.stop_at - asyncio.get_running_loop().time()


async def restarted(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Runs `work` until it is cancelled. When it fails, logs that and restarts it."""
    pause = AGAIN_SECONDS
    while True:
        began = time.monotonic()
        try:
            await work()
            return
        except Exception:  # the edge of a role
            metrics.ERRORS.labels(name).inc()
            LOG.exception("role_failed", role=name, again_in=f"{pause:.0f}s")
        if time.monotonic() - began > 60:
            pause = AGAIN_SECONDS
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret depends on it
        pause = min(60.0, pause * 2)


async def beat(seconds: float) -> None:
    """Gives systemd signs of life, with figures. They come from the event loop, so a loop that hangs gives none."""
    while True:
        notify.tell(WATCHDOG=1, STATUS=metrics.figures())
        await asyncio.sleep(seconds)
