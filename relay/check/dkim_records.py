"""DKIM: keys that can be used, their records as mail servers look them up, and what signatures leave out."""

from __future__ import annotations

from typing import Any

from relay import causes, config
from relay.check import Finding, failure, names, ok, unknown
from relay.config.settings import DEFAULT_UPSTREAM
from relay.core import dkim, domains, providers
from relay.upstream import choice


async def look(settings: config.Settings, resolver: Any = None) -> list[Finding]:
    """`resolver` is a `dns.asyncresolver.Resolver`; the system's by default."""
    return [*[await _record(entry, resolver) for entry in settings.dkim], *left_out(settings)]


def left_out(settings: config.Settings) -> list[Finding]:
    """What no signature covers because an upstream replaces it."""
    found = []
    for up in (settings.upstream, *settings.upstreams) if settings.dkim else ():
        host, name = domains.of_url(up.url), choice.name_of(up)
        if replaced := providers.replaces(host):
            where = "upstream" if name == DEFAULT_UPSTREAM else f"upstreams.{name}"
            fields = " and ".join(sorted(replaced))
            found.append(ok("dkim", f"{providers.name(host)} ({where}) replaces {fields}: for mail that may go there no "
                            "signature covers them"))  # fmt: skip
    return found


async def _record(entry: config.Dkim, resolver: Any) -> Finding:
    what = f"dkim.{entry.domain}"
    try:
        signer = dkim.load(entry.key.read_bytes(), entry.domain, entry.selector)
    except OSError as error:
        return failure(what, f"{entry.key} can't be read: {causes.of(error)}")
    except dkim.BadKey as error:
        return failure(what, f"{entry.key}: {error}")
    ours = dkim.record(signer)
    name = f"{signer.selector}._domainkey.{signer.domain}"
    publish = f'publish a TXT record at {name}: "{ours}"'
    try:
        rows = (await names.look_up(name, "TXT", resolver)).found
    except names.Unknown as reason:
        return unknown(what, f"whether {name} has our record can't be known here: {reason}")
    if not rows:
        return failure(what, f"there is no record; {publish}")
    found = [row.encode() for row in rows]
    if any(dkim.published_key(record) == dkim.published_key(ours.encode()) for record in found):
        return ok(what, f"{name} has our {'ed25519' if signer.algorithm == 'ed25519-sha256' else 'rsa'} key")
    return failure(what, f"the record at {name} has another key: {publish}")
