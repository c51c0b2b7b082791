"""What the processes of a service have in common: sums, what is held by a key, what was seen last."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.workers import board, sharing, tables
from tests.until import until

SLOTS = 3


@pytest.fixture
def workers() -> Iterator[list[board.Board]]:
    """The supervisor's look at it, last, and those of its processes."""
    made = board.create(SLOTS)
    found = [board.Board(os.dup(made.fd), slot) for slot in range(SLOTS)]
    yield [*found, made]
    for each in [*found, made]:
        each.close()


def test_each_process_sees_what_all_others_hold(workers: list[board.Board]) -> None:
    a, b, c, supervisor = (each.sum("smtp.in_flight") for each in workers)
    a.hold(5)
    b.hold(7)
    assert (a.others(), b.others(), c.others(), supervisor.others()) == (7, 5, 12, 12)


def test_a_sum_is_of_its_name_only(workers: list[board.Board]) -> None:
    workers[0].sum("smtp.in_flight").hold(5)
    assert workers[1].sum("smtp.connections").others() == 0


def test_what_was_put_last_counts_whoever_put_it(workers: list[board.Board]) -> None:
    a, b, c, _ = (each.latest("smtp.failures") for each in workers)
    a.put("key", 1.0, 10.0)
    b.put("key", 2.0, 9.0)  # its clock may be behind
    assert a.get("key") == b.get("key") == c.get("key") == (2.0, 9.0)
    a.put("key", 0.0, 11.0)
    assert c.get("key") == (0.0, 11.0)
    assert c.get("another") is None


def test_the_keys_of_a_place_never_mix(workers: list[board.Board]) -> None:
    """Far more keys than there are places: what is found is the key's own, or nothing."""
    a, b, _, _ = (each.latest("smtp.budget") for each in workers)
    for n in range(100):
        (a, b)[n % 2].put(f"key {n}", float(n), float(n))
        assert b.get(f"key {n}") == (n, n)
    found = {n: a.get(f"key {n}") for n in range(100)}
    assert {n for n, told in found.items() if told} == set(range(92, 100))  # four of each, those written last
    assert all(told == (n, n) for n, told in found.items() if told)


def test_held_beyond_the_places_is_only_unseen(workers: list[board.Board]) -> None:
    a, b = workers[0].held("smtp.trying"), workers[1].held("smtp.trying")
    keys = [f"key {n}" for n in range(5 * 256 * tables.WAYS)]
    for key in keys:
        a.hold(key, 1)
    seen = sum(b.others(key) for key in keys)
    assert 0.9 * 256 * tables.WAYS < seen <= 256 * tables.WAYS
    for key in keys:
        a.hold(key, 0)
    assert not any(b.others(key) for key in keys)


def test_a_process_that_died_holds_nothing_and_what_it_saw_stays(workers: list[board.Board]) -> None:
    a, b, _, supervisor = workers
    for each in (a, b):
        each.sum("smtp.connections").hold(3)
        each.held("smtp.addresses").hold("192.0.2.1", 2)
    a.latest("smtp.failures").put("login", 9.0, 1.0)
    supervisor.clear(0)
    assert supervisor.sum("smtp.connections").others() == 3
    assert supervisor.held("smtp.addresses").others("192.0.2.1") == 2
    assert b.latest("smtp.failures").get("login") == (9.0, 1.0)


def test_an_answer_is_expected_until_it_is_known(workers: list[board.Board]) -> None:
    a, b, _, _ = (each.answers() for each in workers)
    assert a.find("key", 0.0) is None
    a.expect("key", 900.0)
    assert a.find("key", 0.0) == b.find("key", 900.0) == sharing.Answer(0)
    assert b.find("key", 900.1) is None
    b.settle("key", sharing.Answer(550, "not its own"))
    assert b.find("key", 0.0) == sharing.Answer(0)
    b.expect("key", 900.0)
    a.settle("key", sharing.Answer(250, "2.0.0 Ok: é\nand more"))
    assert b.find("key", 0.0) == sharing.Answer(250, "2.0.0 Ok: é\nand more")
    a.drop("key")
    assert b.find("key", 0.0) == sharing.Answer(0)
    b.drop("key")
    assert b.find("key", 0.0) is None


