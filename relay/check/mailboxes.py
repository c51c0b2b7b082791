"""The grants' mailboxes: opened, looked at and left, by the service's own code and within its times."""

from __future__ import annotations

import asyncio

from relay import config
from relay.check import Finding, failure, ok
from relay.mailbox import MAX_LOGINS, open_source
from relay.mailbox.source import LoginRefused, Source, Times, Unreachable


async def look(settings: config.Settings, times: Times | None = None) -> list[Finding]:
    """`times` are the service's; a test has shorter ones."""
    logins = asyncio.Semaphore(MAX_LOGINS)
    probes = [
        _probe(f"grants.{grant.id}", open_source(grant, settings, times=times, logins=logins))
        for grant in settings.grants
        if grant.mailbox
    ]
    return await asyncio.gather(*probes)


async def _probe(what: str, source: Source) -> Finding:
    try:
        return ok(what, await source.probe())
    except (LoginRefused, Unreachable) as reason:
        return failure(what, str(reason))
