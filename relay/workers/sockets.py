"""The listening sockets of a service of several processes.

Owns: binding them, one for each process of a role. Leaves to others: listening on them, which the processes do.

Each process of a role has a socket of its own on the same address (SO_REUSEPORT), and the supervisor keeps all of them open.
The kernel shares out connections by their addresses and ports, so that ten that come at once are five and five, or four and
six. On one socket that all inherit, whoever wakes up first takes all of them: 10 and 0 in three of five trials. What
speaks against sockets of their own is that connections wait for the process they were given to: if it dies, the system
resets them. But as long as the supervisor has the socket too they only wait, and the successor takes them (22 of 22 in a
trial; 0 of 21 where only the process had it). One that has to pause gives its socket up, and new connections go to the
others.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from relay import causes, starting
from relay.config import Settings
from relay.core import networks

Bound = dict[tuple[str, int], list[socket.socket]]


class Place(NamedTuple):
    """`given` are sockets that others have made there (`inherited`); without any it is to be bound."""

    family: int
    address: object
    given: tuple[socket.socket, ...] = ()


Places = dict[tuple[str, int], list[Place]]


def wanted(settings: Settings, roles: frozenset[str]) -> Iterator[tuple[str, int, str]]:
    """The setting, the place in it, the address. (The milter binds its own: its socket may be a file.)"""
    if "smtp" in roles:
        yield from (("smtp.listen", at, text) for at, text in enumerate(settings.smtp.listen))
        yield from (("smtp.listen_tls", at, text) for at, text in enumerate(settings.smtp.listen_tls))
    if "http" in roles:
        yield from (("http.listen", at, text) for at, text in enumerate(settings.http.listen))
    if "admin" in roles:
        yield "admin.listen", 0, settings.admin.listen


def places(settings: Settings, roles: frozenset[str], passed: Places) -> Places:
    """Where the processes of these roles are to listen, and that nobody else does, beside what is `passed`. Raises
    `CannotStart`."""
    found = dict(passed)
    for name, at, text in wanted(settings, roles):
        if (name, at) in passed:
            continue
        host, port = networks.endpoint(text)
        try:
            first = opened(host, port)
        except OSError as reason:
            where = networks.written(host, port) if name.startswith("smtp") else text
            why = causes.of(reason, listening=True)
            raise starting.CannotStart(f"{name.partition('.')[0]}: can't listen on {where}: {why}", 1) from reason
        found[name, at] = [Place(each.family, each.getsockname()) for each in first]
        close(first)
    return found


def of(found: Places, roles: frozenset[str]) -> Places:
    """Those of these roles."""
    return {key: places for key, places in found.items() if key[0].partition(".")[0] in roles}


def bind(found: Places, turn: int = 0, processes: int = 1) -> Bound:
    """Sockets for one process, the `turn`-th from 0 of so many with these listeners, which are bound and do not listen (but
    where they were given). Raises OSError."""
    bound: Bound = {}
    try:
        for key, each in found.items():
            bound[key] = []
            for family, place, given in each:
                if given:
                    bound[key] += [one.dup() for one in share(given, turn, processes)]
                else:
                    bound[key].append(at_place(family, place, shared=processes > 1))
    except BaseException:
        close_all(bound)
        raise
    return bound


def share(given: tuple[socket.socket, ...], turn: int, processes: int) -> list[socket.socket]:
    """What of them one process attends to: its part where there are enough (systemd's ReusePort=yes, and ListenStream= once
    for each), else one, with others."""
    return [one for at, one in enumerate(given) if at % processes == turn] or [given[turn % len(given)]]


def opened(host: str, port: int) -> list[socket.socket]:
    """On every address that the name has; "" is all of this machine's. Alone there: it is sure that nobody else listens."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, place in dict.fromkeys(found):
            sockets.append(at_place(family, place, shared=False))
    except BaseException:
        close(sockets)
        raise
    return sockets


def at_place(family: int, place: Any, *, shared: bool) -> socket.socket:
    # The loops know by the protocol that it is TCP, and turn Nagle's algorithm off.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(place)
    except BaseException:
        made.close()
        raise
    return made


def close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def close_all(bound: Bound) -> None:
    for each in bound.values():
        close(each)
