"""What an attempt makes of an entry."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import queue
from relay.core.model import Done, Later, Never, Reply

NOW = 1_700_000_000.0
POLICY = queue.Policy()
YES = Done(Reply(250, "2.0.0 Ok"))
NO = Never(Reply(550, "5.1.1 nobody"))
WAIT = Later(Reply(451, "4.3.0 busy"))
UNSURE = Later(Reply(451, "4.4.2 cut"), uncertain=True)


def entry(many: int = 1, **how: object) -> queue.Entry:
    to = tuple(queue.Waiting(f"r{i}@x.example", index=i) for i in range(many))
    made = queue.Entry("e1", "m1", NOW, NOW, "a@x.example", to)
    return msgspec.structs.replace(made, **how)


def settle(it, outcomes, now=NOW + 1, policy=POLICY):
    return queue.settle(it, outcomes, now=now, jitter=0.5, policy=policy, remote="up.example")


def test_each_recipient_goes_its_way_and_only_the_missing_are_tried_again():
    settled = settle(entry(3), [YES, NO, WAIT])
    assert [r.address for r in settled.done] == ["r0@x.example"]
    assert [(r.address, n.status, n.action) for r, n in settled.failed] == [("r1@x.example", "5.1.1", "failed")]
    assert [r.address for r in settled.entry.waiting] == ["r2@x.example"]
    assert settled.entry.envelope(None).recipients[0].address == "r2@x.example"
    again = settle(settled.entry, [YES], now=NOW + 100)
    assert again.entry is None
    assert [r.address for r in again.done] == ["r2@x.example"]


def test_the_pauses_grow_and_the_last_try_is_at_the_end():
    it, now, pauses = entry(), NOW, []
    while it:
        settled = settle(it, [WAIT], now=now)
        if settled.entry is None:
            break
        it = settled.entry
        pauses.append(it.next_at - now)
        now = it.next_at
    assert pauses[:5] == [60, 180, 300, 600, 900]
    assert max(pauses) == 7200
    assert now == NOW + POLICY.lifetime
    ((_, notice),) = settled.failed
    assert (notice.status, notice.diagnostic) == ("4.4.7", "451 4.3.0 busy")


def test_nobody_gives_up_before_all_tries_however_late_it_is():
    """The service was off for a month, or the clock was set: the schedule is gone through, then it is over."""
    it, now, actions = entry(), NOW + 30 * 86_400, []
    while it:
        settled = settle(it, [WAIT], now=now)
        actions.append((bool(settled.delayed), bool(settled.failed)))
        it, now = settled.entry, settled.entry.next_at if settled.entry else now
    assert len(actions) == len(policy_schedule := POLICY.schedule)
    assert now - NOW - 30 * 86_400 == sum(policy_schedule)
    assert [i for i, (delayed, _) in enumerate(actions, 1) if delayed] == [queue.tries(POLICY.schedule, 14_400.0)]
    assert [failed for _, failed in actions] == [False] * (len(actions) - 1) + [True]


def test_the_sender_hears_of_a_delay_once():
    it = entry(2, attempts=20)
    first = settle(it, [WAIT, WAIT], now=NOW + POLICY.delay_after - 1)
    assert first.delayed == ()
    second = settle(first.entry, [WAIT, YES], now=NOW + POLICY.delay_after + 1)
    assert [(r.address, n.action, n.status) for r, n in second.delayed] == [("r0@x.example", "delayed", "4.3.0")]
    assert settle(second.entry, [WAIT], now=NOW + POLICY.delay_after + 2).delayed == ()


def test_possible_duplicates_are_counted():
    assert settle(entry(), [UNSURE]).entry.duplicates == 1
    assert settle(entry(duplicates=2), [WAIT]).entry.duplicates == 2


def test_a_refused_report_goes_out_once_more_from_bounce_from():
    report = entry(kind="report", reverse_path="")
    policy = queue.Policy(bounce_from="bounces@x.example")
    settled = settle(report, [NO], policy=policy)
    assert settled.entry.reverse_path == "bounces@x.example"
    assert settled.failed == ()
    assert settle(settled.entry, [NO], policy=policy).entry is None
    assert settle(report, [NO]).entry is None


@pytest.mark.parametrize(("jump", "due"), [(0, True), (-10, False), (-3600 * 24 * 365, True), (3600, True)])
def test_a_clock_that_was_set_back_holds_nothing_up_for_long(jump, due):
    it = entry(next_at=NOW)
    assert queue.due(it, NOW + jump, POLICY) is due


@given(st.lists(st.sampled_from([YES, NO, WAIT, UNSURE]), min_size=1, max_size=6), st.floats(0, 6e5), st.floats(0, 1))
def test_nobody_is_lost_and_nobody_twice(outcomes, age, jitter):
    """For any outcomes at any age: each recipient is done, failed or still waiting, and in one of these only; nothing
    that waits is due in the past."""
    it = entry(len(outcomes))
    settled = queue.settle(it, outcomes, now=NOW + age, jitter=jitter, policy=POLICY)
    waiting = [r.address for r in settled.entry.waiting] if settled.entry else []
    seen = [r.address for r in settled.done] + [r.address for r, _ in settled.failed] + waiting
    assert sorted(seen) == sorted(r.address for r in it.recipients)
    if settled.entry:
        assert settled.entry.next_at > NOW + age
        assert queue.read(queue.write(settled.entry)) == settled.entry


@given(st.binary(max_size=100))
def test_any_bytes_are_an_entry_or_unreadable(line):
    with contextlib.suppress(queue.Unreadable):
        queue.read(line)
