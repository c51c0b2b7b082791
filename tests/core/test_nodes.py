"""What is wrong among the processes that share a store."""

from typing import Any

import pytest

from relay.core import nodes
from relay.core.model import Endpoint, Keys
from relay.core.nodes import Node, Roll

NOW = 1000.0
KEY, OTHER = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def node(name: str = "one", *roles: str, **changes: Any) -> Node:
    values: dict[str, Any] = {"process": f"p-{name}", "at": NOW - 5, "keys": {"0": KEY}}
    return Node(name, roles or ("smtp", "http"), **(values | changes))


ONE, SIGNS = node(), node(signs=0)
GONE = {"at": NOW - 61}
CASES: list[tuple[str, list[Node], list[str]]] = [
    ("nobody", [], []),
    ("one alone", [SIGNS], []),
    ("one alone with two keys", [node(keys={"0": KEY, "1": OTHER}, signs=1)], []),
    ("two alike", [SIGNS, node("two", signs=0)], []),
    # gone
    ("gone without mail", [ONE, node("two", **GONE)], []),
    ("gone, and mail may have come since", [ONE, node("two", "queue", **GONE)], ["gone two (queue)"]),
    ("stopped without mail", [ONE, node("two", "queue", stopped=True, **GONE)], []),
    ("gone with mail", [ONE, node("two", queue=3, oldest=NOW - 400, **GONE)], ["gone two (smtp, http)"]),
    ("silent for a minute", [node("two", queue=3, at=NOW - 60)], []),
    ("stopped for a moment, with mail", [node("two", queue=3, stopped=True, at=NOW - 30)], []),
    ("stopped with mail", [node("two", queue=1, stopped=True, **GONE)], ["gone two (smtp, http)"]),
    ("mail, and alive", [node("two", queue=30_000, oldest=1.0)], []),
    ("from a clock ahead", [node("two", queue=3, at=NOW + 500)], []),
    ("back in other roles, with the spool that it had", [node("two", "smtp", "queue", queue=3, **GONE),
     node("two", "queue")], []),
    ("back without the queue", [node("two", "smtp", "queue", queue=3, **GONE), node("two", "smtp")],
     ["gone two (smtp, queue)"]),
    # keys
    ("lacks the key", [SIGNS, node("two", keys={"1": KEY})], ["keys one 0 two"]),
    ("has another of its number", [SIGNS, node("two", keys={"0": OTHER})], ["keys one 0 two"]),
    ("both sign, with keys of their own", [SIGNS, node("two", keys={"0": OTHER}, signs=0)],
     ["keys one 0 two", "keys two 0 one"]),
    ("has more keys", [SIGNS, node("two", keys={"0": KEY, "1": OTHER})], []),
    ("has more, and signs with one", [SIGNS, node("two", keys={"0": KEY, "1": OTHER}, signs=1)], ["keys two 1 one"]),
    ("has no keys by its role", [SIGNS, node("two", "webhooks", keys={})], []),
    ("nobody signs", [ONE, node("two", keys={"0": OTHER})], []),
    ("gone, and lacks the key", [SIGNS, node("two", keys={"1": KEY}, **GONE)], []),
    ("stopped, and lacks the key", [SIGNS, node("two", keys={"1": KEY}, stopped=True)], []),
    ("two processes of one machine lack it", [SIGNS, node("two", "http", keys={"1": KEY}), node("two", "mailbox",
     keys={"1": KEY})], ["keys one 0 two"]),
    ("two processes of one machine sign", [node("one", "smtp", signs=0), node("one", "milter", signs=0),
     node("two", "http", keys={"1": KEY})], ["keys one 0 two"]),
    # endpoints
    ("the same endpoints", [node(endpoints={"w": "a.b"}), node("two", endpoints={"w": "a.b"})], []),
    ("one has none", [node(endpoints={"w": "a.b"}), node("two")], ["endpoints one two"]),
    ("another of its id", [node(endpoints={"w": "a.b"}), node("two", endpoints={"w": "c.b"})], ["endpoints one two"]),
    ("another secret", [node(endpoints={"w": "a.b"}), node("two", endpoints={"w": "a.c"})], ["endpoints one two"]),
    ("a secret that it does not read", [node(endpoints={"w": "a.b"}), node("two", endpoints={"w": "a."})], []),
    ("of one that is gone", [node(endpoints={"w": "a.b"}), node("two", **GONE)], []),
    ("of two others", [node(endpoints={"w": "a.b"}), node("two"), node("three")],
     ["endpoints one two", "endpoints one three"]),
    ("on one machine", [node("one", "smtp", endpoints={"w": "a.b"}), node("one", "http")], ["endpoints one one"]),
]  # fmt: skip


