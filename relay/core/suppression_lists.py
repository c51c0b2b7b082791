"""A list of suppressed recipients as CSV, in and out.

Owns: the columns, by name and in any order; what others call them; which lines can't be read and why. No cell that goes
out is a formula for a spreadsheet. Leaves to others: keeping the entries, files.

One bad line and nothing of the list is taken: who has mended it imports the whole again, and what is there stays as it is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from relay.core import moments, paths, suppressions
from relay.core.model import Keys, Reply, Value
from relay.core.suppressions import GROUNDS, Ground, Suppression

COLUMNS = ("recipient", "grant", "reason", "since", "source", "event", "note", "digest")
# What the lists of others call these.
CALLED: Mapping[str, str] = {
    **{name: name for name in COLUMNS},
    **dict.fromkeys(("email", "address", "emailaddress", "email_address", "e_mail", "mail"), "recipient"),
    **dict.fromkeys(("grant_id",), "grant"),
    **dict.fromkeys(("suppressionreason", "suppression_reason", "type"), "reason"),
    **dict.fromkeys(("created", "created_at", "createdat", "date", "timestamp", "last_update_time"), "since"),
    **dict.fromkeys(("event_id",), "event"),
    **dict.fromkeys(("notes", "comment", "description"), "note"),
}
REASONS: Mapping[str, Ground] = {
    **{name: name for name in GROUNDS},
    **dict.fromkeys(("bounces", "bounced", "hardbounce", "hard_bounce", "permanent", "invalid"), "bounce"),
    **dict.fromkeys(
        ("complaints", "complained", "spam", "spamcomplaint", "spam_complaint", "spam_report"), "complaint"
    ),
    **dict.fromkeys(("refused", "opt_out", "no_tracking"), "refusal"),
    **dict.fromkeys(("manualsuppression", "manual_suppression", "by_hand"), "manual"),
}
DIGEST = re.compile(rf"[0-9a-f]{{{suppressions.DIGITS}}}")
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
LONGEST = {"note": 1000, "event": 100, "source": 100, "grant": 200}
MOST = 100_000  # lines of one list
MOST_BAD = 100  # that are named
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
UNKEYED = re.compile(r"[\s\-]+")


class Bad(Value, frozen=True):
    """A line that can't be read, by its number in the file; 0 for the whole."""

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}" if self.line else self.sentence


class Defaults(Value, frozen=True):
    """What holds where a line does not say."""

    now: float
    source: str
    grant_id: str = ""
    reason: Ground = "manual"
    note: str = ""


def recipient(text: str) -> str:
    """The address, as it can be of an envelope. Raises ValueError, whose text says what is wrong."""
    text = text.strip()
    path = paths.rcpt(f"TO:<{text}>", extended=True, utf8=True)
    if isinstance(path, Reply) or "@" not in path.address or path.address != text:
        raise ValueError(f"{text[:100]!r} is no mail address")
    return text


class Lines(list[str]):
    """What is written, line by line."""

    def write(self, line: str) -> None:
        self.append(line)


def read(text: str, keys: Keys, defaults: Defaults, grants: Collection[str]) -> list[Suppression] | list[Bad]:
    """The entries; or what is wrong, of the first lines that are. `grants` are those that there are."""
    text = text.removeprefix("\N{BYTE ORDER MARK}")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(LINE.findall(text), delimiter=delimiter, strict=True)
    try:
        header = next((row for row in rows if any(map(str.strip, row))), [])
        names = [CALLED.get(keyed(name), "") for name in header]
        if wrong := bad_header(header, names):
            return [Bad(max(rows.line_num, 1), wrong)]
        return entries(rows, names, keys, defaults, grants)
    except csv.Error as reason:
        return [Bad(rows.line_num, f"this is no CSV: {reason}")]


