"""The service of one process: starts the chosen roles, keeps them running, stops them in order.

Owns: signals, the store's opening, readiness, the 30 seconds of a clean stop. A role that fails is logged, counted and restarted;
mail does not wait for it. Leaves to others: what a role needs (`wiring`), everything else.
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
    collector,
    config,
    files,
    inherited,
    keys,
    log,
    metrics,
    nodes,
    notify,
    occupants,
    recounts,
    retention,
    roles,
    starting,
    store,
    webhooks,
    wiring,
)
from relay.core import floods
from relay.workers import member as members
from relay.workers import sockets

if TYPE_CHECKING:
    from aiohttp import web

    from relay import spool

LOG = log.room("app")

STORE_SECONDS = 2.0  # between attempts to open a store that could not be opened at the start
AGAIN_SECONDS = 1.0  # before a failed role is restarted; doubles up to a minute

WITH_TOKENS = frozenset({"smtp", "http", "admin", "mailbox", "milter"})  # the roles that sign tokens, or verify them


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `stop` is for all of a clean stop, `drain` of these for clients, and at the same time for the queue and
    the webhooks. `spool` are the spool's own times."""

    stop: float = 30.0
    drain: float = 18.0
    spool: spool.Times | None = None


TIMES = Times()


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
    ready: Callable[[starting.Addresses], None] | None = None,
    extra_routes: Sequence[web.AbstractRouteDef] = (),
    through: wiring.Through | None = None,
    member: members.Member | None = None,
    given: Sequence[inherited.Given] = (),
) -> None:
    """Runs until SIGTERM or SIGINT, then drains. `ready` gets the addresses once every listener is up. `through` gives
    what stands between delivery and its tracker. As a `member` of a service of several processes it does what its
    supervisor says. `given` are sockets that systemd passes."""
    passed = sockets.bind(inherited.places(settings, only, given)) if not member else {}
    own = member or members.alone(only, passed)
    service = Service(settings, only, extra_routes, through=through, member=own)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM,) if member else (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    if member:
        member.begin(stopping.set)
    try:
        addresses = await service.start()
        collector.settle()
        if ready:
            ready(addresses)
        service.member.ready(addresses)
        LOG.info("worker_ready" if member else "ready", **starting.shown(addresses))
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
        through: wiring.Through | None = None,
        member: members.Member | None = None,
    ) -> None:
        self.member = member or members.alone(only)
        self.settings, self.only, self.extra_routes, self.times = settings, only, extra_routes, times
        self.through = through
        self.ready = False
        self.tasks: list[asyncio.Task[None]] = []
        self.closers: list[Callable[[], Awaitable[None]]] = []  # called last to first
        self.renewals: list[Callable[[], object]] = []  # of keys and certificates; each may raise OSError
        self.wiring: wiring.Wiring | None = None
        self.stop_at = 0.0

    async def start(self) -> starting.Addresses:
        settings = self.settings
        tokens = settings.state_dir / "keys" / "tokens.json"
        token_keys = None
        try:
            self.prepare_state()
            hidden = tokens.parent.is_dir() and not os.access(tokens.parent, os.X_OK)  # by the unit, from this role
            known = hidden or tokens.exists()
            if (self.member.roles if self.member.leads else self.only) & WITH_TOKENS:
                token_keys = keys.TokenKeys(tokens)
                self.renewals.append(token_keys.reload_if_changed)
            limits = floods.Limits(settings.http.hits_per_token, settings.http.hits_per_message)
            self.store = store.open(settings.store.url, settings.state_dir, limits, password=settings.store.password)
        except OSError as reason:
            raise starting.CannotStart(causes.at(reason, settings.state_dir), 1) from reason
        except (store.Unavailable, keys.Unusable) as reason:
            raise starting.CannotStart(str(reason), 1) from reason
        self.closers.append(self.store.stop)
        self.wiring = wiring.Wiring(
            self, settings, self.only, self.store, token_keys, self.member,
            extra_routes=self.extra_routes, through=self.through, spool_times=self.times.spool,
        )  # fmt: skip
        try:
            await self.open_store()
        except store.Unavailable as reason:
            if isinstance(reason, store.Newer) or not known:
                raise starting.CannotStart(str(reason), 1) from reason
            # It has run here before: a full disk or a damaged file must not stop mail after a restart.
            metrics.ERRORS.labels("app").inc()
            LOG.error(
                "store_unavailable", reason=str(reason), meanwhile="mail goes out untracked, events are journaled"
            )
            self.supervise("store", self.open_store_later)
        await self.wiring.start()
        if self.member.leads:  # once for the service
            self.supervise("counts", lambda: recounts.run(self.store))
            privacy = settings.privacy
            kept = retention.Retention(
                self.store, days=privacy.retention_days, ip_days=privacy.ip_days, folder=settings.state_dir,
                holder=f"{nodes.name(settings)} {os.getpid()}",
            )  # fmt: skip
            self.supervise("retention", kept.run)
        seconds = notify.watchdog()
        if seconds:
            self.supervise("watchdog", lambda: beat(seconds))
        self.ready = True
        return self.wiring.own

    def prepare_state(self) -> None:
        folder = self.settings.state_dir
        files.make_folder(folder)
        exposed = files.exposed(folder)
        if exposed:
            raise starting.CannotStart(exposed, 1)
        if files.readable(folder):
            LOG.warning("state_dir_readable", folder=folder, advice="chmod 700")
        if self.only & {"smtp", "queue"}:  # the roles that every part of it is open to
            keys.arrange(folder / "keys")
        files.sweep(folder / "keys", time.time())
        if self.member.leads:
            self.enter(folder)

    def enter(self, folder: Path) -> None:
        """Once for the service. What is said here is no mistake that ends it, and one that nobody wants."""
        if os.geteuid() == 0:
            LOG.warning("runs_as_root", advice="give it a user of its own: whoever breaks into it has the machine")
        own = self.member.roles
        try:
            place = occupants.enter(folder, own, os.getpid() if self.member.alone else os.getppid())
        except OSError as reason:
            LOG.warning("others_not_known", folder=folder / occupants.FOLDER, reason=str(reason))
            return
        self.closers.append(place.leave)
        for other in place.others:
            if same := [role for role in other.roles if role in own]:
                LOG.warning(
                    "state_dir_shared", folder=folder, by=str(other), roles=" ".join(same),
                    advice="run each role once with a state_dir",
                )  # fmt: skip

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

    def supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self.tasks.append(asyncio.create_task(restarted(name, work), name=name))

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
        self.member.reloaded()

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
        if not self.wiring:
            return
        servers = [server for server in (self.wiring.server, self.wiring.milter) if server]
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
        notify.tell(WATCHDOG=1, STATUS=metrics.sentence(metrics.figures()))
        await asyncio.sleep(seconds)
