"""What is new in an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import excerpts


def message(body: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    return f"From: bob@example.org\r\nContent-Type: {kind}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("Yes, please.\r\n", "Yes, please."),
        ("Yes.\r\n\r\nOn Mon, 1 Jan 2026 at 10:00, Ann <ann@example.com> wrote:\r\n> Would you?\r\n", "Yes."),
        ("Yes.\r\n\r\nOn Mon, 1 Jan 2026 at 10:00, Ann\r\n<ann@example.com> wrote:\r\n> Would you?\r\n", "Yes."),
        ("Ja.\r\n\r\nAm 01.01.2026 um 10:00 schrieb Ann:\r\n> Magst du?\r\n", "Ja."),
        ("Yes.\r\n-----Original Message-----\r\nFrom: Ann\r\nWould you?", "Yes."),
        ("> Would you?\r\nYes.\r\n> And that?\r\n\r\n\r\nThat too.", "Yes.\n\nThat too."),
        ("", ""),
        ("> all quoted\r\n", ""),
        ("Grüße\x00\x1b[31m", "Grüße  [31m"),
        ("x" * 3000, "x" * excerpts.LONGEST),
    ],
)
def test_what_is_new(body: str, expected: str) -> None:
    assert excerpts.excerpt(message(body)) == expected


QUOTED = "> Would you?\n> Ann\n"
INTRODUCTIONS = """
On Mon, 2 Feb 2026 at 10:00, Ann Mu <ann@example.com> wrote:
On 2 Feb 2026, at 10:00, Ann Mu <ann@example.com> wrote:
Ann Mu wrote on 2026-02-02 10:00:
2026-02-02 10:00 GMT+01:00 Ann Mu <ann@example.com>:
Am 02.02.2026 um 10:00 schrieb Ann Mu:
Am Mo., 2. Feb. 2026 um 10:00 Uhr schrieb Ann Mu <ann@example.com>:
Ann Mu <ann@example.com> schrieb am 02.02.2026 um 10:00:
Le lun. 2 févr. 2026 à 10:00, Ann Mu <ann@example.com> a écrit :
El lun, 2 feb 2026 a las 10:00, Ann Mu (<ann@example.com>) escribió:
Il giorno lun 2 feb 2026 alle ore 10:00 Ann Mu <ann@example.com> ha scritto:
Em seg., 2 de fev. de 2026 às 10:00, Ann Mu <ann@example.com> escreveu:
Op ma 2 feb 2026 om 10:00 schreef Ann Mu <ann@example.com>:
Den mån 2 feb. 2026 kl 10:00 skrev Ann Mu <ann@example.com>:
man. 2. feb. 2026 kl. 10.00 skrev Ann Mu <ann@example.com>:
ma 2. helmik. 2026 klo 10.00 Ann Mu (ann@example.com) kirjoitti:
pon., 2 lut 2026 o 10:00 Ann Mu <ann@example.com> napisał(a):
po 2. 2. 2026 v 10:00 odesílatel Ann Mu <ann@example.com> napsal:
Ann Mu <ann@example.com> ezt írta (időpont: 2026. febr. 2., H, 10:00):
În lun., 2 feb. 2026 la 10:00, Ann Mu <ann@example.com> a scris:
пн, 2 февр. 2026 г. в 10:00, Ann Mu <ann@example.com>:
02.02.2026 10:00, Ann Mu пишет:
2 Şub 2026 Pzt, saat 10:00 tarihinde Ann Mu <ann@example.com> şunu yazdı:
Στις Δευ 2 Φεβ 2026 στις 10:00 π.μ., ο χρήστης Ann Mu <ann@example.com> έγραψε:
2026年2月2日(月) 10:00 Ann Mu <ann@example.com>:
在 2026-02-02 10:00:00，"Ann Mu" <ann@example.com> 写道：
2026년 2월 2일 (월) 오전 10:00, Ann Mu <ann@example.com>님이 작성:
Vào Th 2, 2 thg 2, 2026 vào lúc 10:00 Ann Mu <ann@example.com> đã viết:
Pada Sen, 2 Feb 2026 pukul 10.00 Ann Mu <ann@example.com> menulis:
בתאריך יום ב׳, 2 בפבר׳ 2026 ב-10:00 מאת Ann Mu <ann@example.com>:
-----Original Message-----
-----Ursprüngliche Nachricht-----
-------- Forwarded Message --------
---------- Forwarded message ---------
------------------ 原始邮件 ------------------
----- Mail original -----
---- On Mon, 02 Feb 2026 10:00:00 +0100 Ann Mu <ann@example.com> wrote ----
Begin forwarded message:
"""
SECTIONS = """
From: Ann Mu <ann@example.com>|Sent: Monday, 2 February 2026 10:00|To: Bob|Subject: Offer
*From:* Ann Mu <ann@example.com>|*Date:* Monday|*To:* Bob
________________________________|From: Ann Mu <ann@example.com>|Sent: Monday|To: Bob
Von: Ann Mu <ann@example.com>|Gesendet: Montag, 2. Februar 2026 10:00|An: Bob|Betreff: Angebot
De : Ann Mu <ann@example.com>|Envoyé : lundi 2 février 2026 10:00|À : Bob|Objet : Offre
De: Ann Mu <ann@example.com>|Enviado el: lunes, 2 de febrero de 2026 10:00|Para: Bob|Asunto: Oferta
Da: Ann Mu <ann@example.com>|Inviato: lunedì 2 febbraio 2026 10:00|A: Bob|Oggetto: Offerta
De: Ann Mu <ann@example.com>|Enviada em: segunda-feira, 2 de fevereiro de 2026|Para: Bob|Assunto: Oferta
Van: Ann Mu <ann@example.com>|Verzonden: maandag 2 februari 2026 10:00|Aan: Bob|Onderwerp: Offerte
Från: Ann Mu <ann@example.com>|Skickat: den 2 februari 2026 10:00|Till: Bob|Ämne: Offert
Fra: Ann Mu <ann@example.com>|Sendt: 2. februar 2026 10:00|Til: Bob|Emne: Tilbud
Lähettäjä: Ann Mu <ann@example.com>|Lähetetty: maanantai|Vastaanottaja: Bob|Aihe: Tarjous
Od: Ann Mu <ann@example.com>|Wysłano: poniedziałek, 2 lutego 2026|Do: Bob|Temat: Oferta
Od: Ann Mu <ann@example.com>|Odesláno: pondělí 2. února 2026|Komu: Bob|Předmět: Nabídka
Feladó: Ann Mu <ann@example.com>|Elküldve: 2026. február 2.|Címzett: Bob|Tárgy: Ajánlat
От: Ann Mu <ann@example.com>|Отправлено: 2 февраля 2026 г.|Кому: Bob|Тема: Заказ
Kimden: Ann Mu <ann@example.com>|Gönderildi: 2 Şubat 2026|Kime: Bob|Konu: Teklif
发件人: Ann Mu <ann@example.com>|发送时间: 2026年2月2日|收件人: Bob|主题: 报价
差出人: Ann Mu <ann@example.com>|送信日時: 2026年2月2日|宛先: Bob|件名: 見積
보낸 사람: Ann Mu <ann@example.com>|보낸 날짜: 2026년 2월 2일|받는 사람: Bob|제목: 제안
"""
CLOSINGS = """
Best regards,|Bob Be
Kind regards|Bob Be|Head of Sales|+49 30 1234
Cheers, Bob
Thanks,|Bob
Thank you,|Bob Be
Mit freundlichen Grüßen|Bob Be|Firma GmbH
Viele Grüße, Bob
LG Bob
MfG
Cordialement,|Bob
Bien à vous,|Bob
Saludos,|Bob
Un saludo,|Bob
Cordiali saluti|Bob
Atenciosamente,|Bob
Met vriendelijke groet,|Bob
Med vänliga hälsningar|Bob
Med venlig hilsen|Bob
Mvh Bob
Ystävällisin terveisin|Bob
Pozdrawiam,|Bob
S pozdravem|Bob
Üdvözlettel,|Bob
Cu stimă,|Bob
С уважением,|Bob
З повагою,|Bob
Saygılarımla,|Bob
Με εκτίμηση,|Bob
בברכה,|Bob
此致|Bob
よろしくお願いいたします。|Bob
Sent from my iPhone
Von meinem iPhone gesendet
Envoyé de mon iPhone
Enviado desde mi iPhone
Inviato da iPhone
Verzonden vanaf mijn iPhone
Skickat från min iPhone
Отправлено с iPhone
iPhoneから送信
发自我的iPhone
Get Outlook for iOS<https://aka.ms/x>
--|Bob Be|Firm
-- |Bob Be
This email and any attachments are confidential and intended for the addressee.
Diese E-Mail enthält vertrauliche Informationen.
"""


def rows(table: str) -> list[str]:
    return table.strip().split("\n")


@pytest.mark.parametrize("introduction", rows(INTRODUCTIONS))
def test_what_a_line_introduces_is_not_new(introduction: str) -> None:
    assert excerpts.new(f"Yes.\n\nTwo of them.\n\n{introduction}\n{QUOTED}") == "Yes.\n\nTwo of them."
    assert excerpts.new(f"Yes.\n\n{introduction}\nWould you?\n") == "Yes."


@pytest.mark.parametrize("introduction", [row for row in rows(INTRODUCTIONS) if row.endswith((":", "："))])
def test_answers_stand_below_and_between_what_is_quoted(introduction: str) -> None:
    if introduction.startswith("Begin"):
        return
    assert excerpts.new(f"{introduction}\n{QUOTED}\nYes.\n") == "Yes."
    assert excerpts.new(f"{introduction}\n> One?\nYes.\n> Two?\n\nNo.\n") == "Yes.\n\nNo."


@pytest.mark.parametrize("introduction", [row for row in rows(INTRODUCTIONS) if "@" in row and row[-1] in ":："])
def test_an_introduction_may_be_folded(introduction: str) -> None:
    half = introduction.rindex(" ", 0, len(introduction) // 2 + 8)
    assert excerpts.new(f"Yes.\n\n{introduction[:half]}\n{introduction[half + 1 :]}\n{QUOTED}") == "Yes."


@pytest.mark.parametrize("section", rows(SECTIONS))
def test_a_header_section_is_not_new(section: str) -> None:
    text = section.replace("|", "\n")
    assert excerpts.new(f"Yes.\n\n{text}\n\nWould you?\n") == "Yes."


@pytest.mark.parametrize("closing", rows(CLOSINGS))
def test_closing_words_are_not_new(closing: str) -> None:
    text = closing.replace("|", "\n")
    assert excerpts.new(f"Hello Ann,\nyes.\n\n{text}\n") == "Hello Ann,\nyes."
    assert excerpts.new(f"Yes.\n\n{text}\n\nOn Mon, 2 Feb 2026, Ann wrote:\n{QUOTED}") == "Yes."


@pytest.mark.parametrize(
    "text",
    [
        "Thanks!",
        "Thanks,\nBob",
        "Best option is the second one.",
        "Hello,\nthanks,\nwe take the second offer and pay it tomorrow.",
        "Best wishes to your team for what you wrote: it was 10 out of 10.",
        "As you wrote:\nit is fine",
        "From: what you said, I take two.\nNo more.",
        "Name: Bob\nEmail: bob@example.org\nDate: 2 Feb",
        "My list:\n- one\n- two",
        "Kind regards to Ann, and yes.",
        "Best regards,\nBob\nP.S. We take two.",
        "I sent from my account two mails, did you see them?",
        "Regards is a word.\nYes.",
    ],
)
def test_what_a_person_writes_stays(text: str) -> None:
    assert excerpts.new(text) == text


def test_a_gateways_banner_is_not_new() -> None:
    banner = "CAUTION: This email originated from outside of the organization. Do not click links."
    assert excerpts.new(f"{banner}\n\nYes.\n") == "Yes."


HTML = [
    '<div dir="ltr">Yes &amp; two.</div><br><div class="gmail_quote"><div class="gmail_attr">On Mon Ann wrote:</div><blockquote>Would you?</blockquote></div>',
    '<p>Yes &amp; two.</p><div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> Ann</div><p>Would you?</p>',
    '<p>Yes &amp; two.</p><div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3pt"><p><b>From:</b> Ann</p></div>Would you?',
    "<style>p { color: red }</style><body><p>Yes &amp; two.</p><blockquote type=cite>Would <blockquote>he</blockquote> you?</blockquote>",
    '<blockquote>Would you?</blockquote><p>Yes &amp; two.</p><div class="gmail_signature">Bob<br>Firm</div>',
    "<p>Yes &amp; two.</p><p>Best regards,<br>Bob</p>",
    '<p>Yes &amp; two.</p><div class="yahoo_quoted">On Monday</div>',
    "<!--[if mso]><p>no</p><![endif]--><p>Yes &amp; two.</p>",
]


@pytest.mark.parametrize("html", HTML)
def test_what_html_quotes_is_not_new(html: str) -> None:
    assert excerpts.excerpt(message(html, "text/html; charset=utf-8")) == "Yes & two."


def test_html_is_read_as_text() -> None:
    assert excerpts.excerpt(message("<p>Yes &amp; no</p><script>x</script>", "text/html")).startswith("Yes & no")


@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    assert len(excerpts.excerpt(raw)) <= excerpts.LONGEST