def test_a_message_is_under_way_until_it_is_over(workers: list[board.Board]) -> None:
    a, b, _, supervisor = (each.answers() for each in workers)
    first, at = a.begin("key", 1.0, 900.0)
    second, other = b.begin("key", 2.0, 900.0)
    assert (first, second) == (False, True)
    assert b.find("key", 2.0, 2.0) == (sharing.UNDER_WAY, "")
    assert a.find("key", 2.0, 1.0) is None  # it began before the other one
    b.over(other, 0, 30.0)
    a.over(at, 250, 30.0)
    assert b.find("key", 30.0, 3.0) == supervisor.find("key", 30.0) == (-250, "")
    assert b.find("key", 30.1, 30.1) is None
    a.over(at, 550, 60.0)  # it was over
    assert b.find("key", 30.0, 3.0) == (-250, "")


def test_what_its_client_left_counts_before_what_is_over(workers: list[board.Board]) -> None:
    a, b, _, _ = (each.answers() for each in workers)
    _, at = a.begin("key", 1.0, 900.0)
    a.expect("key", 900.0)
    a.over(at, 250, 30.0)
    assert b.begin("key", 2.0, 900.0)[0]
    assert b.find("key", 2.0, 2.0) == (0, "")
    a.settle("key", sharing.Answer(250, "Ok"))
    assert b.find("key", 2.0, 2.0) == (250, "Ok")
    workers[-1].clear(1)
    assert workers[-1].answers().find("key", 2.0) == (250, "Ok")


def test_of_two_that_began_at_one_time_one_is_the_first(workers: list[board.Board]) -> None:
    a, b, _, _ = (each.answers() for each in workers)
    for each in (b, a):
        each.begin("key", 1.0, 900.0)
    assert a.find("key", 1.0, 1.0) is None
    assert b.find("key", 1.0, 1.0) == (sharing.UNDER_WAY, "")


def test_what_was_under_way_in_a_process_that_died_is_so_no_more(workers: list[board.Board]) -> None:
    a, b, _, supervisor = (each.answers() for each in workers)
    a.begin("key", 1.0, 900.0)
    workers[-1].clear(0)
    assert supervisor.find("key", 1.0) is None
    assert not b.begin("key", 2.0, 900.0)[0]


async def test_who_is_asked_has_looked_some_turns_later(workers: list[board.Board]) -> None:
    a, b, c, _ = (each.answers() for each in workers)
    for each in (a, b):
        each.begin("key", 1.0, 900.0)
    looked = c.ask("key", 2.0, 2.0)
    assert not looked()
    a.listen()
    for _ in range(2 * sharing.TURNS):
        await asyncio.sleep(0)
    assert not looked()  # one of them has not
    b.listen()
    await until(looked)
    again = c.ask("key", 2.0, 2.0)
    assert not again()
    await until(again)
    assert c.ask("another", 2.0, 2.0)()  # there is nobody to ask
    for each in (a, b):
        asyncio.get_running_loop().remove_reader(each.bell)


async def test_the_bell_rings_once_for_each_time_that_it_is_heard(workers: list[board.Board]) -> None:
    a, b, c, _ = workers
    a.ring()  # nobody listens
    heard: list[int] = []
    c.listen(lambda: heard.append(len(heard)))
    assert heard == [0]  # of what was before
    for _ in range(100):
        a.ring()
        b.ring()
    await until(lambda: len(heard) == 2)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(heard) == 2
    b.ring()
    await until(lambda: len(heard) == 3)
    asyncio.get_running_loop().remove_reader(c.bell)


