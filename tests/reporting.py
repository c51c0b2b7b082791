"""Reports as mail systems write them, each with what it says: our own, in the forms of many programs and providers.

All are about <sent.1@example.test>, which went to ann@example.org and bob@example.org.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from email.header import Header

SENT = "sent.1@example.test"
ANN, BOB = "ann@example.org", "bob@example.org"
RETURNED = f"""Received: from a.example.test by b.example.net; Mon, 2 Feb 2026 09:00:00 +0000
From: Sales <sales@example.test>
To: {ANN}
Subject: Offer
Date: Mon, 2 Feb 2026 09:00:00 +0000
Message-ID: <{SENT}>

Hello
"""


@dataclass(frozen=True)
class Form:
    """`status` is a code, or its class. `original` is the Message-ID that it names, "" for none."""

    name: str
    raw: bytes
    kind: str = "bounce"
    recipients: tuple[str, ...] = (ANN,)
    status: str = "5"
    original: str = SENT


def message(
    body: str, *fields: str, sender: str = "MAILER-DAEMON@mx.example.net", subject: str = "", path: str = "<>"
) -> bytes:
    spelt = subject if subject.isascii() else Header(subject, "utf-8").encode()
    lines = [f"Return-Path: {path}"] if path else []
    lines += [f"From: {sender}", "To: sales@example.test", f"Subject: {spelt}", "Message-ID: <report@mx.example.net>"]
    return "\r\n".join([*lines, "Date: Mon, 2 Feb 2026 10:00:00 +0000", *fields, "", *body.split("\n")]).encode()


def plain(
    body: str,
    *,
    subject: str,
    sender: str = "MAILER-DAEMON@mx.example.net",
    path: str = "<>",
    fields: tuple[str, ...] = (),
) -> bytes:
    return message(
        body,
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        *fields,
        sender=sender,
        subject=subject,
        path=path,
    )


def multipart(
    *bodies: tuple[str, str], subject: str, kind: str = "mixed", sender: str = "MAILER-DAEMON@mx.example.net", path: str = "<>",
    fields: tuple[str, ...] = (),
) -> bytes:  # fmt: skip
    parts = "".join(f"--=_b\nContent-Type: {typed}\n\n{body}\n" for typed, body in bodies)
    about = f'Content-Type: multipart/{kind}; boundary="=_b"'
    return message(f"{parts}--=_b--\n", "MIME-Version: 1.0", about, *fields, sender=sender, subject=subject, path=path)


def text(body: str) -> tuple[str, str]:
    return "text/plain; charset=utf-8", body


def html(body: str) -> tuple[str, str]:
    return "text/html; charset=utf-8\nContent-Transfer-Encoding: base64", base64.encodebytes(body.encode()).decode()


def group(
    recipient: str, action: str = "failed", status: str = "5.1.1", words: str = "smtp; 550 5.1.1 No such user"
) -> str:
    return f"Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: {words}\n"


def status(*groups: str) -> tuple[str, str]:
    return "message/delivery-status", "\n".join(["Reporting-MTA: dns; mx.example.net\n", *groups])


WHOLE = ("message/rfc822", RETURNED)
FIELDS = ("text/rfc822-headers", RETURNED.partition("\n\n")[0] + "\n")
FORMS: list[Form] = []


def form(
    name: str,
    raw: bytes,
    kind: str = "bounce",
    recipients: tuple[str, ...] = (ANN,),
    status: str = "5",
    original: str = SENT,
) -> None:
    FORMS.append(Form(name, raw, kind, recipients, status, original))


DSN = "report; report-type=delivery-status"

# -- with a part for programs ------------------------------------------------------------------------------------------

form(
    "postfix",
    multipart(
        text(f"I'm sorry to have to inform you …\n\n<{ANN}>: host mx said: 550 5.1.1 No such user"),
        status(group(ANN)),
        WHOLE,
        subject="Undelivered Mail Returned to Sender",
        kind=DSN,
    ),
    status="5.1.1",
)
form(
    "postfix, delayed",
    multipart(
        text(
            "Your message could not be delivered for more than 4 hour(s).\nIt will be retried until it is 5 day(s) old."
        ),
        status(group(ANN, "delayed", "4.4.1", "X-Postfix; connect to mx: Connection timed out")),
        FIELDS,
        subject="Delayed Mail (still being retried)",
        kind=DSN,
    ),
    "delay",
    status="4.4.1",
)
form(
    "postfix, delivered",
    multipart(
        text(f"Your message was successfully delivered.\n\n<{ANN}>: delivery via mx: 250 2.0.0 Ok"),
        status(group(ANN, "delivered", "2.0.0", "smtp; 250 2.0.0 Ok")),
        FIELDS,
        subject="Successful Mail Delivery Report",
        kind=DSN,
    ),
    "other",
    status="2.0.0",
    original="",
)
form(
    "each its own action",
    multipart(
        text("Some of it."),
        status(
            group(ANN),
            group(BOB, "delayed", "4.2.2", "smtp; 452 4.2.2 full"),
            group("eve@example.org", "delivered", "2.0.0", "smtp; 250 ok"),
        ),
        FIELDS,
        subject="Delivery Status Notification",
        kind=DSN,
    ),
    status="5.1.1",
)
form(
    "action unknown, no status",
    multipart(
        text("It came back."),
        status(f"Final-Recipient: rfc822; {ANN}\nAction: returned\n"),
        FIELDS,
        subject="Report",
        kind=DSN,
    ),
)
form(
    "no address, X-Failed-Recipients",
    multipart(
        text("It came back."),
        status("Action: failed\nStatus: 5.1.1\nFinal-Recipient: rfc822;\n"),
        FIELDS,
        subject="Report",
        kind=DSN,
        fields=(f"X-Failed-Recipients: {ANN}",),
    ),
    status="5.1.1",
)
form(
    "no address, text",
    multipart(
        text(f"It could not be delivered to:\n  {ANN}\n"),
        status("Action: failed\nStatus: 5.1.1\nFinal-Recipient: x400; /c=de/\n"),
        ("text/rfc822-headers", f"Message-ID: <{SENT}>\nTo: list@example.net, x@example.net\n"),
        subject="Report",
        kind=DSN,
    ),
    status="5.1.1",
)
form(
    "no address, returned To",
    multipart(text("It came back."), status("Action: failed\nStatus: 5.1.1\n"), FIELDS, subject="Report", kind=DSN),
    status="5.1.1",
)
form(
    "no address, and several in To",
    multipart(
        text("It came back."),
        status("Action: failed\nStatus: 5.1.1\n"),
        ("text/rfc822-headers", f"Message-ID: <{SENT}>\nTo: {ANN}, {BOB}\n"),
        subject="Report",
        kind=DSN,
    ),
    recipients=(),
    status="5.1.1",
)
form(
    "encoded words in an address",
    multipart(
        text("No."), status(group("=?utf-8?q?ann=40example.org?=@other.example")), FIELDS, subject="Report", kind=DSN
    ),
    recipients=("=?utf-8?q?ann=40example.org?=@other.example",),
    status="5.1.1",
)
form(
    "status after the returned message",
    multipart(text("No."), WHOLE, status(group(ANN)), subject="Report", kind=DSN),
    status="5.1.1",
)
form(
    "delivery status, undeclared",
    multipart(
        text("No."),
        ("application/octet-stream; name=details.txt", "Reporting-MTA: dns; x\n\n" + group(ANN)),
        FIELDS,
        subject="Undeliverable: Offer",
    ),
    status="5.1.1",
)
form(
    "fields in the text",
    plain(
        f"It was not delivered.\n\nReporting-MTA: dns; x\n\nAction: failed\nFinal-Recipient: rfc822;{ANN}\nStatus: 5.1.1\n\n{RETURNED}",
        subject="Mail failure",
    ),
    status="5.1.1",
)
form(
    "exim, since 4.95",
    multipart(
        text(
            f"This message was created automatically by mail delivery software.\n\n  {ANN}\n    host mx [192.0.2.1]\n    SMTP error"
            " from remote mail server after RCPT TO:<ann@example.org>:\n    550 5.1.1 unknown"
        ),
        (
            "message/delivery-status",
            "Reporting-MTA: dns; x\n\nAction: failed\n"
            f"Final-Recipient: rfc822;{ANN}\nStatus: 5.0.0\nRemote-MTA: dns; mx\nDiagnostic-Code: smtp; 550 5.1.1 unknown\n",
        ),
        FIELDS,
        subject="Mail delivery failed: returning message to sender",
        kind=DSN,
        fields=(f"X-Failed-Recipients: {ANN}", "Auto-Submitted: auto-replied"),
    ),
    status="5.1.1",
)
for language, subject in {
    "de": "Unzustellbar: Angebot", "fr": "Non remis : Offre", "es": "No se puede entregar: Oferta", "it": "Non recapitabile: Offerta",
    "pt": "Não é possível entregar: Oferta", "nl": "Onbestelbaar: Aanbod", "sv": "Det går inte att leverera: Erbjudande", "da": "Kan ikke leveres: Tilbud",
    "fi": "Ei voi toimittaa: Tarjous", "pl": "Niedostarczone: Oferta", "cs": "Nedoručitelné: Nabídka", "hu": "Kézbesíthetetlen: Ajánlat",
    "ru": "Недоставленное: Предложение", "tr": "Teslim edilemez: Teklif", "ja": "配信不能: オファー", "zh": "无法传递: 报价", "ko": "배달되지 않음: 제안",
}.items():  # fmt: skip
    form(f"exchange, {language}", multipart(html(f"<p>{subject}</p><a href='mailto:{ANN}'>{ANN}</a>"), status(group(ANN, "failed", "5.1.10",
         "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup")), WHOLE, subject=subject, kind=DSN,
         sender='"Microsoft Outlook" <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.net>', fields=("Auto-Submitted: auto-replied",)), status="5.1.10")  # fmt: skip

# -- wrapped -----------------------------------------------------------------------------------------------------------

INNER = (
    multipart(text("Sorry."), status(group(ANN)), WHOLE, subject="Undelivered Mail Returned to Sender", kind=DSN)
    .decode()
    .replace("\r\n", "\n")
    .replace("=_b", "=_inner")
)
TWICE = (
    multipart(("message/rfc822", INNER), subject="Undelivered Mail Returned to Sender")
    .decode()
    .replace("\r\n", "\n")
    .replace("=_b", "=_twice")
)
form(
    "a gateway's footer",
    multipart(
        (
            'multipart/report; report-type=delivery-status; boundary="=_r"',
            f"--=_r\nContent-Type: text/plain\n\nNo.\n--=_r\nContent-Type: message/delivery-status\n\n{group(ANN)}\n--=_r\nContent-Type: message/rfc822\n\n{RETURNED}\n--=_r--\n",
        ),
        text("This message was scanned."),
        subject="Nachricht abgelehnt",
        sender="Gateway <gateway@example.net>",
        path="<gateway@example.net>",
    ),
    status="5.1.1",
)
form(
    "a gateway's own status, with In-Reply-To",
    multipart(
        text("No."),
        status(group(ANN)),
        WHOLE,
        subject="Abgelehnt",
        sender="gateway@example.net",
        path="<gateway@example.net>",
        fields=(f"In-Reply-To: <{SENT}>",),
    ),
    status="5.1.1",
)
form(
    "a report in a report",
    multipart(
        text("The following could not be delivered."),
        ("message/rfc822", INNER),
        subject="Undelivered Mail Returned to Sender",
        sender="postmaster@example.net",
    ),
    status="5.1.1",
)
form(
    "a report in a report in a report",
    multipart(
        text("Spam?"),
        ("message/rfc822", TWICE),
        subject="[SPAM] Undelivered Mail Returned to Sender",
        fields=("X-Spam-Flag: YES",),
    ),
    status="5.1.1",
)
form(
    "a report about a report",
    multipart(
        text("No."),
        status(group("sales@elsewhere.test")),
        ("message/rfc822", INNER),
        subject="Postmaster copy",
        kind=DSN,
    ),
    status="5.1.1",
)
form(
    "a byte order mark",
    b"\xef\xbb\xbf" + multipart(text("No."), status(group(ANN)), WHOLE, subject="Report", kind=DSN),
    status="5.1.1",
)
form(
    "a part without a header section",
    multipart(
        text(f"---The following addresses had delivery errors---\n\n{ANN} [User unknown]"),
        subject="Returned Mail: User unknown",
    ).replace(b"--=_b--\r\n", b"--=_b\r\n" + RETURNED.replace("\n", "\r\n").encode() + b"\r\n--=_b--\r\n"),
)
form(
    "a boundary that is not there",
    multipart(text("No."), status(group(ANN)), WHOLE, subject="Undelivered Mail", kind=DSN).replace(
        b'boundary="=_b"', b'boundary="gone"'
    ),
    status="5.1.1",
)
form(
    "refused by a disposition",
    multipart(
        text("Your message was automatically rejected: Quota exceeded"),
        (
            "message/disposition-notification",
            f"Reporting-UA: x; Dovecot\nFinal-Recipient: rfc822; {ANN}\nOriginal-Message-ID: <{SENT}>\nDisposition: automatic-action/MDN-sent-automatically; deleted\n",
        ),
        FIELDS,
        subject="Rejected: Offer",
        kind="report; report-type=disposition-notification",
        sender="Mail Delivery Subsystem <postmaster@example.org>",
        fields=("Auto-Submitted: auto-replied (rejected)",),
    ),
    status="5.2.2",
)

# -- in words ----------------------------------------------------------------------------------------------------------

FAILED = "Mail delivery failed: returning message to sender"
form(
    "exim",
    plain(
        f"""This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  {ANN}
    SMTP error from remote mail server after RCPT TO:<{ANN}>:
    host mx.example.org [192.0.2.1]: 550 5.1.1 no such user

