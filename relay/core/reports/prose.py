"""Bounces and delays that only people were meant to read: a text that names who did not get the message, and why.

Owns: recognising them, and finding recipients, codes and the returned message in the text.
Leaves to others: reports with a part for programs (`reports.delivery`).

A message is taken for one only where it comes from a mail system and holds a sentence that mail systems write: a
person's answer about a bounce is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from relay.core import addresses, headers
from relay.core.headers import Headers
from relay.core.links import entities
from relay.core.reports.delivery import ADDRESS, LONGEST_REASON, RecipientFields, enhanced, reply

MAX_RECIPIENTS = 100
LONGEST_LINE = 1_000

SYSTEM = re.compile(
    r"mailer-?daemon|post-?master|mail[ ._-]?deliver|delivery[ ._-]?subsystem|mail[ ._-]?system"
    r"|mail administrator|mdaemon",
    re.I,
)
IMPERSONAL = re.compile(r"\b(?:no|do-?not)-?reply@", re.I)  # much else comes from these: their subject must say it
TITLE = re.compile(
    r"undeliver|deliver\w*[ ](?:status|fail|problem|error|report|delay)|fail\w*[ ](?:deliver|notice)|mail[ ](?:delivery[ ])?fail"
    r"|return(?:ed|ing)[ ](?:mail|message|to)|non[- ]?deliver|mail[ ]system[ ]error|error[ ]sending|could[ ]not[ ]send"
    r"|message[ ]\S{1,80}[ ]delayed|delayed[ ]mail|delivery[ ]has[ ]failed|配信|メールエラー|不達|unzustellbar|non[ ]remis",
    re.I,
)
# Sentences of mail systems about a message that did not arrive. Each stands in the text of some MTA.
FAILURE = re.compile(
    r"could[ ]?(?:n't|[ ]not)[ ]be[ ]delivered|(?:was|has)[ ]not[ ](?:been[ ])?delivered|not[ ]able[ ]to[ ]deliver"
    r"|unable[ ]to[ ]deliver|wasn't[ ]able[ ]to[ ]deliver|failed[ ]permanently|permanent(?:ly)?[ ](?:fatal[ ])?(?:error|fail)"
    r"|delivery[ ]has[ ]failed|delivery[ ](?:to[ ].{1,300}[ ])?(?:has[ ])?failed|did[ ]not[ ]reach|following[ ]address(?:es)?[ ](?:had|failed)"
    r"|error[ ]delivering|error[ ]has[ ]occurred[ ]while|trouble[ ]delivering|delivery[ ]errors|failure[ ]reasons"
    r"|transcript[ ]of[ ]session|could[ ]not[ ]send|undeliverable|non[ ]d[ée]livr|delivery[ ]fail|returned[ ]to[ ]sender"
    r"|user[ ]mailbox[ ]exceeds|invalid[ ]final[ ]delivery|unknown[ ]user|user[ ]unknown|no[ ]such[ ]user|送信できません|配信できません|送信に失敗"
    r"|не[ ]может[ ]быть[ ]доставлено|did[ ]not[ ]receive[ ]this|(?:message|mail)[ ]delayed|delivery[ ](?:is|was)[ ]delayed"
    r"|not[ ]yet[ ]been[ ]delivered|delay(?:ed)?[ ]notif|message[ ]delivery|temporar\w+[ ](?:fail|error|problem)",
    re.I,
)
# It is still being tried: said in the subject, or in the text where nothing says that it was given up.
LATER = re.compile(
    r"\bdelay(?:ed)?\b|^warning|could[ ]not[ ]send[ ](?:mail|message)[ ]for[ ]past|not[ ]yet|still[ ]being[ ]retried|will[ ]retry",
    re.I,
)
GIVEN_UP = re.compile(
    r"permanent|giv(?:en|ing)[ ]up|not[ ]going[ ]to[ ]try|expired|cannot[ ]send[ ]message[ ]for|has[ ]failed|failed[ ]permanently",
    re.I,
)
STILL = re.compile(
    r"(?:will|still)[ ](?:be[ ])?(?:keep[ ]|continue[ ])?(?:retr(?:y|ied|ying)|try(?:ing)?)|not[ ]yet[ ]been[ ]delivered"
    r"|delivery[ ]attempts[ ]will[ ]continue|no[ ]action[ ]is[ ]required|not[ ]need[ ]to[ ]resend",
    re.I,
)
# The line after which the returned message stands.
DIVIDER = re.compile(
    r"^[ \t>]{0,8}-{0,60}[ \t]{0,4}(?:=+[ \t]*)?(?:"
    r"(?:this[ ]is[ ]a[ ]copy|below[ ](?:this[ ]line[ ])?is[ ]a[ ]copy|a[ ]copy)[ ]of[ ](?:the|your)[ ](?:original[ ])?(?:message|mail)"
    r"|(?:below[ ]this[ ]line[ ]is)[ ].{0,40}|(?:the[ ])?(?:body|header)s?[ ]of[ ](?:the[ ])?original[ ]message.{0,40}"
    r"|original[ ]m(?:essage|ail)(?:[ ](?:follows|headers|header|info|:).{0,20})?|returned[ ]message|unsent[ ]message.{0,20}|message[ ]headers?[ ]follows?"
    r"|message[ ](?:text|content)[ ]follows|bounced[ ]e-?mail|undelivered[ ]message"
    r")[ \t.:]{0,4}.{0,30}?-{0,60}[ \t]*$",
    re.I | re.M,
)
# A header section in the middle of a text: two fields of mail in a row.
SECTION = re.compile(
    r"^(?:received|return-path|message-id|date|from|x-[a-z-]{1,40}|delivered-to|dkim-signature):.{0,998}\n"
    r"(?:[ \t].{0,998}\n){0,20}(?:received|return-path|message-id|date|from|to|subject|mime-version|user-agent|x-[a-z-]{1,40}|by|id|with)\b.{0,5}:",
    re.I | re.M,
)
TAG = re.compile(r"<(?:br|/p|/div|/tr|/h\d)[^<>]{0,200}>", re.I)
MARKUP = re.compile(r"<[^<>@]{0,2000}>")
LEADING = re.compile(
    r"^[ \t]{0,12}(?:[*>\-•·]{1,3}[ \t]{0,3})?[<\"']?(" + ADDRESS.pattern + r")[>\"']?(?=[\s:,.(\[<]|$)"
)
NAMED = re.compile(
    r"(?:<|to:?[ ]|address:?[ ]|recipient[s]?:?[ ]|errors?:[ ]|said:[ ].{0,80}<)(" + ADDRESS.pattern + r")", re.I
)
HINTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.I), code)
    for pattern, code in (
        (r"mailbox[ ](?:is[ ])?full|quota|exceeds[ ]allowed|storage[ ]exceeded|一杯", "5.2.2"),
        (r"size[ ]limit|too[ ](?:large|big)", "5.3.4"),
        (
            r"(?:user|recipient|mailbox|account|address)\b.{0,40}(?:unknown|not[ ](?:found|recognized|exist)|doesn't[ ](?:have|exist))"
            r"|(?:unknown|no[ ]such)[ ](?:user|recipient|local)|invalid[ ](?:address|recipient|mailbox)|couldn't[ ]be[ ]found",
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


@dataclass(frozen=True, slots=True)
class Found:
    """`original` is the header section of the returned message, where the text holds it."""

    entries: tuple[RecipientFields, ...]
    delayed: bool
    sentence: str
    original: str


def looks_automatic(head: Headers) -> bool:
    """Whether a mail system sent this: everything else is not asked what it says."""
    if head.first("x-failed-recipients"):
        return True
    if head.first("return-path") and head.get("return-path").strip() in ("<>", "<MAILER-DAEMON>", ""):
        return True
    if head.first("from") and head.get("from").strip() in ("<>", ""):
        return True
    sender = head.get("from")[:500]
    if IMPERSONAL.search(sender):
        return bool(TITLE.search(head.get("subject")[:1_000]))
    return bool(SYSTEM.search(sender)) or b"delivery-status" in head.raw[: head.body][:65_536].lower()


def read(head: Headers, text: str, returned: str) -> Found | None:
    """What the text says, or None where it is no report of a message that did not arrive."""
    failed = addresses.listed(head, "x-failed-recipients")[:MAX_RECIPIENTS]
    subject = head.get("subject")[:1_000]
    own, original = divided(text)
    words = " ".join(own[:20_000].split())
    sentence = FAILURE.search(words)
    if not failed and (not sentence or not (TITLE.search(subject) or returned or original)):
        return None
    delayed = is_delay(subject, words)
    people = set(map(addresses.comparable, addresses.listed(head, "to")))
    entries = told(own, failed, people) or told(own, failed, set())  # some wrote to themselves
    if not entries:
        known = headers.read((returned or original).lstrip("\r\n").encode("utf-8", "surrogateescape"))
        entries = tuple(RecipientFields(a) for a in addresses.listed(known, "to")[:1])
    if not entries:
        return None
    entries = tuple(replace(e, action="delayed" if delayed else "failed", final=e.recipient) for e in entries)
    return Found(complete(entries, own), delayed, sentence[0] if sentence else "", original)


def is_delay(subject: str, words: str) -> bool:
    if STILL.search(words):
        return not re.search(r"fail|return", subject, re.I)
    return bool(LATER.search(subject)) and not GIVEN_UP.search(words)


def divided(text: str) -> tuple[str, str]:
    """The report's own words, and the returned message below them."""
    text = text.replace("\r\n", "\n")
    cuts = [m for m in (DIVIDER.search(text), SECTION.search(text)) if m]
    if not cuts:
        return text, ""
    first = min(cuts, key=lambda m: m.start())
    own = text[: first.start()]
    section = SECTION.search(text, first.start())
    return own, text[section.start() :] if section else text[first.end() :].lstrip("\n")


