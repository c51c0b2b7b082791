"""For any header section: References gains our entry first, and every identifier that was there stays, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, identifiers, threads
from relay.core.model import SentCopy
from tests.store.contract import sent

ENTRY = "t.AbC-_1@t.example.com"
OURS = f"<{ENTRY}>"


def edited(raw, newline=b"\r\n"):
    out = raw
    for edit in sorted(threads.edits(headers.read(raw), ENTRY, newline), key=lambda e: -e.start):
        out = out[: edit.start] + edit.new + out[edit.end :]
    return out


def ids_of(raw):
    return tuple(identifiers.answered(headers.read(raw), "references"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ()),
        (b"Subject: none\r\n\r\n", ()),
        (b"In-Reply-To: <a@b>\r\n\r\n", ("a@b",)),
        (b"In-Reply-To: Your message of Monday <a@b>\r\n\r\n", ("a@b",)),
        (b"In-Reply-To: a@b\r\n\r\n", ("a@b",)),
        (b"References: <1@x> <2@x>\r\n <3@x>\r\n\r\n", ("3@x", "2@x", "1@x")),
        (b"References: <1@x> <2@x>\r\nIn-Reply-To: <2@x>\r\n\r\n", ("2@x", "1@x")),
        (b"References: <1@x><2@x>\r\nIn-Reply-To: <0@x> <9@x>\r\n\r\n", ("0@x", "9@x", "2@x", "1@x")),
        (b"REFERENCES: <1@x>\r\nreferences: <2@x>\r\n\r\n", ("2@x", "1@x")),
        (b"In-Reply-To: <very-long\r\n -and-folded@x>\r\n\r\n", ("very-long-and-folded@x",)),
        (b"In-Reply-To: =?utf-8?q?=3Ca=40b=3E?=\r\n\r\n", ("a@b",)),
        (b"In-Reply-To: <>\r\nReferences: < > <\r\n\r\n", ()),
        (b"In-Reply-To: <" + b"a" * 5000 + b"@x>\r\n\r\n", ()),
    ],
)
def test_references(raw, expected):
    assert threads.references(headers.read(raw)) == expected


def test_references_are_bounded():
    many = b" ".join(b"<%d@x>" % n for n in range(20_000))
    found = threads.references(headers.read(b"In-Reply-To: " + many + b"\r\nReferences: " + many + b"\r\n\r\n"))
    assert len(found) == 300
    assert found[0] == "0@x"
    assert found[20] == "19999@x"
    assert found[-1] == "20@x"  # the first, with which the thread began, are among them


@pytest.mark.parametrize("opened", ["<", "<a ", "<<", "a@b ", "\x00", "=?utf-8?q?<?="])
def test_hostile_fields_end(opened):
    threads.references(headers.read(b"References: " + opened.encode() * 100_000 + b"\r\n\r\n"))


@pytest.mark.parametrize(
    ("identifier", "token"),
    [
        (ENTRY, "AbC-_1"),
        (OURS, "AbC-_1"),
        (" <t.x@h> ", "x"),
        ("t.x@y@h", "x@y"),
        ("t.@h", None),
        ("t.x", None),
        ("t.x@", None),
        ("x@h", None),
        ("", None),
        ("T.x@h", None),
    ],
)
def test_token(identifier, token):
    assert threads.token(identifier) == token


def test_an_entry_gives_its_token_back():
    assert threads.token(threads.entry("t.example.com", "AbC-_1")) == "AbC-_1"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"Subject: new\r\n\r\nx", b"Subject: new\r\nReferences: " + OURS.encode() + b"\r\n\r\nx"),
        (
            b"In-Reply-To: <a@b>\r\nSubject: Re\r\n\r\nx",
            b"In-Reply-To: <a@b>\r\nSubject: Re\r\nReferences: " + OURS.encode() + b" <a@b>\r\n\r\nx",
        ),
        (
            b"References: <1@x> <2@x>\r\n <3@x>\r\nIn-Reply-To: <3@x>\r\n\r\n",
            b"References: " + OURS.encode() + b"\r\n <1@x> <2@x>\r\n <3@x>\r\nIn-Reply-To: <3@x>\r\n\r\n",
        ),
        (b"References:<1@x>\r\n\r\n", b"References: " + OURS.encode() + b"\r\n <1@x>\r\n\r\n"),
        (b"References:\t<1@x>\r\n\r\n", b"References: " + OURS.encode() + b"\r\n\t<1@x>\r\n\r\n"),
        (b"References:\r\n <1@x>\r\n\r\n", b"References: " + OURS.encode() + b"\r\n <1@x>\r\n\r\n"),
        (b"References: \r\n <1@x>\r\n\r\n", b"References: " + OURS.encode() + b" \r\n <1@x>\r\n\r\n"),
        (b"References:\r\nSubject: x\r\n\r\n", b"References: " + OURS.encode() + b"\r\nSubject: x\r\n\r\n"),
        (
            b"References: \r\nIn-Reply-To: <a@b>\r\n\r\n",
            b"References: " + OURS.encode() + b" <a@b>\r\nIn-Reply-To: <a@b>\r\n\r\n",
        ),
        (b"References: " + OURS.encode() + b" <1@x>\r\n\r\n", b"References: " + OURS.encode() + b" <1@x>\r\n\r\n"),
        (b"Subject: cut off", b"Subject: cut off\r\nReferences: " + OURS.encode() + b"\r\n"),
        (b"\r\nbody", b"References: " + OURS.encode() + b"\r\n\r\nbody"),
    ],
)
def test_edits(raw, expected):
    assert edited(raw) == expected
    assert edited(edited(raw)) == edited(raw)


def test_a_message_with_bare_newlines_keeps_them():
    assert edited(b"References: <1@x>\n\nx", b"\n") == b"References: " + OURS.encode() + b"\n <1@x>\n\nx"


names = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='<>@"()'), min_size=1, max_size=200
)
message_ids = st.tuples(names, names).map(lambda pair: f"{pair[0]}@{pair[1]}")
glue = st.sampled_from([" ", "\r\n ", "\r\n\t", "", "  "])


@given(st.lists(message_ids, max_size=30), st.lists(message_ids, max_size=30), glue, glue)
def test_every_identifier_stays_and_lines_are_short_enough(ancestors, parents, first, between):
    raw = b"Subject: x\r\n"
    if ancestors:
        raw += ("References:" + first + between.join(f"<{i}>" for i in ancestors) + "\r\n").encode()
    if parents:
        raw += ("In-Reply-To: " + "\r\n ".join(f"<{i}>" for i in parents) + "\r\n").encode()
    raw += b"\r\nbody\r\n"
    out = edited(raw)
    kept = tuple(identifiers.answered(headers.read(raw), "references"))
    if not kept:
        kept = tuple(dict.fromkeys(identifiers.answered(headers.read(raw), "in-reply-to")[:20]))
    assert ids_of(out) == (ENTRY, *kept)
    assert out.endswith(b"\r\n\r\nbody\r\n")
    longest = max(len(line) for line in out.split(b"\r\n"))
    assert longest <= max(998, max(len(line) for line in raw.split(b"\r\n")))
    assert not any(line.isspace() for line in out.split(b"\r\n")) or any(line.isspace() for line in raw.split(b"\r\n"))


@given(st.binary(max_size=300))
def test_any_bytes(raw):
    head = headers.read(b"References:" + raw)
    threads.references(head)
    threads.edits(head, ENTRY, b"\r\n")


def test_an_answer_names_what_its_message_answered_and_the_message_last() -> None:
    message = sent("m9", references=("parent@x", "middle@x", "first@x"))
    assert threads.ancestry(message) == ("first@x", "middle@x", "parent@x", "m9@mail.example")
    assert threads.ancestry(sent("m9")) == ("m9@mail.example",)
    assert threads.ancestry(sent("m9", internet_message_id="")) == ()


def test_an_answer_names_what_upstreams_called_it_too() -> None:
    copies = (SentCopy("a@x", 0, True, upstream_id="010f@ses.example"), SentCopy("b@x", 1, True, upstream_id="BARE"))
    assert threads.ancestry(sent("m9", copies=copies)) == ("010f@ses.example", "m9@mail.example")


def test_of_a_long_thread_an_answer_names_the_first_and_the_last() -> None:
    names = [f"{n}@x" for n in range(100)]
    found = threads.ancestry(sent("m9", references=tuple(reversed(names))))
    assert found == ("0@x", *names[-19:], "m9@mail.example")
    head = headers.read(b"References: " + b" ".join(f"<{n}>".encode() for n in found) + b"\r\n\r\n")
    assert threads.references(head)[0] == "m9@mail.example"
