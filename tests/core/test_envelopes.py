"""Envelopes, what an upstream offers, and the commands that come of it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import envelopes
from relay.core.model import Done, Envelope, Later, Never, Recipient, Reply

ALL = {"size": "1000", "8bitmime": "", "smtputf8": "", "dsn": "", "pipelining": ""}
PLAIN = b"Subject: x\r\n\r\nHi\r\n"
EIGHT = "Subject: x\r\n\r\nGrüße\r\n".encode()
UTF8_PART = (
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png; name=Grüße.png\r\n"
    "\r\nx\r\n--b--\r\n"
).encode()
UTF8_FIELDS = "Subject: Grüße\r\n\r\nx\r\n".encode()


def lines(*to, sender="a@x.example", options=(), content=PLAIN, offered=ALL, why=""):
    return envelopes.lines(
        Envelope(sender, tuple(Recipient(t) for t in to or ("b@x.example",)), options), content, offered, why
    )


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("a@x.example", True), ("postmaster", True), ('"a b"@x.example', True), ('"a>b\\" c"@x.example', True),
        ("a%b@x.example", True), ("ü@x.example", True), ("a@[127.0.0.1]", True), ("a@[IPv6:::1]", True), ("a!b@x", True),
        ("", False), ("a b@x.example", False), ("a@x> SIZE=1", False), ("a@x\r\nDATA", False), ("a\x00@x", False), ("<a@x", False),
        ("a@x\x85y", False), ("a@\ud800", False), ("x" * 1100 + "@x.example", False), ('"a@x.example', False), ("a@b@c d", False),
    ],
)  # fmt: skip
def test_what_may_stand_between_brackets(address, fits):
    assert envelopes.fits(address) is fits
    assert isinstance(lines(address), Never) is not fits


def test_one_recipient_that_does_not_fit_leaves_the_others():
    found = lines("b@x.example", "c d@x.example")
    assert found.rcpt == (b"RCPT TO:<b@x.example>", None)
    assert found.refused[1].reply.text.startswith("5.1.3")


@pytest.mark.parametrize("bad", [b"a\rb\r\n", b"a\nb\r\n", b"a\r\n.\n", b"a\n.\r\n", b"\r\r\n", b"a\r\n\r"])
def test_nothing_with_a_bare_line_ending_leaves(bad):
    refused = lines(content=bad)
    assert isinstance(refused, Never)
    assert refused.reply.text.startswith("5.6.0")


@given(st.text("ab\r\n", max_size=8).map(str.encode) | st.binary(max_size=50))
def test_whole_means_that_no_line_ending_is_bare(content):
    meant = re.search(rb"(?<!\r)\n|\r(?!\n)", content) is None
    assert envelopes.whole(content) is meant
    for pad in range(3):  # a large one is looked at in pieces: a line ending may be in two of them
        assert envelopes.whole(b"x" * (envelopes.PIECE - pad) + content) is meant


@pytest.mark.parametrize(
    ("how", "hidden", "result"),
    [
        # declared or not, what is 8bit says so where it can be said
        ({"content": EIGHT}, "", b"BODY=8BITMIME"),
        ({"content": EIGHT}, "8bitmime", b""),  # never declared: it goes as it came
        ({"content": EIGHT, "options": ("BODY=8BITMIME",)}, "8bitmime", "5.6.3"),
        (
            {"content": EIGHT, "options": ("BODY=8BITMIME",), "why": "it is sealed"},
            "8bitmime",
            "5.6.3 The upstream does not offer 8BITMIME, and it is sealed",
        ),
        ({"content": EIGHT, "why": "it is sealed"}, "8bitmime", b""),
        ({"content": PLAIN, "options": ("BODY=8BITMIME",)}, "8bitmime", b""),  # it is 7bit after all
        ({"to": ("ü@x.example",)}, "", b"SMTPUTF8"),
        ({"to": ("ü@x.example",)}, "smtputf8", "5.6.7"),
        ({"sender": "ü@x.example"}, "smtputf8", "5.6.7"),
        ({"content": UTF8_FIELDS, "options": ("SMTPUTF8",)}, "smtputf8", "5.6.7"),
        ({"content": PLAIN, "options": ("SMTPUTF8",)}, "smtputf8", b""),  # nothing in it needs it
        # … and so it is not asked for either: whoever has it next would need a server that offers it
        ({"content": PLAIN, "options": ("SMTPUTF8",)}, "", b""),
        ({"content": PLAIN, "options": ("smtputf8", "BODY=8BITMIME")}, "", b""),
        ({"content": PLAIN, "options": ("BODY=7BIT",)}, "", b""),
        ({"content": EIGHT, "options": ("BODY=7BIT",)}, "", b"BODY=8BITMIME"),
        ({"content": EIGHT, "options": ("SMTPUTF8",)}, "", b"BODY=8BITMIME"),
        ({"content": EIGHT, "options": ("SMTPUTF8",), "to": ("a@xn--bcher-kva.example",)}, "", b"BODY=8BITMIME"),
        ({"content": UTF8_FIELDS, "options": ("SMTPUTF8",)}, "", b"BODY=8BITMIME SMTPUTF8"),
        ({"content": UTF8_PART, "options": ("SMTPUTF8",)}, "", b"BODY=8BITMIME SMTPUTF8"),
        ({"content": UTF8_PART, "options": ("SMTPUTF8",)}, "smtputf8", b"BODY=8BITMIME"),
        ({"content": UTF8_PART}, "", b"BODY=8BITMIME"),
        ({"content": UTF8_FIELDS}, "", b"BODY=8BITMIME"),  # nobody declared it: it may be Latin-1
        ({"sender": "ü@x.example"}, "", b"SMTPUTF8"),
        ({"sender": "a@bücher.example"}, "", b"SMTPUTF8"),
        ({"to": ("b@x.example", "b@bücher.example"), "options": ("SMTPUTF8",)}, "", b"SMTPUTF8"),
        ({"to": ("b@x.example", "ü ü@x.example"), "options": ("SMTPUTF8",)}, "", b""),  # that one is refused anyway
        ({"sender": "", "options": ("SMTPUTF8",)}, "", b""),
        ({"content": UTF8_FIELDS}, "smtputf8", b"BODY=8BITMIME"),
        ({"options": ("ENVID=t.1", "RET=FULL")}, "", b"RET=FULL ENVID=t.1"),
        ({"options": ("ENVID=t.1",)}, "dsn", b""),
        ({"options": ("ENVID=a b", "RET=\r\nDATA")}, "", b""),
    ],
)
def test_extensions_are_matched(how, hidden, result):
    how = dict(how)
    to = how.pop("to", ("b@x.example",))
    found = lines(*to, offered={k: v for k, v in ALL.items() if k != hidden}, **how)
    if isinstance(result, str):
        assert isinstance(found, Never)
        assert found.reply.text.startswith(result)
    else:
        assert found.mail.split()[3:] == result.split()


@pytest.mark.parametrize(
    ("size", "goes"),
    [("99", False), ("100", True), ("0", True), ("", True), (" 99", False), ("lots", True), ("9" * 5000, True)],
)
def test_what_is_larger_than_the_upstream_takes_is_not_begun(size, goes):
    found = lines(content=b"x" * 98 + b"\r\n", offered={"size": size})
    assert isinstance(found, envelopes.Lines) if goes else str(found.reply).startswith("552 5.3.4"), found


@given(st.text(max_size=30), st.lists(st.text(max_size=20), max_size=3), st.text(max_size=20), st.booleans())
def test_a_command_is_one_line_whatever_is_in_it(address, options, of_rcpt, offers):
    """For any envelope: refused, or commands without control characters, and with one pair of brackets that is ours."""
    envelope = Envelope(address, (Recipient(address, (of_rcpt,)), Recipient("b@x.example")), tuple(options))
    found = envelopes.lines(envelope, PLAIN, ALL if offers else {})
    if isinstance(found, envelopes.Lines):
        for command in (found.mail, *(r for r in found.rcpt if r)):
            assert not any(c < 32 or c == 127 for c in command)
            assert command.startswith((b"MAIL FROM:<", b"RCPT TO:<"))


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["2.0.0 Ok"], "2.0.0 Ok"),
        (["5.7.1 One", "5.7.1 two", "5.7.1"], "5.7.1 One two"),
        (["bad\x1b[31m\u202e ü", "\ttwo"], "bad?[31m? ? two"),
        ([], ""),
        (["x" * 1000], "x" * 397 + "..."),
    ],
)
def test_a_reply_is_one_clean_line(texts, text):
    assert envelopes.reply(250, texts).text == text


@pytest.mark.parametrize(
    ("code", "kind"), [(250, Done), (251, Done), (450, Later), (421, Later), (550, Never), (354, Later), (199, Later)]
)
def test_what_a_code_means(code, kind):
    outcome = envelopes.outcome(Reply(code, "x"))
    assert type(outcome) is kind
    assert outcome.reply.code in (code, 451)
    assert outcome.reply.code != 421


@pytest.mark.parametrize(
    ("text", "code", "status"), [("5.1.1 no", 550, "5.1.1"), ("no", 550, "5.0.0"), ("no", 354, "4.0.0")]
)
def test_the_status_of_a_reply(text, code, status):
    assert envelopes.status(Reply(code, text)) == status


@pytest.mark.parametrize(
    ("status", "word"),
    [("5.2.2", "mailbox_full"), ("4.2.2", "mailbox_full"), ("5.2.20", "mailbox_unavailable"), ("5.2.3", "message_too_large"),
     ("5.3.4", "message_too_large"), ("5.7.1", "blocked"), ("5.7.515", "blocked"), ("4.7.0", "blocked"), ("5.1.1", "mailbox_unavailable"),
     ("5.0.0", "mailbox_unavailable"), ("", "mailbox_unavailable"), ("7.1", "mailbox_unavailable")],
)  # fmt: skip
def test_what_a_bounce_is_about(status: str, word: str) -> None:
    assert envelopes.nature(status) == word


def test_the_documentation_has_the_table_of_what_bounces_are_about() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
    rows = re.findall(r"^\| (?:x\.([\d.*]+)|any other, or none) \| `(\w+)` \|$", page, re.M)
    spelt = [
        (start.removesuffix("*") if start.endswith("*") else f"{start}." if start else "", word) for start, word in rows
    ]
    assert tuple(spelt) == envelopes.NATURES
