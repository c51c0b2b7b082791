"""What every store does, whatever keeps it."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from relay import store
from relay.core.model import SentCopy, Settlement
from relay.store import ApiKey, Cursor, Store, UpstreamReply
from tests.store.contract import T0, click, endpoint, event, sent

SOON = 10_000_000_000.0  # later than any clock that a test meets


# -- mail --------------------------------------------------------------------------------------------------------------


async def test_what_was_recorded_comes_back_whole(kept: Store) -> None:
    message = sent(reason="limit_links", references=("x@y",))
    await kept.record_sent(message)
    assert await kept.sent("m1") == message.with_(thread_id="m1")
    assert await kept.sent("m2") is None


async def test_a_message_is_found_by_any_identifier_in_the_order_asked(kept: Store) -> None:
    await kept.record_sent(sent("m1"))
    await kept.record_sent(sent("m2"))
    await kept.record_replies([UpstreamReply("m2", ("c@example.org",), "done", "250 ok", "made-up@upstream.example")])
    for ids, expected in [
        (["m1@mail.example"], "m1"),
        (["unknown@x", "m2@mail.example", "m1@mail.example"], "m2"),
        (["made-up@upstream.example"], "m2"),
    ]:
        found = await kept.find_sent(ids)
        assert found is not None
        assert found.message_id == expected
    assert await kept.find_sent(["M1@mail.example"]) is None
    assert await kept.find_sent([]) is None


async def test_an_upstreams_identifier_without_a_domain_stands_for_any(kept: Store) -> None:
    await kept.record_sent(sent("m1"))
    await kept.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250 Ok", "0100018bcfe5-1234-000000")])
    found = await kept.find_sent(["0100018bcfe5-1234-000000@eu-west-1.amazonses.com"])
    assert found is not None
    await kept.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250 Ok", "short")])
    assert await kept.find_sent(["short@elsewhere.example"]) is None


async def test_of_two_messages_with_one_identifier_the_newer_is_found(kept: Store) -> None:
    await kept.record_sent(sent("m1", internet_message_id="same@x"))
    await kept.record_sent(sent("m2", internet_message_id="same@x"))
    found = await kept.find_sent(["same@x"])
    assert found is not None
    assert found.message_id == "m2"


async def test_a_thread_is_that_of_the_message_named(kept: Store) -> None:
    await kept.record_sent(sent("m1"))
    await kept.record_sent(sent("m2", references=("never-seen@x", "m1@mail.example")))
    await kept.record_sent(sent("m3", references=("m2@mail.example",)))
    await kept.record_sent(sent("m4", references=("never-seen@x",)))
    threads = [s.thread_id for s in [await kept.sent(m) for m in ("m1", "m2", "m3", "m4")] if s]
    assert threads == ["m1", "m1", "m1", "m4"]


async def test_a_reply_of_the_upstream_lands_on_its_recipients_only(kept: Store) -> None:
    await kept.record_sent(sent())
    await kept.record_replies([UpstreamReply("m1", ("c@example.org",), "later", "450 4.2.0 try again")])
    await kept.record_replies(
        [
            UpstreamReply("m1", ("c@example.org",), "done", "250 2.0.0 ok", "u@x"),
            UpstreamReply("gone", ("c@example.org",), "done", "250 2.0.0 ok"),
            UpstreamReply("m1", ("c@example.org",), "done", "250 2.0.0 ok again"),
        ]
    )
    found = await kept.sent("m1")
    assert found is not None
    assert found.copies == (
        SentCopy("bob@example.org", 0, True),
        SentCopy("c@example.org", 1, True, None, "done", "250 2.0.0 ok again", "u@x"),
    )


async def test_recent_mail_comes_newest_first_in_pages(kept: Store) -> None:
    for n in range(5):
        await kept.record_sent(sent(f"m{n}", submitted_at=T0 + n))
    first = await kept.recent_sent(2)
    assert [s.message_id for s in first] == ["m4", "m3"]
    assert [s.message_id for s in await kept.recent_sent(9, before=first[-1].submitted_at)] == ["m2", "m1", "m0"]


# -- events ------------------------------------------------------------------------------------------------------------


async def test_an_event_is_completed_from_its_message(kept: Store) -> None:
    await kept.record_sent(sent())
    done = await kept.append(event(recipient_index=1, data={"x": ["ü", 1]}))
    assert done is not None
    assert (done.grant_id, done.recipient, done.sequence, done.counted, done.ordinal, done.position) == (
        "sales", "c@example.org", 1, True, 0, 1,
    )  # fmt: skip
    assert await kept.events() == [done]


async def test_a_copy_that_several_share_has_no_recipient(kept: Store) -> None:
    await kept.record_sent(sent(copies=(SentCopy("a@x", 0, True), SentCopy("b@x", 0, True))))
    done = await kept.append(event())
    assert done is not None
    assert done.recipient == ""


async def test_an_event_of_an_unknown_message_is_kept_and_counted(kept: Store) -> None:
    await kept.sync_endpoints([endpoint()])
    first, second = await kept.append(click(message_id="lost")), await kept.append(click(2, message_id="lost"))
    assert first is not None
    assert second is not None
    assert (first.grant_id, first.sequence, first.counted, second.ordinal) == ("default", 1, True, 1)
    history = await kept.history(second.event_id)
    assert history is not None
    assert (history.sent, history.link_counts, len(history.recents)) == (None, (1, 0, 1), 2)
    assert len(await kept.claim_due(SOON)) == 2


async def test_an_event_seen_twice_is_written_once_and_moves_the_cursor(kept: Store) -> None:
    reply = event("thread.replied", data={"reply_id": "r1"})
    assert await kept.append(reply, Cursor("inbox", 7, 10)) is not None
    assert await kept.append(reply, Cursor("inbox", 7, 11)) is None
    assert len(await kept.events()) == 1
    assert await kept.cursor("inbox") == Cursor("inbox", 7, 11)


async def test_the_same_event_twice_at_once(kept: Store) -> None:
    same = event()
    results = await asyncio.gather(*(kept.append(same) for _ in range(5)))
    assert sum(r is not None for r in results) == 1
    assert [e.sequence for e in await kept.events()] == [1]


async def test_repeats_head_and_own_hits_are_stored_only(kept: Store) -> None:
    await kept.record_sent(sent())
    await kept.sync_endpoints([endpoint()])
    for hit in [
        event(at=T0 + 100_000),
        event(at=T0 + 100_059),
        event(at=T0 + 100_061, method="HEAD"),
        event(at=T0 + 100_061),
        event(at=T0 + 100_061, recipient_index=1),
        event(at=T0 + 60, ip="8.8.4.4"),
        click(at=T0 + 100_000),
        click(at=T0 + 100_000),
    ]:
        await kept.append(hit)
    kept_events = await kept.events()
    assert [e.counted for e in kept_events] == [True, False, False, True, True, False, True, True]
    assert [e.ordinal for e in kept_events] == [0, -1, -1, 1, 2, -1, 0, 1]
    assert [e.sequence for e in kept_events] == list(range(1, 9))
    assert kept_events[5].verdict == "self"
    assert len(await kept.claim_due(SOON)) == 5


async def test_many_at_once_are_numbered_without_gaps(kept: Store) -> None:
    for m in range(3):
        await kept.record_sent(sent(f"m{m}"))
    done = await asyncio.gather(*(kept.append(click(n % 3, f"m{n % 3}")) for n in range(300)))
    assert sorted(e.position for e in done if e) == list(range(1, 301))
    for m in range(3):
        own = [e for e in done if e and e.message_id == f"m{m}"]
        assert sorted(e.sequence for e in own) == list(range(1, 101))
        assert sorted(e.ordinal for e in own) == list(range(100))


async def test_events_can_be_followed_and_chosen(kept: Store) -> None:
    await kept.record_sent(sent())
    for n in range(6):
        await kept.append(click(at=T0 + n) if n % 2 else event(message_id="m2", at=T0 + 100 * n))
    assert [e.position for e in await kept.events(after=2, limit=2)] == [3, 4]
    assert [e.position for e in await kept.events(limit=2, newest=True)] == [5, 6]
    assert [e.position for e in await kept.events(after=5, newest=True)] == [6]
    assert [e.position for e in await kept.events(message_id="m1")] == [2, 4, 6]
    assert [e.position for e in await kept.events(types=["message.opened", "thread.replied"])] == [1, 3, 5]
    assert [e.position for e in await kept.events(grant_id="sales")] == [2, 4, 6]
    assert await kept.events(after=6) == []


async def test_a_history_is_that_of_its_moment(kept: Store) -> None:
    await kept.record_sent(sent())
    made = [await kept.append(click(n % 2, at=T0 + n)) for n in range(60)]
    opened = await kept.append(event(at=T0 + 1))
    assert made[9] is not None
    assert made[59] is not None
    assert opened is not None
    early, late = await kept.history(made[9].event_id), await kept.history(made[59].event_id)
    assert early is not None
    assert late is not None
    assert (early.link_counts, late.link_counts) == ((5, 5, 0), (30, 30, 0))
    assert [e.ordinal for e in early.recents] == list(range(10))
    assert [e.ordinal for e in late.recents] == list(range(10, 60))
    assert early.first_at == late.first_at == T0
    assert late.sent == await kept.sent("m1")
    of_open = await kept.history(opened.event_id)
    assert of_open is not None
    assert (of_open.link_counts, of_open.recents) == ((), (opened,))
    assert await kept.history("no-such") is None


async def test_a_history_of_an_event_that_did_not_count_ends_before_it(kept: Store) -> None:
    first = await kept.append(event(at=T0))
    again = await kept.append(event(at=T0 + 1))
    await kept.append(event(at=T0 + 100))
    assert again is not None
    history = await kept.history(again.event_id)
    assert history is not None
    assert history.recents == (first,)
    assert history.first_at == T0


async def test_text_that_is_not_unicode_is_kept_all_the_same(kept: Store) -> None:
    # A header that is not UTF-8 comes as half surrogate pairs.
    results = await asyncio.gather(
        kept.append(event(user_agent="good")),
        kept.append(event(user_agent="bad \udcff", recipient_index=1, data={"a": ["\ud800"]})),
        kept.append(event(user_agent="good", recipient_index=2)),
    )
    assert all(results)
    await kept.record_sent(sent("m9", subject="\udcfc"))
    assert await kept.sent("m9") is not None


# -- cursors -----------------------------------------------------------------------------------------------------------


async def test_cursors(kept: Store) -> None:
    assert await kept.cursor("a") is None
    await kept.save_cursor(Cursor("a", 1, 2, ("x", "y")))
    await kept.save_cursor(Cursor("b", 1, 3))
    await kept.save_cursor(Cursor("a", 2, 0))
    assert (await kept.cursor("a"), await kept.cursor("b")) == (Cursor("a", 2, 0), Cursor("b", 1, 3))


# -- webhooks ----------------------------------------------------------------------------------------------------------


async def test_only_those_who_asked_are_owed(kept: Store) -> None:
    await kept.sync_endpoints(
        [
            endpoint("both", "message.opened", "message.opened.legacy"),
            endpoint("clicks", "message.link_clicked"),
            endpoint("humans", "message.opened", verdicts=("human",)),
            endpoint("unosend", "email.opened", format="unosend"),
        ]
    )
    await kept.append(event(at=T0))
    await kept.append(event(at=T0 + 1))  # a repeat: every GET of the pixel goes to an Unosend endpoint
    await kept.append(event(at=T0 + 2, recipient_index=1, verdict="human"))
    due = await kept.claim_due(SOON)
    assert Counter((d.endpoint_id, d.trigger) for d in due) == {
        ("both", "message.opened"): 2,
        ("both", "message.opened.legacy"): 2,
        ("humans", "message.opened"): 1,
        ("unosend", "email.opened"): 3,
    }


async def test_a_claim_counts_and_leases(kept: Store) -> None:
    await kept.sync_endpoints([endpoint()])
    done = await kept.append(event())
    assert done is not None
    now = time.time() + 1
    (first,) = await kept.claim_due(now)
    assert (first.event_id, first.endpoint_id, first.attempt, first.trigger) == (
        done.event_id, "e1", 1, "message.opened",
    )  # fmt: skip
    assert await kept.claim_due(now + 119) == []
    assert await kept.next_due() == pytest.approx(now + 120)
    (again,) = await kept.claim_due(now + 121)
    assert (again.delivery_id, again.attempt) == (first.delivery_id, 2)


async def test_what_is_due_late_is_hastened(kept: Store) -> None:
    await kept.sync_endpoints([endpoint()])
    for n in range(4):
        await kept.append(click(n))
    now = time.time() + 1
    due = await kept.claim_due(now)
    states: list[Literal["retry", "delivered"]] = ["retry", "retry", "retry", "delivered"]
    for delivery, state, pause in zip(due, states, (5, 50, 500, 900), strict=True):
        await kept.settle(delivery.delivery_id, Settlement(state, now, next_at=now + pause))
    await kept.hasten(now + 10, 100)
    pauses = {x.delivery_id: x.next_at - now for x in await kept.notifications()}
    assert [pauses[d.delivery_id] for d in due] == pytest.approx([5, 10, 400, 900])
    await kept.hasten(now + 20, float("inf"))
    pauses = {x.delivery_id: x.next_at - now for x in await kept.notifications()}
    assert [pauses[d.delivery_id] for d in due] == pytest.approx([5, 10, 20, 900])


async def test_settling(kept: Store) -> None:
    await kept.sync_endpoints([endpoint()])
    for n in range(3):
        await kept.append(click(n))
    now = time.time() + 1
    one, two, three = await kept.claim_due(now)
    await kept.settle(one.delivery_id, Settlement("delivered", now, status=200))
    await kept.settle(two.delivery_id, Settlement("dead", now, status=500, error="on fire"))
    await kept.settle(three.delivery_id, Settlement("retry", now, next_at=now + 5, status=503))
    assert await kept.next_due() == pytest.approx(now + 5)
    assert [(d.delivery_id, d.attempt) for d in await kept.claim_due(now + 6)] == [(three.delivery_id, 2)]
    notifications = await kept.notifications()
    assert [x.state for x in notifications] == ["pending", "dead", "delivered"]
    assert (notifications[1].error, notifications[1].status, notifications[1].message_id) == ("on fire", 500, "m1")
    (stand,) = await kept.backlog()
    assert (stand.pending, stand.delivered, stand.dead) == (1, 1, 1)
    assert await kept.notifications(state="dead", endpoint_id="e1") == [notifications[1]]


async def test_claims_are_fair_and_leave_the_busy_alone(kept: Store) -> None:
    await kept.sync_endpoints([endpoint("e1"), endpoint("e2"), endpoint("e3")])
    for n in range(10):
        await kept.append(click(n))
    now = time.time() + 1
    due = await kept.claim_due(now, busy={"e2": 4, "e3": 2}, each=4, limit=6)
    assert Counter(d.endpoint_id for d in due) == {"e1": 4, "e3": 2}
    first = [d.event_id for d in due if d.endpoint_id == "e1"]
    assert first == [e.event_id for e in (await kept.events())[:4]]


async def test_one_is_never_claimed_twice(kept: Store) -> None:
    await kept.sync_endpoints([endpoint()])
    await asyncio.gather(*(kept.append(click(n)) for n in range(40)))
    now = time.time() + 1
    claims = await asyncio.gather(*(kept.claim_due(now, limit=7) for _ in range(8)))
    ids = [d.delivery_id for claim in claims for d in claim]
    assert len(ids) == len(set(ids)) == 40


async def test_endpoints_follow_the_configuration(kept: Store) -> None:
    await kept.sync_endpoints([endpoint("e1"), endpoint("e2")])
    assert [(e.endpoint_id, e.status, e.secret) for e in await kept.endpoints()] == [
        ("e1", "active", ""),
        ("e2", "active", ""),
    ]
    await kept.append(event())
    await kept.sync_endpoints([endpoint("e1")])
    await kept.append(event(recipient_index=1))
    assert {e.endpoint_id: e.status for e in await kept.endpoints()} == {"e1": "active", "e2": "gone"}
    assert Counter(d.endpoint_id for d in await kept.claim_due(SOON)) == {"e1": 2}
    await kept.sync_endpoints([endpoint("e1"), endpoint("e2")])
    assert [d.endpoint_id for d in await kept.claim_due(SOON)] == ["e2"]


async def test_a_shut_endpoint_stays_shut_until_its_settings_change(kept: Store) -> None:
    await kept.sync_endpoints([endpoint()])
    await kept.set_endpoint_status("e1", "failed")
    await kept.sync_endpoints([endpoint()])
    await kept.append(event())
    assert await kept.claim_due(SOON) == []
    assert await kept.next_due() is None
    await kept.sync_endpoints([endpoint("e1", "message.opened")])
    assert [e.status for e in await kept.endpoints()] == ["active"]


async def test_replaying(kept: Store) -> None:
    await kept.sync_endpoints([endpoint("e1")])
    old, new = await kept.append(click(at=T0)), await kept.append(click(at=T0 + 50))
    assert old is not None
    assert new is not None
    now = time.time() + 1
    for d in await kept.claim_due(now):
        await kept.settle(d.delivery_id, Settlement("dead", now))
    assert await kept.claim_due(SOON) == []
    await kept.sync_endpoints([endpoint("e1"), endpoint("late")])
    assert await kept.replay(now, event_ids=[old.event_id, "no-such"]) == 2
    assert sorted((d.endpoint_id, d.event_id, d.attempt) for d in await kept.claim_due(now)) == [
        ("e1", old.event_id, 1),
        ("late", old.event_id, 1),
    ]
    assert await kept.replay(now, dead=True) == 1
    assert [(d.endpoint_id, d.event_id) for d in await kept.claim_due(now)] == [("e1", new.event_id)]
    assert await kept.replay(now, since=T0 + 1, endpoint_id="late") == 1
    assert [(d.endpoint_id, d.event_id) for d in await kept.claim_due(now)] == [("late", new.event_id)]


# -- keys, the whole ---------------------------------------------------------------------------------------------------


async def test_api_keys(kept: Store) -> None:
    one, two = ApiKey("one", "d1", ("read", "send"), created_at=1), ApiKey("two", "d2", (), "sales", created_at=2)
    await kept.add_api_key(one)
    await kept.add_api_key(two)
    with pytest.raises(ValueError, match="one"):
        await kept.add_api_key(replace(one, digest="d3"))
    assert await kept.api_keys() == [one, two]
    assert (await kept.find_api_key("d2"), await kept.find_api_key("d3")) == (two, None)
    assert (await kept.revoke_api_key("one"), await kept.revoke_api_key("one")) == (True, False)
    assert await kept.find_api_key("d1") is None


async def test_check(kept: Store) -> None:
    await kept.check()


def test_the_kind_is_chosen_by_the_url(tmp_path: Path) -> None:
    assert type(store.open("sqlite:a.db", tmp_path)).__name__ == "Sqlite"
    with pytest.raises(ValueError, match="mysql"):
        store.open("mysql://x", tmp_path)
