"""Rewriting: the shapes of mail, the places, the reasons. For any bytes: nothing raises, and outside the edits the
bytes are equal."""

from __future__ import annotations

import pytest

from relay.core import headers, parts, rewrite
from relay.core.model import Edit
from tests.core import rewriting
from tests.core.rewriting import MARKUP, check, href, leaf, leaves, message, multipart, payload, prepared, rendered

PAGE = '<html><body>\n<p>Grüße</p>\n<a href="https://a.example/x?a=1&amp;b=2">x</a>\n</body></html>\n'


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
def test_one_part_in_every_encoding(encoding: str, newline: str) -> None:
    raw = message(PAGE, encoding=encoding, newline=newline)
    found, out = check(raw)
    assert found.links == ("https://a.example/x?a=1&b=2",)
    assert found.reason is None
    expected = PAGE.replace("https://a.example/x?a=1&amp;b=2", href(0)).replace("</body>", MARKUP + "</body>")
    assert payload(leaves(out)[0]).decode().replace("\r\n", "\n") == expected
    assert (b"\r\n" in out) == (newline == "\r\n")
    assert headers.read(out).get("content-transfer-encoding") == encoding


def test_alternative_related_mixed() -> None:
    picture = leaf(
        b"R0lGODlhAQABAAAAACwAAAAAAQABAAA=", "image/gif", "Content-Transfer-Encoding: base64", "Content-ID: <p>"
    )
    related = multipart("related", leaf(PAGE.encode()), picture, boundary="rel")
    alternative = multipart("alternative", leaf(b"plain https://a.example/", "text/plain"), related, boundary="alt")
    attached = leaf(PAGE.encode(), "text/html", "Content-Disposition: attachment; filename=a.html")
    raw = multipart("mixed", alternative, attached, boundary="mix", extra="From: a@example.com\r\n")
    found, out = check(raw)
    assert found.pixel_report is not None
    assert found.pixel_report.part == "1.1.2.1"
    reasons = {report.path: report.reason for report in found.part_reports}
    assert reasons["1.2"] == "attachment"
    assert reasons["1.1.1"] == "not_requested"
    assert out.count(MARKUP.encode()) == 1
    assert out.count(b"/c/") == 1


def test_fields_of_others_are_merged() -> None:
    raw = message(PAGE, extra="X-Track: all\n")
    read = headers.read(raw)
    field = read.first("x-track")
    assert field is not None
    edits = [Edit(field.start, field.end, b""), Edit(read.end, read.end, b"X-New: 1\r\n")]
    found = prepared(raw)
    out = rendered(found, edits=edits)
    again = headers.read(out)
    assert "x-track" not in {f.name for f in again.fields}
    assert again.fields[-1].name == "x-new"
    assert out[again.body :] == rendered(found)[len(raw[: read.body]) :]
    assert rewrite.render(prepared(raw, opens=False, links=False), hrefs=[], pixel=None, edits=edits) == parts.splice(
        raw, edits
    )


def test_twice_changes_nothing_more() -> None:
    out = rendered(prepared(message(PAGE)))
    again = prepared(out)
    assert again.reason == "duplicate_pixel"
    assert again.links == ()
    assert [report.reason for report in again.link_reports] == ["own_link"]
    assert rendered(again) == out


def test_explain() -> None:
    raw = message(PAGE + "<a href='mailto:x@y.example'>m</a>")
    found = prepared(raw)
    told = rewrite.explain(found, hrefs=[href(0)], pixel=rewriting.PIXEL)
    assert told["pixel"] == {"part": "1", "place": "bottom", "reason": None}
    assert [part["action"] for part in told["parts"]] == ["edited"]
    first, second = told["links"]
    assert (first["before"], first["after"], first["action"]) == ("https://a.example/x?a=1&b=2", href(0), "tracked")
    assert (second["action"], second["reason"], second["index"]) == ("left", "scheme", None)
