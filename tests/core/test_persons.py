"""One person's address in any spelling, and nobody else's."""

import base64
import json
import quopri
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.persons import Person

ADA = Person("ada.b@example.net")
WIDE = Person("käthe@bücher.example")


@pytest.mark.parametrize(
    "text",
    [
        "ada.b@example.net",
        "ADA.B@Example.NET",
        "Ada <ada.b@example.net>, Bob <bob@example.net>",
        '"ada.b"@example.net',
        "mailto:ada.b@example.net?subject=x",
        "https://x.test/?email=ada.b%40example.net&x=1",
        "https://x.test/?email=ada%2eb%40example%2Enet",
        "https://x.test/?next=%2Fu%3Fe%3Dada.b%2540example.net",
        "mailto%3Aada.b%40example.net",
        "/u/ada.b@example.net/off",
        "bounces+ada.b=example.net@sender.test",
        "ada.b&#64;example.net",
        "ada.b&#x40;example.net",
        "ada.b&commat;example.net",
        '{"to":"ada.b\\u0040example.net"}',
        "a=\r\nda.b=40exam=\r\nple.net",
        "x=3Dada.b=40example.net",
        "ada.b@example.net.",
        "(ada.b@example.net)",
        "“ada.b@example.net”",
        "550 5.1.1 <ada.b@example.net>: unknown",
        base64.b64encode(b"xx ada.b@example.net is here").decode(),
        base64.b64encode(b"x ada.b@example.net is here").decode(),
        base64.b64encode(b" ADA.B@example.net is here").decode(),
        base64.urlsafe_b64encode(b"https://x.test/?q=~ada.b%40example.net").decode().rstrip("="),
        "/c/" + base64.urlsafe_b64encode(b"\x00\xff\xfe12345https://x.test/?e=ada.b@example.net").decode().rstrip("="),
        base64.encodebytes(
            b"a long text, of more than one line, before it is said: ada.b@example.net, and after"
        ).decode(),
        "=?utf-8?b?" + base64.b64encode("Äda <ada.b@example.net>".encode()).decode() + "?=",
    ],
)
def test_each_spelling_is_found_and_taken_out(text: str) -> None:
    assert ADA.named(text)
    assert ADA.named_in(text.encode())
    assert not ADA.named(ADA.without(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob@example.net",
        "xada.b@example.net",
        "c.ada.b@example.net",
        "ada.b+news@example.net",
        "ada.b@example.net.evil.test",
        "ada.b@example.network",
        "ada.b@sub.example.net",
        "adaxb@example.net",
        "ada.b at example.net",
        base64.b64encode(b"xx bob.b@example.net is here").decode(),
    ],
)
def test_others_are_not(text: str) -> None:
    assert not ADA.named(text)
    assert ADA.without(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "käthe@bücher.example",
        "KÄTHE@BÜCHER.EXAMPLE",
        "käthe@xn--bcher-kva.example",
        "ka\u0308the@xn--bcher-kva.example",
        "https://x.test/?e=" + quote("käthe@bücher.example"),
        "https://x.test/?e=" + quote("käthe@xn--bcher-kva.example", safe=""),
        quopri.encodestring("An käthe@bücher.example".encode()).decode(),
        json.dumps({"e": "käthe@bücher.example"}),
        base64.b64encode("An käthe@bücher.example".encode()).decode(),
    ],
)
def test_international_addresses(text: str) -> None:
    assert WIDE.named(text)
    assert not WIDE.named(WIDE.without(text))


@pytest.mark.parametrize("octets", [b"\xadada.b@example.netGET", b"xxada.b@exam\x81\0", b"a=xada.b%40example.nety"])
def test_what_is_left_in_a_file_has_no_bounds(octets: bytes) -> None:
    assert ADA.traced_in(octets)
    assert not ADA.named_in(octets)
    assert not ADA.traced_in(b"bob@example.net ada.b@other.example")


def test_of_a_list_the_entry_goes_and_of_a_text_the_address() -> None:
    value = {
        "to": ["Ada B. <ada.b@example.net>", "Bob <bob@example.org>"],
        "cc": [{"name": "Ada", "email": "ada.b@example.net"}, {"name": "Bob", "email": "bob@example.org"}],
        "reply_from": {"name": "Ada", "email": "Ada.B@example.net"},
        "text": "Dear ada.b@example.net, hello",
        "number": 7,
    }
    assert ADA.cleaned(value) == {
        "to": ["Bob <bob@example.org>"],
        "cc": [{"name": "Bob", "email": "bob@example.org"}],
        "reply_from": {"name": "", "email": "erased"},
        "text": "Dear erased, hello",
        "number": 7,
    }
    assert ADA.about(value)
    assert not ADA.about({"to": ["ada.b@example.net"], "text": "to ada.b@example.net"})


def test_a_local_part_that_needs_its_quotes() -> None:
    who = Person('"ada b"@example.net')
    assert who.same('"Ada B"@EXAMPLE.net')
    assert who.named('To: "ada b"@example.net, bob@example.org')
    assert who.named("https://x.test/?e=%22ada%20b%22%40example.net")
    assert not who.named("b@example.net")


@pytest.mark.parametrize(
    "text", ["ka\u0308the@bu\u0308cher.example", "k%C3%A4the@xn--bcher-kva.example", "%6b%C3%A4the%40bücher.example"]
)
def test_of_letters_beyond_ascii_each_form(text: str) -> None:
    assert WIDE.named(text)


@pytest.mark.parametrize("address", ["", "ada", "@example.net", "ada@", "a b@example.net", "<ada@example.net>"])
def test_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        Person(address)


@given(st.text(max_size=40), st.text(max_size=40))
def test_in_whatever_text_nothing_is_left(before: str, behind: str) -> None:
    text = f"{before} ada.b@example.net {behind}"
    assert ADA.named(text)
    assert not ADA.named(ADA.without(text))


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_in_whatever_is_base64(before: bytes, behind: bytes) -> None:
    text = base64.b64encode(before + b" ada.b@example.net " + behind).decode()
    assert ADA.named(text)


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    if not ADA.named(text):
        assert ADA.without(text) == text
