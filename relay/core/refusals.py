"""What a server means by the words with which it does not do what it was asked: no, or not now?

Owns: the reading of those words, at a login by IMAP or SMTP, at opening a folder, at fetching a message; and, of a message
that is refused, whether it may be had in another form or by another server. Leaves to others: what follows from it
(`mailbox`, `upstream`).

A response code decides where it says which (RFC 5530 3), then the words. What says neither is "not now": an account
whose server has a bad hour must not be taken for one whose password was changed.
"""

from __future__ import annotations

import re
from typing import Literal

from relay.core import envelopes
from relay.core.model import Reply

CODE = re.compile(r"\[([A-Za-z][A-Za-z0-9-]*)(?: [^\]]*)?\]")
NO = frozenset({"AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "NONEXISTENT", "NOPERM"})
NOT_NOW = frozenset(
    {
        "UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CONTACTADMIN", "CORRUPTION", "OVERQUOTA", "CLIENTBUG", "CANNOT",
        "PRIVACYREQUIRED", "THROTTLED", "SYS",
    }
)  # fmt: skip
BUSY = re.compile(
    r"temporar|try again|try later|retry|later|too many|too fast|exceed|limit|unavailable|not available|time(?:d )?-?out"
    r"|internal|server error|system error|busy|overload|maintenance|throttl|connection|not connected|in use|shutting down"
    r"|out of (?:memory|resources)|can(?:no|')t (?:connect|contact)|back-?end|database|proxy",
    re.I,
)
CREDENTIALS = re.compile(
    r"(?:invalid|incorrect|wrong|bad|unknown|unrecogni[sz]ed|mismatched) (?:credential|user|login|log-in|password|pass\b"
    r"|e-?mail|account|auth|id\b|token)"
    r"|(?:credential|user ?name|user|login|log-in|password|account|token)s?(?: \S+)?(?: and password| or password)?"
    r" (?:is |are |was |has been |not )*(?:invalid|incorrect|wrong|bad|unknown|unrecogni[sz]ed|expired|disabled|revoked|locked"
    r"|blocked|suspended|accepted|rejected|correct|match)"
    r"|auth\w* (?:has )?(?:fail|error|reject|refus|denied|unsuccess)|fail\w* auth|not auth(?:enticat|oriz)ed"
    r"|log-?in (?:has )?(?:fail|reject|refus|denied|error|incorrect|invalid)|fail\w* log-?in"
    r"|no such (?:user|account)|application-specific password|app password|web log[- ]?in required"
    r"|log[- ]?in via your web browser|access denied|permission denied",
    re.I,
)
CROWDED = re.compile(
    r"(?:too many|maximum (?:number|amount) of|max\w*|limit\w*|number of)[\w ]*(?:connection|session|log-?in)"
    r"|(?:connection|session)s? (?:limit|count|exceed)",
    re.I,
)
NO_FOLDER = re.compile(
    r"(?:does(?: not|n't)|did not|didn't) exist|no such|not found|unknown (?:mailbox|folder)|non-?existent"
    r"|invalid (?:mailbox|folder)|(?:access|permission) denied|not (?:permitted|allowed)|no permission",
    re.I,
)


def codes(words: str) -> frozenset[str]:
    return frozenset(code.upper() for code in CODE.findall(words))


def login(words: str) -> bool:
    """Whether these words refuse the credentials."""
    return _no(words, CREDENTIALS)


def smtp_login(code: int, words: str) -> bool:
    """Whether this reply to AUTH refuses the credentials (RFC 4954 6)."""
    if code // 100 != 5 or BUSY.search(words):
        return False
    return code in (534, 535) or CREDENTIALS.search(words) is not None


def smtp_method(code: int) -> bool:
    """Whether this code in reply to AUTH refuses the method, and says nothing of the credentials: another method may do.
    504 is for one that is not known (500 and 502 from servers that know no better), 534 for one that is too weak, 538 for
    one that wants encryption (RFC 4954 4, 6; RFC 2554 6)."""
    return code in (500, 502, 504, 534, 538)


# RFC 3463 3.7, RFC 6531 3.7.4.2.
NOT_AS_8BIT = frozenset({"5.6.1", "5.6.3"})  # media not supported; conversion required but not supported
NOT_HERE = frozenset({"5.3.4", "5.6.2", "5.6.3", "5.6.7", "5.6.9"})
OF_SIZE = re.compile(
    r"(?:message|mail|data|content)\b[\w' ]* (?:size|large|big|long|length)|too (?:large|big)|size[\w ]* (?:exceed|limit)",
    re.I,
)
OF_QUOTA = re.compile(r"quota|mailbox|storage|full\b|space", re.I)


def of_8bit(reply: Reply) -> bool:
    """Whether this refusal of an 8bit message may not hold for the same in 7bit."""
    return reply.code // 100 == 5 and envelopes.status(reply) in NOT_AS_8BIT


def of_this_server(reply: Reply) -> bool:
    """Whether this refusal is of what one server lacks and another may offer: room for the message, a conversion,
    SMTPUTF8. Servers without enhanced status codes have 552 for a message that is too large (RFC 1870 6.1), and for a
    mailbox that is full; Gmail says 5.2.3 of its own limit."""
    status = envelopes.status(reply)
    if status in NOT_HERE:
        return True
    sized = reply.code == 552 and status in ("5.0.0", "5.2.3")
    return sized and OF_SIZE.search(reply.text) is not None and not OF_QUOTA.search(reply.text)


HELLO = re.compile(r"\b(?:HELO|EHLO)\b", re.I)
SECURE = re.compile(r"STARTTLS|\bTLS\b|\bSSL\b|encrypt", re.I)


MACHINE = re.compile(r"\bclient host\b.{0,120}?\b(?:rejected|blocked)\b", re.I | re.S)


def of_us(reply: Reply) -> Literal["login", "tls", "name", "greeting"] | None:
    """What of us this reply to a message refuses, where it is no word on the message: every other one would hear the same.
    530 is for a login or TLS that is missing (RFC 4954 6, RFC 3207 4); many servers check the name of EHLO, and the address that
    we come from, only when they hear of a recipient."""
    if reply.code == 530:
        return "tls" if SECURE.search(reply.text) else "login"
    if reply.code // 100 not in (4, 5) or reply.code == 503:
        return None
    return "name" if HELLO.search(reply.text) else "greeting" if MACHINE.search(reply.text) else None


def folder(words: str) -> bool:
    """Whether these words say that the folder is not there, or not for us."""
    return _no(words, NO_FOLDER)


def crowded(words: str) -> bool:
    """Whether these words say that there are too many connections."""
    return "LIMIT" in codes(words) or CROWDED.search(words) is not None


def away(words: str) -> bool:
    """Whether these words, in place of a message, say that the server has none at all now."""
    return bool(codes(words) & {"UNAVAILABLE", "INUSE", "LIMIT", "THROTTLED"})


def _no(words: str, plain: re.Pattern[str]) -> bool:
    said = codes(words)
    if said & NO:
        return True
    if said & NOT_NOW or BUSY.search(words):
        return False
    return plain.search(words) is not None
