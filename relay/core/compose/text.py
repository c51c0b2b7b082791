"""HTML -> the text that stands beside it for who reads no HTML.

Owns: how it reads: links with their address, lists, tables row by row, headings in lines of their own, quotations with
">"; nothing that a browser does not show. One paragraph is one line: mail programs wrap it as wide as they are.
Leaves to others: the markup itself (turbohtml's tokeniser, which is linear).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from turbohtml import Token, TokenType, tokenize

HIDDEN = frozenset(
    {
        "script",
        "style",
        "head",
        "title",
        "template",
        "noscript",
        "iframe",
        "object",
        "svg",
        "math",
        "select",
        "textarea",
    }
)
BLOCKS = frozenset(
    {
        "address", "article", "aside", "body", "caption", "center", "dd", "details", "div", "dl", "dt", "fieldset",
        "figcaption", "figure", "footer", "form", "header", "html", "main", "nav", "section", "summary", "table", "tbody",
        "tfoot", "thead", "tr", "li",
    }
)  # fmt: skip
APART = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre", "hr", "table"})
IN_LISTS = frozenset({"p", "ul", "ol"})  # which stand close in a list
SPACE = re.compile(r"[ \t\r\n\f]+")
UNSEEN = re.compile("[\u200b\u200c\u2060\ufeff\u00ad\u034f]")
NOT_SHOWN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all)", re.I)
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
SCHEMES = re.compile(r"(?:https?|mailto|tel|ftp|sms):", re.I)
RULE = "-" * 40
DEEPEST = 20


@dataclass(slots=True)
class Writer:
    lines: list[str] = field(default_factory=list)
    line: list[str] = field(default_factory=list)  # pieces of the line that is being written
    blank: bool = False  # a line is to be left free before the next one
    first: str = ""  # what the next line begins with: a list's mark
    lists: list[int] = field(default_factory=list)  # of each list around: the number of its next item, 0 without
    quotes: int = 0
    before: str = ""  # what stood before the last line, as a quotation
    verbatim: int = 0
    cells: int = 0  # in this row, so far
    link: tuple[str, int] | None = None  # where it leads, and how many pieces there were before it

    def write(self, text: str) -> None:
        if self.verbatim:
            head, *rest = text.replace("\r\n", "\n").split("\n")
            self.line.append(head)
            for line in rest:
                self.end()
                self.line.append(line)
            return
        said = SPACE.sub(" ", UNSEEN.sub("", text))
        if said.startswith(" ") and (not self.line or self.line[-1].endswith(" ")):
            said = said[1:]
        if said:
            self.line.append(said)

    def end(self) -> None:
        """The end of a line."""
        line = "".join(self.line).rstrip()
        self.line.clear()
        if self.link:
            self.link = (self.link[0], 0)
        if not line and not self.verbatim:
            return
        prefix = "> " * min(self.quotes, DEEPEST)
        if self.blank and self.lines:
            self.lines.append(min(prefix, self.before).rstrip())
        self.blank, self.before = False, prefix
        indent = "  " * min(len(self.lists) - 1, DEEPEST) if self.lists else ""
        mark, self.first = self.first, ""
        hanging = indent + (mark or ("  " if self.lists else ""))
        self.lines.append(f"{prefix}{hanging}{line}".rstrip())

    def apart(self) -> None:
        self.end()
        self.blank = True


def of(html: str) -> str:
    """The text, with "\\n" between lines; "" where nothing is to be seen."""
    writer = Writer()
    hidden: list[str] = []  # the elements around that are not shown, and those in them
    for token in tokenize(html):
        if token.type == TokenType.TEXT:
            if not hidden:
                writer.write((token.data or "").replace("\0", ""))
        elif token.type == TokenType.START_TAG:
            name = token.tag or ""
            if hidden:
                if name == hidden[0]:
                    hidden.append(name)
            elif (name in HIDDEN or unseen(token)) and name not in VOID and not token.self_closing:
                hidden.append(name)
            elif not unseen(token):
                begin(writer, name, token)
        elif token.type == TokenType.END_TAG:
            name = token.tag or ""
            if hidden:
                if name == hidden[0] or name in ("body", "html"):
                    hidden.pop()
            else:
                close(writer, name)
    close(writer, "a")
    writer.end()
    return "\n".join(writer.lines).strip("\n")


def unseen(token: Token) -> bool:
    attributes = dict(token.attrs or ())
    return "hidden" in attributes or bool(NOT_SHOWN.search(attributes.get("style") or ""))


def begin(writer: Writer, name: str, token: Token) -> None:
    if name in APART and not (writer.lists and name in IN_LISTS):
        writer.apart()
    elif name in APART or name in BLOCKS:
        writer.end()
    attributes = dict(token.attrs or ())
    match name:
        case "br" if writer.line:
            writer.end()
        case "br":
            writer.blank = True
        case "a":
            close(writer, "a")
            href = UNSEEN.sub("", attributes.get("href") or "").strip()
            if SCHEMES.match(href) and not any(c in href for c in "\r\n\0"):
                writer.link = (href, len(writer.line))
        case "img":
            writer.write(attributes.get("alt") or "")
        case "ul":
            writer.lists.append(0)
        case "ol":
            start = attributes.get("start") or ""
            writer.lists.append(int(start) if start.isascii() and start.isdecimal() and len(start) < 9 else 1)
        case "blockquote":
            writer.quotes += 1
        case "pre":
            writer.verbatim += 1
        case "hr":
            writer.line.append(RULE)
            writer.apart()
        case _:
            item(writer, name)


def item(writer: Writer, name: str) -> None:
    """The beginning of what is one of several."""
    match name:
        case "li":
            writer.first = "* "
            if writer.lists and writer.lists[-1]:
                writer.first = f"{writer.lists[-1]}. "
                writer.lists[-1] += 1
        case "tr":
            writer.cells = 0
        case "td" | "th":
            if writer.cells and "".join(writer.line).strip():
                writer.line.append(" | ")
            writer.cells += 1


def close(writer: Writer, name: str) -> None:
    if name == "a" and writer.link:
        href, before = writer.link
        writer.link = None
        shown = "".join(writer.line[before:]).strip()
        address = href.partition(":")[2] if href.lower().startswith(("mailto:", "tel:")) else href
        if shown and shown.rstrip("/") not in (href.rstrip("/"), address, re.sub(r"^https?://", "", href).rstrip("/")):
            trailing = " " if writer.line[-1].endswith(" ") else ""
            writer.line[-1] = writer.line[-1].rstrip()
            writer.line.append(f" <{address}>{trailing}")
        elif not shown:
            writer.write(f"<{address}>" if before == 0 or not writer.line else f" <{address}>")
        return
    if name in ("ul", "ol") and writer.lists:
        writer.end()
        writer.lists.pop()
        writer.first = ""
        writer.blank = writer.blank or not writer.lists
    elif name == "blockquote":
        writer.end()
        writer.quotes = max(0, writer.quotes - 1)
        writer.blank = True
    elif name == "pre":
        writer.verbatim = max(0, writer.verbatim - 1)
        writer.apart()
    elif name in APART and not (writer.lists and name in IN_LISTS):
        writer.apart()
    elif name in APART or name in BLOCKS:
        writer.end()
