"""Notifications as they stand: attempts, answers, payloads; and sending them again.

Owns: their form. Leaves to others: sending (`relay.webhooks`), what is owed (`store`). A key of a grant sees those of the
endpoints that it made.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.core import payload
from relay.store import Notification
from tracking_http.api import cursors, problems
from tracking_http.api.calls import Call, Time
from tracking_http.api.envelopes import Page
from tracking_http.api.routing import Route

LARGEST = 2**63 - 1

State = Literal["pending", "delivered", "dead"]


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: str = ""
    state: State | Literal[""] = ""
    endpoint_id: str = ""
    event_id: str = ""
    message_id: str = ""


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """Those of these ids, or of all events since a time, or all dead ones; to one endpoint or all."""

    ids: Annotated[list[str], Meta(max_length=1000)] = []
    event_ids: Annotated[list[str], Meta(max_length=1000)] = []
    since: Time | None = None
    dead: bool = False
    endpoint_id: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    at: float
    status: int
    error: str
    milliseconds: int


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    endpoint_id: str
    trigger: str
    state: State
    event_id: str
    message_id: str
    first_at: float
    next_at: float
    settled_at: float
    status: int
    error: str
    attempts: list[Attempt]


class Whole(Shown, frozen=True, kw_only=True):
    """With what is sent; None where the event is gone."""

    payload: Any = None


class Due(msgspec.Struct, frozen=True, kw_only=True):
    due: int


def fields(n: Notification) -> dict[str, Any]:
    return {
        "id": str(n.delivery_id),
        "endpoint_id": n.endpoint_id,
        "trigger": n.trigger,
        "state": n.state,
        "event_id": n.event_id,
        "message_id": n.message_id,
        "first_at": n.first_at,
        "next_at": n.next_at if n.state == "pending" else 0.0,
        "settled_at": n.settled_at,
        "status": n.status,
        "error": n.error,
        "attempts": [Attempt(at=a.at, status=a.status, error=a.error, milliseconds=a.milliseconds) for a in n.attempts],
    }


async def mine(call: Call) -> Sequence[str] | None:
    """The endpoints whose notifications this key sees; None for all."""
    if not call.grant_id:
        return None
    return [one.endpoint_id for one in await call.services.store.endpoints() if call.sees(one.grant_id)]


async def listed(call: Call) -> Page:
    query: Listed = call.query
    before = cursors.read(query.cursor, int) if query.cursor else 0
    if not 0 <= before <= LARGEST:
        raise problems.invalid("The cursor is none that was given out here.")
    found = await call.services.store.notifications(
        endpoint_id=query.endpoint_id,
        endpoint_ids=await mine(call),
        state=query.state,
        event_id=query.event_id,
        message_id=query.message_id,
        before=before,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    more = len(found) > query.limit
    return Page([Shown(**fields(n)) for n in page], cursors.write(page[-1].delivery_id) if more else None)


def number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


async def named(call: Call) -> Notification:
    found = await call.services.store.notification(number(call.path("id")))
    seen = await mine(call)
    if found is None or (seen is not None and found.endpoint_id not in seen):
        raise problems.missing("delivery")
    return found


async def find(call: Call) -> Whole:
    n = await named(call)
    store = call.services.store
    history = await store.history(n.event_id)
    endpoint = next((one for one in await store.endpoints() if one.endpoint_id == n.endpoint_id), None)
    sent = None
    if history is not None and endpoint is not None:
        application_id = call.services.settings.application_id
        attempt = max(n.attempt, 1)
        body = payload.shape(history, endpoint, application_id=application_id, attempt=attempt, trigger=n.trigger)
        sent = msgspec.Raw(body)
    return Whole(**fields(n), payload=sent)


async def replay_one(call: Call) -> Due:
    n = await named(call)
    if all(one.endpoint_id != n.endpoint_id for one in await call.services.store.endpoints()):
        raise problems.Problem(409, "", "Its endpoint is gone.")
    return Due(due=await call.services.store.replay(time.time(), delivery_ids=[n.delivery_id]))


async def replay(call: Call) -> Due:
    body: Replayed = call.body
    if not (body.ids or body.event_ids or body.since is not None or body.dead):
        raise problems.invalid("One of ids, event_ids, since and dead is required.")
    store = call.services.store
    seen = [one.endpoint_id for one in await store.endpoints() if call.sees(one.grant_id)]
    if body.endpoint_id and body.endpoint_id not in seen:
        raise problems.missing("endpoint")
    targets = [body.endpoint_id] if body.endpoint_id or not call.grant_id else seen
    due = 0
    for endpoint_id in targets:
        due += await store.replay(
            time.time(),
            event_ids=body.event_ids,
            delivery_ids=[number(one) for one in body.ids],
            since=body.since,
            dead=body.dead,
            endpoint_id=endpoint_id,
        )
    return Due(due=due)


EXAMPLE = {
    "id": "4711", "endpoint_id": "wh_0f1c2d3e4f5061728394", "trigger": "message.opened", "state": "delivered",
    "event_id": "019acfa1-0000-7000-8000-000000000001", "message_id": "06qjs4t1o8e2c9k3m5g0", "first_at": 1764400000.5,
    "next_at": 0.0, "settled_at": 1764400006.1, "status": 200, "error": "",
    "attempts": [
        {"at": 1764400000.9, "status": 503, "error": "HTTP 503", "milliseconds": 31},
        {"at": 1764400006.1, "status": 200, "error": "", "milliseconds": 24},
    ],
}  # fmt: skip
NONE = "There is no such delivery."

ROUTES = (
    Route(
        "GET", "/api/deliveries", "read", listed, "List notifications, newest first", query=Listed, answer=list[Shown],
        shown=EXAMPLE,
    ),
    Route(
        "POST", "/api/deliveries/replay", "manage", replay, "Send notifications again", body=Replayed, answer=Due,
        answers={400: "Nothing is named.", 404: "There is no such endpoint."}, example={"since": 1764400000},
        shown={"due": 12}, description="With the whole schedule of attempts. What a live endpoint never was owed, but asks "
        "for, it gets now.",
    ),
    Route(
        "GET", "/api/deliveries/{id}", "read", find, "Find a notification and its payload", answer=Whole,
        answers={404: NONE}, shown=EXAMPLE | {"payload": {"specversion": "1.0", "type": "message.opened"}},
    ),
    Route(
        "POST", "/api/deliveries/{id}/replay", "manage", replay_one, "Send a notification again", answer=Due,
        answers={404: NONE, 409: "Its endpoint is gone."}, shown={"due": 1},
    ),
)  # fmt: skip
