"""A message that is made here: read again by the standard library, and by our own reading."""

import email
import email.policy
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import addresses, compose, headers, rewrite
from relay.core.compose import Attachment, Mailbox, Message, Unfit
from relay.core.model import Tracking

ANN, BOB = Mailbox("ann@example.com", "Ann"), Mailbox("bob@example.net", "Bob")


def message(**changes: Any) -> Message:
    usual: dict[str, Any] = {
        "sender": ANN,
        "to": (BOB,),
        "subject": "Hello",
        "date": 1e9,
        "identifier": "1@example.com",
    }
    return Message(**usual | changes)


def parsed(made: compose.Composed) -> Any:
    found = email.message_from_bytes(made.content, policy=email.policy.default)
    assert not [defect for part in found.walk() for defect in part.defects]
    return found


def kinds(made: compose.Composed) -> list[str]:
    return [part.get_content_type() for part in parsed(made).walk()]


PICTURE = Attachment("l.png", b"\x89PNG", "image/png", "logo", inline=True)
PDF = Attachment("a.pdf", b"%PDF", "application/pdf")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"plain": "x"}, ["text/plain"]),
        ({"html": "<p>x"}, ["multipart/alternative", "text/plain", "text/html"]),
        ({"html": "<img src=cid:a>"}, ["text/html"]),  # nothing to be read without it
        (
            {"html": "<p>x", "attachments": (PICTURE,)},
            ["multipart/related", "multipart/alternative", "text/plain", "text/html", "image/png"],
        ),
        ({"plain": "x", "attachments": (PICTURE,)}, ["multipart/mixed", "text/plain", "image/png"]),
        (
            {"html": "<p>x", "attachments": (PDF, PICTURE)},
            [
                "multipart/mixed", "multipart/related", "multipart/alternative", "text/plain", "text/html", "image/png",
                "application/pdf",
            ],
        ),
    ],
)  # fmt: skip
def test_there_are_no_more_parts_than_are_needed(what: dict[str, Any], expected: list[str]) -> None:
    assert kinds(compose.write(message(**what), "b")) == expected


def test_bcc_is_in_the_envelope_only_and_each_address_once() -> None:
    made = compose.write(message(cc=(BOB,), bcc=(Mailbox("secret@example.org", "S"),), plain="x"), "b")
    assert made.recipients == ("bob@example.net", "secret@example.org")
    assert b"secret" not in made.content
    assert made.reverse_path == "ann@example.com"


def test_lines_end_in_crlf_and_none_is_too_long() -> None:
    made = compose.write(message(subject="long " * 300, html="<p>" + "ä" * 5000 + "\n<p>x\ry", attachments=(PDF,)), "b")
    assert b"\n" not in made.content.replace(b"\r\n", b"")
    assert b"\r" not in made.content.replace(b"\r\n", b"")
    assert max(map(len, made.content.split(b"\r\n"))) <= 998
    assert parsed(made).get_body(("html",)).get_content().startswith("<p>" + "ä" * 5000)


def test_text_goes_as_it_is_where_it_can() -> None:
    made = compose.write(message(html='<p>Grüße <a href="https://example.com/?a=1">x</a>'), "b")
    assert "<p>Grüße <a ".encode() in made.content
    assert made.options == ("BODY=8BITMIME",)


def test_addresses_that_are_not_ascii() -> None:
    made = compose.write(message(to=(Mailbox("a@münchen.example"),), plain="x"), "b")
    assert made.recipients == ("a@xn--mnchen-3ya.example",)
    assert "SMTPUTF8" not in made.options
    made = compose.write(message(to=(Mailbox("jürgen@example.com", "J, ü"),), plain="x"), "b")
    assert "SMTPUTF8" in made.options
    assert addresses.listed(headers.read(made.content), "to") == ("jürgen@example.com",)
    assert "jürgen@example.com>\r\n".encode() in made.content
    assert parsed(made)["to"].addresses[0].display_name == "J, ü"


