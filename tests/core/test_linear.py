"""For any input: four times as much takes at most some four times as long, whichever reader it is.

Processor time of one thread, the best of three, compared with itself at a quarter of the size: quadratic would be 16
times. A ratio beyond 8 is measured again, since a busy machine may spoil one."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from relay.core import (
    addresses,
    domains,
    encoded_words,
    headers,
    identifiers,
    instructions,
    links,
    parts,
    paths,
    reports,
    rewrite,
    sevenbit,
    threads,
)
from relay.core.links import entities, judge, plain
from relay.core.model import VENDORS, Recipient
from tests.core.rewriting import BASE, length, message, plan

SMALL = 20_000  # octets
MOST = 8.0
LEAST = 0.002  # seconds: below, nothing that matters is measured


def spent(read: Callable[[bytes], object], data: bytes) -> float:
    start = time.thread_time()
    read(data)
    return time.thread_time() - start


def grows(read: Callable[[bytes], object], make: Callable[[int], bytes]) -> float:
    ratio = 0.0
    few, many = make(SMALL), make(4 * SMALL)
    for _ in range(4):
        ratio = min(spent(read, many) for _ in range(2)) / LEAST
        if ratio > MOST:  # else it is so little that nothing can be wrong with it
            ratio *= LEAST / max(LEAST, min(spent(read, few) for _ in range(3)))
        if ratio <= MOST:
            break
    return ratio


def repeated(unit: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: before + unit * (size // len(unit)) + after


# -- header fields -----------------------------------------------------------------------------------------------------


def fields(data: bytes) -> None:
    for field in headers.read(data).fields[:5]:
        text = headers.decoded(data[field.value : field.end])
        headers.parameters(text)


VALUES = [
    b"a", b" ", b"\r\n ", b"<", b">", b"(", b")", b'"', b"\\", b'\\"', b",", b";", b":", b"@", b"<a@", b"a@b,", b"(\\", b"=", b"=?", b"?=", b"=?a?q?",
    b"=?utf-8?q?a?= ", b"=?utf-8?b?w6k=?=\r\n ", b"=?utf-7?b?a?=", b"=?x?q?a?=", b"; a=b", b'; a="b', b"; a*0*=b", b"; a*1=b", b"x: y\r\n", b"<a@b> ", b"<a\t", b'"a" ',
    b"\xc3\xa9", b"\xff", b";;", b"a/b;",
]  # fmt: skip


@pytest.mark.parametrize("unit", VALUES)
def test_header_fields(unit: bytes) -> None:
    assert grows(fields, repeated(unit, b"Content-Type: text/x", b"\r\n\r\n")) <= MOST


@pytest.mark.parametrize("unit", VALUES)
def test_encoded_words(unit: bytes) -> None:
    assert grows(lambda data: encoded_words.decoded(data.decode("latin-1")), repeated(unit)) <= MOST


@pytest.mark.parametrize(
    "unit", [*VALUES, b"[", b"]", b"a@b (", b"a@b (c) ", b'"a" . ', b"<<", b"=?a?q?,?=", b"\t.", b"g:", b"@[", b'<"']
)
def test_addresses(unit: bytes) -> None:
    def read(data: bytes) -> None:
        head = headers.read(data)
        addresses.author(head)
        addresses.listed(head, "from")
        text = head.undecoded(head.fields[0])
        addresses.comparable(text)
        identifiers.of_message(text)
        identifiers.listed(text)
        domains.spelt(text)
        domains.of_url(text)
        domains.respelt(f"https://{text}")

    for before in (b"", b"<", b"(", b'"', b"x <@a", b"a@"):
        assert grows(read, repeated(unit, b"From: " + before, b"\r\n\r\n")) <= MOST, before


@pytest.mark.parametrize("unit", [*VALUES, b"References: <a@b>\r\n", b"In-Reply-To: a@b\r\n", b"<a@b\r\n >"])
def test_references(unit: bytes) -> None:
    def read(data: bytes) -> None:
        head = headers.read(data)
        threads.references(head)
        threads.edits(head, "t.x@y", b"\r\n")

    assert grows(read, repeated(unit, b"References: ", b"\r\n\r\n")) <= MOST
    assert grows(read, repeated(unit, b"In-Reply-To: ", b"\r\n\r\n")) <= MOST


NAMES = [
    b"X-Track", b"X-Track-Label", b"X-Track-Exclude", b"X-Track-Options", b"X-Track-Domain", b"X-MC-Track", b"X-MC-Metadata", b"X-MC-Tags",
    b"X-PM-Tag", b"X-Mailgun-Variables", b"X-SMTPAPI", b"X-MSYS-API",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_instructions(name: bytes) -> None:
    for unit in (
        b"a",
        b"[",
        b'{"a":',
        b'"a",',
        b"1",
        b",",
        b"opens,",
        b"a@b,",
        b'"',
        b"\\",
        b"\r\n ",
        b"=?utf-8?q?a?= ",
        b"{} ",
        b"\r\n" + name + b": 1",
    ):
        for before in (b"", b'{"a": "', b"[1,"):
            make = repeated(unit, name + b": " + before, b"\r\n\r\n")
            assert grows(asked, make) <= MOST, (unit, before)


def asked(data: bytes) -> None:
    instructions.read(headers.read(data), dialects=VENDORS, hosts=("t.example.net",))


@pytest.mark.parametrize(
    "unit",
    [b"X-PM-Metadata-%d: x\r\n", b"X-Track-%d: x\r\n", b"X-Mailgun-Tag: %d\r\n", b'X-MC-Metadata: {"%d": 1}\r\n'],
)
def test_many_control_headers(unit: bytes) -> None:
    assert grows(asked, lambda size: b"".join(unit % n for n in range(size // len(unit))) + b"\r\n") <= MOST


@pytest.mark.parametrize(
    "unit",
    [
        b"a",
        b".",
        b"a.",
        b"-",
        b'"',
        b"\\",
        b"@",
        b"@a,",
        b"[",
        b" A=b",
        b" SIZE=1",
        b" ORCPT=rfc822;",
        b"+2B",
        b"<",
        b"a-",
        b"\t",
    ],
)
def test_paths(unit: bytes) -> None:
    def read(data: bytes) -> None:
        text = data.decode("latin-1")
        for before in ("", "<", "<@a:", "<a@", '<"', "<a@b> ", "<a@b> ENVID=", "<a@b> ORCPT=a;"):
            paths.mail(f"FROM:{before}{text}", extended=True)
            found = paths.rcpt(f"TO:{before}{text}", extended=True, utf8=True)
            assert not isinstance(found, Recipient) or len(found.address) <= paths.MAX_PATH

    assert grows(read, repeated(unit)) <= MOST


# -- MIME and HTML -----------------------------------------------------------------------------------------------------

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


@pytest.mark.parametrize(
    "unit",
    [b"--b\r\n\r\n", b"--b\r\n", b"--", b"-", b"\n--", b"--bx\r\n", b"--b--\r\n", b"\r\n", b"--b\r\n" + MIXED, b"--b\r\nContent-Type: text/html\r\n\r\n<a>\r\n",
     b"--b\r\nX: y\r\n", b"--b \t", b"x"],
)  # fmt: skip
def test_parts(unit: bytes) -> None:
    assert grows(lambda data: parts.scan(data, headers.read(data)), repeated(unit, MIXED)) <= MOST


FORWARDED = b"--b\r\nContent-Type: message/rfc822\r\n\r\n"


@pytest.mark.parametrize(
    "unit",
    [b"\xfc", b"\xfc ", b"x", b"=", b" ", b"\r\n", b"\xfc\r\n", b"\0", b"--b\r\n\r\n\xfc\r\n", b"--", b"\r\n--bx", b"-----BEGIN PGP", FORWARDED,
     FORWARDED + MIXED, FORWARDED * 5 + MIXED + b"\xfc\r\n", b"DKIM-Signature: s=x; d=y\r\n"],
)  # fmt: skip
def test_in_7bit(unit: bytes) -> None:
    for before in (b"", b"Subject: x\r\n", MIXED, MIXED + FORWARDED + MIXED + b"\r\n\xfc\r\n"):
        for after in (b"", b"\r\n\r\n\xfc\r\n", b"\r\n--b--\r\n"):
            assert grows(sevenbit.convert, repeated(unit, before, after)) <= MOST, (before, after)


MARKUP = [
    "<a ", "<a href=", "<a href='", '<a href="https://a.example/">', "<a x=y ", "<!--", "-->", "<!--[if mso]>", "<!--[if mso]>href<![endif]-->", "<![endif]-->", "<", ">", "</", "</a", "&",
    "&amp;", "&amp", "&#x", "'", '"', "=", "<b>", "</b>", "<template>", "<noscript>", "<textarea>", "<title>", "<plaintext>", "<img src=//t.example.net>", "<blockquote>", "<base href=x>",
    "<a href=x>", "</body>", "<svg>", "<a data-track=off href=https://a.example/>", "é", "日", " ", "\r\n", "{{", "%a", "%25", "*|", "https://", "https://a.example/?", "x", "=3D",
]  # fmt: skip


@pytest.mark.parametrize("unit", MARKUP)
def test_links(unit: str) -> None:
    def read(data: bytes) -> None:
        text = data.decode()
        links.scan(text, own=("t.example.net",), shown=True)
        links.text_size(text, 1_000_000)
        entities.attribute(text)
        plain.scan(text, delsp=True)
        found = judge.criteria(plan(append={"a": "b"}).tracking, (BASE,), ("https://a.example/u",), length)
        for url in (text, f"https://{text}", f"https://a.example/{text}", f"https://a.example/?{text}#"):
            judge.judge(url, "https://b.example/", found)
        judge.looks_like_url(text)

    assert grows(read, repeated(unit.encode())) <= MOST


@pytest.mark.parametrize("encoding", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("unit", MARKUP)
def test_messages(unit: str, encoding: str) -> None:
    wanted = plan(text_links=True, skip_visible_urls=True, max_links=100_000, append={"a": "b"}, pixel_min_text=10_000)

    def read(data: bytes) -> None:
        found = rewrite.prepare(data, headers.read(data), wanted)
        hrefs = ["https://t.example.net/c/x"] * len(found.links)
        rewrite.explain(found, hrefs=hrefs, pixel="https://t.example.net/o/x")
        rewrite.render(found, hrefs=hrefs, pixel="https://t.example.net/o/x").content()

    for kind in ("text/html", "text/plain"):
        made = [message(unit * (size // len(unit)), encoding=encoding, kind=kind) for size in (SMALL, 4 * SMALL)]
        assert grows(read, lambda size, made=made: made[size > SMALL]) <= MOST  # type: ignore[misc]


# -- what a mailbox holds ----------------------------------------------------------------------------------------------

REPORT = (
    b"From: MAILER-DAEMON@x\r\nSubject: failure notice\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\n"
)


@pytest.mark.parametrize(
    "unit",
    [b"a@", b"<a@b.example ", b"550 ", b"5.1.1.", b"-", b"- - ", b"a@b.example\n", b"<a@b.example>: 550 5.1.1 x\r\n", b"\n\n", b"x-a: b\n", b"<", b"(", b"to ", b" ", b"Action: failed\n\n",
     b"Final-Recipient: rfc822; a@b\n\n", b"--b\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n\r\n", b"\t", b"received:\n ", b"Message-ID: <a@b>\n", b"=", b"<p>", b"&amp;"],
)  # fmt: skip
def test_reports(unit: bytes) -> None:
    for before in (
        b"",
        REPORT,
        REPORT + b"--b\r\nContent-Type: message/delivery-status\r\n\r\n",
        b"From: MAILER-DAEMON@x\r\nSubject: failure notice\r\n\r\n",
    ):
        assert grows(reports.read, repeated(unit, before)) <= MOST, before
