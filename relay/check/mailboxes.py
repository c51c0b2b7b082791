"""The grants' mailboxes: opened, looked at and left, by the service's own code and within its times.

A grant is one finding, however many folders it has.
"""

from __future__ import annotations

import asyncio

from relay import config
from relay.check import Finding, failure, ok
from relay.mailbox import MAX_LOGINS, open_source
from relay.mailbox.source import LoginRefused, Source, Times, Unreachable


async def look(settings: config.Settings, times: Times | None = None) -> list[Finding]:
    """`times` are the service's; a test has shorter ones."""
    logins = asyncio.Semaphore(MAX_LOGINS)
    return await asyncio.gather(
        *(
            _grant(grant, [open_source(grant, url, settings, times=times, logins=logins) for url in grant.mailbox])
            for grant in settings.grants
            if grant.mailbox
        )
    )


async def _grant(grant: config.Grant, sources: list[Source]) -> Finding:
    found = await asyncio.gather(*map(_probe, sources))
    sentence = "; ".join(dict.fromkeys(sentence for _, sentence in found))
    return (ok if all(good for good, _ in found) else failure)(f"grants.{grant.id}", sentence)


async def _probe(source: Source) -> tuple[bool, str]:
    try:
        return True, await source.probe()
    except (LoginRefused, Unreachable) as reason:
        return False, str(reason)
