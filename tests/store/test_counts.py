"""The counters of every store: what is counted as it happens is what is counted anew."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay import store as stores
from relay.core import tally
from relay.core.model import Event, SentCopy
from relay.core.persons import Person
from relay.store import Engagement, UpstreamReply, decisions
from relay.store.contract import Store
from relay.store.sql import counts as counters
from tests.store.contract import T0, click, event, sent
from tests.store.test_persons import walked

HOUR = int(T0) // 3600 * 3600
ALL = (0, 1 << 33)


async def total(store: Store, by: str = "", key: str = "", **asked: Any) -> dict[str, int]:
    """The counters that are not 0."""
    found = await store.aggregates(by, *ALL, step="all", **asked)
    return {name: n for one in found if one.key == key for name, n in one.counters.items() if n}


async def everything(store: Store) -> list[object]:
    found: list[object] = [await store.top_links(*ALL), await store.engagements(["m1", "m2", "m3"])]
    for by in decisions.DIMENSIONS:
        found.append(await store.aggregates(by, *ALL, step="hour"))
    return found


async def anew(store: Store) -> None:
    await store.begin_recount()
    while await store.recount() is not None:
        pass


async def test_recipients_and_what_became_of_them(store: Store) -> None:
    await store.record_sent(sent())
    assert await total(store) == {"sent": 2}
    await store.record_replies([UpstreamReply("m1", ("bob@example.org", "c@example.org"), "later", "451")])
    assert await total(store) == {"sent": 2}
    await store.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250")])
    await store.record_replies([UpstreamReply("m1", ("c@example.org",), "never", "550")])
    await store.record_replies([UpstreamReply("m1", ("c@example.org",), "never", "550 again")])
    await store.record_replies([UpstreamReply("lost", ("c@example.org",), "done", "250")])
    assert await total(store, "recipient_domain", "example.org") == {"sent": 2, "delivered": 1, "failed": 1}
    await store.append(event("message.bounce_detected", recipient="bob@example.org"))
    await store.append(event("thread.replied", recipient="bob@example.org"))
    await store.append(event("thread.replied", data={"from_self": True}))
    assert await total(store, "sender", "ann@example.com") == {
        "sent": 2, "delivered": 1, "failed": 1, "bounced": 1, "replies": 1,
    }  # fmt: skip


async def test_firsts_are_per_recipient_and_machines_apart(store: Store) -> None:
    await store.record_sent(sent())
    at = T0 + 100_000
    for number, (index, verdict) in enumerate(
        [(0, "scanner"), (0, "human"), (0, "proxy"), (1, "unknown"), (1, "self")]
    ):
        await store.append(event(at=at + number * 100, recipient_index=index, verdict=verdict))
    await store.append(click(at=at, verdict="scanner", recipient_index=1))
    await store.append(click(at=at, verdict="human", recipient_index=1))
    await store.append(click(at=at, url="https://b.example/x", verdict="human", recipient_index=1))
    assert await total(store, "label", "spring") == {
        "sent": 2, "opens": 3, "first_opens": 2, "machine_opens": 1, "machine_first_opens": 1, "any_first_opens": 2,
        "clicks": 2, "first_clicks": 1, "machine_clicks": 1, "machine_first_clicks": 1, "any_first_clicks": 1,
    }  # fmt: skip
    assert await total(store, "link_host", "b.example") == {"clicks": 1}
    assert await store.top_links(*ALL, limit=1) == ([("https://a.example/", 2, 1)], 3)
    assert await store.engagements(["m1", "m2"]) == {"m1": Engagement(2, 1, 0, 0, 3, 1, 2, 1)}


async def test_links_are_counted_by_their_pages_and_days(store: Store) -> None:
    """Each recipient's own link is one of the page's."""
    day = int(T0) // 86_400 * 86_400
    await store.record_sent(sent())
    for number, page in enumerate(("one", "one", "two")):
        url = f"https://shop.example/{page}?uid={number}&utm_campaign=spring"
        await store.append(click(number, at=day + number * 3600.0, url=url))
    await store.append(click(at=day + 86_400.0, url="https://shop.example/two?uid=9&utm_campaign=spring"))
    pages = [(f"https://shop.example/{page}?utm_campaign=spring", 2, 0) for page in ("one", "two")]
    assert await store.top_links(*ALL) == (pages, 4)
    # The whole of a day in which the time begins and ends, and nothing of the next one.
    one, two = pages
    assert await store.top_links(day + 5000, day + 5001, grant_id=sent().grant_id) == ([one, (two[0], 1, 0)], 3)
    assert await store.top_links(day, day + 86_400) == ([one, (two[0], 1, 0)], 3)
    assert await store.top_links(day + 86_400, day + 86_401) == ([(two[0], 1, 0)], 1)


async def test_what_does_not_count_is_in_no_counter(store: Store) -> None:
    await store.record_sent(sent(copies=()))
    await store.append(event(method="HEAD"))
    await store.append(event(ip="8.8.4.4"))
    await store.append(event(message_id="lost"))
    assert await total(store) == {}


async def test_periods_grants_and_pages(store: Store) -> None:
    for number, (grant, hours, label) in enumerate([("a", 0, "x"), ("a", 1, "y"), ("b", 1, "x"), ("b", 30, "x")]):
        await store.record_sent(
            sent(f"m{number}", grant_id=grant, submitted_at=HOUR + hours * 3600 + 1.0, label=label,
                 copies=(SentCopy("b@x.org", 0, True),))
        )  # fmt: skip
    rows = [(one.at - HOUR, one.key) for one in await store.aggregates("label", *ALL, step="hour")]
    assert rows == [(0, "x"), (3600, "x"), (3600, "y"), (108_000, "x")]
    assert [o.key for o in await store.aggregates("grant", *ALL, step="all")] == ["a", "b"]
    assert await total(store, grant_id="b") == {"sent": 2}
    found: list[tuple[int, str]] = []
    while page := await store.aggregates("label", *ALL, step="hour", limit=2, after=found[-1] if found else None):
        found += [(one.at, one.key) for one in page]
    assert [(at - HOUR, key) for at, key in found] == rows
    (bounds,) = await store.aggregates("", HOUR + 3600, HOUR + 3601, step="hour")
    assert (bounds.at, bounds.counters["sent"]) == (HOUR + 3600, 2)
    days = [one.at for one in await store.aggregates("", *ALL, step="day", offset=7200)]
    assert all((at + 7200) % 86_400 == 0 for at in days)
    assert len(days) == 2
    pages: list[int] = []
    while found_days := await store.aggregates(
        "", *ALL, step="day", offset=7200, limit=1, after=(pages[-1], "") if pages else None
    ):
        pages += [one.at for one in found_days]
    assert pages == days


async def test_a_verdict_is_corrected_in_the_counters_too(store: Store) -> None:
    await store.record_sent(sent())
    first = event(at=T0 + 100_000, verdict="human")
    await store.append(first)
    await store.append(event(at=T0 + 110_000, verdict="human"))
    done = await store.correct(first.event_id, "prefetch", "seen again")
    assert done is not None
    assert (done.verdict, done.reason, done.ordinal) == ("prefetch", "seen again", 0)
    assert (await store.events())[0] == done
    rows = await store.aggregates("", int(T0) + 90_000, 1 << 33, step="hour")
    assert [{k: v for k, v in one.counters.items() if v} for one in rows] == [
        {"machine_opens": 1, "machine_first_opens": 1, "any_first_opens": 1}, {"opens": 1, "first_opens": 1},
    ]  # fmt: skip
    assert await store.correct("lost", "human", "") is None


async def test_a_message_that_is_removed_or_recorded_again(store: Store) -> None:
    await store.record_sent(sent())
    await store.append(click())
    before = await everything(store)
    await store.record_sent(sent())
    assert await everything(store) == before
    await asyncio.gather(*(store.record_sent(sent("m2")) for _ in range(3)))
    assert await total(store) == {"sent": 4, "clicks": 1, "first_clicks": 1, "any_first_clicks": 1}
    await store.remove_message("m2")
    await store.remove_message("m1")
    assert await total(store) == {}
    assert await store.engagements(["m1"]) == {}


async def test_a_rebuild_counts_nothing_twice_while_things_happen(store: Store, another: Store) -> None:
    for number in range(1, 4):
        await store.record_sent(sent(f"m{number}"))
        await store.append(click(message_id=f"m{number}"))
    await store.begin_recount()
    assert await store.counting()
    await another.append(click(message_id="m2"))
    await another.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250")])
    await store.recount()
    await another.append(click(message_id="m1"))
    await another.record_sent(sent("m4"))
    while await store.recount() is not None:
        pass
    assert not await another.counting()
    now = await everything(store)
    assert await total(store) == {
        "sent": 8, "delivered": 1, "clicks": 5, "first_clicks": 3, "any_first_clicks": 3,
    }  # fmt: skip
    await anew(store)
    assert await everything(store) == now


async def test_a_rebuild_empties_little_at_a_time_and_all_that_was_to_go(url: str, store: Any, another: Any) -> None:
    """Also what is of a message that goes meanwhile, what an erasure renamed, and where a rebuild begins again."""

    async def labels() -> int:
        return len(await store.aggregates("label", *ALL, step="hour"))

    store.step = another.step = counters.Step(rows=3)
    for number in range(9):
        await store.record_sent(
            sent(f"m{number}", label=f"to bob@example.org {number}", submitted_at=HOUR + number * 3600)
        )
        await store.append(click(message_id=f"m{number}", at=HOUR + 90_000.0 + number))
    before = await labels()
    await store.begin_recount()
    await store.recount()
    assert url == "memory:" or before - await labels() == 3
    await another.remove_message("m0")
    await another.remove_message("m4")
    await another.begin_recount()
    await another.recount()
    who = Person("bob@example.org")
    for one in await walked(another, who):
        if one.table == "counts":
            await another.erase_person(who, one.table, one.key)
    while await store.recount() is not None:
        pass
    assert (await total(store, "sender", "ann@example.com"))["sent"] == 14
    now = await everything(store)
    await anew(store)
    assert await everything(store) == now


IDS = st.sampled_from(["m1", "m2", "m3"])
PEOPLE = ("bob@example.org", "c@example.org")
STEPS = st.one_of(
    st.tuples(st.just("record"), IDS, st.sampled_from(["", "x"])),
    st.tuples(st.just("open"), IDS, st.integers(0, 2), st.sampled_from(["human", "scanner", "unknown"])),
    st.tuples(st.just("click"), IDS, st.integers(0, 1), st.sampled_from(["human", "prefetch"])),
    st.tuples(st.just("crowd"), st.lists(st.tuples(IDS, *map(st.integers, (0,) * 4, (2, 2, 2, 12))), max_size=12)),
    st.tuples(st.just("bounce"), IDS),
    st.tuples(st.just("reply"), IDS, st.sampled_from(PEOPLE), st.sampled_from(["done", "later", "never"])),
    st.tuples(st.just("correct"), st.integers(0, 30), st.sampled_from(["human", "crawler", "self"])),
    st.tuples(st.just("remove"), IDS),
    st.tuples(st.just("begin")),
    st.tuples(st.just("go on")),
)


def neighbour(at: float, message_id: str, index: int, link: int, who: int, after: int) -> Event:
    """A hit that is corrected, and corrects others; an open where there is no such link."""
    hit = click(link, message_id) if link < 2 else event(message_id=message_id)
    return hit.with_(at=at + after / 4, recipient_index=index, verdict="human", data={tally.WHO: (who, who, "")})


async def carry_out(store: Store, step: tuple[Any, ...], number: int) -> None:
    at = T0 + number * 1000
    match step:
        case ("record", message_id, label):
            await store.record_sent(sent(message_id, label=label, submitted_at=T0))
        case ("open", message_id, index, verdict):
            await store.append(event(message_id=message_id, at=at, recipient_index=index, verdict=verdict))
        case ("click", message_id, index, verdict):
            await store.append(click(message_id=message_id, at=at, recipient_index=index, verdict=verdict))
        case ("crowd", hits):
            await asyncio.gather(*(store.append(neighbour(at, *hit)) for hit in hits))
        case ("bounce", message_id):
            await store.append(event("message.bounce_detected", message_id, at, recipient="bob@example.org"))
        case ("reply", message_id, person, state):
            await store.record_replies([UpstreamReply(message_id, (person,), state, "ok")])
        case ("correct", which, verdict):
            events = await store.events()
            if events:
                await store.correct(events[which % len(events)].event_id, verdict, "")
        case ("remove", message_id):
            await store.remove_message(message_id)
        case ("begin",):
            await store.begin_recount()
        case ("go on",):
            await store.recount()


@pytest.mark.parametrize("kind", ["memory:", "sqlite:test.db"])
def test_the_counters_are_what_a_recount_finds(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEPS, max_size=25))
    def holds(steps: list[tuple[Any, ...]]) -> None:
        store: Any = stores.open(kind, Path(tmp_path_factory.mktemp("counts")))
        store.step = counters.Step(rows=2, messages=1)  # so that something comes between
        asyncio.run(compare(store, steps))

    holds()


async def compare(store: Store, steps: list[tuple[Any, ...]]) -> None:
    await store.start()
    for number, step in enumerate(steps):
        await carry_out(store, step, number)
    while await store.recount() is not None:
        pass
    before = await everything(store)
    await anew(store)
    after = await everything(store)
    await store.stop()
    assert after == before
