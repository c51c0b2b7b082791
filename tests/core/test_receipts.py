"""Read receipts in any wrapper and language, and answers that are a gesture: neither is a person's text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, reports
from relay.core.reports import gestures, receipts

MDN = """Content-Type: message/disposition-notification

Reporting-UA: mail.example.org; Mailer
Final-Recipient: rfc822;ann@example.org
Original-Message-ID: <offer@example.com>
Disposition: {}

"""
TEXT = "Content-Type: text/plain\n\nYour message was displayed.\n"


def letter(content: str, subject: str = "Read: Offer", *more: str, text: str = "") -> bytes:
    fields = (
        "From: Ann <ann@example.org>",
        "To: s@example.com",
        f"Subject: {subject}",
        "In-Reply-To: <offer@example.com>",
    )
    return "\r\n".join([*fields, *more, "MIME-Version: 1.0", *content.split("\n"), text, ""]).encode()


def mixed(*parts: str, kind: str = "mixed", boundary: str = "b") -> str:
    inner = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n{inner}--{boundary}--\n'


DISPLAYED = MDN.format("manual-action/MDN-sent-manually; displayed")
REPORT = mixed(TEXT, DISPLAYED, kind="report; report-type=disposition-notification", boundary="r")


@pytest.mark.parametrize(
    "content",
    [
        DISPLAYED,
        REPORT,
        mixed(TEXT, DISPLAYED),
        mixed(REPORT, "Content-Type: text/plain\n\nDisclaimer.\n"),
        mixed(REPORT, "Content-Type: application/pkcs7-signature\n\nMIIB\n", kind="signed"),
        mixed(DISPLAYED.replace("message/disp", "MESSAGE/DISP"), kind="related"),
        mixed(
            TEXT,
            "Content-Type: message/disposition-notification\nContent-Transfer-Encoding: base64\n\n"
            + base64.b64encode(DISPLAYED.partition("\n\n")[2].encode()).decode()
            + "\n",
        ),
    ],
)
def test_a_receipt_for_programs_in_any_wrapper(content: str) -> None:
    found = reports.read(letter(content))
    assert (found.kind, found.recipients, found.original_message_id) == (
        "read_receipt", ("ann@example.org",), "offer@example.com",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("automatic-action/MDN-sent-automatically; displayed", "read_receipt"),
        ("manual-action/MDN-sent-manually; Displayed/error", "read_receipt"),
        ("displayed", "read_receipt"),
        ("", "read_receipt"),
        ("automatic-action/MDN-sent-automatically; deleted", "other"),
        ("automatic-action/MDN-sent-automatically;processed", "other"),
        ("automatic-action/MDN-sent-automatically; denied", "other"),
    ],
)
def test_only_who_was_shown_it_has_read_it(words: str, kind: str) -> None:
    assert reports.read(letter(mixed(TEXT, MDN.format(words)))).kind == kind


@pytest.mark.parametrize(
    "content",
    [
        "Content-Type: application/pkcs7-mime; smime-type=signed-receipt; name=smime.p7m\n\nMIIB\n",
        'Content-Type: application/x-pkcs7-mime; smime-type="Signed-Receipt"\n\nMIIB\n',
        mixed(TEXT, "Content-Type: application/pkcs7-mime; smime-type=signed-receipt\n\nMIIB\n"),
        mixed(TEXT, "Content-Type: application/ms-tnef; name=winmail.dat\n\nxxIPM.Microsoft Mail.Read Receipt\0xx\n"),
        mixed(TEXT, kind="report; report-type=disposition-notification"),
        "Content-Class: urn:content-classes:mdn\nContent-Type: text/plain\n\nread\n",
    ],
)
def test_receipts_in_other_forms(content: str) -> None:
    assert reports.read(letter(content, "Offer")).kind == "read_receipt"


@pytest.mark.parametrize(
    "content",
    [
        "Content-Type: application/pkcs7-mime; smime-type=signed-data\n\nMIIB\n",
        mixed(TEXT, "Content-Type: application/ms-tnef; name=winmail.dat\n\nxxIPM.Microsoft Mail.Note\0xx\n"),
    ],
)
def test_a_persons_signature_is_no_receipt(content: str) -> None:
    assert reports.read(letter(content, "Re: Offer")).kind == "reply"


IN_WORDS = [
    (
        "Read: Offer",
        "Your message\n\n  To: Ann\n  Subject: Offer\n  Sent: Monday\n\nwas read on Monday, 2 February 2026.",
    ),
    ("Return Receipt (displayed) - Offer", "This is a Return Receipt for the mail that you sent to ann@example.org."),
    (
        "Return receipt",
        "This is a receipt for the mail you sent to ann@example.org. It only acknowledges that it was displayed.",
    ),
    ("Gelesen: Angebot", "Ihre Nachricht\n  An: Ann\nwurde am Montag, 2. Februar 2026 gelesen."),
    ("Lesebestätigung: Angebot", "Ihre Nachricht wurde gelesen."),
    (
        "Empfangsbestätigung (angezeigt) - Angebot",
        "Dies ist eine Empfangsbestätigung für die E-Mail an ann@example.org.",
    ),
    ("Lu : Offre", "Votre message a été lu le lundi 2 février."),
    ("Accusé de réception (affiché) - Offre", "Ceci est un accusé de réception pour le courrier que vous avez envoyé."),
    ("Leído: Oferta", "El mensaje fue leído el lunes."),
    ("Letto: Offerta", "Il messaggio è stato letto lunedì."),
    ("Lida: Oferta", "A sua mensagem foi lida em segunda-feira."),
    ("Gelezen: Offerte", "Uw bericht is gelezen op maandag."),
    ("Läst: Offert", "Meddelandet lästes den 2 februari."),
    ("Przeczytano: Oferta", "Wiadomość została przeczytana 2 lutego."),
    ("Прочитано: Заказ", "Ваше сообщение было прочитано 2 февраля."),
    ("開封済み: 件名", "メッセージは 2026年2月2日に開封されました。"),
    ("已读: 报价", "您的邮件已于星期一被阅读。"),
]


@pytest.mark.parametrize(("subject", "text"), IN_WORDS)
def test_a_receipt_in_words(subject: str, text: str) -> None:
    assert reports.read(letter("Content-Type: text/plain; charset=utf-8\n", subject, text=text)).kind == "read_receipt"


@pytest.mark.parametrize(
    ("subject", "text", "kind"),
    [
        ("Not read: Offer", "Your message was deleted without being read on Monday.", "other"),
        ("Read: Offer", "Your message was deleted without being read on Monday.", "other"),
        ("Gelesen: Angebot", "Ihre Nachricht wurde am Montag ungelesen gelöscht.", "other"),
        ("Read: Offer", "Thank you, we shall take it.", "reply"),
        ("Re: Read: Offer", "Yes, it was read on Monday.", "reply"),
        ("Offer", "Your offer was read on Monday in our meeting, and we like it.", "reply"),
        ("Reading list", "It was read by all of us.", "reply"),
        ("Read: Offer", "Thanks!\n> Your message was read on Monday.", "reply"),
    ],
)
def test_what_a_person_writes_about_reading_is_an_answer(subject: str, text: str, kind: str) -> None:
    assert reports.read(letter("Content-Type: text/plain; charset=utf-8\n", subject, text=text)).kind == kind


@pytest.mark.parametrize(("subject", "text"), IN_WORDS)
def test_the_body_is_asked_for_where_it_decides(subject: str, text: str) -> None:
    head = headers.read(letter("Content-Type: text/plain\n", subject))
    assert reports.needs_body(head)


# -- gestures


def reaction(body: str) -> bytes:
    part = f"Content-Type: text/vnd.google.email-reaction+json; charset=utf-8\n\n{body}\n"
    html = "Content-Type: text/html\n\n<p>Ann reacted</p>\n"
    return letter(mixed(TEXT, part, html, kind="alternative"), "Re: Offer")


def test_an_emoji_is_a_reaction() -> None:
    found = reports.read(reaction('{"version": 1, "emoji": "\\ud83d\\udc4d"}'))
    assert (found.kind, found.gesture, found.references) == ("reaction", "\N{THUMBS UP SIGN}", ("offer@example.com",))


@pytest.mark.parametrize("body", ["{}", "[]", "nonsense", '{"emoji": 7}', "[" * 5_000, '{"emoji": ""}'])
def test_a_reaction_that_says_nothing_is_an_answer(body: str) -> None:
    assert reports.read(reaction(body)).kind == "reply"


CALENDAR = "BEGIN:VCALENDAR\nVERSION:2.0\nMETHOD:{method}\nBEGIN:VEVENT\nUID:7\nATTENDEE;CN=Ann;PARTST\n AT={said}:mailto:ann@example.org\nEND:VEVENT\nEND:VCALENDAR\n"


@pytest.mark.parametrize(
    ("method", "said", "gesture"),
    [
        ("REPLY", "ACCEPTED", "accepted"),
        ("reply", "declined", "declined"),
        ("REPLY", "TENTATIVE", "tentative"),
        ("REPLY", "X-OTHER", "answered"),
        ("COUNTER", "TENTATIVE", "countered"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_an_answer_to_an_invitation(method: str, said: str, gesture: str, alone: bool) -> None:
    part = "Content-Type: text/calendar; charset=utf-8\n\n" + CALENDAR.format(method=method, said=said)
    raw = letter(
        part if alone else mixed(TEXT, part, kind="alternative"), "Accepted: Offer", "Auto-Submitted: auto-generated"
    )
    found = reports.read(raw)
    assert (found.kind, found.gesture) == ("calendar", gesture)
    assert reports.needs_body(headers.read(raw))


@pytest.mark.parametrize("method", ["REQUEST", "PUBLISH", "CANCEL", "REPLYING", ""])
def test_an_invitation_is_a_persons(method: str) -> None:
    part = "Content-Type: text/calendar\n\n" + CALENDAR.format(method=method, said="ACCEPTED")
    assert reports.read(letter(mixed(TEXT, part), "Re: Offer")).kind == "reply"


def test_a_calendar_that_is_attached_is_a_persons() -> None:
    part = "Content-Type: text/calendar\nContent-Disposition: attachment\n\n" + CALENDAR.format(
        method="REPLY", said="ACCEPTED"
    )
    assert reports.read(letter(mixed(TEXT, part), "Re: Offer")).kind == "reply"


@given(st.binary(max_size=400))
def test_for_any_bytes(body: bytes) -> None:
    receipts.disposition(body)
    gestures.reaction(body)
    gestures.calendar(body.decode("latin-1"))
