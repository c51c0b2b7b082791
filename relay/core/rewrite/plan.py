"""The values of a rewrite: what is wanted, what was found, how it is laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from relay.core.headers import Headers
from relay.core.model import Reason, TokenKind, Tracking
from relay.core.parts.transfer import Frame

Place = Literal["bottom", "top"]
PIXEL, ABOUT, CANARY = -1, -2, -3
PIXEL_ROOM = 160  # octets that the pixel's markup is expected to need at most
CANARY_ROOM = 200  # and that of the canary


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted of one message. `own`: base URLs of all our tracking hosts. `href_length`: characters of the
    whole tracked href for a URL, an upper bound over the copies; it depends on nothing but how many octets the URL
    has. `mine`: is this text the token of a pixel (or link) of this very message, as it has one that comes again? `late`: the
    time for this message is over; asked before each part and each text, between which little can
    happen."""

    opens: bool
    links: bool
    tracking: Tracking
    own: tuple[str, ...]
    href_length: Callable[[str], int]
    mine: Callable[[TokenKind, str], bool] = lambda kind, text: False
    late: Callable[[], bool] = lambda: False
    about: bool = False  # below what is tracked stands a line that leads to the page about it


class PartReport(NamedTuple):
    """One part: edited, or the `reason` why not (None for a multipart, and where there was nothing to edit)."""

    path: str
    content_type: str
    start: int
    end: int
    edited: bool
    reason: Reason | None


class LinkReport(NamedTuple):
    """One link: `start` to `end` is the value's span in the part's decoded octets. `number` counts the tracked ones as
    the tokens do, and is -1 for one that was left."""

    part: str
    tag: str
    start: int
    end: int
    before: str
    number: int
    reason: Reason | None


LinkRow = tuple[str, str, int, int, str, int, Reason | None]  # the same, as it is made for each link


class PixelReport(NamedTuple):
    part: str | None
    place: Place | None
    reason: Reason | None


# What goes in place of start to end of a part's text: number of the tracked link, PIXEL, CANARY, or ABOUT for the line that
# leads to the page about the message; the quote character around it, "" for an unquoted attribute, "text" for plain text (of ABOUT
# its words, as HTML or behind the line ending of a plain text); the octets it is expected to need at most.
Slot = tuple[int, int, int, str, int]


class Section(NamedTuple):
    """One edited body: octets `start` to `end` of the message are filled anew from `frame`. `codec` is how values
    become octets. `room`: how long each value may be at most, in octets, while the lines keep to 998; None where that
    can't happen. `recoding` are the edits of the header that make the body quoted-printable, as (start, end,
    new); `recoded` says that `frame` needs it."""

    start: int
    end: int
    frame: Frame
    slots: tuple[Slot, ...]
    codec: str
    room: tuple[int, ...] | None
    recoding: tuple[tuple[int, int, bytes], ...]
    recoded: bool
    newline: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message, ready for its copies. `links`: the tracked URLs by occurrence, as they go into the tokens. `reason`
    is None when something will be edited."""

    raw: bytes = field(repr=False)
    headers: Headers = field(repr=False)
    links: tuple[str, ...] = ()
    has_pixel: bool = False
    reason: Reason | None = None
    sections: tuple[Section, ...] = field(default=(), repr=False)
    part_reports: tuple[PartReport, ...] = field(default=(), repr=False)
    link_rows: tuple[LinkRow, ...] = field(default=(), repr=False)
    pixel_report: PixelReport | None = None
    canary_report: PixelReport | None = None  # None where nobody asked for one

    @property
    def has_canary(self) -> bool:
        return self.canary_report is not None and self.canary_report.part is not None

    @property
    def link_reports(self) -> tuple[LinkReport, ...]:
        return tuple(map(LinkReport._make, self.link_rows))
