"""What counts, in tables: per event whether it is counted, its ordinal and its sequence."""

import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import floods, neighbours, tally
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


CLICKS = [
    ("within two seconds", {}, {"at": T0 + 1.9}, False),
    ("after two seconds", {}, {"at": T0 + 2}, True),
    ("an older one from a journal", {}, {"at": T0 - 1}, False),
    ("another link", {}, {"link_index": 1}, True),
    ("another recipient's", {}, {"recipient_index": 1}, True),
    ("another address", {}, {"ip": "8.8.8.9"}, True),
    ("another program", {}, {"user_agent": "Other"}, True),
    ("nobody knows who", {"ip": ""}, {"ip": ""}, True),
    ("after a look by the same client", {"method": "HEAD"}, {}, True),
    ("an address that privacy cut", {"data": {"peer": "8.8.1.1"}}, {"data": {"peer": "8.8.1.2"}}, True),
    ("the same one that privacy took away", {"ip": "", "data": {"peer": "8.8.1.1"}}, {"ip": "", "data": {"peer": "8.8.1.1"}}, False),
    ("a user agent that is no text", {"user_agent": "\udcff"}, {"user_agent": "\udcff"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "counted"), [row[1:] for row in CLICKS], ids=[row[0] for row in CLICKS])
def test_a_click_twice(first: dict[str, Any], second: dict[str, Any], counted: bool) -> None:
    one = {"kind": "message.link_clicked", "ip": "8.8.8.8", "user_agent": "Mail"}
    assert run(hit(**(one | first)), hit(**(one | second)))[1][0] == counted


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


@pytest.mark.parametrize("kind", sorted(tally.MAILED))
def test_nobody_is_filled_in_for_what_came_by_mail(kind: Any) -> None:
    done = tally.complete(hit(kind=kind), Facts(), OURS)
    assert (done.grant_id, done.recipient) == ("sales", "")
    assert tally.complete(hit(kind=kind, recipient="said@x"), Facts(), OURS).recipient == "said@x"
    assert tally.complete(hit(), Facts()).grant_id == "default"


def test_facts_stay_small() -> None:
    facts = Facts()
    for n in range(10_000):
        tally.complete(hit(T0 + n, recipient_index=n), facts)
    assert len(facts.opened) < 100


def click(number: int = 0, **changes: Any) -> Event:
    return hit(**({"kind": "message.link_clicked", "ip": f"9.0.{number >> 8}.{number & 255}"} | changes))


LIMITS = floods.Limits(token=100, message=1000)


def kept(events: Iterable[Event], facts: Facts, origin: Origin = OURS) -> list[bool]:
    return [isinstance(tally.complete(event, facts, origin, limits=LIMITS), Event) for event in events]


def counted(facts: Facts, token: str, hits: int, by: str = "me") -> bool:
    return tally.fold(facts, [floods.Fold("m1", token, hits)], by, facts.handed.get(by, 0) + 1)


REAL = [
    ("one who reads it again and again", [hit(T0 + 20 * n) for n in range(90)]),
    ("one who clicks a link every minute of a day", [click(at=T0 + 60 * n, ip="8.8.8.8") for n in range(1440)]),
    ("a scanner: every link of fifty copies, by HEAD and GET, at once", [
        click(link_index=link, recipient_index=copy, method=method, ip="8.8.8.8")
        for copy in range(50) for link in range(100) for method in ("HEAD", "GET")
    ]),
    ("a proxy that fetches a pixel ten times in a second", [hit(T0 + n / 10) for n in range(10)]),
]  # fmt: skip


@pytest.mark.parametrize("events", [row[1] for row in REAL], ids=[row[0] for row in REAL])
def test_a_real_reader_is_never_folded(events: list[Event]) -> None:
    facts = Facts()
    assert all(isinstance(tally.complete(event, facts, OURS), Event) for event in events)


FLOODS: list[tuple[str, list[Event], int]] = [
    ("clicks of one link by many clients", [click(n) for n in range(5000)], 121),
    ("clicks of one link by one client", [click() for _ in range(5000)], 42),
    ("opens in one minute", [hit(T0 + n / 1000) for n in range(5000)], 42),
    ("looks at one link", [click(method="HEAD") for _ in range(5000)], 40),
    ("clicks of a blocked link", [click(n, reason="blocked") for n in range(5000)], 40),
    ("the sender's own", [click(at=T0 + n / 1000, ip="8.8.4.4") for n in range(5000)], 40),
    ("all links of one copy", [click(n, link_index=n % 100) for n in range(5000)], 1021),
]


@pytest.mark.parametrize(("events", "most"), [row[1:] for row in FLOODS], ids=[row[0] for row in FLOODS])
def test_a_flood_is_only_counted(events: list[Event], most: int) -> None:
    facts = Facts()
    flags = kept(events, facts)
    number = sum(flags)
    assert 20 <= number <= most
    assert (facts.sequence, facts.folded) == (number, {})
    # Another recipient's is counted all the same.
    assert kept([hit(recipient_index=7), click(recipient_index=7)], facts) == [True, True]


def test_a_flood_over_hours_is_kept_at_the_rate_of_the_limit() -> None:
    flags = kept((click(n, at=T0 + n) for n in range(5 * 3600)), Facts())
    assert sum(flags) == pytest.approx(100 + 20 + 5 * 100, abs=5)


def test_a_journal_of_hours_ago_and_a_clock_that_was_set_fold_nothing() -> None:
    facts = Facts()
    assert kept((click(n, at=T0 + 400 * 86_400) for n in range(200)), facts).count(False) == 80
    assert all(kept((click(n, at=T0 + 60 * n) for n in range(300)), facts))


def test_when_the_next_one_is_counted() -> None:
    facts = Facts()
    flood = [
        tally.complete(hit(T0 + n / 1000, data={"peer": "8.8.8.8"}), facts, OURS, limits=LIMITS) for n in range(100)
    ]
    assert flood[-1] == floods.Folded(T0 + 60, everyone=True)  # when an open is no repeat any more
    assert isinstance(tally.complete(hit(T0 + 60), facts, OURS, limits=LIMITS), Event)
    facts = Facts()
    done = [tally.complete(click(), facts, OURS, limits=LIMITS) for _ in range(100)]
    assert done[-1] == floods.Folded(T0 + 2, everyone=False)  # another client's click counts at once
    assert isinstance(tally.complete(click(1), facts, OURS, limits=LIMITS), Event)


def test_what_was_folded_is_said_once_with_the_next_one_of_the_token() -> None:
    facts = Facts()
    kept((click(n) for n in range(500)), facts)
    folded = 380
    assert counted(facts, "c0.0", folded)
    other = tally.complete(click(link_index=1), facts, OURS, limits=LIMITS)
    first, second = (tally.complete(click(n, at=T0 + 3600), facts, OURS, limits=LIMITS) for n in (1, 2))
    assert [isinstance(e, Event) and e.data.get("folded") for e in (other, first, second)] == [None, folded, None]


def test_what_is_handed_over_again_was_counted() -> None:
    facts = Facts()
    folds = [floods.Fold("m1", "c0.0", 3), floods.Fold("m1", "o0", 4)]
    assert [tally.fold(facts, folds, by, n) for by, n in (("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1))] == [
        True, False, True, True, False,
    ]  # fmt: skip
    assert facts.folded == {"c0.0": 9, "o0": 12}
    for n in range(100):
        counted(facts, "o0", 1, by=str(n))
    assert len(facts.handed) == tally.MAX_HANDED


def test_zero_is_no_limit() -> None:
    facts = Facts()
    done = [tally.complete(click(), facts, OURS, limits=floods.Limits(0, 0)) for _ in range(1000)]
    assert all(isinstance(e, Event) for e in done)
    assert facts.levels == {}


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 200), st.sampled_from(["GET", "HEAD"])), max_size=600))
def test_facts_stay_small_in_any_flood(hits: list[tuple[int, int, str]]) -> None:
    facts = Facts()
    events = [click(n, recipient_index=r, link_index=link, method=m) for n, (r, link, m) in enumerate(hits)]
    limits = floods.Limits(2, 5)
    kept_ones: list[Event] = []
    for one in events:
        done = tally.complete(one, facts, OURS, limits=limits)
        if isinstance(done, Event):
            kept_ones.append(done)
        else:
            counted(facts, floods.token(one), 1)
    said = sum(e.data.get("folded", 0) for e in kept_ones)
    assert len(kept_ones) + said + sum(facts.folded.values()) == len(events)
    assert len(facts.levels) <= floods.MOST
    assert len(facts.folded) <= tally.MAX_FOLDED


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


def test_of_who_was_erased_nothing_is_known() -> None:
    facts = tally.Facts(
        sequence=4, opened={0: 1.0, 1: 2.0}, clicked={123: 1.0}, turns={0: 1.0, 1: 2.0}, erased=[2],
        marks={index: [neighbours.Mark(["a"], 1.0, "open", 0, 5, 6, "human")] for index in (0, 1)},
    )  # fmt: skip
    tally.erase(facts, {0})
    assert [*facts.marks] == [1]
    assert facts == tally.Facts(sequence=4, opened={1: 2.0}, turns={1: 2.0}, erased=[0, 2], marks=facts.marks)
