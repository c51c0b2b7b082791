"""Whom a text names as not reached, and what it says of each.

Owns: finding addresses in sentences, which of them are recipients, the codes and words that are about one, and what
words mean where no code says it. Leaves to others: whether the text is a report at all (`reports.prose`), the words of
mail systems (`reports.sentences`), codes and replies as servers write them (`reports.delivery`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from relay.core import addresses
from relay.core.reports import sentences
from relay.core.reports.delivery import ENHANCED, LONGEST_REASON, RecipientFields, enhanced, reply

MAX_RECIPIENTS = 100
LONGEST_LINE = 1_000
LONGEST_OWN = 20_000  # characters of a report's own words that are looked at
NEAR, CODED = 8, 16  # lines behind an address within which a reply code, or an enhanced one, is about it
BEFORE = 3  # and before it, where none is behind

# An address in a text: what Chinese and Japanese write around one is no part of it.
_MARKS = (
    r"\s<>\"(),;:\[\]\u3000-\u3002\u300a-\u3011\uff08\uff09\uff0c\uff1a\uff1b\uff1c\uff1e\u201c\u201d\u201e\u00ab\u00bb"
)
ADDRESS = re.compile(rf"[^{_MARKS}]{{1,64}}@[^{_MARKS}@]{{1,255}}")
WESTERN = re.compile(r"[!-~]+\Z")
DOMAIN = re.compile(r"[A-Za-z0-9.-]+\.[A-Za-z][A-Za-z0-9-]+(?=[^\x00-\x7f])")
PREFIX = re.compile(r"(?:.*[:;=])?(?:smtp|rfc822|mailto|addr|address|email|e-mail|to|rcpt)[=:;]", re.I)
LEADING = re.compile(
    r"^[ \t]{0,12}(?:[*>\-•·]{1,3}[ \t]{0,3})?[<\"'\[]?(" + ADDRESS.pattern + r")[>\"'\]]?(?=[\s:,.(\[<：，]|$)"
)
NAMED = re.compile(
    r"(?:<|to:?[ ]|address:?[ ]|recipient[s]?:?[ ]|errors?:[ ]|error-for:[ ]{1,4}|said:[ ].{0,80}<)(" + ADDRESS.pattern + r")", re.I
)  # fmt: skip
# Behind it stand those who did not get the message.
INTRODUCES = re.compile(
    r"(?:following|these|failed|affected|intended|one or more|the) (?:recipient|address|user|person)\S{0,6}.{0,60}:[ \t]*$"
    r"|did not reach.{0,60}:[ \t]*$|not (?:be )?delivered to.{0,30}:[ \t]*$",
    re.I | re.M,
)
# Whoever stands behind these words sent something.
SENT_BY = re.compile(
    r"\b(?:from|sender|envelope-from|reply-to|von|absender|de|expéditeur|remitente|da|mittente|от|送信者|发件人)[ :=：<\"']{0,4}\Z",
    re.I,
)
# The address that the message was sent to, where the one that failed is another.
EXPANDED = re.compile(
    r"(?:expanded|generated|forwarded|redirected|aliased) from:?|originally addressed to|original(?:ly)? recipient:?|alias of", re.I
)  # fmt: skip
# A reply code that stands as servers' words do: at the beginning of a line, behind a colon or a bracket.
PLACED = re.compile(r"(?:^|[:(\[#\"'>：])[ \t]{0,4}#?([45][0-5]\d)(?=[ \-:][^\d])", re.M)
HINTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.I), code)
    for pattern, code in (
        (
            r"mailbox[ ](?:is[ ])?full|quota|exceed(?:s|ed)[ ](?:the[ ])?(?:allowed|local|storage)|storage[ ]exceeded|postfach\b.{0,20}voll"
            r"|bo[îi]te\b.{0,30}pleine|buz[óo]n\b.{0,20}lleno|casella\b.{0,20}piena|caixa\b.{0,30}cheia|postvak\b.{0,20}vol\b|schr[áa]nka\b.{0,20}pln[áa]"
            r"|переполнен|一杯|容量.{0,10}超|满|滿|가득",
            "5.2.2",
        ),
        (r"size[ ]limit|too[ ](?:large|big)", "5.3.4"),
        (
            r"(?:user|recipient|mailbox|account|address)\b.{0,40}(?:unknown|not[ ](?:found|recognized|exist)|doesn't[ ](?:have|exist))"
            r"|(?:unknown|no[ ]such)[ ](?:user|recipient|local)|invalid[ ](?:address|recipient|mailbox)|couldn't[ ]be[ ]found"
            r"|unbekannt|inconnue?\b|desconocid|sconosciut|inexistent|onbekend|nezn[áa]m|nieznan|не[ ]существует|не[ ]найден|不存在|存在しま|存在しない|존재하지",
            "5.1.1",
        ),
        (r"(?:disabled|discontinued|inactive)", "5.2.1"),
        (r"host[ ](?:unknown|not[ ]found)|domain[ ](?:not[ ]found|unknown)|name[ ]service[ ]error", "5.1.2"),
        (
            r"timed?[ ]?out|expired|not[ ]responding|too[ ]long|could[ ]not[ ]connect|connection[ ]refused|for[ ]\d+[ ]days",
            "5.4.7",
        ),
        (r"spam|blocked|denied|policy|black-?list|block[ ]?list", "5.7.1"),
    )
)


def told(own: str, failed: Sequence[str], people: set[str]) -> tuple[RecipientFields, ...]:
    """One entry per recipient that the text names, with the words that follow the name."""
    start = 0
    if not failed and (introduced := INTRODUCES.search(own)):
        start = own.count("\n", 0, introduced.end()) + 1
    lines = [line[:LONGEST_LINE] for line in own.split("\n")]
    places = named(lines, start, people) or (named(lines, 0, people) if start else [])
    if not places and not failed and (match := EXPANDED.search(own)):  # "an undisclosed address (generated from …)"
        places = named([own[match.end() : match.end() + 330].strip(" :<\n")], 0, people)[:1]
    if failed:
        wanted = {addresses.comparable(a): a for a in failed}
        places = [p for p in places if addresses.comparable(p[1]) in wanted]
        there = {addresses.comparable(p[1]) for p in places}
        places += [(len(lines), a) for spelt, a in wanted.items() if spelt not in there]
    places.sort(key=lambda place: place[0])
    entries = []
    for at, (number, found) in enumerate(places[:MAX_RECIPIENTS]):
        end = places[at + 1][0] if at + 1 < len(places) else len(lines)
        before = lines[max(places[at - 1][0] + 1 if at else 0, number - BEFORE) : number]
        entries.append(entry(found, lines[number : max(end, number + 1)], before))
    return tuple(entries)


def entry(found: str, lines: Sequence[str], before: Sequence[str]) -> RecipientFields:
    """One recipient, with what stands behind the address, and where no code does with that of the lines before."""
    words = reason(lines, found)
    near = "\n".join(lines[:NEAR])
    status, number = enhanced("\n".join(lines[:CODED])), placed(near)
    if status is None and number is None and before:
        status, number = enhanced("\n".join(before)), placed("\n".join(before))
    recipient = found
    if (match := EXPANDED.search(near)) and (original := ADDRESS.search(near, match.end(), match.end() + 330)):
        recipient = trimmed(original[0])
        recipient = recipient if usable(recipient) else found
    return RecipientFields(recipient, status, number, reason=words, final=found)


def named(lines: Sequence[str], start: int, people: set[str]) -> list[tuple[int, str]]:
    """Where addresses stand: at the beginning of lines, else behind words that introduce one, else anywhere."""
    places: list[tuple[int, str]] = []
    seen: set[str] = set()
    for pattern in (LEADING, NAMED, ADDRESS):
        for number, line in enumerate(lines[start:], start):
            if "@" not in line:
                continue
            for match in pattern.finditer(line):
                at = match.start(match.lastindex or 0)
                found = trimmed(match[match.lastindex or 0])
                spelt = addresses.comparable(found)
                if spelt in seen or spelt in people or not usable(found) or len(places) >= MAX_RECIPIENTS:
                    continue
                if pattern is not LEADING and (
                    SENT_BY.search(line, max(0, at - 24), at) or EXPANDED.search(line, max(0, at - 30), at)
                ):
                    continue
                seen.add(spelt)
                places.append((number, found))
        if places:
            break
    return places


def trimmed(found: str) -> str:
    """An address without what a sentence has around it."""
    found = found.strip("'\".<>`*|")
    if (match := PREFIX.match(found)) and "@" in found[match.end() :]:
        found = found[match.end() :]
    local, _, domain = found.rpartition("@")
    if not local.isascii() and (western := WESTERN.search(local)):  # 无法发送到b@rcpt.test
        local = western[0]
    if match := DOMAIN.match(domain):
        domain = match[0]
    domain = domain.partition("...")[0]
    return f"{local}@{domain}".strip("'\".<>")


def usable(found: str) -> bool:
    local, _, domain = found.rpartition("@")
    return (
        bool(local)
        and "." in domain
        and not sentences.SYSTEM.search(local + "@")
        and not domain.lower().startswith("mailto")
    )


def placed(text: str) -> int | None:
    """The reply code in a server's words, where it stands as such."""
    number = reply(text)
    if number is None and (match := PLACED.search(text)):
        number = int(match[1])
    if number is not None and (PLACED.search(text) or ENHANCED.search(text)):
        return number
    return None


