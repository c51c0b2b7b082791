"""Character references in attribute values, read once and written once (HTML 13.2.5.72 to 13.2.5.80)."""

from __future__ import annotations

import html
import re
from html.entities import html5

REFERENCE = re.compile(r"&(?:#[0-9]++;?|#[xX][0-9A-Fa-f]++;?|[A-Za-z][A-Za-z0-9]*+;?)")


def attribute(value: str) -> str:
    """The value that an attribute's source text means. Unlike in text, a name without its semicolon is no reference
    where a letter, a digit or "=" follows: `?a=1&copy=2` has a parameter "copy"."""
    if "&" not in value:
        return value
    if value.count("&") == value.count("&amp;"):
        return value.replace("&amp;", "&")

    def meant(match: re.Match[str]) -> str:
        text = match[0]
        if text[1] == "#":
            return html.unescape(text)
        name = text[1:]
        if not name.endswith(";") and value[match.end() : match.end() + 1] == "=":
            return text
        return html5.get(name, text)

    return REFERENCE.sub(meant, value)


def escaped(value: str) -> str:
    """Text for an attribute value in quotes of either kind."""
    if "&" in value or "<" in value or ">" in value or '"' in value or "'" in value:
        return html.escape(value, quote=True)
    return value
