"""Structured field values: Content-Type, Content-Disposition, Content-Transfer-Encoding, Auto-Submitted.

Owns: comments and folding white space (RFC 5322 3.2.2), the word that a field begins with, parameters (RFC 2045 5.1) with
their continuations and charsets (RFC 2231), and whether readers can disagree about what it says.
Leaves to others: where a field is (`headers`), and what its words mean (`parts`, `instructions`, `reports`).

For any text; time is linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from relay.core import charset_names

LONGEST = 16_384  # characters that are read; the parameters of a longer value are nobody's
SHORT = 200  # characters of a value that is remembered
NONE: Mapping[str, str] = {}

# RFC 2045 5.1: no space, control or tspecial. The value of nearly all mail is one word, and parameters that are tokens or
# quoted strings without a backslash.
_WORD = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]++"
_NAME = r"[!#$%&+\-.^_`{|}~0-9A-Za-z]++"  # without what makes it one of RFC 2231
PLAIN = re.compile(
    rf"({_WORD}(?:/{_WORD})?)((?>(?:[ \t]*+;[ \t]*+{_NAME}=(?:{_WORD}|\"[^\"\\\r\n]*+\"))*))[ \t]*+;?[ \t]*+"
)
PLAIN_PARAMETER = re.compile(rf";[ \t]*+({_NAME})=(?:({_WORD})|\"([^\"]*+)\")")
TOKEN = re.compile(_WORD)

_LEX = r"[ \t\r\n\f\v]++|(;)|%s|([^ \t\r\n\f\v;()\"]++)|(.)"
LEXEME = re.compile(_LEX % r"\"((?>[^\"\\]*+(?:\\.[^\"\\]*+)*))\"", re.S)
UNQUOTED = re.compile(_LEX % "((?!))", re.S)
INSIDE = re.compile(r"\\.|[()]", re.S)  # what counts in a comment
ESCAPED = re.compile(r"\\(.)", re.S)
NAMED = re.compile(r"[A-Za-z][A-Za-z0-9*-]*=")
SLASH = re.compile(r"(/)")
SECTION = re.compile(r"([^*]+)(?:\*(0|[1-9][0-9]{0,3}))?(\*)?")  # RFC 2231 7
EXTENDED = re.compile(r"([^']*)'[^']*'(.*)", re.S)
CONTRADICTING = frozenset({"boundary", "charset"})  # parameters that both forms of RFC 2231 must agree on


class Structured(NamedTuple):
    """`word` is what the value begins with, in lower case: `token/token`, `token`, or "" where there is none; of a broken
    value what most would take it for. `parameters` by their names in lower case, values decoded. `sound`: the word is
    all that stands before the first semicolon, and no two parameters contradict each other."""

    word: str
    parameters: Mapping[str, str]
    sound: bool


class Lexeme(NamedTuple):
    """A part of a value that is no comment and no white space: ";", "quoted" (`text` is its content), "atom" or "stray"
    (a parenthesis or quotation mark with nothing to match it)."""

    kind: str
    text: str
    start: int
    end: int


class Segment(NamedTuple):
    """Lexemes up to a semicolon, which stands at `end`."""

    lexemes: Sequence[Lexeme]
    end: int


def read(text: str) -> Structured:
    """A value as text: unfolded or not, encoded words as they stand."""
    return _read(text) if len(text) > SHORT else _remembered(text)


def of(value: bytes) -> Structured:
    """A value as it stands in a message, octets above 127 as Latin-1."""
    return _of(value) if len(value) > SHORT else _remembered_of(value)


def _of(value: bytes) -> Structured:
    text = value.decode("latin-1")
    if "\n" in text:
        text = text.replace("\r\n", "").replace("\n", "")
    return _read(text.strip(" \t\r\n"))


def _read(text: str) -> Structured:
    if match := PLAIN.fullmatch(text):
        plainly: dict[str, str] = {}
        sound = True
        if match[2]:
            for name, token, quoted in PLAIN_PARAMETER.findall(match[2]):
                value = token or quoted
                sound = _same(name.lower(), plainly.setdefault(name.lower(), value), value) and sound
        if len(text) <= LONGEST:
            return Structured(match[1].lower(), plainly, sound)
    if len(text) > LONGEST:
        return Structured(_word(_segments(text[:SHORT])[0].lexemes)[0], NONE, False)
    first, *others = _segments(text)
    word, sound, rest = _word(first.lexemes)  # where a semicolon is missing, parameters begin behind the word
    segments = (Segment(rest, first.end), *others)
    parameters, agreed = _parameters([pair for segment in segments for pair in _pairs(segment, text)])
    return Structured(word, parameters, sound and agreed)


_remembered = lru_cache(maxsize=512)(_read)  # most parts of most messages have one of a few types
_remembered_of = lru_cache(maxsize=512)(_of)


# -- lexemes -----------------------------------------------------------------------------------------------------------


def _segments(text: str) -> list[Segment]:
    """What stands between the semicolons; there is always a first segment."""
    segments: list[Segment] = []
    lexemes: list[Lexeme] = []
    at, comments, lexeme = 0, "(" in text, LEXEME.match
    while at < len(text):
        if comments and text[at] == "(":
            end = _comment_end(text, at)
            if end > 0:
                at = end
                continue
            comments = False  # nothing ends it, and so nothing ends what opens further on: it is looked for once
        match = lexeme(text, at)
        assert match is not None
        if match[4] == '"':
            lexeme = UNQUOTED.match  # likewise
        if match[1]:
            segments.append(Segment(lexemes, at))
            lexemes = []
        elif match.lastindex:
            group = match.lastindex
            kind = ("", "", "quoted", "atom", "stray")[group]
            found = ESCAPED.sub(r"\1", match[group]) if group == 2 and "\\" in match[group] else match[group]
            lexemes.append(Lexeme(kind, found, at, match.end()))
        at = match.end()
    return [*segments, Segment(lexemes, at)]


def _comment_end(text: str, at: int) -> int:
    """Behind the comment that begins at `at` (RFC 5322 3.2.2: they nest, and a backslash takes the next character's
    meaning), or -1."""
    depth = 0
    for match in INSIDE.finditer(text, at):
        mark = match[0]
        if mark == "(":
            depth += 1
        elif mark == ")":
            depth -= 1
            if not depth:
                return match.end()
    return -1


def _word(lexemes: Sequence[Lexeme]) -> tuple[str, bool, Sequence[Lexeme]]:
    """The word, whether it is all that stands there, and what follows it. White space and comments may stand on either
    side of the slash, as between all lexemes."""
    pieces = [(piece, n) for n, lexeme in enumerate(lexemes) for piece in SLASH.split(lexeme.text) if piece]
    first = TOKEN.match(pieces[0][0]) if pieces else None
    if first is None:
        return "", False, lexemes
    found, last = [first], 0
    if len(pieces) > 2 and pieces[1][0] == "/" and (second := TOKEN.match(pieces[2][0])):
        found, last = [first, second], 2
    whole = len(pieces) == last + 1 and all(lexeme.kind == "atom" for lexeme in lexemes)
    whole = whole and all(token.end() == len(token.string) for token in found)
    return "/".join([token[0] for token in found]).lower(), whole, lexemes[pieces[last][1] + 1 :]


# -- parameters --------------------------------------------------------------------------------------------------------


def _pairs(segment: Segment, text: str) -> list[tuple[str, str]]:
    """Names, in lower case, and values as they are written: one pair, or more where semicolons are missing."""
    lexemes = segment.lexemes
    marks: list[int] = []  # where the signs of equality are
    for n, lexeme in enumerate(lexemes):
        if lexeme.kind != "atom" or "=" not in lexeme.text:
            continue
        bare = marks and n == marks[-1] + 1 and lexemes[marks[-1]].text.endswith("=")  # then this is the value
        if not marks or (not bare and NAMED.match(lexeme.text)):
            marks.append(n)
    pairs: list[tuple[str, str]] = []
    for mark, after in zip(marks, [*marks, len(lexemes)][1:], strict=True):
        before, _, rest = lexemes[mark].text.partition("=")
        name = before or (lexemes[mark - 1].text if mark else "")
        value = list(lexemes[mark + 1 : after])
        if rest:
            value.insert(0, Lexeme("atom", rest, lexemes[mark].end - len(rest), lexemes[mark].end))
        end = segment.end if after == len(lexemes) else lexemes[after].start
        pairs.append((name.lower(), _value(value, text[lexemes[mark].end - len(rest) : end].strip())))
    return pairs


def _value(lexemes: Sequence[Lexeme], written: str) -> str:
    """A value of several words that nobody put in quotes (the name of a file, mostly) is all that is written; so is one
    that is nothing but a comment, since there has to be one. One in quotes ends with them; one whose quotes nothing ends
    goes on to the semicolon."""
    if lexemes and (lexemes[0].kind == "quoted" or (lexemes[0].kind == "atom" and len(lexemes) == 1)):
        return lexemes[0].text
    return ESCAPED.sub(r"\1", written[1:]) if written[:1] == '"' else written


def _parameters(pairs: Sequence[tuple[str, str]]) -> tuple[Mapping[str, str], bool]:
    """The parameters, and whether they agree. Of two with one name the first counts; the form of RFC 2231 before the other
    (a sender gives both where it knows that not everybody reads the new one)."""
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    agreed = True
    for name, value in pairs:
        match = SECTION.fullmatch(name) if "*" in name else None
        if match is None:
            agreed = _same(name, plain.setdefault(name, value), value) and agreed
        else:
            given = (value, match[3] is not None)
            there = sections.setdefault(match[1], {})
            agreed = there.setdefault(int(match[2] or 0), given) == given and agreed
    for name, there in sections.items():
        joined = _joined(there)
        if joined is not None:
            if name in CONTRADICTING and not _same(name, plain.get(name, joined), joined):
                agreed = False
            plain[name] = joined
    return plain, agreed


def _same(name: str, one: str, other: str) -> bool:
    """Whether it does not matter which of them counts: only boundaries have a case (RFC 2046 5.1.1)."""
    return one == other or (name != "boundary" and one.lower() == other.lower())


def _joined(sections: Mapping[int, tuple[str, bool]]) -> str | None:
    """The value of an extended or continued parameter (RFC 2231 3, 4); None where its beginning is missing."""
    if 0 not in sections:
        return None
    value, extended = sections[0]
    charset = ""
    if extended and (match := EXTENDED.fullmatch(value)):
        charset, value = match[1], match[2]
    octets: list[bytes] = []
    for number in range(len(sections)):
        if number not in sections:
            break
        value, extended = (value, extended) if not number else sections[number]
        octets.append(unquote_to_bytes(value) if extended else value.encode("utf-8", "replace"))
    whole = b"".join(octets)
    for codec in ((charset and charset_names.codec(charset)) or "utf-8", "latin-1"):
        try:
            return whole.decode(codec)
        except (LookupError, ValueError):
            continue
    return None
