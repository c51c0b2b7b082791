"""Whose mail is outgoing, and so tracked; all other mail through the same mail server is never touched.

Owns: the decision, as [milter] submitters has it. Leaves to others: what a mail server says of a client (`core.milter`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from relay.core import networks
from relay.core.milter import Client

AUTHENTICATED, DAEMON = "authenticated", "daemon:"


def rule(texts: Iterable[str]) -> Callable[[Client], bool]:
    """Any of them is enough: a login, an address in one of the networks, the name of a service."""
    given = tuple(texts)
    authenticated = AUTHENTICATED in given
    daemons = frozenset(text.removeprefix(DAEMON) for text in given if text.startswith(DAEMON))
    listed = tuple(networks.network(t) for t in given if t != AUTHENTICATED and not t.startswith(DAEMON))

    def tracks(client: Client) -> bool:
        if (authenticated and client.login) or (client.daemon and client.daemon in daemons):
            return True
        return bool(client.address) and networks.within(networks.peer(client.address), listed)

    return tracks
