"""When a message may be sent later, and what is said of one that was."""

import pytest

from relay.core import queue, schedules
from relay.core.model import SentCopy
from tests.store.contract import T0, event, sent


@pytest.mark.parametrize(
    ("ahead", "word"),
    [(59.9, "one minute"), (60, ""), (30 * 86_400, ""), (30 * 86_400 + 1, "30 days"), (-1e9, "minute"), (1e18, "days")],
)
def test_how_far_ahead_a_message_may_be_sent(ahead: float, word: str) -> None:
    refusal = schedules.refusal(T0 + ahead, T0)
    assert (word in refusal) if word else refusal == ""


def test_the_names_of_entries_are_each_attempts_own_and_names_of_entries() -> None:
    one, two = (schedules.entry_names("s1", T0, attempt) for attempt in (1, 2))
    assert one != two
    assert one.startswith(schedules.entry_names("s1", T0))
    assert two.startswith(schedules.entry_names("s1", T0))
    assert schedules.entry_names("s2", T0, 1) != one
    assert one[:11] == queue.entry_id(T0, b"")


def test_looks_are_fewer_and_fewer() -> None:
    pauses = [schedules.pause(n) for n in range(1, 2000)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (2.0, 60.0)


COPIES = {
    "done": SentCopy("a@x.example", 0, True, state="done", reply="250 ok"),
    "lost": SentCopy("b@x.example", 1, True),  # its process died before the last word was written
    "never": SentCopy("c@x.example", 2, True, state="never", reply="550 nobody"),
    "given_up": SentCopy("d@x.example", 3, True, state="later", reply="451 full"),
}
GIVEN_UP = event("message.bounce_detected", recipient="d@x.example", reason="451 full")


@pytest.mark.parametrize(
    ("copies", "reason"),
    [
        (["done"], ""), (["lost"], ""), (["never"], "550 nobody"), (["given_up"], "451 full"),
        (["done", "never"], ""), (["never", "lost"], ""), (["never", "given_up"], "451 full"), ([], ""),
    ],
)  # fmt: skip
def test_a_message_failed_where_nobody_got_it(copies: list[str], reason: str) -> None:
    message = sent(copies=tuple(COPIES[name] for name in copies))
    bounces = [GIVEN_UP] if "given_up" in copies else []
    assert schedules.reason_of_failure(message, bounces) == reason
    assert schedules.reason_of_failure(None, bounces) == ""


def test_the_event_of_a_schedule_is_the_same_when_it_is_told_again() -> None:
    fields = {"schedule_id": "s1", "subject": "Hello"}
    first, again = (schedules.event("m1", T0 + n, "sales", fields, "554 5.7.1 no") for n in (1, 2))
    assert first.event_id == again.event_id
    assert first.data == fields | {"reason": "554 5.7.1 no", "code": 554}
    assert schedules.event("m1", T0, "sales", fields).event_id != first.event_id


@pytest.mark.parametrize(("reply", "code"), [("421 later", 421), ("no code", 550), ("\u0663\u0663\u0663 x", 550)])
def test_the_code_of_a_reply(reply: str, code: int) -> None:
    assert schedules.code(reply) == code
