"""Bounces and delays that only people were meant to read: a text that names who did not get the message, and why.

Owns: recognising them, and finding recipients, codes and the returned message in the text.
Leaves to others: reports with a part for programs (`reports.delivery`), the words (`reports.sentences`).

A message is taken for one only where it comes from a mail system, and by evidence: the returned message, a code of SMTP
beside an address, a sentence that mail systems write. The first two need no language. A person's answer about a bounce
is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from relay.core import addresses, headers
from relay.core.headers import Headers
from relay.core.links import entities
from relay.core.reports import sentences, subjects
from relay.core.reports.delivery import ENHANCED, LONGEST_REASON, RecipientFields, enhanced, reply

MAX_RECIPIENTS = 100
LONGEST_LINE = 1_000
LONGEST_OWN = 20_000  # characters of a report's own words that are looked at for sentences
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
# Said of mail that was refused by a notification of its disposition.
REFUSED = re.compile(r"reject|refus|quota|zur[üu]ckgewiesen|abgelehnt|rechaza|rifiutat|odrzuc|отклон|拒", re.I)
# A reply code that stands as servers' words do: at the beginning of a line, behind a colon or a bracket.
PLACED = re.compile(r"(?:^|[:(\[#\"'>：])[ \t]{0,4}#?([45][0-5]\d)(?=[ \-:][^\d])", re.M)
NULL = re.compile(r"(?:<>|<?mailer-daemon(?:@[^<>]*)?>?)?", re.I)
DOMAIN_OF = re.compile(r"@[^\s<>()\",;@]*")
TAG = re.compile(r"<(?:br|/p|/div|/tr|/h\d)[^<>]{0,200}>", re.I)
CELL = re.compile(r"<(?:/td|/th|/li)[^<>]{0,200}>", re.I)
MARKUP = re.compile(r"<[^<>@]{0,2000}>")
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

Outcome = Literal["failed", "delayed", "delivered"]


@dataclass(frozen=True, slots=True)
class Found:
    """`outcome` is what became of the message; `original` the header section of the returned message, where the text
    holds it; `sentence` the words by which it was known, where it was by words."""

    entries: tuple[RecipientFields, ...]
    outcome: Outcome
    sentence: str
    original: str


def null(head: Headers) -> bool:
    """Whether the message came with a null reverse-path (RFC 5321 4.5.5)."""
    path = head.first("return-path")
    if path and NULL.fullmatch(head.undecoded(path).strip()):
        return True
    author = head.first("from")
    return author is not None and head.undecoded(author).strip() in ("<>", "")


def person(head: Headers) -> bool:
    """Whether this is somebody's answer, or what they forward, whoever they are: it says so, and no mail system does."""
    if null(head) or head.first("x-failed-recipients") or head.first("auto-submitted"):
        return False
    answers = head.first("in-reply-to") or head.first("references") or not system(head)
    return bool(answers) and subjects.persons(head.get("subject")[:1_000])


def system(head: Headers) -> bool:
    return bool(sentences.SYSTEM.search(author(head)))


def author(head: Headers) -> str:
    """Who wrote it, without the domain: there are people at domains such as postmaster.example."""
    return DOMAIN_OF.sub("@", head.get("from")[:500])


def looks_automatic(head: Headers) -> bool:
    """Whether a mail system sent this: everything else is not asked what it says."""
    if person(head):
        return False
    if head.first("x-failed-recipients") or null(head) or system(head):
        return True
    if b"delivery-status" in head.raw[: head.body][:65_536].lower():
        return True
    if declared(head):
        return True
    return bool(sentences.TITLE.search(head.get("subject")[:1_000])) and not head.first("in-reply-to")


def declared(head: Headers) -> bool:
    """Whether a program says that it sent this (RFC 3834 5)."""
    return head.get("auto-submitted").strip().lower() not in ("", "no")


def vouched(head: Headers) -> bool:
    """Whether more than its subject says that a mail system sent this."""
    return (
        bool(head.first("x-failed-recipients"))
        or null(head)
        or system(head)
        or "report" in head.get("content-type")[:100]
    )


