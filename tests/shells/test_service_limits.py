"""What protects holds for the service: whichever of its processes a client comes to."""

import asyncio
import ipaddress
import os
from collections.abc import Iterator, Sequence

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core.model import Done, Never, Outcome, Reply
from relay.smtp import auth, limits, throttle
from relay.workers import board
from tracking_http.listener import Listener

HERE = ipaddress.ip_address("192.0.2.1")


@pytest.fixture
def workers() -> Iterator[list[board.Board]]:
    made = board.create(3)
    found = [board.Board(os.dup(made.fd), slot) for slot in range(3)]
    yield found
    for each in [*found, made]:
        each.close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["192.0.2.1", "192.0.2.2", "127.0.0.1"]),
            st.booleans(),
        ),
        max_size=80,
    )
)
def test_as_many_places_as_one_process_has(workers: list[board.Board], steps: Sequence[tuple[int, str, bool]]) -> None:
    for slot in range(3):
        workers[0].clear(slot)
    one: limits.Places[int] = limits.Places(12, each=2)
    all_: list[limits.Places[int]] = [limits.Places(12, each=2, service=each) for each in workers]
    here: dict[int, int] = {}
    for n, (worker, address, leaves) in enumerate(steps):
        if leaves and here:
            holder, its = here.popitem()
            assert one.leave(holder) is all_[its].leave(holder) is True
        loopback = address == "127.0.0.1"
        said = one.take(n, address, loopback=loopback)
        assert all_[worker].take(n, address, loopback=loopback) == said
        if said is None:
            here[n] = worker


def test_who_is_named_by_a_proxy_moves_for_all(workers: list[board.Board]) -> None:
    a, b, _ = [limits.Places[str](100, each=1, service=each) for each in workers]
    assert a.take("proxy", "192.0.2.1", loopback=False) is None
    assert b.take("client", "192.0.2.7", loopback=False) is None
    assert str(a.move("proxy", "192.0.2.7", loopback=False)).startswith("4.7.0")
    assert a.move("proxy", "192.0.2.8", loopback=False) is None
    assert b.take("next", "192.0.2.1", loopback=False) is None
    assert str(b.take("one more", "192.0.2.8", loopback=False)).startswith("4.7.0")


def test_the_places_of_a_process_that_died_are_free_again(workers: list[board.Board]) -> None:
    a, b, _ = [limits.Places[int](8, each=2, service=each) for each in workers]
    assert [a.take(n, "192.0.2.1", loopback=False) for n in range(2)] == [None, None]
    assert b.take(2, "192.0.2.1", loopback=False) is not None
    workers[1].clear(0)
    assert b.take(2, "192.0.2.1", loopback=False) is None


def test_octets_in_flight_are_of_all(workers: list[board.Board]) -> None:
    a, b, _ = [limits.Flight(1000, each) for each in workers]
    a.add(600)
    assert b.room(400)
    assert not b.room(401)
    b.add(400)
    assert not a.room(1)
    a.add(-600)
    assert b.room(600)
    assert a.used == 0


def test_a_bucket_is_one_for_all(workers: list[board.Board]) -> None:
    one = limits.Rates(6)
    all_ = [limits.Rates(6, each) for each in workers]
    for n in range(200):
        client, now = "ab"[n % 2], 100.0 + n * n % 17 / 4 + n
        assert all_[n % 3].take(client, now) == one.take(client, now), n


def test_wrong_passwords_count_wherever_they_are_tried(workers: list[board.Board]) -> None:
    clock = Clock()
    one, all_ = throttle.Throttle(clock), [throttle.Throttle(clock, service=each) for each in workers]
    for n in range(throttle.HERE.pair):
        assert not any(each.locked(HERE, "jane") for each in all_)
        assert all_[n % 3].failed(HERE, "jane") == one.failed(HERE, "jane")
    assert all(each.locked(HERE, "jane") for each in all_)
    assert not any(each.locked(HERE, "joe") for each in all_)
    workers[0].clear(1)  # it died, and its successor knows what it knew
    assert all_[0].locked(HERE, "jane")
    clock.now += throttle.MEMORY
    assert not any(each.locked(HERE, "jane") for each in all_)
    assert all_[2].failed(HERE, "jane") == throttle.HERE.first_pause  # from the beginning


