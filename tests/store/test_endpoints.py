"""What every store does with endpoints."""

from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from relay.core.model import Endpoint, Event, Notice, Settlement
from relay.store.contract import Store
from tests.store.contract import SOON, click, endpoint, event, sent


async def test_endpoints_follow_the_configuration(store: Store) -> None:
    await store.sync_endpoints([endpoint("e1"), endpoint("e2")])
    assert [(e.endpoint_id, e.status, e.secret) for e in await store.endpoints()] == [
        ("e1", "active", ""),
        ("e2", "active", ""),
    ]
    await store.append(event())
    await store.sync_endpoints([endpoint("e1")])
    await store.append(event(recipient_index=1))
    assert {e.endpoint_id: e.status for e in await store.endpoints()} == {"e1": "active", "e2": "gone"}
    assert Counter(d.endpoint_id for d in await store.claim_due(SOON)) == {"e1": 2}
    await store.sync_endpoints([endpoint("e1"), endpoint("e2")])
    assert [d.endpoint_id for d in await store.claim_due(SOON)] == ["e2"]


async def test_a_shut_endpoint_stays_shut_until_its_settings_change(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    await store.set_endpoint_status("e1", "failed", 5.0)
    await store.sync_endpoints([endpoint()])
    await store.append(event())
    assert await store.claim_due(SOON) == []
    assert await store.next_due() is None
    await store.sync_endpoints([endpoint("e1", "message.opened")])
    assert [e.status for e in await store.endpoints()] == ["active"]


async def test_endpoints_of_the_api(store: Store) -> None:
    await store.sync_endpoints([endpoint("configured")])
    mine = endpoint("mine", "message.opened", source="api", verdicts=("human",), format="unosend")
    await store.add_endpoint(mine)
    with pytest.raises(ValueError, match="mine"):
        await store.add_endpoint(mine)
    with pytest.raises(ValueError, match="configured"):
        await store.add_endpoint(endpoint("configured"))
    assert mine.secret
    assert (await store.endpoints())[1] == mine
    changed = replace(mine, url="https://other.example/hook", triggers=("message.link_clicked",), status="pause")
    assert await store.update_endpoint(changed)
    assert (await store.endpoints())[1] == changed
    assert not await store.update_endpoint(endpoint("configured", "message.opened"))
    assert not await store.update_endpoint(endpoint("no-such"))
    assert not await store.remove_endpoint("configured")
    assert not await store.remove_endpoint("no-such")
    assert [e.endpoint_id for e in await store.endpoints()] == ["configured", "mine"]
    assert await store.remove_endpoint("mine")
    assert not await store.remove_endpoint("mine")
    assert [e.endpoint_id for e in await store.endpoints()] == ["configured"]


async def test_the_configuration_leaves_the_endpoints_of_the_api_alone(store: Store) -> None:
    mine = endpoint("mine", source="api")
    await store.add_endpoint(mine)
    await store.sync_endpoints([endpoint("configured")])
    await store.sync_endpoints([])
    assert [(e.endpoint_id, e.status, e.secret) for e in await store.endpoints()] == [
        ("configured", "gone", ""),
        ("mine", "active", mine.secret),
    ]


async def test_an_endpoint_of_the_api_is_owed_what_it_asks_for_while_it_is_there(store: Store) -> None:
    await store.sync_endpoints([endpoint("configured", "message.opened")])
    await store.add_endpoint(endpoint("mine", "message.opened"))
    for n in range(3):
        await store.append(event(recipient_index=n))
    ids: dict[str, list[int]] = defaultdict(list)
    for due in await store.claim_due(SOON):
        ids[due.endpoint_id].append(due.delivery_id)
    first, second, third = ids["mine"]
    assert len(ids["configured"]) == 3
    await store.settle(first, Settlement("delivered", SOON))
    await store.settle(second, Settlement("dead", SOON))
    await store.update_endpoint(endpoint("mine", "message.link_clicked", status="pause"))
    assert await store.append(click()) is not None
    await store.update_endpoint(endpoint("mine", "message.link_clicked"))
    assert await store.append(click(1)) is not None
    assert [(n.trigger, n.state) for n in await store.notifications(endpoint_id="mine")] == [
        ("message.link_clicked", "pending"),
        ("message.opened", "pending"),
        ("message.opened", "dead"),
        ("message.opened", "delivered"),
    ]
    await store.remove_endpoint("mine")
    assert [n.delivery_id for n in await store.notifications(endpoint_id="mine")] == [first]  # what it got is on record
    await store.settle(third, Settlement("retry", SOON, next_at=SOON))  # its POST was under way
    assert await store.append(click(2)) is not None
    assert await store.replay(SOON, since=0) == 3
    assert {d.endpoint_id for d in await store.claim_due(SOON + 1000)} == {"configured"}


async def test_a_status_changes_once_and_says_since_when(store: Store) -> None:
    await store.add_endpoint(endpoint("mine"))
    assert await store.set_endpoint_status("mine", "failing", 7.0, was=("active",))
    assert not await store.set_endpoint_status("mine", "failing", 8.0, was=("active",))
    assert not await store.set_endpoint_status("mine", "failed", 9.0, was=("active", "pause"))
    assert not await store.set_endpoint_status("no-such", "failed", 9.0)
    (found,) = await store.endpoints()
    assert (found.status, found.status_updated_at) == ("failing", 7.0)


async def test_a_notice_is_due_where_somebody_wants_to_hear_of_it(store: Store) -> None:
    told = {"notify": ("ops@example.com",), "description": "CRM", "registry": "nylas"}
    await store.add_endpoint(endpoint("mine", **told))
    await store.add_endpoint(endpoint("silent"))
    assert await store.set_endpoint_status("silent", "failing", 7.0, error="HTTP 500")
    assert await store.set_endpoint_status("mine", "pause", 7.0)
    assert await store.notices() == []
    assert await store.set_endpoint_status("mine", "failing", 9.0, was=("pause",), error="HTTP 500", since=3.0)
    assert not await store.set_endpoint_status("mine", "failing", 9.5)
    assert await store.set_endpoint_status("mine", "failed", 10.0, error="HTTP 410")
    first, second = await store.notices()
    url = endpoint("mine").url
    assert first.with_(notice_id="") == Notice(
        "", "mine", "failing", 9.0, 3.0, "HTTP 500", ("ops@example.com",), url, "CRM", "nylas"
    )
    assert (second.status, second.since, second.error) == ("failed", 10.0, "HTTP 410")
    assert await store.hand_notice(first.notice_id, "0a")
    assert not await store.hand_notice(first.notice_id, "0b")
    assert [n.entry for n in await store.notices()] == ["0a", ""]
    await store.remove_notice(first.notice_id)
    await store.remove_notice("no-such")
    assert not await store.hand_notice(first.notice_id, "0c")
    assert await store.notices() == [second]
    assert await store.set_endpoint_status("mine", "active", 11.0)
    assert await store.set_endpoint_status("mine", "failing", 12.0)  # another time, another notice
    assert [n.status for n in await store.notices()] == ["failed", "failing"]


async def test_one_of_the_configuration_was_created_when_it_was_first_seen(store: Store) -> None:
    def seen(at: float, *triggers: str) -> Endpoint:
        return endpoint("e1", *triggers, created_at=at, updated_at=at)

    async def times() -> tuple[float, float, float]:
        (found,) = await store.endpoints()
        return found.created_at, found.updated_at, found.status_updated_at

    await store.sync_endpoints([endpoint("e1")])  # by a version that kept no times
    assert await store.set_endpoint_status("e1", "failed", 5.0)
    await store.sync_endpoints([seen(10.0)])
    assert (await times(), [e.status for e in await store.endpoints()]) == ((10.0, 10.0, 5.0), ["failed"])
    await store.sync_endpoints([seen(20.0)])
    assert await times() == (10.0, 10.0, 5.0)
    await store.sync_endpoints([seen(30.0, "thread.replied")])
    assert await times() == (10.0, 30.0, 30.0)


async def test_the_configuration_does_not_forget_since_when(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    assert await store.set_endpoint_status("e1", "failing", 7.0)
    await store.sync_endpoints([endpoint()])
    assert [(e.status, e.status_updated_at) for e in await store.endpoints()] == [("failing", 7.0)]


async def test_an_endpoint_of_a_grant_gets_what_is_the_grants(store: Store) -> None:
    await store.record_sent(sent("mine", grant_id="sales"))
    await store.record_sent(sent("others", grant_id="support"))
    await store.add_endpoint(endpoint("e1", "message.opened", grant_id="sales"))
    kept = await store.append(event(message_id="mine"))
    await store.append(event(message_id="others"))
    assert isinstance(kept, Event)
    assert [d.event_id for d in await store.claim_due(SOON)] == [kept.event_id]
