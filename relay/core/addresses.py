"""Mail addresses: the mailboxes in an address field, whose message it is, and when two addresses are the same.

Owns: reading address lists (RFC 5322 3.4, with comments, quoted strings, groups and the obsolete forms of 4.4; RFC 6532),
the author of a message, the comparison of addresses with each other and with patterns.
Leaves to others: domains (`domains`), envelope paths (`paths`), what follows from who the author is.

A field is read on its octets as they stand: structure first, encoded words afterwards (RFC 2047 6.2), else the name
`=?utf-8?q?info=40other.test=2C?=` would make its own author. Kinder than the grammar where only one reading is left:
what opens and never closes is a character of a name; of several things in angle brackets the first address counts; an
encoded word may hold raw commas and the like; semicolons divide too. For any text; time is linear in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Literal, NamedTuple

from relay.core import domains, encoded_words
from relay.core.headers import LONGEST_VALUE, Field, Headers

# Of an atom in a local part: all but white space, controls and specials; dots may stand anywhere. A domain has less.
_ATOM = r"[^\s\x00-\x1f\x7f-\x9f()<>\[\]:;,@\\\"]"
_DOMAIN = r"[^\s\x00-,/:-@\[-^`{-\x9f]"
SPEC = re.compile(
    rf"(?>(?:{_ATOM}++|\"(?>(?:[^\"\\]|\\.)*)\")+)@(?:{_DOMAIN}++|\[[^\[\]\\<>\s]*+\])", re.S
)  # fmt: skip
# A mailbox as nearly all are written, and the comma or the end after it: an address in ASCII, alone or in angle brackets
# after a name in which nothing needs thought. A list of such is read without looking at each piece.
_PLAIN = rb"[!#-'*+\-./0-9=A-Z^_`a-z{|}~]++@[\-.0-9A-Z_a-z]++"
ITEM = re.compile(
    rb"[ \t\r\n]*+(?:(%b)|(?:\"[^\"\\]*+\"[ \t\r\n]*+)?[^,:;\"()<>\[\]]*+<(%b)>)[ \t\r\n]*+(?:,|\Z)" % (_PLAIN, _PLAIN)
)
# A piece of an address list: a mark, or an encoded word, a domain literal, or what is between.
TOKEN = re.compile(r"([\"(<>,;:])|=\?[^?\s<>]++\?[bBqQ]\?[^?<>]*+\?=|\[[^\[\]\\<>]*+\]|[^\"(<>,;:\[=]++|[\[=]", re.S)
QUOTED = re.compile(r"(?>(?:[^\"\\]|\\.)*)\"", re.S)  # from behind the first quote on
IN_COMMENT = re.compile(r"[^()\\]++|\\.|[()\\]", re.S)
ESCAPED = re.compile(r"\\(.)", re.S)
# White space beside a dot or an "@" means nothing (RFC 5322 4.4); within quotes it does.
SPACED = re.compile(r"(\"(?>(?:[^\"\\]|\\.)*)\"?)|(\s++)|([.@])|([^\s.@\"]++)", re.S)
WILD = frozenset("*?")
WILDCARD = re.compile(r"[*?]")
ALIASES = {"googlemail.com": "gmail.com"}  # domains with the same mailboxes

Doubt = Literal["", "missing", "several_fields", "no_address"]


class Mailbox(NamedTuple):
    """The display name, decoded, "" where there is none; and the addr-spec as it was written."""

    name: str
    address: str


class Author(NamedTuple):
    """The first address in From, "" where there is none. `doubt` says why it may not be whose message it is: there is no
    From, there are several, or the field holds no address."""

    address: str
    doubt: Doubt


def author(head: Headers) -> Author:
    """Whose message it is. Never raises."""
    field = head.named.get("from")
    if field is None:
        return Author("", "missing")
    match = ITEM.match(head.raw, field.value, field.end)
    if match:
        address = (match[1] or match[2]).decode("ascii")
    else:
        address = next((mailbox.address for mailbox in mailboxes(head.undecoded(field))), "")
    if len(head.named) != len(head.fields) and len(fields := head.all("from")) > 1:
        return Author(address or next((a for f in fields for a in _of(head, f)), ""), "several_fields")
    return tuple.__new__(Author, (address, "" if address else "no_address"))


def listed(head: Headers, name: str) -> tuple[str, ...]:
    """The addresses in all fields of that name, in order."""
    first = head.named.get(name)
    if first is None:
        return ()
    if len(head.named) == len(head.fields):  # no name is there twice
        return tuple(_of(head, first))
    return tuple([address for field in head.all(name) for address in _of(head, field)])


def _of(head: Headers, field: Field) -> Sequence[str]:
    raw, at, end, found = head.raw, field.value, min(field.end, field.value + LONGEST_VALUE), []
    while at < end:
        match = ITEM.match(raw, at, end)
        if not match:
            return specs(head.undecoded(field))
        found.append((match[1] or match[2]).decode("ascii"))
        at = match.end()
    return found


def specs(text: str) -> tuple[str, ...]:
    """The addresses in the text of an address list, undecoded, in order."""
    return tuple([mailbox.address for mailbox in mailboxes(text)])


def mailboxes(text: str) -> tuple[Mailbox, ...]:
    """The mailboxes in the text of an address list, undecoded, in order; those of groups among them."""
    return tuple(_Reading(text).found)


class _Reading:
    """One address list, read. `words` are the pieces before an angle bracket, `inside` those within it, or None."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[Mailbox] = []
        self.words: list[str] = []
        self.inside: list[str] | None = None
        self.angle = ""
        self.closes = {'"': True, "(": True}  # false once one of them opened and never closed
        at = 0
        while match := TOKEN.match(text, at):
            at = self._take(match)
        self._bracket()
        self._end()

    def _take(self, match: re.Match[str]) -> int:
        """Takes a piece, and says where the next one begins."""
        mark, at = match[1], match.end()
        if mark == '"':
            return self._quoted(at)
        if mark == "(":
            return self._comment(at)
        if mark:
            self._mark(mark)
        else:
            self._add(match[0])
        return at

    def _add(self, piece: str) -> None:
        (self.words if self.inside is None else self.inside).append(piece)

    def _quoted(self, at: int) -> int:
        match = QUOTED.match(self.text, at) if self.closes['"'] else None
        if match is None:
            self.closes['"'] = False
            self._add('"')
            return at
        self._add(f'"{match[0]}')
        return match.end()

    def _comment(self, at: int) -> int:
        """Steps over a comment, which may hold others."""
        depth = 1
        if self.closes["("]:
            for match in IN_COMMENT.finditer(self.text, at):
                depth += (match[0] == "(") - (match[0] == ")")
                if not depth:
                    self._add(" ")
                    return match.end()
        self.closes["("] = False
        self._add("(")
        return at

    def _mark(self, mark: str) -> None:
        if mark == "<":
            self.inside = []
        elif mark == ">":
            self._bracket()
        elif self.inside is not None and mark == ":":  # after a route (RFC 5322 4.4), or a scheme
            self.inside.clear()
        elif self.inside is not None and mark == "," and self.inside and self.inside[0].lstrip().startswith("@"):
            self.inside.append(mark)
        elif mark == ":" and not self.angle:  # the name of a group
            self.words.clear()
        else:
            self._bracket()
            self._end()

    def _bracket(self) -> None:
        """What was in angle brackets, if it is an address and the first."""
        if self.inside is not None and not self.angle:
            self.angle = _spec("".join(self.inside))
        self.inside = None

    def _end(self) -> None:
        if self.angle:
            self.found.append(Mailbox(_name(self.words), self.angle))
        elif spec := _spec("".join(self.words)):
            self.found.append(Mailbox("", spec))
        self.words, self.angle = [], ""


