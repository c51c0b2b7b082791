"""A login that stops working is told once, and so is that it works again."""

import json

import pytest

from relay import store
from relay.core import payload
from relay.core.model import Endpoint
from relay.credentials import Credentials, OfUpstreams
from tests import contract
from tests.store.contract import T0
from tests.until import until

HOOK = Endpoint("e1", "https://x.test", ("grant.expired", "grant.updated"), "whsec_eHg=")


@pytest.fixture(params=["memory:", "sqlite:t.db"])
async def records(request, tmp_path):
    made = store.open(request.param, tmp_path)
    await made.start()
    await made.sync_endpoints([HOOK])
    yield made
    await made.stop()


async def told(records):
    return [(e.type, e.grant_id, e.data["access"], e.reason) for e in await records.events()]


async def test_each_change_is_told_once(records):
    calls = []
    one = Credentials(records, appended=lambda: calls.append(1), clock=lambda: T0)
    await one.accepted("sales", "mailbox")  # as it should be
    for _ in range(3):
        await one.refused("sales", "mailbox", "535 no")
    await one.refused("sales", "upstream", "535 nor here")
    await one.refused("other", "mailbox", "NO")
    await one.accepted("sales", "mailbox")
    await one.accepted("sales", "mailbox")
    await one.refused("sales", "mailbox", "535 again")
    assert await told(records) == [
        ("grant.expired", "sales", "mailbox", "535 no"),
        ("grant.expired", "sales", "upstream", "535 nor here"),
        ("grant.expired", "other", "mailbox", "NO"),
        ("grant.updated", "sales", "mailbox", ""),
        ("grant.expired", "sales", "mailbox", "535 again"),
    ]
    assert len(calls) == 5


async def test_another_process_and_the_next_one_know_it(records):
    first, second = Credentials(records), Credentials(records)
    await first.refused("sales", "mailbox", "535 no")
    await second.refused("sales", "mailbox", "535 no")
    await Credentials(records).accepted("sales", "mailbox")
    assert [kind for kind, *_ in await told(records)] == ["grant.expired", "grant.updated"]


async def test_a_store_that_is_away_is_told_at_the_next_login(records):
    class Away:
        events = records.events
        away = True

        async def append(self, event):
            if self.away:
                raise store.Unavailable("gone")
            return await records.append(event)

    moody = Away()
    one = Credentials(moody)
    with pytest.raises(store.Unavailable):
        await one.refused("sales", "mailbox", "535 no")
    moody.away = False
    await one.refused("sales", "mailbox", "535 no")
    assert len(await told(records)) == 1


async def test_it_is_a_notification_to_who_asks(records):
    await Credentials(records, clock=lambda: T0).refused("sales", "mailbox", "535 no")
    (due,) = await records.claim_due(T0 + 1e10)
    past = await records.history(due.event_id)
    made = json.loads(payload.shape(past, HOOK, application_id="app", attempt=1, trigger=due.trigger))
    assert (made["type"], contract.errors(made)) == ("grant.expired", [])


async def test_an_upstreams_login_is_told_of_each_grant_whose_mail_it_carries(records):
    of = OfUpstreams(Credentials(records), lambda name: {"default": ("a", "b"), "other": ()}[name])
    of.told("default", "")
    of.told("default", "535 no")
    of.told("other", "535 no")
    await until(lambda: lasting(records, 2))
    assert await told(records) == [
        ("grant.expired", "a", "upstream", "535 no"),
        ("grant.expired", "b", "upstream", "535 no"),
    ]
    of.told("default", "535 no")
    of.told("default", "")
    await until(lambda: lasting(records, 4))
    assert [kind for kind, *_ in await told(records)][2:] == ["grant.updated", "grant.updated"]


async def lasting(records, count):
    return len(await records.events()) == count
