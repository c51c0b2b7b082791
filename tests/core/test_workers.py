"""Which processes a service has, and when one that died starts again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import roles
from relay.core import workers

ALL = frozenset(roles.ALL)


@pytest.mark.parametrize(
    ("only", "smtp", "http", "found"),
    [
        (ALL, 1, 1, {"main": ALL}),
        (ALL, 2, 1, {"main": ALL - {"smtp"}, "smtp-1": {"smtp"}, "smtp-2": {"smtp"}}),
        (ALL, 1, 3, {"main": ALL - {"http"}, "http-1": {"http"}, "http-2": {"http"}, "http-3": {"http"}}),
        ({"smtp"}, 2, 1, {"smtp-1": {"smtp"}, "smtp-2": {"smtp"}}),
        ({"smtp"}, 1, 2, {"main": {"smtp"}}),
        ({"queue"}, 2, 2, {"main": {"queue"}}),
        ({"smtp", "http"}, 2, 2, {"smtp-1": {"smtp"}, "smtp-2": {"smtp"}, "http-1": {"http"}, "http-2": {"http"}}),
    ],
)  # fmt: skip
def test_what_the_roles_come_to(only, smtp, http, found):
    parts = workers.parts(only, {"smtp": smtp, "http": http})
    assert {part.name: part.roles for part in parts} == found
    assert [part.slot for part in parts] == list(range(len(found)))


@given(st.sets(st.sampled_from(roles.ALL), min_size=1), st.integers(1, 9), st.integers(1, 9))
def test_each_role_is_somebodys_and_one_leads(only, smtp, http):
    parts = workers.parts(only, {"smtp": smtp, "http": http})
    assert set().union(*(part.roles for part in parts)) == only
    assert [part.leads for part in parts] == [True] + [False] * (len(parts) - 1)
    for role in only - set(workers.DIVIDED):  # what only one process can do is done by one
        assert [part.leads for part in parts if role in part.roles] == [True]


@pytest.mark.parametrize(("wanted", "processors", "found"), [(1, 8, 1), (3, 2, 3), ("auto", 6, 6), ("auto", 200, 64)])
def test_how_many(wanted, processors, found):
    assert workers.count(wanted, processors) == found


@pytest.mark.parametrize(
    ("lives", "pauses"),
    [
        ([3600.0], [0]),
        ([0.1], [0]),
        ([0.1] * 9, [0, 1, 2, 4, 8, 16, 32, 60, 60]),
        ([100.0] * 3, [0, 0, 0]),  # rare deaths are no reason to wait
        ([0.1, 0.1, 0.1, 61.0, 0.1], [0, 1, 2, 0, 1]),
    ],
)
def test_one_that_dies_again_and_again_pauses(lives, pauses):
    short, found = 0, []
    for lived in lives:
        short, seconds = workers.pause(short, lived)
        found.append(seconds)
    assert found == pauses


def test_however_often_it_dies():
    assert workers.pause(10**9, 0.0) == (10**9 + 1, workers.MAX_PAUSE)
