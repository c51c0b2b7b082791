"""Is this URL tracked? If not, why not.

Owns: the reasons that are in the URL itself, the host that it names, what is added to it.
Leaves to others: finding links (`links`, `links.plain`) and how many of them are tracked (`rewrite`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote_plus, unquote, urljoin

from relay.core.model import Reason, Tracking

LONGEST = 2_000  # characters of the whole href: Outlook stops at 2,083

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+):")
# http(s) with two slashes and a host. Browsers read fewer or other slashes too; people don't write them.
AUTHORITY = re.compile(r"https?://([^/?#\\\s]++)", re.I)
HOST = re.compile(r"(?:[^\x00-\x20\"<>\\^`{|}/?#@:%\[\]]|%[0-9A-Fa-f]{2})++|\[[0-9A-Fa-f:.]++\]")
CONTROLS = "".join(map(chr, range(33)))  # URL 4.4: taken off either end
NEWLINES = {9: None, 10: None, 13: None}  # and these taken out
NAMES = re.compile(r"[?&;#]([^=&;#?]++)=")

# {{name}} {%tag%} ${name} <%name%> %%name%% *|NAME|* [[name]] %name%. The last is told from an escape by what follows
# its second sign: two hexadecimal digits make it an escape.
PLACEHOLDER = re.compile(
    r"\{\{|\}\}|\{%|%\}|\$\{|<%|%%|\*\||\|\*|\[\[|\]\]|##[A-Za-z_]++##|^\[[A-Za-z_ ]++\]$|^\{[A-Za-z_.]++\}$"
    r"|%[A-Za-z_][A-Za-z0-9_.:-]{2,}+%(?![0-9A-Fa-f]{2})"
)
# How a link's visible text looks when it is an address: with a scheme, "www.", or a host with a path.
VISIBLE = re.compile(r"(?:https?://|www\.)\S++|(?:[a-z0-9-]++\.)++[a-z]{2,}+(?:/\S*+)?", re.I)


class Rules(NamedTuple):
    """What decides, worked out once per message. `own` are (host, path) of our tracking hosts, in lower case and
    without the last slash; `listed` the URLs of List-* fields, normalised."""

    tracking: Tracking
    schemes: frozenset[str]
    own: tuple[tuple[str, str], ...]
    listed: frozenset[str]
    credentials: frozenset[str]
    skipped: frozenset[str]
    href_length: Callable[[str], int]


def rules(tracking: Tracking, own: Iterable[str], listed: Iterable[str], href_length: Callable[[str], int]) -> Rules:
    """The rules of one message. `own`: base URLs of ours; `listed`: the URLs in its List-* fields."""
    return Rules(
        tracking,
        frozenset(tracking.schemes),
        tuple(_place(base) for base in own if base),
        frozenset(normal(url) for url in listed),
        frozenset(name.lower() for name in tracking.credential_params),
        frozenset(host.lower().rstrip(".") for host in tracking.skip_hosts),
        href_length,
    )


def judge(value: str, base: str, rules: Rules) -> tuple[str, Reason | None]:
    """The URL that a link value means, and the reason to leave it, or None; where it is tracked, the URL has what the
    settings append. `base` is the document's base URL, or "". Never raises."""
    if PLACEHOLDER.search(value):
        return value, "placeholder"
    url = value.strip(CONTROLS)
    if "\n" in url or "\r" in url or "\t" in url:
        url = url.translate(NEWLINES)
    match = SCHEME.match(url)
    if not match:
        url, match = _absolute(url, base)
        if not match:
            return url, "relative"
    scheme = match[1].lower()
    if scheme not in rules.schemes:
        return url, "scheme"
    if scheme in ("http", "https"):
        reason = _web(url, rules)
        if reason is None and rules.tracking.append:
            url = appended(url, rules.tracking.append)
    else:
        reason = "unsubscribe" if rules.listed and normal(url) in rules.listed else None
    if reason is None and (len(url) > LONGEST or rules.href_length(url) > LONGEST):
        reason = "limit_url"
    return url, reason


def _absolute(url: str, base: str) -> tuple[str, re.Match[str] | None]:
    """A relative reference made whole: by <base href>, or https where only the scheme is missing."""
    if not url or url.startswith("#"):
        return url, None
    if url.startswith("//"):
        whole = f"{'http' if base.lower().startswith('http:') else 'https'}:{url}"
    elif AUTHORITY.match(base):
        try:
            whole = urljoin(base, url)
        except ValueError:
            return url, None
    else:
        return url, None
    return whole, SCHEME.match(whole)


def _web(url: str, rules: Rules) -> Reason | None:
    match = AUTHORITY.match(url)
    if not match:
        return "scheme"
    authority = match[1]
    if "@" in authority:
        return "credentials"
    host, _, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    if not host or not (port.isdecimal() or not port):
        host, port = authority, ""
    if not HOST.fullmatch(host):
        return "scheme"
    host = host.lower().rstrip(".")
    if rules.own and _is_own(host + (f":{port}" if port else ""), url, match.end(), rules.own):
        return "own_link"
    if rules.listed and normal(url) in rules.listed:
        return "unsubscribe"
    if host in rules.skipped:
        return "host_excluded"
    if rules.credentials and "=" in url:
        for name in NAMES.findall(url, match.end()):
            if (unquote(name) if "%" in name else name).lower() in rules.credentials:
                return "credentials"
    return None


def _place(base: str) -> tuple[str, str]:
    """(host with its port unless it is the scheme's own, path without its last slash) of a base URL."""
    rest = base.partition("://")[2] or base
    host, slash, path = rest.partition("/")
    return _portless(host.lower()), (slash + path).rstrip("/")


def _portless(host: str) -> str:
    return host.removesuffix(":443").removesuffix(":80")


def _is_own(host: str, url: str, after: int, own: tuple[tuple[str, str], ...]) -> bool:
    host = _portless(host)
    return any(
        host == ours and url.startswith(path, after) and url[after + len(path) : after + len(path) + 1] in ("", *"/?#")
        for ours, path in own
    )


def normal(url: str) -> str:
    """A URL for comparison: scheme and host in lower case, escapes decoded, no fragment, no last slash."""
    url = "".join(url.split()).partition("#")[0]
    match = AUTHORITY.match(url)
    if match:
        url = url[: match.end()].lower() + url[match.end() :]
    return unquote(url).rstrip("/")


def appended(url: str, parameters: Mapping[str, str]) -> str:
    """`url` with query parameters added before its fragment. What is there stays as it is, and wins."""
    front, mark, fragment = url.partition("#")
    _address, question, query = front.partition("?")
    there = {piece.partition("=")[0] for piece in query.replace(";", "&").split("&")}
    added = "&".join(
        f"{quote_plus(name)}={quote_plus(value)}" for name, value in parameters.items() if quote_plus(name) not in there
    )
    if not added:
        return url
    joint = "?" if not question else ("" if not query or query.endswith("&") else "&")
    return f"{front}{joint}{added}{mark}{fragment}"


def looks_like_url(shown: str) -> bool:
    """Is a link's visible text an address?"""
    return len(shown) < 4_000 and VISIBLE.fullmatch(" ".join(shown.split())) is not None
