"""Whose answer, to what: decisions without a store."""

from __future__ import annotations

import pytest

from relay.core import addresses, domains, replies
from relay.core.model import Sent, SentCopy


@pytest.mark.parametrize(
    ("domain", "organisation"),
    [
        ("mail.example.co.uk", "example.co.uk"),
        ("Example.CO.UK.", "example.co.uk"),
        ("a.b.example.com", "example.com"),
        ("co.uk", "co.uk"),
        ("one.onmicrosoft.com", "one.onmicrosoft.com"),
        ("a.github.io", "a.github.io"),
        ("localhost", "localhost"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("mail.b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example", "xn--bcher-kva.example"),
        ("", ""),
    ],
)
def test_the_organisation_of_a_domain(domain: str, organisation: str) -> None:
    assert domains.organisational(domain) == organisation


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ann+x@example.org", "Ann@mail.example.org", True),
        ("ann@gmail.com", "ann+y@googlemail.com", True),
        ("ann@one.onmicrosoft.com", "ann@two.onmicrosoft.com", False),
        ("ann@a.co.uk", "ann@b.co.uk", False),
        ("+x@example.org", "+y@example.org", False),
        ("ann@example.org", "anna@example.org", False),
    ],
)
def test_the_addresses_of_one_person(one: str, other: str, same: bool) -> None:
    assert (addresses.person(one) == addresses.person(other)) is same
    sent = Sent("m", "g", "m@x", 0.0, copies=(SentCopy(one, 0, True),))
    assert bool(replies.copies_of(sent, other)) is same


@pytest.mark.parametrize(("named", "recipient"), [((), ""), ((1,), "ann+b@x.example"), ((0, 1), ""), ((7,), "")])
def test_of_two_copies_to_one_person_it_is_the_one_whose_token_came(named: tuple[int, ...], recipient: str) -> None:
    copies = tuple(SentCopy(f"ann+{tag}@x.example", n, True, thread_replies=True) for n, tag in enumerate("ab"))
    sent = Sent("m", "g", "m@x", 0.0, thread_replies=True, copies=copies)
    found = replies.told(replies.Match(sent, frozenset(named)), (), None, "ann@x.example")
    assert found is not None
    assert (found.copy.recipient if found.copy else "") == recipient
