"""What the client hears, over all recipients: the whole table, and what holds for all of it."""

import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import answer
from relay.core.answer import KEPT, Unwritable
from relay.core.model import Done, Later, Never, Reply

ID = "0" * 19 + "1"
YES = Done(Reply(250, "2.0.0 Ok: queued as 7"))
TELL = Done(Reply(250, "2.0.0 Ok: queued as 8"), unconfirmed=True)
WAIT = Later(Reply(450, "4.2.1 greylisted"))
CUT = Later(Reply(451, "4.4.2 cut"), uncertain=True)
NO = Never(Reply(550, "5.1.1 nobody"))
SPAM = Never(Reply(554, "5.7.1 spam"))
DISK = Unwritable("No space left on device")

OK, QUEUED = f"250 2.0.0 Ok {ID} Ok: queued as 7", f"250 2.0.0 Ok {ID} queued"
FULL = "452 4.3.1 The message can't be kept now: No space left on device"

# Fates, what the client hears with on_defer "spool" and "pass", what the log says of both, and what has to be done
# before a 250: kept, reported. A reply of 4xx or 5xx asks for nothing.
TABLE: list[Any] = [
    # all recipients alike
    ([YES], OK, OK, "sent", [], []),
    ([YES, YES], OK, OK, "sent", [], []),
    ([NO], "550 5.1.1 nobody", "550 5.1.1 nobody", "refused", [], []),
    ([SPAM, NO], "554 5.7.1 spam", "554 5.7.1 spam", "refused", [], []),
    ([WAIT], QUEUED, "450 4.2.1 greylisted", "kept deferred", [0], []),
    ([CUT, WAIT], QUEUED, "451 4.4.2 cut", "kept deferred", [0, 1], []),
    ([KEPT], QUEUED, QUEUED, "kept", [], []),
    ([DISK], FULL, FULL, "deferred", [], []),
    # two kinds
    ([YES, WAIT], OK, OK, "partly", [1], []),
    ([WAIT, YES], OK, OK, "partly", [0], []),
    ([YES, NO], OK, OK, "partly", [], [1]),
    ([YES, KEPT], OK, OK, "partly", [], []),
    ([YES, DISK], FULL, FULL, "deferred", [], []),
    ([NO, WAIT], QUEUED, "450 4.2.1 greylisted", "kept deferred", [1], [0]),
    ([NO, KEPT], QUEUED, QUEUED, "kept", [], [0]),
    ([NO, DISK], FULL, FULL, "deferred", [], []),
    ([WAIT, KEPT], QUEUED, QUEUED, "kept", [0], []),
    ([WAIT, DISK], FULL, FULL, "deferred", [], []),
    ([KEPT, DISK], FULL, FULL, "deferred", [], []),
    # three
    ([NO, WAIT, YES], OK, OK, "partly", [1], [0]),
    ([NO, WAIT, KEPT], QUEUED, QUEUED, "kept", [1], [0]),
    ([YES, KEPT, NO], OK, OK, "partly", [], [2]),
    ([YES, WAIT, KEPT], OK, OK, "partly", [1], []),
]


@pytest.mark.parametrize(("fates", "spool", "pass_", "results", "keep", "report"), TABLE)
def test_the_table(fates, spool, pass_, results, keep, report):
    results = results.split()
    cases: list[tuple[answer.OnDefer, str, str]] = [("spool", spool, results[0]), ("pass", pass_, results[-1])]
    for on_defer, reply, result in cases:
        found = answer.over(ID, fates, on_defer)
        assert (str(found.reply), found.result) == (reply, result)
        assert found.keep == tuple(keep if reply[0] == "2" else [])
        assert found.report == tuple(report if reply[0] == "2" else [])
        assert found.relayed == ()
        assert found.taken == any(isinstance(fate, Done | answer.Kept) for fate in fates)


def test_the_table_has_all_mixtures_of_two():
    kinds: set[frozenset[type]] = {frozenset(type(fate) for fate in fates) for fates, *_ in TABLE}
    every = (Done, Later, Never, answer.Kept, Unwritable)
    assert kinds >= {frozenset(pair) for pair in itertools.combinations_with_replacement(every, 2)}