def reason(lines: Sequence[str], recipient: str) -> str:
    """The paragraph about one recipient, in one line."""
    words = " ".join(" ".join(lines[:40]).split())
    return words.removeprefix(f"<{recipient}>:").removeprefix(recipient).strip(" :")[:LONGEST_REASON]


def complete(entries: tuple[RecipientFields, ...], own: str) -> tuple[RecipientFields, ...]:
    """The entries with status and reply code: of their own words, else of the whole text, else as the words mean."""
    completed = []
    known: dict[str, str] = {}  # many recipients have the same words: the whole text's, or one server's
    for entry in entries:
        code, number = entry.status or enhanced(entry.reason), entry.smtp_code or reply(entry.reason)
        if len(entries) == 1:
            code, number = code or enhanced(own), number or reply(own)
        if code is None and number is not None:
            code = "5.0.0" if number >= 500 else "4.0.0"
        if code is None:
            if entry.reason not in known:
                known[entry.reason] = hint(entry.reason, *([own[:LONGEST_OWN]] if len(entries) == 1 else []))
            code = known[entry.reason]
            if entry.action == "delayed":
                code = "4" + code[1:]
        completed.append(replace(entry, status=code, smtp_code=number))
    return tuple(completed)


def hint(*texts: str) -> str:
    """The status code that the words mean: of the first text that has any."""
    return next((code for text in texts for pattern, code in HINTS if pattern.search(text)), "5.0.0")


def code(entry: RecipientFields) -> bool:
    """Whether a code of SMTP stands beside the recipient."""
    return entry.status is not None or entry.smtp_code is not None
