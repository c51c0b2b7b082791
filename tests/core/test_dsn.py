"""Reports, read back by the standard library."""

import email
import email.policy
from email.message import EmailMessage, Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import dsn, headers
from relay.core.model import Recipient

ORIGINAL = b"From: a@here.example\r\nTo: b@there.example\r\nSubject: Hi\r\nMessage-ID: <1@here.example>\r\n\r\nBody\r\n"
MADE = dsn.Made(
    "relay.test", "MAILER-DAEMON@relay.test", 1_700_000_000.0, "r1@relay.test", "=_b0undary", 1_700_400_000.0
)


def original(content: bytes = ORIGINAL, options: tuple[str, ...] = (), sender: str = "a@here.example") -> dsn.Original:
    return dsn.Original(sender, content, options, 1_699_999_000.0)


def notice(address: str = "b@there.example", action: dsn.Action = "failed", *options: str, **how: str) -> dsn.Notice:
    how = {"status": "5.1.1", "diagnostic": "550 5.1.1 No such user", "remote": "mx.there.example", **how}
    return dsn.Notice(Recipient(address, options), action, **how)


def parts(report: bytes) -> list[Message]:
    said = email.message_from_bytes(report, policy=email.policy.SMTP)
    assert said.get_content_type() == "multipart/report"
    assert said.get_param("report-type") == "delivery-status"
    assert not said.defects
    return list(said.get_payload())


def test_a_report_has_all_that_rfc_3464_asks_for():
    report = dsn.render(original(options=("ENVID=t.ab+2Bc", "RET=HDRS")), [
        notice("b@there.example", "failed", "ORCPT=rfc822;old+2Bname@there.example"), notice("c@there.example"),
    ], MADE)  # fmt: skip
    head = email.message_from_bytes(report, policy=email.policy.SMTP)
    assert isinstance(head, EmailMessage)
    assert str(head["From"]) == "Mail Delivery System <MAILER-DAEMON@relay.test>"
    assert str(head["To"]) == "a@here.example" or str(head["To"]) == "<a@here.example>"
    assert head["Auto-Submitted"] == "auto-replied"
    assert head["Message-ID"] == "<r1@relay.test>"
    text, status, returned = parts(report)
    assert "No such user" in text.get_payload()
    assert status.get_content_type() == "message/delivery-status"
    of_message, first, second = status.get_payload()
    assert of_message["Reporting-MTA"] == "dns; relay.test"
    assert of_message["Original-Envelope-Id"] == "t.ab+c"
    assert of_message["Arrival-Date"]
    assert first["Original-Recipient"] == "rfc822; old+name@there.example"
    assert (first["Final-Recipient"], first["Action"], first["Status"]) == (
        "rfc822; b@there.example",
        "failed",
        "5.1.1",
    )
    assert (first["Remote-MTA"], first["Diagnostic-Code"]) == ("dns; mx.there.example", "smtp; 550 5.1.1 No such user")
    assert second["Final-Recipient"] == "rfc822; c@there.example"
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned.get_payload() == ORIGINAL.partition(b"\r\n\r\n")[0].decode() + "\r\n"


def test_the_whole_message_goes_back_where_that_was_asked_for_unless_it_is_large():
    _, _, returned = parts(dsn.render(original(options=("RET=FULL",)), [notice()], MADE))
    assert returned.get_content_type() == "message/rfc822"
    assert returned.get_payload(0)["Subject"] == "Hi"
    large = ORIGINAL + b"x" * dsn.LONGEST_ORIGINAL
    _, _, returned = parts(dsn.render(original(large, ("RET=FULL",)), [notice()], MADE))
    assert returned.get_content_type() == "text/rfc822-headers"


def test_a_delay_says_until_when():
    report = dsn.render(original(), [notice(action="delayed", status="4.4.1")], MADE)
    text, status, _ = parts(report)
    assert "do not need to send it again" in text.get_payload()
    assert status.get_payload(1)["Action"] == "delayed"
    assert status.get_payload(1)["Will-Retry-Until"] == "Sun, 19 Nov 2023 13:20:00 -0000"


def test_a_person_can_tell_which_message_and_why():
    content = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_=0D=0AX-Evil:_yes?= " + b"x" * 300 + b"\r\n\r\nHi\r\n"
    late = notice("c@there.example", status="4.4.7", diagnostic="450 4.2.0 later", remote="mx")
    text, *_ = parts(dsn.render(original(content), [notice(), late], MADE))
    said = text.get_payload(decode=True).decode()
    assert "\r\nSubject: Grüße ??X-Evil: yes x" in said
    assert all(len(line) < 250 for line in said.splitlines())
    assert "\r\nSent:    Tue, 14 Nov 2023 21:56:40 -0000\r\n" in said
    assert "<b@there.example>\r\n    At mx.there.example: 550 5.1.1 No such user\r\n" in said
    assert "    At mx: 450 4.2.0 later\r\n    This was the last answer, after attempts over 17 minutes.\r\n" in said


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0 seconds"), (60, "60 seconds"), (7200, "2 hours"), (432_000, "5 days")]
)
def test_spans(seconds, words):
    assert dsn.span(seconds) == words


def test_addresses_and_fields_in_utf8():
    content = "Subject: Grüße\r\n\r\nx\r\n".encode()
    report = dsn.render(original(content, sender="jürgen@x.example"), [notice("ü@x.example")], MADE)
    _, status, returned = parts(report)
    assert status.get_content_type() == "message/global-delivery-status"
    assert "Final-Recipient: utf-8; ü@x.example\r\n".encode() in report
    assert returned.get_content_type() == "message/global-headers"
    assert b"Content-Transfer-Encoding: 8bit" in report


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("", "failed delayed"), ("NOTIFY=NEVER", ""), ("NOTIFY=FAILURE", "failed"), ("notify=success,delay", "delayed relayed"),
        ("NOTIFY=SUCCESS", "relayed"), ("ORCPT=rfc822;x", "failed delayed"),
    ],
)  # fmt: skip
def test_who_wants_to_hear_what(option, wanted):
    recipient = Recipient("b@x.example", (option,) if option else ())
    assert [a for a in ("failed", "delayed", "relayed") if dsn.wanted(recipient, a)] == wanted.split()


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60), st.binary(max_size=300))
def test_nothing_that_others_wrote_becomes_a_field(address, words, orcpt, content):
    """For any address, reply, ORCPT and message: three parts, and the same field names."""
    one = notice(address, "failed", f"ORCPT=rfc822;{orcpt}", diagnostic=f"550 {words}")
    report = dsn.render(original(content, (f"ENVID={orcpt}",), address), [one], MADE)
    read = headers.read(report)
    assert [f.name for f in read.fields] == [
        "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
        "content-transfer-encoding",
    ]  # fmt: skip
    assert read.malformed < 0
    status = report.split(b"--=_b0undary")[2].split(b"\r\n\r\n", 1)[1]
    names = {line.split(b":")[0] for line in status.split(b"\r\n") if line}
    assert names <= {
        b"Reporting-MTA", b"Original-Envelope-Id", b"Arrival-Date", b"Original-Recipient", b"Final-Recipient",
        b"Action", b"Status", b"Remote-MTA", b"Diagnostic-Code",
    }  # fmt: skip
