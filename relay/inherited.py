"""Listening sockets that systemd has made and passes on: sd_listen_fds(3).

Owns: taking them, and which listener each of them is for. Leaves to others: listening on them (`smtp`, `milter`,
`tracking_http.listener`), sockets that nobody passes, and sharing them out among processes (`workers.sockets`).

A listener of relay.toml takes the sockets of its address: those that have the very address, and for an IPv4 or IPv6 wildcard
also one of both (systemd's `ListenStream=25`). One that is spelt "systemd:NAME" takes all sockets of that name
(`FileDescriptorName=`). Each socket has to be for a listener, else mail would wait on it for ever.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, MutableMapping, Sequence
from typing import NamedTuple

from relay import starting
from relay.config import Settings
from relay.core import networks
from relay.workers import sockets

FIRST = 3  # SD_LISTEN_FDS_START


class Given(NamedTuple):
    """One of them, and its name."""

    socket: socket.socket
    name: str

    @property
    def both(self) -> bool:
        """It is for IPv4 and IPv6."""
        return self.socket.family == socket.AF_INET6 and not self.socket.getsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
        )

    def __str__(self) -> str:
        place = self.socket.getsockname()
        where = networks.written(*place[:2]) if isinstance(place, tuple) else f"unix:{place}"
        return f"{where} ({self.name})" if self.name else where

    def serves(self, family: int, place: object) -> bool:
        own = self.socket.getsockname()
        if family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(place, tuple):
            return bool(self.socket.family == family and own == place)
        if self.both and networks.everywhere(place[0]):
            return bool(networks.everywhere(own[0]) and own[1] == place[1])
        return bool(self.socket.family == family and own[:2] == place[:2])


def take(environ: MutableMapping[str, str]) -> list[Given]:
    """Those that are passed to this process. Afterwards no other one takes them for its own. Raises `CannotStart`."""
    pid, count, names = (environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    named = names.split(":") if names else []
    found = []
    for at in range(int(count)):
        name = named[at] if at < len(named) else ""
        try:
            os.set_inheritable(FIRST + at, False)
            each = socket.socket(fileno=FIRST + at)
            listens = each.type == socket.SOCK_STREAM and each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as reason:
            raise starting.CannotStart(
                f"systemd passes {name or 'something'}, which is no socket: {reason}"
            ) from reason
        if not listens:
            raise starting.CannotStart(
                f"systemd passes {name or 'a socket'}, which is not one to listen on; the .socket unit needs ListenStream= and "
                "Accept=no"
            )
        found.append(Given(each, name))
    return found


def places(settings: Settings, roles: frozenset[str], given: Sequence[Given]) -> sockets.Places:
    """The listeners that have such sockets, and where each of them listens: what of a listener is not passed is to be bound.
    Raises `CannotStart`."""
    found: sockets.Places = {}
    left = list(given)
    for setting, at, text in listeners(settings, roles):
        name = networks.passed(text)
        if name:
            mine = [each for each in given if each.name == name]
            if not mine:
                raise starting.CannotStart(missing(setting, name, given))
            found[setting, at] = [
                sockets.Place(each.socket.family, each.socket.getsockname(), (each.socket,)) for each in mine
            ]
        else:
            mine = []
            where = list(resolved(text)) if given else []
            of_each = [[each for each in given if each.serves(*place)] for place in where]
            if any(of_each):
                found[setting, at] = apart(where, of_each)
                mine = [each for some in of_each for each in some]
        left = [each for each in left if each not in mine]
    if left:
        raise starting.CannotStart(stray(settings, left[0], roles))
    return found


def listeners(settings: Settings, roles: frozenset[str]) -> Iterator[tuple[str, int, str]]:
    yield from sockets.wanted(settings, roles)
    if "milter" in roles and settings.milter.listen:
        yield "milter.listen", 0, settings.milter.listen


def resolved(text: str) -> Iterator[tuple[int, object]]:
    """Family and address of each place that a listener names."""
    if text.startswith("unix:"):
        yield socket.AF_UNIX, text.removeprefix("unix:")
        return
    host, port = networks.endpoint(text.removeprefix("inet6:").removeprefix("inet:"))
    try:
        for family, _, _, _, place in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            yield family, place
    except OSError:
        return  # whoever binds it says so


def apart(where: Sequence[tuple[int, object]], of_each: Sequence[Sequence[Given]]) -> list[sockets.Place]:
    """Each place with its sockets. One of both families stands once."""
    found = []
    seen: set[int] = set()
    for (family, place), given in zip(where, of_each, strict=True):
        mine = tuple(each.socket for each in given if each.socket.fileno() not in seen)
        seen.update(each.fileno() for each in mine)
        if mine or not given:
            found.append(sockets.Place(family, place, mine))
    return found


def missing(setting: str, name: str, given: Sequence[Given]) -> str:
    passed = f"passes {', '.join(map(str, given))}" if given else "passes no socket at all"
    return (
        f'{setting}: there is no socket "{name}": systemd {passed}; check FileDescriptorName= of the .socket unit, and that it '
        "is started (systemctl enable --now trackrelay.socket)"
    )


def stray(settings: Settings, given: Given, roles: frozenset[str]) -> str:
    from relay import roles as names

    for setting, _, text in listeners(settings, frozenset(names.ALL) - roles):
        name = networks.passed(text)
        if name == given.name if name else any(given.serves(*place) for place in resolved(text)):
            role = setting.partition(".")[0]
            return (
                f"systemd passes the socket {given}, which is {setting}'s, and this process has not the role {role}; let its "
                f".socket unit name the service that has (Service=trackrelay-{role}.service)"
            )
    return (
        f"systemd passes the socket {given}, and nothing in {settings.file or 'relay.toml'} listens there; name its address in "
        f'smtp.listen, smtp.listen_tls or http.listen (or "systemd:{given.name or "NAME"}"), or take it out of the .socket unit'
    )
