"""What the store hears after the client has its answer: in order, once it can, and never at the mail's expense."""

import asyncio
from collections.abc import Sequence

from relay import outcomes, store
from relay.core import queue
from relay.core.model import Done, Endpoint, Event, Later, Never, Reply
from tests.until import until

YES, NO, WAIT = Done(Reply(250, "2.0.0 Ok")), Never(Reply(550, "5.1.1 nobody")), Later(Reply(450, "4.2.1 later"))
ASKED = Endpoint(
    "wh_1", "https://app.example/hooks", ("email.sent", "email.delivered", "email.failed"), format="unosend"
)


class Records:
    """The three things that are asked of a store. While `away` it takes nothing; `asked` counts all calls."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.known = list(endpoints)
        self.replies: list[store.UpstreamReply] = []
        self.batches: list[int] = []
        self.events: list[Event] = []
        self.away = False
        self.asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise store.Unavailable("told to be")

    async def record_replies(self, replies: Sequence[store.UpstreamReply]) -> None:
        self._ask()
        self.replies += replies
        self.batches.append(len(replies))

    async def append(self, event: Event) -> Event | None:
        self._ask()
        if event.event_id in {each.event_id for each in self.events}:
            return None
        self.events.append(event)
        return event

    async def endpoints(self) -> list[Endpoint]:
        self._ask()
        return self.known


def told(heard: outcomes.Outcomes, message_id: str = "m1") -> None:
    """A message to three that is accepted: one has it, one never will, one may later."""
    to = [queue.Waiting(f"{name}@x.example", index=i) for i, name in enumerate("abc")]
    heard.accepted(message_id)
    heard.replies(message_id, [r.address for r in to], [YES, NO, WAIT], "mx.x.example")
    heard.ended(message_id, lambda: list(zip(to, [YES, NO, WAIT], strict=True)))


async def test_many_replies_are_one_batch_in_order():
    there = Records()
    heard = outcomes.Outcomes(there)
    for n in range(100):
        heard.replies(f"m{n}", ["a@x.example"], [YES])
    await heard.flush()
    assert there.batches == [100]
    assert [r.message_id for r in there.replies] == [f"m{n}" for n in range(100)]
    assert (there.replies[0].state, there.replies[0].reply) == ("done", "250 2.0.0 Ok")


async def test_each_recipients_end_is_an_event_where_an_endpoint_asks():
    there, appended = Records(ASKED), []
    heard = outcomes.Outcomes(there, clock=lambda: 7.0, appended=lambda: appended.append(1))
    told(heard)
    told(heard)  # a crash before an entry was settled
    await heard.flush()
    assert [(e.type, e.recipient, e.at) for e in there.events] == [
        ("message.sent", "", 7.0), ("message.delivered", "a@x.example", 7.0), ("message.failed", "b@x.example", 7.0),
    ]  # fmt: skip
    assert len(appended) == 3
    heard.ended("m2", lambda: [(queue.Waiting("c@x.example"), WAIT)], given_up=True)
    await heard.flush()
    assert (there.events[-1].type, there.events[-1].data["code"]) == ("message.failed", 450)


async def test_no_event_is_made_where_nobody_asks():
    there = Records()
    heard = outcomes.Outcomes(there)
    told(heard)
    await heard.flush()
    assert there.events == []

    def costly():
        raise AssertionError("nobody asks")

    heard.ended("m2", costly)
    await heard.flush()


async def test_a_store_that_is_away_gets_all_of_it_when_it_is_back(caplog):
    there = Records(ASKED)
    there.away = True
    heard = outcomes.Outcomes(there)
    for n in range(20):
        told(heard, f"m{n}")
    await until(lambda: there.asked > 22)
    assert (there.replies, there.events) == ([], [])
    there.away = False
    await heard.flush()  # and it does not wait for the pause after the last try
    assert len(there.replies) == 60
    assert sorted(e.message_id for e in there.events) == sorted([f"m{n}" for n in range(20)] * 3)
    for n in range(20):
        of = [e.type for e in there.events if e.message_id == f"m{n}"]
        assert of == ["message.sent", "message.delivered", "message.failed"]
    assert caplog.text.count("store_unavailable") == 1


async def test_a_store_that_stays_away_does_not_keep_the_service_from_stopping(caplog):
    there = Records(ASKED)
    there.away = True
    heard = outcomes.Outcomes(there)
    told(heard)
    async with asyncio.timeout(5):
        await heard.flush()
    assert "not_recorded" in caplog.text
    there.away = False
    told(heard, "m2")
    await heard.flush()
    assert {r.message_id for r in there.replies} == {"m2"}


async def test_a_store_that_hangs_does_not_keep_the_service_from_stopping(caplog):
    class Hangs(Records):
        async def record_replies(self, replies):
            await asyncio.Event().wait()

    heard = outcomes.Outcomes(Hangs())
    heard.replies("m1", ["a@x.example"], [YES])
    async with asyncio.timeout(5):
        await heard.flush(0.1)
    assert caplog.records[0].fields["reason"] == "the store did not take it in time"


async def test_a_store_that_breaks_loses_that_and_goes_on(caplog):
    class Breaks(Records):
        async def append(self, event):
            if event.message_id == "m1":
                raise RuntimeError("a bug")
            return await super().append(event)

    there = Breaks(ASKED)
    heard = outcomes.Outcomes(there)
    told(heard)
    told(heard, "m2")
    await heard.flush()
    assert {e.message_id for e in there.events} == {"m2"}
    assert "not_recorded" in caplog.text
