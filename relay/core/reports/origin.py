"""Who sent a message, a mail system or a person, as far as its header says.

Owns: what speaks for each, and how far it can be believed. Leaves to others: what the message says (`reports.prose`),
automatic answers (`reports.automatic`).
"""

from __future__ import annotations

import re

from relay.core import structured
from relay.core.headers import Headers
from relay.core.reports import sentences, subjects

NULL = re.compile(r"(?:<>|<?mailer-daemon(?:@[^<>]*)?>?)?", re.I)
DOMAIN_OF = re.compile(r"@[^\s<>()\",;@]*")


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
    return structured.read(head.get("auto-submitted")).word not in ("", "no")


def vouched(head: Headers) -> bool:
    """Whether more than its subject says that a mail system sent this."""
    return (
        bool(head.first("x-failed-recipients"))
        or null(head)
        or system(head)
        or "report" in head.get("content-type")[:100]
    )
