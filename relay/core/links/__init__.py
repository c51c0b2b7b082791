"""One HTML text: the spans of its link values, and the places for the pixel.

Owns: the way through the markup, Outlook's conditional comments, and where an image would be swallowed. What is written
as usual is passed over by a pattern; from the first place that is not, turbohtml's tokeniser goes on, so that what a browser
takes for a tag is one here.
Leaves to others: whether a link is tracked (`links.judge`), plain text (`links.plain`), bytes (`rewrite`).

All offsets are into the text as given. For any text; time is linear in its length.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from turbohtml import TokenType, tokenize

from relay.core.links import entities, grammar
from relay.core.links.grammar import ATTRIBUTE, ATTRIBUTES, HREF
from relay.core.model import Reason

COMMENT, TEXT = TokenType.COMMENT, TokenType.TEXT
MARKS = ("\ufeff", "\u00ef\u00bb\u00bf")  # a byte order mark (as Latin-1 shows it in UTF-8) stays the first
QUOTES = ("", '"', "'", "")  # by the group that matched

# Elements whose content is not shown as it stands: an image inside one that is still open would not be loaded.
INERT = frozenset({"template", "select", "object", "video", "audio", "canvas", "datalist", "svg", "math"})
# Elements in which there is no markup: their text ends where their end tag is.
RAW = frozenset(
    {"title", "textarea", "style", "script", "xmp", "iframe", "noembed", "noframes", "plaintext", "noscript"}
)
FOREIGN = frozenset({"svg", "math"})  # the only ones of these that a slash at the end of the tag closes (HTML 13.2.6.5)
VML = frozenset(
    f"v:{name}" for name in ("arc", "curve", "group", "image", "line", "oval", "polyline", "rect", "roundrect", "shape")
)
LINKS = frozenset({"a", "area"}) | VML
WATCHED = LINKS | INERT | {"base", "body", "html", "head", "noscript", "trackrelay-end"}
END = "<trackrelay-end>"

# Mail is read without scripts, where <noscript> is an element like any other; the tokeniser takes it for raw text.
NOSCRIPT = re.compile(r"(</?)noscript", re.I | re.A)

# "Not here", as the vendors write it; a value of the second group takes it back.
REFUSALS = frozenset(
    {"data-track", "clicktracking", "data-msys-clicktrack", "disable-tracking", "mc:disable-tracking", "data-pm-no-track",
     "ses:no-track"}
)  # fmt: skip
OFF = frozenset({"off", "no", "false", "0"})
SWITCHES = frozenset({"data-track", "clicktracking", "data-msys-clicktrack"})  # refused where off; the others where not


# One link value: start and end between the quotes, the quote character or "", the tag, the author's refusal, the
# element's text where it was asked for. A bare tuple, since there can be many.
Link = tuple[int, int, str, str, Reason | None, str | None]


class Page(NamedTuple):
    """`links` in order of occurrence; `base` where the value of the first <base href> is. `bottom` and `top`
    are the pixel's places, None where it would be swallowed. `images`: the URLs of the images that may be
    ours, decoded."""

    links: tuple[Link, ...]
    base: slice | None
    bottom: int | None
    top: int | None
    images: tuple[str, ...]
    overloaded: bool  # a tag with more attributes than are looked at


def scan(text: str, *, own: Collection[str] = (), shown: bool = False) -> Page:
    """The links of one HTML text. `own`: hosts (in lower case) that images of ours have in their URLs; `shown`: collect the
    text of each link."""
    return _Reader(text, own, shown).page()


def text_size(text: str, enough: int) -> int:
    """Octets of text between the tags, white space not counted; stops counting at `enough`."""
    size = 0
    hidden: str | None = None
    for token in tokenize(text, capture_source=False, capture_attributes=False):
        if token.tag is not None:
            hidden = token.tag if token.type == 1 else None
        elif token.type == 0 and token.data and hidden not in ("style", "script", "title"):
            size += len("".join(token.data.split()).encode("utf-8", "replace"))
            if size >= enough:
                break
    return size


class _Reader:
    def __init__(self, text: str, own: Collection[str], shown: bool) -> None:
        flat = text.replace("\r", " ").replace("\n", " ")  # same length: the tokeniser's column is the offset
        lower = flat.encode("latin-1", "replace").lower()  # only of ASCII, and fast
        self.text, self.flat, self.length = text, flat, len(flat)
        self.shown = shown
        self.conditional = "[" in flat and "<!--[" in flat
        self.switches = b"track" in lower  # it is in all that say "not here"
        self.own = tuple(host for host in own if host.encode("ascii", "replace") in lower)
        self.watched: frozenset[str | None] = WATCHED | {"img"} if self.own else WATCHED
        self.passed = grammar.PASSED_BUT_IMAGES if self.own else grammar.PASSED
        self.links: list[Link] = []
        self.base: slice | None = None
        self.images: list[str] = []
        self.overloaded = False
        self.body = self.body_end = self.html = self.html_end = self.head = self.head_end = -1
        self.inert: list[tuple[int, bool]] = []
        self.whole = False
        self.last = -1  # where the last link's attributes begin, unless it is in a comment

    def page(self) -> Page:
        if not self.walk(self.flat, 0, False):
            again = _Reader(self.text, self.own, self.shown)
            again.flat = NOSCRIPT.sub(r"\1noscrapt", self.flat)
            return again.page()
        if not self.whole and self.last >= 0 and self.after(self.last, 0) < 0:
            del self.links[-1]  # the text ends inside that tag, which our own end closed
        return Page(
            tuple(self.links),
            self.base,
            self.bottom(),
            self.top(),
            tuple(self.images),
            self.overloaded,
        )

    # -- the way through -------------------------------------------------------------------------------------------

    def walk(self, flat: str, offset: int, comment: bool) -> bool:
        """All of `flat` that matters, which begins at `offset` of the text. `comment`: inside a conditional comment, where
        only links matter. False at <noscript>: what follows was not read as it should be."""
        at = 0
        while not self.shown:  # the text of a link says only the tokeniser
            match = self.passed.match(flat, at)
            assert match is not None  # at the least it is empty
            at = match.end()
            if match.lastindex:
                self.note(match.span(2), '"', "a", flat, match.end(1), at, offset)
            elif at == len(flat):
                self.whole = self.whole or not comment
                return True
            elif (end := self.markup(flat, at, offset, comment)) >= 0:
                at = end
            else:
                break
        return self.tokens(flat, at, offset, comment)

    def markup(self, flat: str, at: int, offset: int, comment: bool) -> int:
        """Where the tag, comment or declaration at `at` ends; -1 for one that is left to the tokeniser."""
        named = grammar.NAME.match(flat, at)
        if named is None:
            return self.aside(flat, at, comment)
        tag, rest = named[2].lower(), grammar.REST.match(flat, named.end())
        end = rest.end() if rest else -1
        if named[1]:
            if end >= 0 and not comment:
                self.closing(tag, at)
        elif end < 0 or tag in FOREIGN:
            return -1
        elif tag in RAW:
            return self.behind(flat, tag, end) if tag in ("style", "title") else -1
        elif tag in LINKS:
            self.link(flat, named.end(), end, offset, tag)
        elif not comment:
            self.opening(tag, at)
        return end

    def behind(self, flat: str, tag: str, at: int) -> int:
        """Where the end tag is of an element in which there is no markup, whose content begins at `at`; or -1."""
        end = flat.find(f"</{tag}", at)
        return end if end >= 0 and flat[end + len(tag) + 2 : end + len(tag) + 3] in ("/", ">", " ") else -1

    def aside(self, flat: str, at: int, comment: bool) -> int:
        """The same of what is no tag."""
        if declared := grammar.DECLARATION.match(flat, at):
            return declared.end()
        if not flat.startswith("<!--", at) or flat.startswith((">", "->"), at + 4):
            return -1
        end = flat.find("--", at + 4)
        if not flat.startswith("-->", end):
            return -1
        if self.conditional and not comment:
            self.comment(at, end)
        return end + 3

    def tokens(self, flat: str, start: int, offset: int, comment: bool) -> bool:
        """What `walk` does, from `start` on, by the tokeniser."""
        conditional = self.conditional and not comment
        watched = self.watched | {None} if conditional or self.shown else self.watched
        texts: list[str] | None = None
        if not comment:
            flat += END
        tokens = tokenize(flat[start:], capture_source=False, capture_attributes=False)
        found = [token for token in tokens if token.tag in watched]
        for number, token in enumerate(found, 1):
            tag, at = token.tag, start + token.col
            if tag is None:
                if conditional and token.type == COMMENT:
                    self.comment(at, at + 4 + len(token.data or ""))
                elif texts is not None and token.type == TEXT and token.data:
                    texts.append(token.data)
            elif flat[at + 1] == "/":
                if tag == "a":
                    if texts is not None:
                        self.links[-1] = (*self.links[-1][:5], "".join(texts))
                        texts = None
                elif not comment:
                    self.closing(tag, at)
            elif tag in LINKS:
                stop = start + found[number].col if number < len(found) else len(flat)
                linked = self.link(flat, at + 1 + len(tag), stop, offset, tag)
                texts = [] if self.shown and linked else None
            elif tag == "noscript":
                if not comment:
                    return False
            elif not comment and not (tag in FOREIGN and token.self_closing):
                self.opening(tag, at)
        return True

    def link(self, flat: str, at: int, stop: int, offset: int, tag: str) -> bool:
        """Notes the link of a tag whose attributes begin at `at` and end before `stop`; False for one without."""
        if match := grammar.USUAL.match(flat, at):
            self.note(match.span(1), '"', tag, flat, at, stop, offset)
        elif match := HREF.match(flat, at):
            group = match.lastindex or 3
            self.note(match.span(group), QUOTES[group], tag, flat, at, stop, offset)
        else:
            self.overloaded = self.overloaded or grammar.MANY.match(flat, at) is not None
            return False
        return True

    def note(self, value: tuple[int, int], quote: str, tag: str, flat: str, at: int, stop: int, offset: int) -> None:
        """Notes a link by where its value is."""
        self.last = -1 if offset else at
        refused: Reason | None = None
        if self.switches and "track" in flat[at:stop].lower() and self.refuses(flat, at):
            refused = "refused"
        self.links.append((value[0] + offset, value[1] + offset, quote, tag, refused, None))

    def refuses(self, flat: str, at: int) -> bool:
        for _ in range(ATTRIBUTES):
            match = ATTRIBUTE.match(flat, at)
            if not match:
                return False
            name = match[1].lower()
            if name in REFUSALS:
                value = (match[2] or match[3] or match[4] or "").strip().lower()
                if (value in OFF) == (name in SWITCHES):
                    return True
            at = match.end()
        return False

    def comment(self, at: int, end: int) -> None:
        """Outlook's conditional comment: its inside is markup for Outlook on the desktop. It ends at `end`: looked for anew,
        each of many that end otherwise would be a walk through the whole text."""
        flat = self.flat
        if flat[at : at + 7].lower() != "<!--[if" or not flat.startswith(("-->", "--!>"), end):
            return
        start = flat.find("]>", at, end)
        if start > 0 and "href" in flat[start:end].lower():
            self.walk(flat[start + 2 : end], start + 2, True)

    def opening(self, tag: str, at: int) -> None:
        if tag == "img":
            self.image(at + 4)
        elif tag == "base":
            match = HREF.match(self.flat, at + 5)
            if match and self.base is None:
                self.base = slice(*match.span(match.lastindex or 3))
        elif tag in INERT:
            self.inert.append((at, True))
        elif tag == "body" and self.body < 0:
            self.body = at
        elif tag == "html" and self.html < 0:
            self.html = at
        elif tag == "head" and self.head < 0:
            self.head = at
        elif tag == "trackrelay-end" and at == self.length:
            self.whole = True

    def closing(self, tag: str, at: int) -> None:
        if tag == "body":
            self.body_end = at
        elif tag == "html":
            self.html_end = at
        elif tag == "head" and self.head_end < 0:
            self.head_end = at
        elif tag in INERT:
            self.inert.append((at, False))

    def image(self, at: int) -> None:
        """Notes the URL of an image, whose attributes begin at `at`, if one of our hosts is in it."""
        for _ in range(ATTRIBUTES):
            match = ATTRIBUTE.match(self.flat, at)
            if not match:
                return
            if match[1].lower() == "src":
                value = match[2] or match[3] or match[4] or ""
                if any(host in value.lower() for host in self.own):
                    self.images.append(entities.attribute(value))
                return
            at = match.end()

    # -- places ----------------------------------------------------------------------------------------------------

    def bottom(self) -> int | None:
        """Before the last real </body>, else before the last </html>, else at the end."""
        place = self.body_end if self.body_end >= 0 else self.html_end
        if place < 0:
            place = len(self.flat.rstrip(" \t\f")) if self.whole else -1
        return place if place >= 0 and self.visible(place) else None

    def top(self) -> int | None:
        """After <body>, else after </head>, else at the very beginning of a text that has no frame at all."""
        place = -1
        if self.body >= 0:
            place = self.after(self.body, 5)
        elif self.head_end >= 0:
            place = self.after(self.head_end, 6)
        elif (
            self.html < 0 and self.head < 0 and not self.flat.lstrip("".join(MARKS) + " \t\f").startswith(("<!", "<?"))
        ):
            place = next((len(mark) for mark in MARKS if self.flat.startswith(mark)), 0)
        return place if place >= 0 and self.visible(place) else None

    def visible(self, place: int) -> bool:
        depth = 0
        for at, opens in self.inert:
            if at >= place:
                break
            depth = depth + 1 if opens else max(0, depth - 1)
        return depth == 0

    def after(self, at: int, length: int) -> int:
        """The offset after the tag that begins at `at` and whose name ends `length` later, or -1."""
        at += length
        for _ in range(ATTRIBUTES):
            match = ATTRIBUTE.match(self.flat, at)
            if not match:
                close = grammar.CLOSE.match(self.flat, at)
                return close.end() if close else -1
            at = match.end()
        return -1
