"""Once per message: which parts are entered, what is edited there, and the frames that copies fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from relay.core import about, links, parts
from relay.core.headers import Headers
from relay.core.links import entities, plain
from relay.core.links import judge as judging
from relay.core.model import Reason, TokenKind
from relay.core.parts import Part, charsets, transfer
from relay.core.rewrite import shapes
from relay.core.rewrite.plan import (
    ABOUT,
    CANARY,
    CANARY_ROOM,
    PIXEL,
    PIXEL_ROOM,
    LinkRow,
    PartReport,
    PixelReport,
    Place,
    Plan,
    Prepared,
    Section,
    Slot,
)

LARGEST = 2_000_000  # octets of one text, decoded
CLIPPED = 102_000  # beyond, Gmail shows the beginning and a link: a pixel at the end is not loaded
JUDGED = 5_000  # links that are looked at once there are as many tracked ones as there may be
NOT_REQUESTED: Reason | None = "not_requested"
PGP = b"-----BEGIN PGP "
PATHS: dict[TokenKind, str] = {
    "open": "/o/",
    "click": "/c/",
    "canary": "/c/",
    "about": "/about/",
}  # below the tracking URL; what follows is the token


def prepare(raw: bytes, headers: Headers, plan: Plan) -> Prepared:
    """Everything that all copies share. For any bytes; never raises."""
    if not (plan.opens or plan.links):
        return Prepared(raw, headers, reason="not_requested")
    scanned = parts.scan(raw, headers)
    if scanned.reason is not None:
        return _passed(raw, headers, scanned.parts, scanned.reason)
    return _Preparation(raw, headers, plan, scanned.parts).result()


def _passed(raw: bytes, headers: Headers, found: Iterable[Part], reason: Reason) -> Prepared:
    """The message as it came, each part for the same reason."""
    return Prepared(raw, headers, reason=reason, part_reports=tuple([_report(part, reason) for part in found]))


def _report(part: Part, reason: Reason | None) -> PartReport:
    return PartReport(part.path, part.content_type, part.start, part.end, False, reason)


class _Preparation:
    def __init__(self, raw: bytes, headers: Headers, plan: Plan, found: tuple[Part, ...]) -> None:
        self.raw, self.headers, self.plan, self.parts = raw, headers, plan, found
        self.criteria = judging.criteria(plan.tracking, plan.own, shapes.listed_urls(headers), plan.href_length)
        self.hosts = tuple(host for host, _ in self.criteria.own)
        self.files = shapes.files(found)
        self.reasons: list[Reason | None] = []
        self.texts: list[shapes.Text] = []
        self.changes: dict[int, list[Slot]] = {}
        self.links: list[str] = []
        self.owned = 0
        self.told = False  # it came with a line of ours
        self.caged = False  # and with a canary of ours
        self.rows: list[LinkRow] = []
        self.left: dict[str, Reason] | None = None
        self.pixel = PixelReport(None, None, "not_requested")
        self.canary: PixelReport | None = None

    def result(self) -> Prepared:
        for index, part in enumerate(self.parts):
            if self.plan.late():
                return _passed(self.raw, self.headers, self.parts, "limit_time")
            self.reasons.append(self.enter(index, part))
        for text in self.texts:
            if self.plan.late():
                return _passed(self.raw, self.headers, self.parts, "limit_time")
            if text.html is not None:
                found: Iterable[links.Link] = text.html.links
            else:
                found = self.text_links(text) if self.reads_plain else ()
            self.changes[text.part] = self.track(text, found, self.base(text))
        if self.plan.opens:
            self.pixel = self.place_pixel()
        if self.plan.tracking.canary:
            self.canary = self.place_canary()
        if self.plan.about and not self.told and (self.links or self.pixel.part is not None):
            self.place_about()
        sections = [section for text in self.texts if (section := self.section(text))]
        reports = [
            PartReport(part.path, part.content_type, part.start, part.end, True, None)
            if self.changes.get(index)
            else _report(part, reason or self.idle(part.path))
            for index, (part, reason) in enumerate(zip(self.parts, self.reasons, strict=True))
        ]
        return Prepared(
            self.raw,
            self.headers,
            tuple(self.links),
            self.pixel.part is not None,
            None if sections else self.why(),
            tuple(sections),
            tuple(reports),
            tuple(self.rows),
            self.pixel,
            self.canary,
        )

    # -- parts -----------------------------------------------------------------------------------------------------

    def enter(self, index: int, part: Part) -> Reason | None:
        """Why this part is not entered; None for one that is, and for a multipart."""
        if part.parent >= 0 and self.closed(part.parent):
            return self.reasons[part.parent]
        reason = shapes.closed(part) or ("attachment" if index in self.files else None)
        if reason or part.content_type.startswith("multipart/"):
            return reason
        if part.content_type == "text/html":
            return self.open(index, part)
        if part.content_type != "text/plain":
            return "no_html"
        if self.raw.find(PGP, part.start, part.end) >= 0:
            return "pgp"
        return self.open(index, part) if self.reads_plain or self.plan.about else "not_requested"

    @property
    def reads_plain(self) -> bool:
        return self.plan.links and self.plan.tracking.text_links

    def closed(self, index: int) -> bool:
        return self.reasons[index] is not None

    def open(self, index: int, part: Part) -> Reason | None:
        if part.start == part.end and part.parent >= 0:
            return (
                "unsafe_place"  # the empty line before the delimiter is the header's: a pixel would stand before "--"
            )
        if part.end - part.start > 3 * LARGEST:
            return "limit_size"
        decoded = transfer.exact(self.raw[part.start : part.end], part.encoding)
        if decoded is None:
            return "charset"
        if len(decoded) > LARGEST:
            return "limit_size"
        if PGP in decoded:
            return "pgp"
        label = charsets.marked(decoded, part.parameters.get("charset", ""))
        seen = charsets.view(decoded, label)
        latin = seen is not None and charsets.spells(label, self.plan.own)
        if seen is not None and latin:
            view, codec = seen, label
        else:
            text = charsets.decoded(decoded, label)
            if text is None:
                return "charset"
            view, codec = text
        page = None
        if part.content_type == "text/html":
            page = links.scan(view, own=self.hosts, shown=self.plan.links and self.plan.tracking.skip_visible_urls)
            if page.overloaded:
                return "limit_size"
        places: dict[int, int] | None = {}
        if not latin:
            lines = "\n".encode(codec) == b"\n" or part.encoding not in transfer.IDENTITY
            places = self.proven(view, codec, decoded, page) if lines else None
        if places is None:
            return "charset"
        self.texts.append(shapes.Text(index, decoded, view, codec, latin, page, places))
        return None

    def proven(self, view: str, codec: str, decoded: bytes, page: links.Page | None) -> dict[int, int] | None:
        """Where edits may be, in octets; None where an edit there would change octets elsewhere."""
        places: set[int] = set()
        for start, end in (x[:2] for x in (page.links if page else plain.scan(view))):
            places |= {start, end}
        if page is None:
            places.add(len(view))
        else:
            places |= {place for place in (page.bottom, page.top) if place is not None}
        ordered = sorted(places)
        found = charsets.offsets(view, codec, decoded, ordered)
        return None if found is None else dict(zip(ordered, found, strict=True))

    # -- links -----------------------------------------------------------------------------------------------------

    def base(self, text: shapes.Text) -> str:
        """The document's base URL, or ""."""
        if text.html is None or (span := text.html.base) is None:
            return ""
        value = text.view[span]
        if text.latin and not value.isascii():
            value = charsets.linked(text.decoded[span], text.codec) or ""
        return entities.attribute(value).strip()

    def track(self, text: shapes.Text, found: Iterable[links.Link], base: str) -> list[Slot]:
        """Every link: reported, and given a slot where nothing speaks against it."""
        view, path = text.view, self.parts[text.part].path
        wanted, most, rules, judge = self.plan.links, self.plan.tracking.max_links, self.criteria, judging.judge
        tracked, rows = self.links, self.rows
        slots: list[Slot] = []
        known: dict[str, tuple[str, Reason | None, int]] = {}  # the same URL is there twice or three times
        for start, end, quote, tag, refusal, shown in found:
            value = view[start:end]
            if quote != "text":
                if text.latin and not value.isascii():
                    meant = charsets.linked(text.decoded[start:end], text.codec)
                    refusal = refusal or (None if meant else "charset")
                    value = meant or value
                if "&" in value:
                    value = entities.attribute(value)
                if not value.isascii():
                    refusal = refusal or ("charset" if charsets.C1.search(value) else None)
                    value = charsets.queried(value, text.codec)
            number = len(tracked)
            full = number + self.owned >= most
            if not wanted:
                url, reason, room = value, NOT_REQUESTED, 0
            elif full and len(rows) >= JUDGED:
                url, reason, room = value, "limit_links", 0
            else:
                url, reason, room = known.get(value) or known.setdefault(value, judge(value, base, rules))
            reason = reason or refusal
            if reason is None:
                if shown is not None and judging.looks_like_url(shown):
                    reason = "visible_url"
                elif full:
                    reason = "limit_links"
                else:
                    tracked.append(url)
                    rows.append((path, tag, start, end, value, number, None))
                    slots.append((start, end, number, quote, room + 2))
                    continue
            if reason == "own_link" and self.mine("click", url):
                self.owned += 1  # those of an earlier run count too, or a second run would track the next hundred
            elif reason == "own_link" and self.plan.tracking.canary and self.mine("canary", url):
                self.caged = True
            elif reason == "own_link" and self.plan.about and self.mine("about", url):
                self.told = True
            rows.append((path, tag, start, end, value, -1, reason))
        return slots

    def mine(self, kind: TokenKind, url: str) -> bool:
        """Whether this is the URL of a pixel or link of this very message."""
        path = judging.path_of_ours(url, self.criteria)
        return path.startswith(PATHS[kind]) and self.plan.mine(kind, path[len(PATHS[kind]) :])

    def text_links(self, text: shapes.Text) -> Iterator[links.Link]:
        part = self.parts[text.part]
        flowed = part.parameters.get("format", "").lower() == "flowed"
        delsp = flowed and part.parameters.get("delsp", "").lower() == "yes"
        following = partial(charsets.following, text.decoded, text.codec) if text.latin else None
        for start, end, reason in plain.scan(text.view, following=following, delsp=delsp):
            if text.latin and not charsets.begins(text.decoded, text.codec, start):
                reason = "charset"
            yield start, end, "text", "", reason, None

    # -- the pixel -------------------------------------------------------------------------------------------------

    def place_pixel(self) -> PixelReport:
        pages = {text.part: text for text in self.texts if text.html is not None}
        if not pages:
            return PixelReport(None, None, self.why_no_page())
        if any(self.mine("open", url) for text in pages.values() if text.html for url in text.html.images):
            return PixelReport(None, None, "duplicate_pixel")
        reason: Reason = "unsafe_place"
        for index in shapes.shown(self.parts, pages):
            text = pages[index]
            place, at = self.place(text)
            if at is None:
                continue
            minimum = self.plan.tracking.pixel_min_text
            if minimum and links.text_size(text.view, minimum) < minimum:
                reason = "not_requested"
                continue
            self.changes[index].append((at, at, PIXEL, "pixel", PIXEL_ROOM))
            self.changes[index].sort()
            return PixelReport(self.parts[index].path, place, None)
        return PixelReport(None, None, reason)

    def place(self, text: shapes.Text) -> tuple[Place, int | None]:
        page = text.html
        assert page is not None
        size = len(text.decoded) + PIXEL_ROOM + (CANARY_ROOM if self.plan.tracking.canary else 0)
        size += sum(room - end + start for start, end, _, _, room in self.changes[text.part])
        if (self.plan.tracking.pixel == "top" or size > CLIPPED) and page.top is not None:
            return "top", page.top
        return "bottom", page.bottom

    # -- the link that nobody sees ---------------------------------------------------------------------------------

    def place_canary(self) -> PixelReport:
        """Before the pixel, or where one would be; only where something else is tracked."""
        if self.caged:
            return PixelReport(None, None, "own_link")
        if not self.links and self.pixel.part is None:
            return PixelReport(None, None, "not_requested")
        pages = {text.part: text for text in self.texts if text.html is not None}
        for index in shapes.shown(self.parts, pages):
            place, at = self.place(pages[index])
            if self.pixel.part is not None:
                at = next((slot[0] for slot in self.changes[index] if slot[2] == PIXEL), None)
                place = self.pixel.place or place
            if at is not None:
                self.changes[index].append((at, at, CANARY, "canary", CANARY_ROOM))
                self.changes[index].sort()
                return PixelReport(self.parts[index].path, place, None)
        return PixelReport(None, None, "unsafe_place" if pages else self.why_no_page())

    # -- the line that leads to the page about the message -------------------------------------------------------------

    def place_about(self) -> None:
        """Below the HTML that a reader shows, and below the text of the message, where it has one."""
        pages = {text.part: text for text in self.texts if text.html is not None}
        said = about.language(self.headers, next((text.view[: about.HEAD] for text in pages.values()), ""))
        words = self.plan.tracking.about_text or about.LINKS[said]
        for index in shapes.shown(self.parts, pages):
            page = pages[index].html
            if page is not None and page.bottom is not None:
                self.changes[index].append((page.bottom, page.bottom, ABOUT, words, about.ROOM))
                self.changes[index].sort()
                break
        plain = next((text for text in self.texts if text.html is None), None)
        if plain is not None and len(plain.decoded.strip()):
            newline = "\r\n" if "\r\n" in plain.view else "\n"
            if "\n" not in plain.view:
                part = self.parts[plain.part]
                newline = shapes.newline_of(self.raw, part.start, part.end).decode()
            if not spells(words, plain.codec):
                words = about.LINKS[about.DEFAULT]
            at = len(plain.view)
            self.changes[plain.part].append((at, at, ABOUT, newline + words, about.ROOM))

    # -- layout ----------------------------------------------------------------------------------------------------

    def section(self, text: shapes.Text) -> Section | None:
        changes = self.changes[text.part]
        if not changes:
            return None
        part = self.parts[text.part]
        spans = [(start, end) for start, end, _, _, _ in changes]
        if not text.latin:
            spans = [(text.places[start], text.places[end]) for start, end in spans]
        newline = shapes.newline_of(self.raw, part.start, part.end)
        body = memoryview(self.raw)[part.start : part.end]
        frame = transfer.frame(body, text.decoded, part.encoding, spans, newline)
        room: tuple[int, ...] | None = None
        recoded = False
        if isinstance(frame, transfer.Plain):
            room = tuple(change[4] for change in changes)
            if transfer.longest(text.decoded, spans, room, transfer.LINE) > transfer.LINE:
                frame, room, recoded = transfer.to_quoted(frame.pieces, newline), None, True
        codec = "ascii" if text.latin else text.codec
        if text.html is None and changes[-1][2] == ABOUT and not changes[-1][3].isascii():
            codec = text.codec
        slots = tuple(changes)
        recoding = shapes.recode(part, newline)
        return Section(part.start, part.end, frame, slots, codec, room, recoding, recoded, newline)

    # -- why not ---------------------------------------------------------------------------------------------------

    def why(self) -> Reason:
        """Nothing is edited: the reason that says most."""
        if self.reasons and self.reasons[0]:
            root = self.reasons[0]
            if root not in ("no_html", "not_requested"):
                return root
        if not any(text.html for text in self.texts):
            return self.why_no_page()
        if self.plan.opens and self.pixel.reason:
            return self.pixel.reason
        return next((row[6] for row in self.rows if row[6]), "no_html")

    def why_no_page(self) -> Reason:
        """There is no HTML part to edit: why the first one was not entered, or what else there is."""
        pairs = list(zip(self.parts, self.reasons, strict=True))
        for part, reason in pairs:
            if part.content_type == "text/html" and reason:
                return reason
        for _, reason in pairs:
            if reason in ("signed", "encrypted", "pgp"):
                return reason
        return "no_html"

    def idle(self, path: str) -> Reason | None:
        """Why a part that was entered is not edited: the first reason among its links."""
        if self.left is None:
            self.left = {}
            for row in self.rows:
                if row[6]:
                    self.left.setdefault(row[0], row[6])
        return self.left.get(path)


def spells(words: str, codec: str) -> bool:
    if words.isascii():  # every text that is edited has these, whatever its label
        return True
    try:
        words.encode(codec)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
