"""What every store does with events, and with the cursors of mailboxes."""

import asyncio

from relay.core.model import Event, SentCopy
from relay.store import Cursor
from relay.store.contract import Store
from tests.store.contract import SOON, T0, click, endpoint, event, sent


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


async def test_who_follows_by_position_misses_nothing(kept: Store, another: Store) -> None:
    """A cursor is good for that only if no event with a lower position appears after one with a higher was seen: however
    many append, in however many processes."""
    writers, each = 4, 50

    async def write(it: Store, message_id: str) -> None:
        for n in range(each):
            await it.append(click(n % 3, message_id))
            await asyncio.sleep(0)  # a store in memory would not let the others on

    writing = [asyncio.ensure_future(write(it, f"m{n}")) for n in range(writers) for it in (kept, another)]
    seen: list[Event] = []
    looks = 0
    while True:
        ended = all(task.done() for task in writing)
        found = await kept.events(seen[-1].position if seen else 0, limit=1000)
        looks += bool(found)
        seen += found
        if ended:
            break
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    assert len(seen) == 2 * writers * each
    assert seen == await another.events(limit=1000)
    assert looks > 5  # it did follow while they wrote


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


async def test_cursors(kept: Store) -> None:
    assert await kept.cursor("a") is None
    await kept.save_cursor(Cursor("a", 1, 2, ("x", "y")))
    await kept.save_cursor(Cursor("b", 1, 3))
    await kept.save_cursor(Cursor("a", 2, 0))
    assert (await kept.cursor("a"), await kept.cursor("b")) == (Cursor("a", 2, 0), Cursor("b", 1, 3))
