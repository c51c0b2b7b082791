"""Domains for people: in Unicode, where that can't be taken for another one.

Owns: which A-labels (RFC 5891) are shown as what they stand for, and where addresses in a text have theirs. Leaves to
others: the one spelling by which domains are compared and asked for (`domains`).

A label stays as it is where it mixes alphabets (UTS 39, "highly restrictive"), or looks like Latin letters throughout: a
domain that somebody registered to be taken for another is to look like what it is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from relay.core import domains

LONGEST = 253
IN_ADDRESS = re.compile(r"(?<=@)[A-Za-z0-9._-]{0,250}xn--[A-Za-z0-9._-]{1,250}", re.I)
COMMON = frozenset({"DIGIT", "HYPHEN-MINUS", "COMBINING", "MIDDLE", "ZERO"})
EAST = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"},
    {"LATIN", "CJK", "BOPOMOFO"},
    {"LATIN", "CJK", "HANGUL"},
)
# Letters of Cyrillic and of Greek that look like Latin ones.
ALIKE = frozenset(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b\u0455\u051d\u0445\u0443\u044a\u044c\u04bd\u043f\u0433\u0475\u0461\u03b1\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c9\u03b7"
)


def shown(domain: str) -> str:
    """The domain with its A-labels as Unicode, as far as they are what they look like. Never raises."""
    if len(domain) > LONGEST or "xn--" not in domain.lower():
        return domain
    return ".".join(map(_label, domain.split(".")))


def shown_in(text: str) -> str:
    """The text with the domains of its addresses as `shown` has them."""
    return IN_ADDRESS.sub(lambda found: shown(found[0]), text) if "xn--" in text.lower() else text


@lru_cache(maxsize=1024)
def _label(label: str) -> str:
    if not label.lower().startswith("xn--"):
        return label
    import idna  # here: few names need it

    try:
        told = idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label
    # There is only one spelling of a domain: what does not lead back is another.
    return told if domains.spelt(told) == label.lower() and _plain(told) else label


def _plain(label: str) -> bool:
    """Whether it is of one alphabet, and can't be read as another."""
    scripts = {unicodedata.name(each, "?").partition(" ")[0] for each in label} - COMMON
    if len(scripts) > 1 and not any(scripts <= together for together in EAST):
        return False
    return scripts <= {"LATIN"} or not all(each in ALIKE or each in "-0123456789" for each in label)
