"""This machine: the state folder, the token keys, the store, ports, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay import config, files
from relay.check import Finding, failure, ok, warning
from relay.config.locators import split_address

ROOM = 1_000_000_000  # octets free in the state folder below which a warning is due
SOON = timedelta(days=14)  # before a certificate's end


async def state(settings: config.Settings) -> list[Finding]:
    folder = settings.state_dir
    if not folder.exists():
        above = next(p for p in folder.parents if p.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            return [failure("state_dir", f"{folder} is not there and can't be made: {above} is not writable")]
        return [ok("state_dir", f"{folder} will be made at the first start")]
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            os.fsync(file.fileno())
    except OSError as error:
        return [failure("state_dir", f"nothing can be written to {folder}: {error.strerror}")]
    exposed = files.exposed(folder)
    if exposed:
        return [failure("state_dir", exposed)]
    found = [ok("state_dir", f"{folder} can be written to")]
    free = shutil.disk_usage(folder).free
    if free < ROOM:
        found = [warning("state_dir", f"{folder} has only {free // 1_000_000} MB left; a full disk stops the spool")]
    if files.readable(folder):
        found.append(warning("state_dir", f"others on this machine can look into {folder}; chmod 700 it"))
    return found


async def keys(settings: config.Settings) -> list[Finding]:
    from relay import keys

    path = settings.state_dir / "keys" / "tokens.json"
    if not path.exists():
        return [warning("keys", f"{path} will be made at the first start. Back it up: losing it kills every link that "
                        "was ever sent")]  # fmt: skip
    try:
        many = len(keys.listing(path))
    except keys.Unusable as error:
        return [failure("keys", str(error))]
    held = f"{many} token key{'s' if many > 1 else ''}"
    return [warning("keys", f"{path} holds {held}. Losing it kills every link that was ever sent: keep it in your "
                    "backups")]  # fmt: skip


async def logins(settings: config.Settings) -> list[Finding]:
    from relay.smtp import users

    path = users.path(settings)
    if settings.smtp.auth != "users":
        return []
    try:
        many = len(users.read(path))
    except OSError as error:
        return [failure("logins", f"{path} can't be read: {error.strerror}")]
    if not many:
        return [warning("logins", 'nobody can log in yet: make a login with "trackrelay user add NAME"')]
    found = [ok("logins", f"{path} holds {many} login{'s' if many > 1 else ''}")]
    if path.stat().st_mode & 0o077:
        found.append(warning("logins", f"others on this machine can read the hashes in {path}; chmod 600 it"))
    return found


async def store(settings: config.Settings) -> list[Finding]:
    """Reads the schema's number only; a service may be at work on the same file."""
    from relay.store.sqlite import schema

    kind, _, rest = settings.store.url.partition(":")
    path = settings.state_dir / (rest.removeprefix("//") or "trackrelay.db")
    if kind != "sqlite":
        return [failure("store", f"{settings.store.url} is no kind of store that this version has; use sqlite:FILE")]
    if not path.exists():
        return [ok("store", f"{path} will be made at the first start")]
    import sqlite3

    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            at = schema.version(db)
    except sqlite3.Error as error:
        return [failure("store", f"{path} can't be read: {error}")]
    if at > schema.LATEST:
        return [failure("store", f"{path} has schema {at}, this program knows {schema.LATEST}: use the program that "
                        "wrote it, or a newer one")]  # fmt: skip
    return [ok("store", f"{path} has schema {at} of {schema.LATEST}")]


# -- listeners ---------------------------------------------------------------------------------------------------------


async def listeners(settings: config.Settings) -> list[Finding]:
    wanted = [("smtp.listen", a) for a in settings.smtp.listen]
    wanted += [("smtp.listen_tls", a) for a in settings.smtp.listen_tls]
    wanted += [("http.listen", settings.http.listen), ("admin.listen", settings.admin.listen)]
    serving = await is_running(settings)
    return [_listener(what, address, serving) for what, address in wanted]


def _listener(what: str, address: str, serving: bool) -> Finding:
    error = can_bind(address)
    if error is None:
        return ok(what, f"{address} is free")
    if error.errno == errno.EADDRINUSE and serving:
        return ok(what, f"{address} is in use while the service runs")
    if error.errno == errno.EACCES:
        return failure(what, f"{address} is not allowed: a port below 1024 needs CAP_NET_BIND_SERVICE")
    words = {errno.EADDRINUSE: "another program listens there", errno.EADDRNOTAVAIL: "this machine has no such address"}
    return failure(what, f"can't listen on {address}: {words.get(error.errno or 0, error.strerror)}")


def can_bind(address: str) -> OSError | None:
    """None where the address is free, else why it can't be listened on."""
    host, port = split_address(address)
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(where)
                listener.listen(1)
    except OSError as error:
        return error
    return None


async def is_running(settings: config.Settings) -> bool:
    """Whether our service answers at [admin]."""
    host, port = split_address(settings.admin.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - asked, not listened on
    try:
        async with asyncio.timeout(3):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            status = await reader.readline()
            writer.close()
    except (OSError, TimeoutError):
        return False
    return status.startswith(b"HTTP/1.") and status.split()[1:2] == [b"200"]


# -- certificates ------------------------------------------------------------------------------------------------------


async def certificates(settings: config.Settings) -> list[Finding]:
    smtp, http = settings.smtp, settings.http
    pairs = [("smtp.certificate", smtp.certificate, smtp.key, smtp.hostname),
             ("http.certificate", http.certificate, http.key, "")]  # fmt: skip
    found: list[Finding] = []
    for what, certificate, key, name in pairs:
        if certificate and key:
            found += _certificate(what, certificate, key, name)
    return found


def _certificate(what: str, certificate: Path, key: Path, name: str) -> list[Finding]:
    from cryptography import x509

    from relay import certificates

    try:
        certificates.context(certificate, key)
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError) as error:
        return [failure(what, str(error))]
    left = first.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(0):
        return [failure(what, f"{certificate} expired on {first.not_valid_after_utc:%Y-%m-%d}; renew it")]
    found = [ok(what, f"{certificate} is good until {first.not_valid_after_utc:%Y-%m-%d}")]
    if left < SOON:
        found = [warning(what, f"{certificate} expires in {left.days} days; is its renewal at work?")]
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [h.lower() for h in names.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        hosts = []
    wildcard = "*." + name.lower().partition(".")[2]
    if name and name.lower() not in hosts and wildcard not in hosts:
        found.append(warning(what, f"{certificate} is for {', '.join(hosts) or 'no host'}, not for smtp.hostname "
                             f"({name}): clients may refuse it"))  # fmt: skip
    return found
