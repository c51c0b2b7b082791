"""What each thing adds to which counters."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import counts
from relay.core.model import Event, Sent, SentCopy

HOUR = 472_222
OF = counts.About("sales", HOUR * 3600 + 1.0, "spring", "Ann@Example.com")


def event(kind: str, **changes: Any) -> Event:
    values: dict[str, Any] = {"at": (HOUR + 2) * 3600.0, "recipient": "bob@MÜNCHEN.example", "counted": True}
    return Event("e1", kind, "m1", **(values | changes))  # type: ignore[arg-type]


def named(totals: counts.Totals, *key: object) -> dict[str, int]:
    return {name: n for name, n in zip(counts.COUNTERS, totals[key], strict=True) if n}


HITS = [
    ("message.opened", "human", [0, 0, 0, 0], {"opens": 1, "first_opens": 1, "any_first_opens": 1}, [1, 0, 0, 0]),
    ("message.opened", "unknown", [1, 0, 0, 0], {"opens": 1}, [2, 0, 0, 0]),
    ("message.opened", "proxy", [0, 3, 0, 0], {"opens": 1, "first_opens": 1}, [1, 3, 0, 0]),
    ("message.opened", "prefetch", [1, 0, 0, 0], {"machine_opens": 1, "machine_first_opens": 1}, [1, 1, 0, 0]),
    (
        "message.link_clicked",
        "human",
        [5, 5, 0, 0],
        {"clicks": 1, "first_clicks": 1, "any_first_clicks": 1},
        [5, 5, 1, 0],
    ),
    (
        "message.link_clicked",
        "self",
        [0, 0, 0, 0],
        {"machine_clicks": 1, "machine_first_clicks": 1, "any_first_clicks": 1},
        [0, 0, 0, 1],
    ),
    ("thread.replied", "unknown", [0, 0, 0, 0], {"replies": 1}, [0, 0, 0, 0]),
    ("message.bounce_detected", "unknown", [0, 0, 0, 0], {"bounced": 1}, [0, 0, 0, 0]),
]


@pytest.mark.parametrize(("kind", "verdict", "seen", "added", "then"), HITS)
def test_an_event_adds(kind: str, verdict: str, seen: list[int], added: dict[str, int], then: list[int]) -> None:
    totals: counts.Totals = {}
    counts.happened(totals, OF, seen, event(kind, verdict=verdict, url="https://WWW.a.example/x?y"))
    assert seen == then
    keys = {key[0]: key[1:] for key in totals}
    expected = {
        "label": (HOUR + 2, "sales", "spring"),
        "sender": (HOUR + 2, "sales", "ann@example.com"),
        "sending_domain": (HOUR + 2, "sales", "example.com"),
        "recipient_domain": (HOUR + 2, "sales", "xn--mnchen-3ya.example"),
    }
    if kind == "message.link_clicked":
        expected["link_host"] = (HOUR + 2, "sales", "www.a.example")
        expected["link"] = (HOUR + 2 - (HOUR + 2) % 24, "sales", "https://WWW.a.example/x?y")
    assert keys == expected
    assert all(named(totals, *key) == added for key in totals)


@pytest.mark.parametrize(
    "other",
    [
        event("message.opened", counted=False),
        event("thread.replied", data={"from_self": True}),
        event("message.delayed"),
        event("message.auto_replied"),
        event("message.delivered"),
    ],
    ids=lambda e: e.type,
)
def test_what_adds_nothing(other: Event) -> None:
    totals: counts.Totals = {}
    assert not counts.happened(totals, OF, counts.unseen(), other)
    assert totals == {}


@pytest.mark.parametrize(
    ("before", "after", "added"),
    [
        ("pending", "later", {}),
        ("pending", "done", {"delivered": 1}),
        ("later", "never", {"failed": 1}),
        ("never", "done", {"failed": -1, "delivered": 1}),
        ("done", "pending", {"delivered": -1}),
        ("done", "handed", {}),
    ],
)
def test_a_reply_of_the_upstream_adds(before: str, after: str, added: dict[str, int]) -> None:
    totals: counts.Totals = {}
    counts.moved(totals, OF, "bob@x.example", before, after)
    assert [named(totals, *key) for key in totals if key[0] == "label"] == ([added] if added else [])
    assert len(totals) in (0, 4)


def test_a_message_is_the_sum_of_its_parts() -> None:
    copies = (SentCopy("a@x.example", 0, True, None, "done"), SentCopy("b@y.example", 1, True))
    sent = Sent("m1", "sales", "i", OF.submitted_at, sender=OF.sender, label="spring", copies=copies)
    events = [event("message.opened", recipient_index=index, verdict="human") for index in (0, 1, 0)]
    totals, seen = counts.message(sent, events)
    assert seen == {0: [2, 0, 0, 0], 1: [1, 0, 0, 0]}
    assert named(totals, "label", HOUR, "sales", "spring") == {"sent": 2, "delivered": 1}
    assert named(totals, "recipient_domain", HOUR, "sales", "x.example") == {"sent": 1, "delivered": 1}
    assert named(totals, "label", HOUR + 2, "sales", "spring") == {"opens": 3, "first_opens": 2, "any_first_opens": 2}
    none: counts.Totals = {}
    counts.add(none, totals)
    counts.add(none, totals, -1)
    assert counts.changes(none) == []


MANY = st.tuples(
    st.sampled_from(["message.opened", "message.link_clicked", "thread.replied"]),
    st.sampled_from(["human", "scanner"]),
    st.sampled_from([OF, counts.About("sales", OF.submitted_at + 7, "spring", "ann@example.com"), counts.About("g", 1.0, "", "")]),
    st.sampled_from(["bob@x.example", "c@y.example"]),
    st.sampled_from([0.0, 4000.0]),
)  # fmt: skip


@given(st.lists(MANY, max_size=30))
def test_many_at_once_add_what_they_add_one_by_one(things: list[Any]) -> None:
    one_by_one: counts.Totals = {}
    at_once: counts.Totals = {}
    shared: counts.Shared = {}
    seen, also = counts.unseen(), counts.unseen()
    for kind, verdict, of, recipient, after in things:
        url = "https://a.example/" if kind == "message.link_clicked" else ""
        hit = event(kind, at=HOUR * 3600.0 + after, verdict=verdict, recipient=recipient, url=url)
        counts.happened(one_by_one, of, seen, hit)
        counts.happened(at_once, of, also, hit, shared)
    counts.spread(at_once, shared)
    assert dict(counts.changes(at_once)) == dict(counts.changes(one_by_one))
    assert seen == also
