"""Character references, read once and written once (HTML 13.2.5.72 to 13.2.5.80)."""

from __future__ import annotations

import html
import re
from html.entities import html5

REFERENCE = re.compile(r"&(?:#[0-9]++;?|#[xX][0-9A-Fa-f]++;?|[A-Za-z][A-Za-z0-9]*+;?)")
# More digits than any character's number has, zeros before it aside: no character (13.2.5.80), and the standard library
# raises where there are thousands.
BEYOND = re.compile(r"&#(?:0*+[1-9][0-9]{7,}+|[xX]0*+[1-9A-Fa-f][0-9A-Fa-f]{6,}+);?")
ZEROS = re.compile(r"(?<=&#)0{8,}+")


def text(source: str) -> str:
    """What a source text means, outside tags. Never raises."""
    if "&#" in source:
        source = ZEROS.sub("0", BEYOND.sub("\ufffd", source))
    return html.unescape(source)


def attribute(value: str) -> str:
    """The value that an attribute's source text means. Unlike in text, a name without its semicolon is no reference
    where a letter, a digit or "=" follows: `?a=1&copy=2` has a parameter "copy"."""
    if "&" not in value:
        return value
    if value.count("&") == value.count("&amp;"):
        return value.replace("&amp;", "&")

    def meant(match: re.Match[str]) -> str:
        reference = match[0]
        if reference[1] == "#":
            return text(reference)
        name = reference[1:]
        if not name.endswith(";") and value[match.end() : match.end() + 1] == "=":
            return reference
        return html5.get(name, reference)

    return REFERENCE.sub(meant, value)


def escaped(value: str) -> str:
    """Text for an attribute value in quotes of either kind."""
    if "&" in value or "<" in value or ">" in value or '"' in value or "'" in value:
        return html.escape(value, quote=True)
    return value