------ This is a copy of the message, including all the headers. ------

{RETURNED}""",
        subject=FAILED,
        sender="Mail Delivery System <Mailer-Daemon@mx.example.net>",
        fields=(f"X-Failed-Recipients: {ANN}",),
    ),
    status="5.1.1",
)
form(
    "exim, two",
    plain(
        f"""A message that you sent could not be delivered to one or more of its
recipients. The following address(es) failed:

  {ANN}
    Unrouteable address
  {BOB}
    host mx [192.0.2.1]: 552 5.2.2 full

------ This is a copy of the message, including all the headers. ------

{RETURNED}""",
        subject=FAILED,
        fields=(f"X-Failed-Recipients: {ANN}, {BOB}",),
    ),
    recipients=(ANN, BOB),
)
form(
    "exim, hidden",
    plain(
        f"""A message that you sent could not be delivered. The following address(es) failed:

  an undisclosed address
    (generated from {ANN})

{RETURNED}""",
        subject=FAILED,
    ),
)
form(
    "exim, delayed",
    plain(
        f"""A message that you sent has not yet been delivered to one or more of its
recipients after more than 24 hours on the queue on mx.example.net.

The message identifier is:     1abcde-000000-00
The subject of the message is: Offer

The address to which the message has not yet been delivered is:

  {ANN}
    Delay reason: host mx [192.0.2.1]: 451 4.7.1 greylisted