def test_who_wants_to_hear_of_success_is_told_where_nobody_else_does():
    found = answer.over(ID, [YES, TELL, NO], "spool")
    assert (found.result, found.relayed, found.report) == ("partly", (1,), (2,))
    found = answer.over(ID, [TELL, TELL], "pass")
    assert (found.result, found.relayed) == ("sent", (0, 1))
    assert answer.over(ID, [TELL, DISK], "spool").relayed == ()  # the client keeps it, and brings it again


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("2.0.0 Ok: queued as 7", "Ok: queued as 7"),
        ("Ok: queued as 7", "Ok: queued as 7"),
        ("2.0.0", "queued"),
        ("2.6.0  <1@x> Queued mail", "<1@x> Queued mail"),
        ("", "queued"),
        ("2.0.0\nOk", "2.0.0\nOk"),  # smtp makes lines of it
    ],
)
def test_an_acceptance_has_our_name_and_the_upstreams_words(words, text):
    assert answer.over(ID, [Done(Reply(250, words))], "spool").reply == Reply(250, f"2.0.0 Ok {ID} {text}")


def test_one_who_has_no_recipient_has_no_answer():
    with pytest.raises(IndexError):
        answer.over(ID, [], "spool")


REPLIES = st.text(max_size=12)
FATES = st.lists(
    st.one_of(
        st.builds(Done, st.builds(Reply, st.just(250), REPLIES), st.booleans()),
        st.builds(Later, st.builds(Reply, st.sampled_from([421, 450, 451, 452]), REPLIES), st.booleans()),
        st.builds(Never, st.builds(Reply, st.sampled_from([550, 553, 554]), REPLIES)),
        st.just(KEPT),
        st.builds(Unwritable, REPLIES),
    ),
    min_size=1,
    max_size=6,
)
POLICY = st.sampled_from(["spool", "pass"])


def places(fates, kind):
    return tuple(i for i, fate in enumerate(fates) if isinstance(fate, kind))


@given(FATES, POLICY)
def test_250_is_said_only_where_each_recipient_is_safe(fates, on_defer):
    """Accepted by the upstream, in the spool, or to be put there or reported first; and somebody is not only told."""
    found = answer.over(ID, fates, on_defer)
    assert found.reply.code // 100 in (2, 4, 5)
    if found.reply.code // 100 != 2:
        return
    assert found.reply.code == 250
    assert places(fates, Done | answer.Kept) or found.keep
    assert not places(fates, Unwritable)
    assert (found.keep, found.report) == (places(fates, Later), places(fates, Never))
    assert set(found.relayed) == {i for i in places(fates, Done) if fates[i].unconfirmed}


@given(FATES, POLICY)
def test_a_refusal_leaves_all_to_the_client(fates, on_defer):
    found = answer.over(ID, fates, on_defer)
    if found.reply.code == 250:
        return
    assert found.keep == found.report == found.relayed == ()
    if found.reply.code // 100 == 5:  # never for a recipient who might have it, now or later
        assert all(isinstance(fate, Never) for fate in fates)
        assert found.result == "refused"
    else:
        assert found.result == "deferred"
        assert places(fates, Unwritable) or (places(fates, Later) and on_defer == "pass" and not found.taken)


@given(FATES, POLICY)
def test_an_upstreams_refusal_goes_back_in_its_own_words(fates, on_defer):
    found = answer.over(ID, fates, on_defer)
    if found.reply.code != 250 and not places(fates, Unwritable):
        first = next(fate for fate in fates if isinstance(fate, Later if found.result == "deferred" else Never))
        assert found.reply is first.reply


@given(FATES, POLICY)
def test_pass_keeps_nothing_until_somebody_has_it(fates, on_defer):
    if on_defer == "pass" and not places(fates, Done | answer.Kept):
        assert answer.over(ID, fates, on_defer).keep == ()


@given(FATES, POLICY)
def test_once_kept_the_answer_stands_and_a_full_disk_is_a_452(fates, on_defer):
    found = answer.over(ID, fates, on_defer)
    if not found.keep:
        return
    kept = [KEPT if i in found.keep else fate for i, fate in enumerate(fates)]
    again = answer.over(ID, kept, on_defer)
    assert (again.reply, again.result, again.keep, again.report) == (found.reply, found.result, (), found.report)
    lost = [DISK if i == found.keep[0] else fate for i, fate in enumerate(fates)]
    assert answer.over(ID, lost, on_defer) == answer.full(DISK.reason, taken=found.taken)


@given(FATES, POLICY, st.randoms(use_true_random=False))
def test_the_order_of_recipients_changes_words_only(fates, on_defer, chance):
    mixed = list(fates)
    chance.shuffle(mixed)
    one, other = answer.over(ID, fates, on_defer), answer.over(ID, mixed, on_defer)
    assert (one.reply.code // 100, one.result, one.taken) == (other.reply.code // 100, other.result, other.taken)
    assert Counter(fates[i] for i in one.keep) == Counter(mixed[i] for i in other.keep)
    assert Counter(fates[i] for i in one.report) == Counter(mixed[i] for i in other.report)
