"""Bounces and delays that only people were meant to read: a text that names who did not get the message, and why.

Owns: recognising them, what became of the message, and the returned message in the text.
Leaves to others: who sent them (`reports.origin`), whom the text names (`reports.recipients`), the words
(`reports.sentences`), reports with a part for programs (`reports.delivery`).

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
from relay.core.reports import origin, recipients, sentences, subjects
from relay.core.reports.delivery import RecipientFields

# Said of mail that was refused by a notification of its disposition.
REFUSED = re.compile(r"reject|refus|quota|zur[üu]ckgewiesen|abgelehnt|rechaza|rifiutat|odrzuc|отклон|拒", re.I)
TAG = re.compile(r"<(?:br|/p|/div|/tr|/h\d)[^<>]{0,200}>", re.I)
CELL = re.compile(r"<(?:/td|/th|/li)[^<>]{0,200}>", re.I)
MARKUP = re.compile(r"<[^<>@]{0,2000}>")

Outcome = Literal["failed", "delayed", "delivered"]


@dataclass(frozen=True, slots=True)
class Found:
    """`outcome` is what became of the message; `original` the header section of the returned message, where the text
    holds it; `sentence` the words by which it was known, where it was by words."""

    entries: tuple[RecipientFields, ...]
    outcome: Outcome
    sentence: str
    original: str


def read(head: Headers, text: str, returned: str) -> Found | None:
    """What the text says, or None where it is no report. `returned` is the header section of the message that came
    back as a part."""
    failed = addresses.listed(head, "x-failed-recipients")[: recipients.MAX_RECIPIENTS]
    subject = head.get("subject")[:1_000]
    own, original = divided(text)
    words = " ".join(own[: recipients.LONGEST_OWN].split())
    title = sentences.TITLE.search(subject)
    sentence = sentences.FAILURE.search(words) or sentences.STILL.search(words)
    back, named_so = bool(returned or original), origin.system(head)
    if sentence is None and back and named_so:  # a person who is away says such things too
        sentence = sentences.LATER.search(f"{subject} {words}") or sentences.SUCCESS.search(f"{subject} {words}")
    known = returned_head(returned or original)
    mine = set(map(addresses.comparable, addresses.listed(head, "to")))
    entries = recipients.told(own, failed, mine) or recipients.told(own, failed, set())  # some wrote to themselves
    coded = tuple(entry for entry in entries if recipients.code(entry))
    sent_to = set(map(addresses.comparable, addresses.listed(known, "to")))
    if coded and not failed and len(coded) < len(entries):  # others are mentioned, such as who may help
        entries = tuple(e for e in entries if recipients.code(e) or addresses.comparable(e.recipient) in sent_to)
    returned_id = known.first("message-id") is not None
    structure = (
        bool(coded)
        and returned_id
        and not subjects.automatic(subject)
        and (origin.vouched(head) or origin.declared(head))
    )
    if named_so or (origin.vouched(head) and title):
        daemon = bool(sentences.DAEMON.search(origin.author(head))) and bool(entries)
        said = (bool(sentence) and bool(title or back or daemon)) or bool(title and coded)
    else:  # nobody vouches for it but its words, or only a null reverse-path, which who is away has too
        about = any(addresses.comparable(e.final) in sent_to for e in entries) and not subjects.automatic(subject)
        said = bool(
            sentence and ((title and (coded or returned_id)) or (origin.vouched(head) and returned_id and about))
        )
    if not (failed or said or structure):
        return None
    if not entries:
        entries = tuple(RecipientFields(a) for a in addresses.listed(known, "to")[:1])
    if not entries:
        return None
    outcome = told_outcome(subject, words, entries)
    entries = tuple(replace(e, action=outcome, final=e.final or e.recipient) for e in entries)
    if outcome != "delivered":
        entries = recipients.complete(entries, own)
    return Found(entries, outcome, sentence[0] if sentence else "", original)


def returned_head(section: str) -> Headers:
    return headers.read(section.lstrip("\r\n").encode("utf-8", "surrogateescape"))


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


def plain(html: str) -> str:
    """HTML as text: enough for finding words, addresses and codes."""
    return entities.text(MARKUP.sub("", CELL.sub(" ", TAG.sub("\n", html))))