No action is required on your part. Delivery attempts will continue for
some time, and this warning may be repeated at intervals.
""",
        subject="Warning: message 1abcde-000000-00 delayed 24 hours",
    ),
    "delay",
    status="4.7.1",
    original="",
)
form(
    "qmail",
    plain(
        f"""Hi. This is the qmail-send program at mx.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<{ANN}>:
192.0.2.1 does not like recipient.
Remote host said: 550 5.1.1 No such user
Giving up on 192.0.2.1.

--- Below this line is a copy of the message.

{RETURNED}""",
        subject="failure notice",
    ),
    status="5.1.1",
)
form(
    "sendmail",
    plain(
        f"""The original message was received at Mon, 2 Feb 2026 09:00:00 GMT
from localhost [127.0.0.1]

   ----- The following addresses had permanent fatal errors -----
<{ANN}>
    (reason: 550 5.1.1 <{ANN}>... User unknown)

   ----- Transcript of session follows -----
... while talking to mx.example.org.:
>>> DATA
<<< 550 5.1.1 <{ANN}>... User unknown
550 5.1.1 <{ANN}>... User unknown

   ----- Original message follows -----

{RETURNED}""",
        subject="Returned mail: see transcript for details",
        sender="Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>",
    ),
    status="5.1.1",
)
form(
    "sendmail, delayed",
    plain(
        f"""    **********************************************
    **      THIS IS A WARNING MESSAGE ONLY      **
    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **
    **********************************************

   ----- Transcript of session follows -----
<{ANN}>... Deferred: Connection timed out with mx.example.org.
Warning: message still undelivered after 4 hours
Will keep trying until message is 5 days old

   ----- Original message follows -----

{RETURNED}""",
        subject="Warning: could not send message for past 4 hours",
    ),
    "delay",
    status="4",
)
form(
    "sendmail, expanded",
    plain(
        f"""   ----- The following addresses had permanent fatal errors -----
<inner@elsewhere.example>
    (expanded from: <{ANN}>)
    (reason: 550 5.1.1 User unknown)

   ----- Message header follows -----
{RETURNED}""",
        subject="Returned mail: User unknown",
    ),
    status="5.1.1",
)
form(
    "exchange 2003",
    plain(
        f"""Your message

  To:      {ANN}
  Subject: Offer
  Sent:    Mon, 2 Feb 2026 09:00:00 -0000

did not reach the following recipient(s):

{ANN} on Mon, 2 Feb 2026 09:00:02 -0000
    The recipient name is not recognized
	The MTS-ID of the original message is: c=us;a= ;p=example;l=X0123456789
    MSEXCH:IMS:Example:X:Y 0 (000C05A6) Unknown Recipient

""",
        subject="Undeliverable: Offer",
        sender="System Administrator <postmaster@example.net>",
    ),
    original="",
)
form(
    "exchange 5.5",
    plain(
        f"""Your message

  To:      list@example.net
  Subject: Offer

did not reach the following recipient(s):

c=US;a= ;p=Example;o=X;dda:SMTP={ANN}; on Mon, 2 Feb 2026 09:00:02 -0000
    The recipient name is not recognized

""",
        subject="Undeliverable: Offer",
        sender="System Administrator <postmaster@example.net>",
    ),
    original="",
)
form(
    "exchange, in German, no status",
    multipart(
        text(f"""Fehler bei der Nachrichtenzustellung an folgende Empfänger oder Gruppen:

{ANN}<mailto:{ANN}>
Die eingegebene E-Mail-Adresse konnte nicht gefunden werden.

Diagnoseinformationen für Administratoren:

Generierender Server: x.example.net

{ANN}
mx.example.org
Remote Server returned '550 5.1.1 <{ANN}>: Recipient address rejected'

Ursprüngliche Nachrichtenkopfzeilen:

{RETURNED}"""),
        subject="Unzustellbar: Angebot",
        sender="Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.net>",
    ),
    status="5.1.1",
)
form(
    "office 365, as a page",
    multipart(
        html(
            f"<html><body><table><tr><td>Your message to <b>{ANN}</b> couldn't be delivered.</td></tr><tr><td>"
            f"<a href='mailto:{ANN}'>{ANN}</a> wasn't found at example.org.</td></tr></table><p>Remote Server returned &#39;550 5.1.10 RESOLVER.ADR.RecipientNotFound&#39;</p></body></html>"
        ),
        WHOLE,
        subject="Undeliverable: Offer",
        sender="postmaster@example.onmicrosoft.com",
    ),
    status="5.1.10",
)
form(
    "mdaemon",
    multipart(
        text(f"""The following addresses had permanent delivery errors

{ANN} - no such user here.

  : Message contains [1] file attachments
"""),
        WHOLE,
        subject=f"Permanent Delivery Failure ({ANN})",
        sender="MDaemon@mx.example.net",
        path="<MDaemon@mx.example.net>",
    ),
)
form(
    "imail",
    plain(
        f"unknown user: {ANN}\n\n\nOriginal message follows.\n\n{RETURNED}",
        subject="Undeliverable Mail",
        sender="Postmaster <postmaster@mx.example.net>",
        fields=("X-Mailer: <SMTP32 v8.22>",),
    ),
)
form(
    "imail, full",
    plain(
        f"User mailbox exceeds allowed size: {ANN}\n\nOriginal message follows.\n\n{RETURNED}",
        subject="Undeliverable Mail",
        sender="Postmaster <postmaster@mx.example.net>",
    ),
    status="5.2.2",
)
form(
    "groupwise",
    multipart(
        text(
            f"The message that you sent was undeliverable to the following:\n\t{ANN} (user not found)\n\nPossibly truncated original message follows:\n\n"
        ),
        WHOLE,
        subject="Message status - undeliverable",
        sender="Mailer-Daemon@gw.example.net",
    ),
)
form(
    "domino",
    multipart(
        text(
            f"Your message\n\n  Subject: Offer\n\nwas not delivered to:\n\n  {ANN}\n\nbecause:\n\n  User ann ({ANN}) not listed in Domino Directory\n"
        ),
        WHOLE,
        subject=f"DELIVERY FAILURE: User ann ({ANN}) not listed in Domino Directory",
        sender="Postmaster@domino.example.net",
    ),
)
form(
    "notes",
    plain(
        f"------- Failure Reasons  --------\n\nUser not listed in public Name & Address Book\n{ANN}\n\n\n------- Returned Message --------\n\n{RETURNED}",
        subject="DELIVERY FAILURE: Offer",
        sender="Mail Router <postmaster@notes.example.net>",
    ),
)
form(
    "yahoo",
    plain(
        f"""Message from yahoo.com.
Unable to deliver message to the following address(es).

<{ANN}>:
This user doesn't have a yahoo.com account ({ANN}) [-5]

--- Original message follows.

{RETURNED}""",
        subject="Failure Notice",
        sender="MAILER-DAEMON@yahoo.com",
    ),
)
form(
    "yahoo, sorry",
    plain(
        f"""Sorry, we were unable to deliver your message to the following address.

<{ANN}>:
554: delivery error: dd Not a valid recipient - atlas117.free.mail.example

--- Below this line is a copy of the message.

{RETURNED}""",
        subject="Failure Notice",
        sender="MAILER-DAEMON@yahoo.com",
    ),
)
form(
    "aol",
    plain(
        f"""The original message was received at Mon, 2 Feb 2026 04:00:00 -0500
from root@localhost

   ----- The following addresses had permanent fatal errors -----
<{ANN}>

   ----- Transcript of session follows -----
... while talking to air-xn01.mail.example.:
>>> RCPT To:<{ANN}>
<<< 550 MAILBOX NOT FOUND
550 <{ANN}>... User unknown

