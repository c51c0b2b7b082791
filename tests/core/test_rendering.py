"""One rendering, two doors: the edits that a milter hands to its MTA make the very bytes that SMTP sends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, rewrite, threads
from relay.core.model import Edit
from relay.core.rewrite import Added, Removed, Rendering, Replaced
from tests import corpus
from tests.core import rewriting


def agree(rendering: Rendering) -> None:
    edits = rendering.edits()
    for forgets in (True, False):
        assert rewriting.applied(rendering.head.raw, edits, forgets=forgets) == rendering.content()


def rendering(raw: bytes, *, taken: Sequence[str] = (), **options: Any) -> Rendering:
    """What can happen to a message, all of it: fields that go, fields that are added, an entry in References, links, the
    pixel, another transfer encoding, fields on top."""
    head = headers.read(raw)
    found = rewrite.prepare(raw, head, rewriting.plan(text_links=True, **options))
    edits = [Edit(field.start, field.end, b"") for field in head.fields if field.name in taken]
    if head.malformed < 0:
        edits.append(Edit(head.end, head.end, b"Message-ID: <1@a>\r\nDate: now\r\n"))
        edits += threads.edits(head, "t.x@h", b"\r\n")
    long = [rewriting.href(n, 900) for n in range(len(found.links))]
    made = rewrite.render(found, hrefs=long, pixel=rewriting.PIXEL if found.has_pixel else None, edits=edits)
    return made.with_(trace=b"Received: by h\r\n with x; now\r\n", signature=b"DKIM-Signature: v=1;\r\n b=x\r\n")


HTML = '<p><a href="https://a.example/">a</a> <a href="https://a.example/b">b</a></p>\n'
FOLDED = "X-A: 1\nReferences: <1@x>\n <2@x>\nBcc: a@b\nbcc:\n c@d\nX-a: 2\nIn-Reply-To: <2@x>\n"


@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
@pytest.mark.parametrize("extra", ["", FOLDED, "References:\n", "REFERENCES :\t<1@x>\n", "Bcc: a@b\n" * 3 + "X-A: 1\n"])
def test_edits_make_the_same_bytes(encoding: str, extra: str) -> None:
    raw = rewriting.message(HTML, encoding=encoding, extra=extra)
    made = rendering(raw, taken=("bcc", "x-a"))
    assert made.content() != raw
    agree(made)
    agree(made.with_(unsigned=made.with_(trace=b"", signature=b"").content()))


def test_each_edit_as_a_milter_needs_it() -> None:
    raw = rewriting.message(HTML, extra="Bcc: a@b\nX-A: 1\nbcc: c@d\nReferences: <1@x>\n", encoding="7bit")
    edits = rendering(raw, taken=("bcc",)).edits()
    assert edits.headers == (
        Replaced("Content-Transfer-Encoding", 1, b" quoted-printable"),  # the links are longer than a line may be
        Replaced("References", 1, b" <t.x@h>\r\n <1@x>"),
        Removed("bcc", 2),
        Removed("Bcc", 1),
        Added("Message-ID", b" <1@a>", 10),
        Added("Date", b" now", 11),
        Added("DKIM-Signature", b" v=1;\r\n b=x", 0),
        Added("Received", b" by h\r\n with x; now", 0),
    )
    assert edits.body is not None
    assert edits.body.count(b'=3D"https://t.example.net/c/') == 2


def test_what_stays_is_no_edit() -> None:
    raw = rewriting.message("<p>nothing</p>", kind="text/plain")
    made = Rendering(headers.read(raw))
    assert made.edits() == rewrite.Edits((), None)
    assert made.content() is raw
    body_only = rewrite.render(rewriting.prepared(rewriting.message(HTML)), hrefs=["x", "y"], pixel="z")
    assert body_only.edits().headers == ()


ANY = rewriting.message(HTML)
# What a file has before a message is in no copy. What stands above it would be the whole header section.
BEFORE = [
    b"From a@b Mon Jan  5 10:00:00 2026\r\n",
    b">From a@b Mon Jan  5 10:00:00 2026\r\n",
    b">>>From a@b\r\n",
    b"From a@b\r\n>From c@d Mon Jan  5 10:00:00 2026 remote from e\r\n>From f\r\n",
    b"From 1c3f5d7 Mon Sep 17 00:00:00 2001\r\n",
    b"From  \r\n",
    b"From a:b\r\n",
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbfFrom - Mon Jan  5 10:00:00 2026\r\n",
]


@pytest.mark.parametrize("before", BEFORE)
def test_what_a_file_has_before_a_message_is_left_out(before: bytes) -> None:
    made = rendering(before + ANY)
    assert made.content() == rendering(ANY).content()
    agree(made)
    nothing_above = made.with_(trace=b"", signature=b"")
    assert nothing_above.content() == rendering(ANY).with_(trace=b"", signature=b"").content()
    agree(made.with_(unsigned=nothing_above.content()))
    assert Rendering(headers.read(before + ANY)).content() == ANY  # untracked too


# Begins alike, and is the message's.
KEPT = [
    b"From : a@b\r\nTo: c@d\r\n\r\nx\r\n",  # RFC 5322 4.5: white space before the colon
    b"From: a@b\r\n\r\nx\r\n",
    b"From here on there is no header section.\r\nNone.\r\n",
    b"From here on.\r\n",
    b"From",
    b">Form: a\r\n\r\n",
    b"To: a@b\r\nFrom a@b Mon Jan  5 10:00:00 2026\r\nSubject: x\r\n\r\nx\r\n",
    b"To: a@b\r\n\r\nFrom a@b Mon Jan  5 10:00:00 2026\r\nSubject: x\r\n\r\nx\r\n",
    b"\r\nFrom a@b Mon Jan  5 10:00:00 2026\r\nSubject: x\r\n\r\nx\r\n",
    b"To: a@b\r\n\r\n\xef\xbb\xbfx\r\n",
    b"\xef\xbb\xbfx\r\n",
    b"\xef\xbb\xbf\xef\xbb\xbfTo: a@b\r\n",
    b"\xef\xbb",
    b" From a@b\r\nTo: a@b\r\n\r\n",
    b"no field\r\nTo: a@b\r\n\r\n",
    b"From a@b\r\n folded\r\nTo: a@b\r\n\r\n",
    b"from a@b\r\nTo: a@b\r\n\r\n",
]


@pytest.mark.parametrize("raw", KEPT)
def test_what_begins_alike_is_kept(raw: bytes) -> None:
    made = Rendering(headers.read(raw), trace=b"Received: x\r\n")
    gap = b"\r\n" if raw.startswith(b" ") else b""
    assert made.content() == b"Received: x\r\n" + gap + raw
    assert made.with_(trace=b"").content() == raw


@pytest.mark.parametrize("first", [b" ", b"\t", b" x: y", b"   From: a@b"])
def test_what_begins_with_white_space_does_not_go_on_our_field(first: bytes) -> None:
    raw = first + b"\r\nTo: a@b\r\n\r\nx\r\n"
    made = rendering(raw).content()
    assert made == b"Received: by h\r\n with x; now\r\nDKIM-Signature: v=1;\r\n b=x\r\n\r\n" + raw


lines = st.lists(
    st.sampled_from(
        [
            b"Bcc: a@b", b"bcc :x", b"References: <1@x>", b"References:", b" folded", b"\tfolded", b"X-A: 1", b"no field",
            b"Content-Type: text/html", b"Content-Transfer-Encoding: 7bit", b"Content-Transfer-Encoding: base64", b"",
            b"Content-Type: multipart/mixed; boundary=b", b"--b", b"--b--", b"<a href=https://a.example/>x</a>",
            b"https://a.example/x", b"In-Reply-To: <2@x>", b"Message-ID: <1@x>", b"From a@b",
            b">From a@b", b"\xef\xbb\xbfX-A: 1",
        ]
    ),
    max_size=14,
)  # fmt: skip


@given(lines | st.lists(st.binary(max_size=20).map(lambda line: re.sub(rb"[\r\n]", b"", line)), max_size=8))
def test_any_message(found: list[bytes]) -> None:
    """For any lines: both forms are the same message."""
    agree(rendering(b"".join(line + b"\r\n" for line in found), taken=("bcc", "x-a")))


def test_the_corpus() -> None:
    for path in corpus.messages("messages", "template-messages", "reports"):
        raw = re.sub(rb"(?<!\r)\n", b"\r\n", path.read_bytes())
        made = rendering(raw, taken=("received", "x-mailer", "cc"))
        try:
            agree(made)
        except AssertionError as error:
            raise AssertionError(path) from error
