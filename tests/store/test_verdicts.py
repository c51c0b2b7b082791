"""Hits correct each other's verdicts in the store."""

from __future__ import annotations

from dataclasses import replace

from relay.core import counts, neighbours, tally
from relay.core.model import Endpoint, Event, Settlement
from relay.store.contract import Store
from tests.store.contract import T0, click, event, sent

HERE, THERE = neighbours.Identity(11, 12), neighbours.Identity(21, 22)


def seen(hit: Event, who: neighbours.Identity, network: str = "") -> Event:
    return hit.with_(verdict="human", reason="browser", data={tally.WHO: [*who, network]})


def clicks(n: int, who: neighbours.Identity = HERE, *, at: float = 40.0, gap: float = 0.2) -> list[Event]:
    return [seen(click(i, at=T0 + at + i * gap), who) for i in range(n)]


LINKS = ("https://a.example/", "https://b.example/", "https://c.example/", "https://d.example/")


async def counted(store: Store) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in await store.aggregates("label", 0, int(T0) + 10**6):
        for name, number in row.counters.items():
            found[name] = found.get(name, 0) + number
    return found


async def test_a_burst_corrects_the_hits_before_it(store: Store) -> None:
    await store.record_sent(sent(links=LINKS))
    for hit in clicks(4):
        assert await store.append(hit) is not None
    found = [e for e in await store.events() if e.type == "message.link_clicked"]
    assert [(e.verdict, e.reason, e.first_verdict) for e in found] == [("scanner", "burst", "human")] * 4
    assert all(e.changed_at >= e.at for e in found)
    assert all(tally.WHO not in e.data for e in found)
    totals = await counted(store)
    assert (totals["clicks"], totals["machine_clicks"], totals["first_clicks"], totals["machine_first_clicks"]) == (
        0,
        4,
        0,
        1,
    )
    told = [e for e in await store.events() if e.type == "message.verdict_changed"]
    assert {e.data["event_id"] for e in told} <= {e.event_id for e in found}
    assert [e.position for e in await store.events()] == sorted(e.position for e in await store.events())
    assert {(e.verdict, e.first_verdict) for e in told} == {("scanner", "human")}


async def test_a_person_behind_a_gateway_keeps_the_first_click(store: Store) -> None:
    await store.record_sent(sent(links=LINKS))
    for hit in clicks(4):
        await store.append(hit)
    await store.append(seen(event(at=T0 + 500), THERE))
    await store.append(seen(click(1, at=T0 + 520), THERE))
    totals = await counted(store)
    assert (totals["clicks"], totals["first_clicks"], totals["machine_clicks"]) == (1, 1, 4)
    assert (totals["opens"], totals["first_opens"]) == (1, 1)


async def test_a_data_centre_soon_after_the_delivery(store: Store) -> None:
    await store.record_sent(sent(links=LINKS))
    soon = await store.append(seen(click(0, at=T0 + 30), HERE, "cloud"))
    late = await store.append(seen(click(1, at=T0 + 30_000), THERE, "cloud"))
    found = [(e.verdict, e.reason) for e in (soon, late) if isinstance(e, Event)]
    assert found == [("scanner", "cloud_network"), ("human", "browser")]


def hook(**fields: object) -> Endpoint:
    return replace(Endpoint("wh", "https://app.example/", ("message.link_clicked",)), **fields)  # type: ignore[arg-type]


async def test_a_notification_waits_for_its_verdict(store: Store) -> None:
    await store.sync_endpoints([hook(settle=10.0, verdicts=("human",))])
    await store.record_sent(sent(links=LINKS))
    first, *more = clicks(4)
    await store.append(first)
    [waiting] = await store.notifications()
    assert waiting.next_at == waiting.first_at + 10
    assert await store.claim_due(waiting.first_at + 9) == []
    for hit in more:
        await store.append(hit)
    assert await store.notifications() == []  # they are a machine's, and nobody asked for those


async def test_what_becomes_a_machines_is_told_to_who_asked_for_them(store: Store) -> None:
    await store.sync_endpoints(
        [hook(verdicts=("scanner",), triggers=("message.link_clicked", "message.verdict_changed"))]
    )
    await store.record_sent(sent(links=LINKS))
    for hit in clicks(4):
        await store.append(hit)
    told = await store.notifications()
    assert sum(n.trigger == "message.link_clicked" for n in told) == 4
    changed = [e for e in await store.events() if e.type == "message.verdict_changed"]
    assert (
        {n.event_id for n in told if n.trigger == "message.verdict_changed"} == {e.event_id for e in changed} != set()
    )


async def test_what_was_told_is_not_taken_back(store: Store) -> None:
    await store.sync_endpoints([hook(verdicts=("human",))])
    await store.record_sent(sent(links=LINKS))
    first, *more = clicks(4)
    await store.append(first)
    [delivery] = await store.claim_due(T0 + 10**9)
    await store.settle(delivery.delivery_id, Settlement("delivered", T0))
    for hit in more:
        await store.append(hit)
    assert first.event_id in {n.event_id for n in await store.notifications(state="delivered")}
    history = await store.history(first.event_id)
    assert history is not None
    assert (history.event.verdict, history.event.first_verdict) == ("scanner", "human")


async def test_one_batch_is_as_one_after_the_other(store: Store) -> None:
    import asyncio

    await store.record_sent(sent(links=LINKS))
    await asyncio.gather(*map(store.append, clicks(4)))
    found = [e for e in await store.events() if e.type == "message.link_clicked"]
    assert {e.verdict for e in found} == {"scanner"}
    totals, message = await counted(store), await store.sent(found[0].message_id)
    assert message is not None
    recounted, _ = counts.message(message, await store.events(message_id=found[0].message_id))
    by_label = [row for key, row in recounted.items() if key[0] == "label"]
    for at, name in enumerate(counts.COUNTERS):
        assert totals.get(name, 0) == sum(row[at] for row in by_label)


async def test_who_follows_the_canary_is_no_click_and_marks_what_it_did(store: Store) -> None:
    await store.sync_endpoints([hook(triggers=())])
    await store.record_sent(sent(links=LINKS))
    await store.append(seen(click(0, at=T0 + 100), HERE))
    await store.append(seen(click(1, at=T0 + 400), THERE))
    told = len(await store.claim_due(4e9))
    bird = await store.append(
        seen(click(0, at=T0 + 110), HERE).with_(event_id="bird", type="message.canary_followed", url="")
    )
    assert isinstance(bird, Event)
    assert (bird.verdict, bird.reason, bird.counted) == ("scanner", "canary", False)
    found = {e.link_index: (e.verdict, e.reason) for e in await store.events() if e.type == "message.link_clicked"}
    assert found == {0: ("scanner", "around_canary"), 1: ("human", "browser")}
    totals = await counted(store)
    assert (totals["clicks"], totals["machine_clicks"]) == (1, 1)
    assert told == 2
    assert not await store.claim_due(4e9)


async def test_a_verdict_that_is_there_already_changes_nothing(store: Store) -> None:
    await store.record_sent(sent(links=LINKS))
    hit = await store.append(seen(click(0, at=T0 + 40), HERE))
    assert isinstance(hit, Event)
    first = await store.correct(hit.event_id, "scanner", "gateway_name")
    assert await store.correct(hit.event_id, "scanner", "burst") == first
    assert first is not None
    assert first.reason == "gateway_name"
    assert len([e for e in await store.events() if e.type == "message.verdict_changed"]) == 1
    assert await store.correct("none", "scanner", "burst") is None
