"""A process of the service, as it is seen from inside: which one it is, what it was given, its line to the supervisor.

Owns: signs of life, what the supervisor is told (that it is up, why it can't start, its figures) and what it tells about the
others. Leaves to others: the roles (`app`), the processes (`supervisor`).

A message is one packet of JSON: `{"kind": "beat", …}`. A supervisor that is gone is the end of the line.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from relay import metrics, starting
from relay.core.workers import Part
from relay.workers import sharing

Sockets = Mapping[tuple[str, int], Sequence[socket.socket]]  # by the setting, and the address' place in it

LONGEST = 65_536  # octets of a message
PR_SET_NAME = 15  # <sys/prctl.h>


class Line:
    """One end. What can't be sent at once is not sent: whoever is so far behind is about to be replaced."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end

    def tell(self, kind: str, **values: Any) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(json.dumps({"kind": kind, **values}).encode())

    def hear(self) -> dict[str, Any] | None:
        """The next message; None where there is none now. EOFError where there will be none any more."""
        try:
            packet = self.socket.recv(LONGEST)
        except BlockingIOError:
            return None
        except OSError:
            packet = b""
        if not packet:
            raise EOFError
        found: dict[str, Any] = json.loads(packet)
        return found

    def close(self) -> None:
        self.socket.close()


class Member:
    """`roles` are the service's, of all its processes. `sockets` are inherited and bound; where there are none
    for an address, the process binds it itself."""

    def __init__(
        self, part: Part, roles: frozenset[str], shared: sharing.Shared, sockets: Sockets, line: Line | None = None
    ) -> None:
        self.part, self.roles, self.shared, self.sockets = part, roles, shared, sockets
        self.process = ""  # what the other nodes know the service by, whichever of its processes speaks
        self.every = 5.0  # seconds between two signs of life
        self.others: list[dict[str, Any]] = []  # the service's processes, as the supervisor said last
        self.addresses: starting.Addresses = {}  # and where they listen
        self.own: tuple[list[str], list[str]] = (
            [],
            [],
        )  # troubles of this process, which are told with each sign of life
        self._line = line

    @property
    def alone(self) -> bool:
        return self._line is None

    @property
    def leads(self) -> bool:
        return self.part.leads

    # -- to the supervisor ---------------------------------------------------------------------------------------------

    def begin(self, stop: Callable[[], object]) -> None:
        """From now on it gives signs of life, and stops if there is no supervisor any more."""
        if self._line is None:
            return
        loop = asyncio.get_running_loop()
        line = self._line

        def heard() -> None:
            try:
                while message := line.hear():
                    self._take(message)
            except EOFError:
                loop.remove_reader(line.socket.fileno())
                stop()

        def beat() -> None:
            line.tell("beat", figures=metrics.figures(), troubles=self.own)
            loop.call_later(self.every, beat)

        loop.add_reader(line.socket.fileno(), heard)
        beat()

    def ready(self, addresses: starting.Addresses) -> None:
        if self._line:
            self._line.tell("ready", addresses=addresses)

    def reloaded(self) -> None:
        """It has read again what can be read again, or has said why not."""
        if self._line:
            self._line.tell("reloaded")

    # -- from it -------------------------------------------------------------------------------------------------------

    def _take(self, message: dict[str, Any]) -> None:
        self.others = message["processes"]
        self.addresses = {role: [(host, port) for host, port in found] for role, found in message["addresses"].items()}
        for role in {role for each in self.others for role in each["roles"]}:
            mine = [each for each in self.others if role in each["roles"]]
            up = sum(each["state"] == "up" for each in mine)
            metrics.WORKERS.labels(role, "up").set(up)
            metrics.WORKERS.labels(role, "missing").set(len(mine) - up)

    @property
    def missing(self) -> list[str]:
        """Who of the service is not there, in sentences."""
        return [told(each) for each in self.others if each["state"] != "up"]

    def troubles(self) -> tuple[list[str], list[str]]:
        """What keeps the service from its work, and what only delays it: somebody is missing, or says so."""
        missing = [each for each in self.others if each["state"] != "up"]
        there = {role for each in self.others if each["state"] == "up" for role in each["roles"]}
        reasons = [each for each in missing if not there.issuperset(each["roles"])]
        others = [each for each in self.others if each["name"] != self.part.name]
        said = [[sentence for each in others for sentence in each["troubles"][kind]] for kind in (0, 1)]
        return (
            [told(each) for each in reasons] + said[0],
            [told(each) for each in missing if each not in reasons] + said[1],
        )


def told(process: Mapping[str, Any]) -> str:
    return f"workers: {process['name']} is missing: {process['why']}"


def alone(roles: frozenset[str], sockets: Sockets | None = None) -> Member:
    """The one process of a service that has no other."""
    return Member(Part("", roles, 0, True), roles, sharing.ALONE, sockets or {})


def title(name: str) -> None:
    """What `ps -o comm` and `top` call this process: at most 15 octets."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_NAME, f"relay-{name}".encode()[:15], 0, 0, 0)
