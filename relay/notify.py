"""Tells systemd the state of the service: sd_notify(3), one datagram on $NOTIFY_SOCKET.

Does nothing without such a socket. `watchdog` says how often a sign of life is due.
"""

from __future__ import annotations

import os
import socket


def tell(**state: str | int) -> None:
    """For example tell(READY=1, STATUS="3 listeners up"). If the socket is gone, that must not disturb the mail."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # the abstract namespace of Linux
        address = "\0" + address[1:]
    message = "\n".join(f"{key}={str(value).replace(chr(10), ' ')}" for key, value in state.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.setblocking(False)
        try:
            s.sendto(message.encode(), address)
        except OSError:
            return


def watchdog() -> float | None:
    """Seconds between two `tell(WATCHDOG=1)`: half of what the unit allows. None if it has no watchdog."""
    pid, usec = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
