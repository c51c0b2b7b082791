"""Is this URL tracked? If not, why not.

Owns: the reasons that are in the URL itself, the host that it names, what is added to it.
Leaves to others: what a placeholder is (`placeholders`), what lets somebody in (`capabilities`), finding links (`links`,
`links.plain`), how many of them are tracked (`rewrite`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote_plus, unquote, urljoin

from relay.core import capabilities, domains, urls
from relay.core.links import placeholders
from relay.core.model import Reason, Tracking

LONGEST = 2_000  # characters of the whole href: Outlook stops at 2,083
REMEMBERED = 2_000  # authorities, each as long as a name in the DNS can be

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+):")
# http(s) with two slashes and a host. Browsers read fewer or other slashes too; people don't write them.
AUTHORITY = re.compile(r"https?://([^/?#\\\s]++)(?=[/?#\\]|\Z)", re.I)
# A URL that needs no second look: no placeholder, white space, escape or fragment in it. Most are such.
PLAIN = re.compile(r"https?://([A-Za-z0-9._-]++(?::[0-9]++)?)(?:[/?][!$&-)+-;=?-Z^_a-z|~]*+)?")
HOST = re.compile(r"(?>(?:[^\x00-\x20\"<>\\^`{|}/?#@:%\[\]]|%[0-9A-Fa-f]{2})+)|\[[0-9A-Fa-f:.]++\]")
CONTROLS = "".join(map(chr, range(33)))  # URL 4.4: taken off either end
NEWLINES = {9: None, 10: None, 13: None}  # and these taken out

# How a link's visible text looks when it is an address: with a scheme, "www.", or a host with a path.
VISIBLE = re.compile(r"(?:https?://|www\.)\S++|(?>(?:[a-z0-9-]++\.)+)[a-z]{2,}+(?:/\S*+)?", re.I)


class Host(NamedTuple):
    """What an authority (RFC 3986 3.2) says about every URL that has it: a reason to leave them, the paths at which it
    is ours, whether a List-* field names it."""

    reason: Reason | None
    ours: tuple[str, ...]
    listed: bool


ANY = Host(None, (), False)  # a host that says nothing about its URLs


class Criteria(NamedTuple):
    """What decides, worked out once per message. `own` are (host, path) of our tracking hosts, in lower case and
    without the last slash; `listed` the URLs of List-* fields, normalised; `added` what is appended, as (name,
    name=value), encoded. `hosts` remembers what was found about an authority, over all messages without List-* fields;
    `lengths` the length of a tracked href by that of its URL. `web`: http and https are tracked, as they stand."""

    web: bool
    schemes: frozenset[str]
    added: tuple[tuple[str, str], ...]
    own: tuple[tuple[str, str], ...]
    listed: frozenset[str]
    capabilities: capabilities.Table
    skipped: frozenset[str]
    href_length: Callable[[str], int]
    lengths: dict[int, int]
    hosts: dict[str, Host]
    listed_hosts: frozenset[str]


def criteria(
    tracking: Tracking, own: Iterable[str], listed: Sequence[str], href_length: Callable[[str], int]
) -> Criteria:
    """The criteria of one message. `own`: base URLs of ours; `listed`: the URLs in its List-* fields."""
    t = tracking
    appended = tuple(t.append.items()) if t.append else ()
    f = _fixed(t.schemes, appended, tuple(own), t.credential_params, t.skip_hosts)
    if not listed:
        return f._replace(href_length=href_length, lengths={})
    known = frozenset(map(normal, listed))
    hosts = frozenset([_spelt(match[1]) for url in known if (match := AUTHORITY.match(url))])
    return Criteria(f.web, f.schemes, f.added, f.own, known, f.capabilities, f.skipped, href_length, {}, {}, hosts)


@lru_cache(maxsize=64)
def _fixed(
    schemes: tuple[str, ...],
    append: tuple[tuple[str, str], ...],
    own: tuple[str, ...],
    changes: tuple[str, ...],
    skipped: tuple[str, ...],
) -> Criteria:
    """What no message changes: an operator has a handful of these."""
    added = tuple((quote_plus(n), f"{quote_plus(n)}={quote_plus(v)}") for n, v in append)
    return Criteria(
        not added and {"http", "https"} <= set(schemes),
        frozenset(schemes),
        added,
        tuple(_place(base) for base in own if base),
        frozenset(),
        capabilities.Table(changes),
        frozenset(map(domains.spelt, skipped)),
        len,
        {},
        {},
        frozenset(),
    )


def judge(value: str, base: str, criteria: Criteria) -> tuple[str, Reason | None, int]:
    """The URL that a link value means, the reason to leave it, or None, and how long its tracked href gets at most.
    Where it is tracked, the URL has what the settings append. `base` is the document's base URL, or "". Never
    raises."""
    if criteria.web and (match := PLAIN.fullmatch(value)) and criteria.hosts.get(match[1]) is ANY:
        if criteria.capabilities.within(value, match.end(1)):
            return value, "credentials", 0
        length = criteria.lengths.get(len(value))  # of ASCII, only that matters
        if length is None:
            length = criteria.lengths[len(value)] = criteria.href_length(value)
        return value, (None if length <= LONGEST else "limit_url"), length
    if placeholders.within(value):
        return value, "placeholder", 0
    url = value.strip(CONTROLS)
    if "\n" in url or "\r" in url or "\t" in url:
        url = url.translate(NEWLINES)
    match = SCHEME.match(url)
    if not match:
        url, match = _absolute(url, base)
        if not match:
            return url, "relative", 0
    scheme = match[1].lower()
    if scheme not in criteria.schemes:
        return url, "scheme", 0
    if scheme in ("http", "https"):
        return _measured(url, _web(url, criteria), criteria)
    if criteria.listed and normal(url) in criteria.listed:
        return url, "unsubscribe", 0
    reason: Reason | None = "credentials" if criteria.capabilities.within(url, match.end()) else None
    return _measured(url, reason, criteria, web=False)


def _measured(url: str, reason: Reason | None, criteria: Criteria, web: bool = True) -> tuple[str, Reason | None, int]:
    """The verdict; where it is to track, with what is appended, and only if the tracked href is short enough."""
    if reason is not None:
        return url, reason, 0
    if web and criteria.added:
        url = appended(url, criteria.added)
    length = criteria.href_length(url) if len(url) <= LONGEST else len(url)
    return url, ("limit_url" if length > LONGEST else None), length


def _absolute(url: str, base: str) -> tuple[str, re.Match[str] | None]:
    """A relative reference made whole: by <base href>, or https where only the scheme is missing. A base that is longer
    than a URL may be makes none: it would be read anew for each."""
    if not url or url.startswith("#"):
        return url, None
    if url.startswith("//"):
        whole = f"{'http' if base[:5].lower() == 'http:' else 'https'}:{url}"
    elif len(base) <= LONGEST and AUTHORITY.match(base):
        try:
            whole = urljoin(base, url)
        except ValueError:
            return url, None
    else:
        return url, None
    return whole, SCHEME.match(whole)


def _web(url: str, criteria: Criteria) -> Reason | None:
    match = AUTHORITY.match(url)
    if not match:
        return "scheme"
    known = _known(match[1], criteria)
    if known.ours:
        after = match.end()
        for path in known.ours:
            if url.startswith(path, after) and url[after + len(path) : after + len(path) + 1] in ("", "/", "?", "#"):
                return "own_link"
    if known.listed and normal(url) in criteria.listed:
        return "unsubscribe"
    return known.reason or ("credentials" if criteria.capabilities.within(url, match.end()) else None)


def path_of_ours(url: str, criteria: Criteria) -> str:
    """The path of a URL below that of a tracking host, without query and fragment; "" for a URL that leads elsewhere."""
    url = url.strip(CONTROLS)
    if match := AUTHORITY.match(f"https:{url}" if url.startswith("//") else url):
        path = urls.plain(re.split("[?#]", match.string[match.end() :], maxsplit=1)[0])
        for ours in _known(match[1], criteria).ours:
            if path.startswith(f"{ours}/"):
                return path[len(ours) :]
    return ""


def _known(authority: str, criteria: Criteria) -> Host:
    known = criteria.hosts.get(authority)
    if known is None:
        known = _host(authority, criteria)
        if known.reason != "credentials" and len(authority) <= 253:
            if len(criteria.hosts) >= REMEMBERED:
                criteria.hosts.clear()
            criteria.hosts[authority] = known
    return known


def _host(authority: str, criteria: Criteria) -> Host:
    spelt = _spelt(authority)
    listed = spelt in criteria.listed_hosts
    if "@" in authority:
        return Host("credentials", (), listed)
    host, colon, port = spelt.rpartition(":")
    if not colon or spelt.endswith("]") or (port and not port.isdecimal()):
        host, port = spelt, ""
    if not HOST.fullmatch(host):
        return Host("scheme", (), listed)
    place = _portless(f"{host}:{port}" if port else host)
    reason: Reason | None = "host_excluded" if host in criteria.skipped else None
    known = Host(reason, tuple(path for ours, path in criteria.own if ours == place), listed)
    return ANY if known == ANY else known


def _place(base: str) -> tuple[str, str]:
    """(host with its port unless it is the scheme's own, path without its last slash) of a base URL."""
    rest = base.partition("://")[2] or base
    host, slash, path = rest.partition("/")
    return _portless(_spelt(host)), (slash + path).rstrip("/")


def _spelt(authority: str) -> str:
    """An authority with its host in the one spelling."""
    lower = authority.lower()
    if lower.isascii() and "%" not in lower and ".:" not in lower and not lower.endswith("."):
        return lower  # as nearly all are
    return domains.respelt(f"https://{lower}").removeprefix("https://")


def _portless(host: str) -> str:
    return host.removesuffix(":443").removesuffix(":80")


def normal(url: str) -> str:
    """A URL for comparison: scheme in lower case, host in its one spelling, escapes decoded, no fragment, no last slash."""
    url = url.strip().partition("#")[0]
    match = AUTHORITY.match(url)
    if match:
        url = domains.respelt(url[: match.end()]).lower() + url[match.end() :]
    return "".join(unquote(url).split()).rstrip("/")


def appended(url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """`url` with query parameters, given as (name, name=value), encoded, added before its fragment. What is there
    stays as it is, and wins."""
    front, mark, fragment = url.partition("#")
    _address, question, query = front.partition("?")
    there = {piece.partition("=")[0] for piece in query.replace(";", "&").split("&")} if query else ()
    added = "&".join([pair for name, pair in parameters if name not in there])
    if not added:
        return url
    joint = "?" if not question else ("" if not query or query.endswith("&") else "&")
    return f"{front}{joint}{added}{mark}{fragment}"


def looks_like_url(shown: str) -> bool:
    """Is a link's visible text an address?"""
    return len(shown) < 4_000 and VISIBLE.fullmatch(" ".join(shown.split())) is not None
