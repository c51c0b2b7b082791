"""Who may submit without a login: the allow-list; and the refusal to open listeners that would let anybody in.

Owns: the address of a session's peer. Leaves to others: what is wrong with settings (`config.exposure`), logins
(`auth`).
"""

from __future__ import annotations

from collections.abc import Iterable

from relay.config import Settings, exposure, places
from relay.core import networks


def address(peer: object) -> networks.Address | None:
    """The address of a socket's peer: a zone is dropped, an IPv4-mapped IPv6 address is the IPv4 one."""
    return networks.peer(peer[0]) if isinstance(peer, tuple) and peer and isinstance(peer[0], str) else None


def allow_list(texts: Iterable[str]) -> tuple[networks.Network, ...]:
    """Raises ValueError where one is no network."""
    return tuple(map(networks.network, texts))


def problems(settings: Settings) -> list[str]:
    """Why the SMTP listeners can't open with these settings, as when their file is read: `key: sentence`."""
    try:
        found = list(exposure.problems(settings))
    except ValueError as error:  # in no file: there such a value is a mistake of its own
        return [f"smtp: {error}"]
    return [f"{places.name_of(problem.path)}: {problem.sentence}" for problem in found]
