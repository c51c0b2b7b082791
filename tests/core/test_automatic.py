"""Automatic answers are told from people's: by what RFC 3834 says, by vendors' fields, by the subject in any language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import reports
from relay.core.reports import subjects


def letter(*fields: str) -> bytes:
    return "\r\n".join(["From: Ann <ann@example.org>", "To: s@example.com", *fields, "", "I am away.", ""]).encode()


AUTOMATIC = """
Automatic reply: Offer | AUTOMATIC REPLY: Offer | Auto-Reply: Offer | Auto_Reply: Offer | AutoReply: Offer | Autoreply : Offer
[Auto Reply] Offer | (Auto-Reply) Offer | <autoreply> Offer | {Automatic reply} Offer | 【自動返信】件名 | 「自動応答」件名 | *** Automatic reply ***
Automatic reply | Automatic reply - Offer | Automatic reply – Offer | Automatic Reply Re: Offer | Auto-Re: Offer | [auto] Offer
Out of Office | Out of Office: Offer | Out-of-Office: Offer | Out Of Office Re: Offer | OOO: Offer | [OOO] Offer | Out of the office until 5 May
Out of Office AutoReply: Offer | Vacation reply: Offer | away from my mail | I am out of the office | Automated response: Offer
Auto Reply from b@example.org: Offer | Autoreply from Bea (away): Offer | Auto: Offer | [EXTERNAL] Automatic reply: Offer
EXTERNAL: Automatic reply: Offer | [Ticket 12] Auto reply: Offer | ***SPAM*** Automatic reply: Offer
AUTO: Bea Mu is out of the office (returning 3/2/2026) | Bea Mu is out of the office. | Bea Mu/Sales/Firm is out of the office
AUTO: Bea Mu ist außer Haus (Rückkehr am 03.02.2026) | Bea Mu ist außer Haus. | Bea Mu ist nicht im Büro. | Bea Mu est absent(e).
Bea Mu está ausente. | Bea Mu è fuori ufficio. | Bea Mu is afwezig | Bea är inte på kontoret. | 田中は不在です
Abwesenheitsnotiz: Angebot | Automatische Antwort: Angebot | Réponse automatique : Offre | Reponse automatique: Offre
Message d’absence : Offre | Respuesta automática: Oferta | Respuesta automatica: Oferta | Risposta automatica: Offerta
Resposta automática: Oferta | Resposta automàtica: Oferta | Automatisch antwoord: Offerte | Afwezig: Offerte | Automatiskt svar: Offert
Autosvar: Tilbud | Automatisk svar: Tilbud | Sjálfvirkt svar: Tilboð | Automaattinen vastaus: Tarjous | Odpowiedź automatyczna: Oferta
Automatyczna odpowiedź: Oferta | Automatická odpověď: Nabídka | Automatická odpoveď: Ponuka | Automatikus válasz: Ajánlat
Răspuns automat: Ofertă | Automatski odgovor: Ponuda | Аутоматски одговор: Понуда | Samodejni odgovor: Ponudba | Автоматичен отговор: Оферта
Автоматический ответ: Заказ | Автоответ: Заказ | Автоматична відповідь: Заказ | Аўтаматычны адказ: Заказ | Automaatvastus: Pakkumine
Automātiskā atbilde: Piedāvājums | Automatinis atsakymas: Pasiūlymas | Otomatik yanıt: Teklif | OTOMATİK YANIT: Teklif
Αυτόματη απάντηση: Προσφορά | תשובה אוטומטית: הצעה | رد تلقائي: عرض | پاسخ خودکار: x | Thư trả lời tự động: x | Balasan otomatis: x
Balasan automatik: x | ตอบกลับอัตโนมัติ: x | स्वचालित उत्तर: x | 自动回复: 报价 | 自动答复：报价 | 自動回覆: 報價 | 自動返信メール | 不在通知: 件 | 자동 회신: 제안 | 부재중: 제안
Frånvaro: Offert | Fravær: Tilbud | Poissa toimistosta: x | Nieobecność: Oferta | Вне офиса: x | Fuera de la oficina: x | Fuori sede: x
"""
PERSONAL = """
Re: [auto-reply] Offer | Re: Automatic reply: Offer | RE : Réponse automatique : Offre | Re[2]: Out of office | Re(2): Auto Reply: Offer
AW: Abwesenheitsnotiz: Angebot | SV: Autosvar: Tilbud | Antwort: Automatische Antwort: Angebot | 回复：自动回复：报价 | Re：自動返信 | R: Risposta automatica: x
Odp: Automatyczna odpowiedź: x | Fwd: Automatic reply: Offer | WG: Abwesenheitsnotiz | [list] Re: Automatic reply: Offer | [EXT] AW: Automatic reply: x
Automatic reply handling in our product | Out of office chairs, again | Auto parts: offer | Automobile: Offer | Autonomous cars: offer
Who is out of office | Offer | Absentee ballots: x | Automatic replying machines: offer | Automatic door: offer | Offer (Automatic reply)
Question: is Bea out of the office | Oof, that hurt | 自動返信の設定について | Abwesend? Nein | Auto insurance: x | Vacation: Mallorca | Urlaub: Mallorca
"""


def each(table: str) -> list[str]:
    return [subject.strip() for row in table.strip().split("\n") for subject in row.split(" | ")]


@pytest.mark.parametrize("subject", each(AUTOMATIC))
def test_the_mark_of_an_automatic_answer(subject: str) -> None:
    assert reports.read(letter(f"Subject: {subject}", "In-Reply-To: <x@y>")).kind == "auto_reply"


@pytest.mark.parametrize("subject", each(PERSONAL))
def test_a_persons_subject(subject: str) -> None:
    assert reports.read(letter(f"Subject: {subject}", "In-Reply-To: <x@y>")).kind == "reply"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (("Auto-Submitted: auto-notified",), "auto_reply"),
        (("Auto-Submitted: (no person) auto-generated",), "auto_reply"),
        (("Auto-Submitted: vendor-word; x=y",), "auto_reply"),
        (("Auto-Submitted: no", "Auto-Submitted: auto-replied"), "auto_reply"),
        (("Auto-Submitted: No (a person)",), "reply"),
        (("Auto-Submitted:",), "reply"),
        (("Precedence: bulk",), "auto_reply"),
        (("Precedence: Junk",), "auto_reply"),
        (("X-Precedence: bulk",), "auto_reply"),
        (("Precedence: bulk", "List-Unsubscribe: <mailto:x@y>"), "reply"),
        (("Precedence: junk", "List-Id: <l.example.org>"), "reply"),
        (("Precedence: list",), "reply"),
        (("Precedence: first-class",), "reply"),
        (("X-Autogenerated: Reply",), "auto_reply"),
        (("X-Autogenerated: Redirect",), "reply"),
        (("X-FC-MachineGenerated: true",), "auto_reply"),
        (("X-FC-MachineGenerated: false",), "reply"),
        (("X-Mail-Autoreply: 1",), "auto_reply"),
        (("X-AutoReply-From: ann@example.org",), "auto_reply"),
        (("X-Vendor-Auto-Response: yes",), "auto_reply"),
        (("X-Autoresponder: v2",), "auto_reply"),
        (("X-Vacation: yes",), "auto_reply"),
        (("X-Autoreply: no",), "reply"),
        (("X-POST-MessageClass: 9; Autoresponder",), "auto_reply"),
        (("Delivered-To: Autoresponder",), "auto_reply"),
        (("X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent",), "auto_reply"),
        (("X-Auto-Response-Suppress: All",), "reply"),
        (("X-Auto-Response-Suppress: OOF, AutoReply", "Subject: Re: Offer"), "reply"),
    ],
)
def test_header_fields(fields: tuple[str, ...], kind: str) -> None:
    assert reports.read(letter("In-Reply-To: <x@y>", *fields)).kind == kind


@pytest.mark.parametrize("fields", [("Precedence: bulk",), ("Auto-Submitted: auto-generated",)])
def test_what_answers_nothing_is_no_answer(fields: tuple[str, ...]) -> None:
    assert reports.read(letter("Subject: News", *fields)).kind == "other"


@given(st.text(max_size=500))
def test_for_any_subject(text: str) -> None:
    subjects.automatic(text)