@pytest.mark.parametrize("bad", ["\r\nBcc: x@example.com", "\n x", "\0", "\r"])
@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("subject", lambda bad: {"subject": f"a{bad}"}),
        ("to", lambda bad: {"to": (Mailbox("a@example.com", f"A{bad}"),)}),
        ("to", lambda bad: {"to": (Mailbox(f"a{bad}@example.com"),)}),
        ("from", lambda bad: {"sender": Mailbox(f"a@example.com{bad}")}),
        ("reply_to", lambda bad: {"reply_to": (Mailbox("a@example.com", bad),)}),
        ("custom_headers", lambda bad: {"headers": (("X-A", f"a{bad}"),)}),
        ("custom_headers", lambda bad: {"headers": ((f"X-A{bad}", "a"),)}),
        ("in_reply_to", lambda bad: {"in_reply_to": f"a{bad}@example.com"}),
        ("references", lambda bad: {"references": (f"a{bad}@example.com",)}),
        ("attachments[0].filename", lambda bad: {"attachments": (Attachment(f"a{bad}", b""),)}),
        ("attachments[0].content_type", lambda bad: {"attachments": (Attachment("a", b"", f"a/b{bad}"),)}),
        ("attachments[0].content_id", lambda bad: {"attachments": (Attachment("a", b"", content_id=f"a{bad}b"),)}),
    ],
)
def test_nothing_ends_a_line(field: str, make: Any, bad: str) -> None:
    with pytest.raises(Unfit) as refused:
        compose.write(message(plain="x", **make(bad)), "b")
    assert refused.value.field.startswith(field)


@pytest.mark.parametrize(
    "name",
    [
        "From",
        "to",
        "BCC",
        "Content-Type",
        "DKIM-Signature",
        "Received",
        "Message-ID",
        "Resent-From",
        "MIME-Version",
        "ARC-Seal",
    ],
)
def test_fields_that_are_ours(name: str) -> None:
    with pytest.raises(Unfit, match="custom_headers"):
        compose.write(message(plain="x", headers=((name, "a"),)), "b")


