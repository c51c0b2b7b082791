"""Unosend's webhooks: a registry of its own beside that of `/v3`, since Nylas' clients can't read its events.

Owns: its form, in the names of its older and its newer documentation at once. Leaves to others: ids, secrets and what may be
called (`relay.webhooks.registration`). There is no challenge here. An endpoint of relay.toml in this format is listed, and
changed there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.core import payload, urls
from relay.core.model import Endpoint
from relay.webhooks import registration
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.routing import Route

SENT = [names[0] for names in payload.NAMES["unosend"].values()]
EVENTS = frozenset({*SENT, "contact.unsubscribed"})  # the last one never comes

Events = Annotated[list[str], Meta(min_length=1, max_length=100)]


class Created(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    events: Events
    enabled: bool = True


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    url: str | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """`signing_secret` and `secret` are the same."""

    id: str
    url: str
    events: list[str]
    enabled: bool
    status: str
    created_at: str
    updated_at: str
    signing_secret: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    deleted: bool = True


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def shown(endpoint: Endpoint, *, secret: bool = False) -> Webhook:
    text = endpoint.secret if secret else UNSET
    return Webhook(
        id=endpoint.endpoint_id,
        url=urls.masked(endpoint.url),
        events=list(endpoint.triggers or SENT),
        enabled=endpoint.live,
        status=endpoint.status,
        created_at=moment(endpoint.created_at),
        updated_at=moment(endpoint.updated_at),
        signing_secret=text,
        secret=text,
    )


def visible(call: Call, endpoint: Endpoint) -> bool:
    known = endpoint.registry == "unosend" or (endpoint.source == "config" and endpoint.format == "unosend")
    return known and endpoint.status != "gone" and call.sees(endpoint.grant_id)


async def named(call: Call) -> Endpoint:
    for endpoint in await call.services.store.endpoints():
        if endpoint.endpoint_id == call.path("id") and visible(call, endpoint):
            return endpoint
    raise problems.missing("webhook")


async def changeable(call: Call) -> Endpoint:
    endpoint = await named(call)
    if endpoint.source == "config":
        raise problems.Problem(409, "", "This webhook is one of relay.toml, and is changed there.")
    return endpoint


def known(events: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in events if name not in EVENTS]
    if unknown:
        raise problems.invalid(f"events: {unknown[0][:100]!r} is no event.")
    return registration.unique(events)


async def listed(call: Call) -> list[Webhook]:
    return [shown(one) for one in await call.services.store.endpoints() if visible(call, one)]


async def find(call: Call) -> Webhook:
    return shown(await named(call))


async def create(call: Call) -> Webhook:
    body: Created = call.body
    endpoint = Endpoint(
        "", body.url, known(body.events), format="unosend", registry="unosend", grant_id=call.grant_id,
        status="active" if body.enabled else "pause",
    )  # fmt: skip
    try:
        made = await registration.make(call.services.store, call.poster, endpoint, time.time(), ask=False)
    except registration.Unfit as reason:
        raise problems.invalid(str(reason)) from reason
    return shown(made, secret=True)


async def update(call: Call) -> Webhook:
    body: Updated = call.body
    endpoint = await changeable(call)
    changes: dict[str, Any] = {}
    if body.url is not UNSET:
        changes["url"] = body.url
    if body.events is not UNSET:
        changes["triggers"] = known(body.events)
    if body.enabled is not UNSET and body.enabled != endpoint.live:
        changes["status"] = "active" if body.enabled else "pause"
    try:
        changed = await registration.change(call.services.store, call.poster, endpoint, changes, time.time(), ask=False)
    except registration.Unfit as reason:
        raise problems.invalid(str(reason)) from reason
    if changed is None:
        raise problems.missing("webhook")
    return shown(changed)


async def destroy(call: Call) -> Answer:
    endpoint = await changeable(call)
    await call.services.store.remove_endpoint(endpoint.endpoint_id)
    return Answer(Removed(id=endpoint.endpoint_id))


EXAMPLE = {
    "id": "wh_0f1c2d3e4f5061728394", "url": "https://app.example.com/hooks", "events": ["email.opened", "email.clicked"],
    "enabled": True, "status": "active", "created_at": "2025-11-29T07:00:00.000Z", "updated_at": "2025-11-29T07:00:00.000Z",
}  # fmt: skip
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of an example
WITH_SECRET = EXAMPLE | {"signing_secret": SECRET, "secret": SECRET}
ASKED = {name: EXAMPLE[name] for name in ("url", "events")}
WRONG = "Wrong, or a URL that may not be called."
NONE = "There is no such webhook."
CONFIGURED = "It is one of relay.toml, and is changed there."

ROUTES = (
    Route("GET", "/v1/webhooks", "read", listed, "List the webhooks", answer=list[Webhook], shown=EXAMPLE),
    Route(
        "POST", "/v1/webhooks", "manage", create, "Create a webhook", body=Created, answer=Webhook, status=201,
        answers={400: WRONG}, example=ASKED, shown=WITH_SECRET, description="The secret is shown this once.",
    ),
    Route(
        "GET", "/v1/webhooks/{id}", "read", find, "Find a webhook", answer=Webhook, answers={404: NONE}, shown=EXAMPLE,
    ),
    Route(
        "PATCH", "/v1/webhooks/{id}", "manage", update, "Change a webhook", body=Updated, answer=Webhook,
        answers={400: WRONG, 404: NONE, 409: CONFIGURED}, example={"enabled": False}, shown=EXAMPLE,
    ),
    Route(
        "DELETE", "/v1/webhooks/{id}", "manage", destroy, "Remove a webhook", answer=Removed,
        answers={404: NONE, 409: CONFIGURED}, shown={"id": "wh_0f1c2d3e4f5061728394", "deleted": True},
    ),
)  # fmt: skip
