"""SMTP in: who may submit, and what one client may use."""

import asyncio
import contextlib
import ipaddress
import resource
import signal
import sys
from typing import Any

import pytest

from relay import metrics, smtp
from relay.config import Settings, Smtp
from relay.core import networks
from relay.smtp import limits, submitters, throttle
from relay.workers import sharing
from tests.fakes.taker import Taker
from tests.fakes.wire import connect
from tests.until import until

# -- who may submit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "allow", "may"),
    [
        (("127.0.0.1", 1), ("127.0.0.0/8",), True),
        (("127.8.9.1", 1), ("127.0.0.0/8",), True),
        (("::1", 1, 0, 0), ("::1/128",), True),
        (("::ffff:127.0.0.1", 1, 0, 0), ("127.0.0.0/8",), True),
        (("::ffff:192.0.2.1", 1, 0, 0), ("127.0.0.0/8", "::1/128"), False),
        (("fe80::1%eth0", 1, 0, 2), ("fe80::/10",), True),
        (("10.1.2.3", 1), ("10.0.0.0/8",), True),
        (("10.1.2.3", 1), ("10.1.2.4",), False),
        (("192.0.2.1", 1), (), False),
        ("", ("0.0.0.0/0",), False),
        (None, ("127.0.0.0/8",), False),
    ],
)
def test_addresses(peer, allow, may):
    assert networks.within(submitters.address(peer), submitters.allow_list(allow)) is may


