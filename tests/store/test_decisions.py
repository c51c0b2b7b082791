"""What every engine decides alike, without an engine."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import tally
from relay.core.model import Endpoint, Event, SentCopy
from relay.store import UpstreamReply, decisions
from tests.store.contract import T0, click, endpoint, event, sent


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("0100018bcfe5-1234-000000@eu-west-1.amazonses.com", "0100018bcfe5-1234-000000"),
        ("0123456789abcdef@x", "0123456789abcdef"),
        ("0123456789abcde@x", "0123456789abcde@x"),  # too short to be one's own
        ("0100018bcfe5-1234-000000", "0100018bcfe5-1234-000000"),
        ("", ""),
    ],
)
def test_spellings(identifier: str, expected: str) -> None:
    assert decisions.spellings(identifier) == (identifier, expected)


def test_names_are_the_identifiers_that_are_there() -> None:
    copies = (
        SentCopy("a@x", 0, True, upstream_id="u1"),
        SentCopy("b@x", 1, True),
        SentCopy("c@x", 2, True, upstream_id="u1"),
    )
    assert decisions.names(sent(internet_message_id="i@x", copies=copies)) == {"i@x", "u1"}
    assert decisions.names(sent(internet_message_id="", copies=())) == set()


@pytest.mark.parametrize(
    ("indexes", "expected"), [([], set()), ([0], set()), ([0, 1], set()), ([0, 0], {0}), ([0, 1, 1, 2, 1], {1})]
)
def test_shared(indexes: list[int], expected: set[int]) -> None:
    copies = tuple(SentCopy(f"r{n}@x", index, True) for n, index in enumerate(indexes))
    assert decisions.shared(sent(copies=copies)) == expected


def test_the_last_reply_holds_and_an_identifier_stays() -> None:
    found = decisions.last_replies(
        [
            UpstreamReply("m1", ("a@x", "b@x"), "later", "450 wait"),
            UpstreamReply("m1", ("a@x",), "done", "250 ok", "u1"),
            UpstreamReply("m2", ("a@x",), "never", "550 no"),
            UpstreamReply("m1", ("a@x",), "done", "250 ok again"),
        ]
    )
    assert sorted(found) == [
        ("m1", "a@x", "done", "250 ok again", "u1"),
        ("m1", "b@x", "later", "450 wait", ""),
        ("m2", "a@x", "never", "550 no", ""),
    ]


def test_a_batch_is_numbered_in_order_and_a_repeated_event_is_none() -> None:
    live = [endpoint("e1"), endpoint("e2", "message.opened")]
    first, second, opened = click(0), click(1), event(at=T0)
    there = click(5)
    origin = tally.Origin("sales", T0, "", "bob@example.org")
    known = [(False, origin), (False, origin), (False, origin), (True, origin), (False, origin)]
    before = {"m1": tally.Facts(sequence=4, counts={"message.link_clicked": 2}, links={1: 2})}
    done = decisions.append([first, second, first, there, opened], known, before, 10, live, T0)
    assert [e and (e.event_id, e.position, e.sequence, e.ordinal) for e in done.results] == [
        (first.event_id, 11, 5, 2),
        (second.event_id, 12, 6, 3),
        None,
        None,
        (opened.event_id, 13, 7, 0),
    ]
    assert [(e.event_id, counts) for e, counts in zip(done.events, done.link_counts, strict=True)] == [
        (first.event_id, {1: 2, 0: 1}),
        (second.event_id, {1: 3, 0: 1}),
        (opened.event_id, {}),
    ]
    assert [(e.event_id, *to) for e, *to in done.owed] == [
        (first.event_id, "e1", "message.link_clicked", T0, 0.0),
        (second.event_id, "e1", "message.link_clicked", T0 + 1, 0.0),
        (opened.event_id, "e1", "message.opened", T0 + 2, 0.0),
        (opened.event_id, "e2", "message.opened", T0 + 2, 0.0),
    ]
    assert done.facts["m1"].sequence == 7


def test_facts_of_a_message_whose_events_are_all_there_are_not_written() -> None:
    facts = {"m1": tally.Facts(sequence=1)}
    assert decisions.append([click()], [(True, tally.UNKNOWN)], facts, 1, [], T0).facts == {}


@pytest.mark.parametrize(
    ("made", "counts", "links", "expected"),
    [
        (click(1), {1: 2}, 3, (0, 2, 0)),
        (click(4), {0: 1, 4: 1}, 3, (1, 0, 0, 0, 1)),  # a link that the record does not have
        (click(0), {}, 2, (0, 0)),  # it did not count
        (event(), {}, 3, ()),
    ],
)
def test_link_counts(made: Event, counts: dict[int, int], links: int, expected: tuple[int, ...]) -> None:
    message = sent(links=tuple("https://a.example/" for _ in range(links)))
    assert decisions.link_counts(message, made, counts) == expected


CONFIGURED = endpoint("e1", source="config", secret="")
SYNCED: list[tuple[str, list[Endpoint], list[Endpoint], list[tuple[str, str]]]] = [
    ("new", [], [endpoint("e1")], [("e1", "active")]),
    ("unchanged", [CONFIGURED], [endpoint("e1")], []),
    ("left out", [CONFIGURED], [], [("e1", "gone")]),
    ("back", [endpoint("e1", source="config", secret="", status="gone")], [endpoint("e1")], [("e1", "active")]),
    ("shut", [endpoint("e1", source="config", secret="", status="failed")], [endpoint("e1")], []),
    ("shut, changed", [endpoint("e1", source="config", secret="", status="failed")], [endpoint("e1", "x")], [("e1", "active")]),
    ("of the API", [endpoint("a1", source="api")], [], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("known", "configured", "changed"), [row[1:] for row in SYNCED], ids=[row[0] for row in SYNCED]
)
def test_synced(known: list[Endpoint], configured: list[Endpoint], changed: list[tuple[str, str]]) -> None:
    found = decisions.synced(known, configured)
    assert [(e.endpoint_id, e.status) for e in found] == changed
    assert all(e.secret == "" for e in found)


@pytest.mark.parametrize(("under_way", "expected"), [(0, 5), (3, 5), (6, 4), (10, 0), (12, 0)])
def test_room(under_way: int, expected: int) -> None:
    assert decisions.room("e1", {"e1": under_way, "e2": 9}, each=10, limit=5) == expected


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 30))
def test_turns_are_fair(lengths: list[int], limit: int) -> None:
    """Nobody gets a second one before each has had its first."""
    lanes = [[(lane, n) for n in range(length)] for lane, length in enumerate(lengths)]
    found = decisions.turns(lanes, limit)
    assert len(found) == min(limit, sum(lengths))
    taken = Counter(lane for lane, _ in found)
    for lane, length in enumerate(lengths):
        assert [n for other, n in found if other == lane] == list(range(taken[lane]))
        assert all(taken[lane] >= many - 1 for many in taken.values()) or taken[lane] == length
