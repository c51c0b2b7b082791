"""Once per copy: the frames are filled with that copy's URLs. And what is said about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

from relay.core import about, parts
from relay.core.links import entities
from relay.core.model import Edit
from relay.core.parts import transfer
from relay.core.rewrite.plan import ABOUT, CANARY, PartReport, PixelReport, Prepared, Section, Slot
from relay.core.rewrite.rendering import Rendering

BARE = re.compile(r"[^\s\"'=<>`]+")  # what an attribute value without quotes may hold (HTML 13.1.2.3)


def render(
    prepared: Prepared,
    *,
    hrefs: Sequence[str],
    pixel: str | None,
    edits: Iterable[Edit] = (),
    page: str = "",
    canary: str = "",
) -> Rendering:
    """One copy: `hrefs[i]` in place of `links[i]`, `pixel` the pixel's URL (None: no pixel), `page` that of the page about the
    message, `canary` that of the link that nobody sees. `edits` are those of the top-level header; they must not touch the body."""
    changes = parts.changes(edits)
    encodes = False
    for section in prepared.sections:
        frame, recoded = section.frame, section.recoded
        values = [_value(slot, hrefs, pixel, page, canary, section.codec) for slot in section.slots]
        if section.room is not None and any(len(v) > r for v, r in zip(values, section.room, strict=True)):
            frame, recoded = _fitting(section, values)
        if recoded:
            encodes = True
            changes += [(start, end, (new,)) for start, end, new in section.recoding]
        changes.append((section.start, section.end, frame.fill(values)))
    if encodes and "mime-version" not in prepared.headers.named:  # without it no encoding means anything (RFC 2045 4)
        end = prepared.headers.end
        changes.append((end, end, (b"MIME-Version: 1.0", prepared.sections[0].newline)))
    return Rendering(prepared.headers, changes)


def _fitting(section: Section, values: Sequence[bytes]) -> tuple[transfer.Frame, bool]:
    """A plain body whose values are longer than planned: quoted-printable where a line would pass 998 octets."""
    pieces = [bytes(piece) for piece in section.frame.pieces]
    ends = list(accumulate(map(len, pieces)))[:-1]
    body, spans = b"".join(pieces), [(end, end) for end in ends]
    if transfer.longest(body, spans, [len(v) for v in values], transfer.LINE) <= transfer.LINE:
        return section.frame, False
    return transfer.to_quoted(section.frame.pieces, section.newline), True


def _value(slot: Slot, hrefs: Sequence[str], pixel: str | None, page: str, canary: str, codec: str) -> bytes:
    _, _, number, quote, _ = slot
    if number >= 0:
        text = hrefs[number]
        if quote != "text":
            text = entities.escaped(text)
            if not quote and not BARE.fullmatch(text):
                text = f'"{text}"'
    elif number == ABOUT:
        newline, _, words = quote.rpartition("\n")
        text = about.plain(words, page, newline + "\n") if "\n" in quote else about.html(words, page)
    elif number == CANARY:
        text = hidden(canary) if canary else ""
    else:
        text = markup(pixel) if pixel is not None else ""
    return text.encode(codec, "xmlcharrefreplace")


def markup(url: str) -> str:
    """The pixel. Not hidden: Gmail's proxy and others don't fetch what is not displayed."""
    return f'<img src="{entities.escaped(url)}" width="1" height="1" alt="" style="border:0">'


def hidden(url: str) -> str:
    """The canary: nobody sees it, hears of it or gets to it by the keyboard."""
    return f'<a href="{entities.escaped(url)}" style="display:none" aria-hidden="true" tabindex="-1"></a>'


def _passed(prepared: Prepared) -> list[PartReport]:
    """The parts of a message that was not looked into."""
    found = parts.scan(prepared.raw, prepared.headers).parts
    return [PartReport(part.path, part.content_type, part.start, part.end, False, prepared.reason) for part in found]


def explain(prepared: Prepared, *, hrefs: Sequence[str]) -> dict[str, Any]:
    """`parts`, `links` and `pixel` of `rewrite --explain`. Spans are [start, end]: of a part in the message's octets,
    of a link in the part's decoded text. `canary` is there where one was asked for."""
    place = prepared.pixel_report or PixelReport(None, None, prepared.reason)
    canary = prepared.canary_report
    return {
        "parts": [
            {
                "path": part.path,
                "content_type": part.content_type,
                "action": "edited" if part.edited else "untouched",
                "reason": part.reason,
                "span": [part.start, part.end],
            }
            for part in prepared.part_reports or _passed(prepared)
        ],
        "links": [
            {
                "part": link.part,
                "index": link.number if link.number >= 0 else None,
                "tag": link.tag,
                "before": link.before,
                "after": hrefs[link.number] if link.number >= 0 else link.before,
                "action": "tracked" if link.number >= 0 else "left",
                "reason": link.reason,
                "span": [link.start, link.end],
            }
            for link in prepared.link_reports
        ],
        "pixel": {"part": place.part, "place": place.place, "reason": place.reason},
        **({"canary": canary._asdict()} if canary else {}),
    }
