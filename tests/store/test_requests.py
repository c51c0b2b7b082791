"""What every store does with the calls that may be repeated."""

import asyncio

from relay.store import Request
from relay.store.contract import Store
from tests.store.contract import T0

CALL = Request("k1", "d1", "m1", T0)


async def test_a_call_begins_once(store: Store) -> None:
    assert await store.begin_request(CALL, T0 - 3600) is None
    assert await store.begin_request(CALL.with_(digest="d2", message_id="m2"), T0 - 3600) == CALL
    assert await store.begin_request(CALL.with_(request_key="k2"), T0 - 3600) is None


async def test_one_of_several_at_once_begins_it(store: Store) -> None:
    calls = [CALL.with_(message_id=f"m{n}") for n in range(20)]
    found = await asyncio.gather(*(store.begin_request(call, T0 - 3600) for call in calls))
    (first,) = [call for call, known in zip(calls, found, strict=True) if known is None]
    assert {known for known in found if known} == {first}


async def test_it_goes_on(store: Store) -> None:
    await store.begin_request(CALL, T0 - 3600)
    kept = CALL.with_(state="kept")
    await store.settle_request(kept)
    assert await store.begin_request(CALL, T0 - 3600) == kept
    answered = CALL.with_(state="answered", answer='{"a":"ä"}')
    await store.settle_request(answered)
    assert await store.begin_request(CALL, T0 - 3600) == answered
    await store.settle_request(CALL.with_(request_key="k9"))  # none of that key
    assert await store.begin_request(CALL.with_(request_key="k9"), T0 - 3600) is None


async def test_what_was_dropped_or_is_old_begins_again(store: Store) -> None:
    await store.begin_request(CALL, T0 - 3600)
    await store.drop_request("k1")
    again = CALL.with_(message_id="m2", at=T0 + 1)
    assert await store.begin_request(again, T0 - 3600) is None
    assert await store.begin_request(CALL, T0 + 1) == again
    assert await store.begin_request(CALL.with_(message_id="m3", at=T0 + 5000), T0 + 2) is None
