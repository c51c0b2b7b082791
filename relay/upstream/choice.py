"""Which upstream carries whose mail.

Owns: the choice by sender, and names: what waits in the spool remembers a name, which may be gone after a change of the
configuration. Leaves to others: who the sender is (`outbound`, which asks once per message), connections (`failover`).
"""

from __future__ import annotations

from relay import config
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import addresses


def name_of(upstream: config.Upstream) -> str:
    return upstream.id if isinstance(upstream, config.NamedUpstream) else DEFAULT_UPSTREAM


def named(settings: config.Settings, name: str) -> config.Upstream:
    """The upstream of that name; [upstream] where there is none."""
    return next((up for up in settings.upstreams if up.id == name), settings.upstream)


def of_sender(settings: config.Settings, address: str) -> config.Upstream:
    """The first of [[upstreams]] with a pattern that matches the From address, else [upstream]."""
    if not settings.upstreams:
        return settings.upstream
    return next((up for up in settings.upstreams if addresses.matches(address, up.senders)), settings.upstream)
