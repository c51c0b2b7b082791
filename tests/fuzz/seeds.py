"""Where each target begins, what it is mutated with, and the inputs that once failed: these stay for ever."""

from __future__ import annotations

import random

from relay.core import tokens
from relay.core.model import Token
from tests.core.rewriting import leaf, message, multipart
from tests.fakes import mta
from tests.fuzz.targets import KEYS

PAGE = (
    "<!DOCTYPE html><html><head><title>x</title><style>a{color:red}</style></head><body class='>'>"
    "<a href=\"https://a.example/?a=1&amp;b=2\">x</a><A HREF=https://b.example/>y</A><a\r\nhref = '//c.example/é'>"
    "<!--[if mso]><v:rect href='https://d.example/'></v:rect><![endif]--><base href='https://e.example/d/'>"
    "<area href='x?y#z'><a data-track=off href='https://f.example/'><textarea></body></textarea></body></html>\r\n"
)
REPORT = (
    b"From: MAILER-DAEMON@x.example\r\nSubject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n"
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nCould not be delivered.\r\n"
    b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\nOriginal-Envelope-Id: t.abc\r\n\r\n"
    b"Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no\r\n\r\n"
    b"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1@x.example>\r\nSubject: =?utf-8?q?=C3=A9?=\r\n\r\n--b--\r\n"
)
PROSE = (
    b"From: MAILER-DAEMON@x.example\r\nTo: a@x.example\r\nSubject: failure notice\r\n\r\nHi. This is the qmail-send program.\r\n"
    b"<b@y.example>:\r\n192.0.2.1 does not like recipient.\r\nRemote host said: 550 5.1.1 no such user\r\n\r\n"
    b"--- Below this line is a copy of the message.\r\n\r\nMessage-ID: <1@x.example>\r\n"
)
HEADER = (
    b'From: =?utf-8?q?A_=C3=A9?= <a@x.example>, "B, C" <b@x.example>\r\nTo: g: c@d.example, e@f.example;\r\n'
    b"Message-ID: <1@x.example>\r\nIn-Reply-To: <2@x.example>\r\nReferences: <3@x.example>\r\n <2@x.example>\r\n"
    b"Content-Type: text/html; charset=\"utf-8\"; name*0*=utf-8''a%20; name*1=b\r\nSubject: =?iso-2022-jp?b?GyRCRnxLXBsoQg==?=\r\n\r\n"
)
ASKED = (
    b"X-Track: opens, links\r\nX-Track-Opens: =?utf-8?q?yes?=\r\nX-Track-Label: a\r\nX-Track-Domain: t.example.net\r\n"
    b'X-Track-Exclude: "B" <b@example.org>, c@example.org\r\n'
    b'X-Track-Options: {"opens": true, "links": 1,\r\n "thread_replies": "no", "label": "a", "domain_name": "t.example.net"}\r\n'
    b'X-MC-Track: opens,clicks_all\r\nX-MC-Tags: a,b\r\nX-MC-Metadata: {"a": 1}\r\nX-PM-TrackOpens: true\r\nX-PM-TrackLinks: HtmlOnly\r\n'
    b'X-PM-Metadata-Color: red\r\nX-Mailgun-Track: htmlonly\r\nX-Mailgun-Variables: {"a": {"b": [1]}}\r\n'
    b'X-SMTPAPI: {"filters": {"opentrack": {"settings": {"enable": 1}}, "clicktrack": {"settings": {"enable": 1, "enable_te\r\n xt": true}}}, "category": ["x"]}\r\n'
    b'X-MSYS-API: {"options": {"open_tracking": true}, "tags": ["a"], "metadata": {"b": "c"}}\r\n'
    b'X-Mailjet-TrackOpen: 1\r\nX-MJ-CustomID: x\r\nX-Unosend-Track-Clicks: true\r\nX-Unosend-Tags: ["a"]\r\n\r\n'
)
NESTED = multipart(
    "mixed",
    multipart(
        "alternative",
        leaf(b"see https://a.example/ (https://b.example/x_(y)).", "text/plain; format=flowed; delsp=yes"),
        multipart("related", leaf(PAGE.encode()), leaf(b"R0lG", "image/gif"), boundary="r"),
        leaf(b"BEGIN:VCALENDAR", "text/calendar"),
        boundary="a",
    ),
    leaf(b"From: x\r\n\r\nx", "message/rfc822"),
    boundary="=_m=",
    extra="From: a@example.com\r\nList-Unsubscribe: <https://b.example/>\r\n",
)
MESSAGES = [
    NESTED,
    multipart("signed", leaf(PAGE.encode()), leaf(b"x", "application/pgp-signature")),
    *(message(PAGE, encoding=encoding) for encoding in ("8bit", "quoted-printable", "base64", "7bit")),
    message(PAGE, charset="iso-2022-jp", encoding="base64"),
    message(PAGE, charset="utf-16", encoding="base64"),
]  # fmt: skip

