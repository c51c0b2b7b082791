"""Which addresses are one mailbox's, its digest, and what a reason comes to under which setting."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import suppressions
from relay.core.model import Event, Keys
from relay.core.suppressions import GROUNDS, Suppression, digest, effect, mailbox

KEYS = Keys(1, {0: b"a" * 32, 1: b"b" * 32})

SAME = [
    ("bob@example.com", "Bob@EXAMPLE.com", "BOB@example.com.", " bob@example.com ", '"bob"@example.com', '"b\\ob"@example.com'),
    ("bob.lee@example.com", '"bob.lee"@example.com', "Bob.Lee@Example.Com"),
    ("bob@bücher.example", "bob@xn--bcher-kva.example", "BOB@BÜCHER.EXAMPLE", "bob@b\u0075\u0308cher.example", "bob@XN--BCHER-KVA.example"),
    ("zoë@example.com", "zoe\u0308@example.com", "ZOË@example.com"),
    ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
    ('"bob lee"@example.com', '"Bob Lee"@EXAMPLE.com'),
    ("bob@[192.0.2.1]", "BOB@[192.0.2.1]"),
    ("bob@[IPv6:2001:db8::1]", "bob@[ipv6:2001:DB8::1]"),
]  # fmt: skip
DIFFERENT = [
    "bob@example.com", "bob+news@example.com", "b.ob@example.com", "bob@gmail.com", "b.o.b@gmail.com", "bob@mail.example.com",
    "bob@example.org", "b0b@example.com", '"bob.."@example.com', '"bob@x"@example.com', "bob", "faß@example.com", "fass@example.com",
    "bob@faß.example", "bob@fass.example", "bob@gmail.com+x",
]  # fmt: skip


@pytest.mark.parametrize("spellings", SAME, ids=lambda s: s[0])
def test_these_are_one_mailbox(spellings: tuple[str, ...]) -> None:
    assert len(set(map(mailbox, spellings))) == 1
    assert len({digest(address, KEYS) for address in spellings}) == 1


def test_these_are_mailboxes_of_their_own() -> None:
    first = [spellings[0] for spellings in SAME]
    assert len({digest(address, KEYS) for address in {*DIFFERENT, *first}}) == len({*DIFFERENT, *first})


@given(st.text())
def test_any_text_has_a_digest_and_its_spelling_is_its_own(text: str) -> None:
    assert len(digest(text, KEYS)) == suppressions.DIGITS
    assert mailbox(mailbox(text)) == mailbox(text)


def test_the_digest_is_of_the_oldest_key_and_of_none_by_itself() -> None:
    was = digest("bob@example.com", Keys(0, {0: b"a" * 32}))
    assert digest("bob@example.com", Keys(7, {7: b"c" * 32, 0: b"a" * 32})) == was
    assert digest("bob@example.com", Keys(0, {0: b"x" * 32})) != was
    assert digest("\udcff@example.com", KEYS) != digest("\udcfe@example.com", KEYS)


def entry(reason: str, grant_id: str = "") -> Suppression:
    return Suppression("d", grant_id, reason, "bob@example.com", 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "reason", "expected"),
    [
        ("off", "refusal", "untrack"),
        ("off", "bounce", ""),
        ("off", "complaint", ""),
        ("off", "manual", ""),
        ("untrack", "refusal", "untrack"),
        ("untrack", "bounce", "untrack"),
        ("untrack", "complaint", "untrack"),
        ("untrack", "manual", "untrack"),
        ("reject", "refusal", "untrack"),
        ("reject", "bounce", "reject"),
        ("reject", "complaint", "reject"),
        ("reject", "manual", "reject"),
    ],
)
def test_what_a_reason_comes_to(setting: suppressions.Setting, reason: str, expected: str) -> None:
    for grant in ("", "sales"):
        assert effect(setting, [entry(reason, grant)], "sales") == (expected, reason if expected else None)
    assert effect(setting, [entry(reason, "other")], "sales") == ("", None)
    assert effect(setting, [], "sales") == ("", None)


def test_of_several_the_strongest_holds() -> None:
    strength = {"": 0, "untrack": 1, "reject": 2}
    for setting in ("off", "untrack", "reject"):
        for some in itertools.product(GROUNDS, repeat=2):
            alone = [effect(setting, [entry(ground)], "g")[0] for ground in some]
            together, ground = effect(setting, [*map(entry, some)], "g")
            assert strength[together] == max(strength[one] for one in alone)
            assert (ground in some) == bool(together)


# -- where entries come from ---------------------------------------------------------------------------------------------


def bounced(status: str, reason: str = "", code: int | None = 550, **data: Any) -> Event:
    values = {"status": status, "code": code, "reason": reason, "verified": True}
    return Event("e", "message.bounce_detected", "m", 0.0, data=values | data)


@pytest.mark.parametrize(
    ("status", "reason", "hard"),
    [
        ("5.1.1", "550 5.1.1 <bob@x.test>: Recipient address rejected: User unknown", True),
        ("5.1.10", "556 5.1.10 Recipient domain has a null MX", True),
        ("5.1.2", "Host or domain name not found", True),
        ("5.1.3", "", True),
        ("5.1.6", "the mailbox has moved", True),
        ("5.2.1", "550 5.2.1 The email account that you tried to reach is inactive", True),
        ("5.0.0", "550 no such user here", True),  # Exim has no better status
        ("5.0.0", "Unrouteable address", True),
        ("5.0.0", "550 The mailbox bob@x.test does not exist", True),
        ("", "550 Unknown user", True),
        ("5.4.4", "Host or domain name not found. Name service error", True),
        ("5.0.0", "550 rejected as spam", False),
        ("", "554 message refused", False),
        ("5.1.7", "bad sender", False),
        ("5.1.8", "sender domain does not exist", False),
        ("5.2.2", "mailbox full", False),
        ("5.2.3", "too large", False),
        ("5.3.4", "too large", False),
        ("5.4.7", "delivery time expired", False),
        ("5.7.1", "blocked", False),
        ("5.7.26", "unauthenticated", False),
        ("4.1.1", "greylisted", False),
        ("4.2.2", "mailbox full", False),
        ("2.1.5", "delivered", False),
    ],
)
def test_a_hard_bounce_says_that_nobody_is_there(status: str, reason: str, hard: bool) -> None:
    assert suppressions.ground(bounced(status, reason)) == ("bounce" if hard else None)
    assert suppressions.ground(bounced(status, reason, verified=False)) is None
    assert suppressions.ground(bounced(status, reason, verified=1)) is None


def test_a_vague_bounce_needs_a_code_too() -> None:
    assert suppressions.ground(bounced("", "unknown user", code=450)) is None
    assert suppressions.ground(bounced("", "unknown user", code=None)) is None


@pytest.mark.parametrize(
    ("address", "shown"),
    [("bob@example.com", "b•••@example.com"), ("x@example.com", "x•••@example.com"), ("", "•••"), ("bob", "•••bob")],
)
def test_an_address_is_mostly_hidden(address: str, shown: str) -> None:
    assert suppressions.masked(address) == shown