def test_a_good_login_clears_its_failures_and_makes_a_friend_everywhere(workers: list[board.Board]) -> None:
    a, b, _ = [throttle.Throttle(Clock(), service=each) for each in workers]
    for _ in range(throttle.HERE.pair):
        a.failed(HERE, "jane")
    b.passed(HERE, "jane")
    assert not a.locked(HERE, "jane")
    for n in range(throttle.HERE.address):
        b.failed(HERE, f"user{n}")
    assert a.locked(HERE, "joe")
    assert not a.locked(HERE, "jane")


def test_what_others_try_counts_as_failed(workers: list[board.Board]) -> None:
    a, b, _ = [throttle.Throttle(Clock(), throttle.Guesses(1, 9, 9), each) for each in workers]
    with a.trying(HERE, "jane"):
        assert b.full(HERE, "jane")
        assert not b.locked(HERE, "jane")
    assert not b.full(HERE, "jane")


def test_the_budget_is_one_for_all(workers: list[board.Board]) -> None:
    clock = Clock()
    one, all_ = throttle.Budget(clock, 3), [throttle.Budget(clock, 3, each) for each in workers]
    for n in range(40):
        clock.now += n * 37 % 500
        if n % 3 and not one.spent:
            one.failed()
            all_[n % 2].failed()
        assert [each.spent for each in all_] == [one.spent] * 3
        assert [each.full for each in all_] == [one.full] * 3
    clock.now += 7200
    with all_[0].trying(), all_[1].trying(), all_[2].trying():
        assert all_[0].full
        assert not all_[0].spent


def test_a_password_that_was_good_is_known_everywhere(workers: list[board.Board]) -> None:
    a, b, _ = [throttle.Known(Clock(), each) for each in workers]
    a.add("jane", "right")
    assert b.has("jane", "right")
    assert not b.has("jane", "wrong")
    assert not b.has("joe", "right")
    b.remove("jane")
    assert not a.has("jane", "right")


async def test_guesses_at_all_processes_at_once_are_no_more_than_in_turn(workers: list[board.Board]) -> None:
    """Each asks the upstream, which takes its time: what the others try counts until it is known."""
    asked: list[str] = []

    async def wrong(login: str, password: str) -> Outcome:
        asked.append(password)
        await asyncio.sleep(0)
        return Never(Reply(535, "5.7.8 No"))

    allowed = throttle.Guesses(3, 9, 9, first_pause=0.0, longest_pause=0.0)
    all_ = [auth.Authenticator(None, wrong, allowed, service=each) for each in workers]
    tries = [all_[n % 3].admit("jane", f"guess {n}", HERE) for n in range(12)]
    said = await asyncio.gather(*tries)
    assert len(asked) == 3
    assert sorted(str(reply) for reply in said if reply) == sorted([str(auth.BAD)] * 3 + [str(auth.LOCKED)] * 9)


async def test_who_waits_for_another_process_goes_on_once_that_has_tried(workers: list[board.Board]) -> None:
    go, begun = asyncio.Event(), asyncio.Event()

    async def right(login: str, password: str) -> Outcome:
        begun.set()
        await go.wait()
        return Done(Reply(235, "2.7.0 Yes"))

    allowed = throttle.Guesses(1, 9, 9)
    a, b, _ = [auth.Authenticator(None, right, allowed, service=each) for each in workers]
    first = asyncio.create_task(a.admit("jane", "secret", HERE))
    await begun.wait()
    second = asyncio.create_task(b.admit("jane", "secret", HERE))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done()
    go.set()
    assert [await first, await second] == [None, None]


async def test_connections_of_a_client_to_the_tracking_server(workers: list[board.Board]) -> None:
    a, b, c = [Listener(web.Application(), most=8, service=each) for each in workers]
    peer, other = ("192.0.2.1", 1234), ("192.0.2.2", 1234)
    assert (a.admitted(peer), b.admitted(peer)) == ("192.0.2.1", "192.0.2.1")
    assert c.admitted(peer) is None
    assert [each.admitted((f"192.0.2.{n}", 1)) is None for n, each in enumerate([a, b, c, a, b, c], 10)] == [False] * 6
    assert c.admitted(other) is None  # eight in all
    a.left("192.0.2.1")
    assert c.admitted(peer) == "192.0.2.1"