def _spec(text: str) -> str:
    """The addr-spec that the text is, or ""."""
    text = text.strip()
    if "@" not in text:
        return ""
    if not SPEC.fullmatch(text):
        text = _tight(text)
    return text if SPEC.fullmatch(text) else ""


def _tight(text: str) -> str:
    kept: list[str] = []
    space = ""
    for quoted, blank, mark, plain in SPACED.findall(text):
        if blank:
            space = " "
            continue
        if space and not mark and kept and kept[-1] not in (".", "@"):
            kept.append(space)
        kept.append(quoted or mark or plain)
        space = ""
    return "".join(kept)


def _name(words: list[str]) -> str:
    told = (ESCAPED.sub(r"\1", word[1:-1]) if len(word) > 1 and word[0] == '"' else word for word in words)
    return " ".join(encoded_words.decoded("".join(told)).split())


# -- the same address? -------------------------------------------------------------------------------------------------


def comparable(address: str) -> str:
    """The spelling that the same addresses share: without regard to case, the domain in its one spelling."""
    if address.isascii():
        return address.lower().rstrip(".")
    local, at, domain = address.rpartition("@")
    return f"{unicodedata.normalize('NFC', local).lower()}{at}{domains.spelt(domain)}"


def person(address: str) -> tuple[str, str]:
    """What the addresses of one person have in common, so far as an address shows it: the local part without what stands
    behind a plus, and the organisation's domain. The whole address where there is no local part left."""
    local, _, domain = comparable(address).rpartition("@")
    name = local.partition("+")[0]
    domain = ALIASES.get(domain, domain)
    return (name, domains.organisational(domain)) if name else (local, domain)


def pattern(glob: str) -> str:
    """A pattern for addresses, spelt as `comparable` spells what it is compared with. `*` stands for any characters, `?`
    for one. Raises ValueError where a label has one of them beside letters beyond ASCII: in the spelling of DNS a part of
    a label is no part of it any more."""
    if glob.isascii():
        return comparable(glob)
    local, at, domain = glob.rpartition("@")
    labels = domain.replace("\u3002", ".").split(".")
    if any(not label.isascii() and WILD & set(label) for label in labels):
        raise ValueError("a part of a domain can't have * or ? beside letters beyond ASCII")
    spelt = ".".join(label.lower() if label.isascii() else domains.spelt(label) for label in labels)
    return f"{unicodedata.normalize('NFC', local).lower()}{at}{spelt.rstrip('.')}"


def matches(address: str, globs: Iterable[str]) -> bool:
    """Whether one of these patterns is the address's."""
    spelt = comparable(address)
    return any(_matcher(glob)(spelt) for glob in globs)


def places(globs: Iterable[str]) -> list[str]:
    """Those of the patterns that say at which domains: `*@example.com`, `*.example.com`; not `*` or `*@*.com`, which are
    anybody's."""
    domains_of = ((glob, glob.rpartition("@")[2]) for glob in globs)
    return [
        glob for glob, domain in domains_of if not WILD & set(domain) or "." in WILDCARD.split(domain)[-1].strip(".")
    ]


@lru_cache(maxsize=1024)
def _matcher(glob: str) -> Callable[[str], object]:
    try:
        glob = pattern(glob)
    except ValueError:  # the configuration has none such
        return lambda address: None
    return re.compile(translate(glob.replace("[", "[[]"))).match
