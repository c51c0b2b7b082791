"""The kill-switch: which links lead nowhere any more, because the operator said so.

Owns: what may be blocked (a URL, a host, a message), the spelling in which blocks are kept and compared, and the
question itself. Leaves to others: where blocks are kept (`relay.blocklist`), what somebody who clicks sees
(`tracking_http.public`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from relay.core import domains
from relay.core.model import Value

Kind = Literal["url", "host", "message"]

MESSAGE = re.compile(r"[0-9a-v]{20}")  # a message id of ours
NO_HOST = re.compile(r"[/?#@<>\\\s]")
HOST = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*|\[[0-9a-f:.]+\]")
# The scheme of a URL that a link may have, its authority, path, query (RFC 3986 3). Browsers read "\" as "/".
WEB = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.I | re.S)
OTHER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.+", re.S)
PORTS = {"http": ":80", "https": ":443"}
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Block(Value, frozen=True):
    """`value` is in the one spelling of its kind. A blocked host blocks those below it too. A blocked URL without a
    query blocks itself with any query. `since` is in Unix seconds; `named` is how a message was named, if by its
    Message-ID."""

    kind: Kind
    value: str
    since: float = 0.0
    named: str = ""


def read(text: str) -> Block | None:
    """What is to be blocked: a URL (it has a scheme), a message id of ours, else a host. None for anything else, among
    it a Message-ID, which only the store can translate."""
    text = text.strip()
    if OTHER.fullmatch(text) and not re.fullmatch(r"[^:/]+:[0-9]+", text):
        url = spelt(text)
        return Block("url", url) if url else None
    if MESSAGE.fullmatch(text):
        return Block("message", text)
    if NO_HOST.search(text):
        return None
    host = domains.of_url(text)
    return Block("host", host) if HOST.fullmatch(host) or ":" in host else None


def spelt(url: str) -> str:
    """The URL in one spelling: scheme and host in lower case and IDNA, no login, no default port, no fragment, nothing
    escaped that need not be (RFC 3986 6.2.2). "" for one without a host that should have one."""
    found = WEB.fullmatch(url.strip().replace("\\", "/"))
    if not found:
        return url.strip()
    scheme, authority, path, query = found.groups("")
    scheme = scheme.lower()
    host = domains.of_url(authority.rpartition("@")[2])
    if not host:
        return ""
    port = re.search(r":[0-9]+\Z", authority)
    shown = "" if port is None or port[0] == PORTS[scheme] else port[0]
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}{shown}{_unescaped(path) or '/'}{_unescaped(query)}"


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in UNRESERVED else match[0].upper()

    return ESCAPE.sub(plain, text)


class Blocks:
    """All that is blocked. Asking costs nothing while that is nothing."""

    __slots__ = ("_hosts", "_messages", "_urls", "all")

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.all = tuple(blocks)
        self._urls = frozenset(b.value for b in self.all if b.kind == "url")
        self._hosts = frozenset(b.value for b in self.all if b.kind == "host")
        self._messages = frozenset(b.value for b in self.all if b.kind == "message")

    def stop(self, message_id: str, url: str) -> bool:
        """Does this link of this message lead nowhere?"""
        if not self.all:
            return False
        if message_id in self._messages:
            return True
        if self._urls:
            whole = spelt(url)
            if whole in self._urls or whole.partition("?")[0] in self._urls:
                return True
        return bool(self._hosts) and any(name in self._hosts for name in _above(_host(url)))


def _host(url: str) -> str:
    found = WEB.fullmatch(url.replace("\\", "/"))
    return domains.of_url(found[2].rpartition("@")[2]) if found else ""


def _above(host: str) -> Iterable[str]:
    """The host, and each domain that it is below."""
    while host:
        yield host
        host = host.partition(".")[2]
