"""One process of the service, as the supervisor sees it.

Owns: its birth by fork, its line, what was heard of it last, what its death means for it. Leaves to others: what is done
about it (`supervisor`), when it starts again (`core.workers`), its work (`app`).

By fork, not by a new program: the supervisor has loaded all modules, and no thread and no event loop. So a successor is there
in milliseconds, with the settings that the others have (relay.toml may have changed meanwhile), and the modules are in memory
once: of 38 MB that each process would have of its own, it has 2. `gc.freeze` is why it stays so: the collector would write
into all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, Literal

from relay import log, starting
from relay.core import workers
from relay.core.workers import Part
from relay.workers import member, sockets

LOG = log.room("workers")

State = Literal["starting", "up", "missing"]
Live = Callable[[member.Line], None]

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


class Process:
    """`places` are where it listens, as the `turn`-th from 0 of so many `processes` with its roles."""

    def __init__(self, part: Part, places: sockets.Places, turn: int = 0, processes: int = 1) -> None:
        self.part, self.places, self.turn, self.processes = part, places, turn, processes
        self.bound: sockets.Bound = {}
        self.state: State = "missing"
        self.why = "it has not started yet"
        self.pid = 0
        self.line: member.Line | None = None
        self.began = self.heard = 0.0  # when it was forked, and when it said something last
        self.again_at = float("inf")  # where it is missing: when it starts again
        self.short = 0  # lives in a row that were short
        self.deaths = 0
        self.figures: dict[str, float] = {}
        self.troubles: tuple[list[str], list[str]] = ([], [])  # what it says that is wrong, as for /readyz
        self.addresses: starting.Addresses = {}
        self.reloads = False  # it was asked to, and has not said that it did
        self.hangs = False  # it was killed for saying nothing
        self.cannot: dict[str, Any] | None = None  # what it said, of why it can't start

    # -- its life ------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Its sockets, unless it has them. Raises OSError."""
        if not self.bound:
            self.bound = sockets.bind(self.places, self.turn, self.processes)

    @property
    def shares(self) -> bool:
        """Others listen where it does."""
        return self.processes > 1

    def close(self) -> None:
        sockets.close_all(self.bound)
        self.bound = {}

    def fork(self, live: Live, others: list[Process], now: float) -> None:
        """Starts it. `live` is what it does. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        sys.stderr.flush()
        sys.stdout.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
        except BaseException:
            ours.close()
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise
        if not pid:
            be_child(parent, before)
            ours.close()
            for each in others:
                if each is not self:
                    each.forget()
            begin(live, member.Line(theirs))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.pid, self.line, self.state, self.why = pid, member.Line(ours), "starting", "it is starting"
        self.began = self.heard = now
        self.again_at = float("inf")
        self.hangs, self.cannot, self.reloads = False, None, False

    def forget(self) -> None:
        """In a process that is another."""
        self.close()
        if self.line:
            self.line.close()

    def died(self, status: int, now: float, *, looked: bool) -> float:
        """It is dead, as `waitpid` says. Gives the pause until it starts again. `looked`: it was told to."""
        if self.line:
            self.line.close()
        self.pid, self.line, self.state, self.reloads = 0, None, "missing", False
        self.figures, self.troubles = {}, ([], [])
        if looked:
            return 0.0
        self.deaths += 1
        self.short, pause = workers.pause(self.short, now - self.began)
        self.why = "it said nothing any more" if self.hangs else how(status)
        if self.cannot:
            self.why = str(self.cannot["sentence"])
        self.again_at = now + pause
        return pause

    def signal(self, number: signal.Signals) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def tell(self, kind: str, **values: Any) -> None:
        if self.line:
            self.line.tell(kind, **values)

    @property
    def shown(self) -> dict[str, Any]:
        return {
            "name": self.part.name,
            "roles": sorted(self.part.roles),
            "state": self.state,
            "pid": self.pid,
            "deaths": self.deaths,
            "troubles": self.troubles,
            "why": "" if self.state == "up" else self.why,
        }


def how(status: int) -> str:
    """What `waitpid` gave, in words."""
    code = os.waitstatus_to_exitcode(status)
    return f"it ended with exit code {code}" if code >= 0 else f"it was killed by {signal.Signals(-code).name}"


# -- in the new process ------------------------------------------------------------------------------------------------


def be_child(parent: int, mask: Any) -> None:
    """Of the supervisor's it keeps nothing: no signal handlers, no word to systemd. If the supervisor is killed, it is
    too, at once, as with a service of one process; nobody else would end it, and its sockets would be in the way of the
    next."""
    with contextlib.suppress(OSError, AttributeError):  # no Linux: the end of the line has to do
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches all; the supervisor says when it is time
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        os.environ.pop(name, None)


def begin(live: Live, line: member.Line) -> None:
    """Never returns: what is above on the stack is the supervisor's."""
    code = 1
    try:
        live(line)
        code = 0
    except starting.CannotStart as reason:
        line.tell("cannot", sentence=str(reason), code=reason.code)
        code = reason.code
    except BaseException:  # the edge of a process
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            log.flush()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