{RETURNED}""",
        subject="Returned mail: User unknown",
        sender="Mail Delivery Subsystem <MAILER-DAEMON@aol.com>",
    ),
)
form(
    "mail.ru",
    plain(
        f"""Это письмо создано автоматически
сервером Mail.Ru, отвечать на него не
нужно.

К сожалению, Ваше письмо не может
быть доставлено одному или нескольким
получателям:

**********************

{ANN}:
SMTP error from remote mail server after RCPT TO:<{ANN}>:
550 Message was not accepted -- invalid mailbox.  Local mailbox {ANN} is unavailable: user not found

**********************

{RETURNED}""",
        subject="Mail failure.",
        sender="mailer-daemon@corp.mail.example",
    ),
)
form(
    "yandex",
    multipart(
        text(
            f"Это служебное сообщение от почтового сервера.\n\nВаше письмо не было доставлено:\n\n<{ANN}>: host mx said: 550 5.7.1 No such user!\n"
        ),
        status(group(ANN, "failed", "5.7.1", "smtp; 550 5.7.1 No such user!")),
        WHOLE,
        subject="Недоставленное сообщение",
        kind=DSN,
        sender="mailer-daemon@yandex.example",
    ),
    status="5.7.1",
)
form(
    "netease",
    multipart(
        html(
            f"<p>抱歉，您的邮件被退回来了……</p><table><tr><td>收件人邮件地址：</td><td>{ANN}</td></tr><tr><td>退信代码：</td><td>550 RP:RCL</td></tr>"
            "<tr><td>退信原因：</td><td>SMTP error, RCPT TO: 550 User not found</td></tr></table>"
        ),
        WHOLE,
        subject="系统退信",
        sender="Postmaster@163.example",
        kind="report",
    ),
)
form(
    "qq",
    multipart(
        html(
            f"<p>很抱歉您发送的邮件被退回，以下是该邮件的相关信息：</p><table><tr><td colspan=2>无法发送到{ANN}</td></tr><tr><td>退信原因</td>"
            "<td>收件人邮件地址不存在，邮件无法送达。<br/>host mx[192.0.2.1] said: 550 5.1.1 User unknown</td></tr></table>"
        ),
        WHOLE,
        subject="[Qmail] 来自qq.com的退信",
        sender='"PostMaster" <PostMaster@qq.example>',
        kind="report",
    ),
    status="5.1.1",
)
form(
    "sina",
    multipart(
        text(f"您好:\n\n您的邮件未能送达以下收件人\n\n<{ANN}>:\n\n没有此用户\n"),
        WHOLE,
        subject="系统退信",
        sender="MAILER-DAEMON@sina.example",
    ),
)
form(
    "naver",
    multipart(
        text(
            f"메일이 다음과 같은 이유로 전송되지 못했습니다.\n\n받는사람 : {ANN}\n보낸시간 : 2026-02-02\n\n이유: 550 5.1.1 존재하지 않는 사용자\n"
        ),
        WHOLE,
        subject="[메일 발송 실패 알림] Offer",
        sender="mailer-daemon@naver.example",
    ),
    status="5.1.1",
)
form(
    "gmx",
    plain(
        f"""This message was created automatically by mail delivery software.

A message that you sent could not be delivered to
one or more of its recipients. This is a permanent error.

The following address failed:

{ANN}:
SMTP error from remote server for RCPT TO command, host: mx.example.org (192.0.2.1) reason: 550 5.1.1
Recipient unknown

--- The header of the original message is following. ---

{RETURNED}""",
        subject="Mail delivery failed: returning message to sender",
        sender="GMX Mailer Daemon <mailer-daemon@gmx.example>",
    ),
    status="5.1.1",
)
form(
    "1&1",
    plain(
        f"""Diese Nachricht wurde automatisch erstellt.

Eine Nachricht, die Sie versendet haben, konnte einem oder mehreren Empfängern
nicht zugestellt werden.

{ANN}
Das Postfach ist voll.

--- Kopfzeilen der Original-Nachricht: ---

{RETURNED}""",
        subject="Zustellung fehlgeschlagen",
        sender="mailer-daemon@kundenserver.example",
    ),
)
form(
    "t-online",
    plain(
        f"""|------------------------- Message log follows: -------------------------|
 no valid recipients were found for this message
|------------------------- Failed addresses follow: ---------------------|
 <{ANN}> ... transport smtp: 552 5.2.2 <{ANN}> Quota exceeded
|------------------------- Message text follows: ------------------------|
{RETURNED}""",
        subject="mail failed, returning to sender",
        sender="Mail Delivery System <Mailer-Daemon@t-online.example>",
    ),
    status="5.2.2",
)
form(
    "orange",
    multipart(
        text(
            f"Votre message n'a pas pu être remis au destinataire suivant :\n\n{ANN}\n    550 5.1.1 Adresse d au moins un destinataire invalide. OFR_416 [416]\n"
        ),
        WHOLE,
        subject="Message non remis",
        sender="postmaster@orange.example",
    ),
    status="5.1.1",
)
form(
    "proofpoint",
    multipart(
        text(f"Your message was not delivered to <{ANN}>.\n\n  host mx[192.0.2.1]: 550 5.7.0 Local Policy Violation\n"),
        FIELDS,
        subject="Delivery Failure",
        sender="postmaster@ppe.example",
    ),
    status="5.7.0",
)
form(
    "mimecast",
    multipart(
        text(
            f"The message you sent to {ANN} was rejected.\n\n550 Administrative prohibition - envelope blocked - https://community.example/\n"
        ),
        WHOLE,
        subject="[Postmaster] Email Delivery Failure",
        sender="Postmaster <postmaster@mimecast.example>",
    ),
)
form(
    "barracuda",
    multipart(
        text(
            f"Your message to: {ANN}\nwas blocked by our Spam Firewall. The email you sent with the following subject has NOT BEEN DELIVERED:\n\nSubject: Offer\n"
        ),
        FIELDS,
        subject="**Message you sent blocked by our bulk email filter**",
        sender='"Barracuda Spam Firewall" <postmaster@barracuda.example>',
    ),
)
form(
    "workmail",
    multipart(
        text(
            f"Your message has encountered delivery problems.\n\nTechnical report:\n\n{ANN}: 550 5.1.1 mailbox does not exist\n"
        ),
        status(group(ANN)),
        WHOLE,
        subject="Delivery Status Notification (Failure)",
        sender="postmaster@us-west-2.amazonses.example",
        kind="mixed",
    ),
    status="5.1.1",
)
form(
    "zoho",
    plain(
        f"""This message was created automatically by mail delivery software.
 A message that you sent could not be delivered to one or more of its recipients. This is a permanent error.

{ANN} Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.1

Received:from mail.zoho.example by mx.zoho.example
{RETURNED}""",
        subject="Undelivered Mail Returned to Sender",
        sender="mailer-daemon@mail.zoho.example",
    ),
    status="5.1.1",
)
form(
    "icloud",
    plain(
        f"""This is a system-generated message to inform you that your email could not
be delivered to one or more recipients. Details of the email and the error are as follows:

<{ANN}>: host mx.example.org[192.0.2.1] said: 552 5.2.2 <{ANN}>: user is over quota (in reply to RCPT TO command)

{RETURNED}""",
        subject="Undelivered Mail Returned to Sender",
        sender="Mail Delivery System <MAILER-DAEMON@icloud.example>",
    ),
    status="5.2.2",
)
form(
    "gmail, 2010",
    plain(
        f"""Delivery to the following recipient failed permanently:

     {ANN}

Technical details of permanent failure:
Google tried to deliver your message, but it was rejected by the recipient domain. The error that the other server returned was: 550 550 5.1.1 <{ANN}>... User unknown (state 13).

----- Original message -----

