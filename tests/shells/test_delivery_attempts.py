"""One copy on its way: the whole table of its states and steps, and what holds on every path."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import outbound
from relay.core import answer, dsn, headers, rewrite
from relay.core.model import Done, Later, Never, Recipient, Reply, Submission
from relay.delivery import attempts, carrying
from relay.delivery.attempts import TABLE, State, Step
from relay.outbound.copies import PendingCopy

TO = (Recipient("a@x.example"), Recipient("b@x.example"))
YES = Done(Reply(250, "2.0.0 Ok"))
TELL = Done(Reply(250, "2.0.0 Ok"), unconfirmed=True)
WAIT = Later(Reply(450, "4.2.1 greylisted"))
NO = Never(Reply(550, "5.1.1 nobody"))

# What each step leads to, a column per step: begin, accept, refuse, defer, cut, keep, hand over, written, unwritable.
MATRIX = """
WAITING            SENDING  SENT  REFUSED  DEFERRED  DEFERRED  -  HANDING_WAITING  -  -
SENDING            SENDING  SENT  REFUSED  DEFERRED  DEFERRED  -  HANDING_SENDING  -  -
SENT               -  -  -  -  -  -  -  -  -
REFUSED            -  -  -  -  -  -  -  -  -
DEFERRED           -  -  -  -  -  KEEPING  -  -  -
KEEPING            -  -  -  -  -  -  -  KEPT  UNKEPT
KEPT               -  -  -  -  -  -  -  -  -
UNKEPT             -  -  -  -  -  -  -  -  -
HANDING_WAITING    HANDING_SENDING  HANDING_SENT  HANDING_REFUSED  HANDING_DEFERRED  -  -  -  HANDED_OVER  WAITING
HANDING_SENDING    HANDING_SENDING  HANDING_SENT  HANDING_REFUSED  HANDING_DEFERRED  -  -  -  OUTLASTING   SENDING
HANDING_SENT       -  -  -  -  -  -  -  SETTLED  SENT
HANDING_REFUSED    -  -  -  -  -  -  -  SETTLED  REFUSED
HANDING_DEFERRED   -  -  -  -  -  -  -  SETTLED  UNKEPT
HANDED_OVER        -  -  -  -  -  -  -  -  -
OUTLASTING         OUTLASTING  SETTLED  SETTLED  SETTLED  HANDED_OVER  -  -  -  -
SETTLED            -  -  -  -  -  -  -  -  -
"""
ROWS = [line.split() for line in MATRIX.strip().splitlines()]

# The shortest way to each state.
WAYS = {
    "WAITING": "",
    "SENDING": "begin",
    "SENT": "begin accept",
    "REFUSED": "begin refuse",
    "DEFERRED": "begin defer",
    "KEEPING": "begin defer keep",
    "KEPT": "begin defer keep written",
    "UNKEPT": "begin defer keep unwritable",
    "HANDING_WAITING": "hand_over",
    "HANDING_SENDING": "begin hand_over",
    "HANDING_SENT": "begin hand_over accept",
    "HANDING_REFUSED": "begin hand_over refuse",
    "HANDING_DEFERRED": "begin hand_over defer",
    "HANDED_OVER": "hand_over written",
    "OUTLASTING": "begin hand_over written",
    "SETTLED": "begin hand_over written accept",
}
DOES = {
    Step.BEGIN: lambda it: it.began("up.example"),
    Step.ACCEPT: lambda it: it.answered((YES, YES)),
    Step.REFUSE: lambda it: it.answered((YES, NO)),
    Step.DEFER: lambda it: it.answered((WAIT, NO)),
    Step.CUT: lambda it: it.cut_off(),
    Step.KEEP: lambda it: it.keep(),
    Step.HAND_OVER: lambda it: it.hand_over(),
    Step.WRITTEN: lambda it: it.written(),
    Step.UNWRITABLE: lambda it: it.unwritable("disk full"),
}


def attempt(content=b"Subject: x\r\n\r\nbody\r\n"):
    return attempts.Attempt(TO, (), (0, 1), lambda: content)


def after(way, **how):
    made = attempt(**how)
    made.render()
    for name in way.split():
        DOES[Step[name.upper()]](made)
    return made


@pytest.mark.parametrize(("state", "ends"), [(row[0], row[1:]) for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_step_in_each_state(state, ends):
    for step, end in zip(Step, ends, strict=True):
        it = after(WAYS[state])
        assert it.state is State[state]
        if end == "-":
            with pytest.raises(attempts.Illegal, match=f"^{step.name} in {state}$"):
                DOES[step](it)
            assert it.state is State[state]
        else:
            DOES[step](it)
            assert it.state is State[end]


def test_the_matrix_and_the_ways_are_of_all_states():
    assert [row[0] for row in ROWS] == [state.name for state in State] == [*WAYS]
    assert {*TABLE} == {*State}


@given(st.lists(st.sampled_from(Step), max_size=14))
def test_on_every_path_the_spool_has_it_at_most_once_and_its_recipients_have_one_fate(steps):
    it, written = attempt(), 0
    for step in steps:
        if step in TABLE[it.state]:
            DOES[step](it)
            written += step is Step.WRITTEN
    assert written <= 1
    assert it.in_spool <= (written == 1)
    if not TABLE[it.state] or it.state in (State.DEFERRED, State.OUTLASTING):
        fates = it.fates
        assert len(fates) == 2
        assert (answer.KEPT in fates) == (written == 1)
        assert any(isinstance(fate, answer.Unwritable) for fate in fates) == (it.state is State.UNKEPT)
    else:
        with pytest.raises(attempts.Illegal):
            _ = it.fates


CUT = Later(attempts.FAILED)


@pytest.mark.parametrize(
    ("way", "fates"),
    [
        ("begin accept", [YES, YES]),
        ("begin refuse", [YES, NO]),
        ("begin defer", [WAIT, NO]),
        ("defer", [WAIT, NO]),  # nobody could be reached
        ("begin begin accept", [YES, YES]),  # a fallback took it
        ("begin defer keep written", [answer.KEPT, NO]),
        ("begin defer keep unwritable", [answer.Unwritable("disk full"), NO]),
        ("begin cut", [CUT, CUT]),
        ("cut", [CUT, CUT]),
        ("cut keep written", [answer.KEPT, answer.KEPT]),  # others have it
        ("hand_over written", [answer.KEPT, answer.KEPT]),
        ("begin hand_over written", [answer.KEPT, answer.KEPT]),
        ("begin hand_over written cut", [answer.KEPT, answer.KEPT]),
        ("begin hand_over written refuse", [answer.KEPT, answer.KEPT]),  # the spool's to tell
        ("hand_over begin refuse written", [answer.KEPT, answer.KEPT]),
        ("hand_over unwritable begin accept", [YES, YES]),
        ("begin hand_over accept unwritable", [YES, YES]),
        ("begin hand_over refuse unwritable", [YES, NO]),
        ("begin hand_over defer unwritable", [answer.Unwritable("disk full"), NO]),
        ("begin hand_over unwritable defer keep written", [answer.KEPT, NO]),
        ("begin hand_over unwritable hand_over written", [answer.KEPT, answer.KEPT]),
    ],
)
def test_what_may_be_said_at_the_end_of_each_path(way, fates):
    assert list(after(way).fates) == fates


def test_the_host_is_the_last_that_may_have_heard_of_it():
    it = attempt()
    assert it.host == ""
    it.began("one.example")
    it.began("two.example")
    it.answered((NO, NO))
    assert it.host == "two.example"
    assert [(w.address, w.index, o) for w, o in it.words()] == [("a@x.example", 0, NO), ("b@x.example", 1, NO)]
    assert it.word(1) == it.words()[1]


LARGE = b"Subject: x\r\n\r\n" + b"y" * dsn.LONGEST_ORIGINAL


@pytest.mark.parametrize(
    ("way", "left"),
    [
        ("begin accept", None),  # nobody asks for it any more
        ("hand_over written", None),
        ("begin hand_over written refuse", None),
        ("begin refuse", b"Subject: x\r\n\r\n"),  # for a report
        ("begin defer", LARGE),  # may have to be kept
        ("begin defer keep written", b"Subject: x\r\n\r\n"),
        ("begin hand_over written", LARGE),  # under way
    ],
)
def test_a_large_copy_goes_as_soon_as_it_can(way, left):
    it = after(way, content=LARGE)
    assert (it.content or b"").strip() == (left or b"").strip()
    if left is None:
        with pytest.raises(RuntimeError):
            it.render()
    else:
        assert it.render() == it.content


def test_who_wants_to_hear_of_success_has_its_copy_for_the_report():
    it = attempt()
    content = it.render()
    it.answered((YES, TELL))
    assert it.state is State.SENT
    assert it.render() == content


# -- of a submission -----------------------------------------------------------------------------------------------------


def pending(index, recipients, content, options=()):
    made = rewrite.Rendering(headers.read(content))
    return PendingCopy(index, recipients, lambda: made, lambda: made, options)


def test_one_per_copy_with_the_places_of_its_recipients():
    a, b, c = (Recipient(f"{name}@x.example") for name in "abc")
    message = Submission("s@x.example", (a, b, c, a), b"x\r\n", ("BODY=8BITMIME",))
    copies = (
        pending(1, (b,), b"X: one\r\n\r\n", ("BODY=8BITMIME",)),
        pending(0, (a, a), b"X: two\r\n\r\n"),
    )
    tracked = outbound.Tracked("m1", copies, refused=((c, Reply(550, "5.7.1 suppressed")),))
    one, two, refused = attempts.of(message, tracked)
    assert (one.recipients, one.places, one.options, one.render()) == (
        (b,),
        (1,),
        ("BODY=8BITMIME",),
        b"X: one\r\n\r\n",
    )
    assert (two.recipients, two.places, two.render()) == ((a, a), (0, 3), b"X: two\r\n\r\n")
    assert {one.state, two.state} == {State.WAITING}
    assert (refused.recipients, refused.places, refused.state) == ((c,), (2,), State.REFUSED)
    assert refused.fates == (Never(Reply(550, "5.7.1 suppressed")),)
    assert refused.render() == b"X: one\r\n\r\n"  # what the report shows


def test_all_refused_is_one_that_never_began():
    message = Submission("s@x.example", TO, b"x\r\n")
    tracked = outbound.Tracked("m1", (), refused=tuple((r, Reply(550, "5.7.1 suppressed")) for r in TO))
    (it,) = attempts.of(message, tracked)
    assert (it.state, it.places, it.host) == (State.REFUSED, (0, 1), "")


def test_a_journey_shows_no_password():
    journey = carrying.Journey("m", "a@x.example", 1, 1, "default", ("ann", "correct horse"), "pass", login="ann")
    assert "correct horse" not in f"{journey!r} {journey}"
    assert "login='ann'" in repr(journey)
