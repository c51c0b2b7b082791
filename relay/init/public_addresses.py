"""The public addresses of this machine, as far as it knows them itself: those from which it would reach the Internet.

Nothing is sent: a UDP socket that is connected only chooses its own address. Owns: that question. Leaves to others: what an address is
(`core.networks`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket

from relay.core import networks

# Addresses that nobody has (RFC 5737, RFC 3849): only the way there counts.
FAR = ((socket.AF_INET, "198.51.100.1"), (socket.AF_INET6, "2001:db8::1"))


def found() -> list[str]:
    """IPv4 first; none where the machine has only private ones, as behind a router or in most clouds."""
    own = []
    for family, far in FAR:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            address = ipaddress.ip_address(probe.getsockname()[0])
            if networks.public(address):
                own.append(str(address))
    return own
