"""For any bytes a report, never an exception. A person's answer is never taken for a bounce, nor a bounce for one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, reports
from relay.core.reports import delivery, prose

DSN = """From: MAILER-DAEMON@mx.example.org
To: sender@example.com
Subject: Undelivered Mail
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

{text}
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
Original-Envelope-Id: t.TOKEN

{groups}
--b
Content-Type: message/rfc822

Message-ID: <original@example.com>
References: <t.TOKEN@t.example.com>
To: ann@example.org

Hello
--b--
"""


def dsn(groups: str, text: str = "Sorry.") -> bytes:
    return DSN.format(groups=groups, text=text).replace("\n", "\r\n").encode()


def letter(*fields: str, body: str = "Hello", sender: str = "Ann <ann@example.org>") -> bytes:
    return "\r\n".join([f"From: {sender}", "To: sender@example.com", *fields, "", body, ""]).encode()


# -- parts for programs


@pytest.mark.parametrize(
    ("groups", "kind", "recipients", "status", "code"),
    [
        ("Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 No",
         "bounce", ("ann@example.org",), "5.1.1", 550),
        ("Final-Recipient: RFC822;<ann@example.org>\nAction: FAILED (bad)\nStatus: 5.0.0 (x)\nDiagnostic-Code: SMTP; 550-5.7.26 no",
         "bounce", ("ann@example.org",), "5.7.26", 550),
        ("Final-Recipient: rfc822; ann@example.org\nAction: delayed\nStatus: 4.4.1\nWill-Retry-Until: x",
         "delay", ("ann@example.org",), "4.4.1", None),
        ("Final-Recipient: rfc822; ann@example.org\nAction: delivered\nStatus: 2.0.0", "other", ("ann@example.org",), "2.0.0", None),
        ("Final-Recipient: rfc822; a@x.example\nAction: delivered\nStatus: 2.0.0\n\nFinal-Recipient: rfc822; b@x.example\n"
         "Action: failed\nStatus: 5.2.2", "bounce", ("b@x.example",), "5.2.2", None),
        ("Original-Recipient: rfc822; ann@example.org\nFinal-Recipient: rfc822; a.n@inner.example\nAction: failed\nStatus: 5.1.1",
         "bounce", ("ann@example.org",), "5.1.1", None),
        ("Final-Recipient: rfc822; ann@example.org\nStatus: 5.1.1", "bounce", ("ann@example.org",), "5.1.1", None),
        ("Final-Recipient: rfc822; ann@example.org\nAction: failed\nDiagnostic-Code: smtp; 421 4.7.0 later\n  and 192.0.2.1 more",
         "bounce", ("ann@example.org",), "4.7.0", 421),
        ("Final-Recipient: utf-8; \"ä ö\"@example.org, x\nAction: failed\nStatus: 5.1.6", "bounce", None, "5.1.6", None),
    ],
)  # fmt: skip
def test_a_delivery_status_is_read_as_it_says(
    groups: str, kind: str, recipients: tuple[str, ...] | None, status: str, code: int | None
) -> None:
    report = reports.read(dsn(groups))
    assert (report.kind, report.status, report.smtp_code) == (kind, status, code)
    if recipients is not None:
        assert report.recipients == recipients
    assert (report.original_message_id, report.envelope_id) == (
        "original@example.com" if kind != "other" else report.original_message_id,
        "t.TOKEN",
    )


def test_a_report_names_what_the_returned_message_referred_to() -> None:
    report = reports.read(dsn("Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1"))
    assert report.original_references == ("t.TOKEN@t.example.com",)


FEEDBACK = """From: fbl@provider.example
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: text/plain

An abuse report.
--b
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: Generator/1
Version: 1
Original-Rcpt-To: <ann@example.org>

--b
Content-Type: message/rfc822

Message-ID: <original@example.com>

