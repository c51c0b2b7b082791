"""The service in several processes: starts them, watches them, ends them together.

Owns: the sockets, who is alive, readiness, what systemd hears, reload and stop. Leaves to others: how many there are and the
pauses (`core.workers`), one process (`processes`), the work (`app`), what they hold in common (`board`).

It has no event loop and no thread, and no mail is ever in it. What it waits for are packets, signals and the time.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import secrets
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from relay import allocator, app, collector, config, inherited, log, metrics, notify, samples, starting, wiring
from relay.core import workers
from relay.core.workers import Part
from relay.workers import board, member, sockets
from relay.workers.processes import Process

LOG = log.room("workers")

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
TRIES = 3  # of a process that dies before the service was ever ready
KEEP_SOCKET = 2.0  # a longer pause than this one makes without its sockets, so that new connections go to the others


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `hung`: without a sign of life, after which a process is killed and replaced. `stop`: for all of a clean stop,
    a little more than each process takes for its own. `reload`: that is waited for everyone to have read again."""

    hung: float = 30.0
    stop: float = 33.0
    reload: float = 10.0


def main(
    settings: config.Settings,
    parts: tuple[Part, ...],
    *,
    given: Sequence[inherited.Given] = (),
    ready: Callable[[starting.Addresses], None] | None = None,
    times: Times | None = None,
) -> None:
    """Runs until SIGTERM or SIGINT. `given` are sockets that systemd passes. `ready` gets the addresses once every listener of
    every process is up. Raises `CannotStart`."""
    allocator.start()
    roles = frozenset().union(*(part.roles for part in parts))
    wiring.load(settings, roles)
    if times is None:
        times = Times()
        beats = notify.watchdog()
        if beats:
            times = replace(times, hung=min(times.hung, beats))
    passed = inherited.places(settings, roles, given)
    Supervisor(settings, roles, parts, passed, ready=ready, times=times).run()


