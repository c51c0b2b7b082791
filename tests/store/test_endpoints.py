"""What every store does with endpoints."""

from collections import Counter, defaultdict
from dataclasses import replace

import pytest

from relay.core.model import Settlement
from relay.store.contract import Store
from tests.store.contract import SOON, click, endpoint, event


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


async def test_endpoints_of_the_api(kept: Store) -> None:
    await kept.sync_endpoints([endpoint("configured")])
    mine = endpoint("mine", "message.opened", source="api", verdicts=("human",), format="unosend")
    await kept.add_endpoint(mine)
    with pytest.raises(ValueError, match="mine"):
        await kept.add_endpoint(mine)
    with pytest.raises(ValueError, match="configured"):
        await kept.add_endpoint(endpoint("configured"))
    assert mine.secret
    assert (await kept.endpoints())[1] == mine
    changed = replace(mine, url="https://other.example/hook", triggers=("message.link_clicked",), status="pause")
    assert await kept.update_endpoint(changed)
    assert (await kept.endpoints())[1] == changed
    assert not await kept.update_endpoint(endpoint("configured", "message.opened"))
    assert not await kept.update_endpoint(endpoint("no-such"))
    assert not await kept.remove_endpoint("configured")
    assert not await kept.remove_endpoint("no-such")
    assert [e.endpoint_id for e in await kept.endpoints()] == ["configured", "mine"]
    assert await kept.remove_endpoint("mine")
    assert not await kept.remove_endpoint("mine")
    assert [e.endpoint_id for e in await kept.endpoints()] == ["configured"]


async def test_the_configuration_leaves_the_endpoints_of_the_api_alone(kept: Store) -> None:
    mine = endpoint("mine", source="api")
    await kept.add_endpoint(mine)
    await kept.sync_endpoints([endpoint("configured")])
    await kept.sync_endpoints([])
    assert [(e.endpoint_id, e.status, e.secret) for e in await kept.endpoints()] == [
        ("configured", "gone", ""),
        ("mine", "active", mine.secret),
    ]


async def test_an_endpoint_of_the_api_is_owed_what_it_asks_for_while_it_is_there(kept: Store) -> None:
    await kept.sync_endpoints([endpoint("configured", "message.opened")])
    await kept.add_endpoint(endpoint("mine", "message.opened"))
    for n in range(3):
        await kept.append(event(recipient_index=n))
    ids: dict[str, list[int]] = defaultdict(list)
    for due in await kept.claim_due(SOON):
        ids[due.endpoint_id].append(due.delivery_id)
    first, second, third = ids["mine"]
    assert len(ids["configured"]) == 3
    await kept.settle(first, Settlement("delivered", SOON))
    await kept.settle(second, Settlement("dead", SOON))
    await kept.update_endpoint(endpoint("mine", "message.link_clicked", status="pause"))
    assert await kept.append(click()) is not None
    await kept.update_endpoint(endpoint("mine", "message.link_clicked"))
    assert await kept.append(click(1)) is not None
    assert [(n.trigger, n.state) for n in await kept.notifications(endpoint_id="mine")] == [
        ("message.link_clicked", "pending"),
        ("message.opened", "pending"),
        ("message.opened", "dead"),
        ("message.opened", "delivered"),
    ]
    await kept.remove_endpoint("mine")
    assert [n.delivery_id for n in await kept.notifications(endpoint_id="mine")] == [first]  # what it got is on record
    await kept.settle(third, Settlement("retry", SOON, next_at=SOON))  # its POST was under way
    assert await kept.append(click(2)) is not None
    assert await kept.replay(SOON, since=0) == 3
    assert {d.endpoint_id for d in await kept.claim_due(SOON + 1000)} == {"configured"}
