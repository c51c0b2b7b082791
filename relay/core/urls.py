"""What of a URL may be remembered, or shown to people: never what lets in whoever has it.

Owns: `place` (scheme and host) for records, `shown` for lists and logs, `masked` for who made it, `redacted` for texts of
others; `plain`, the one spelling of a path. Leaves to others:
which URLs let in whoever has them (`capabilities`), and every URL that is called or linked to.
"""

from __future__ import annotations

import re

HIDDEN = "…"
URL = re.compile(
    r"[\x00-\x20]*([A-Za-z][A-Za-z0-9+.-]{0,30}):(?://([^/?#\\\x00-\x20]*)([^?#\x00-\x20]*)(?:\?([^#]*))?)?"
)
HOST = re.compile(r"(?:[^\x00-\x20\"<>\\^`{|}/?#@:%\[\]]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")
WEB = re.compile(r"https?://[^\s'\"<>]+", re.I)


UNRESERVED = re.compile(r"%(2[DEde]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])")


def plain(path: str) -> str:
    """The path with its unreserved characters as themselves, which is the same path (RFC 3986 6.2.2.2)."""
    return UNRESERVED.sub(lambda match: chr(int(match[1], 16)), path) if "%" in path else path


def place(url: str) -> str:
    """Scheme and host, in lower case: "https://example.com". Only "mailto:" where there is no host, or none that can be
    told from a login; "" where there is no scheme."""
    found = URL.match(url)
    if not found:
        return ""
    host = (found[2] or "").rpartition("@")[2]
    return f"{found[1]}://{host}".lower() if HOST.fullmatch(host) else f"{found[1].lower()}:"


def shown(url: str) -> str:
    """Scheme, host and path, and of the query the names; no login, no fragment. What is no such URL is hidden whole."""
    found = URL.match(url)
    if not found:
        return HIDDEN
    scheme, authority, path, query = found.groups("")
    _, login, host = authority.rpartition("@")
    if not HOST.fullmatch(host):
        return f"{scheme}:{HIDDEN}"
    pieces = [f"{piece.partition('=')[0]}={HIDDEN}" if "=" in piece else HIDDEN for piece in query.split("&")]
    return f"{scheme}://{HIDDEN + '@' if login else ''}{host}{path}" + (f"?{'&'.join(pieces)}" if query else "")


LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/?#]*@")


def masked(url: str) -> str:
    """As it was written, but for the login in it."""
    return LOGIN.sub(r"\1***@", url, count=1)


def redacted(text: str) -> str:
    """A text, such as a library's error, with the web addresses in it as they may be shown."""
    return WEB.sub(lambda match: shown(match[0]), text)
