"""Who may submit: the allow-list, and the refusal to start as an open relay.

Owns: addresses of peers, `allow`, what a listener that others can reach must have. Leaves logins to `auth`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from relay.config import Settings, Smtp

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address(peer: object) -> Address | None:
    """The address of a socket's peer: a zone is dropped, an IPv4-mapped IPv6 address is the IPv4 one."""
    try:
        found = ipaddress.ip_address(str(peer[0]).partition("%")[0])  # type: ignore[index]
    except (TypeError, IndexError, ValueError):
        return None
    return getattr(found, "ipv4_mapped", None) or found


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError where one is no network."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def allowed(peer: Address | None, allow: Iterable[Network]) -> bool:
    return peer is not None and any(peer in network for network in allow)


def endpoint(text: str) -> tuple[str, int]:
    """ "host:port", "[v6]:port" or ":port" -> host without brackets, port. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def on_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def everyone(allow: Iterable[Network]) -> bool:
    """Whether the networks together are the whole of IPv4 or IPv6."""
    return any(
        network.prefixlen == 0
        for version in (4, 6)
        for network in ipaddress.collapse_addresses(n for n in allow if n.version == version)  # type: ignore[type-var]
    )


def problems(settings: Settings) -> list[str]:
    """Why the SMTP listener can't start with these settings: sentences; empty when it can."""
    smtp = settings.smtp
    try:
        listeners = [endpoint(text) for text in (*smtp.listen, *smtp.listen_tls)]
    except ValueError as error:
        return [f"smtp.listen: {error}"]
    try:
        allow = networks(smtp.allow)
    except ValueError as error:
        return [f"smtp.allow: {error}"]
    found = [*exposed(smtp, allow, [host for host, _ in listeners])]
    if smtp.listen_tls and not (smtp.certificate and smtp.key):
        found.append("smtp.listen_tls: implicit TLS needs smtp.certificate and smtp.key")
    if bool(smtp.certificate) != bool(smtp.key):
        found.append("smtp.certificate and smtp.key: one without the other is of no use")
    if loops(settings.upstream.url, listeners):
        found.append("upstream.url: this is the relay's own listener, so every message would go in circles")
    return found


def exposed(smtp: Smtp, allow: tuple[Network, ...], hosts: Iterable[str]) -> Iterable[str]:
    outside = [host or "*" for host in hosts if not on_loopback(host)]
    if not outside:
        return
    where = ", ".join(dict.fromkeys(outside))
    if everyone(allow):
        yield f"smtp.allow: it holds every address and {where} is not loopback: an open relay; name your own networks"
    if all(network.is_loopback for network in allow):
        if smtp.auth == "none":
            yield (
                f"smtp.listen: {where} is not loopback, and nobody beyond loopback may submit: "
                'set smtp.auth = "users" (or "upstream") or name your networks in smtp.allow'
            )
        elif not (smtp.certificate and smtp.key):
            yield (
                f"smtp.auth: beyond loopback ({where}) logins are taken under TLS only: "
                "set smtp.certificate and smtp.key"
            )


def loops(url: str, listeners: Iterable[tuple[str, int]]) -> bool:
    """Whether the upstream is one of the listeners, as far as their texts say."""
    try:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port
    except ValueError:
        return False
    default = {"smtp": 25, "smtps": 465, "lmtp": 24}.get(split.scheme)
    return any(
        port_ == (port or default) and (host == host_ or (on_loopback(host) and (on_loopback(host_) or is_any(host_))))
        for host_, port_ in listeners
        if port_
    )


def is_any(host: str) -> bool:
    return host in ("", "*", "0.0.0.0", "::")  # noqa: S104 (compared, not bound)