@pytest.mark.parametrize(
    "address", ["", "a", "a@", "@b", "a b@c.de", "a@b,c@d", "a@b <c@d>", "A <a@b>", "a@b@c", "a@b;"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(Unfit, match="to: "):
        compose.write(message(plain="x", to=(Mailbox(address),)), "b")


def test_somebody_must_get_it() -> None:
    with pytest.raises(Unfit, match="to: a recipient is needed"):
        compose.write(message(plain="x", to=()), "b")


def test_our_own_reading_finds_what_can_be_tracked() -> None:
    html = '<p>Hello <a href="https://example.com/a?b=1">there</a></p>'
    made = compose.write(message(html=html, attachments=(PICTURE, PDF)), "b")
    plan = rewrite.Plan(
        opens=True, links=True, tracking=Tracking(url="https://t.example"), own=(), href_length=lambda url: 100,
        late=lambda: False,
    )  # fmt: skip
    prepared = rewrite.prepare(made.content, headers.read(made.content), plan)
    assert prepared.reason is None
    assert prepared.links == ("https://example.com/a?b=1",)
    assert prepared.has_pixel


LONG = "b" * 100


def test_long_words_stay_as_they_are() -> None:
    """An identifier, a URL and JSON mean nothing in an encoded word. The standard library's generator makes such of them."""
    json = '{"a": "' + "y" * 120 + '"}'
    unsubscribe = f"<https://example.com/{'u' * 100}>"
    references = [f"{'r' * 60}{n}@example.com" for n in range(4)]
    made = compose.write(
        message(
            plain="x", in_reply_to=f"{LONG}@example.com", references=tuple(references),
            headers=(("List-Unsubscribe", unsubscribe), ("X-Json", json)),
        ),
        "b0undary",
    )  # fmt: skip
    head = made.content.partition(b"\r\n\r\n")[0].decode()
    assert "=?" not in head
    found = parsed(made)
    assert found["in-reply-to"] == f"<{LONG}@example.com>"
    assert found["references"].split() == [f"<{each}>" for each in references]
    assert (found["list-unsubscribe"], found["x-json"]) == (unsubscribe, json)
    crowd = compose.write(message(plain="x", to=tuple(Mailbox(f"n{n}@example.org") for n in range(40))), "b0undary")
    assert max(map(len, crowd.content.split(b"\r\n"))) <= 78
    assert len(parsed(crowd)["to"].addresses) == 40


# -- whatever is given, an independent reading gives it back ----------------------------------------------------------

TEXTS = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=120)
NAMES = st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp", "Zs", "Cf"]), max_size=14)
LOCAL = st.text("abcdefghijklmnopqrstuvwxyz0123456789+_-", min_size=1, max_size=20)
MAILBOXES = st.builds(lambda local, name: Mailbox(f"{local}@example.com", name), LOCAL, NAMES)
FILES = st.builds(
    Attachment,
    st.text(st.characters(blacklist_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=80),
    st.binary(max_size=300),
    inline=st.booleans(),
)


@given(
    TEXTS, MAILBOXES, st.lists(MAILBOXES, min_size=1, max_size=5), st.lists(FILES, max_size=3),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
)  # fmt: skip
def test_everything_is_given_back(
    subject: str, sender: Mailbox, to: list[Mailbox], files: list[Attachment], body: str
) -> None:
    made = compose.write(
        message(subject=subject, sender=sender, to=tuple(to), html=body, plain=body, attachments=tuple(files)),
        "b0undary",
    )
    found = parsed(made)
    head = headers.read(made.content)
    assert head.get("subject").strip() == subject.strip()
    assert [each.addr_spec for each in found["to"].addresses] == [each.address for each in to]
    assert found["from"].addresses[0].addr_spec == sender.address
    assert [each.display_name for each in found["to"].addresses] == [each.name for each in to]
    assert parsedate_to_datetime(found["date"]).timestamp() == 1e9
    parts = {part.get_content_type(): part for part in found.walk() if part.get_content_maintype() == "text"}
    expected = "\n".join(body.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    raw = parts["text/html"].get_payload(decode=True).decode().replace("\r\n", "\n")
    assert raw.removesuffix("\n") == expected.removesuffix("\n")
    got = [(part.get_filename(), part.get_payload(decode=True)) for part in found.walk() if part.get_filename()]
    assert sorted(got) == sorted((file.filename, file.content) for file in files)


# -- the text beside HTML ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    html: str
    text: str


@pytest.mark.parametrize(
    "case",
    [
        Case("<p>a  b\n c<p>d", "a b c\n\nd"),
        Case("a<br>b<br><br>c", "a\nb\n\nc"),
        Case('<a href="https://x.example/?a=1&amp;b=2">Shop</a> now', "Shop <https://x.example/?a=1&b=2> now"),
        Case('<a href="https://x.example/">x.example</a>', "x.example"),
        Case('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        Case('<a href="javascript:alert(1)">a</a>', "a"),
        Case('<a href="https://x.example"><img alt="Logo" src=a></a>', "Logo <https://x.example>"),
        Case("<h1>T</h1><p>a", "T\n\na"),
        Case("<ul><li>a<li>b<ul><li>c</ul></ul>", "* a\n* b\n  * c"),
        Case("<ol start=3><li><p>a</p><li>b</ol>x", "3. a\n4. b\n\nx"),
        Case("<table><tr><td>a<td>b<tr><td>c<td>d</table>", "a | b\nc | d"),
        Case("<p>a<blockquote>b<br>c</blockquote>d", "a\n\n> b\n> c\n\nd"),
        Case("<style>p{}</style><script>x</script><title>t</title>a", "a"),
        Case('<div style="display:none">secret</div>a', "a"),
        Case('<div style="display:none">a<div>b</div>c</div>d', "d"),
        Case("<pre>a  b\n  c</pre>", "a  b\n  c"),
        Case("&lt;b&gt; &euro; &nbsp;x", "<b> € \xa0x"),
        Case("", ""),
        Case("<p>" + "word " * 100, ("word " * 100).strip()),  # programs wrap it as wide as they are
    ],
    ids=lambda case: case.html[:30],
)
def test_html_reads_well_as_text(case: Case) -> None:
    assert compose.text.of(case.html) == case.text


@given(st.text(st.sampled_from('<>/="ahiploubrdtcenk :;-!&\n'), max_size=200))
def test_no_html_is_too_broken(html: str) -> None:
    assert "\r" not in compose.text.of(html)
