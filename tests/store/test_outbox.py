"""What every store does with notifications."""

import asyncio
import dataclasses
import time
from collections import Counter
from typing import Any, Literal

import pytest

from relay.core.model import Event, Settlement
from relay.store import Attempt, Notification, decisions
from relay.store.contract import Store
from tests.store.contract import SOON, T0, click, endpoint, event


async def test_only_those_who_asked_are_owed(store: Store) -> None:
    await store.sync_endpoints(
        [
            endpoint("both", "message.opened", "message.opened.legacy"),
            endpoint("clicks", "message.link_clicked"),
            endpoint("humans", "message.opened", verdicts=("human",)),
            endpoint("unosend", "email.opened", format="unosend"),
        ]
    )
    await store.append(event(at=T0))
    await store.append(event(at=T0 + 1))  # a repeat: every GET of the pixel goes to an Unosend endpoint
    await store.append(event(at=T0 + 2, recipient_index=1, verdict="human"))
    due = await store.claim_due(SOON)
    assert Counter((d.endpoint_id, d.trigger) for d in due) == {
        ("both", "message.opened"): 2,
        ("both", "message.opened.legacy"): 2,
        ("humans", "message.opened"): 1,
        ("unosend", "email.opened"): 3,
    }


async def test_a_claim_counts_and_leases(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    done = await store.append(event())
    assert done is not None
    now = time.time() + 1
    (first,) = await store.claim_due(now)
    assert (first.event_id, first.endpoint_id, first.attempt, first.trigger) == (
        done.event_id, "e1", 1, "message.opened",
    )  # fmt: skip
    assert await store.claim_due(now + 119) == []
    assert await store.next_due() == pytest.approx(now + 120)
    (again,) = await store.claim_due(now + 121)
    assert (again.delivery_id, again.attempt) == (first.delivery_id, 2)


async def test_what_is_due_late_is_hastened(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    for n in range(4):
        await store.append(click(n))
    now = time.time() + 1
    due = await store.claim_due(now)
    states: list[Literal["retry", "delivered"]] = ["retry", "retry", "retry", "delivered"]
    for delivery, state, pause in zip(due, states, (5, 50, 500, 900), strict=True):
        await store.settle(delivery.delivery_id, Settlement(state, now, next_at=now + pause))
    await store.hasten(now + 10, 100)
    pauses = {x.delivery_id: x.next_at - now for x in await store.notifications()}
    assert [pauses[d.delivery_id] for d in due] == pytest.approx([5, 10, 400, 900])
    await store.hasten(now + 20, float("inf"))
    pauses = {x.delivery_id: x.next_at - now for x in await store.notifications()}
    assert [pauses[d.delivery_id] for d in due] == pytest.approx([5, 10, 20, 900])


async def test_settling(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    for n in range(3):
        await store.append(click(n))
    now = time.time() + 1
    one, two, three = await store.claim_due(now)
    await store.settle(one.delivery_id, Settlement("delivered", now, status=200))
    await store.settle(two.delivery_id, Settlement("dead", now, status=500, error="on fire"))
    await store.settle(three.delivery_id, Settlement("retry", now, next_at=now + 5, status=503))
    assert await store.next_due() == pytest.approx(now + 5)
    assert [(d.delivery_id, d.attempt) for d in await store.claim_due(now + 6)] == [(three.delivery_id, 2)]
    notifications = await store.notifications()
    assert [x.state for x in notifications] == ["pending", "dead", "delivered"]
    assert (notifications[1].error, notifications[1].status, notifications[1].message_id) == ("on fire", 500, "m1")
    (stand,) = await store.backlog()
    assert (stand.pending, stand.delivered, stand.dead) == (1, 1, 1)
    assert await store.notifications(state="dead", endpoint_id="e1") == [notifications[1]]


async def test_whose_lease_ran_out_takes_nothing_from_whoever_went_on(store: Store) -> None:
    """A process that stood still, and goes on when another has made the attempt after its own."""
    await store.sync_endpoints([endpoint()])
    for n in range(4):
        await store.append(click(n))
    now = time.time() + 1
    slow = await store.claim_due(now)
    other = await store.claim_due(now + 121)
    assert [(d.delivery_id, d.attempt) for d in other] == [(d.delivery_id, 2) for d in slow]
    one, two, three, four = (d.delivery_id for d in slow)
    failed, done = (
        Settlement("retry", now + 130, next_at=now + 130, error="no answer"),
        Settlement("delivered", now + 130),
    )
    await store.settle(one, done, 2)  # first the other, then the slow one
    await store.settle(one, failed, 1)
    await store.settle(two, failed, 1)  # the other still is at it
    await asyncio.gather(store.settle(three, done, 1), store.settle(three, failed, 2))  # the receiver has it
    await store.settle(four, failed, 2)
    assert [d.delivery_id for d in await store.claim_due(now + 131)] == [four]
    found = {n.delivery_id: n for n in await store.notifications()}
    assert [found[n].state for n in (one, two, three, four)] == ["delivered", "pending", "delivered", "pending"]
    assert [[a.error for a in found[n].attempts] for n in (one, two, three)] == [
        ["", "no answer"], ["no answer"], ["", "no answer"]
    ]  # fmt: skip
    assert found[one].error == ""
    assert found[two].attempt == 2
    assert found[two].next_at == pytest.approx(now + 241)
    await store.replay(now, delivery_ids=[one])
    (again,) = await store.claim_due(now + 1)
    await store.settle(again.delivery_id, failed, again.attempt)
    renewed = await store.notification(one)
    assert renewed is not None
    assert renewed.state == "pending"


async def test_claims_are_fair_and_leave_the_busy_alone(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1"), endpoint("e2"), endpoint("e3")])
    for n in range(10):
        await store.append(click(n))
    now = time.time() + 1
    due = await store.claim_due(now, busy={"e2": 4, "e3": 2}, each=4, limit=6)
    assert Counter(d.endpoint_id for d in due) == {"e1": 4, "e3": 2}
    first = [d.event_id for d in due if d.endpoint_id == "e1"]
    assert first == [e.event_id for e in (await store.events())[:4]]


async def test_one_is_never_claimed_twice(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    await asyncio.gather(*(store.append(click(n)) for n in range(40)))
    now = time.time() + 1
    claims = await asyncio.gather(*(store.claim_due(now, limit=7) for _ in range(8)))
    ids = [d.delivery_id for claim in claims for d in claim]
    assert len(ids) == len(set(ids)) == 40


async def test_replaying(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1")])
    old, new = await store.append(click(at=T0)), await store.append(click(at=T0 + 50))
    assert old is not None
    assert new is not None
    now = time.time() + 1
    for d in await store.claim_due(now):
        await store.settle(d.delivery_id, Settlement("dead", now))
    assert await store.claim_due(SOON) == []
    await store.sync_endpoints([endpoint("e1"), endpoint("late")])
    assert await store.replay(now, event_ids=[old.event_id, "no-such"]) == 2
    assert sorted((d.endpoint_id, d.event_id, d.attempt) for d in await store.claim_due(now)) == [
        ("e1", old.event_id, 1),
        ("late", old.event_id, 1),
    ]
    assert await store.replay(now, dead=True) == 1
    assert [(d.endpoint_id, d.event_id) for d in await store.claim_due(now)] == [("e1", new.event_id)]
    assert await store.replay(now, since=T0 + 1, endpoint_id="late") == 1
    assert [(d.endpoint_id, d.event_id) for d in await store.claim_due(now)] == [("late", new.event_id)]


async def test_another_copys_hit_is_not_behind_many_of_one(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1", "message.link_clicked")])
    await asyncio.gather(*(store.append(click()) for _ in range(150)))  # within far less than 20 of their turns
    others = [await store.append(click(recipient_index=1)), await store.append(click(message_id="m2"))]
    due = await store.claim_due(SOON, limit=20)
    assert {other.event_id for other in others if isinstance(other, Event)} < {d.event_id for d in due}
    rest = [d for _ in range(40) for d in await store.claim_due(SOON, limit=4)]
    assert len({d.event_id for d in due + rest}) == len(due + rest) == 152  # with nobody else there they go at once


async def test_what_was_tried_before_and_what_was_not_take_turns(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1", "message.link_clicked")])
    now = time.time() + 1
    for n in range(10):
        await store.append(click(message_id=f"m{n}"))
    for delivery in await store.claim_due(now):
        await store.settle(delivery.delivery_id, Settlement("retry", now, next_at=now, status=503))
    for n in range(10):
        await store.append(click(message_id=f"m{n}"))
    assert [d.attempt for d in await store.claim_due(now + 1, limit=6)] == [1, 2, 1, 2, 1, 2]


async def test_what_is_made_again_holds_up_nothing_new(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1", "message.link_clicked")])
    for _ in range(20):
        await store.append(click())
    now = time.time() + 100  # after all turns that were given
    for n, delivery in enumerate([d for _ in range(20) for d in await store.claim_due(now)]):
        await store.settle(delivery.delivery_id, Settlement("dead" if n % 2 else "delivered", now))
    new = await store.append(click(message_id="m2"))
    await store.replay(time.time(), since=0)
    await store.replay(time.time(), dead=True)
    due = await store.claim_due(now, limit=3)
    assert isinstance(new, Event)
    assert new.event_id in {d.event_id for d in due}


async def test_each_attempt_is_kept_with_its_notification(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1", "message.opened")])
    await store.append(event())
    for number in range(decisions.ATTEMPTS + 2):
        (due,) = await store.claim_due(SOON + number * 1000)
        await store.settle(due.delivery_id, Settlement("retry", number, 0.0, 500, "HTTP 500", 40 + number))
    (kept,) = await store.notifications()
    assert kept.attempts[-1] == Attempt(21, 500, "HTTP 500", 61)
    assert [a.at for a in kept.attempts] == list(range(2, 22))
    assert await store.notification(kept.delivery_id) == kept
    assert await store.notification(kept.delivery_id + 1) is None
    assert await store.replay(SOON, delivery_ids=[kept.delivery_id]) == 1
    (again,) = await store.notifications()
    assert (again.attempt, again.status, again.attempts) == (0, 0, kept.attempts)


async def test_notifications_are_found_by_what_they_are(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1", "message.opened"), endpoint("e2", "message.opened")])
    found = [await store.append(event(message_id=f"m{n % 2}", recipient_index=n)) for n in range(4)]
    for due in await store.claim_due(SOON, limit=3):
        await store.settle(due.delivery_id, Settlement("dead", 1.0))
    everything = await store.notifications()
    assert len(everything) == 8
    ids = [n.delivery_id for n in everything]
    assert ids == sorted(ids, reverse=True)

    async def check(wanted: list[Notification], **which: Any) -> None:
        assert await store.notifications(**which) == wanted
        assert await store.notifications(**which, limit=1) == wanted[:1]
        last = wanted[1].delivery_id
        assert await store.notifications(**which, before=last) == wanted[2:]

    await check(everything)
    await check([n for n in everything if n.endpoint_id == "e2"], endpoint_id="e2")
    await check(everything, endpoint_ids=["e1", "e2"])
    await check([n for n in everything if n.state == "dead"], state="dead")
    await check([n for n in everything if n.state == "pending"], state="pending", endpoint_ids=["e1", "e2"])
    await check([n for n in everything if n.message_id == "m1"], message_id="m1")
    assert isinstance(found[0], Event)
    await check([n for n in everything if n.event_id == found[0].event_id], event_id=found[0].event_id)
    assert await store.notifications(endpoint_ids=[]) == []
    assert await store.notifications(endpoint_id="e1", endpoint_ids=["e2"]) == []
    assert await store.notifications(state="delivered") == []


async def test_only_the_named_ones_are_replayed(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1", "message.opened"), endpoint("e2", "message.opened")])
    await store.append(event())
    both = await store.claim_due(SOON)
    for due in both:
        await store.settle(due.delivery_id, Settlement("delivered", 1.0, status=200))
    ids = [due.delivery_id for due in both]
    assert await store.replay(SOON, delivery_ids=[*ids, *ids, 4711], endpoint_id="e2") == 1
    assert await store.replay(SOON, delivery_ids=[4711]) == 0
    assert [due.endpoint_id for due in await store.claim_due(SOON)] == ["e2"]


async def test_very_many_are_made_again_each_once(store: Store) -> None:
    """More than one step of them, several at one time."""
    count = 1_203
    await store.sync_endpoints([endpoint("e1"), endpoint("e2")])
    await asyncio.gather(*(store.append(click(n, at=T0 + n // 700)) for n in range(count)))
    now = time.time() + 1
    while due := await store.claim_due(now, limit=500, each=500):
        await asyncio.gather(*(store.settle(d.delivery_id, Settlement("dead", now)) for d in due))
    stands = [dataclasses.astuple(b) for b in await store.backlog()]
    assert stands == [("e1", 0, 0, count, 0.0), ("e2", 0, 0, count, 0.0)]
    assert await store.replay(now, since=T0, endpoint_id="e1") == count
    assert await store.replay(now, dead=True) == count
    first = min(n.first_at for n in await store.notifications(limit=9_999))
    stands = [dataclasses.astuple(b) for b in await store.backlog()]
    assert stands == [("e1", count, 0, 0, first), ("e2", count, 0, 0, first)]


async def test_an_endpoint_that_goes_takes_all_that_it_was_owed(store: Store) -> None:
    await store.add_endpoint(endpoint("e1"))
    await asyncio.gather(*(store.append(click(n)) for n in range(1_203)))
    (due,) = await store.claim_due(time.time() + 1, limit=1)
    await store.settle(due.delivery_id, Settlement("delivered", time.time()))
    assert await store.remove_endpoint("e1")
    assert [(b.pending, b.delivered) for b in await store.backlog()] == [(0, 1)]
    assert [n.delivery_id for n in await store.notifications()] == [due.delivery_id]