{RETURNED}""",
        subject="Delivery Status Notification (Failure)",
        sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        fields=(f"In-Reply-To: <{SENT}>",),
    ),
    status="5.1.1",
)
form(
    "gmail, delayed",
    plain(
        f"""This is an automatically generated Delivery Status Notification

THIS IS A WARNING MESSAGE ONLY.

YOU DO NOT NEED TO RESEND YOUR MESSAGE.

Delivery to the following recipient has been delayed:

     {ANN}

Message will be retried for 2 more day(s)

   ----- Message header follows -----

{RETURNED}""",
        subject="Delivery Status Notification (Delay)",
        sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
    ),
    "delay",
    status="4",
)
form(
    "courier",
    plain(
        f"""This is a delivery status notification from mx.example.net,
running the Courier mail server, version 0.65.2.

The original message was received on Mon, 2 Feb 2026 09:00:00 +0000
from 192.0.2.7

---------------------------------------------------------------------------

                           UNDELIVERABLE MAIL

Your message to the following recipients cannot be delivered:

<{ANN}>:
    mx.example.org [192.0.2.1]:
    <<< 550 5.1.1 <{ANN}>: unknown

---------------------------------------------------------------------------

{RETURNED}""",
        subject="NOTICE: mail delivery status.",
        sender='"Courier mail server at mx.example.net" <@>',
    ),
    status="5.1.1",
)
form(
    "opensmtpd",
    plain(
        f"    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this e-mail.\n\n    An error has occurred while attempting to deliver a message for\n    the following list of"
        f" recipients:\n\n{ANN}: 550 5.1.1 no such user\n\n    Below is a copy of the original message:\n\n{RETURNED}",
        subject="Delivery status notification: error",
        sender="Mailer Daemon <MAILER-DAEMON@mx.example.net>",
    ),
    status="5.1.1",
)
form(
    "mailenable",
    plain(
        f"The following recipient(s) could not be reached:\n\n\tRecipient: [SMTP:{ANN}]\n\tReason: The message could not be delivered because the domain name (example.org) does not appear to be registered.\n\n"
        f"Message headers follow:\n\n{RETURNED}",
        subject="Message Delivery Failure",
        sender="postmaster@mx.example.net",
    ),
)
form(
    "hmailserver",
    plain(
        f"Your message did not reach some or all of the intended recipients.\n\n   Sent: Mon, 2 Feb 2026\n   Subject: Offer\n\nThe following recipient(s) could not be reached:\n\n{ANN}\n   Error Type: SMTP\n"
        f"   Remote server replied: 550 5.1.1 Unknown user\n\nhMailServer\n",
        subject="Message undeliverable: Offer",
        sender="mailer-daemon@mx.example.net",
    ),
    status="5.1.1",
    original="",
)
form(
    "smartermail",
    plain(
        f"Could not deliver message to the following recipient(s):\n\nFailed Recipient: {ANN}\nReason: Remote host said: 550 unknown user <{ANN}>\n\n   -- The header and top 20 lines of the message follows --\n\n{RETURNED}",
        subject="Delivery Failure",
        sender='"System Administrator" <postmaster@mx.example.net>',
    ),
)
form(
    "communigate",
    multipart(
        text(
            f"Failed to deliver to '{ANN}'\nSMTP module(domain example.org) reports:\n host mx.example.org says:\n 550 5.1.1 no such user\n"
        ),
        FIELDS,
        subject="Undeliverable mail: Offer",
        sender="<MAILER-DAEMON@cgp.example.net>",
    ),
    status="5.1.1",
)
form(
    "sun messaging server",
    multipart(
        text(
            f"This report relates to a message you sent with the following header fields:\n\n  Message-id: <{SENT}>\n  Date: Mon, 02 Feb 2026\n  From: sales@example.test\n  To: {ANN}\n  Subject: Offer\n\n"
            f"Your message cannot be delivered to the following recipients:\n\n  Recipient address: {ANN}\n  Reason: Remote SMTP server has rejected address\n  Diagnostic code: smtp;550 5.1.1 <{ANN}>... User Unknown\n"
        ),
        subject="Delivery Notification: Delivery has failed",
        sender="Internet Mail Delivery <postmaster@sun.example.net>",
    ),
    status="5.1.1",
)
form(
    "powermta",
    multipart(
        text(
            f"Hello, this is the mail server on mx.example.net.\n\nI am sending you this message to inform you on the delivery status of a message you previously sent.  Immediately below you will find a list of the affected recipients;"
            f"  also attached is a Delivery Status Notification (DSN) report in standard format, as well as the headers of the original message.\n\n  <{ANN}>  delivery failed; will not continue trying\n"
        ),
        status(group(ANN)),
        FIELDS,
        subject="Delivery report",
        kind=DSN,
        sender="postmaster@mx.example.net",
    ),
    status="5.1.1",
)
form(
    "ironport",
    plain(
        f"The following message to <{ANN}> was undeliverable.\nThe reason for the problem:\n5.1.0 - Unknown address error 550-'5.1.1 no such user'\n\n{RETURNED}",
        subject="Delivery Status Notification (Failure)",
        sender='"Mail Delivery System" <MAILER-DAEMON@ironport.example.net>',
    ),
    status="5.1.0",
)
form(
    "james",
    plain(
        f"Hi. This is the James mail server at mx.example.net.\nI'm afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.  Below\nI include the list of"
        f" recipients and the reason why I was unable to deliver\nyour message.\n\nFailed recipient(s):\n{ANN}\n\nError message:\n550 5.1.1 unknown\n\n{RETURNED}",
        subject="Undeliverable",
        sender="postmaster@mx.example.net",
    ),
    status="5.1.1",
)
form(
    "interscan",
    multipart(
        text(
            f"****** Message from InterScan Messaging Security Suite ******\n\nSent <<< RCPT TO:<{ANN}>\nReceived >>> 550 5.1.1 unknown user.\n\nUnable to deliver message to <{ANN}>.\n"
        ),
        WHOLE,
        subject="Mail could not be delivered",
        sender="imss@example.net",
    ),
    status="5.1.1",
)
form(
    "smail 3",
    plain(
        f"|------------------------- Failed addresses follow: ---------------------|\n <{ANN}>\n   552 5.2.2 <{ANN}> Quota exceeded (mailbox for user is full)\n|------------------------- Message header follows: ----------------------|\n{RETURNED}",
        subject="mail failed, returning to sender",
        sender="Mail Delivery System <Mailer-Daemon@t.example>",
    ),
    status="5.2.2",
)
form(
    "a german provider's notice",
    plain(
        f"""########################################
## automatic bounce notification       ##
########################################

This message is to inform you that an email you sent was rejected.

reject reason: Mailbox full
target mail address: {ANN}

------------------------------------------------------------------------
bounced E-Mail:

