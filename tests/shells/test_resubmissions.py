"""Knowing a message again whose client left before its answer."""

import asyncio
import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.model import Recipient, Reply, Submission
from relay.delivery import resubmissions

MESSAGE = Submission(
    "a@here.example",
    (Recipient("b@x.example"), Recipient("c@x.example")),
    b"Subject: x\r\n\r\nHi\r\n",
    peer="192.0.2.1",
)
CODE = """
from tests.shells.test_resubmissions import MESSAGE
from relay.delivery import resubmissions
print(resubmissions.key(MESSAGE).hex())
"""


def test_the_key_is_the_same_in_every_process():
    for seed in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True,
                              env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)})  # fmt: skip
        assert done.stdout.strip() == resubmissions.key(MESSAGE).hex()
    assert len(resubmissions.key(MESSAGE)) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"reverse_path": "b@here.example"},
        {"recipients": MESSAGE.recipients[:1]},
        {"recipients": MESSAGE.recipients[::-1]},
        {"recipients": (Recipient("b@x.example\0c@x.example"),)},
        {"content": MESSAGE.content + b"\r\n"},
        {"peer": "192.0.2.2"},
        {"login": "ada"},
        {"login": "192.0.2.1"},
    ],
)
def test_another_message_or_another_client_has_another_key(change):
    assert resubmissions.key(MESSAGE.with_(**change)) != resubmissions.key(MESSAGE)


def test_whoever_logs_in_is_known_at_every_address():
    here = MESSAGE.with_(login="ada")
    assert resubmissions.key(here) == resubmissions.key(here.with_(peer="198.51.100.7", received_at=7.0))


WORDS = st.text(st.sampled_from("a\0 1"), max_size=4)


@given(
    st.tuples(WORDS, WORDS, WORDS, st.lists(WORDS, max_size=3)),
    st.tuples(WORDS, WORDS, WORDS, st.lists(WORDS, max_size=3)),
)
def test_no_two_envelopes_run_into_each_other(one, other):
    def key(login, sender, content, to):
        return resubmissions.key(Submission(sender, tuple(map(Recipient, to)), content.encode(), login=login))

    assert (key(*one) == key(*other)) == (one == other)


@pytest.mark.parametrize("octets", [0, 1, 2046, 2047, 2048, 4094, 65_536, 65_537, 300_000])
def test_the_pieces_make_one_digest(octets):
    """However it is fed: another process may feed it otherwise."""
    made = MESSAGE.with_(content=b"x" * octets)
    head = "\0".join(f"{len(p)} {p}" for p in ("peer", "192.0.2.1", "a@here.example", "b@x.example", "c@x.example"))
    whole = b"%d\0%b%d\0%b" % (len(head), head.encode(), octets, made.content)
    assert resubmissions.key(made) == hashlib.blake2b(whole, digest_size=16).digest()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def remembered(clock):
    return resubmissions.Resubmissions(clock=clock)


def replied(reply=None):
    found = asyncio.get_running_loop().create_future()
    if reply:
        found.set_result(reply)
    return found


OK = Reply(250, "2.0.0 Ok")


async def test_one_that_left_is_found_for_a_while(remembered, clock):
    reply = replied()
    assert remembered.find(b"one") is None
    remembered.left(b"one", reply)
    assert remembered.find(b"one") is reply
    assert remembered.find(b"two") is None
    reply.set_result(OK)
    clock.now = resubmissions.REMEMBER_SECONDS
    assert remembered.find(b"one") is reply
    clock.now += 0.001
    assert remembered.find(b"one") is None


@pytest.mark.parametrize(
    ("reply", "found"), [(OK, True), (Reply(550, "5.1.1 no"), True), (Reply(451, "4.3.0 later"), False), (None, False)]
)
async def test_an_answer_that_leaves_the_message_to_its_client_is_none(remembered, reply, found):
    future = replied(reply)
    if not reply:
        future.cancel()
    remembered.left(b"one", future)
    assert (remembered.find(b"one") is future) is found


async def test_it_remembers_so_many_and_the_last():
    remembered = resubmissions.Resubmissions(limit=3)
    for n in range(5):
        remembered.left(b"%d" % n, replied(OK))
    assert [bool(remembered.find(b"%d" % n)) for n in range(5)] == [False, False, True, True, True]
    again = replied(OK)
    remembered.left(b"2", again)  # who leaves again is the newest
    remembered.left(b"5", replied(OK))
    assert remembered.find(b"2") is again
    assert remembered.find(b"3") is None
