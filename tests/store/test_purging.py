"""What every store does with what is too old."""

from collections import Counter

from relay.core.model import Event, Settlement
from relay.store import Draft, PurgeMark, Request, Schedule
from relay.store.contract import Store
from relay.store.lists import Answer
from tests.store.contract import SOON, T0, click, endpoint, event, sent

DAY = 86_400.0


async def purge(store: Store, before: float, most: int = 100) -> Counter[str]:
    """To the end."""
    mark: PurgeMark | None = PurgeMark()
    rows: Counter[str] = Counter()
    steps = 0
    while mark is not None:
        done = await store.purge(mark, before, most)
        rows.update(done.rows)
        mark = done.next
        assert (steps := steps + 1) < 1000
    return rows


async def test_what_is_old_goes_and_what_is_not_stays(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    for number, at in ((1, T0), (2, T0 + 5 * DAY)):
        name = f"m{number}"
        await store.record_sent(sent(name, submitted_at=at))
        await store.append(event(message_id=name, at=at + 10))
        await store.append(
            event("thread.replied", name, at=at + 20), None, Answer(f"a{number}", "sales", name, name, at)
        )
        await store.keep_message(name, at, b"octets", oldest=0.0, most=100)
    await purge(store, T0 + DAY)
    assert await store.sent("m1") is None
    assert await store.find_sent(["m1@mail.example"]) is None
    assert await store.answer("a1") is None
    assert await store.kept_message("m1") is None
    assert await store.events(message_id="m1") == []
    assert await store.notifications(message_id="m1") == []
    young = await store.sent("m2")
    assert young is not None
    assert len(young.copies) == 2
    assert await store.find_sent(["m2@mail.example"]) == young
    assert await store.answer("a2") is not None
    assert await store.kept_message("m2") == b"octets"
    assert [e.type for e in await store.events()] == ["message.opened", "thread.replied"]
    assert [n.message_id for n in await store.notifications()] == ["m2"]
    assert [row.pending for row in await store.backlog()] == [1]
    assert await store.oldest() == T0 + 5 * DAY


async def test_counters_stay(store: Store) -> None:
    await store.record_sent(sent())
    await store.append(event(at=T0 + 60))
    await store.append(click(at=T0 + 70))
    span = int(T0 - DAY), int(T0 + 2 * DAY)
    before = await store.aggregates("label", *span), await store.top_links(*span)
    await purge(store, T0 + DAY)
    assert (await store.aggregates("label", *span), await store.top_links(*span)) == before
    assert await store.events() == []
    # A rebuild counts what is there, and leaves what nothing is left of.
    await store.record_sent(sent("m2", submitted_at=T0 + 9 * DAY))
    await store.begin_recount()
    while await store.recount() is not None:
        pass
    assert (await store.aggregates("label", *span), await store.top_links(*span)) == before


async def test_a_young_event_of_an_old_message_stays(store: Store) -> None:
    await store.record_sent(sent())
    await store.append(event(at=T0 + 60))
    await store.append(event(at=T0 + 3 * DAY))
    await purge(store, T0 + DAY)
    (kept,) = await store.events()
    assert (kept.at, kept.sequence, kept.recipient) == (T0 + 3 * DAY, 2, "bob@example.org")
    found = await store.history(kept.event_id)
    assert found is not None
    assert found.sent is None
    # The next one goes on behind it, and once all are gone nothing is known any more.
    later = await store.append(event(at=T0 + 4 * DAY))
    assert getattr(later, "sequence", 0) == 3
    await purge(store, T0 + 5 * DAY)
    assert await store.events() == []
    again = await store.append(event(at=T0 + 6 * DAY))
    assert getattr(again, "sequence", 0) == 1


async def test_it_goes_in_small_steps_and_can_begin_anew(store: Store) -> None:
    people = tuple(sent().copies[0].with_(recipient=f"p{n}@example.org", index=n) for n in range(25))
    await store.record_sent(sent(copies=people))
    for number in range(2, 7):
        await store.record_sent(sent(f"m{number}"))
        for _ in range(3):
            await store.append(event(message_id=f"m{number}", at=T0 + 100 * number))
    for _ in range(2):
        await store.purge(PurgeMark(), T0 + DAY, 5)
    await purge(store, T0 + DAY, most=5)
    assert await store.recent_sent() == []
    assert await store.events() == []
    assert await purge(store, T0 + DAY, most=5) == Counter()


async def test_what_is_not_counted_yet_waits(store: Store) -> None:
    await store.record_sent(sent())
    await store.begin_recount()
    await purge(store, T0 + DAY)
    assert await store.sent("m1") is not None
    while await store.recount() is not None:
        pass
    await purge(store, T0 + DAY)
    assert await store.sent("m1") is None


async def test_drafts_schedules_requests_and_the_dead_go(store: Store) -> None:
    await store.save_draft(Draft("d1", "sales", T0, T0), [b"one"])
    await store.save_draft(Draft("d2", "sales", T0, T0 + 3 * DAY), [b"two"])
    for name, state in (("s1", "sent"), ("s2", "scheduled"), ("s3", "cancelled")):
        schedule = Schedule(name, "sales", name, T0 + 9 * DAY, T0)
        await store.add_schedule(schedule, [b"octets"])
        if state == "sent":
            await store.claim_schedules(T0 + 10 * DAY)
            await store.settle_schedule(schedule.with_(state="sent", attempt=1, closed_at=T0 + 60))
        elif state == "cancelled":
            assert await store.cancel_schedule("sales", name, T0, 0)
    await store.begin_request(Request("r1", "digest", "m1", T0), 0.0)
    await store.begin_request(Request("r2", "digest", "m2", T0 + 3 * DAY), 0.0)
    await store.sync_endpoints([endpoint()])
    await store.append(event(at=T0))
    (due,) = await store.claim_due(SOON)
    await store.settle(due.delivery_id, Settlement("dead", T0 + 60))
    await purge(store, T0 + DAY)
    assert [d.draft_id for d in await store.drafts("sales")] == ["d2"]
    assert await store.contents("d1") == []
    assert await store.contents("d2") == [b"two"]
    assert "s1" not in [s.schedule_id for s in await store.schedules("sales")]
    assert "s2" in [s.schedule_id for s in await store.schedules("sales")]
    assert await store.contents("s1") == []
    assert await store.begin_request(Request("r1", "digest", "m1", T0), 0.0) is None
    assert await store.begin_request(Request("r2", "digest", "m2", T0), 0.0) is not None
    assert await store.notifications() == []


async def test_addresses_are_cut_and_all_else_stays(store: Store) -> None:
    await store.record_sent(sent())
    old = await store.append(event(at=T0 + 60))
    opened = await store.append(click(at=T0 + 120))
    young = await store.append(event(at=T0 + 3 * DAY))
    mark: PurgeMark | None = PurgeMark()
    while mark is not None:
        mark = (await store.cut_addresses(mark, 0.0, T0 + DAY, 1)).next
    assert isinstance(old, Event)
    assert isinstance(opened, Event)
    assert await store.events() == [
        old.with_(ip="", user_agent=""),
        opened.with_(ip="", user_agent=""),
        young,
    ]
    found = await store.sent("m1")
    assert found is not None
    assert found.submitter_ip == ""


async def test_in_an_empty_store_there_is_nothing(store: Store) -> None:
    assert await purge(store, T0) == Counter()
    assert await store.oldest() is None
