"""What a login may do, by the settings and the logins' file."""

from pathlib import Path

import pytest

from relay import config
from relay.config.settings import NamedUpstream
from relay.smtp import accounts

SALES, SUPPORT = config.Grant("sales", addresses=("*@sales.example",)), config.Grant("support", addresses=("s@x",))
DEFAULT = config.Grant("default")


def settings(*grants: config.Grant, auth: str = "users", **more: object) -> config.Settings:
    return config.Settings(smtp=config.Smtp(auth=auth), grants=grants or (DEFAULT,), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "apart"),
    [
        (settings(), False),
        (settings(SALES, DEFAULT), False),  # nobody said anything of the rest
        (settings(SALES, config.Grant("default", mailbox=("maildir:/m",))), True),
        (settings(SALES, SUPPORT, DEFAULT), True),
        (settings(upstreams=(NamedUpstream(id="b", url="smtp://b"),)), False),  # only a fallback
        (settings(upstreams=(NamedUpstream(id="b", url="smtp://b", senders=("*@b",)),)), True),
        (settings(dkim=(config.Dkim("a.example", "s", Path("k")),)), False),
        (settings(dkim=(config.Dkim("a.example", "s", Path("k")), config.Dkim("b.example", "s", Path("k")))), True),
    ],
)
def test_when_the_sender_chooses_between_people(given: config.Settings, apart: bool) -> None:
    assert accounts.apart(given) is apart
    assert accounts.Accounts(given).of("jane").senders == (() if apart else None)
    assert ("jane" in accounts.unbound(given, [("jane", ())])) is apart
    assert not accounts.unbound(given, [("jane", ("a@x",))])


def test_the_file_comes_before_the_settings() -> None:
    given = settings(SALES, SUPPORT, DEFAULT, users=(config.User("Jane", ("*@sales.example",)), config.User("jane")))
    found = accounts.Accounts(given)
    assert found.of("jANE ").senders == ("*@sales.example",)
    assert found.of("jane", own=("s@x",)).senders == ("s@x",)
    assert not accounts.unbound(given, [("jane", ())])


@pytest.mark.parametrize(
    ("login", "senders"),
    [("Jane@Sales.example", ("jane@sales.example",)), ("jane", ()), ("*@sales.example", ()), ("j?@sales.example", ())],
)
def test_a_login_of_the_upstream_is_an_address_itself(login: str, senders: tuple[str, ...]) -> None:
    assert accounts.Accounts(settings(SALES, SUPPORT, auth="upstream")).of(login).senders == senders
    assert accounts.Accounts(settings(auth="upstream")).of(login).senders is None


def test_a_sentence_does_not_list_a_thousand() -> None:
    said = accounts.unbound(settings(SALES, SUPPORT), [(f"user{n:04}", ()) for n in range(1000)])
    assert "user0004 and 995 more: " in said