@pytest.mark.parametrize(("nodes_", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_wrong(nodes_: list[Node], expected: list[str]) -> None:
    found = nodes.troubles(Roll(NOW, tuple(nodes_)))
    assert [f"{trouble.kind} {trouble.subject}" for trouble in found] == expected
    assert all(trouble.subject.split()[0] in trouble.sentence for trouble in found)


def test_who_did_not_hear_calls_nobody_gone() -> None:
    """After the store was away all have been silent."""
    roll = Roll(NOW, (ONE.with_(at=NOW), node("two", queue=3, at=NOW - 300)))
    assert nodes.troubles(roll, since=NOW) == []
    assert nodes.troubles(roll, since=NOW - 60) == []
    assert [trouble.kind for trouble in nodes.troubles(roll, since=NOW - 61)] == ["gone"]
    assert [nodes.state(one, NOW, since) for one in roll.nodes[1:] for since in (NOW, 0.0)] == ["running", "gone"]


def test_what_is_said_of_who_is_gone() -> None:
    left = node("two", queue=3, at=NOW - 130, oldest=NOW - 5 * 3600)
    (trouble,) = nodes.troubles(Roll(NOW, (ONE, left)))
    assert "two (smtp, http) is gone: it was heard last 2 min ago, with 3 messages in its spool" in trouble.sentence
    assert "the oldest of 5 h ago" in trouble.sentence
    (trouble,) = nodes.troubles(Roll(NOW, (ONE, left.with_(stopped=True, queue=1))))
    assert "stopped 2 min ago, with 1 message in its spool" in trouble.sentence


def test_two_of_one_name() -> None:
    mine = ONE.with_(process="mine")
    assert nodes.troubles(Roll(NOW, (mine,), mine), process="mine") == []
    assert nodes.troubles(Roll(NOW, (mine,)), process="mine") == []
    (trouble,) = nodes.troubles(Roll(NOW, (mine,), ONE), process="mine")
    assert (trouble.kind, trouble.subject) == ("name", "one (smtp, http)")
    assert nodes.troubles(Roll(NOW, (mine,), ONE)) == []


@pytest.mark.parametrize(("asked", "heard", "words"), [
    (NOW - 3, NOW + 3, ""), (NOW + 10, NOW + 12, ""), (NOW - 15, NOW - 10, ""), (NOW - 300, NOW + 1, ""),  # a slow answer
    (NOW + 3600, NOW + 3601, "60 min ahead of the store's"), (NOW - 3601, NOW - 3600, "60 min behind the store's"),
])  # fmt: skip
def test_a_clock_that_is_wrong(asked: float, heard: float, words: str) -> None:
    found = [*nodes.clock_apart(ONE, asked, heard, NOW)]
    assert [(t.kind, words in t.sentence) for t in found] == ([("clock", True)] if words else [])


def test_a_fingerprint_tells_keys_apart_and_nothing_of_them() -> None:
    one, two = nodes.ring(Keys(0, {0: b"x" * 32, 1: b"y" * 32})), nodes.ring(Keys(1, {1: b"y" * 32}))
    assert one["1"] == two["1"] != one["0"]
    assert len({*one.values()}) == 2
    assert "78" * 6 not in one["0"]


def test_the_likeness_of_an_endpoint() -> None:
    one = Endpoint("w", "https://a.example", ("a", "b"), "secret", ("human",))
    again = Endpoint("w", "https://a.example", ("b", "a"), "secret", ("human",), created_at=7.0)
    assert nodes.likeness(one) == nodes.likeness(again)
    for other in (
        Endpoint("w", "https://b.example", ("a", "b"), "secret", ("human",)),
        Endpoint("w", "https://a.example", ("a",), "secret", ("human",)),
        Endpoint("w", "https://a.example", ("a", "b"), "secret", ()),
        Endpoint("w", "https://a.example", ("a", "b"), "secret", ("human",), "unosend"),
        Endpoint("w", "https://a.example", ("a", "b"), "another", ("human",)),
    ):
        assert not nodes.alike(nodes.likeness(one), nodes.likeness(other))
    unread = Endpoint("w", "https://a.example", ("a", "b"), "", ("human",))
    assert nodes.alike(nodes.likeness(one), nodes.likeness(unread))


@pytest.mark.parametrize(("nodes_", "key_id", "expected"), [
    ([ONE, node("two", keys={"0": KEY, "1": OTHER})], 1, ["one"]),
    ([ONE, node("two", "webhooks", keys={})], 0, []),
    ([node("one", "http", keys={}), node("one", "smtp"), node("two", keys={"1": KEY})], 1, ["one", "two"]),
])  # fmt: skip
def test_who_lacks_a_key(nodes_: list[Node], key_id: int, expected: list[str]) -> None:
    assert nodes.lacking(nodes_, key_id, [KEY, OTHER][key_id]) == expected


@pytest.mark.parametrize(("seconds", "words"), [
    (-3, "0 s"), (0, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (200_000, "2 days"),
])  # fmt: skip
def test_an_age_in_words(seconds: float, words: str) -> None:
    assert nodes.age(seconds) == words
