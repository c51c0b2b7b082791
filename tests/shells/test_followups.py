"""The sender writes again: an event once the message was accepted, the same that a mailbox would make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay import followups
from relay import store as stores
from relay.core.model import Event, Sent, SentCopy
from relay.store import UpstreamReply
from relay.store.contract import Store

ANN = (SentCopy("ann@x.example", 0, True, thread_replies=True),)
FIRST = Sent("m1", "sales", "m1@x", 1.0, sender="s@y.example", thread_replies=True, copies=ANN)


def again(**changes: Any) -> Sent:
    plain = SentCopy("ann@x.example", 0, False)
    values = {"references": ("answer@x", "m1@x"), "copies": (plain,), "sender": "s@y.example", "subject": "Re: Offer"}
    return Sent("m2", "sales", "m2@x", 2.0, **(values | changes))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = stores.open("memory:", Path("."))
    await opened.start()
    await opened.record_sent(FIRST)
    yield opened
    await opened.stop()


async def followed(store: Store, sent: Sent, state: str = "done") -> list[Event]:
    await store.record_sent(sent)
    following = followups.FollowUps(store, pauses=(60.0,))
    following.recorded(sent)
    if state:
        await store.record_replies([UpstreamReply(sent.message_id, ("ann@x.example",), state, "x")])  # type: ignore[arg-type]
    await following.close()
    return await store.events()


@pytest.mark.parametrize("state", ["done", "later", ""])
async def test_a_message_that_goes_on_with_a_thread_is_told(store: Store, state: str) -> None:
    [event] = await followed(store, again(), state)
    assert (event.type, event.message_id, event.recipient, event.counted) == ("thread.replied", "m1", "", True)
    data = {name: event.data[name] for name in ("from_self", "reply_id", "root_message_id", "reply_to_message_id")}
    assert data == {"from_self": True, "reply_id": "m2", "root_message_id": "m1", "reply_to_message_id": "m1"}
    assert event.data["reply_from"] == {"address": "s@y.example", "name": ""}


async def test_one_that_was_refused_is_not(store: Store) -> None:
    assert await followed(store, again(), "never") == []


@pytest.mark.parametrize(
    "changes", [{"references": ()}, {"references": ("unknown@x",)}, {"grant_id": "other"}, {"references": ("m2@x",)}]
)
async def test_one_that_goes_on_with_nothing_is_not(store: Store, changes: dict[str, Any]) -> None:
    grant = changes.pop("grant_id", "sales")
    assert await followed(store, again(**changes).with_(grant_id=grant)) == []
