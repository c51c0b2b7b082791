"""Whom the settings let in, and whether mail would come back to where it began.

Owns: is it an open relay, could anybody beyond this machine submit at all, do passwords cross the network in clear, is
an upstream this relay itself. Asked when a file is read (`contradictions`, and so by `trackrelay check`), and again
before the listeners open (`relay.smtp`), which may be given settings that were in no file: both say the same sentence
about the same key. Leaves to others: who the client at hand is (`relay.smtp`), mail that comes back by a way that no
setting shows (`outbound.loops`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import NamedTuple

from relay.config.places import Path
from relay.config.settings import Settings, Smtp
from relay.core import domains, networks

# Shorter prefixes are nobody's own network: the largest that were given out, and the private ones.
WIDEST = {4: 8, 6: 16}
PRIVATE_6 = (IPv6Network("fc00::/7"), IPv6Network("fe80::/10"))


class Problem(NamedTuple):
    """`sentence` goes on from the key at `path`. `because` are the keys that it rests on."""

    path: Path
    sentence: str
    because: tuple[str, ...] = ()


def problems(settings: Settings) -> Iterator[Problem]:
    """Why the SMTP listeners must not open; nothing where they may."""
    yield from pair("smtp", settings.smtp.certificate, settings.smtp.key)
    yield from of_listeners(settings.smtp)
    for path, upstream in (
        (("upstream", "url"), settings.upstream),
        *((("upstreams", at, "url"), other) for at, other in enumerate(settings.upstreams)),
    ):
        if leads_back(upstream.url, settings.smtp):
            yield Problem(path, "is this relay itself: mail would loop")


def pair(section: str, certificate: object, key: object) -> Iterator[Problem]:
    if bool(certificate) != bool(key):
        there, missing = ("certificate", "key") if certificate else ("key", "certificate")
        yield Problem((section, there), f"needs {section}.{missing} beside it", ("certificate", "key"))


def of_listeners(smtp: Smtp) -> Iterator[Problem]:
    outside, outside_tls = beyond(smtp.listen), beyond(smtp.listen_tls)
    allowed = [networks.network(text) for text in smtp.allow]
    if smtp.listen_tls and not smtp.certificate:
        yield Problem(("smtp", "listen_tls"), "needs smtp.certificate and smtp.key", ("certificate", "key"))
    if open_to_all(allowed):
        sentence = "lets the whole world submit, which makes an open relay; name your own networks"
        yield Problem(("smtp", "allow"), sentence)
    elif (outside or outside_tls) and smtp.auth == "none" and all(network.is_loopback for network in allowed):
        sentence = (
            'listens beyond this machine, but nobody there may submit; set smtp.auth = "users" or "upstream", or name '
            "the networks in smtp.allow"
        )
        yield Problem(("smtp", "listen" if outside else "listen_tls"), sentence, ("auth", "allow"))
    if open_to_all(map(networks.network, smtp.proxies)):
        sentence = "lets the whole world pass for any client, which makes an open relay; name your own proxies"
        yield Problem(("smtp", "proxies"), sentence)
    if smtp.auth != "none" and outside and not smtp.certificate:
        sentence = f"passwords would cross the network in clear at {outside[0]}; set smtp.certificate and smtp.key"
        yield Problem(("smtp", "auth"), sentence, ("certificate", "key"))
    elif smtp.auth != "none" and not smtp.clear_logins and not smtp.certificate:
        sentence = "is false, and there is no TLS to log in by; set smtp.certificate and smtp.key"
        yield Problem(("smtp", "clear_logins"), sentence, ("certificate", "key"))


def beyond(listeners: Iterable[str]) -> list[str]:
    """The listeners that others than this machine may reach."""
    return [
        text
        for text in listeners
        if text and (networks.passed(text) or not networks.loopback(networks.endpoint(text)[0]))
    ]


def open_to_all(allowed: Iterable[networks.Network]) -> bool:
    """Whether one of these networks is so wide, or several make one so wide, that it can't be somebody's own."""
    given = list(allowed)
    four = collapse_addresses(n for n in given if isinstance(n, IPv4Network))
    six = collapse_addresses(n for n in given if isinstance(n, IPv6Network))
    return any(n.prefixlen < WIDEST[4] for n in four) or any(
        n.prefixlen < WIDEST[6] and not any(n.subnet_of(own) for own in PRIVATE_6) for n in six
    )


def leads_back(url: str, smtp: Smtp) -> bool:
    """Whether an upstream is one of these listeners, as far as their texts say: the same port, at the same host, at this
    machine, or at its own name where all its addresses are listened on."""
    try:
        upstream = networks.server(url)
    except ValueError:
        return False
    here = upstream.loopback or networks.everywhere(upstream.host)  # connecting to 0.0.0.0 is connecting to oneself
    named = domains.spelt(smtp.hostname)
    addresses = [text for text in (*smtp.listen, *smtp.listen_tls) if not networks.passed(text)]
    for host, port in map(networks.endpoint, addresses):
        if port != upstream.port:
            continue
        everywhere = networks.everywhere(host)
        if host == upstream.host or (here and (everywhere or networks.loopback(host))):
            return True
        if everywhere and upstream.host in (named, named.strip("[]").removeprefix("ipv6:")):
            return True
    return False