{RETURNED}""",
        subject="email bounce notification",
        sender="postmaster@example.de",
        fields=("Auto-Submitted: auto-replied",),
    ),
    status="5.2.2",
)

# Languages that nobody told the reader: structure is what it has.
for language, sentence in {
    "klingon": "QIn ngeHlu'laHbe'", "latin": "Epistula reddi non potuit", "welsh": "Ni ellid danfon eich neges", "basque": "Zure mezua ezin izan da entregatu",
    "georgian": "წერილი ვერ მივიდა", "armenian": "Նամակը չի հասել", "hindi": "आपका संदेश नहीं पहुँचा", "swahili": "Ujumbe haukufika", "icelandic": "Skeytið komst ekki til skila",
    "esperanto": "La mesaĝo ne alvenis",
}.items():  # fmt: skip
    form(
        f"in {language}",
        multipart(text(f"{sentence}:\n{ANN}\n550 5.1.1 x\n"), WHOLE, subject=sentence, sender="postmaster@isp.example"),
        status="5.1.1",
    )
    form(
        f"in {language}, code first",
        multipart(
            text(f"{sentence}.\n\nX: 550 5.1.1 x\nY: {ANN}\n"),
            FIELDS,
            subject=sentence,
            sender="Robot <robot@isp.example>",
        ),
        status="5.1.1",
    )

for language, (subject, sentence) in {
    "de": (
        "Zustellung verzögert",
        "Ihre Nachricht wurde noch nicht zugestellt. Es wird weiter versucht, sie zuzustellen.",
    ),
    "fr": ("Remise retardée", "Votre message n'est pas encore remis. Nous continuons nos tentatives."),
    "es": ("Entrega retrasada", "El mensaje aún no se ha entregado. Se seguirá intentando."),
    "it": ("Consegna ritardata", "Il messaggio non è ancora stato consegnato."),
    "ru": ("Доставка задерживается", "Письмо ещё не доставлено. Попытки доставки будут продолжены."),
    "ja": ("配信遅延", "メールの配信が遅延しています。再送を続けます。"),
    "zh": ("投递延迟", "您的邮件尚未送达，系统将继续尝试。"),
}.items():
    form(
        f"delayed, {language}",
        multipart(
            text(f"{sentence}\n\n{ANN}\n451 4.4.1 timeout\n"), FIELDS, subject=subject, sender="postmaster@isp.example"
        ),
        "delay",
        status="4.4.1",
    )
for language, (subject, sentence) in {
    "en": ("Delivery notification: success", "Your message was successfully delivered to:"),
    "de": ("Zustellbestätigung", "Ihre Nachricht wurde erfolgreich zugestellt:"),
    "fr": ("Remis : Offre", "Votre message a bien été remis à :"),
    "ja": ("配信完了", "メールは正常に配信されました。"),
}.items():
    form(
        f"delivered, {language}",
        multipart(text(f"{sentence}\n\n{ANN}\n"), FIELDS, subject=subject, sender="postmaster@isp.example"),
        "other",
        recipients=(ANN,),
        status="",
        original="",
    )

# -- forms of their own ------------------------------------------------------------------------------------------------


def pec(kind: str, subject: str, words: str, error: str = "nessuno") -> bytes:
    data = (
        f'<?xml version="1.0"?><postacert tipo="{kind}" errore="{error}"><intestazione><mittente>sales@example.test</mittente><destinatari tipo="certificato">{ANN}</destinatari></intestazione>'
        f"<dati><msgid>&lt;{SENT}&gt;</msgid><consegna>{ANN}</consegna>{words}</dati></postacert>"
    )
    return multipart(
        text(f'Il giorno 02/02/2026 … all\'utente "{ANN}"'),
        ('application/xml; name="daticert.xml"\nContent-Disposition: attachment; filename="daticert.xml"', data),
        subject=subject,
        sender="posta-certificata@gestore.example",
        fields=(f"X-Ricevuta: {kind}", f"X-Riferimento-Message-ID: <{SENT}>"),
    )


form(
    "pec, not delivered",
    pec(
        "errore-consegna",
        "AVVISO DI MANCATA CONSEGNA: Offer",
        "<errore-esteso>5.1.1 - indirizzo non valido</errore-esteso>",
        "no-dest",
    ),
    status="5.1.1",
)
form("pec, not accepted", pec("non-accettazione", "AVVISO DI NON ACCETTAZIONE: Offer", "", "virus"), status="5.7.1")
form(
    "pec, late",
    pec("preavviso-errore-consegna", "AVVISO DI MANCATA CONSEGNA PER SUP. TEMPO MASSIMO: Offer", ""),
    "delay",
    status="4",
)
form("pec, delivered", pec("avvenuta-consegna", "CONSEGNA: Offer", ""), "other", status="")
form("pec, accepted", pec("accettazione", "ACCETTAZIONE: Offer", ""), "other", status="")


def ses(body: str, envelope: bool = False) -> bytes:
    mail = f'"mail":{{"timestamp":"2026-02-02T09:00:00.000Z","messageId":"0000014644fe5ef6-9a483358-000000","sourceArn":"arn:aws:ses:eu-west-1:1:identity/x","destination":["{ANN}"],"commonHeaders":{{"messageId":"<{SENT}>"}}}}'
    told = "{" + body + "," + mail + "}"
    if envelope:
        told = (
            '{\n  "Type" : "Notification",\n  "TopicArn" : "arn:aws:sns:eu-west-1:1:t",\n  "Message" : "'
            + told.replace('"', '\\"')
            + '"\n}'
        )
    return plain(
        f"{told}\n\n--\nIf you wish to stop receiving notifications from this topic, please click or visit the link below to unsubscribe:\nhttps://sns.example/",
        subject="AWS Notification Message",
        sender="AWS Notifications <no-reply@sns.amazonaws.com>",
        path="<0100@amazonses.com>",
    )


SES_BOUNCE = f'"notificationType":"Bounce","bounce":{{"bounceType":"Permanent","bounceSubType":"General","bouncedRecipients":[{{"emailAddress":"{ANN}","action":"failed","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}}]}}'
form("ses, bounce", ses(SES_BOUNCE), status="5.1.1")
form("ses, bounce, in the envelope of SNS", ses(SES_BOUNCE, envelope=True), status="5.1.1")
form(
    "ses, suppressed",
    ses(
        f'"eventType":"Bounce","bounce":{{"bounceType":"Permanent","bounceSubType":"Suppressed","bouncedRecipients":[{{"emailAddress":"{ANN}"}}]}}'
    ),
    status="5.0.0",
)
form(
    "ses, complaint",
    ses(
        f'"notificationType":"Complaint","complaint":{{"complainedRecipients":[{{"emailAddress":"{ANN}"}}],"complaintFeedbackType":"abuse"}}'
    ),
    "complaint",
    status="",
)
form(
    "ses, delay",
    ses(
        f'"eventType":"DeliveryDelay","deliveryDelay":{{"delayType":"MailboxFull","delayedRecipients":[{{"emailAddress":"{ANN}","status":"4.2.2","diagnosticCode":"smtp; 452 4.2.2 full"}}]}}'
    ),
    "delay",
    status="4.2.2",
)
form("ses, delivery", ses(f'"notificationType":"Delivery","delivery":{{"recipients":["{ANN}"]}}'), "other", status="")

ABUSE = ("message/feedback-report", f"Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\nOriginal-Rcpt-To: {ANN}\n")
form(
    "arf",
    multipart(
        text("This is an abuse report."),
        ABUSE,
        WHOLE,
        subject="FW: Offer",
        kind="report; report-type=feedback-report",
        sender="fbl@isp.example",
        path="<fbl@isp.example>",
    ),
    "complaint",
    status="",
)
form(
    "arf, mixed",
    multipart(
        text("This is an abuse report."),
        ABUSE,
        WHOLE,
        subject="complaint",
        sender="fbl@isp.example",
        path="<fbl@isp.example>",
    ),
    "complaint",
    status="",
)
form(
    "arf, redacted",
    multipart(
        text("x"),
        ("message/feedback-report", "Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n"),
        WHOLE,
        subject="Email Feedback Report",
        kind="report",
        sender="scomp@isp.example",
    ),
    "complaint",
    status="",
)
form(
    "arf, not spam",
    multipart(
        text("x"),
        ("message/feedback-report", "Feedback-Type: not-spam\nUser-Agent: x/1\nVersion: 1\n"),
        WHOLE,
        subject="x",
        kind="report",
        sender="fbl@isp.example",
    ),
    "other",
    status="",
)
form(
    "jmrp",
    multipart(
        (
            "message/rfc822\nContent-Disposition: inline",
            f"X-HmXmrOriginalRecipient: {ANN}\nX-Reporter-IP: 192.0.2.1\n{RETURNED.replace('To: ' + ANN, 'To: undisclosed-recipients:;')}",
        ),
        subject="complaint about message from 192.0.2.7",
        sender="staff@hotmail.example",
        path="<staff@hotmail.example>",
    ),
    "complaint",
    status="",
)

# -- what is no report -------------------------------------------------------------------------------------------------

ANSWERS = ("Re: Offer", "AW: Offer", "Re: Undeliverable: Offer", "RE: Delivery Status Notification (Failure)")
for subject in ANSWERS:
    answer = (f"In-Reply-To: <{SENT}>",)
    form(
        f"a person, {subject}",
        plain(
            f"It came back, see below:\n\n<{BOB}>: 550 5.1.1 User unknown, could not be delivered\n\n-----Original Message-----\n{RETURNED}",
            subject=subject,
            sender=f"Ann <{ANN}>",
            path=f"<{ANN}>",
            fields=answer,
        ),
        "reply",
        (),
        "",
        "",
    )
    form(
        f"a person with a message, {subject}",
        multipart(
            text(f"Your mail to my colleague came back:\n\n{BOB}\n550 5.1.1 unknown user\n"),
            WHOLE,
            subject=subject,
            sender=f"Ann <{ANN}>",
            path=f"<{ANN}>",
            fields=answer,
        ),
        "reply",
        (),
        "",
        "",
    )
    form(
        f"a person with a report, {subject}",
        multipart(
            text("This came back."),
            ("message/rfc822", INNER),
            subject=subject,
            sender=f"Ann <{ANN}>",
            path=f"<{ANN}>",
            fields=answer,
        ),
        "reply",
        (),
        "",
        "",
    )
    form(
        f"a person with a report's parts, {subject}",
        multipart(
            text("This came back."),
            status(group(BOB)),
            WHOLE,
            subject=subject,
            sender=f"Ann <{ANN}>",
            path=f"<{ANN}>",
            fields=answer,
        ),
        "reply",
        (),
        "",
        "",
    )
    form(
        f"a postmaster who answers, {subject}",
        plain(
            f"I looked into it: <{BOB}> could not be delivered, 550 5.1.1.\n\n-----Original Message-----\n{RETURNED}",
            subject=subject,
            sender="Eve <postmaster@example.org>",
            path="<postmaster@example.org>",
            fields=answer,
        ),
        "reply",
        (),
        "",
        "",
    )
form(
    "somebody forwards a report",
    multipart(
        text("FYI"),
        ("message/rfc822", INNER),
        subject="Fwd: Undelivered Mail Returned to Sender",
        sender=f"Ann <{ANN}>",
        path=f"<{ANN}>",
    ),
    "other",
    (),
    "",
    "",
)
form(
    "an automatic answer with the message",
    multipart(
        text(f"I am away. Ask {BOB}, room 450 Main Street."),
        WHOLE,
        subject="Automatic reply: Offer",
        sender=f"Ann <{ANN}>",
        fields=("Auto-Submitted: auto-replied", f"In-Reply-To: <{SENT}>"),
    ),
    "auto_reply",
    (),
    "",
    "",
)
form(
    "a vacation notice that quotes",
    plain(
        f"I am away until 3 March. Call 555 1234 or {BOB}.\n\n-----Original Message-----\n{RETURNED}",
        subject="Out of Office: Offer",
        sender=f"Ann <{ANN}>",
        fields=("Auto-Submitted: auto-replied",),
    ),
    "auto_reply",
    (),
    "",
    "",
)
form(
    "a mail system's digest",
    plain("You have 3 new messages in quarantine.", subject="Quarantine digest", sender="postmaster@example.org"),
    "other",
    (),
    "",
    "",
)

# -- more of what is out there -----------------------------------------------------------------------------------------

form(
    "biglobe",
    plain(
        f"""   ----- The following addresses had delivery problems -----

