"""What is made to be slow: for every reader of others' octets, inputs that grow by repeating a piece.

`tests/core/test_linear.py` counts the work over small ones, `python -m bench linear` takes the time over large ones: for
each, twice as much must take some twice as long. A reader or a piece that is added here is in both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.core import (
    addresses,
    authentication,
    diff,
    dkim,
    domains,
    encoded_words,
    excerpts,
    headers,
    identifiers,
    instructions,
    lines,
    links,
    parts,
    paths,
    reports,
    rewrite,
    sevenbit,
    structured,
    threads,
)
from relay.core.links import entities, judge, plain
from relay.core.model import VENDORS
from relay.core.reports import prose
from relay.outbound import plans
from tests.core.rewriting import BASE, length, message, plan

SIGNER = dkim.Signer("example.com", "t", "ed25519-sha256", Ed25519PrivateKey.from_private_bytes(bytes(32)))


class Attack(NamedTuple):
    """`make` gives some so many octets (the numbered pieces, and what an encoding adds, make them more)."""

    name: str
    read: Callable[[bytes], object]
    make: Callable[[int], bytes]


def grown(unit: bytes, before: bytes = b"", after: bytes = b"") -> Callable[[int], bytes]:
    """`unit` again and again between `before` and `after`; a %d in it counts."""
    if b"%d" in unit:
        return lambda size: before + b"".join(unit % n for n in range(size // (len(unit) + 3))) + after
    return lambda size: before + unit * (size // len(unit)) + after


# -- header fields -----------------------------------------------------------------------------------------------------

VALUES = [
    b"a", b" ", b"\r\n ", b"<", b">", b"(", b")", b'"', b"\\", b'\\"', b",", b";", b":", b"@", b"<a@", b"a@b,", b"(\\",
    b"=", b"=?", b"?=", b"=?a?q?", b"=?utf-8?q?a?= ", b"=?utf-8?b?w6k=?=\r\n ", b"=?utf-7?b?a?=", b"=?x?q?a?=",
    b"=?x%d?q?a?=", b"=?utf-8?q?=3D", b"=?utf-8?q?a?= =?latin-1?q?b?= ", b"; a=b", b'; a="b', b"; a*0*=b", b"; a*1=b",
    b"; a*%d=b", b"x: y\r\n", b"<a@b> ", b"<a%d@b> ", b"<a\t", b'"a" ', b"\xc3\xa9", b"\xff", b";;", b"a/b;", b"g:a@b;",
    b"\x0b ", b"\r", b"=?utf-8?q?info=40b.example=2C?= <a@b>,",
]  # fmt: skip


def a_field(data: bytes) -> None:
    for field in headers.read(data).fields[:5]:
        text = headers.decoded(data[field.value : field.end])
        addresses.specs(text)
        addresses.mailboxes(text)
        structured.read(text)
        structured.of(data[field.value : field.end])


def authors(data: bytes) -> None:
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


def answers(data: bytes) -> None:
    head = headers.read(data)
    threads.references(head)
    threads.edits(head, "t.x@y", b"\r\n")


def signed(data: bytes) -> None:
    with contextlib.suppress(dkim.Unsignable):
        dkim.sign(data, SIGNER, 0)


def broken(data: bytes) -> None:
    dkim.broken(headers.read(data), changed=("x-track",), body=False)


def stray(data: bytes) -> None:
    plans.stray(headers.read(data))


def asked(data: bytes) -> None:
    instructions.read(headers.read(data), dialects=VENDORS, hosts=("t.example.net",))


def of_fields() -> Iterator[Attack]:
    for unit in VALUES:
        yield Attack(f"field {unit!r}", a_field, grown(unit, b"Content-Type: text/x", b"\r\n\r\n"))
        yield Attack(f"words {unit!r}", lambda data: encoded_words.decoded(data.decode("latin-1")), grown(unit))
        for name in (b"Subject: ", b"DKIM-Signature: h=", b"\x0b: \x0b"):
            before = b"From: a@b\r\n" + name
            yield Attack(f"signed {name!r} {unit!r}", signed, grown(unit, before, b"\r\n\r\n"))
    for unit in (
        *VALUES,
        b"[",
        b"]",
        b"a@b (",
        b"a@b (c) ",
        b'"a" . ',
        b"<<",
        b"=?a?q?,?=",
        b"\t.",
        b"g:",
        b"@[",
        b'<"',
        b"xn--a.",
        b"%%41",
    ):
        for before in (b"", b"<", b"(", b'"', b"x <@a", b"a@"):
            yield Attack(f"author {before!r} {unit!r}", authors, grown(unit, b"From: " + before, b"\r\n\r\n"))
    for unit in (*VALUES, b"References: <a@b>\r\n", b"In-Reply-To: a@b\r\n", b"<a@b\r\n >"):
        for name in (b"References: ", b"In-Reply-To: "):
            yield Attack(f"{name!r} {unit!r}", answers, grown(unit, name, b"\r\n\r\n"))
    for unit in (
        b"DKIM-Signature: h=x-track\r\n",
        b"DKIM-Signature: h=dkim-signature\r\n",
        b"DKIM-Signature: h=x:\r\n",
    ):
        yield Attack(f"broken {unit!r}", broken, grown(unit))
    for unit in (
        b"x-track",
        b"x-track:",
        b"\r\nx-track",
        b"\r\nx-track: 1",
        b"\r\nx-track:\r\n ",
        b"\r\nbcc ",
        b" ",
        b"\n\r",
    ):
        yield Attack(f"stray {unit!r}", stray, grown(unit, b"From: a@b\r\nno field\r\n"))


NAMES = [
    b"X-Track", b"X-Track-Label", b"X-Track-Exclude", b"X-Track-Options", b"X-Track-Domain", b"X-MC-Track",
    b"X-MC-Metadata", b"X-MC-Tags", b"X-PM-Tag", b"X-Mailgun-Variables", b"X-SMTPAPI", b"X-MSYS-API",
]  # fmt: skip


def of_instructions() -> Iterator[Attack]:
    for name in NAMES:
        for unit in (
            b"a", b"[", b'{"a":', b'"a",', b'"a%d":1,', b"1", b",", b"opens,", b"a@b,", b"a%d@b,", b'"', b"\\", b"\r\n ",
            b"=?utf-8?q?a?= ", b"{} ", b"\r\n" + name + b": 1",
        ):  # fmt: skip
            for before in (b"", b'{"a": "', b"[1,"):
                yield Attack(f"{name!r} {before!r} {unit!r}", asked, grown(unit, name + b": " + before, b"\r\n\r\n"))
    for unit in (
        b"X-PM-Metadata-%d: x\r\n",
        b"X-Track-%d: x\r\n",
        b"X-Mailgun-Tag: %d\r\n",
        b'X-MC-Metadata: {"%d": 1}\r\n',
    ):
        yield Attack(f"many {unit!r}", asked, grown(unit, b"", b"\r\n"))


def a_path(data: bytes) -> None:
    text = data.decode("latin-1")
    for before in ("", "<", "<@a:", "<a@", '<"', "<a@b> ", "<a@b> ENVID=", "<a@b> ORCPT=a;"):
        paths.mail(f"FROM:{before}{text}", extended=True)
        paths.rcpt(f"TO:{before}{text}", extended=True, utf8=True)


def of_paths() -> Iterator[Attack]:
    for unit in (
        b"a", b".", b"a.", b"-", b'"', b"\\", b"@", b"@a,", b"[", b" A=b", b" SIZE=1", b" ORCPT=rfc822;", b"+2B", b"<",
        b"a-", b"\t", b" A%d=b",
    ):  # fmt: skip
        yield Attack(f"path {unit!r}", a_path, grown(unit))


# -- MIME and HTML -----------------------------------------------------------------------------------------------------

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
FORWARDED = b"--b\r\nContent-Type: message/rfc822\r\n\r\n"


def divided(data: bytes) -> None:
    parts.scan(data, headers.read(data))


def of_parts() -> Iterator[Attack]:
    for unit in (
        b"--b\r\n\r\n", b"--b\r\n", b"--", b"-", b"\n--", b"--bx\r\n", b"--b--\r\n", b"\r\n", b"--b\r\n" + MIXED,
        b"--b\r\nContent-Type: text/html\r\n\r\n<a>\r\n", b"--b\r\nX: y\r\n", b"--b \t", b"x", b"--b\r\nx\r\n",
        b"--b\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", b"\r\n--" + b" " * 900,
        b"--b\r\nContent-Type: text/html; charset=x%d\r\n\r\n<a>\r\n",
    ):  # fmt: skip
        yield Attack(f"parts {unit!r}", divided, grown(unit, MIXED))
    yield Attack("parts and fields alike", divided, grown(b"--b:\r\n", MIXED.replace(b"=b", b'="b:"')))
    for unit in (
        b"\xfc", b"\xfc ", b"x", b"=", b" ", b"\r\n", b"\xfc\r\n", b"\0", b"--b\r\n\r\n\xfc\r\n", b"--", b"\r\n--bx",
        b"-----BEGIN PGP", FORWARDED, FORWARDED + MIXED, FORWARDED * 5 + MIXED + b"\xfc\r\n",
        b"DKIM-Signature: s=x; d=y\r\n",
    ):  # fmt: skip
        for before in (b"", b"Subject: x\r\n", MIXED, MIXED + FORWARDED + MIXED + b"\r\n\xfc\r\n"):
            for after in (b"", b"\r\n\r\n\xfc\r\n", b"\r\n--b--\r\n"):
                yield Attack(f"7bit {before!r} {unit!r} {after!r}", sevenbit.convert, grown(unit, before, after))
    for unit in (b"x", b" ", b"x ", b"a@b,", b'"', b"<", b"(", b"<a@b>", b"\t\r\n ", b"\xfc"):
        for before in (b"X: ", b"Cc: ", b"References: ", b"\r\n", MIXED, MIXED + FORWARDED, FORWARDED + MIXED):
            yield Attack(f"long line {before!r} {unit!r}", lines.shortened, grown(unit, before, b"\r\n\r\nx\r\n"))
    for encoding in (b"base64", b"quoted-printable"):
        top = b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n"
        for unit in (b"x", b"=", b" ", b"=3D", b"-", b"x" * 999 + b"\r\n"):
            yield Attack(f"long line {encoding!r} {unit!r}", lines.shortened, grown(unit, top))
    for unit in (b" ", b"\t", b" \t", b"\r\n", b" \r\n", b"\n", b"\r", b"x", b"x ", b"=" * 16 + b" "):
        yield Attack(f"signed body {unit!r}", signed, grown(unit, b"From: a@b\r\n\r\n", b"x"))
        yield Attack(f"signed end {unit!r}", signed, grown(unit, b"From: a@b\r\n\r\nx"))


MARKUP = [
    "<a ", "<a href=", "<a href='", '<a href="https://a.example/">', "<a x=y ", "<!--", "-->", "<!--[if mso]>",
    "<!--[if mso]>href<![endif]-->", "<![endif]-->", "<", ">", "</", "</a", "&", "&amp;", "&amp", "&#x", "'", '"', "=",
    "<b>", "</b>", "<template>", "<noscript>", "<textarea>", "<title>", "<plaintext>", "<img src=//t.example.net>", "<svg/>",
    "<img src=https://t.example.net/o/%d>", "<img src=https://t.example.net%d/o/x>", "<a href=https://t.example.net/c/%d>",
    "<blockquote>", "<base href=x>", "<a href=x>", "</body>", "<svg>", "<a data-track=off href=https://a.example/>",
    "é", "日", " ", "\r\n", "{{", "%a", "%25", "*|", "https://", "https://a.example/?", "x", "=3D",
    # Comments that end otherwise, or not where they seem to.
    "<!--[if x]>--!>", "<!--[if x]>-->", "<!--[if x]--!", "<!--[if x]><!--", "<!--[if x]>]><a href=x>--!>", "<!--[", "<![CDATA[",
    "<!--[if x]>href--!>", "<!--[if]>href-->", "<style><!--[if x]>", "<!--[if x]><!--[if x]>href", "<!-->", "--!>", "<?", "<!x",
    # Raw text, quotes and tags that nothing ends.
    "<script>", "<style>", "</style", "<noscript></noscript>", "<a href=\"'>", "<a x='", "<a href=x/>", "<a/", "<v:rect href=x>",
    "<a href=%d>", "<a href=/%d>", "<a href='https://a.example/%d?token=x'>", "<a href='//a%d.example/'>", "<a href='https://a%d.example/'>",
    "<a %d=x ", "&#1", "&#0;", "&#x10ffff;", "&a", "<select>", "</select>", "<table><td>", "<a href=x data-track=off>", "\0", "]>", "##a",
    "%a%", "${", "https://a.example/(", "https://a.example/)", "<https://a.example/\n", "https://a.example/[[", "http://a \n",
]  # fmt: skip


def a_text(data: bytes) -> None:
    text = data.decode()
    links.scan(text, own=("t.example.net",), shown=True)
    links.text_size(text, 1_000_000)
    entities.attribute(text)
    plain.scan(text, delsp=True)
    found = judge.criteria(plan(append={"a": "b"}).tracking, (BASE,), ("https://a.example/u",), length)
    for url in (text, f"https://{text}", f"https://a.example/{text}", f"https://a.example/?{text}#"):
        judge.judge(url, "https://b.example/", found)
        judge.normal(url)
    judge.looks_like_url(text)


# What a URL can be full of: beginnings of what says itself that it is a secret, doors, names, URLs within, placeholders.
IN_URLS = [
    "eyJ", "eyJaaaaaa.", "eyJaaaaaa.eyJ", "aHR0c", "aHR0cDovL2EvYUhSMGM", "a=b&", "t%dken=x&", "code=a&state=bc&", "/reset/", "/reset/abcde",
    "/reset/a-", "%2525", "%3F", "%25", "://", "://a", "://a@", '"a":', '"a":"b"', '"a"  ', "(S(", "/(S(a", "/x=y;", "aA", "A", "a1", "a_",
    "=", "?", "[a]", "key=a1b2c3d4e5&", "{{a", "{{${", "{{ ", "%%a", "[[a", "[[a]", "<%a", "*|a", "*|a|", "{%a%", "${a", "#{", "{#a", "%a.", "1-",
]  # fmt: skip


def a_url(data: bytes) -> None:
    found = judge.criteria(plan().tracking, (BASE,), (), length)
    text = data.decode()
    for url in (
        text,
        f"https://a.example/{text}",
        f"https://a.example/verify?{text}=",
        f"https://a.example/reset/#{text}",
    ):
        judge.judge(url, "", found)
        found.capabilities.within(url, 0)


def a_message(data: bytes) -> None:
    wanted = plan(text_links=True, skip_visible_urls=True, max_links=100_000, append={"a": "b"}, pixel_min_text=10_000)
    found = rewrite.prepare(data, headers.read(data), wanted)
    hrefs = ["https://t.example.net/c/x"] * len(found.links)
    rewrite.explain(found, hrefs=hrefs)
    rewrite.render(found, hrefs=hrefs, pixel="https://t.example.net/o/x").content()


def of_texts() -> Iterator[Attack]:
    for unit in MARKUP:
        make = grown(unit.encode())
        yield Attack(f"text {unit!r}", a_text, make)
        for encoding in ("8bit", "quoted-printable", "base64"):
            for kind in ("text/html", "text/plain"):
                yield Attack(f"{kind} in {encoding}: {unit!r}", a_message, in_a_message(make, encoding, kind))
    for unit in IN_URLS:
        yield Attack(f"URL {unit!r}", a_url, grown(unit.encode()))
    # Two things that grow together.
    yield Attack("links to a long base", a_message, in_a_message(links_to_a_base, "8bit", "text/html"))
    yield Attack("many parts and many links", a_message, parts_and_links)
    for charset in ("utf-16", "gb18030", "utf-7"):
        make = in_charset('<a href="https://a.example/">ü</a>', charset)
        yield Attack(f"links in {charset}", a_message, make)

    for charset, octets in (
        ("iso-2022-jp", b"\x1b$BF|\x1b(B<a href='https://a.example/\x1b$BF|\x1b(B'>x</a>"),
        ("iso-2022-jp", b"\x0e\x0f"),
        ("hz-gb-2312", b"~{VP~}~~<a href='https://a.example/~{VP~}'>x</a>"),
        ("gb18030", b"\xff x\x81\x30 <a href='https://a.example/'>x</a>"),
        ("euc-jp", b"\xad\xa1\x8f\xa1 https://a.example/\xad\xa1 "),
        ("utf-8", b"\xff<a href='https://a.example/\xff'>x</a>"),
    ):
        for kind in ("text/html", "text/plain"):
            yield Attack(f"{octets!r} in {charset} as {kind}", a_message, raw_in_charset(octets, charset, kind))


def raw_in_charset(unit: bytes, charset: str, kind: str) -> Callable[[int], bytes]:
    return lambda size: message(unit * (size // len(unit)), kind=kind, charset=charset, encoding="base64")


def in_a_message(make: Callable[[int], bytes], encoding: str, kind: str) -> Callable[[int], bytes]:
    return lambda size: message(make(size).decode(), encoding=encoding, kind=kind)


def in_charset(unit: str, charset: str) -> Callable[[int], bytes]:
    return lambda size: message((unit * (size // len(unit))).encode(charset), charset=charset, encoding="base64")


def links_to_a_base(size: int) -> bytes:
    return b'<base href="https://a.example/%b/">' % (b"x" * (size // 2)) + grown(b"<a href=%d>")(size // 2)


def parts_and_links(size: int) -> bytes:
    empty = b"--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n"
    return grown(empty, MIXED)(size // 2) + b"--b\r\nContent-Type: text/html\r\n\r\n" + grown(b"<a href=x>")(size // 2)


# -- what a mailbox holds ----------------------------------------------------------------------------------------------

BOUNCE = b"From: MAILER-DAEMON@x\r\nSubject: failure notice\r\n"
REPORT = BOUNCE + b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\n"


def of_reports() -> Iterator[Attack]:
    for unit in (
        b"a@", b"<a@b.example ", b"550 ", b"5.1.1.", b"-", b"- - ", b"a@b.example\n", b"<a@b.example>: 550 5.1.1 x\r\n",
        b"<a%d@b.example>: 550 5.1.1 x\r\n", b"\n\n", b"x-a: b\n", b"<", b"(", b"to ", b" ", b"Action: failed\n\n",
        b"Final-Recipient: rfc822; a@b\n\n", b"\t", b"received:\n ", b"Message-ID: <a@b>\n", b"=", b"<p>", b"&amp;",
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.1\r\n\r\n", b"from: \n x\n", b"said: <", b"&#1",
        b"original message", b"user ", b"Message-ID: <", b"temporar ", b"delivery to ", b"=?utf-8?q?",
    ):  # fmt: skip
        for before in (b"", REPORT, REPORT + b"--b\r\nContent-Type: message/delivery-status\r\n\r\n", BOUNCE + b"\r\n"):
            yield Attack(f"report {before!r} {unit!r}", reports.read, grown(unit, before))
        yield Attack(f"page of a report {unit!r}", lambda data: prose.plain(data.decode("latin-1")), grown(unit))


def of_answers() -> Iterator[Attack]:
    calendar = b"Content-Type: text/calendar\r\n\r\nMETHOD:REPLY\n"
    for unit in (
        b"ATTENDEE",
        b"ATTENDEE;PARTSTAT=",
        b"ATTENDEE\n",
        b"METHOD:",
        b"METHOD:REPLY",
        b"\n ",
        b";PARTSTAT=\nATTENDEE",
    ):
        yield Attack(f"calendar {unit!r}", reports.read, grown(unit, calendar))
    read = b"Subject: Read: x\r\nContent-Type: text/plain\r\n\r\n"
    for unit in (b"was ", b"was read", b">", b"\n>", b"wurde ", b"ipm.", b"a", b"\xcc\x81"):
        yield Attack(f"receipt {unit!r}", reports.read, grown(unit, read))
    for unit in (b"[", b"[a] ", b"auto ", b"is ", b"a is out of the office ", b"re", b"\xef\xb7\xba"):
        yield Attack(f"subject {unit!r}", reports.read, grown(unit, b"In-Reply-To: <a@b>\r\nSubject: "))
    for unit in (
        b"On a ", b"On ", b" ", b"> ", b">", b"a\n", b"On 1 a wrote\n", b"wrote: 1", b"From: a\n", b"--", b"---- a ", b"-a-", b"Best ",
        b"best regards\n", b"Sent from ", b"Disclaimer: ", b"this e-mail and ", b"caution ", b"<blockquote>", b"<div ", b"<div class=",
        b"<!--", b"<style>", b"</blockquote>", b"(", b"a@b ", b"1:1", "\u3000".encode(), b"_", b"_\n",
    ):  # fmt: skip
        for kind in (b"plain", b"html"):
            yield Attack(
                f"excerpt {unit!r} {kind!r}", excerpts.excerpt, grown(unit, b"Content-Type: text/" + kind + b"\r\n\r\n")
            )
        yield Attack(f"excerpt in lines {unit!r}", excerpts.excerpt, grown(unit * 20 + b"\n", b"\r\n"))
    emoji = b"Content-Type: text/vnd.google.email-reaction+json\r\n\r\n"
    for unit in (b"[", b'{"emoji":', b"1"):
        yield Attack(f"reaction {unit!r}", reports.read, grown(unit, emoji))


def authenticated(data: bytes) -> None:
    authentication.results(headers.read(data), "mx.example")


def of_authentication() -> Iterator[Attack]:
    """In the field of the receiving server, before its name, and as fields without end."""
    field = b"Authentication-Results: "
    for unit in (
        b"(", b")", b"()", b'"', b'""', b"\\", b'\\"', b";", b"; ", b" ", b"a", b"a ", b"1", b"/", b"a/1 ", b"a/1 =b",
        b"dmarc=pass;", b"dkim=fail;", b"=", b"\r\n ", b"=?utf-8?q?",
    ):  # fmt: skip
        for before in (field, field + b"mx.example", field + b"mx.example; ", field + b"mx.example; a", field + b'"'):
            yield Attack(f"authentication {before!r} {unit!r}", authenticated, grown(unit, before))
    for unit in (field + b"mx.other; dmarc=pass\r\n", field + b"\r\n", field + b'"\r\n'):
        yield Attack(f"authentication {unit!r}", authenticated, grown(unit))


def compared(data: bytes) -> None:
    diff.render(data, data.replace(b"a", b"b"), colour=True)


def of_diffs() -> Iterator[Attack]:
    for unit in (b"a", b"a>", b"a\r\n", b"x\r\n", b"--b\r\n\r\na\r\n", b"<a>", b"a%d\r\n"):
        yield Attack(f"diff {unit!r}", compared, grown(unit, MIXED + b"--b\r\n\r\n"))


ATTACKS = [
    *of_fields(),
    *of_instructions(),
    *of_paths(),
    *of_parts(),
    *of_texts(),
    *of_reports(),
    *of_answers(),
    *of_authentication(),
    *of_diffs(),
]
