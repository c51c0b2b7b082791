"""A request as this server looks at it, whichever way it was read.

Owns: what of a request is looked at (`Head`), and reading its bytes where they have the form that browsers and mail programs
send: one whole GET over HTTP/1.1, in ASCII, without a body, on a connection that stays open: first its line, then the
header section. Leaves to others: all other requests (aiohttp), what a request asks for (`public`).

What is read here, aiohttp would read alike (RFC 9112): what has anything unusual about it is nothing (None), not an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from relay.core import classify

LONGEST = 8_000  # octets of a request
FORWARDED = "x-forwarded-for"
FIELDS = frozenset(("user-agent", "referer", FORWARDED, *classify.LOOKED_AT))
# What may mean that something follows the header section, or that something else than a plain answer is wanted.
OTHERWISE = frozenset(("content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer", "http2-settings"))
CONNECTION, HOST = "connection", "host"
NAMES = FIELDS | OTHERWISE | {CONNECTION, HOST}
ANY_PATH = r"/[!\"$->@-~]*+"
SECTION = re.compile(rb"((?>(?:[A-Za-z0-9-]++:[\t -~]*+\r\n){1,64}))\r\n")


class Head(NamedTuple):
    """`path` and `query` as they came; `fields` are those of FIELDS that it has, by their names in lower case; `peer` is the
    address that it came from."""

    method: str
    path: str
    query: str
    fields: Mapping[str, str]
    peer: str


def line(path: str) -> re.Pattern[bytes]:
    """Matches the request line of a path of this form, which is one of ANY_PATH's. What follows is the header section. The
    groups are those of `path`, and the query."""
    return re.compile(rb"GET %b(?:\?([!\"$-~]*+))? HTTP/1\.1\r\n" % path.encode("ascii"))


def fields(section: bytes) -> Mapping[str, str] | None:
    """Those of FIELDS in this header section, up to its end and no more."""
    found = SECTION.fullmatch(section)
    if found is None:
        return None
    given: dict[str, str] = {}
    for field in found[1].decode("ascii").split("\r\n"):
        name, _, value = field.partition(":")
        name = name.lower()
        if name not in NAMES:
            continue
        value = value.strip(" \t")
        if name == CONNECTION:
            if value.lower() != "keep-alive":
                return None
        elif name in OTHERWISE or name in given:
            return None
        else:
            given[name] = value
    return given if given.pop(HOST, None) is not None else None