{ANN}

   ----- Non-delivered information -----

The number of messages in recipient's mailbox exceeded the local limit.


   ----- Original message follows -----

{RETURNED}""",
        subject="Returned mail: Message delivery failure",
        sender="postmaster@biglobe.example",
    ),
)
form(
    "mailmarshal",
    plain(
        f"""Your message:
   From:    sales@example.test
   Subject: Offer

Could not be delivered because of

550 5.1.1 User unknown

The following recipients were affected:
   {ANN}

Additional Information
======================

+=+=+=+=+=+=+=+=
{RETURNED}""",
        subject="Undeliverable Mail: Offer",
        sender='"MailMarshal" <postmaster@mm.example.net>',
    ),
    status="5.1.1",
)
form(
    "mxlogic",
    plain(
        f"""The original message was received at Mon, 2 Feb 2026 09:00:00 -0500
from mail.example.test

----- The following addresses had delivery problems -----
<{ANN}> (550 5.1.1 no such user)

Included is a copy of the message header:

{RETURNED}""",
        subject="Mail delivery failed: returning message to sender",
        sender="Mail Delivery System <mailer-daemon@mxlogic.example>",
    ),
    status="5.1.1",
)
form(
    "surfcontrol",
    multipart(
        text(f"""Your message could not be sent.
A transcript of the attempts to send the message follows.
The number of attempts made: 1
Addressed To: {ANN}

 Mon 2 Feb 2026 09:00:00 +0000
Failed to send to identified host,
{ANN}: [192.0.2.5], 550 {ANN}... No such user

--- Message non-deliverable.
"""),
        WHOLE,
        subject="Message could not be delivered - Offer",
        sender="Postmaster <postmaster@example.net>",
    ),
)
form(
    "kddi",
    plain(
        f"""Your mail sent on: Mon, 2 Feb 2026 09:00:00
    Could not be delivered to: {ANN}
    As their mailbox is full.

{RETURNED}""",
        subject="Mail Delivery Failure",
        sender="no-reply@app.kddi.example",
    ),
    status="5.2.2",
)
form(
    "ezweb",
    plain(
        f"""The user(s) {ANN}

Each of the following recipients was rejected by a remote mail server.

    Recipient: <{ANN}>
    >>> RCPT TO:<{ANN}>
    <<< 550 <{ANN}>: User unknown

{RETURNED}""",
        subject="Mail System Error - Returned Mail",
        sender='"Mail Delivery Subsystem" <Postmaster@ezweb.example>',
    ),
)
form(
    "mailfoundry",
    plain(
        f"""This is an automatically generated message.

Unable to deliver message to: <{ANN}>
Delivery failed for the following reason:
Server mx22.example.org[192.0.2.222] failed with: 550 <{ANN}> No such user here

This has been a permanent failure.  No further delivery attempts will be made.

{RETURNED}""",
        subject="Message delivery has failed",
        sender="<MAILER-DAEMON@mx.example.net>",
    ),
)
form(
    "mcafee",
    multipart(
        text(f"   --- The following addresses had delivery problems ---\n\n<{ANN}>   (550 5.1.1 User unknown)\n"),
        WHOLE,
        subject="Undelivered Mail",
        sender="Mail Delivery System <postmaster@mcafee.example>",
    ),
    status="5.1.1",
)
form(
    "activehunter",
    plain(
        f"""  ----- The following addresses had permanent fatal errors -----

>>> {ANN} <{ANN}>

  ----- Transcript of session follows -----
