"""Whose name a login may send in."""

import pytest

from relay.core import headers, senders

ONE = ("*@one.example", "jane@two.example")


@pytest.mark.parametrize("address", ["a@one.example", "A@One.Example", "jane@two.example", "a@one.example."])
def test_what_a_login_may_send_as(address: str) -> None:
    assert senders.refusal([address], ONE) is None


@pytest.mark.parametrize(
    "address", ["a@two.example", "a@one.example.evil", "a@sub.one.example", "", "jane@two.example@evil", "a%two@x"]
)
def test_what_it_may_not_send_as(address: str) -> None:
    reply = senders.refusal(["a@one.example", address], ONE)
    assert reply is not None
    assert reply.code == 553
    assert "*@one.example, jane@two.example" in reply.text


def test_with_no_rule_anything_and_with_none_set_nothing() -> None:
    assert senders.refusal(["a@x"], None) is None
    assert "no sender addresses are set" in str(senders.refusal(["a@x"], ()))


def test_a_refusal_does_not_list_a_thousand() -> None:
    many = tuple(f"a{n}@one.example" for n in range(1000))
    assert len(str(senders.refusal(["b@x"], many))) < 400


@pytest.mark.parametrize(
    ("head", "good"),
    [
        (b"From: a@one.example\r\n", True),
        (b"From: A <a@one.example>, jane@two.example\r\n", True),
        (b"From: a@one.example, b@two.example\r\n", False),
        (b"From: a@one.example\r\nFrom: b@two.example\r\n", False),
        (b"From: x: a@one.example, b@two.example;\r\n", False),
        (b"fROM : b@two.example\r\n", False),
        (b'From: "a@one.example" <b@two.example>\r\n', False),
        (b"From: =?utf-8?q?a=40one.example?= <b@two.example>\r\n", False),
        (b"no field\r\nFrom: b@two.example\r\n", False),
        (b"From: a@one.example\r\nno field\r\nfrom\t: b@two.example\r\n", False),
        (b"From: a@one.example\r\nno field\r\nSubject: from: b@two.example\r\n", True),
        (b"Subject: no author, and so it is the reverse-path's\r\n", True),
    ],
)
def test_each_author_counts(head: bytes, good: bool) -> None:
    found = senders.refusal_of_message(headers.read(head + b"\r\nFrom: c@body.example\r\n"), ONE)
    assert (found is None) == good, found
