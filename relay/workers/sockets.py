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

from relay import causes, starting
from relay.config import Settings
from relay.core import networks

Bound = dict[tuple[str, int], list[socket.socket]]
Places = dict[tuple[str, int], list[tuple[int, tuple[object, ...]]]]  # families and addresses


def wanted(settings: Settings, roles: frozenset[str]) -> Iterator[tuple[str, int, str]]:
    """The setting, the place in it, the address. (The milter binds its own: its socket may be a file.)"""
    if "smtp" in roles:
        yield from (("smtp.listen", at, text) for at, text in enumerate(settings.smtp.listen))
        yield from (("smtp.listen_tls", at, text) for at, text in enumerate(settings.smtp.listen_tls))
    if "http" in roles:
        yield from (("http.listen", at, text) for at, text in enumerate(settings.http.listen))
    if "admin" in roles:
        yield "admin.listen", 0, settings.admin.listen


def places(settings: Settings, roles: frozenset[str]) -> Places:
    """Where the processes of these roles are to listen, and that nobody else does. Raises `CannotStart`."""
    found: Places = {}
    for name, at, text in wanted(settings, roles):
        host, port = networks.endpoint(text)
        try:
            first = opened(host, port)
        except OSError as reason:
            where = networks.written(host, port) if name.startswith("smtp") else text
            why = causes.of(reason, listening=True)
            raise starting.CannotStart(f"{name.partition('.')[0]}: can't listen on {where}: {why}", 1) from reason
        found[name, at] = [(each.family, each.getsockname()) for each in first]
        close(first)
    return found


def of(found: Places, roles: frozenset[str]) -> Places:
    """Those of these roles."""
    return {key: places for key, places in found.items() if key[0].partition(".")[0] in roles}


def bind(found: Places, *, shared: bool) -> Bound:
    """Sockets for one process, which are bound and do not listen. Raises OSError."""
    bound: Bound = {}
    try:
        for key, each in found.items():
            bound[key] = []
            for family, place in each:
                bound[key].append(at_place(family, place, shared=shared))
    except BaseException:
        close_all(bound)
        raise
    return bound


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


def at_place(family: int, place: tuple[object, ...], *, shared: bool) -> socket.socket:
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
