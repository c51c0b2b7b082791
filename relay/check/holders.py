"""Which program listens at an address of this machine, by /proc: its name and number, where this user may see it.

Owns: that look-up, for Linux. Leaves to others: what is to be done about it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from relay.core import networks

LISTENING = "0A"  # include/net/tcp_states.h
PROC = Path("/proc")


def of(host: str, port: int) -> str:
    """ "postmaster (process 812)"; "" where nobody is found."""
    wanted = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(table, host, port)}
    if not wanted:
        return ""
    for process in PROC.iterdir():
        if process.name.isdecimal() and not wanted.isdisjoint(_sockets(process)):
            with contextlib.suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _inodes(table: str, host: str, port: int) -> Iterator[str]:
    try:
        rows = (PROC / "net" / table).read_text().splitlines()[1:]
    except OSError:
        return
    wanted = networks.numeric(host)
    for row in rows:
        words = row.split()
        address, _, number = words[1].partition(":")
        if words[3] == LISTENING and int(number, 16) == port:
            there = networks.numeric(_address(address))
            if (
                wanted is None
                or there is None
                or there in (wanted, networks.plain(wanted))
                or there.is_unspecified
                or wanted.is_unspecified
            ):
                yield words[9]


def _address(text: str) -> str:
    """As the kernel writes it: words of 32 bits in the machine's order."""
    octets = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, octets)


def _sockets(process: Path) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for file in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(file))
    return found
