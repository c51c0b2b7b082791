"""What the service listens with: addresses that are free, certificates that are good."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay import causes, config
from relay.check import Finding, failure, holders, ok, warning
from relay.core import domains, networks

SOON = timedelta(days=14)  # before a certificate's end


async def addresses(settings: config.Settings) -> list[Finding]:
    wanted = [("smtp.listen", a) for a in settings.smtp.listen]
    wanted += [("smtp.listen_tls", a) for a in settings.smtp.listen_tls]
    wanted += [("http.listen", a) for a in settings.http.listen]
    wanted.append(("admin.listen", settings.admin.listen))
    if settings.milter.listen.startswith("inet"):
        wanted.append(("milter.listen", settings.milter.listen.partition(":")[2]))
    serving = await is_running(settings)
    found = [_listener(what, address, serving) for what, address in wanted]
    return found + ([_socket(settings, serving)] if settings.milter.listen.startswith("unix:") else [])


def _socket(settings: config.Settings, serving: bool) -> Finding:
    """The milter's listener as a file."""
    from relay.milter import server

    what, path = "milter.listen", Path(settings.milter.listen.removeprefix("unix:"))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return failure(what, f"{path.parent} is no folder that can be written to")
    try:
        if settings.milter.group:
            server.gid(settings.milter.group)
        server.left(path)
    except server.CannotListen as reason:
        if serving and path.is_socket():
            return ok(what, f"{path} is in use while the service runs")
        return failure(what, str(reason))
    return ok(what, f"{path} is free")


def _listener(what: str, address: str, serving: bool) -> Finding:
    if networks.passed(address):
        return ok(what, f"{address} is a socket that systemd passes; whether it does is seen at the start")
    error = can_bind(address)
    if error is None:
        return ok(what, f"{address} is free")
    if error.errno == errno.EADDRINUSE and serving:
        return ok(what, f"{address} is in use while the service runs")
    if error.errno in (errno.EADDRINUSE, errno.EACCES) and (unit := of_systemd(address)):
        return ok(what, f"systemd listens on {address} for the service ({unit})")
    who = holders.of(*networks.endpoint(address)) if error.errno == errno.EADDRINUSE else ""
    if who:
        return failure(what, f"can't listen on {address}: {who} listens there; stop it, or choose another port")
    return failure(what, f"can't listen on {address}: {causes.of(error, listening=True)}")


def of_systemd(address: str) -> str:
    """The .socket unit of ours that listens there; "" for none, and where that can't be known."""
    try:
        done = subprocess.run(
            ["systemctl", "list-sockets", "--output=json"],  # noqa: S607 - wherever the system has it
            capture_output=True, timeout=5, check=True,
        )  # fmt: skip
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    host, port = networks.endpoint(address)
    for each in found:
        if not str(each.get("activates")).startswith("trackrelay"):
            continue
        with contextlib.suppress(ValueError):  # a file
            theirs, at = networks.endpoint(each["listen"])
            if at == port and (theirs == host or (networks.everywhere(theirs) and networks.everywhere(host))):
                return str(each["unit"])
    return ""


def can_bind(address: str) -> OSError | None:
    """None where the address is free, else why it can't be listened on."""
    host, port = networks.endpoint(address)
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
    host, port = networks.endpoint(settings.admin.listen)
    if networks.everywhere(host):
        host = "::1" if ":" in host else "127.0.0.1"
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
    tracked = domains.of_url(settings.tracking.url)
    pairs = [("smtp.certificate", smtp.certificate, smtp.key, smtp.hostname, "smtp.hostname"),
             ("http.certificate", http.certificate, http.key, tracked if not networks.loopback(tracked) else "", "tracking.url")]  # fmt: skip
    found: list[Finding] = []
    for what, certificate, key, name, setting in pairs:
        if certificate and key:
            found += _certificate(what, certificate, key, name, setting)
    return found


def _certificate(what: str, certificate: Path, key: Path, name: str, setting: str) -> list[Finding]:
    from cryptography import x509

    from relay import certificates

    try:
        certificates.context(certificate, key)
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        first = chain[0]
    except (OSError, ValueError) as error:
        return [failure(what, str(error))]
    left = first.not_valid_after_utc - datetime.now(UTC)
    if left < timedelta(0):
        return [failure(what, f"{certificate} expired on {first.not_valid_after_utc:%Y-%m-%d}; renew it")]
    found = [ok(what, f"{certificate} is good until {first.not_valid_after_utc:%Y-%m-%d}")]
    if left < SOON:
        found = [warning(what, f"{certificate} expires in {left.days} days; is it being renewed?")]
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [h.lower() for h in names.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        hosts = []
    wildcard = "*." + name.lower().partition(".")[2]
    if name and not name.startswith("[") and name.lower() not in hosts and wildcard not in hosts:
        found.append(warning(what, f"{certificate} is for {', '.join(hosts) or 'no host'}, not for {setting} "
                             f"({name}): clients may refuse it"))  # fmt: skip
    if first.issuer == first.subject:
        found.append(
            warning(
                what,
                f"{certificate} is self-signed: clients refuse it, or ask; get one of an authority (certbot, Caddy)",
            )
        )
    elif len(chain) == 1:
        found.append(warning(what, f"{certificate} has no certificates between its own and the authority's, without which many clients refuse it: "
                             "name the file with the whole chain (fullchain.pem)"))  # fmt: skip
    return found
