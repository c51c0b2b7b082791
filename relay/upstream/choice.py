"""Which upstream carries whose mail.

Owns: the choice by sender, and names: what waits in the spool remembers a name, which may be gone after a change of the
configuration. Leaves to others: who the sender is (`outbound`, which asks once per message), connections (`failover`).
"""

from __future__ import annotations

from relay import config
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import addresses, domains, providers


def name_of(upstream: config.Upstream) -> str:
    return upstream.id if isinstance(upstream, config.NamedUpstream) else DEFAULT_UPSTREAM


def section(name: str) -> str:
    """Where the settings have that upstream, for a sentence about it."""
    return "upstream" if name == DEFAULT_UPSTREAM else f"upstreams.{name}"


def named(settings: config.Settings, name: str) -> config.Upstream:
    """The upstream of that name; [upstream] where there is none."""
    for upstream in settings.upstreams:
        if upstream.id == name:
            return upstream
    return settings.upstream


def of_sender(settings: config.Settings, address: str) -> config.Upstream:
    """The first of [[upstreams]] with a pattern that matches the From address, else [upstream]."""
    if not settings.upstreams:
        return settings.upstream
    return next((up for up in settings.upstreams if addresses.matches(address, up.senders)), settings.upstream)


def replaced(settings: config.Settings, upstream: config.Upstream) -> frozenset[str]:
    """The header fields (lower case) that are replaced there, or at a fallback that the message may go to."""
    return frozenset().union(*(providers.replaces(host) for host in hosts(settings, upstream)))


def takes_one_signature(settings: config.Settings, upstream: config.Upstream) -> str:
    """The name of the one, there or among its fallbacks, that refuses a message with several DKIM-Signature fields, or ""."""
    chain = hosts(settings, upstream)
    return next((providers.name(host) for host in chain if providers.takes_one_signature(host)), "")


def hosts(settings: config.Settings, upstream: config.Upstream) -> list[str]:
    """The servers that a message may go to: its upstream's, and those of the fallbacks."""
    chain = (upstream, *(named(settings, name) for name in upstream.fallback))
    return [domains.of_url(each.url) for each in chain]


def grants(settings: config.Settings, name: str) -> tuple[str, ...]:
    """The ids of the grants whose mail this upstream carries, as far as their address, or else their patterns, say it.
    The mail of "default", which has any address, is [upstream]'s."""
    found = []
    for grant in settings.grants:
        senders = (
            (grant.email,) if grant.email else tuple(p.replace("*", "any").replace("?", "a") for p in grant.addresses)
        )
        if any(name_of(of_sender(settings, sender)) == name for sender in senders or ("",)):
            found.append(grant.id)
    return tuple(found)
