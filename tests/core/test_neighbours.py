"""Hits correct each other: gateways are found, people are left alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import network_list
from relay.core import crowds, neighbours, traces
from tests.core import hit_traces

NETWORKS = network_list.load()
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CURL = "curl/8.5.0"


def judged(hits: list[hit_traces.Labelled]) -> list[traces.Judged]:
    return traces.judge([traces.read(line) for line in hit_traces.lines(hits)], NETWORKS.of)


def wrong(kind: Callable[[hit_traces.Scene], None], number: int) -> tuple[int, int, int, int]:
    """People, those of them taken for machines; machines, those taken for people."""
    people = mistaken = machines = missed = 0
    for hits in hit_traces.scenes(kind, number):
        for (_, machine), one in zip(hits, judged(hits), strict=True):
            taken = one.verdict not in neighbours.PEOPLE
            people, mistaken = people + (not machine), mistaken + (not machine and taken)
            machines, missed = machines + machine, missed + (machine and not taken)
    return people, mistaken, machines, missed


def test_the_table_of_confusion() -> None:
    """See docs/verdicts.md, which has it by kind: `python -m bench verdicts`."""
    kinds = [*hit_traces.MACHINES, *hit_traces.PEOPLE]
    people, mistaken, machines, missed = (
        sum(column) for column in zip(*(wrong(kind, 60) for kind in kinds), strict=True)
    )
    assert mistaken <= 0.005 * people
    assert missed <= 0.03 * machines


def test_one_address_over_many_recipients() -> None:
    for hits in hit_traces.many_recipients(5):
        taken = [one.verdict == "scanner" for one in judged(hits)]
        assert sum(taken) >= 0.9 * len(taken)


def test_an_office_that_opens_its_mail_is_no_crowd() -> None:
    taken = [one.verdict for hits in hit_traces.office(10) for one in judged(hits)]
    assert taken.count("human") >= 0.995 * len(taken)


def scene(*hits: tuple[float, str, int, str, str], links: int = 5) -> list[traces.Judged]:
    """(after, kind, link, ip, agent)"""
    lines = [
        traces.Line(kind, 1000.0 + after, "m", "a@example.com", link, links, 900.0, "GET", ip, agent)  # type: ignore[arg-type]
        for after, kind, link, ip, agent in hits
    ]
    return traces.judge(lines, NETWORKS.of)


def verdicts(found: list[traces.Judged]) -> list[tuple[str, str]]:
    return [(one.verdict, one.reason) for one in found]


HERE, THERE = "203.0.113.5", "198.51.100.7"


def test_earlier_hits_are_corrected_and_say_what_they_were() -> None:
    found = scene(*((n / 5, "click", n, HERE, FIREFOX) for n in range(5)))
    assert verdicts(found) == [("scanner", "burst")] * 5
    assert {one.first_verdict for one in found} == {"human"}


def test_who_had_loaded_the_picture_opens_tabs_in_a_row() -> None:
    found = scene((0, "open", 0, HERE, FIREFOX), *((9 + n * 0.6, "click", n, HERE, FIREFOX) for n in range(5)))
    assert {one.verdict for one in found} == {"human"}


def test_the_picture_among_the_links_makes_no_person() -> None:
    found = scene((0, "open", 0, HERE, FIREFOX), *((0.1 + n / 5, "click", n, HERE, FIREFOX) for n in range(4)))
    assert {one.verdict for one in found} == {"scanner"}


def test_a_person_stays_one_beside_a_gateway() -> None:
    gateway = [(n / 5, "click", n, THERE, FIREFOX) for n in range(5)]
    found = scene(*gateway, (500, "open", 0, HERE, FIREFOX), (520, "click", 1, HERE, FIREFOX))
    assert [one.verdict for one in found] == ["scanner"] * 5 + ["human"] * 2


def test_a_click_minutes_after_a_row_is_no_part_of_it() -> None:
    """Neither where many addresses made the row, nor where the person has the address of the machine."""
    row = [(n * 2, "click", n, f"198.51.100.{n}", FIREFOX) for n in range(5)]
    assert scene(*row, (200, "click", 1, HERE, FIREFOX))[-1].verdict == "human"
    row = [(n * 2, "click", n, HERE, FIREFOX) for n in range(5)]
    assert scene(*row, (200, "click", 1, HERE, FIREFOX.replace("140", "141")))[-1].verdict == "human"


def test_what_a_machine_does_again_is_a_machines() -> None:
    found = scene(*((n / 5, "click", n % 3, HERE, FIREFOX) for n in range(9)))
    assert {one.verdict for one in found} == {"scanner"}
    assert found[-1].reason == "beside_machine"


def test_what_was_fetched_ahead_makes_no_row() -> None:
    ahead = {"Sec-Purpose": "prefetch"}
    hits = [(n / 5, n, ahead if n < 3 else {}) for n in range(4)]
    lines = [
        traces.Line("click", 1000.0 + at, "m", "a@example.com", link, 5, 900.0, "GET", HERE, FIREFOX, said)
        for at, link, said in hits
    ]
    assert [one.verdict for one in traces.judge(lines, NETWORKS.of)] == ["prefetch"] * 3 + ["human"]


def test_both_links_at_once_are_no_hands_even_of_who_has_read() -> None:
    for apart, links, verdict in ((0.05, 2, "scanner"), (0.3, 2, "human"), (0.05, 5, "human")):
        clicks = (9.0, "click", 0, HERE, FIREFOX), (9 + apart, "click", 1, HERE, FIREFOX)
        found = scene((0, "open", 0, HERE, FIREFOX), *clicks, links=links)
        assert [one.verdict for one in found[1:]] == [verdict] * 2


def test_the_picture_that_goes_with_links_followed_from_many_addresses() -> None:
    row = [(0.2 + n * 0.5, "click", n, f"198.51.100.{n}", FIREFOX) for n in range(4)]
    found = scene((0, "open", 0, HERE, FIREFOX), *row, (300, "open", 0, THERE, FIREFOX))
    assert [one.verdict for one in found] == ["scanner"] * 5 + ["human"]


def test_the_canary_tells_of_what_was_done_around_it() -> None:
    found = scene((0, "click", 1, HERE, FIREFOX), (30, "canary", 0, HERE, FIREFOX), (900, "click", 1, HERE, FIREFOX))
    assert verdicts(found) == [("scanner", "around_canary"), ("scanner", "canary"), ("human", "browser")]
    assert found[1].first_verdict == "human"


def test_a_machine_by_its_name_keeps_its_reason() -> None:
    found = scene(*((n / 5, "click", n, HERE, CURL) for n in range(5)))
    assert verdicts(found) == [("crawler", "crawler_agent")] * 5


def test_nobody_is_not_somebody() -> None:
    """Hits without address and agent have nothing in common."""
    found = scene((0, "open", 0, "", ""), (5, "click", 0, "", ""), (70, "click", 1, "", ""))
    assert {one.verdict for one in found} == {"unknown"}


def test_a_row_of_nobody_known_is_a_row() -> None:
    assert verdicts(scene(*((n / 5, "click", n, "", "") for n in range(5)))) == [("scanner", "burst")] * 5


def test_hashes_of_an_address() -> None:
    key = b"k" * 32
    one = neighbours.identity(key, "2001:db8:0:1::5", "x")
    assert one == neighbours.identity(key, "2001:DB8::1:0:0:0:7", "x")
    assert one.where != neighbours.identity(key, "2001:db8:0:2::5", "x").where
    assert one.where == neighbours.identity(key, "2001:db8:0:1::5", "y").where != 0
    assert one != neighbours.identity(b"l" * 32, "2001:db8:0:1::5", "x")
    assert neighbours.identity(key, "", "") == (0, 0)


@given(
    st.lists(
        st.tuples(st.floats(0, 2000), st.sampled_from(["open", "click", "canary"]), st.integers(0, 40), st.sampled_from([HERE, THERE, ""])),
        max_size=120,
    )
)  # fmt: skip
def test_what_is_remembered_is_little(hits: list[tuple[float, str, int, str]]) -> None:
    marks: list[neighbours.Mark] = []
    crowd = crowds.Crowd()
    changed: set[str] = set()
    for number, (at, kind, link, ip) in enumerate(sorted(hits)):
        who = neighbours.identity(b"", ip, FIREFOX)
        mark = neighbours.Mark([str(number)], at, kind, link, who.who, who.where, "human")  # type: ignore[arg-type]
        for change in crowds.judge(marks, crowd, mark, neighbours.Copy(41, 0.0), "copy"):
            assert (change.verdict, change.reason in neighbours.REASONS) == ("scanner", True)
            assert not changed & set(change.ids)  # nothing is said twice
            changed |= set(change.ids)
        assert len(marks) <= neighbours.CLICKS + neighbours.OPENS + neighbours.CANARIES
        assert [m.at for m in marks] == sorted(m.at for m in marks)
        assert all(len(m.ids) <= neighbours.IDS for m in marks)


MARKS = st.tuples(
    st.floats(0, 100), st.sampled_from(["open", "click", "canary"]), st.integers(0, 3), st.integers(0, 2),
    st.sampled_from(["human", "proxy", "scanner"]), st.sampled_from(["GET", "GET", "HEAD"]),
)  # fmt: skip


@given(st.lists(MARKS, min_size=1, max_size=8), st.integers(0, 4))
def test_where_no_rule_is_asked_none_finds_anything(hits: list[Any], links: int) -> None:
    marks = [
        neighbours.Mark([str(number)], at, kind, link, who, who, verdict, method)
        for number, (at, kind, link, who, verdict, method) in enumerate(sorted(hits))
    ]
    if neighbours.innocent(marks, marks[-1]):
        suspects = (
            neighbours.company(marks)
            if marks[-1].kind == "open"
            else neighbours.found(marks, neighbours.Copy(links, 0.0))
        )
        assert list(suspects) == []


def crowding(crowd: crowds.Crowd, number: int, at: float = 0.0, who: int = 1) -> list[str]:
    """The hits that this one, of another recipient's copy, shows to be a crowd's."""
    mark = neighbours.Mark([str(number)], at, "click", 0, who, 7, "human")
    return [one for change in crowd.follow(mark, f"m{number} 0", was_read=False) for one in change.ids]


def test_each_hit_of_a_crowd_is_said_once() -> None:
    crowd = crowds.Crowd()
    assert [crowding(crowd, n, n / 10) for n in range(6)] == [[], [], [], ["0", "1", "2", "3"], ["4"], ["5"]]
    assert crowding(crowd, 7, 100.0) == []  # long after


def test_what_was_said_in_a_transaction_that_failed_is_said_again() -> None:
    crowd = crowds.Crowd()
    for number in range(3):
        crowding(crowd, number)
    assert crowding(crowd, 3) == crowding(crowd, 3) == ["0", "1", "2", "3"]
    assert crowding(crowd, 4) == ["4"]


def test_several_programs_at_one_address_are_a_crowd_when_there_are_more() -> None:
    crowd = crowds.Crowd()
    found = [crowding(crowd, n, who=n) for n in range(crowds.CROWD_OTHERS + 1)]
    assert found == [[]] * 5 + [[str(n) for n in range(6)], ["6"]]


def test_a_crowd_is_remembered_for_so_many_hits() -> None:
    crowd = crowds.Crowd()
    many = 10 * crowds.CROWD_HITS
    assert sum(len(crowding(crowd, n)) for n in range(many)) == many
    same = [neighbours.Mark([f"s{n}"], 0.0, "click", 0, 2, 8, "human") for n in range(many)]
    assert [crowd.follow(mark, "one copy", was_read=False) for mark in same] == [[]] * many


# -- lines of JSON -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"open","at":1000}',
        b'{"kind":"click","at":1000.5,"link":null,"links":null,"headers":null,"ip":null,"user_agent":null,"sent_at":null}',
        b'{"kind":"click","at":"2026-01-02T03:04:05Z","link":"https://example.com/","links":["a","b"],"headers":[["Via","x"]]}',
        b'{"kind":"canary","at":"2026-01-02T03:04:05+02:00","more":{"is":"ignored"}}',
    ],
)
def test_a_line_that_can_be_read(line: bytes) -> None:
    assert len(traces.judge([traces.read(line)], NETWORKS.of)) == 1


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"at":1}', b'{"kind":"look","at":1}', b'{"kind":"open","at":"soon"}']
)
def test_a_line_that_can_not(line: bytes) -> None:
    with pytest.raises(traces.Unreadable, match=r"\w"):
        traces.read(line)


def test_links_may_be_named_by_their_url() -> None:
    lines = [
        traces.Line("click", 1000 + n / 5, link=url, ip=HERE, user_agent=FIREFOX, links=4, sent_at=900)
        for n, url in enumerate("abcd")
    ]
    assert {one.verdict for one in traces.judge(lines, NETWORKS.of)} == {"scanner"}


def test_copies_are_apart() -> None:
    pairs: Any = itertools.product("mn", "ab")
    lines = [
        traces.Line("click", 1000 + n * 7, message, recipient, n, 5, 900, ip=f"203.0.113.{n}", user_agent=FIREFOX)
        for n, (message, recipient) in enumerate(pairs)
    ]
    assert {one.verdict for one in traces.judge(lines, NETWORKS.of)} == {"human"}


@given(st.randoms(use_true_random=False))
def test_lines_may_be_in_any_order(dice: Any) -> None:
    hits = next(hit_traces.scenes(hit_traces.before_a_person, 1))
    lines = [traces.read(line) for line in hit_traces.lines(hits)]
    right = traces.judge(lines, NETWORKS.of)
    order = [*range(len(lines))]
    dice.shuffle(order)
    assert traces.judge([lines[n] for n in order], NETWORKS.of) == [right[n] for n in order]