def read(head: Headers, text: str, returned: str) -> Found | None:
    """What the text says, or None where it is no report. `returned` is the header section of the message that came
    back as a part."""
    failed = addresses.listed(head, "x-failed-recipients")[:MAX_RECIPIENTS]
    subject = head.get("subject")[:1_000]
    own, original = divided(text)
    words = " ".join(own[:LONGEST_OWN].split())
    title = sentences.TITLE.search(subject)
    sentence = sentences.FAILURE.search(words) or sentences.STILL.search(words)
    back, named_so = bool(returned or original), system(head)
    if sentence is None and back and named_so:  # a person who is away says such things too
        sentence = sentences.LATER.search(f"{subject} {words}") or sentences.SUCCESS.search(f"{subject} {words}")
    known = returned_head(returned or original)
    mine = set(map(addresses.comparable, addresses.listed(head, "to")))
    entries = told(own, failed, mine) or told(own, failed, set())  # some wrote to themselves
    coded = tuple(entry for entry in entries if code(entry))
    sent_to = set(map(addresses.comparable, addresses.listed(known, "to")))
    if coded and not failed and len(coded) < len(entries):  # others are mentioned, such as who may help
        entries = tuple(e for e in entries if code(e) or addresses.comparable(e.recipient) in sent_to)
    returned_id = known.first("message-id") is not None
    structure = bool(coded) and returned_id and not subjects.automatic(subject) and (vouched(head) or declared(head))
    if named_so or (vouched(head) and title):
        daemon = bool(sentences.DAEMON.search(author(head))) and bool(entries)
        said = (bool(sentence) and bool(title or back or daemon)) or bool(title and coded)
    else:  # nobody vouches for it but its words, or only a null reverse-path, which who is away has too
        about = any(addresses.comparable(e.final) in sent_to for e in entries) and not subjects.automatic(subject)
        said = bool(sentence and ((title and (coded or returned_id)) or (vouched(head) and returned_id and about)))
    if not (failed or said or structure):
        return None
    if not entries:
        entries = tuple(RecipientFields(a) for a in addresses.listed(known, "to")[:1])
    if not entries:
        return None
    outcome = told_outcome(subject, words, entries)
    entries = tuple(replace(e, action=outcome, final=e.final or e.recipient) for e in entries)
    if outcome != "delivered":
        entries = complete(entries, own)
    return Found(entries, outcome, sentence[0] if sentence else "", original)


def returned_head(section: str) -> Headers:
    return headers.read(section.lstrip("\r\n").encode("utf-8", "surrogateescape"))


def code(entry: RecipientFields) -> bool:
    """Whether a code of SMTP stands beside the recipient."""
    return entry.status is not None or entry.smtp_code is not None


def told_outcome(subject: str, words: str, entries: Sequence[RecipientFields]) -> Outcome:
    """What became of the message, by words where there are any that are known, else by the codes."""
    classes = {(entry.status or str(entry.smtp_code or ""))[:1] for entry in entries} - {""}
    if is_delay(subject, words, classes):
        return "delayed"
    failure = sentences.FAILURE.search(subject) or sentences.FOREIGN.search(words) or FAILED.search(words)
    if not failure and not classes & {"4", "5"} and sentences.SUCCESS.search(f"{subject} {words}"):
        return "delivered"
    if classes == {"4"} and not sentences.FAILURE.search(f"{subject} {words}"):
        return "delayed"
    return "failed"


FAILED = re.compile(r"\bfail|unable|could ?n[o']t|cannot|undeliver|\bnot\b.{0,20}deliver", re.I)


def is_delay(subject: str, words: str, classes: Collection[str]) -> bool:
    if sentences.STILL.search(words):
        return not re.search(r"fail|return", subject, re.I) or (
            "5" not in classes and not sentences.GIVEN_UP.search(words)
        )
    if "5" in classes and not re.search(r"delay|warning", subject, re.I):
        return False
    later = sentences.LATER.search(subject) or ("4" in classes and sentences.LATER.search(words))
    return bool(later) and not sentences.GIVEN_UP.search(words)


def divided(text: str) -> tuple[str, str]:
    """The report's own words, and the returned message below them."""
    text = text.replace("\r\n", "\n")
    cuts = [m for m in (sentences.DIVIDER.search(text), sentences.SECTION.search(text)) if m]
    if not cuts:
        return text, ""
    first = min(cuts, key=lambda m: m.start())
    own = text[: first.start()]
    section = sentences.SECTION.search(text, first.start())
    below = text[section.start() :] if section else text[first.end() :].lstrip("\n")
    if below.startswith(">"):
        below = "\n".join(line.removeprefix(">").removeprefix(" ") for line in below.split("\n"))
    return own, below


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


def plain(html: str) -> str:
    """HTML as text: enough for finding words, addresses and codes."""
    return entities.text(MARKUP.sub("", CELL.sub(" ", TAG.sub("\n", html))))