WIDE = "Grüße, ".encode()
EIGHT = [
    b"Subject: x\r\n\r\n" + WIDE,
    b"DKIM-Signature: v=1; d=x.example; h=From\r\n" + message("Grüße\n", kind="text/plain"),
    message(bytes(range(128, 256)) * 3, kind="image/png", charset="", encoding="binary"),
    multipart(
        "mixed",
        leaf(WIDE * 20 + b"--=_b= \t", "text/plain", "Content-Transfer-Encoding: 8bit"),
        b"\r\n" + WIDE,
        leaf(b"x" * 1_100, "text/plain", "content-transfer-encoding: 8BIT"),
        leaf(
            message("Grüße\n", extra="Content-Disposition: inline\n"),
            "message/rfc822",
            "Content-Transfer-Encoding: 8bit",
        ),
        leaf(multipart("digest", b"\r\nSubject: y\r\n\r\n" + WIDE, boundary="d"), "message/rfc822"),
        leaf(multipart("signed", leaf(b"x"), boundary="s"), "message/rfc822"),
        leaf(b"b=C3=BC\r\n", "text/plain", "Content-Transfer-Encoding: quoted-printable"),
        extra="MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n",
    ),
    multipart("signed", leaf(WIDE), leaf(b"x", "application/pgp-signature")),
]

MILTER_OFFER = mta.packet(b"O", bytes.fromhex("00000006000001ff001fffff"))
SEEDS: dict[str, list[bytes]] = {
    "headers": [HEADER, ASKED, REPORT],
    "structured": [
        b'multipart/signed (a (b) \\)); protocol="application/pgp-signature"; boundary="x\\"y" (c)',
        b"text/html; charset*0*=utf-8'en'%C3; charset*1*=%A9; name=my report (1).html format=flowed",
        b'attachment; filename="a; b.html; size=1',
    ],
    "addresses": [
        b'"A \\"B\\", C" <@r:"a b"@x.test> (c (d)), =?utf-8?q?e=40f=2C?= <g@h>, I: j@k, l . m@[192.0.2.1];\r\nTo: n@x;o@y\r\n\r\n',
        b"<177.The Bot <a@b>> <\"c d\"@e>\r\n <f\r\n g@h>\r\n\r\n",
        "b\u00fccher.example.".encode(),
    ],
    "encoded_words": [b"=?utf-8?q?=C3=A9_?= =?utf-8?b?w6k?= =?iso-2022-jp?b?GyRCRnwbKEI=?= =?x?q??= =?utf-8*en?Q?a?="],
    "threads": [HEADER, b"References:\r\n <1@x>\r\n\t<2@x>\r\n\r\n", b"In-Reply-To: Your message of <1@x> 2@x\r\n\r\n"],
    "parts": [*MESSAGES, REPORT],
    "transfer": [b"a=3Db=\r\nc =20\r\nd\r\n", b"YWJj\r\nZGVm\r\nYQ==\r\n", b"x" * 90 + b"\r\ny=C3=A9\n"],
    "sevenbit": EIGHT,
    "lines": [
        *EIGHT,
        b"Cc: " + b"a@b.test," * 130 + b"\r\nSubject: " + b"word " * 250 + b"\r\n\r\n" + b"word " * 250,
        multipart("mixed", leaf(b"=" * 999, "text/plain", "Content-Transfer-Encoding: quoted-printable"), leaf(b"x" * 999)),
    ],
    "charsets": [b"utf-8\0\xc3\xa9", b"iso-2022-jp\0\x1b$BF|\x1b(B", b"utf-16\0\xff\xfea\0", b"utf-7\0+AOk-", b"hz\0~{VP~}"],
    "links": [PAGE.encode(), b"<p>x<a href='https://a.example/'", b"<noscript><a href=x></noscript><template><svg>"],
    "plain": [b"see https://a.example/x_(y)., <https://b.example/> (http://c.example/[d]) https://\xc3\xa9 \r\nx"],
    "rewrite": [bytes((flags,)) + raw for raw in MESSAGES for flags in (0, 1 | 8, 2 | 4 | 16)],
    "instructions": [ASKED, *(line + b"\r\n\r\n" for line in ASKED.replace(b"\r\n ", b" ").split(b"\r\n") if line)],
    "tokens": [
        tokens.write(Token("open", bytes(12), 5), KEYS).encode(),
        tokens.write(Token("click", bytes(range(12)), 300, 2, "https://a.example/?é"), KEYS).encode(),
        b"0000000000000000000g",
    ],
    "reports": [REPORT, PROSE, HEADER + b"On Monday A wrote:\r\n> x", b"Auto-Submitted: auto-replied\r\n\r\n"],
    "dsn": [b"b@example.org\0no such user\0rfc822;b@example.org\0" + HEADER + b"text\r\n", b'"a b"@x\0\0\0'],
    "paths": [
        b"FROM:<a@example.com> SIZE=100 BODY=8BITMIME RET=HDRS ENVID=x+2By", b"TO:<@a.example,@b.example:c@d.example> NOTIFY=NEVER",
        b'TO:<"a\\"b c"@[192.0.2.1]> ORCPT=rfc822;a@b', b"FROM:<>", "<é@bücher.example> SMTPUTF8".encode(), b"FROM: <a@b>",
    ],
    "milter": [
        MILTER_OFFER + mta.macros(b"C", daemon_name="smtpd") + mta.connect_packet() + mta.macros(b"M", auth_authen="ann")
        + mta.packet(b"M", b"<a@x.example>\0SIZE=10\0") + mta.packet(b"R", b"<b@x.example>\0")
        + mta.packet(b"L", b"X-Track\0 all\0") + mta.packet(b"L", b"Bcc\0 c@x.example\n d\0") + mta.packet(b"B", b"body\r\n")
        + mta.macros(b"E", i="4dL") + mta.packet(b"E") + mta.packet(b"A") + mta.packet(b"Q"),
        MILTER_OFFER + mta.packet(b"M", b"<>\0") + mta.packet(b"E", b"x") + mta.packet(b"K") + mta.connect_packet("::1"),
    ],
}  # fmt: skip