def test_a_bucket_per_client_fills_evenly():
    rates = limits.Rates(6)
    assert [rates.take("a", 100.0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert rates.take("b", 100.0)
    assert [rates.take("a", at) for at in (105.0, 110.1, 110.2, 120.2)] == [False, True, False, True]
    assert [rates.take("a", 1000.0) for _ in range(7)] == [True] * 6 + [False]
    assert all(limits.Rates(0).take("a", 0.0) for _ in range(1000))


def test_the_clients_that_were_quiet_for_longest_are_forgotten():
    rates = limits.Rates(1, sharing.Alone(keys=3))
    assert rates.take("a", 0.0)
    for client in "bc":
        assert rates.take(client, 0.0)
    assert not rates.take("a", 0.0)  # and is the last that was heard of
    assert rates.take("d", 0.0)
    assert rates.take("b", 0.0)
    assert [rates.take(client, 0.0) for client in "ad"] == [False, False]


async def test_a_client_beyond_its_rate_is_put_off():
    server = await smtp.serve(Settings(smtp=Smtp(listen=("127.0.0.1:0",), messages_per_minute=2)), Taker())
    try:
        async with connect(server.addresses[0]) as wire:
            await wire.greet()
            replies = []
            for _ in range(3):
                replies.append((await wire.ask("MAIL FROM:<a@x.example>"))[:3])
                await wire.ask("RSET")
            assert replies == ["250", "250", "450"]
    finally:
        await server.drain(1)


async def test_a_stranger_is_turned_down():
    server = await smtp.serve(Settings(smtp=Smtp(listen=("127.0.0.1:0",), allow=("192.0.2.0/24",))), Taker())
    async with connect(server.addresses[0]) as client:
        await client.greet()
        for sender in ("<>", "<a@example.com>", "<root@localhost>"):
            assert (await client.ask(f"MAIL FROM:{sender}")).startswith("550 5.7.1")
        assert (await client.ask("RCPT TO:<victim@example.org>")).startswith("503")
        assert (await client.ask("DATA")).startswith("503")
    await server.drain(0)


# -- connections and commands ------------------------------------------------------------------------------------------


@pytest.fixture
async def start():
    """Starts servers whose clients are held to those limits, and ends them with the test."""
    servers = []

    async def start(**held_to):
        taker = Taker()
        settings = Settings(smtp=Smtp(listen=("127.0.0.1:0",)))
        server: Any = await smtp.serve(settings, taker, held_to=limits.Limits(**held_to))
        server.taker = taker
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.drain(0)


@pytest.fixture
async def server(start):
    return await start()


async def test_places_in_all(start, caplog):
    server = await start(connections=4)
    away = metrics.value("trackrelay_smtp_turned_away_total")
    async with contextlib.AsyncExitStack() as stack:
        one, *others = [await stack.enter_async_context(connect(server.addresses[0])) for _ in range(4)]
        for client in (one, *others):
            await client.greet()
        for _ in range(3):
            async with connect(server.addresses[0]) as more:
                assert (await more.reply()).startswith("421 4.3.2 Too many")
                assert await more.closed()
        assert caplog.text.count("full") == 1
        assert metrics.value("trackrelay_smtp_turned_away_total") == away + 3
        assert (await one.mail(b"x\r\n")).startswith("250")
        await one.ask("QUIT")
        await until(lambda: server.connections == 3)
        async with connect(server.addresses[0]) as more:
            await more.greet()


def test_places_per_address():
    places = limits.Places(10, each=2)
    assert places.take(1, "a", loopback=False) is places.take(2, "a", loopback=False) is None
    assert places.take(3, "a", loopback=False).startswith("4.7.0")
    assert places.take(4, "b", loopback=False) is None
    assert [places.take(n, "127.0.0.1", loopback=True) for n in range(10, 18)].count(None) == 7
    assert (len(places), set(places)) == (10, {1, 2, 4, *range(10, 17)})
    assert [places.leave(who) for who in (1, 2, 4, 4, 3)] == [True, True, True, False, False]
    assert 1 not in places
    assert places.take(5, "a", loopback=False) is None
    assert 5 in places
    places.close()
    assert places.take(6, "a", loopback=False) == limits.STOPPING


def test_one_network_gets_a_fourth_at_most():
    places = limits.Places(20, each=200)
    assert [places.take(n, "2001:db8:1:2::/64", loopback=False) for n in range(9)].count(None) == 5
    assert places.take(10, "2001:db8:1:3::/64", loopback=False) is None
    few: limits.Places[int] = limits.Places(4, each=200)
    assert few.take(1, "a", loopback=False) is None


def test_that_it_is_full_is_said_once_in_a_while():
    places = limits.Places(1, each=1)
    assert [places.worth_saying(now, 60.0) for now in (0.0, 1.0, 59.9, 60.0, 119.0, 200.0)] == [
        True, False, False, True, False, True,
    ]  # fmt: skip


async def test_too_many_errors_end_a_session(start):
    server = await start(errors=5)
    async with connect(server.addresses[0]) as client:
        await client.greet()
        await client.send(b"RCPT TO:<a@b>\r\n" * 50)
        answers = [await client.reply() for _ in range(6)]
        assert [a[:3] for a in answers] == ["503"] * 5 + ["421"]
        assert await client.closed()


async def test_talk_without_a_message_ends(start):
    server = await start(idle_commands=10)
    async with connect(server.addresses[0]) as client:
        await client.greet()
        for _ in range(3):  # a message begins the count anew
            for _ in range(8):
                assert (await client.ask("NOOP")).startswith("250")
            assert (await client.mail(b"x\r\n")).startswith("250")
        await client.send(b"NOOP\r\n" * 30)
        answers = [(await client.reply())[:3] for _ in range(11)]
        assert answers == ["250"] * 10 + ["421"]
        assert await client.closed()


async def test_silence_ends(start):
    server = await start(command_seconds=2)
    async with connect(server.addresses[0]) as client:
        await client.greet()
        await client.send(b"NOO")  # half a command is none
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.closed()
    await until(lambda: not server.connections)


async def test_the_timer_rests_while_a_message_is_taken(start):
    server = await start(command_seconds=2)
    server.taker.gate.clear()
    async with connect(server.addresses[0]) as client, connect(server.addresses[0]) as silent:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        await client.send(b"x\r\n.\r\n")
        await until(lambda: server.taker.taken)
        await silent.greet()
        assert (await silent.reply()).startswith("421 4.4.2")  # as the other would have, if its timer ran
        server.taker.gate.set()
        assert (await client.reply()).startswith("250")
        assert (await client.reply()).startswith("421 4.4.2")  # it runs again


async def test_too_many_recipients(start):
    server = await start(recipients=3)
    async with connect(server.addresses[0]) as client:
        await client.greet()
        await client.ask("MAIL FROM:<a@b>")
        answers = [(await client.ask(f"RCPT TO:<r{n}@b>"))[:9] for n in range(5)]
        assert answers == ["250 2.1.5"] * 3 + ["452 4.5.3"] * 2
        await client.ask("DATA")
        assert (await client.ask(".")).startswith("250")
    assert [r.address for r in server.taker.taken[0].recipients] == ["r0@b", "r1@b", "r2@b"]


@pytest.mark.parametrize(
    ("now", "then", "places"),
    [
        ((64, 64), (64, 64), 8),
        ((1024, 1_048_576), (2 * 1000 + 48, 1_048_576), 1000),
        ((1024, 1500), (1500, 1500), 726),
        ((1024, -1), (2 * 1000 + 48, -1), 1000),
        ((-1, -1), (-1, -1), 1000),
        ((20, 20), (20, 20), 4),
    ],
)
def test_few_files_mean_few_places(monkeypatch, now, then, places):
    limit = [now]
    monkeypatch.setattr(resource, "getrlimit", lambda what: limit[0])
    monkeypatch.setattr(resource, "setrlimit", lambda what, pair: limit.__setitem__(0, pair))
    assert limits.connections() == places
    assert limit[0] == then or limit[0][0] == limits.MAX_CONNECTIONS * 2 + limits.RESERVED_FILES


# -- the throttle of logins --------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_and_end():
    clock = Clock()
    guard = throttle.Throttle(clock)
    here, there = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")
    pauses = [guard.failed(here, "jane") for _ in range(throttle.HERE.pair)]
    assert pauses == sorted(pauses)
    assert pauses[0] == throttle.HERE.first_pause
    assert pauses[-1] == throttle.HERE.longest_pause
    assert guard.locked(here, "jane")
    assert not guard.locked(here, "joe")
    assert not guard.locked(there, "jane")
    clock.now += throttle.MEMORY
    assert not guard.locked(here, "jane")


def test_guessing_from_everywhere_locks_a_login_but_not_its_owner_out():
    guard = throttle.Throttle(Clock())
    home, away = ipaddress.ip_address("198.51.100.7"), ipaddress.ip_address("203.0.113.1")
    guard.passed(home, "jane")
    for n in range(throttle.HERE.login):
        guard.failed(ipaddress.ip_address(f"192.0.2.{n}"), "jane")
    assert guard.locked(away, "jane")
    assert not guard.locked(home, "jane")
    assert not guard.locked(away, "joe")


def test_guessing_at_many_logins_locks_an_address_but_not_its_known_users_out():
    """A webmail is one address for all."""
    guard = throttle.Throttle(Clock())
    webmail = ipaddress.ip_address("198.51.100.7")
    guard.passed(webmail, "jane")
    for n in range(throttle.HERE.address):
        guard.failed(webmail, f"user{n}")
    assert guard.locked(webmail, "joe")
    assert not guard.locked(webmail, "jane")
    for _ in range(throttle.HERE.pair):
        guard.failed(webmail, "jane")
    assert guard.locked(webmail, "jane")


def test_an_ipv6_network_is_one_guesser():
    guard = throttle.Throttle(Clock())
    for n in range(throttle.HERE.address):
        guard.failed(ipaddress.ip_address(f"2001:db8::{n}"), f"user{n}")
    assert guard.locked(ipaddress.ip_address("2001:db8::ffff"), "other")
    assert not guard.locked(ipaddress.ip_address("2001:db8:0:1::1"), "other")


@pytest.mark.parametrize("end", [None, ConnectionError, asyncio.CancelledError])
def test_what_is_being_tried_counts_until_it_ends_however_it_does(end):
    guard = throttle.Throttle(Clock(), throttle.Guesses(1, 9, 9))
    here = ipaddress.ip_address("192.0.2.1")
    with contextlib.suppress(ConnectionError, asyncio.CancelledError), guard.trying(here, "jane"):
        assert guard.full(here, "jane")
        assert not guard.locked(here, "jane")
        if end:
            raise end
    assert not guard.full(here, "jane")


def test_the_memory_of_the_throttle_is_bounded():
    guard = throttle.Throttle(Clock(), throttle.Guesses(1, 1, 1), sharing.Alone(keys=100))
    first, friend = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")
    guard.failed(first, "jane")
    guard.passed(friend, "joe")
    guard.failed(friend, "others")
    assert guard.locked(first, "jane")
    assert not guard.locked(friend, "joe")
    for n in range(100):
        guard.failed(ipaddress.ip_address(n), f"user{n}")
        guard.passed(ipaddress.ip_address(n), f"user{n}")
    assert not guard.locked(first, "jane")  # forgotten
    guard.failed(friend, "others")
    assert guard.locked(friend, "joe")  # no friend any more


# -- many clients ------------------------------------------------------------------------------------------------------


async def test_five_hundred_slow_clients_keep_nobody_out(server):
    """They hold sessions, half commands and half messages; a good client's mail passes all the same."""
    async with contextlib.AsyncExitStack() as stack:
        for number in range(500):
            client = await stack.enter_async_context(connect(server.addresses[0]))
            await client.send((b"E", b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: s")[number % 2])
        await until(lambda: server.connections == 500)
        async with connect(server.addresses[0]) as good:
            await good.greet()
            for _ in range(5):
                assert (await good.mail(b"Subject: good\r\n\r\n")).startswith("250")
        assert len(server.taker.taken) == 5
    await until(lambda: server.connections == 0)
    assert server.in_flight == 0


SMALL = """
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from relay import log, smtp
from relay.config import Settings, Smtp
from tests.fakes.taker import Taker
log.start()
async def main():
    server = await smtp.serve(Settings(smtp=Smtp(listen=("127.0.0.1:0",))), Taker())
    print(server.addresses[0][1], flush=True)
    await asyncio.to_thread(input)
LOOP.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_process_with_few_files_turns_away_and_goes_on(loop):
    """Also where all come at once, as after a time in which it was too busy to accept anybody."""
    script = f"import {loop} as LOOP\n{SMALL}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    address = ("127.0.0.1", int(await process.stdout.readline()))
    async with contextlib.AsyncExitStack() as stack:
        process.send_signal(signal.SIGSTOP)
        clients = [await stack.enter_async_context(connect(address)) for _ in range(100)]
        process.send_signal(signal.SIGCONT)
        words = [(await client.reply())[:9] for client in clients]
        assert words.count("421 4.3.2") == 92
        welcome = clients[next(n for n, word in enumerate(words) if word.startswith("220"))]
        await welcome.ask("EHLO x")
        assert (await welcome.mail(b"x\r\n")).startswith("250")
    for _ in range(500):
        async with connect(address) as client:
            if (await client.reply()).startswith("220"):
                break
        await asyncio.sleep(0.01)  # a client that comes again
    else:
        raise AssertionError("no place was given back")
    lines = (await process.communicate(b"\n"))[1].splitlines()
    assert {tuple(line.split()[1:4]) for line in lines} == {(b"WARNING", b"smtp", b"full")}  # and nothing else
    assert process.returncode == 0
