"""The grammar of tags (HTML 13.2.5), as patterns over text whose line endings have become spaces.

Owns: attributes as the tokeniser reads them, and what nearly all markup is, which is passed over without it.
Leaves to others: which tags matter and why (`links`).
"""

from __future__ import annotations

import re

ATTRIBUTES = 200  # of one tag: what people write has a dozen

# HTML 13.2.5.32 to 13.2.5.39, on text whose line endings have become spaces. Nothing here is looked at twice.
_SPACE = r"[ \t\f/]*+"
_NAME = r"[^ \t\f/>][^ \t\f/>=]*+"
_EQUALS = r"[ \t\f]*+=[ \t\f]*+"
_BARE = r"[^ \t\f>\"'][^ \t\f>]*+|(?=>)"
# An attribute that is another has one reading: with two of each, a tag of a hundred would have as many as there are ways
# to choose.
_OTHER = rf"{_SPACE}(?!href[ \t\f/>=]){_NAME}(?>(?:{_EQUALS}(?:\"[^\"]*+\"|'[^']*+'|{_BARE}))?)"
ATTRIBUTE = re.compile(rf"{_SPACE}({_NAME})(?:{_EQUALS}(?:\"([^\"]*+)\"|'([^']*+)'|({_BARE})))?")
HREF = re.compile(
    rf"(?>(?:{_OTHER}){{0,{ATTRIBUTES}}}){_SPACE}href{_EQUALS}(?:\"([^\"]*+)\"|'([^']*+)'|({_BARE}))", re.I | re.A
)
# Nearly all links: attributes of letters in double quotes, one space before each. Twice as fast.
USUAL = re.compile(r"(?>(?: (?![hH][rR][eE][fF]=)[A-Za-z-]++=\"[^\"]*+\"){0,50}) href=\"([^\"]*+)\"")
MANY = re.compile(rf"(?>(?:{_OTHER}){{{ATTRIBUTES + 1}}})", re.I | re.A)
CLOSE = re.compile(rf"{_SPACE}>")
# What is left of a tag behind its name. A value that no quote ends has no ">" behind it either.
REST = re.compile(
    rf"(?>(?:{_SPACE}{_NAME}(?>(?:{_EQUALS}(?:\"[^\"]*+\"|'[^']*+'|{_BARE}))?)(?![ \t\f]*+=)){{0,{ATTRIBUTES}}}){_SPACE}>"
)
NAME = re.compile(r"<(/?)([A-Za-z][^ \t\f/>]*+)")
DECLARATION = re.compile(r"<(?:![dD][oO][cC][tT][yY][pP][eE]|!\[(?!CDATA\[)|\?)[^>]*+>")

# Tags of which nothing matters, and comments that no program reads. Attributes as they usually stand have one reading.
_TAGS = "t[drh]|tbody|thead|table|p|span|div|br|hr|font|strong|[bius]|em|li|[uo]l|h[1-6]|center|small|su[pb]|meta|link"
_REST = r"(?: ++[A-Za-z-]++=(?:\"[^\"]*+\"|'[^']*+'|[^ \t\f\"'>=]++)){0,50}[^\"'>=]*+>"
_COMMENT = r"!--(?![\[>-])[^-]*+(?:-[^-]++){0,50}-->"


def _passing(tags: str) -> re.Pattern[str]:
    """Text and such markup, as far as it goes, and the link behind it, if that is one as nearly all are: group 1 is where its
    attributes begin, group 2 its value. A repetition takes memory for each time: hence the thousand."""
    passed = rf"/?(?:{tags}|a(?<=/a)|(?:title|style)(?<=/.{{5}}))(?=[ />]){_REST}"
    link = rf"<[aA](){USUAL.pattern}{_REST}"
    return re.compile(rf"(?>(?:[^<]*+<(?:{passed}|{_COMMENT})){{0,1000}})[^<]*+(?:{link})?")


PASSED, PASSED_BUT_IMAGES = _passing(_TAGS + "|img"), _passing(_TAGS)
