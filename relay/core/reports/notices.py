"""Reports in forms of their own: receipts of Italian certified mail, Amazon SES by SNS, complaints of Microsoft's JMRP.

Owns: recognising them by their own marks, and what they say. Leaves to others: the forms that RFCs define
(`reports.delivery`) and texts (`reports.prose`, `reports.recipients`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from relay.core import addresses, identifiers
from relay.core.headers import Headers
from relay.core.reports.delivery import LONGEST_REASON, MAX_RECIPIENTS, RecipientFields, address, enhanced, reply

Outcome = Literal["failed", "delayed", "delivered", "complained", "none"]

# X-Ricevuta (Regole tecniche della PEC 2005, 6.3 and 6.4): what each receipt means for the message. A notice that 12
# hours passed is a delay: the failure is reported after 24.
PEC: Mapping[str, Outcome] = {
    "errore-consegna": "failed",
    "non-accettazione": "failed",
    "rilevazione-virus": "failed",
    "preavviso-errore-consegna": "delayed",
    "avvenuta-consegna": "delivered",
    "accettazione": "delivered",
    "presa-in-carico": "delivered",
}
PEC_RECIPIENT = re.compile(rb"<(?:consegna|destinatari)\b[^<>]{0,200}>\s*([^<>\s]{3,320})\s*</")
PEC_REASON = re.compile(rb"<errore-esteso>\s*([^<>]{1,1000})\s*</")
PEC_ERROR = re.compile(rb"<postacert\b[^<>]{0,200}\berrore=[\"']([a-z-]{1,40})[\"']")
PEC_STATUS = {b"no-dest": "5.1.1", b"no-dominio": "5.1.2", b"virus": "5.7.1"}

# In the message that a complaint of JMRP returns, before its own header fields.
JMRP = "x-hmxmroriginalrecipient"
JMRP_SUBJECT = "complaint about message from"

# Amazon SES, "Contents of Amazon SNS notifications": the object that has the recipients, and their list in it.
SES: Mapping[str, tuple[Outcome, str, str]] = {
    "bounce": ("failed", "bounce", "bouncedRecipients"),
    "complaint": ("complained", "complaint", "complainedRecipients"),
    "deliverydelay": ("delayed", "deliveryDelay", "delayedRecipients"),
    "reject": ("failed", "reject", ""),
    "delivery": ("delivered", "delivery", "recipients"),
}
SES_STATUS = {"permanent": "5.0.0", "transient": "4.0.0", "undetermined": "5.0.0"}
SNS = re.compile(r"@sns\.|\bAWS Notifications?\b|\bAmazon (?:SES|SNS)\b", re.I)


@dataclass(frozen=True, slots=True)
class Notice:
    """`ids` are those of the message it is about, likeliest first, without brackets."""

    outcome: Outcome
    entries: tuple[RecipientFields, ...]
    ids: tuple[str, ...]
    reason: str


def marked(head: Headers) -> bool:
    """Whether the header section says that this is one of them."""
    if head.first("x-ricevuta") or by_sns(head):
        return True
    return head.get("subject")[:200].strip().lower().startswith(JMRP_SUBJECT)


# -- PEC ---------------------------------------------------------------------------------------------------------------


def pec(head: Headers, bodies: Iterator[bytes]) -> Notice | None:
    """A receipt of certified mail. `bodies` are the decoded parts, of which one is daticert.xml."""
    if not head.first("x-ricevuta"):
        return None
    kind = head.get("x-ricevuta").strip().lower()
    ids = tuple(identifiers.listed(head.get("x-riferimento-message-id")))
    outcome: Outcome = PEC.get(kind, "none")
    data = next((body for body in bodies if b"<postacert" in body[:4_000]), b"")
    said = PEC_REASON.search(data)
    words = " ".join(said[1].decode("utf-8", "replace").split()) if said else ""
    error = PEC_ERROR.search(data)
    code = enhanced(words) or (PEC_STATUS.get(error[1]) if error else None)
    found = dict.fromkeys(match[1].decode("utf-8", "replace") for match in PEC_RECIPIENT.finditer(data))
    entries = tuple(
        RecipientFields(spelt, code, reply(words), outcome, words, spelt)
        for spelt in [address(one) for one in list(found)[:MAX_RECIPIENTS]]
        if spelt
    )
    return Notice(outcome, entries, ids, words or f"certified mail: {kind}"[:LONGEST_REASON])


# -- JMRP --------------------------------------------------------------------------------------------------------------


def jmrp(head: Headers, returned: Headers) -> Notice | None:
    """A complaint that is the message complained about, and nothing else. `returned` is its header section."""
    about = head.get("subject")[:200].strip().lower().startswith(JMRP_SUBJECT)
    if not (returned.first(JMRP) or (about and returned.first("message-id"))):
        return None
    told, to = addresses.listed(returned, JMRP)[:1], addresses.listed(returned, "to")
    people = [*told, *(to if len(to) == 1 else ())]
    entries = (RecipientFields(people[0], final=people[-1]),) if people else ()
    return Notice("complained", entries, (), "a complaint in the form of Microsoft's JMRP")


# -- SES ---------------------------------------------------------------------------------------------------------------


def by_sns(head: Headers) -> bool:
    return bool(SNS.search(head.get("from")[:500]) or SNS.search(head.get("subject")[:200]))


def ses(head: Headers, text: str) -> Notice | None:
    """A notification of Amazon SES that came by SNS' mail: JSON, also in the JSON of SNS."""
    if not by_sns(head):
        return None
    told = parsed(text)
    if isinstance(told.get("Message"), str) and "mail" not in told:
        told = parsed(told["Message"])
    kind = str(told.get("notificationType") or told.get("eventType") or "").replace(" ", "").lower()
    mail = told.get("mail")
    if kind not in SES or not isinstance(mail, dict):
        return None
    outcome, name, people = SES[kind]
    about = told.get(name)
    about = about if isinstance(about, dict) else {}
    recipients = about.get(people) if people else mail.get("destination")
    entries = tuple(
        entry for one in listed(recipients)[:MAX_RECIPIENTS] if (entry := ses_entry(one, outcome, about)).recipient
    )
    if outcome == "complained" and str(about.get("complaintFeedbackType")).lower() in ("not-spam", "auth-failure"):
        outcome = "none"
    kinds = [
        str(about[key]) for key in ("bounceType", "bounceSubType", "complaintFeedbackType", "reason") if about.get(key)
    ]
    return Notice(outcome, entries, ses_ids(told, mail), f"Amazon SES: {' '.join([kind, *kinds])}"[:LONGEST_REASON])