550 sorry, no mailbox here by that name (#5.1.1 - chkusr)

{RETURNED}""",
        subject="FAILURE NOTICE :",
        sender="<MAILER-DAEMON@mx4.example.net>",
    ),
    status="5.1.1",
)
form(
    "google groups",
    multipart(
        text(
            f"Hello sales@example.test,\n\nWe're writing to let you know that the group you tried to contact (ann) may not exist, or you may not have permission to post messages to the group. A few more details on why you weren't"
            f" able to post:\n\n * You might have spelled or formatted the group name incorrectly.\n\nThanks,\n\nexample.org admins\n\n\n----- Original message -----\n\n{RETURNED}"
        ),
        subject="Delivery Status Notification (Failure)",
        kind="report; report-type=delivery-status",
        sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        fields=(f"X-Failed-Recipients: {ANN}",),
    ),
)
form(
    "gmail",
    multipart(
        (
            'multipart/alternative; boundary="=_a"',
            f"--=_a\nContent-Type: text/plain; charset=UTF-8\n\n** Address not found **\n\nYour message wasn't delivered to {ANN} because the address couldn't be found, or is unable to receive mail.\n\n"
            "The response from the remote server was:\n550 5.1.1 The email account that you tried to reach does not exist.\n--=_a--\n",
        ),
        status(
            f"Final-Recipient: rfc822; {ANN}\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; gmail-smtp-in.example\n"
            "Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist.\n 550 5.1.1 x\nLast-Attempt-Date: Mon, 02 Feb 2026 09:00:02 -0800 (PST)\n"
        ),
        WHOLE,
        subject="Delivery Status Notification (Failure)",
        kind=DSN,
        sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
        fields=(
            f"X-Failed-Recipients: {ANN}",
            f"In-Reply-To: <{SENT}>",
            f"References: <{SENT}>",
            "Auto-Submitted: auto-replied",
        ),
    ),
    status="5.1.1",
)
form(
    "a mobile operator",
    plain(
        f"Error: Invalid user address\n\n{RETURNED}",
        subject="Undeliverable Message",
        sender="post_master@vtext.example",
    ),
)
form(
    "a list of recipients",
    plain(
        f"""We had trouble delivering your message. Full details follow:

Subject: 'Offer'
Date: 'Mon, 2 Feb 2026 09:00:00 +0000'

2 error(s):

SMTP Server <mx.example.org> rejected recipient <{ANN}>
  (Error following RCPT command). It responded as follows: [550 5.1.1 no such user]
SMTP Server <mx.example.org> rejected recipient <{BOB}>
  (Error following RCPT command). It responded as follows: [552 5.2.2 full]

{RETURNED}""",
        subject="There was an error sending your mail",
        sender="Mail Delivery Subsystem <MAILER-DAEMON@mx.example.net>",
    ),
    recipients=(ANN, BOB),
)
form(
    "nifty",
    plain(
        f"""Message could not be delivered to below.
(メールは以下のアドレスに配信できませんでした)

{ANN}
   指定されたメールアドレスは存在しません。

{RETURNED}""",
        subject="メール送信エラー",
        sender="postmaster@nifty.example",
    ),
)
form(
    "docomo",
    multipart(
        text(f"次のあて先へのメッセージはエラーのため送信できませんでした。\n\n送信先メールアドレス：{ANN}\n"),
        WHOLE,
        subject="Undelivered Mail Returned to Sender",
        sender="mailer-daemon@docomo.example",
    ),
)
form(
    "seznam",
    plain(
        f"Zprávu se nepodařilo doručit na adresu {ANN}\n\nServer odpověděl: 550 5.1.1 neznámý\n\n{RETURNED}",
        subject="Nedoručená zpráva",
        sender="mailer-daemon@seznam.example",
    ),
    status="5.1.1",
)
form(
    "wp",
    plain(
        f"Wiadomość nie została dostarczona do:\n<{ANN}>\n550 5.1.1 Brak uzytkownika\n\n{RETURNED}",
        subject="Niedostarczona wiadomość",
        sender="postmaster@wp.example",
    ),
    status="5.1.1",
)
form(
    "libero",
    multipart(
        text(f"Il messaggio non è stato recapitato al seguente destinatario:\n\n{ANN}\n\nMotivo: casella piena\n"),
        FIELDS,
        subject="Mancato recapito",
        sender="postmaster@libero.example",
    ),
)
form(
    "uol",
    multipart(
        text(f"Sua mensagem não pôde ser entregue:\n\n{ANN}\n"),
        FIELDS,
        subject="Mensagem não entregue",
        sender="postmaster@uol.example",
    ),
)
form(
    "free",
    plain(
        f"Votre message n'a pas été remis à {ANN}: boîte pleine\n\n{RETURNED}",
        subject="Échec de remise",
        sender="postmaster@free.example",
    ),
)
form(
    "arrived, exchange",
    multipart(
        text(f"Your message has been delivered to the following recipients:\n\n{ANN}\n\nSubject: Offer\n"),
        status(group(ANN, "delivered", "2.0.0", "smtp;250 ok")),
        FIELDS,
        subject="Delivered: Offer",
        kind=DSN,
    ),
    "other",
    status="2.0.0",
    original="",
)
form(
    "relayed",
    multipart(
        text(
            f"Delivery to these recipients or groups is complete, but no delivery notification was sent by the destination server:\n\n{ANN}\n"
        ),
        status(group(ANN, "relayed", "2.0.0", "smtp;250 ok")),
        FIELDS,
        subject="Relayed: Offer",
        kind=DSN,
    ),
    "other",
    status="2.0.0",
    original="",
)

for subject in ("Re: Offer", "Offer", "Away", "Thank you for your message"):
    for path in ("", ANN):
        form(f"somebody who is away, {subject}, {path}", plain(f"I am travelling; my reply will be delayed, and messages are not yet read. Write to {BOB} or call 450 1234.\n\n"
             f"-----Original Message-----\n{RETURNED}", subject=subject, sender=f"Ann <{ANN}>", path=f"<{path}>", fields=("Auto-Submitted: auto-replied", f"In-Reply-To: <{SENT}>")), "auto_reply", (), "", "")  # fmt: skip
        form(f"somebody who is away, with the message, {subject}, {path}", multipart(text(f"My answer will be delayed. Until then: {BOB}\n"), WHOLE, subject=subject, sender=f"Ann <{ANN}>", path=f"<{path}>",
             fields=("Auto-Submitted: auto-replied", f"In-Reply-To: <{SENT}>")), "auto_reply", (), "", "")  # fmt: skip
form(
    "arrived, in words, with In-Reply-To",
    multipart(
        text(f"Your message has been successfully delivered to {ANN}."),
        FIELDS,
        subject="Delivery receipt",
        sender="postmaster@isp.example",
        fields=(f"In-Reply-To: <{SENT}>",),
    ),
    "other",
    (ANN,),
    "",
    "",
)
form(
    "a robot's answer with a code",
    multipart(
        text(f"{ANN}: 550 5.1.1 x"),
        WHOLE,
        subject="x",
        sender="robot@isp.example",
        path="<robot@isp.example>",
        fields=("Auto-Submitted: auto-replied",),
    ),
    status="5.1.1",
)
form(
    "a full mailbox, in Spanish",
    multipart(
        text(f"No se pudo entregar a:\n{ANN}\nEl buzón está lleno.\n"),
        WHOLE,
        subject="Mensaje no entregado",
        sender="postmaster@isp.example",
    ),
    status="5.2.2",
)
form(
    "ses, of another sender",
    ses(SES_BOUNCE).replace(b"no-reply@sns.amazonaws.com", b"no-reply@sns.example"),
    status="5.1.1",
)

form(
    "a null reverse-path and words",
    multipart(
        text(
            f"Your mail sent on: Mon, 2 Feb 2026\n     Could not be delivered to: <{ANN}>\n     As their mailbox is full.\n"
        ),
        WHOLE,
        subject="Mail",
        sender="no-reply@isp.example",
    ),
    status="5.2.2",
)
