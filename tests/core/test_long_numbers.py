"""Numbers of 5,000 digits, of which Python makes no int: nothing raises, and nothing is taken for what it is not."""

from __future__ import annotations

import pytest

from relay.core import encoded_words, networks, paths, threads
from relay.core.links import entities
from relay.core.model import Reply
from relay.core.reports import delivery
from tests.fuzz import targets

NINES, ZEROS, ONES = "9" * 5_000, "0" * 5_000, "1" * 5_000


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        (f"&#{NINES};", "\ufffd"),
        (f"&#x{NINES};", "\ufffd"),
        (f"&#{NINES}", "\ufffd"),
        (f"&#{ZEROS}65;", "A"),
        (f"&#x{ZEROS}41;", "A"),
        (f"&#{ZEROS};", "\ufffd"),
        (f"&#{ZEROS}x", "\ufffdx"),
        (f"&{NINES};", f"&{NINES};"),
        ("&#1114112;", "\ufffd"),
        ("&#x110000;", "\ufffd"),
        ("&#xD800;", "\ufffd"),
        (f"a&#{NINES};b" * 50, "a\ufffdb" * 50),
    ],
)
def test_character_references(source: str, meant: str) -> None:
    assert entities.text(source) == meant
    assert entities.attribute(source) == meant


@pytest.mark.parametrize("digits", [NINES, ZEROS, ONES, "f" * 5_000])
def test_places(digits: str) -> None:
    assert networks.numeric(f"0x{digits}") is None
    assert networks.numeric(f"1.2.3.{digits}") is None
    assert networks.peer(f"192.0.2.1:{digits}") is not None  # its port is not asked for
    for text in (f"192.0.2.1:{digits}", f"[::1]:{digits}", f"{digits}:25"):
        with pytest.raises(ValueError):
            networks.endpoint(text)
    with pytest.raises(ValueError):
        networks.server(f"https://a.example:{digits}/")


@pytest.mark.parametrize("digits", [NINES, ZEROS, ONES])
def test_envelopes_and_fields(digits: str) -> None:
    refused = paths.mail(f"FROM:<a@x> SIZE={digits}", extended=True)
    assert isinstance(refused, Reply)
    assert refused.code == 501
    assert threads.enveloped(f"t.abc.{digits}") == ("", 0)
    assert encoded_words.decoded(f"=?utf-8*{digits}?q?=41?= =?{digits}?q?a?=") == f"A =?{digits}?q?a?="
    assert delivery.enhanced(f"5.{digits}.1") is None
    assert delivery.reply(f"{digits} no") is None


@pytest.mark.parametrize("digits", [NINES, ZEROS, ONES])
def test_messages(digits: str) -> None:
    raw = (
        f"From: a@example.com\r\nDate: Thu, {digits} Jan {digits} {digits}:00:00 +{digits}\r\nSubject: Re[{digits}]: x\r\n"
        f"DKIM-Signature: v=1; t={digits}; x={digits}; l={digits}\r\nX-Track: opens, links={digits}\r\n"
        f'X-Track-Metadata: {{"a": {digits}}}\r\nX-SMTPAPI: {{"filters": {{"clicktrack": {{"settings": {{"enable": {digits}}}}}}}}}\r\n'
        f"Content-Type: multipart/mixed; boundary=b; boundary*{digits}=c; x*{digits}*=utf-8''y\r\n\r\n--b\r\n"
        f"Content-Type: text/html; charset*{digits}=utf-8\r\n\r\n"
        f"<a href='https://a.example:{digits}/'>x</a><a href='https://a.example/&#{digits};'>&#{digits};</a>\r\n--b--\r\n"
    ).encode()
    for name in ("messages", "field_spans", "part_spans", "references", "address_fields"):
        getattr(targets, name)(raw)
