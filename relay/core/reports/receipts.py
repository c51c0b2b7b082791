"""Read receipts: that a message was shown to somebody, and nothing more.

Owns: recognising them, as parts for programs (RFC 8098, the receipts of S/MIME, RFC 2634 2.2, Exchange's in TNEF) and in words,
and what one says. Leaves to others: which message it is about (`mailbox`), reports of mail servers (`delivery`, `prose`).

A program that says that it deleted, processed or refused a message says nothing of a reader. For any bytes; of a text
only the first part is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from relay.core import identifiers
from relay.core.headers import Headers
from relay.core.reports import delivery, subjects

DISPOSITION = "message/disposition-notification"
DISPOSITIONS = frozenset({DISPOSITION, "message/global-disposition-notification"})
SIGNED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
UNREAD = frozenset({"deleted", "denied", "failed", "processed", "dispatched", "error", "warning", "expired"})
FORMS = DISPOSITIONS | SIGNED | TNEF  # parts that may be receipts
EXCHANGE = re.compile(rb"ipm\.microsoft mail\.read receipt|report\.ipm\.[a-z.]{1,40}\.ipnrn", re.I)
LONGEST = 4_000  # characters of a text

# The beginning of the subject of a receipt in words.
SUBJECTS = """
not read | unread | nicht gelesen | ungelesen | non lu | no leído | non letto | não lida | niet gelezen | ongelezen | olæst | ikke lest | ej läst
read | message read | opened | displayed | return receipt | read receipt | read notification | read report | receipt notification | read confirmation
return receipt (displayed) | message disposition notification | disposition notification | message displayed | confirmation of reading | mail receipt
gelesen | lesebestätigung | empfangsbestätigung | empfangsbestätigung (angezeigt) | gelesen bestätigung | lu | lue | lu(e) | confirmation de lecture
accusé de réception | accusé de lecture | accusé de réception (affiché) | avis de lecture | leído | leída | confirmación de lectura | acuse de recibo
acuse de lectura | letto | letta | conferma di lettura | ricevuta di ritorno | ricevuta di lettura | lida | lido | confirmação de leitura
recibo de leitura | aviso de leitura | gelezen | leesbevestiging | ontvangstbevestiging | läst | läskvitto | kvitto | læst | læsekvittering | lest
lesekvittering | luettu | lukukuittaus | przeczytane | przeczytano | potwierdzenie przeczytania | potwierdzenie odbioru | přečteno | přečtené
potvrzení o přečtení | prečítané | potvrdenie o prečítaní | elolvasva | olvasási visszaigazolás | citit | confirmare de citire | pročitano
potvrda o čitanju | prebrano | прочитано | уведомление о прочтении | прочтено | підтвердження прочитання | прочетено | διαβάστηκε
αναγνωσμένο | okundu | okundu bilgisi | נקרא | تمت القراءة | مقروءة | 已读 | 已讀 | 已读回执 | 讀取回條 | 开封 | 開封済み | 開封確認 | 開封通知 | 읽음 | 읽음 확인
đã đọc | dibaca | อ่านแล้ว
"""
# What a receipt says; with such a subject it is one.
SENTENCES = """
was read on | was read at | has been read | was read by | was opened on | was opened by | was displayed on | was displayed at | has been displayed
message was displayed | message was read | message was opened | this is a receipt for | this is a return receipt | read receipt for
this receipt verifies | this receipt only acknowledges | return receipt only acknowledges | was received by | was read
wurde gelesen | gelesen am | gelesen wurde | wurde angezeigt | wurde am | empfangsbestätigung für | lesebestätigung für | dies ist eine empfangsbestätigung
dies ist eine lesebestätigung | a été lu | a ete lue | a été affiché | a été ouvert | lu le | accusé de réception pour | ceci est un accusé
fue leído | se leyó | ha sido leído | ha sido mostrado | leído el | acuse de recibo | è stato letto | è stata letta | e stato visualizzato
letto il | questa è una ricevuta | foi lida | foi lido | foi exibida | lida em | este é um recibo | este é um aviso | is gelezen | werd gelezen | gelezen op
is weergegeven | dit is een ontvangstbevestiging | lästes | har lästs | har visats | blev læst | er blevet læst | er læst | ble lest | er lest
er blitt vist | on luettu | luettiin | został przeczytany | została przeczytana | zostało przeczytane | przeczytano | została wyświetlona
byla přečtena | byl přečten | bola prečítaná | elolvasta | elolvasták | a fost citit | a fost citită | pročitana je | je pročitana | je bilo prebrano
было прочитано | прочитано | прочтено | було прочитано | беше прочетено | διαβάστηκε | αναγνώστηκε | okundu | okunmuştur | נקראה | تمت قراءة | 已读
已讀 | 已被阅读 | 已于 | 已於 | 阅读 | 開封されました | 開封され | 読まれました | 表示されました | 읽었습니다 | 읽음 | đã được đọc | telah dibaca
"""
NOT_READ = re.compile(
    r"without being read|deleted unread|was not read|ungelesen|sans (?:etre|avoir ete) lu|non lu|sin (?:leer|ser leid|haber)|senza essere (?:stat. )?lett"
    r"|sem (?:ser|ter sido) lid|ongelezen|utan att ha|ulæst|ulest|lukematta|bez przeczytania|bez precteni|olvasatlanul|не прочитано|без прочтения"
    r"|未读|未讀|開封されずに|읽지 않"
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """`recipient` is who read it ("" where it is not said), `original_message_id` what, `disposition` is "displayed", or what
    else was done with it."""

    recipient: str = ""
    original_message_id: str = ""
    disposition: str = "displayed"

    @property
    def read(self) -> bool:
        return self.disposition not in UNREAD


def disposition(body: bytes) -> Receipt:
    """What a message/disposition-notification part says (RFC 8098 3.1)."""
    fields: dict[str, str] = {}
    for group in delivery.groups(body):
        fields = {**group, **fields}
    named = identifiers.listed(fields.get("original-message-id", "")[:2_000])
    words = fields.get("disposition", "").rpartition(";")[2].partition("/")[0].split()
    addresses = (delivery.address(delivery.typed(fields.get(n, ""))) for n in ("final-recipient", "original-recipient"))
    return Receipt(
        next(filter(None, addresses), ""), named[0] if named else "", words[0].lower() if words else "displayed"
    )


def of_part(content_type: str, parameters: Mapping[str, str], body: bytes) -> Receipt | None:
    """The receipt that a part is, where it is one."""
    if content_type in DISPOSITIONS:
        return disposition(body)
    if content_type in SIGNED and parameters.get("smime-type", "").lower() == "signed-receipt":
        return Receipt()
    if content_type in TNEF and EXCHANGE.search(body[:65_536]):
        return Receipt()
    return None


def announced(head: Headers, content_type: str, parameters: Mapping[str, str]) -> bool:
    """Whether the message says that it is one, though no part of it does."""
    report = parameters.get("report-type", "").lower() if content_type == "multipart/report" else ""
    return (
        report == "disposition-notification" or head.get("content-class").strip().lower() == "urn:content-classes:mdn"
    )


def doubtful(head: Headers) -> bool:
    """Whether it may be one in words."""
    subject = subjects.spelt(head.get("subject"))
    return bool(patterns()[0].match(subject)) or announced(head, "", {})


def in_words(head: Headers, text: str, *, announced: bool = False) -> Receipt | None:
    """A receipt that only people were meant to read. `text` is the message's own words."""
    subject = subjects.spelt(head.get("subject"))
    own = subjects.spelt(unquoted(text), LONGEST)
    if not announced:
        if subjects.PERSONS.match(subject):
            return None
        first, sentence = patterns()
        if not (first.match(subject) and (sentence.search(own) or NOT_READ.search(own))):
            return None
    return Receipt(disposition="deleted") if NOT_READ.search(own) else Receipt()


def unquoted(text: str) -> str:
    return "\n".join(line for line in text[:LONGEST].split("\n") if not line.lstrip().startswith(">"))


@cache
def patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    first, sentence = subjects.either(subjects.words(SUBJECTS)), subjects.either(subjects.words(SENTENCES))
    return re.compile(rf"(?:{first}) ?(?:$|[:\-–(]|\W)"), re.compile(sentence)
