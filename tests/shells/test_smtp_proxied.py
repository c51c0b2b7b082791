"""SMTP in: XCLIENT and XFORWARD, over real connections on loopback. 127.0.0.3 is a proxy in all of them."""

import base64
import ssl
from typing import NamedTuple

import pytest

from relay import smtp
from relay.config import Settings, Smtp, User
from relay.core.model import Hop
from relay.smtp import limits
from tests.fakes import certificates
from tests.fakes.taker import Taker
from tests.fakes.wire import Wire, connect

PROXY, STRANGER = "127.0.0.3", "192.0.2.9"
MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
NOT_YOURS = "550 5.7.0 Only listed proxies may say whom they speak for"


class Login(NamedTuple):
    hashed: str
    senders: tuple[str, ...] = ()


class Users:
    def __init__(self) -> None:
        self.logins = {"jane": Login("one", ("*@jane.example",))}

    async def verify(self, login: str, password: str) -> bool:
        return login in self.logins and password == "right"

    def find(self, login: str) -> Login | None:
        return self.logins.get(login)


@pytest.fixture
async def relay():
    servers = []

    async def start(taker, *, users=None, held_to=None, verify_upstream=None, also=(), **settings):
        how = {"listen": ("127.0.0.1:0",), "hostname": "relay.example", "proxies": (PROXY,), **settings}
        started = await smtp.serve(
            Settings(smtp=Smtp(**how), users=also), taker, users=users, held_to=held_to, verify_upstream=verify_upstream
        )
        servers.append(started)
        return started.addresses[0]

    yield start
    for started in servers:
        await started.drain(0)


async def named(client: Wire, attributes: str) -> str:
    """The answer to XCLIENT, and EHLO after it."""
    answer = await client.ask("XCLIENT " + attributes)
    if answer.startswith("220"):
        await client.ask("EHLO behind.example")
    return answer


async def test_only_a_listed_peer_is_offered_them_and_may_use_them(relay):
    address = await relay(Taker())
    async with connect(address, source=PROXY) as client:
        offered = (await client.greet()).splitlines()
        assert "250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT" in offered
        assert "250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT" in offered
    async with connect(address) as client:  # in `allow`, and no proxy
        assert "X" not in {line[4:5] for line in (await client.greet()).splitlines()}
        assert await client.ask(f"XCLIENT ADDR={PROXY}") == NOT_YOURS
        assert await client.ask("XFORWARD ADDR=127.0.0.1") == NOT_YOURS
        assert (await client.mail(MESSAGE)).startswith("250")


async def test_by_default_nobody_may(relay):
    async with connect(await relay(Taker(), proxies=())) as client:
        assert "XFORWARD" not in await client.greet()
        assert await client.ask("XCLIENT ADDR=127.0.0.1") == NOT_YOURS
        assert await client.ask("XFORWARD ADDR=127.0.0.1") == NOT_YOURS


# -- XCLIENT -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "may"),
    [
        ("ADDR=127.0.0.1 NAME=localhost", True),
        ("ADDR=10.0.0.1", True),
        ("ADDR=IPV6:::ffff:10.0.0.1", True),
        (f"ADDR={STRANGER}", False),
        ("ADDR=IPV6:2001:db8::1", False),
        ("ADDR=[UNAVAILABLE]", False),
        ("ADDR=[TEMPUNAVAIL] NAME=localhost HELO=localhost", False),
        ("NAME=stranger.example", True),  # as Postfix: the address stays the proxy's
        (f"ADDR={STRANGER} LOGIN=jane", True),
        (f"ADDR={STRANGER} LOGIN=[UNAVAILABLE]", False),
    ],
)
async def test_who_may_submit_is_who_was_named(relay, attributes, may):
    taker = Taker()
    address = await relay(taker, allow=("127.0.0.0/8", "10.0.0.0/8"))
    async with connect(address, source=PROXY) as client:
        await client.greet()
        assert await named(client, attributes) == "220 relay.example ESMTP trackrelay"
        answer = await client.ask("MAIL FROM:<a@jane.example>")
        assert answer[:9] == ("250 2.1.0" if may else "550 5.7.1")
    assert taker.taken == []


async def test_the_session_begins_again(relay):
    taker = Taker()
    async with connect(await relay(taker), source=PROXY) as client:
        await client.greet()
        assert (await client.ask("XFORWARD HELO=forgotten")).startswith("250")
        assert (await client.ask("XCLIENT ADDR=127.0.0.1")).startswith("220")
        assert (await client.ask("MAIL FROM:<a@b>")).startswith("503")
        await client.ask("HELO behind.example")
        assert (await client.mail(MESSAGE)).startswith("250")
    (submission,) = taker.taken
    assert (submission.peer, submission.helo, submission.proxy) == ("127.0.0.1", "behind.example", None)
    assert submission.protocol == "SMTP"


