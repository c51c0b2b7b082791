"""What every store does with events, and with the cursors of mailboxes."""

import asyncio

from relay.core import floods
from relay.core.model import Event, SentCopy
from relay.store import Cursor
from relay.store.contract import Store
from tests.store.contract import SOON, T0, click, endpoint, event, sent


async def test_an_event_is_completed_from_its_message(store: Store) -> None:
    await store.record_sent(sent())
    done = await store.append(event(recipient_index=1, data={"x": ["ü", 1]}))
    assert done is not None
    assert (done.grant_id, done.recipient, done.sequence, done.counted, done.ordinal, done.position) == (
        "sales", "c@example.org", 1, True, 0, 1,
    )  # fmt: skip
    assert await store.events() == [done]


async def test_a_copy_that_several_share_has_no_recipient(store: Store) -> None:
    await store.record_sent(sent(copies=(SentCopy("a@x", 0, True), SentCopy("b@x", 0, True))))
    done = await store.append(event())
    assert done is not None
    assert done.recipient == ""


async def test_an_event_of_an_unknown_message_is_kept_and_counted(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    first, second = await store.append(click(message_id="lost")), await store.append(click(2, message_id="lost"))
    assert first is not None
    assert second is not None
    assert (first.grant_id, first.sequence, first.counted, second.ordinal) == ("default", 1, True, 1)
    history = await store.history(second.event_id)
    assert history is not None
    assert (history.sent, history.link_counts, len(history.recents)) == (None, (1, 0, 1), 2)
    assert len(await store.claim_due(SOON)) == 2


async def test_an_event_seen_twice_is_written_once_and_moves_the_cursor(store: Store) -> None:
    reply = event("thread.replied", data={"reply_id": "r1"})
    assert await store.append(reply, Cursor("inbox", 7, 10)) is not None
    assert await store.append(reply, Cursor("inbox", 7, 11)) is None
    assert len(await store.events()) == 1
    assert await store.cursor("inbox") == Cursor("inbox", 7, 11)


async def test_the_same_event_twice_at_once(store: Store) -> None:
    same = event()
    results = await asyncio.gather(*(store.append(same) for _ in range(5)))
    assert sum(r is not None for r in results) == 1
    assert [e.sequence for e in await store.events()] == [1]


async def test_repeats_head_and_own_hits_are_stored_only(store: Store) -> None:
    await store.record_sent(sent())
    await store.sync_endpoints([endpoint()])
    for hit in [
        event(at=T0 + 100_000),
        event(at=T0 + 100_059),
        event(at=T0 + 100_061, method="HEAD"),
        event(at=T0 + 100_061),
        event(at=T0 + 100_061, recipient_index=1),
        event(at=T0 + 60, ip="8.8.4.4"),
        click(at=T0 + 100_000, ip="9.9.9.9"),
        click(at=T0 + 100_001.9, ip="9.9.9.9"),
        click(at=T0 + 100_002.1, ip="9.9.9.9"),
        click(at=T0 + 100_000, ip="9.9.9.9", user_agent="Other/1.0"),
    ]:
        await store.append(hit)
    stored = await store.events()
    assert [e.counted for e in stored] == [True, False, False, True, True, False, True, False, True, True]
    assert [e.ordinal for e in stored] == [0, -1, -1, 1, 2, -1, 0, -1, 1, 2]
    assert [e.sequence for e in stored] == list(range(1, 11))
    assert stored[5].verdict == "self"
    assert len(await store.claim_due(SOON)) == 6


async def test_many_at_once_are_as_one_after_the_other(store: Store) -> None:
    await store.record_sent(sent())
    await store.sync_endpoints([endpoint()])
    alone = await store.append(event())
    assert isinstance(alone, Event)
    batches = [
        [event(), click(ip="9.9.9.9"), event(event_id=alone.event_id, at=alone.at)],
        [click(1, user_agent="\ud800"), click(ip="9.9.9.9")],
        [],
    ]
    other = click(2)
    done, _ = await asyncio.gather(asyncio.gather(*map(store.append_all, batches)), store.append(other))
    flags = [[isinstance(one, Event) and one.counted for one in part] for part in done]
    assert flags == [[False, True, False], [True, False], []]
    assert done[0][2] is None
    kept = await store.events()
    assert len(kept) == 6
    assert {e.event_id for e in kept} == {e.event_id for e in (alone, *batches[0][:2], *batches[1], other)}
    assert [e.position for e in kept] == list(range(1, 7))


async def test_a_hit_too_many_is_counted_and_owes_nothing(store: Store) -> None:
    await store.record_sent(sent())
    await store.sync_endpoints([endpoint()])
    done = [await store.append(click()) for _ in range(300)]
    kept = [e for e in done if isinstance(e, Event)]
    folded = [f for f in done if isinstance(f, floods.Folded)]
    assert len(kept) + len(folded) == 300
    assert done.index(folded[0]) == len(kept)
    assert all(T0 < f.until < T0 + floods.HOUR and f.everyone for f in folded)
    assert await store.events(limit=1000) == kept
    assert [e.position for e in kept] == list(range(1, len(kept) + 1))
    assert len(await store.notifications(limit=1000)) == len(kept)
    for number in (1, 2, 2, 1):  # the same one again is one that was taken, and not known to be
        await store.fold([floods.Fold("m1", "c0.0", 500), floods.Fold("unknown", "c0.0", 5)], "me", number)
    other = await store.append(click(1))
    assert isinstance(other, Event)
    assert other.data == {}
    later = await store.append(click(at=T0 + floods.HOUR, data={"tid": "x"}))
    assert isinstance(later, Event)
    assert later.data == {"tid": "x", "folded": 1000}
    last = await store.append(click(at=T0 + floods.HOUR))
    assert isinstance(last, Event)
    assert last.data == {}


async def test_the_buckets_are_those_of_all_processes(store: Store, another: Store) -> None:
    done = [await it.append(click()) for _ in range(200) for it in (store, another)]
    assert len(await store.events(limit=1000)) == sum(isinstance(e, Event) for e in done) < 250


async def test_a_copy_that_many_share_has_more_room(store: Store) -> None:
    copies = (SentCopy("a@x", 0, True), *(SentCopy(f"{n}@x", 1, True) for n in range(21)))
    await store.record_sent(sent(copies=copies))
    numbers = []
    for index in (0, 1):
        done = [await store.append(click(recipient_index=index)) for _ in range(500)]
        numbers.append(sum(isinstance(e, Event) for e in done))
    assert numbers[0] < 250
    assert 400 <= numbers[1] < 450


async def test_many_at_once_are_numbered_without_gaps(store: Store) -> None:
    for m in range(3):
        await store.record_sent(sent(f"m{m}"))
    done = await asyncio.gather(*(store.append(click(n % 3, f"m{n % 3}")) for n in range(300)))
    assert sorted(e.position for e in done if e) == list(range(1, 301))
    for m in range(3):
        own = [e for e in done if e and e.message_id == f"m{m}"]
        assert sorted(e.sequence for e in own) == list(range(1, 101))
        assert sorted(e.ordinal for e in own) == list(range(100))


async def test_events_can_be_followed_and_chosen(store: Store) -> None:
    await store.record_sent(sent())
    for n in range(6):
        await store.append(click(at=T0 + n) if n % 2 else event(message_id="m2", at=T0 + 100 * n))
    assert [e.position for e in await store.events(after=2, limit=2)] == [3, 4]
    assert [e.position for e in await store.events(limit=2, newest=True)] == [5, 6]
    assert [e.position for e in await store.events(after=5, newest=True)] == [6]
    assert [e.position for e in await store.events(message_id="m1")] == [2, 4, 6]
    assert await store.events(message_id="m1", types=["message.opened", "thread.replied"]) == []
    clicks = ["message.link_clicked", "thread.replied"]
    assert [e.position for e in await store.events(message_id="m1", types=clicks)] == [2, 4, 6]
    assert [e.position for e in await store.events(message_id="m1", types=clicks, newest=True, limit=1)] == [6]
    assert [e.position for e in await store.events(2, 1, message_id="m1")] == [4]
    assert await store.events(after=6) == []


async def test_who_follows_by_position_misses_nothing(store: Store, another: Store) -> None:
    """A cursor is good for that only if no event with a lower position appears after one with a higher was seen: however
    many append, in however many processes."""
    writers, each = 4, 50

    async def write(it: Store, message_id: str) -> None:
        for n in range(each):
            await it.append(click(n % 3, message_id))
            await asyncio.sleep(0)  # a store in memory would not let the others on

    writing = [asyncio.ensure_future(write(it, f"m{n}")) for n in range(writers) for it in (store, another)]
    seen: list[Event] = []
    looks = 0
    while True:
        ended = all(task.done() for task in writing)
        found = await store.events(seen[-1].position if seen else 0, limit=1000)
        looks += bool(found)
        seen += found
        if ended:
            break
        await asyncio.sleep(0)
    await asyncio.gather(*writing)
    assert len(seen) == 2 * writers * each
    assert seen == await another.events(limit=1000)
    assert looks > 5  # it did follow while they wrote


async def test_a_history_is_that_of_its_moment(store: Store) -> None:
    await store.record_sent(sent())
    made = [await store.append(click(n % 2, at=T0 + n)) for n in range(60)]
    opened = await store.append(event(at=T0 + 1))
    assert made[9] is not None
    assert made[59] is not None
    assert opened is not None
    early, late = await store.history(made[9].event_id), await store.history(made[59].event_id)
    assert early is not None
    assert late is not None
    assert (early.link_counts, late.link_counts) == ((5, 5, 0), (30, 30, 0))
    assert [e.ordinal for e in early.recents] == list(range(10))
    assert [e.ordinal for e in late.recents] == list(range(10, 60))
    assert early.first_at == late.first_at == T0
    assert late.sent == await store.sent("m1")
    of_open = await store.history(opened.event_id)
    assert of_open is not None
    assert (of_open.link_counts, of_open.recents) == ((), (opened,))
    assert await store.history("no-such") is None


async def test_a_history_of_an_event_that_did_not_count_ends_before_it(store: Store) -> None:
    first = await store.append(event(at=T0))
    again = await store.append(event(at=T0 + 1))
    await store.append(event(at=T0 + 100))
    assert again is not None
    history = await store.history(again.event_id)
    assert history is not None
    assert history.recents == (first,)
    assert history.first_at == T0


async def test_text_that_is_not_unicode_is_kept_all_the_same(store: Store) -> None:
    # A header that is not UTF-8 comes as half surrogate pairs.
    results = await asyncio.gather(
        store.append(event(user_agent="good")),
        store.append(event(user_agent="bad \udcff", recipient_index=1, data={"a": ["\ud800"]})),
        store.append(event(user_agent="good", recipient_index=2)),
    )
    assert all(results)
    await store.record_sent(sent("m9", subject="\udcfc"))
    assert await store.sent("m9") is not None


async def test_cursors(store: Store) -> None:
    assert await store.cursor("a") is None
    await store.save_cursor(Cursor("a", 1, 2, ("x", "y")))
    await store.save_cursor(Cursor("b", 1, 3))
    moved = Cursor("a", 2, 0, at=1_700_000_000.5, passed=("UID 7", "UID 9"))
    await store.save_cursor(moved)
    assert (await store.cursor("a"), await store.cursor("b")) == (moved, Cursor("b", 1, 3))
