"""Which PostgreSQL database: what its URL says, in libpq's words.

    postgresql://USER@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?NAME=VALUE&…]

Owns: which of libpq's parameters are understood, and what holds where none is given. Leaves to others: connecting
(`postgres`). Nothing here needs the driver.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

PORT = 5432
EXAMPLE = '"postgresql://relay@db.example.com/trackrelay"'
TLS = ("disable", "require", "verify-ca", "verify-full")
TARGETS = ("read-write", "primary", "any")
POOLERS = ("", "transaction")
# Parameter -> the values that it may have; () is any.
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "host": (),
    "port": (),
    "passfile": (),
    "sslmode": TLS,
    "sslrootcert": (),
    "sslcert": (),
    "sslkey": (),
    "target_session_attrs": TARGETS,
    "connect_timeout": (),
    "application_name": (),
    "pooler": POOLERS,  # ours
}


class Locator(NamedTuple):
    """`hosts` are names, addresses, or folders of a unix socket, tried in order. `tls` is libpq's sslmode. `pooler` is
    "transaction" where a pooler (PgBouncer) gives each transaction any connection."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    user: str
    tls: str
    tls_root: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    passfile: str = ""
    target: str = "read-write"
    connect_timeout: float = 5.0
    application: str = "trackrelay"
    pooler: str = ""

    @property
    def shown(self) -> str:
        places = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{places}/{self.database}"


def read(url: str) -> Locator:
    """Raises ValueError, whose text says what is wrong. It never has a password in it."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres") or not rest:
        raise ValueError(f"this is no URL of a database, such as {EXAMPLE}")
    parts = urlsplit(f"//{rest}")
    login, _, places = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    if colon:
        raise ValueError("a password does not belong in a URL; put it into store.password_file, or name a passfile=")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in given.items():
        if name not in PARAMETERS:
            raise ValueError(f'"{name[:40]}" is not known here; known are {", ".join(PARAMETERS)}')
        if PARAMETERS[name] and value not in PARAMETERS[name]:
            raise ValueError(f'{name} is "{value[:40]}"; it may be {", ".join(filter(None, PARAMETERS[name]))}')
    hosts = tuple(places_of(given.get("host") or unquote(places), given.get("port", "")))
    if not hosts or not unquote(user) or not parts.path.strip("/") or parts.fragment:
        raise ValueError(f"it should name a user, a host and a database, as {EXAMPLE} does")
    mode = given.get("sslmode") or ("disable" if all(near(host) for host, _ in hosts) else "verify-full")
    return Locator(
        hosts,
        unquote(parts.path.strip("/")),
        unquote(user),
        mode,
        given.get("sslrootcert", ""),
        given.get("sslcert", ""),
        given.get("sslkey", ""),
        given.get("passfile", ""),
        given.get("target_session_attrs", "read-write"),
        seconds(given.get("connect_timeout", "5")),
        given.get("application_name", "trackrelay"),
        given.get("pooler", ""),
    )


def places_of(text: str, ports: str) -> list[tuple[str, int]]:
    """Ports beside the hosts, or in a list of their own."""
    others = ports.split(",") if ports else []
    found = []
    for number, place in enumerate(filter(None, text.split(","))):
        host, port = place, ""
        if not place.startswith("/"):
            head, colon, tail = place.rpartition(":")
            if colon and (head.endswith("]") or ":" not in head):
                host, port = head, tail
        port = port or (others[min(number, len(others) - 1)] if others else str(PORT))
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f'"{port[:40]}" is no port')
        found.append((host.strip("[]"), int(port)))
    return found


def near(host: str) -> bool:
    """A unix socket, or this machine."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def seconds(text: str) -> float:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 600:
        raise ValueError(f'connect_timeout is "{text[:40]}"; it should be a number of seconds')
    return float(text)
