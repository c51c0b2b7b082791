"""An answer that nobody wrote: vacation notices, acknowledgements, "this address is not read".

Owns: telling it from a person's. Leaves to others: reports of mail servers (`reports.delivery`, `reports.prose`).
By RFC 3834, and by what programs older than it, or unaware of it, do.
"""

from __future__ import annotations

import re

from relay.core.headers import Headers

# Fields that only automatic answers have, whatever they say.
MARKS = (
    "x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-mail-autoreply", "x-autoreply-from",
    "x-autoreply-domain", "x-vacation", "x-cron-env", "x-amazon-auto-reply",
)  # fmt: skip
PRECEDENCE = frozenset({"auto_reply", "auto-reply", "autoreply"})
# What automatic answers put before the subject, in the words of the programs that most people use. A person's
# answer to such a notice begins with "Re:".
SUBJECT = re.compile(
    r"""\s*(?:\[?(?:
      auto(?:mat(?:ic|ed))?[ -]?(?:re(?:ply|spon[sd]e?r?)|answer)
    | out[ ]of[ ](?:the[ ])?office(?:[ ]auto-?reply)? | vacation[ ](?:reply|response|message|notice)
    | (?:ooo|ooto)
    | abwesenheit(?:snotiz|sassistent|sbenachrichtigung)? | automatische[ ](?:antwort|e-?mail)
    | nicht[ ]im[ ]b(?:ü|ue)ro
    | r[ée]ponse[ ]automatique | absence[ ]du[ ]bureau | respuesta[ ]autom[áa]tica | fuera[ ]de[ ]la[ ]oficina
    | risposta[ ]automatica | fuori[ ]sede | resposta[ ]autom[áa]tica | automatisch(?:e)?[ ]antwoord | afwezig(?:heid)?
    | autosvar | automatisk[ ]svar | automaattinen[ ]vastaus | odpowied(?:ź|z)[ ]automatyczna
    | automatick(?:á|a)[ ]odpov(?:ěď|ed|eď) | otomatik[ ]yan(?:ı|i)t | автоматический[ ]ответ | автоответ
    | 自動応答 | 自動返信 | 自动(?:回复|答复) | 自動回覆 | 자동[ ]?(?:회신|응답)
    )\]?)\s*(?:[:：\-–—]|\Z)""",
    re.I | re.X,
)
BULK = frozenset({"bulk", "junk", "list"})


def why(head: Headers, references: tuple[str, ...]) -> str:
    """What shows that the message is an automatic answer, in words; "" where it is none."""
    return declared(head, references) or marked(head) or circumstantial(head, references)


def declared(head: Headers, references: tuple[str, ...]) -> str:
    """By Auto-Submitted (RFC 3834 5). `auto-generated` is not an answer, unless it answers something: some programs
    that answer write it all the same."""
    words = head.get("auto-submitted").partition("(")[0].partition(";")[0].split()
    value = words[0].lower() if words else ""
    if value == "auto-replied" or (value.startswith("auto-generated") and (references or answers(head))):
        return f"Auto-Submitted: {value}"
    return ""


def marked(head: Headers) -> str:
    for name in MARKS:
        if head.first(name) and head.get(name).strip().lower() not in ("no", "false", "0"):
            return f"has {name}"
    if head.get("x-apple-action").upper() == "VACATION":
        return "X-Apple-Action: VACATION"
    for name in ("precedence", "x-precedence", "preference"):
        if head.get(name).strip().lower() in PRECEDENCE:
            return f"{name}: {head.get(name).strip().lower()}"
    if "autoresponder" in head.get("delivered-to").lower() or "autorespond" in head.get("x-post-messageclass").lower():
        return "is from an autoresponder"
    return ""


def circumstantial(head: Headers, references: tuple[str, ...]) -> str:
    """By its subject, or by a null reverse-path (RFC 3834 3.3), which no person's mail has."""
    subject = head.get("subject")
    if SUBJECT.match(subject):
        return "its subject is that of an automatic answer"
    null = head.first("return-path") is not None and head.get("return-path").strip() == "<>"
    if null and (references or head.first("x-auto-response-suppress")):
        return "its reverse-path is null"
    if references and head.first("x-auto-response-suppress") and head.get("precedence").strip().lower() in BULK:
        return "has X-Auto-Response-Suppress and Precedence"
    return ""


def answers(head: Headers) -> bool:
    return head.get("subject").strip().lower().startswith(("re:", "aw:", "sv:", "antw:"))