WORDS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\x1b", b"\x80", b"\xff", b"\xc3\xa9", b"\xe2\x80\xa8", b":", b";", b",", b"=", b"==", b"=\r\n",
    b"=3D", b"--", b"--b", b"--b--", b"<", b">", b"</", b"<!--", b"-->", b"<!--[if mso]>", b"<a href=", b"'", b'"', b"\\", b"(", b")", b"&amp;", b"&", b"#",
    b"?", b"%", b"{{", b"}}", b"*|", b"https://", b"=?utf-8?q?", b"?=", b"@", b"{", b"}", b"[", b"]", b"true", b"1", b"null", b"1e999", b"\\u0000", b"\\ud800",
    b"X-Track: ", b"Content-Type: ", b"multipart/", b"text/html", b"boundary=", b"charset=", b"base64", b"+", b".", b"x" * 80, b"A" * 1_000,
]  # fmt: skip

FOUND: list[tuple[str, bytes]] = [
    ("threads", b"References:\r\n >@x>\r\n\r\n"),
    ("headers", b"Content-Type: text/html; name*0*=\0utf-8''a\r\n\r\n"),
    ("reports", b"Content-Type: text.html; name*0*=utf\0-8''a\r\n\r\n"),
    ("rewrite", b"\0From: a@example.com\r\nContent-Type: text/html"),
    (
        "parts",
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=r\r\n\r\n--r\r\n"
        b"Content-Type: text/html\r\n--a--\r\n",
    ),
    (
        "rewrite",
        b"\0Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
    ),
    ("paths", b"FROM:<a@b> ENVID=e>"),
    ("links", b"<a " + b"x='y'" * 150 + b">"),
    ("links", b"<a " + b"x=y " * 150 + b"x='y>"),
    ("links", b"<a" + b'/x="\'"' * 199 + b" href='x"),
]


def mutated(target: str, dice: random.Random) -> bytes:
    """A seed with some octets changed, taken out, put in, or taken from another seed."""
    seeds = SEEDS[target]
    raw = bytearray(dice.choice(seeds))
    for _ in range(dice.randrange(1, 8)):
        at = dice.randrange(len(raw) + 1)
        match dice.randrange(6):
            case 0:
                raw[at:at] = dice.choice(WORDS)
            case 1:
                del raw[at : at + dice.randrange(1, 12)]
            case 2:
                raw[at : at + 1] = bytes((dice.randrange(256),))
            case 3:
                other = dice.choice(seeds)
                start = dice.randrange(len(other) + 1)
                raw[at:at] = other[start : start + dice.randrange(1, 60)]
            case 4:
                raw[at : at + dice.randrange(1, 12)] = dice.choice(WORDS)
            case _:
                raw[at:at] = raw[at : at + dice.randrange(1, 30)] * dice.randrange(1, 20)
    return bytes(raw)