def parsed(text: str) -> Mapping[str, Any]:
    """The first JSON object in a text; empty where there is none."""
    start = text.find("{")
    if start < 0:
        return {}
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def ses_entry(one: object, outcome: Outcome, about: Mapping[str, Any]) -> RecipientFields:
    fields = one if isinstance(one, dict) else {"emailAddress": one}
    words = " ".join(str(fields.get("diagnosticCode") or "").partition(";")[2].split())[:LONGEST_REASON]
    code = enhanced(str(fields.get("status") or "")) or enhanced(words)
    if code is None and outcome == "failed":
        code = SES_STATUS.get(str(about.get("bounceType")).lower(), "5.0.0")
    spelt = address(str(fields.get("emailAddress") or ""))
    action = "" if outcome == "complained" else outcome
    return RecipientFields(spelt, code, reply(words), action or None, words, spelt)


def ses_ids(told: Mapping[str, Any], mail: Mapping[str, Any]) -> tuple[str, ...]:
    """The message's own Message-ID, and the one that SES gave it."""
    common = mail.get("commonHeaders")
    found = [str(common.get("messageId") or "")] if isinstance(common, dict) else []
    found += [
        str(field.get("value") or "")
        for field in listed(mail.get("headers"))
        if isinstance(field, dict) and str(field.get("name")).lower() in ("message-id", "references")
    ]
    given = str(mail.get("messageId") or "")
    region = str(mail.get("sourceArn") or "").split(":")[3:4] or [""]
    if given and "@" not in given and len(given) < 200:
        found.append(f"<{given}@{'email' if region[0] in ('', 'us-east-1') else region[0]}.amazonses.com>")
    return tuple(dict.fromkeys(i for text in found for i in identifiers.listed(text[:10_000])))[:100]
