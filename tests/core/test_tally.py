"""What counts, in tables: per event whether it is counted, its ordinal and its sequence."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import tally
from relay.core.model import Event
from relay.core.tally import Facts, Origin

T0 = 1_700_000_000.0
OURS = Origin("sales", T0, "8.8.4.4", "bob@example.org")


def hit(at: float = T0, kind: str = "message.opened", **changes: Any) -> Event:
    return Event(str(uuid.uuid4()), kind, "m1", at, **changes)  # type: ignore[arg-type]


def run(*events: Event, origin: Origin = OURS) -> list[tuple[bool, int, int]]:
    facts = Facts()
    done = [tally.complete(e, facts, origin) for e in events]
    return [(e.counted, e.ordinal, e.sequence) for e in done]


REPEATS = [
    ("within a minute", [T0, T0 + 59.9], [True, False]),
    ("after a minute", [T0, T0 + 60], [True, True]),
    ("the minute begins with the last one counted, not with a repeat", [T0, T0 + 59, T0 + 61], [True, False, True]),
    ("an older one from a journal", [T0, T0 - 30], [True, False]),
    ("a much older one from a journal moves no clock back", [T0, T0 - 300, T0 + 30], [True, True, False]),
]


@pytest.mark.parametrize(("times", "expected"), [r[1:] for r in REPEATS], ids=[r[0] for r in REPEATS])
def test_repeats(times: list[float], expected: list[bool]) -> None:
    assert [c for c, _, _ in run(*(hit(at) for at in times))] == expected


def test_a_repeat_is_of_one_recipient() -> None:
    assert run(hit(), hit(recipient_index=1), hit()) == [(True, 0, 1), (True, 1, 2), (False, -1, 3)]


def test_clicks_never_collapse() -> None:
    click = "message.link_clicked"
    assert run(hit(kind=click), hit(kind=click), hit()) == [(True, 0, 1), (True, 1, 2), (True, 0, 3)]


def test_only_get_counts() -> None:
    assert run(hit(method="HEAD"), hit(kind="message.link_clicked", method="HEAD"), hit()) == [
        (False, -1, 1),
        (False, -1, 2),
        (True, 0, 3),
    ]


OWN = [
    ("8.8.4.4", "8.8.4.4", 0, True),
    ("8.8.4.4", "8.8.4.4", 86_400, True),
    ("8.8.4.4", "8.8.4.4", 86_401, False),
    ("8.8.8.8", "8.8.4.4", 0, False),
    ("::ffff:8.8.4.4", "8.8.4.4", 0, True),
    ("2001:4860:4860::8888", "2001:4860:4860:0::8888", 0, True),
    ("2001:4860:4860::8888", "2001:4860:4860::8844", 0, False),
    ("127.0.0.1", "127.0.0.1", 0, False),
    ("10.1.2.3", "10.1.2.3", 0, False),
    ("100.64.1.1", "100.64.1.1", 0, False),
    ("169.254.1.1", "169.254.1.1", 0, False),
    ("203.0.113.7", "203.0.113.7", 0, False),  # documentation
    ("::1", "::1", 0, False),
    ("fd00::1", "fd00::1", 0, False),
    ("fe80::1%eth0", "fe80::1%eth0", 0, False),
    ("::ffff:127.0.0.1", "127.0.0.1", 0, False),
    ("", "", 0, False),
    ("unknown", "unknown", 0, False),
]


@pytest.mark.parametrize(("ip", "submitter", "after", "own"), OWN)
def test_the_senders_own_hit(ip: str, submitter: str, after: float, own: bool) -> None:
    origin = Origin("g", T0, submitter)
    done = tally.complete(hit(T0 + after, ip=ip, verdict="proxy", reason="gmail"), Facts(), origin)
    assert (done.verdict == "self", done.counted) == (own, not own)
    assert done.reason == ("submitter_address" if own else "gmail")


def test_an_own_open_starts_no_minute() -> None:
    assert [c for c, _, _ in run(hit(ip="8.8.4.4"), hit(T0 + 1, ip="8.8.8.8"))] == [False, True]


def test_the_address_that_privacy_cut_is_compared_and_not_kept() -> None:
    done = tally.complete(hit(ip="8.8.4.0", data={"peer": "8.8.4.4", "tid": "x"}), Facts(), OURS)
    assert (done.verdict, done.ip, dict(done.data)) == ("self", "8.8.4.0", {"tid": "x"})


def test_an_answer_counts_where_its_data_says_so() -> None:
    reply = "thread.replied"
    events = [
        hit(kind=reply),
        hit(kind=reply, data={"notify": False, "from_self": True}),
        hit(kind=reply, data={"notify": True}),
    ]
    assert run(*events) == [(True, 0, 1), (False, -1, 2), (True, 1, 3)]


def test_what_is_known_is_filled_in_and_what_was_said_stays() -> None:
    done = tally.complete(hit(), Facts(), OURS, 7)
    assert (done.grant_id, done.recipient, done.position) == ("sales", "bob@example.org", 7)
    done = tally.complete(hit(recipient="said@x"), Facts(), OURS)
    assert done.recipient == "said@x"
    assert tally.complete(hit(), Facts()).grant_id == "default"


def test_facts_stay_small() -> None:
    facts = Facts()
    for n in range(10_000):
        tally.complete(hit(T0 + n, recipient_index=n), facts)
    assert len(facts.opened) < 100


@given(now=st.floats(0, 2**33), dice=st.binary(min_size=10, max_size=10))
def test_an_event_id_is_a_uuid_that_sorts_by_time(now: float, dice: bytes) -> None:
    made = tally.event_id(now, dice)
    parsed = uuid.UUID(made)
    assert str(parsed) == made
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert tally.event_id(now + 1, bytes(10)) > made


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["message.opened", "message.link_clicked", "thread.replied", "message.bounce_detected"]),
            st.integers(0, 200),
            st.integers(0, 3),
            st.sampled_from(["GET", "HEAD"]),
        ),
        max_size=60,
    )
)
def test_numbers_have_no_gaps(seen: list[tuple[str, int, int, str]]) -> None:
    facts = Facts()
    done = [
        tally.complete(hit(T0 + at, kind, recipient_index=who, link_index=who, method=method), facts, OURS)
        for kind, at, who, method in seen
    ]
    assert [e.sequence for e in done] == list(range(1, len(done) + 1))
    for kind in {e.type for e in done}:
        assert [e.ordinal for e in done if e.type == kind and e.counted] == list(range(facts.counts.get(kind, 0)))
    assert all(e.ordinal == -1 for e in done if not e.counted)
    assert sum(facts.links.values()) == facts.counts.get("message.link_clicked", 0)
