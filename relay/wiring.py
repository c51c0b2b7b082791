"""What the roles of one process need: which room gets which other.

Owns: the rooms of each role, made and put together; what mail and the nodes are up to, for `/readyz`. Leaves to others: when a
role starts, that it keeps running, and how all of it stops (`app`, to which everything is told that has to be supervised, closed or
read anew); everything else (the rooms).
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from relay import causes, certificates, metrics, nodes, roles, starting, suppressing, units, webhooks, workers
from relay.config import Settings
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import networks
from relay.workers import member as members

if TYPE_CHECKING:
    from aiohttp import web

    from relay import delivery, keys, milter, outbound, outcomes, smtp, spool
    from relay.core import dkim
    from relay.core.model import Keys
    from relay.store.contract import Store
    from relay.upstream import failover

    Through = Callable[[delivery.Tracker], delivery.Tracker]


# Of each role, the modules that are loaded when it starts.
LOADED = {
    "smtp": ("relay.delivery", "relay.smtp", "relay.smtp.users", "relay.schedules"),
    "queue": ("relay.notices", "relay.spool"),
    "milter": ("relay.milter",),
    "mailbox": ("relay.mailbox",),
    "http": ("relay.journal", "relay.blocklist", "tracking_http.public", "tracking_http.listener"),
    "admin": ("relay.submitting", "tracking_http.admin", "tracking_http.listener"),
}
OF_MAIL = ("relay.outbound", "relay.credentials", "relay.outcomes", "relay.spool", "relay.upstream.failover")


def load(settings: Settings, only: frozenset[str]) -> None:
    """Loads what the roles will need, and starts nothing: for a process that is to have children."""
    wanted = [name for role in LOADED if role in only for name in LOADED[role]]
    if not watches(settings):
        wanted = [name for name in wanted if name not in LOADED["mailbox"]]
    wanted += OF_MAIL if only & {"smtp", "queue", "admin", "milter"} else ()
    wanted += ["relay.store.postgres" if settings.store.url.startswith("postgres") else "relay.store.sqlite"]
    wanted += ["uvloop"] if importlib.util.find_spec("uvloop") else []
    for name in wanted:
        importlib.import_module(name)


def watches(settings: Settings) -> bool:
    """Has a grant a mailbox? Reading them is a tenth of the program, which is not loaded for none."""
    return any(grant.mailbox for grant in settings.grants)


class Host(Protocol):
    """The process that the roles are in. `closers` are called last to first when it stops; `renewals`, of keys and
    certificates, may raise OSError."""

    @property
    def ready(self) -> bool:
        """All listeners are up, and it is not stopping."""
        ...

    @property
    def closers(self) -> list[Callable[[], Awaitable[None]]]: ...

    @property
    def renewals(self) -> list[Callable[[], object]]: ...

    def supervise(self, name: str, work: Callable[[], Awaitable[None]]) -> None: ...

    def left(self) -> float:
        """Seconds that a stop may still take."""
        ...


class Wiring:
    """`only` are the roles of this process. `token_keys` are None where none of them signs tokens, or verifies them."""

    def __init__(
        self,
        host: Host,
        settings: Settings,
        only: frozenset[str],
        kept: Store,
        token_keys: keys.TokenKeys | None,
        member: members.Member,
        *,
        extra_routes: Sequence[web.AbstractRouteDef] = (),
        through: Through | None = None,
        spool_times: spool.Times | None = None,
    ) -> None:
        self.host, self.settings, self.only, self.store = host, settings, only, kept
        self.extra_routes, self.spool_times = extra_routes, spool_times
        self.through = through or (lambda tracker: tracker)
        self.member = member
        self._keys = token_keys
        self.among = nodes.Nodes(
            settings, member.roles, kept, keys=token_keys.now if token_keys else None, process=member.process
        )
        if member.leads:
            host.closers.append(self.among.leave)
        self.units = units.Units(settings.state_dir, self.unit, member.shared, ask=self.mail_troubles)
        self.own: starting.Addresses = {}
        self.server: smtp.Server | None = None
        self.milter: milter.Server | None = None
        self.out: failover.Upstreams | None = None
        self.spool: spool.Spool | None = None
        self.deliverer: delivery.Delivery | None = None
        self.wake: Callable[[], None] = member.shared.ring  # whoever delivers notifications is in another process

    @property
    def ready(self) -> bool:
        return self.host.ready

    @property
    def shares(self) -> bool:
        """There are other processes, of its service or units."""
        return bool(self.unit) or not self.member.alone

    @property
    def unit(self) -> str:
        """What this process is called among the units; "" where its service has all roles: then there are no others."""
        every, wanted = self.member.roles, set(roles.ALL)
        if not self.settings.milter.listen:
            wanted -= {"milter"}
        if not self.settings.upstream.url:
            wanted -= roles.OF_UPSTREAM
        if every >= wanted:
            return ""
        return "-".join(sorted(every)) + ("" if self.member.alone else f".{self.member.part.name}")

    @property
    def addresses(self) -> starting.Addresses:
        """Where the service listens."""
        return {**self.member.addresses, **self.own}

    @property
    def keys(self) -> keys.TokenKeys:
        assert self._keys is not None, self.only
        return self._keys

    async def start(self) -> None:
        """Starts the roles. Raises `CannotStart`."""
        if self.shares:
            self.units.start()
            self.host.closers.append(self.units.stop)
            self.host.supervise("units", self.units.run)
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
        if not self.member.alone:
            self.host.supervise("troubles", self.tell_troubles)
        if self.member.leads:  # a service is one node, whatever its processes
            self.host.supervise("nodes", self.among.run)

    # -- roles ---------------------------------------------------------------------------------------------------------

    async def start_webhooks(self) -> None:
        room = webhooks.Webhooks(self.settings, self.store, clock=self.store.now)
        self.wake = room.wake
        self.store.watch(room.wake)
        self.member.shared.listen(room.wake)
        self.host.supervise("webhooks", room.run)

    async def start_mail(self) -> None:
        """smtp and queue, which share the upstreams and the spool if one process has both."""
        from relay import delivery, notices, smtp, suppressions

        signers = self.signers()
        out, heard, queue = self.mail(signers)
        self.out, self.spool = out, queue
        if "queue" in self.only:
            self.host.supervise("queue", queue.run)
            self.among.spool = queue.standing
            told = notices.Notices(self.settings, self.store, queue, hostname=self.hostname)
            self.host.supervise("notices", told.run)
            if self.settings.privacy.on_request == "erase":
                from relay.recipients import requested

                self.host.supervise("erasing", requested.Requested(self.store, self.settings.state_dir).run)
        if "smtp" not in self.only:
            return
        tracker = self.tracker(signers)
        self.send_later(tracker, queue)
        deliverer = delivery.Delivery(
            self.settings, self.through(tracker), out, queue, heard, service=self.member.shared
        )
        self.deliverer = deliverer
        self.host.closers.append(lambda: deliverer.close(self.host.left() / 2))
        try:
            at_once = suppressions.AtOnce(self.settings, tracker.lookup)
            self.server = await smtp.serve(
                self.settings,
                deliverer.take,
                verify_upstream=out.try_login,
                service=self.member.shared,
                refuses=at_once.refusal,
                inherited=self.member.sockets,
            )
        except smtp.CannotListen as reason:
            raise starting.CannotStart(f"smtp: {reason}", 1 if reason.now else 2) from reason
        self.own["smtp"] = list(self.server.addresses)
        self.host.renewals.append(self.server.reload)

    def send_later(self, tracker: outbound.Tracker, queue: spool.Spool) -> None:
        """Of each process that can: a message is sent by one of them."""
        from relay import schedules

        later = schedules.Schedules(
            self.store, tracker, queue,
            holder=nodes.name(self.settings), settings=self.settings.admin, appended=self.appended, clock=self.store.now,
        )  # fmt: skip
        self.host.supervise("schedules", later.run)

    def mail(self, signers: Sequence[dkim.Signer]) -> tuple[failover.Upstreams, outcomes.Outcomes, spool.Spool]:
        """What sending needs. Nothing is opened before it is used."""
        from relay import credentials, outcomes, spool
        from relay.upstream import choice, failover

        grants = credentials.OfUpstreams(
            credentials.Credentials(self.store, appended=self.appended), lambda name: choice.grants(self.settings, name)
        )
        senders = sum(bool(part.roles & roles.OF_UPSTREAM) for part in workers.parts(self.settings, self.member.roles))
        out = failover.Upstreams(
            self.settings, hostname=self.hostname, signers=signers, told=grants.told, processes=max(1, senders)
        )
        self.host.closers.append(out.close)
        heard = outcomes.Outcomes(self.store, host=out.host, appended=self.appended, heard=self.heard)
        self.host.closers.append(heard.flush)
        times = self.spool_times or spool.Times()
        return out, heard, spool.Spool(self.settings.state_dir / "spool", self.settings, out, heard, times=times)

    async def start_milter(self) -> None:
        from relay import milter, suppressions

        if not self.settings.milter.listen:
            return
        try:
            tracker = self.tracker(self.signers())
            at_once = suppressions.AtOnce(self.settings, tracker.lookup)
            refuses = at_once.refusal if at_once.asks else None
            inherited = self.member.sockets.get(("milter.listen", 0), ())
            self.milter = await milter.serve(self.settings, tracker, refuses=refuses, inherited=inherited)
        except milter.CannotListen as reason:
            raise starting.CannotStart(f"milter: {reason}", 1 if reason.now else 2) from reason
        self.own["milter"] = list(self.milter.addresses)

    @property
    def hostname(self) -> str:
        return self.settings.smtp.hostname or os.uname().nodename

    def signers(self) -> tuple[dkim.Signer, ...]:
        from relay import outbound
        from relay.core import dkim

        try:
            return outbound.signers(self.settings)
        except OSError as reason:
            raise starting.CannotStart(f"dkim: {causes.at(reason)}") from reason
        except dkim.BadKey as reason:
            raise starting.CannotStart(f"dkim: {reason}") from reason

    def tracker(self, signers: Sequence[dkim.Signer]) -> outbound.Tracker:
        from relay import outbound

        recorded = None
        if self.settings.mailbox.notify_self:
            from relay import followups

            following = followups.FollowUps(self.store, appended=self.appended)
            self.host.closers.append(following.close)
            recorded = following.recorded
        return outbound.Tracker(
            self.settings, self.keys.now, self.store, signers, hostname=self.hostname, recorded=recorded
        )

    async def start_mailbox(self) -> None:
        if not watches(self.settings):
            for kind in metrics.MAILBOX_TROUBLES:
                metrics.MAILBOX_TROUBLE.labels(kind).set(0)
            return
        from relay import mailbox

        watcher = mailbox.Watcher(
            self.settings,
            self.store,
            self.keys.now,
            holder=nodes.name(self.settings),
            appended=self.appended,
            heard=self.heard,
        )
        self.host.supervise("mailbox", watcher.run)

    async def start_http(self) -> None:
        from relay import blocklist, identities, journal, network_list
        from relay.core import agents
        from relay.core import suppressions as digests
        from tracking_http import public, reverse_names

        events = journal.Journal(self.settings.state_dir / "journal")
        self.host.closers.append(events.stop)
        self.host.supervise("journal", lambda: events.run(suppressing.Suppressing(self.store, self.keys.now)))
        self.store.heed_refusals(lambda address: digests.digest(address, self.keys.now()))
        blocked = blocklist.Blocklist(blocklist.path_in(self.settings.state_dir))
        agents.load()  # now, not with the first hit
        identity = identities.Identities(self.settings.state_dir).now
        named = None
        if self.settings.verdicts.reverse_dns:
            named = reverse_names.system(self.store, identity, self.appended)
        application = public.application(
            self.settings,
            self.store,
            self.keys.now,
            events,
            blocks=blocked.now,
            network=network_list.load(self.settings.verdicts.networks).of,
            identity=identity,
            named=named,
            service=self.member.shared,
            appended=self.appended,
        )
        http = self.settings.http
        await self.listen(
            "http",
            application,
            *http.listen,
            certificate=http.certificate,
            key=http.key,
            behind=http.trusted_proxies,
            service=self.member.shared,
            quick=application[public.QUICK],
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
            door = submitting.Submitting(self.settings, self.store, self.through(tracker), kept, self.deliverer)
        services = calls.Services(
            settings=self.settings, store=self.store, submitting=door, keys_of_tokens=self.keys.now
        )
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
        """What keeps the service from its work, and what only delays it; for /readyz."""
        reasons, warnings = await self.own_troubles()
        missing, fewer = self.member.troubles()
        stops, delays = await self.units.troubles()
        # The same upstream may be in trouble for several.
        reasons = list(dict.fromkeys([*reasons, *missing, *stops]))
        return reasons, [each for each in dict.fromkeys([*warnings, *fewer, *delays]) if each not in reasons]

    async def figures(self) -> units.Pages:
        """Those of the other processes, for /metrics."""
        return await self.units.others()

    async def tell_troubles(self) -> None:
        """To the process that answers /readyz, until cancelled."""
        while True:
            self.member.own = await self.own_troubles()
            await asyncio.sleep(self.member.every)

    async def own_troubles(self) -> tuple[list[str], list[str]]:
        """Those of this process."""
        reasons, warnings = await self.mail_troubles()
        return reasons, warnings + [f"nodes: {sentence}" for sentence in self.among.troubles]

    async def mail_troubles(self) -> tuple[list[str], list[str]]:
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
        return reasons, warnings

    def workers(self) -> list[dict[str, Any]]:
        """The processes of this service, where it has several; for /readyz."""
        return self.member.others

    def nodes(self) -> list[dict[str, Any]]:
        """Those that share the store, for /readyz."""
        return self.among.shown

    def node_troubles(self) -> list[str]:
        """What is wrong among them, and among the processes of this one; for the live page."""
        return self.among.troubles + self.member.missing

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
                raise starting.CannotStart(f"{role}.certificate: {reason}") from reason
            context = used.context
            self.host.renewals.append(used.reload)
        listener = Listener(application, **how)
        self.host.closers.append(listener.stop)
        for at, address in enumerate(listen):
            host, port = ("", 0) if networks.passed(address) else networks.endpoint(address)
            try:
                inherited = self.member.sockets.get((f"{role}.listen", at), ())
                await listener.start(host, port, context, inherited=inherited)
            except OSError as reason:
                why = causes.of(reason, listening=True)
                raise starting.CannotStart(f"{role}: can't listen on {address}: {why}", 1) from reason
        self.own[role] = listener.addresses

    @property
    def heard(self) -> suppressing.Heard:
        """Puts on the list of suppressed recipients whom events name. A process that signs nothing reads the keys when it has
        to."""

        def read() -> Keys | None:
            from relay.recipients import looking

            return looking.token_keys(self.settings.state_dir)

        return suppressing.Suppressing(self.store, self._keys.now if self._keys else read).heard

    def appended(self) -> None:
        """An event was stored in this process: its notifications can go out at once, wherever in the service they do."""
        self.wake()
