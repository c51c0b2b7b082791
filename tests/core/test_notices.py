"""The mail about a webhook that fails: it says what happened and what to do, and lets nobody in."""

from email import message_from_bytes, policy

import pytest

from relay.core import compose, notices
from relay.core.model import Notice

URL = "https://me:s3cret@hooks.example.com/services/T0/s3cret?key=s3cret#s3cret"
NOTICE = Notice(
    "n", "wh_1", "failing", 1_700_000_900.0, 1_700_000_000.0, "HTTP 500", ("ops@example.com", "dev@example.com"), URL,
    "CRM\r\nof sales", "nylas",
)  # fmt: skip
HOW = {"sender": "MAILER-DAEMON@relay.example", "identifier": "1@relay.example", "boundary": "b", "at": 1_700_000_901.0}


def made(notice: Notice = NOTICE) -> compose.Composed:
    composed = notices.write(notice, **HOW)  # type: ignore[arg-type]
    assert composed
    return composed


def test_that_it_is_failing() -> None:
    composed = made()
    assert composed.recipients == ("ops@example.com", "dev@example.com")
    message = message_from_bytes(composed.content, policy=policy.default)
    assert str(message["Subject"]) == "Webhook failing: https://hooks.example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["From"].addresses[0].addr_spec == "MAILER-DAEMON@relay.example"
    assert message["Message-ID"] == "<1@relay.example>"
    assert message.get_content_type() == "text/plain"
    text = message.get_content()
    for words in ("wh_1 at https://hooks.example.com", "CRM of sales", "HTTP 500", "since Tue, 14 Nov 2023 22:13:20"):
        assert words in text
    assert "Fri, 17 Nov 2023 22:28:20" in " ".join(text.split())  # 72 hours after it became so
    assert max(map(len, text.splitlines())) < 79


@pytest.mark.parametrize(
    ("registry", "way"),
    [
        ("nylas", 'PUT /v3/webhooks/wh_1 with {"status": "active"}'),
        ("unosend", 'PATCH /v1/webhooks/wh_1 with {"enabled": true}'),
        ("own", 'PATCH /api/endpoints/wh_1 with {"status": "active"}'),
    ],
)
def test_that_it_has_failed(registry: str, way: str) -> None:
    text = notices.text(NOTICE.with_(status="failed", registry=registry))
    assert way in text
    assert "trackrelay webhooks test wh_1" in text
    assert "410" not in text
    assert "410 (Gone)" in notices.text(NOTICE.with_(status="failed", error="HTTP 410"))


@pytest.mark.parametrize("status", ["failing", "failed"])
def test_nothing_secret_stands_in_it(status: str) -> None:
    assert b"s3cret" not in made(NOTICE.with_(status=status)).content


def test_an_address_that_can_be_none_takes_nothing_from_the_others() -> None:
    odd = ("no address", "a@b\r\nBcc: c@d", "ops@example.com", "x@", "sören@bücher.example")
    composed = made(NOTICE.with_(to=odd))
    assert composed.recipients == ("ops@example.com", "sören@xn--bcher-kva.example")
    assert "SMTPUTF8" in composed.options
    assert notices.write(NOTICE.with_(to=odd[:2]), **HOW) is None  # type: ignore[arg-type]
