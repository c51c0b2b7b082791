"""How the mail stands with receivers, as far as DNS and the settings tell: SPF, DMARC, whose signature is aligned with From, whether
links are of the sender's own domain, what is asked of bulk senders.

Which domains send is known from the settings alone: [[dkim]], [[grants]], [[rules]], [[users]], [[upstreams]], the upstream's login.
What is only known of the mail itself (its reverse-path, how much there is) is not guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from relay import config
from relay.check import Finding, names, ok, unknown, warning
from relay.core import addresses, domains, networks, providers

MOST = 5  # domains that are looked at
INCLUDES = {providers.GOOGLE: "_spf.google.com", providers.MICROSOFT: "spf.protection.outlook.com"}
ONE_CLICK = frozenset({"list-unsubscribe", "list-unsubscribe-post"})


def senders(settings: config.Settings) -> list[str]:
    """The domains of From addresses that the settings name."""
    found = dict.fromkeys(domain for domain in _senders(settings) if "." in domain and providers.of(domain) is None)
    return list(found)[:MOST]


def _senders(settings: config.Settings) -> Iterator[str]:
    yield from (entry.domain for entry in settings.dkim)
    globs = [glob for grant in settings.grants for glob in (*grant.addresses, grant.email)]
    globs += [rule.sender for rule in settings.rules]
    globs += [glob for user in settings.users for glob in user.senders]
    globs += [glob for up in settings.upstreams for glob in up.senders]
    if settings.upstream.url:
        globs.append(networks.server(settings.upstream.url).login)
    for glob in globs:
        domain = domains.of_address(glob)
        if not set(domain) & addresses.WILD and networks.NAME.fullmatch(domain):
            yield domain


async def look(settings: config.Settings, resolver: Any = None) -> list[Finding]:
    """`resolver` is a `dns.asyncresolver.Resolver`; the system's by default."""
    found = await asyncio.gather(*(_domain(settings, domain, resolver) for domain in senders(settings)))
    return [finding for findings in found for finding in findings] + bulk(settings)


async def _domain(settings: config.Settings, domain: str, resolver: Any) -> list[Finding]:
    what = f"domains.{domain}"
    try:
        spf, policy = await asyncio.gather(names.look_up(domain, "TXT", resolver), dmarc(domain, resolver))
    except names.Unknown as reason:
        return [unknown(what, f"its SPF and DMARC records can't be known here: {reason}"), *_links(settings, domain)]
    found = [*_spf(settings, what, domain, spf.found), *_dmarc(what, domain, policy), *_links(settings, domain)]
    if not found:
        p = tags(policy).get("p", "none")
        found = [ok(what, f"has SPF and DMARC (p={p}); {aligned(settings, domain)}; links stay below it")]
    return found


async def dmarc(domain: str, resolver: Any) -> str:
    """Its record, or that of the organisation's domain (RFC 7489 6.6.3); "" for none, or for several."""
    for at in dict.fromkeys((domain, domains.organisational(domain))):
        rows = [
            row for row in (await names.look_up(f"_dmarc.{at}", "TXT", resolver)).found if row.startswith("v=DMARC1")
        ]
        if rows:
            return rows[0] if len(rows) == 1 else ""
    return ""


def tags(record: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _spf(settings: config.Settings, what: str, domain: str, rows: tuple[str, ...]) -> list[Finding]:
    records = [row.lower() for row in rows if row.lower().split(" ")[0] == "v=spf1"]
    if not records:
        return [warning(what, f"has no SPF record: publish a TXT record at {domain} with what your upstream names, such as "
                        f'"v=spf1 include:… ~all"')]  # fmt: skip
    if len(records) > 1:
        return [warning(what, f"has {len(records)} SPF records, which count as none (RFC 7208 4.5): make them one")]
    if any(word in ("+all", "all") for word in records[0].split()):
        return [warning(what, "has an SPF record that lets the whole world send (+all): end it with ~all or -all")]
    host = networks.server(settings.upstream.url).host if settings.upstream.url else ""
    provider = providers.of(host)
    wanted = INCLUDES.get(provider) if provider else None
    if (
        provider
        and wanted
        and f"include:{wanted}" not in records[0]
        and not any(w in records[0] for w in ("include:", "redirect="))
    ):
        return [warning(what, f"has an SPF record without {provider.name}, the upstream: add include:{wanted}")]
    return []


def _dmarc(what: str, domain: str, record: str) -> list[Finding]:
    if not record:
        at = domains.organisational(domain)
        return [warning(what, f"has no DMARC record, which Gmail and Yahoo want of who sends much: publish a TXT record at _dmarc.{at}: "
                        '"v=DMARC1; p=none"')]  # fmt: skip
    if tags(record).get("p", "").lower() not in ("none", "quarantine", "reject"):
        return [
            warning(
                what, "has a DMARC record without a policy that is one: p is none, quarantine or reject (RFC 7489 6.3)"
            )
        ]
    return []


def aligned(settings: config.Settings, domain: str) -> str:
    """By whose signature mail From there passes DMARC (RFC 7489 3.1.1)."""
    ours = {domains.organisational(entry.domain) for entry in settings.dkim}
    if domains.organisational(domain) in ours:
        return "our signature is aligned with From"
    host = networks.server(settings.upstream.url).host if settings.upstream.url else ""
    return f"its signature is {providers.name(host) or 'the upstream'}'s to make"


def _links(settings: config.Settings, domain: str) -> list[Finding]:
    hosts = [domains.of_url(url) for url in (settings.tracking.url, *settings.tracking.domains) if url]
    hosts = [host for host in hosts if "." in host and networks.numeric(host) is None]
    if not hosts or domains.organisational(domain) in map(domains.organisational, hosts):
        return []
    return [warning(f"domains.{domain}", f"links lead to {hosts[0]} while mail is From {domain}: filters trust mail more whose links are of its "
                    f"own domain. A tracking host below {domain} (tracking.domains, chosen by X-Track-Domain) mends it")]  # fmt: skip


def bulk(settings: config.Settings) -> list[Finding]:
    """What Gmail and Yahoo ask of who sends 5,000 a day."""
    found = []
    for entry in settings.dkim:
        if left := ONE_CLICK & {name.lower() for name in entry.unsigned_headers}:
            found.append(warning("bulk", f"dkim.{entry.domain} leaves {' and '.join(sorted(left))} unsigned, and so nobody is unsubscribed by one "
                                 "click (RFC 8058 3.1): take it out of unsigned_headers"))  # fmt: skip
    if not found and senders(settings):
        found = [ok("bulk", "who sends 5,000 and more a day needs List-Unsubscribe and List-Unsubscribe-Post (RFC 8058) in what is no answer to "
                    "a person: your program writes them, and neither they nor their URL are changed here")]  # fmt: skip
    return found