def told(own: str, failed: Sequence[str], people: set[str]) -> tuple[RecipientFields, ...]:
    """One entry per recipient that the text names, with the words that follow the name."""
    lines = [line[:LONGEST_LINE] for line in own.split("\n")]
    places: list[tuple[int, str]] = []
    seen: set[str] = set()
    for pattern in (LEADING, NAMED, ADDRESS):
        for number, line in enumerate(lines):
            for match in pattern.finditer(line):
                found = match[match.lastindex or 0].strip("'\".<>")
                spelt = addresses.comparable(found)
                if spelt not in seen and spelt not in people and usable(found) and len(places) < MAX_RECIPIENTS:
                    seen.add(spelt)
                    places.append((number, found))
        if places:
            break
    if failed:
        wanted = {addresses.comparable(a): a for a in failed}
        places = [p for p in places if addresses.comparable(p[1]) in wanted]
        named = {addresses.comparable(p[1]) for p in places}
        places += [(len(lines), a) for spelt, a in wanted.items() if spelt not in named]
    places.sort(key=lambda place: place[0])
    entries = []
    for at, (number, found) in enumerate(places[:MAX_RECIPIENTS]):
        end = places[at + 1][0] if at + 1 < len(places) else len(lines)
        entries.append(RecipientFields(found, reason=reason(lines[number : max(end, number + 1)], found)))
    return tuple(entries)


def usable(found: str) -> bool:
    local, _, domain = found.rpartition("@")
    return "." in domain and not SYSTEM.search(local + "@") and not domain.lower().startswith("mailto")


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
                words = entry.reason or own[:20_000]
                known[entry.reason] = next((hint for pattern, hint in HINTS if pattern.search(words)), "5.0.0")
            code = known[entry.reason]
            if entry.action == "delayed":
                code = "4" + code[1:]
        completed.append(replace(entry, status=code, smtp_code=number))
    return tuple(completed)


def plain(html: str) -> str:
    """HTML as text: enough for finding words, addresses and codes."""
    return entities.text(MARKUP.sub("", TAG.sub("\n", html)))