def test_a_long_answer_is_cut(workers: list[board.Board]) -> None:
    a, b, _, _ = (each.answers() for each in workers)
    a.expect("key", 1.0)
    a.settle("key", sharing.Answer(250, "é" * 1000))
    found = b.find("key", 0.0)
    assert found is not None
    assert found.text == "é" * 511


def test_answers_of_a_process_that_died_stay_where_they_were_known(workers: list[board.Board]) -> None:
    a, b, _, supervisor = (each.answers() for each in workers)
    a.expect("known", 1.0)
    a.settle("known", sharing.Answer(250, "Ok"))
    a.expect("unknown", 1.0)
    b.expect("other", 1.0)
    workers[-1].clear(0)
    assert [supervisor.find(key, 0.0) for key in ("known", "unknown", "other")] == [(250, "Ok"), None, (0, "")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(steps=st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 7), st.sampled_from("esd"))))
def test_answers_are_what_a_model_says(workers: list[board.Board], steps: list[tuple[int, int, str]]) -> None:
    answers = [each.answers() for each in workers]
    for each in answers[:SLOTS]:
        for key in range(8):
            each.drop(str(key))
    model: dict[tuple[int, int], sharing.Answer] = {}
    for slot, key, step in steps:
        match step:
            case "e":
                answers[slot].expect(str(key), 10.0)
                model[slot, key] = sharing.Answer(0)
            case "s":
                answer = sharing.Answer(250 + key, f"said by {slot}")
                answers[slot].settle(str(key), answer)
                if (slot, key) in model:
                    model[slot, key] = answer
            case "d":
                answers[slot].drop(str(key))
                model.pop((slot, key), None)
    for key in range(8):
        found = [model[slot, key] for slot in range(SLOTS) if (slot, key) in model]
        known = [answer for answer in found if answer.code]
        shown = answers[-1].find(str(key), 0.0)
        assert shown in (known or found) if found else shown is None


def test_answers_beyond_the_places_are_forgotten_oldest_first(workers: list[board.Board]) -> None:
    a, b, _, _ = (each.answers() for each in workers)
    for n in range(20_000):
        a.expect(str(n), 100.0 + n)
        a.settle(str(n), sharing.Answer(250, str(n)))
    found = [n for n in range(20_000) if b.find(str(n), 0.0)]
    assert all(b.find(str(n), 0.0) == sharing.Answer(250, str(n)) for n in found)
    assert 4000 < len(found) < 7000
    assert sum(found) / len(found) > 15_000  # of each place the oldest goes


KEYS = st.sampled_from(["192.0.2.1", "2001:db8::/64", "é", "\udcff", "", "a" * 400])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, SLOTS - 1), KEYS),
        st.tuples(st.just("release"), st.integers(0, SLOTS - 1), KEYS),
        st.tuples(st.just("die"), st.integers(0, SLOTS - 1), KEYS),
        st.tuples(st.just("put"), st.integers(0, SLOTS - 1), KEYS),
    ),
    max_size=60,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
def test_the_sum_is_what_a_model_says(workers: list[board.Board], steps: list[tuple[str, int, str]]) -> None:
    supervisor = workers[-1]
    for slot in range(SLOTS):
        supervisor.clear(slot)
    held = [each.held("smtp.addresses") for each in workers]
    sums = [each.sum("smtp.connections") for each in workers]
    latest = [each.latest("smtp.rates") for each in workers]
    model: list[Counter[str]] = [Counter() for _ in range(SLOTS)]
    last: dict[str, tuple[float, float]] = {}
    for n, (step, slot, key) in enumerate(steps):
        match step:
            case "take":
                model[slot][key] += 1
            case "release" if model[slot][key]:
                model[slot][key] -= 1
            case "die":
                model[slot].clear()
                supervisor.clear(slot)
            case "put":
                latest[slot].put(key, float(n), float(-n))
                last[key] = (n, -n)
        held[slot].hold(key, model[slot][key])
        sums[slot].hold(model[slot].total())
    for slot in range(SLOTS):
        others = [model[n] for n in range(SLOTS) if n != slot]
        assert sums[slot].others() == sum(each.total() for each in others)
        for key in {key for _, _, key in steps}:
            assert held[slot].others(key) == sum(each[key] for each in others)
            if key in last:
                assert latest[slot].get(key) == last[key]