class Supervisor:
    def __init__(
        self,
        settings: config.Settings,
        roles: frozenset[str],
        parts: tuple[Part, ...],
        passed: sockets.Places,
        *,
        ready: Callable[[starting.Addresses], None] | None,
        times: Times,
    ) -> None:
        self.settings, self.roles, self.told, self.times = settings, roles, ready, times
        places = sockets.places(settings, roles, passed)
        every = [part.roles for part in parts]
        self.processes = [
            Process(part, sockets.of(places, part.roles), every[:at].count(part.roles), every.count(part.roles))
            for at, part in enumerate(parts)
        ]
        self.board = board.create(len(parts))
        metrics.share(samples.Page(self.board.page()))
        self.service = secrets.token_hex(8)
        self.ready = self.stopping = False
        self.failure: starting.CannotStart | None = None
        self.said: dict[str, set[str]] = {}  # why processes could not start, and which of them have not since
        self.asked: list[int] = []  # signals
        self.deadline = float("inf")  # of the stop
        self.reload_by = float("inf")
        self.beats = notify.watchdog()
        self.beat_at = 0.0 if self.beats else float("inf")
        self.looked = 0.0
        self.wakes, self.woken = socket.socketpair()

    def run(self) -> None:
        for process in self.processes:
            try:
                process.open()
            except OSError as reason:
                raise starting.CannotStart(f"workers: {reason}", 1) from reason
        gc.collect()
        gc.freeze()
        collector.settle()
        member.title("supervisor")
        before = {number: signal.signal(number, self._asked) for number in HANDLED}
        self.wakes.setblocking(False)
        self.woken.setblocking(False)
        signal.set_wakeup_fd(self.woken.fileno(), warn_on_full_buffer=False)
        try:
            self.start(self.processes[0])  # it makes the keys and the store's tables; the others find them
            while not self.stopping or any(process.pid for process in self.processes):
                self.turn()
        finally:
            self.cut()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.failure:
            raise self.failure

    # -- one turn ------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Waits until there is something to do, and does it."""
        self.wait()
        now = time.monotonic()
        if now - self.looked > self.times.hung / 2:  # it stood still itself: all packets are to be read first
            for process in self.processes:
                process.heard = max(process.heard, now - self.times.hung / 2)
        self.looked = now
        for process in self.processes:
            self.hear(process, now)
        asked, self.asked = self.asked, []
        if signal.SIGHUP in asked and not self.stopping:
            self.reload(now)
        if (signal.SIGTERM in asked or signal.SIGINT in asked) and not self.stopping:
            self.stop(now)
        self.bury(now)
        if self.stopping:
            if now > self.deadline:
                self.cut()
            return
        for process in self.processes:
            if process.again_at <= now:
                self.start(process)
            if process.pid and now - process.heard > self.times.hung:
                self.kill(process)
        self.see(now)

    def wait(self) -> None:
        moments = [process.again_at for process in self.processes] + [self.deadline, self.beat_at, self.reload_by]
        moments += [process.heard + self.times.hung for process in self.processes if process.pid]
        seconds = max(0.0, min(min(moments) - time.monotonic(), self.times.hung / 4))
        poll = select.poll()
        poll.register(self.wakes, select.POLLIN)
        for process in self.processes:
            if process.line:
                poll.register(process.line.socket, select.POLLIN)
        poll.poll(seconds * 1000 + 1)
        with contextlib.suppress(BlockingIOError):
            while self.wakes.recv(4096):
                pass

    def _asked(self, number: int, frame: object) -> None:
        self.asked.append(number)

    # -- the processes -------------------------------------------------------------------------------------------------

    def start(self, process: Process) -> None:
        now = time.monotonic()
        try:
            process.open()
            process.fork(functools.partial(self.live, process), self.processes, now)
        except OSError as reason:
            process.short, pause = workers.pause(process.short, 0.0)
            process.again_at, process.why = now + max(pause, workers.FIRST_PAUSE), str(reason)
            metrics.ERRORS.labels("workers").inc()
            LOG.error("worker_not_started", name=process.part.name, reason=str(reason), again_in=f"{pause:.0f}s")
        self.tell()

    def live(self, process: Process, line: member.Line) -> None:
        """In the new process."""
        part = process.part
        self.wakes.close()
        self.woken.close()
        log.mark(worker=part.name)
        member.title(part.name)
        own = member.Member(part, self.roles, board.Board(self.board.fd, part.slot), process.bound, line)
        own.process, own.every = self.service, self.times.hung / 6
        app.main(self.settings, only=part.roles, member=own)

    def hear(self, process: Process, now: float) -> None:
        if process.line is None:
            return
        with contextlib.suppress(EOFError):  # it is dead, or about to be
            while message := process.line.hear():
                process.heard = now
                match message["kind"]:
                    case "beat":
                        process.figures = message["figures"]
                        if message["troubles"] != process.troubles:
                            process.troubles = message["troubles"]
                            self.tell()
                    case "ready":
                        self.up(process, message["addresses"])
                    case "reloaded":
                        process.reloads = False
                    case "cannot":
                        process.cannot = message

    def up(self, process: Process, addresses: dict[str, list[list[Any]]]) -> None:
        process.state = "up"
        process.addresses = {role: [(host, port) for host, port in found] for role, found in addresses.items()}
        self.said = {why: rest for why, names in self.said.items() if (rest := names - {process.part.name})}
        if process.part.leads and not self.ready:
            for other in self.processes[1:]:
                if not other.pid and not other.deaths:
                    self.start(other)
        if not self.ready and all(each.state == "up" for each in self.processes):
            self.ready = True
            found = self.addresses()
            if self.told:
                self.told(found)
            LOG.info("ready", processes=len(self.processes), **starting.shown(found))
            notify.tell(READY=1, STATUS=self.status())
        self.tell()

    def addresses(self) -> starting.Addresses:
        found: starting.Addresses = {}
        for process in self.processes:
            found.update(process.addresses)  # those of one role all have the same
        return found

    def tell(self) -> None:
        """The one that answers /readyz, how all of them are."""
        shown = [process.shown for process in self.processes]
        self.processes[0].tell("standing", processes=shown, addresses=self.addresses())

    def kill(self, process: Process) -> None:
        process.hangs = True
        process.heard = float("inf")  # once
        LOG.error("worker_hung", name=process.part.name, pid=process.pid, seconds=round(self.times.hung))
        process.signal(signal.SIGKILL)

    def bury(self, now: float) -> None:
        for process in self.processes:
            while process.pid:
                pid, status = os.waitpid(process.pid, os.WNOHANG)
                if not pid:
                    break
                self.hear(process, now)  # its last words
                self.died(process, status, now)

    def died(self, process: Process, status: int, now: float) -> None:
        name, pid = process.part.name, process.pid
        self.board.clear(process.part.slot)
        pause = process.died(status, now, looked=self.stopping)
        if self.stopping:
            return
        metrics.ERRORS.labels("workers").inc()
        if not self.ready:
            self.failed(process)
        if process.cannot:
            sentence = process.cannot["sentence"]
            if sentence not in self.said:
                LOG.error("worker_cannot_start", name=name, reason=sentence, again_in=f"{pause:.0f}s")
            self.said.setdefault(sentence, set()).add(name)
        else:
            LOG.error("worker_died", name=name, pid=pid, reason=process.why, again_in=f"{pause:.0f}s")
        if pause > KEEP_SOCKET and process.shares:
            process.close()
        metrics.WORKER_DEATHS.inc()
        self.tell()

    def failed(self, process: Process) -> None:
        """It died before the service was ever ready."""
        if process.cannot:
            self.failure = starting.CannotStart(process.cannot["sentence"], process.cannot["code"])
        elif process.deaths >= TRIES:
            why = f"workers: {process.part.name} died {process.deaths} times at its start: {process.why}"
            self.failure = starting.CannotStart(why, 1)
        if self.failure:
            self.stop(time.monotonic())

    # -- the service ---------------------------------------------------------------------------------------------------

    def see(self, now: float) -> None:
        """A word to systemd, if one is due and all of them live."""
        if self.reload_by < float("inf") and (
            now > self.reload_by or not any(process.reloads for process in self.processes)
        ):
            self.reload_by = float("inf")
            notify.tell(READY=1)
        if self.beats and now >= self.beat_at:
            self.beat_at = now + self.beats
            if not any(process.hangs and process.pid for process in self.processes):
                notify.tell(WATCHDOG=1, **({"STATUS": self.status()} if self.ready else {}))

    def status(self) -> str:
        up = sum(process.state == "up" for process in self.processes)
        figures = metrics.sentence(metrics.added(process.figures for process in self.processes))
        return f"{up} of {len(self.processes)} processes; {figures}"

    def reload(self, now: float) -> None:
        notify.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        for process in self.processes:
            if process.state == "up":
                process.reloads = True
                process.signal(signal.SIGHUP)
        self.reload_by = now + self.times.reload

    def stop(self, now: float) -> None:
        self.stopping = True
        self.deadline = now + self.times.stop
        notify.tell(STOPPING=1, STATUS="draining")
        LOG.info("stopping")
        for process in self.processes:
            process.close()
            process.signal(signal.SIGTERM)

    def cut(self) -> None:
        """Whoever is left."""
        for process in self.processes:
            if process.pid:
                LOG.error("worker_cut", name=process.part.name, pid=process.pid)
                process.signal(signal.SIGKILL)
                os.waitpid(process.pid, 0)
                process.died(0, time.monotonic(), looked=True)
