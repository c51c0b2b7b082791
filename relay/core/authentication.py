"""What the receiving server says of a message's author: Authentication-Results (RFC 8601).

Owns: reading that field, and which one is believed. Leaves to others: what follows from it, and checking anything anew.

Anybody can write such a field into a message. Only the server that received it is believed, by its authserv-id, and only
its first field: a server puts its own above those that came with the message, and is to remove those that bear its name
(5). Encoded words, comments and quoted strings are never read as results.
For any bytes; time is linear in the length, and bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from relay.core.headers import Headers

MAX_FIELDS = 20  # of a message that are looked at; a server's own stands at its top
LONGEST = 8_192  # characters of one that are read
METHODS = ("dmarc", "spf", "dkim")
PIECE = re.compile(r"\\.|[()\";\\]|[^()\";\\]+", re.S)
# What stands before the first semicolon: the server's identifier, and perhaps the version.
SERVER = re.compile(r"\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\"=]+))(?:\s+(\d+))?\s*")
RESULT = re.compile(r"\s*([a-z0-9-]+)\s*(?:/\s*\d+\s*)?=\s*([a-z]{1,20})(?![^\s])", re.I)


def results(head: Headers, authserv_id: str) -> dict[str, str]:
    """The results of DMARC, SPF and DKIM, those of them that are there, in lower case: {"dmarc": "pass"}. Of several
    signatures one that passes is enough; of several others the one that does not pass is told."""
    for field in head.all("authentication-results")[:MAX_FIELDS]:
        first, *rest = pieces(head.undecoded(field)[:LONGEST])
        server = SERVER.fullmatch(first)
        if server is None or (server[1] or server[2] or "").lower() != authserv_id.lower():
            continue
        if server[3] not in (None, "1"):  # a version that is not known
            return {}
        return told(rest)
    return {}


def told(statements: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for statement in statements:
        if match := RESULT.match(statement):
            found.setdefault(match[1].lower(), []).append(match[2].lower())
    return {method: one(method, found) for method in METHODS if method in found}


def one(method: str, found: Mapping[str, list[str]]) -> str:
    several = found[method]
    if method == "dkim":
        return "pass" if "pass" in several else several[0]
    return next((result for result in several if result != "pass"), "pass")


def pieces(text: str) -> list[str]:
    """The text between semicolons, with a space for each comment (RFC 5322 3.2.2) and quoted strings as they stand. What
    never ends takes all that follows."""
    found: list[list[str]] = [[]]
    depth, quoted = 0, False
    for match in PIECE.finditer(text):
        piece = match[0]
        if quoted:
            quoted = piece != '"'
        elif depth:
            depth += (piece == "(") - (piece == ")")
            if not depth:
                found[-1].append(" ")
            continue
        elif piece == "(":
            depth = 1
            continue
        elif piece == ";":
            found.append([])
            continue
        else:
            quoted = piece == '"'
        found[-1].append(piece)
    return ["".join(words) for words in found]