def entries(
    rows: Iterator[list[str]], names: Sequence[str], keys: Keys, defaults: Defaults, grants: Collection[str]
) -> list[Suppression] | list[Bad]:
    found: list[Suppression] = []
    bad: list[Bad] = []
    before = getattr(rows, "line_num", 1)
    for row in rows:
        number, before = before + 1, getattr(rows, "line_num", before + 1)
        if not any(map(str.strip, row)):
            continue
        if len(found) >= MOST:
            return [Bad(number, f"there are more than {MOST:,} lines; divide the list")]
        try:
            if len(row) > len(names) and any(map(str.strip, row[len(names) :])):
                raise ValueError(f"has {len(row)} cells, and the first line names {len(names)}")
            cells = {name: plain(cell) for name, cell in zip(names, row, strict=False) if name}
            found.append(entry(cells, keys, defaults, grants))
        except ValueError as reason:
            bad.append(Bad(number, str(reason)))
            if len(bad) >= MOST_BAD:
                break
    return bad or found


def keyed(name: str) -> str:
    return UNKEYED.sub("_", name.strip().lower())


def bad_header(header: Sequence[str], names: Sequence[str]) -> str:
    if "recipient" not in names and "digest" not in names:
        return f"the first line must name the columns, and one of them recipient (or email); it is {','.join(header)[:100]!r}"
    twice = next((name for name in names if name and names.count(name) > 1), "")
    return f"two columns are {twice}" if twice else ""


def entry(cells: Mapping[str, str], keys: Keys, defaults: Defaults, grants: Collection[str]) -> Suppression:
    """Raises ValueError."""
    address, digest = cells.get("recipient", ""), cells.get("digest", "").lower()
    if address:
        address = recipient(address)
        digest = suppressions.digest(address, keys)
    elif not DIGEST.fullmatch(digest):  # of an erased one, in a list of ours
        raise ValueError("has no recipient")
    said = cells.get("reason", "")
    reason = REASONS.get(keyed(said)) if said else defaults.reason
    if reason is None:
        raise ValueError(f"{said[:40]!r} is no reason; there are {', '.join(GROUNDS)}")
    grant = cells.get("grant", "") or defaults.grant_id
    if grant and grant not in grants:
        raise ValueError(f"there is no grant {grant[:100]!r}")
    since = moment(cells["since"]) if cells.get("since") else defaults.now
    if since is None or not 0 < since <= defaults.now + 86_400:
        raise ValueError(f"{cells['since'][:40]!r} is no time that was; such as 2026-01-31T12:00:00Z")
    for name, most in LONGEST.items():
        if len(cells.get(name, "")) > most:
            raise ValueError(f"{name} has more than {most} characters")
    return Suppression(
        digest, grant, reason, address, since, cells.get("source") or defaults.source, cells.get("event", ""),
        cells.get("note") or defaults.note,
    )  # fmt: skip


def moment(text: str) -> float | None:
    """Without an offset it is UTC, as lists of others have it."""
    text = text.removesuffix(" UTC")
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return moments.read(text, 0.0) if text[-1:].isdecimal() else None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def written(those: Iterable[Suppression], *, header: bool = True) -> str:
    """As `read` has it."""
    lines = Lines()
    rows = csv.writer(lines, lineterminator="\r\n")
    if header:
        rows.writerow(COLUMNS)
    for one in those:
        cells = (
            one.recipient, one.grant_id, one.reason, when(one.since), one.source, one.event_id, one.note,
            "" if one.recipient else one.digest,
        )  # fmt: skip
        rows.writerow([f"'{cell}" if cell.startswith((*FORMULA, "'")) else cell for cell in cells])
    return "".join(lines)


def shown(one: Suppression) -> dict[str, str | float | None]:
    """As JSON has it. `grant` None is all, `recipient` None is erased."""
    return {
        "recipient": one.recipient or None,
        "grant": one.grant_id or None,
        "reason": one.reason,
        "since": one.since,
        "source": one.source,
        "event": one.event_id or None,
        "note": one.note,
        "digest": one.digest,
    }


def plain(cell: str) -> str:
    """Without what keeps it from being a formula."""
    cell = cell.strip(" ")
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*FORMULA, "'")) else cell


def when(at: float) -> str:
    """RFC 3339, with microseconds: so it comes back as it was."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
