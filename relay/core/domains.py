"""Domains: the one spelling that two names of the same domain have in common.

Owns: that spelling, of a domain and of the host in a URL. It is what DNS is asked for: A-labels (RFC 5891) by UTS 46,
non-transitional, so that "faß" and "fass" are two domains as they are in DNS; lower case; no trailing dot.
Leaves to others: whether there is such a domain, and which ones are compared.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

LONGEST = 253  # characters (RFC 1035 2.3.4): beyond, it is no domain, and reading labels would not be linear
# The authority of a URL (RFC 3986 3.2): what is before the host, the host, the port.
AUTHORITY = re.compile(r"([^/?#\\]*@)?(\[[^\]/?#\\]*\]|[^:/?#\\@]*)(:[0-9]*)?")
NO_LABEL = re.compile(r"[\x00-,/:-@\[-^`{-\x7f]")  # ASCII other than letters, digits, hyphen, underscore, dot
SHARED = frozenset({"onmicrosoft.com", "mail.onmicrosoft.com"})  # by organisations, and not on the list
END = ". \t\r\n\f\v\x1c\x1d\x1e\x1f"  # the last dot, and white space as `str.strip` has it
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def spelt(domain: str) -> str:
    """The one spelling. Never raises: a label that IDNA refuses (an emoji, say) gets the A-label that registries gave such
    names before; what is too long for a domain stays as it is, in lower case."""
    domain = domain.strip().rstrip(END)
    if domain.isascii() or len(domain) > LONGEST:
        return domain.lower()
    return _international(domain)


@lru_cache(maxsize=1024)
def _international(domain: str) -> str:
    import idna  # here: few names need it

    try:
        mapped = idna.uts46_remap(domain, std3_rules=False, transitional=False)
    except idna.IDNAError:
        mapped = domain
    if NO_LABEL.search(mapped):  # compatibility mappings make an "@" or a "/" of what looks like one
        mapped = domain
    return ".".join(map(_label, mapped.lower().split("."))).rstrip(END)


def _label(label: str) -> str:
    import idna

    if label.isascii():  # also with an underscore, which IDNA has no opinion about
        return label
    try:
        return idna.alabel(label).decode("ascii")
    except idna.IDNAError:
        return "xn--" + label.encode("punycode").decode("ascii")


def of_host(text: str) -> str:
    """The spelling of a host as it stands in a URL, where it may be percent-encoded (RFC 3986 3.2.2)."""
    return spelt(unquote(text) if "%" in text else text)


def of_url(text: str) -> str:
    """The host of a URL, or of a bare host name, in its one spelling; "" where there is none. Never raises."""
    text = text.strip()
    try:
        return of_host(urlsplit(text if "://" in text else f"//{text}").hostname or "")
    except ValueError:
        return ""


def of_address(address: str) -> str:
    """The domain of an addr-spec, in its one spelling; "" where it has none."""
    return spelt(address.rpartition("@")[2]) if "@" in address else ""


def organisational(domain: str) -> str:
    """The organisation's part of a domain, by the Public Suffix List: that of mail.example.co.uk is example.co.uk. All of
    what is no part of anybody's."""
    domain = spelt(domain)
    if domain in SHARED or len(domain) > LONGEST or NO_LABEL.search(domain):
        return domain
    found: str | None = _suffixes().privatesuffix(domain)
    return domain if found is None or found in SHARED else found


@lru_cache(maxsize=1)
def _suffixes() -> Any:
    from publicsuffixlist import PublicSuffixList  # reading it takes 100 ms, and few addresses need it

    return PublicSuffixList()


def respelt(url: str) -> str:
    """The URL with its host in the one spelling, and nothing else changed."""
    scheme = SCHEME.match(url)
    found = AUTHORITY.match(url, scheme.end() if scheme else 0)
    if not scheme or not found or found[2].startswith("["):
        return url
    return url[: found.start(2)] + of_host(found[2]) + url[found.end(2) :]