async def test_helo_can_be_named_too(relay):
    taker = Taker()
    async with connect(await relay(taker), source=PROXY) as client:
        await client.greet()
        assert (await client.ask("XCLIENT ADDR=127.0.0.1 HELO=first.example PROTO=SMTP")).startswith("220")
        assert (await client.mail(MESSAGE)).startswith("250")
    assert (taker.taken[0].helo, taker.taken[0].protocol) == ("first.example", "SMTP")


async def test_a_login_that_was_named_is_one(relay):
    taker = Taker()
    address = await relay(taker, auth="users", users=Users())
    async with connect(address, source=PROXY) as client:
        await client.greet()
        assert await named(client, f"ADDR={STRANGER} LOGIN=nobody") == "535 5.7.8 Login or password is wrong"
        assert (await named(client, f"ADDR={STRANGER} LOGIN=jane")).startswith("220")
        assert (await client.ask("AUTH PLAIN x"))[:3] in ("503", "538")
        assert (await client.ask("MAIL FROM:<a@other.example>")).startswith("553")
        assert (await client.ask("MAIL FROM:<a@jane.example>")).startswith("250")
        assert (await client.ask("RCPT TO:<b@c>")).startswith("250")
        await client.ask("DATA")
        assert (await client.ask(MESSAGE + b".")).startswith("250")
    (submission,) = taker.taken
    assert (submission.login, submission.peer, submission.protocol) == ("jane", STRANGER, "ESMTPA")
    assert (submission.senders, submission.password) == (("*@jane.example",), "")


async def test_where_the_proxy_alone_knows_the_logins(relay):
    taker = Taker()
    address = await relay(taker, allow=("::1/128",), also=(User("jane", ("*@jane.example",)),))
    async with connect(address, source=PROXY) as client:
        await client.greet()
        assert (await client.ask("MAIL FROM:<a@jane.example>")).startswith("550")
        assert (await named(client, "LOGIN=jane")).startswith("220")
        assert (await client.ask("MAIL FROM:<a@other.example>")).startswith("553")
        assert (await client.ask("MAIL FROM:<a@jane.example>")).startswith("250")


async def test_where_the_upstream_wants_the_password_no_login_is_taken(relay):
    async def verify(login, password):
        raise AssertionError("not asked")

    async with connect(await relay(Taker(), auth="upstream", verify_upstream=verify), source=PROXY) as client:
        assert " LOGIN" not in (await client.greet()).split("XCLIENT")[1].splitlines()[0]
        assert await named(client, f"ADDR={STRANGER} LOGIN=jane") == NOT_YOURS
        assert (await named(client, f"ADDR={STRANGER}")).startswith("220")


async def test_a_login_that_is_removed_ends(relay):
    users = Users()
    async with connect(await relay(Taker(), auth="users", users=users), source=PROXY) as client:
        await client.greet()
        await named(client, "LOGIN=jane")
        users.logins.clear()
        assert (await client.ask("MAIL FROM:<a@jane.example>")).startswith("421")


@pytest.mark.parametrize("command", ["MAIL FROM:<a@b>", "AUTH PLAIN AGphbmUAd3Jvbmc=", "STARTTLS"])
async def test_who_was_named_may_be_speaking_afterwards_and_names_nobody(relay, tmp_path, command):
    """A proxy that hands its client's commands through after it has named it."""
    trusted, key = certificates.make(tmp_path)
    address = await relay(Taker(), auth="users", users=Users(), certificate=trusted, key=key, allow=(PROXY,))
    async with connect(address, source=PROXY) as client:
        await client.greet()
        assert (await named(client, f"ADDR={STRANGER}")).startswith("220")
        assert (await named(client, f"ADDR={STRANGER} PORT=7")).startswith("220")  # in two pieces
        answer = await client.ask(command)
        if answer.startswith("220"):
            await client.start_tls(ssl.create_default_context(cafile=trusted))
            assert "XCLIENT" not in await client.ask("EHLO behind.example")
        for words in ("XCLIENT ADDR=127.0.0.3", "XCLIENT LOGIN=jane", "XFORWARD ADDR=127.0.0.3"):
            assert await client.ask(words) == NOT_YOURS
        assert (await client.ask("MAIL FROM:<a@b>")).startswith("530")


async def test_a_proxy_may_name_none_and_forward_after_each_message(relay):
    taker = Taker()
    async with connect(await relay(taker), source=PROXY) as client:
        await client.greet()
        for number in range(3):
            assert (await client.ask(f"XFORWARD ADDR=192.0.2.{number}")).startswith("250")
            assert (await client.mail(MESSAGE)).startswith("250")
        assert (await client.mail(MESSAGE)).startswith("250")
        assert (await named(client, "ADDR=127.0.0.5")).startswith("220")
    assert [s.peer for s in taker.taken] == ["192.0.2.0", "192.0.2.1", "192.0.2.2", PROXY]