--b--
"""


@pytest.mark.parametrize(
    ("kind", "expected"), [("abuse", "complaint"), ("fraud", "complaint"), ("auth-failure", "other")]
)
def test_feedback_is_a_complaint_where_a_person_complained(kind: str, expected: str) -> None:
    report = reports.read(FEEDBACK.format(kind=kind).encode())
    assert (report.kind, report.recipients) == (expected, ("ann@example.org",))
    assert report.original_message_id == "original@example.com"


def test_a_disposition_notification_is_no_answer() -> None:
    raw = FEEDBACK.replace("message/feedback-report", "message/disposition-notification").format(kind="x")
    assert reports.read(("In-Reply-To: <original@example.com>\n" + raw).encode()).kind == "read_receipt"


# -- bounces for people


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        (("From: MAILER-DAEMON@mx.example.org", "Subject: failure notice"),
         "Hi. This is the mail program at mx.example.org.\nI wasn't able to deliver your message to the following addresses.\n\n"
         "<ann@example.org>:\n192.0.2.7 said: 550 5.1.1 no such person\n\n<bob@example.org>:\n552 5.2.2 mailbox full\n\n"
         "--- Below this line is a copy of the message.\n\nMessage-ID: <original@example.com>\nTo: x@y.example\n\nHello",
         ("bounce", ("ann@example.org", "bob@example.org"), "5.1.1", 550, "original@example.com")),
        (("From: Mail Delivery System <Mailer-Daemon@mx.example.org>", "X-Failed-Recipients: ann@example.org", "Subject: Mail failed"),
         "A message could not be delivered. The following address(es) failed:\n\n  ann@example.org\n    Unrouteable address\n",
         ("bounce", ("ann@example.org",), "5.0.0", None, None)),
        (("From: postmaster@example.org", "Subject: Undeliverable: Hello", "Return-Path: <>"),
         "Your message did not reach the following recipient(s):\n\nann@example.org on Thu, 1 Jan 2026\n  The recipient name is not recognized\n",
         ("bounce", ("ann@example.org",), "5.1.1", None, None)),
        (("From: Mail Delivery System <MAILER-DAEMON@mx.example.org>", "Subject: Warning: message 1abc delayed 24 hours"),
         "A message has not yet been delivered to one or more of its recipients.\n\n  ann@example.org\n\nNo action is required. Delivery "
         "attempts will continue.\n", ("delay", ("ann@example.org",), "4.0.0", None, None)),
    ],
)  # fmt: skip
def test_a_bounce_in_words(fields: tuple[str, ...], body: str, expected: tuple[object, ...]) -> None:
    report = reports.read("\r\n".join([*fields, "To: sender@example.com", "", body]).encode())
    found = (report.kind, report.recipients, report.status, report.smtp_code, report.original_message_id)
    assert found == expected


@pytest.mark.parametrize(
    "raw",
    [
        letter("Subject: Re: Undelivered Mail", "In-Reply-To: <x@y>", body="Did you see: ann@example.org could not be delivered, 550 5.1.1?"),
        letter("Subject: Re: failure notice", "References: <x@y>", body="> I wasn't able to deliver your message\nStrange."),
    ],
)  # fmt: skip
def test_a_person_who_writes_about_a_bounce_sent_an_answer(raw: bytes) -> None:
    assert reports.read(raw).kind == "reply"


def test_a_mail_system_that_reports_no_failure_sent_no_bounce() -> None:
    raw = letter(
        "Subject: Quarantine digest",
        body="You have 3 new messages for ann@example.org.",
        sender="postmaster@example.org",
    )
    assert reports.read(raw).kind == "other"


# -- automatic answers


@pytest.mark.parametrize(
    "fields",
    [
        ("Auto-Submitted: auto-replied",),
        ("Auto-Submitted: auto-replied (vacation)",),
        ("Auto-Submitted: Auto-Replied; owner-email=x",),
        ("Auto-Submitted: auto-generated",),
        ("X-Autoreply: yes",),
        ("Precedence: auto_reply",),
        ("X-Apple-Action: VACATION",),
        ("Subject: Automatic reply: Offer",),
        ("Subject: Out of Office AutoReply: Offer",),
        ("Subject: Abwesenheitsnotiz: Angebot",),
        ("Subject: =?utf-8?q?R=C3=A9ponse_automatique_:_Offre?=",),
        ("Subject: =?utf-8?b?6Ieq5YuV6L+U5L+h?=",),
        ("Return-Path: <>",),
    ],
)
def test_an_automatic_answer_is_known_by(fields: tuple[str, ...]) -> None:
    report = reports.read(letter("In-Reply-To: <x@y>", *fields))
    assert report.kind == "auto_reply"
    assert report.reason
    assert report.references == ("x@y",)


@pytest.mark.parametrize(
    "fields",
    [
        ("Auto-Submitted: no",),
        ("Subject: Re: Automatic reply: Offer",),
        ("Subject: Out of office chairs, again",),
        ("Subject: Automatic reply handling in our product",),
        ("Precedence: list",),
        ("X-Auto-Response-Suppress: All",),
        ("Return-Path: <ann@example.org>",),
    ],
)
def test_a_persons_answer_stays_one(fields: tuple[str, ...]) -> None:
    assert reports.read(letter("In-Reply-To: <x@y>", *fields)).kind == "reply"


def test_a_programs_own_mail_answers_nothing() -> None:
    assert reports.read(letter("Auto-Submitted: auto-generated", "Subject: Backup done")).kind == "other"


# -- codes in words


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("550 5.1.1 unknown", "5.1.1", 550),
        ("550-5.7.26 This", "5.7.26", 550),
        ("host said: 452 4.2.2 (#4.2.2) full", "4.2.2", 452),
        ("sorry (#5.1.1)", "5.1.1", None),
        ("connect to 10.5.1.1[10.5.1.1]:25", None, None),
        ("version 5.0.2195.6713", None, None),
        ("on 2005-04-29 at port 443", None, None),
        ("'554 denied'", None, 554),
        ("05.1.1 and 5.1.1234", None, None),
    ],
)
def test_codes_in_a_servers_words(text: str, status: str | None, code: int | None) -> None:
    assert (delivery.enhanced(text), delivery.reply(text)) == (status, code)


# -- for any bytes

WORDS = st.sampled_from(
    [b"\r\n", b"\n", b"--b", b"--b--", b": ", b"; ", b"<", b">", b"@", b"a@b.example", b"Action: failed", b"Status: 5.1.1",
     b"Final-Recipient: rfc822; a@b.example", b"From: MAILER-DAEMON@x", b"Content-Type: multipart/report; boundary=b",
     b"Content-Type: message/delivery-status", b"Content-Transfer-Encoding: base64", b"550 5.1.1", b"=", b"\xff", b"\x1b$B",
     b"could not be delivered", b"Subject: failure notice", b"----- Original message -----", b"Message-ID: <x@y>", b" "]
)  # fmt: skip


@given(st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=40).map(b"".join))
def test_for_any_bytes_a_report(raw: bytes) -> None:
    report = reports.read(raw)
    assert report.kind in get_args(reports.Kind)
    assert all(isinstance(r, str) and r for r in report.recipients)
    assert report.kind not in ("bounce", "delay") or report.entries
    reports.needs_body(headers.read(raw))


@pytest.mark.parametrize(
    "piece",
    [b"a@", b"<a@b.example ", b"550 ", b"5.1.1.", b"-", b"- - ", b"a@b.example\n", b"\n\n", b"x-a: b\n", b"<", b"(", b"to ", b" ",
     b"temporar ", b"delivery to ", b"Action: failed\n\n", b"=?utf-8?q?", b"\t", b"received:\n "],
)  # fmt: skip
@pytest.mark.timeout(60)
def test_no_repetition_takes_for_ever(piece: bytes) -> None:
    """A megabyte of it takes a fraction of a second where time grows with the size, and minutes where it does not."""
    head = b"From: MAILER-DAEMON@x\nSubject: failure notice could not be delivered\n\n"
    status = b"From: MAILER-DAEMON@x\nContent-Type: message/delivery-status\n\n"
    for start in (head, status, b"X: ", b"From: MAILER-DAEMON@x\nTo: "):
        reports.read(start + piece * (1_000_000 // len(piece)))


def test_a_number_that_no_character_has_is_one_that_can_not_be_shown() -> None:
    report = b"From: MAILER-DAEMON@x\nSubject: failure notice\nContent-Type: text/html\n\n<p>"
    assert reports.read(report + b"&#" + b"1" * 5_000).kind == "other"
    assert prose.plain("a&#" + "1" * 5_000 + ";b") == "a\ufffdb"


def test_html_is_read_where_there_is_no_plain_text() -> None:
    assert prose.plain("<p>a&lt;b<br>c</p><a href='x'>d@e.example</a>") == "a<b\nc\nd@e.example"


# -- the command


def test_inspect_writes_a_line_for_each_file_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(letter("In-Reply-To: <x@y>"))
    (tmp_path / "b.eml").write_bytes(dsn("Final-Recipient: rfc822; ann@example.org\nAction: failed\nStatus: 5.1.1"))
    names = [str(tmp_path / name) for name in ("a.eml", "missing.eml", "b.eml")]
    done = subprocess.run([sys.executable, "-m", "relay", "inspect", *names], capture_output=True, check=True)
    first, missing, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert first == {
        "kind": "reply", "recipients": [], "status": None, "smtp_code": None, "action": None,
        "original_message_id": None, "references": ["x@y"], "reason": "has In-Reply-To", "each": [],
    }  # fmt: skip
    assert missing["kind"] == "other"
    assert missing["reason"].startswith("unreadable")
    assert (last["kind"], last["recipients"], last["action"]) == ("bounce", ["ann@example.org"], "failed")