def test_other_processes_map_the_same_memory(workers: list[board.Board]) -> None:
    child = (
        "import sys; from relay.workers import board; mine = board.Board(int(sys.argv[1]), 1)\n"
        "mine.sum('smtp.connections').hold(3); mine.held('smtp.addresses').hold('192.0.2.1', 2)\n"
        "mine.latest('smtp.failures').put('login', 4.0, 5.0)\n"
        "print(mine.sum('smtp.connections').others(), mine.held('smtp.addresses').others('192.0.2.1'))\n"
    )
    here = workers[0]
    here.sum("smtp.connections").hold(1)
    here.held("smtp.addresses").hold("192.0.2.1", 1)
    done = subprocess.run(
        [sys.executable, "-c", child, str(here.fd)], pass_fds=[here.fd], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1"]
    assert here.sum("smtp.connections").others() == 3
    assert here.held("smtp.addresses").others("192.0.2.1") == 2
    assert here.latest("smtp.failures").get("login") == (4.0, 5.0)


def test_two_processes_that_write_at_once_never_mix_keys() -> None:
    with_two = board.create(2)
    child = (
        "import sys; from relay.workers import board\n"
        "told = board.Board(int(sys.argv[1]), int(sys.argv[2])).latest('smtp.budget')\n"
        "for n in range(20_000):\n"
        "    told.put(f'key {n % 4}', float(n), float(n))\n"
        "    found = told.get(f'key {n * 7 % 4}')\n"
        "    assert found is None or found.value % 4 == n * 7 % 4, (n, found)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", child, str(with_two.fd), str(slot)], pass_fds=[with_two.fd])
        for slot in range(2)
    ]
    assert [each.wait(60) for each in running] == [0, 0]
    with_two.close()


@pytest.mark.parametrize("slots", [0, -1, board.MAX_SLOTS + 1])
def test_there_is_a_bound_to_slots(slots: int) -> None:
    with pytest.raises(ValueError, match="slots"):
        board.create(slots)


def test_what_is_no_board_is_refused() -> None:
    fd = os.memfd_create("other")
    os.ftruncate(fd, 8192)
    with pytest.raises(ValueError, match="no memory"):
        board.Board(fd, 0)
    os.close(fd)


def test_a_slot_that_is_not_there_is_refused() -> None:
    made = board.create(2)
    with pytest.raises(ValueError, match="slot 2"):
        board.Board(os.dup(made.fd), 2)
    made.close()


def test_nobody_can_take_the_memory_away_below_the_others() -> None:
    made = board.create(2)
    with pytest.raises(PermissionError):
        os.ftruncate(made.fd, 0)
    made.close()


def test_a_process_alone_has_no_others() -> None:
    alone = sharing.ALONE
    total, held, latest = alone.sum("smtp.connections"), alone.held("smtp.addresses"), alone.latest("smtp.rates")
    total.hold(3)
    held.hold("key", 3)
    assert (total.others(), held.others("key")) == (0, 0)
    latest.put("key", 1.0, 2.0)
    assert latest.get("key") == (1.0, 2.0)
    assert alone.latest("smtp.rates").get("key") is None  # of another listener


def test_a_process_alone_forgets_what_was_written_longest_ago() -> None:
    own = sharing.Own(2)
    for n, key in enumerate(["a", "b", "a", "c"]):
        own.put(key, float(n), 0.0)
    assert (own.get("a"), own.get("b"), own.get("c")) == ((2.0, 0.0), None, (3.0, 0.0))