async def test_within_a_transaction_neither_is_taken(relay):
    taker = Taker()
    async with connect(await relay(taker), source=PROXY) as client:
        await client.greet()
        await client.ask("MAIL FROM:<a@b>")
        for words in (f"XCLIENT ADDR={STRANGER}", "XFORWARD HELO=x"):
            assert await client.ask(words) == "503 5.5.1 Not within a transaction"
        await client.ask("RSET")
        assert (await client.ask("XFORWARD HELO=x")).startswith("250")


async def test_pipelined(relay):
    taker = Taker()
    async with connect(await relay(taker), source=PROXY) as client:
        await client.greet()
        await client.send(
            b"XCLIENT ADDR=127.0.0.9\r\nEHLO behind\r\nXFORWARD IDENT=4Zx HELO=far\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
            b"DATA\r\n" + MESSAGE + b".\r\n"
        )
        assert [(await client.reply())[:3] for _ in range(7)] == ["220", "250", "250", "250", "250", "354", "250"]
    (submission,) = taker.taken
    assert (submission.peer, submission.helo, submission.queue_id) == ("127.0.0.9", "far", "4Zx")


async def test_passwords_come_in_clear_only_from_this_machine_itself(relay):
    login = "AUTH PLAIN " + base64.b64encode(b"\0jane\0right").decode()
    for attributes, code in (("ADDR=127.0.0.7", "235"), (f"ADDR={STRANGER}", "538")):
        async with connect(await relay(Taker(), auth="users", users=Users()), source=PROXY) as client:
            await client.greet()
            await named(client, attributes)
            assert (await client.ask(login)).startswith(code)


async def test_places_are_those_of_who_was_named(relay):
    address = await relay(Taker(), held_to=limits.Limits(per_address=1))
    async with connect(address, source=PROXY) as one, connect(address, source=PROXY) as two:
        for client in (one, two):
            await client.greet()
        assert (await named(one, f"ADDR={STRANGER}")).startswith("220")
        assert await two.ask(f"XCLIENT ADDR={STRANGER}") == (
            "421 4.7.0 Too many connections from your address, try again later"
        )
        assert await two.closed()
    async with connect(address, source=PROXY) as again:
        await again.greet()


# -- XFORWARD ----------------------------------------------------------------------------------------------------------


async def test_what_is_forwarded_is_recorded_and_gives_no_right(relay):
    taker = Taker()
    address = await relay(taker, allow=("127.0.0.1/32",))
    async with connect(address, source=PROXY) as client:
        await client.greet()
        assert (await client.ask("XFORWARD ADDR=127.0.0.1")).startswith("250")
        assert (await client.ask("MAIL FROM:<a@b>")).startswith("550 5.7.1")
    address = await relay(taker)
    async with connect(address, source=PROXY) as client:
        await client.greet()
        assert (await client.ask("XFORWARD NAME=far.example ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP")).startswith("250")
        assert (await client.ask("XFORWARD HELO=far.example IDENT=4Zx1Yz3Kq8z9 SOURCE=REMOTE")).startswith("250")
        assert (await client.mail(MESSAGE)).startswith("250")
        assert (await client.mail(MESSAGE)).startswith("250")  # the next one is not said to be from there
    first, second = taker.taken
    assert (first.peer, first.helo, first.queue_id) == ("192.0.2.7", "far.example", "4Zx1Yz3Kq8z9")
    assert (first.proxy, first.login) == (Hop("client.example", PROXY), "")
    assert (second.peer, second.helo, second.queue_id, second.proxy) == (PROXY, "client.example", "", None)


async def test_what_is_not_known_is_not_the_proxy(relay):
    taker = Taker()
    async with connect(await relay(taker), source=PROXY) as client:
        await client.greet()
        await client.ask("XFORWARD ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE] IDENT=[UNAVAILABLE]")
        await client.mail(MESSAGE)
    assert (taker.taken[0].peer, taker.taken[0].helo, taker.taken[0].queue_id) == ("", "", "")


async def test_messages_per_minute_are_the_forwarded_clients(relay):
    async with connect(await relay(Taker(), messages_per_minute=1), source=PROXY) as client:
        await client.greet()
        codes = []
        for last in (1, 2, 1, 2, 3):
            await client.ask(f"XFORWARD ADDR=192.0.2.{last}")
            codes.append((await client.ask("MAIL FROM:<a@b>"))[:3])
            await client.ask("RSET")
    assert codes == ["250", "250", "450", "450", "250"]
