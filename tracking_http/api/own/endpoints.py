"""All webhook endpoints: those of relay.toml, of Nylas' and Unosend's registries, and our own.

Owns: their form here, and those that are made here, in any format and for some verdicts only. Leaves to others: ids, secrets
and what may be called (`relay.webhooks.registration`), what they were sent (`own.deliveries`). There is no challenge here:
`test` says whether an endpoint answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay import webhooks as sending
from relay.core import payload, urls
from relay.core.model import Endpoint, Format, Verdict
from relay.store import Backlog
from relay.webhooks import endpoints as configured
from relay.webhooks import examples, registration
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route
from tracking_http.api.v1 import webhooks as unosend
from tracking_http.api.v3 import webhooks as nylas

Description = Annotated[str, Meta(max_length=1000)]


class Created(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    triggers: list[str] = []  # none: all that the format has
    format: Format = "nylas"
    verdicts: list[Verdict] = []  # none: all
    description: Description = ""
    notify: list[str] = []
    compressed: bool = False


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    url: str | UnsetType = UNSET
    triggers: list[str] | UnsetType = UNSET
    verdicts: list[Verdict] | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    notify: list[str] | UnsetType = UNSET
    compressed: bool | UnsetType = UNSET
    status: Literal["active", "pause"] | UnsetType = UNSET


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    trigger: str = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    url: str
    source: Literal["config", "api"]
    registry: Literal["nylas", "unosend", "own"]
    format: Format
    triggers: list[str]
    verdicts: list[Verdict]
    status: Literal["active", "failing", "failed", "pause", "gone"]
    description: str
    notify: list[str]
    compressed: bool
    grant_id: str
    created_at: float
    updated_at: float
    status_updated_at: float
    pending: int
    delivered: int
    dead: int
    oldest_pending_at: float
    secret: str | UnsetType = UNSET


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    trigger: str
    status: int
    error: str
    milliseconds: int


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    removed: bool = True


def shown(endpoint: Endpoint, backlog: Backlog | None = None, *, secret: bool = False) -> Shown:
    stand = backlog or Backlog(endpoint.endpoint_id)
    return Shown(
        id=endpoint.endpoint_id,
        url=urls.masked(endpoint.url),
        source=endpoint.source,
        registry=endpoint.registry,
        format=endpoint.format,
        triggers=list(endpoint.triggers),
        verdicts=list(endpoint.verdicts),  # type: ignore[arg-type]
        status=endpoint.status,
        description=endpoint.description,
        notify=list(endpoint.notify),
        compressed=endpoint.compressed,
        grant_id=endpoint.grant_id,
        created_at=endpoint.created_at,
        updated_at=endpoint.updated_at,
        status_updated_at=endpoint.status_updated_at,
        pending=stand.pending,
        delivered=stand.delivered,
        dead=stand.dead,
        oldest_pending_at=stand.oldest,
        secret=endpoint.secret if secret else UNSET,
    )


async def named(call: Call) -> Endpoint:
    for endpoint in await call.services.store.endpoints():
        if endpoint.endpoint_id == call.path("id") and call.sees(endpoint.grant_id):
            return endpoint
    raise problems.missing("endpoint")


async def changeable(call: Call) -> Endpoint:
    endpoint = await named(call)
    if endpoint.source == "config":
        raise problems.Problem(409, "", "This endpoint is one of relay.toml, and is changed there.")
    return endpoint


def known(triggers: Sequence[str], format: Format, registry: str) -> tuple[str, ...]:
    names = {name for all_ in payload.NAMES[format].values() for name in all_}
    names |= {"nylas": nylas.TRIGGERS, "unosend": unosend.EVENTS}.get(registry, frozenset())
    unknown = [name for name in triggers if name not in names]
    if unknown:
        raise problems.invalid(f"triggers: {unknown[0][:100]!r} is not sent in the format {format!r}.")
    return registration.unique(triggers)


async def backlogs(call: Call) -> dict[str, Backlog]:
    return {one.endpoint_id: one for one in await call.services.store.backlog()}


async def listed(call: Call) -> list[Shown]:
    stands = await backlogs(call)
    endpoints = await call.services.store.endpoints()
    return [shown(one, stands.get(one.endpoint_id)) for one in endpoints if call.sees(one.grant_id)]


async def find(call: Call) -> Shown:
    endpoint = await named(call)
    return shown(endpoint, (await backlogs(call)).get(endpoint.endpoint_id))


async def create(call: Call) -> Shown:
    body: Created = call.body
    endpoint = Endpoint(
        "", body.url, known(body.triggers, body.format, "own"), verdicts=registration.unique(body.verdicts),
        format=body.format, registry="own", grant_id=call.grant_id, description=body.description,
        notify=registration.unique(body.notify), compressed=body.compressed,
    )  # fmt: skip
    try:
        made = await registration.make(call.services.store, call.poster, endpoint, time.time(), ask=False)
    except registration.Unfit as reason:
        raise problems.invalid(str(reason)) from reason
    return shown(made, secret=True)


async def update(call: Call) -> Shown:
    endpoint = await changeable(call)
    changes: dict[str, Any] = {
        name: registration.unique(value) if isinstance(value, list) else value
        for name in Updated.__struct_fields__
        if (value := getattr(call.body, name)) is not UNSET
    }
    if "triggers" in changes:
        known(changes["triggers"], endpoint.format, endpoint.registry)
        if not changes["triggers"] and endpoint.registry != "own":
            raise problems.invalid("triggers: at least one, in this registry.")
    ask = endpoint.registry == "nylas"
    try:
        changed = await registration.change(call.services.store, call.poster, endpoint, changes, time.time(), ask=ask)
    except registration.Unfit as reason:
        raise problems.invalid(str(reason)) from reason
    if changed is None:
        raise problems.missing("endpoint")
    return shown(changed, (await backlogs(call)).get(changed.endpoint_id))


async def destroy(call: Call) -> Removed:
    endpoint = await changeable(call)
    await call.services.store.remove_endpoint(endpoint.endpoint_id)
    return Removed(id=endpoint.endpoint_id)


async def rotate(call: Call) -> Shown:
    changed = await registration.rotate(call.services.store, await changeable(call), time.time())
    if changed is None:
        raise problems.missing("endpoint")
    return shown(changed, secret=True)


async def test(call: Call) -> Outcome:
    """Sends an example, signed as notifications are."""
    body: Tested = call.body
    endpoint = configured.whole(await named(call), configured.by_id(call.services.settings))
    sent_here = {name for names in payload.NAMES[endpoint.format].values() for name in names}
    trigger = body.trigger or next((name for name in endpoint.triggers if name in sent_here), "")
    past = examples.example(endpoint, trigger)
    if past is None:
        raise problems.invalid(f"trigger: {trigger[:100]!r} is not sent in the format {endpoint.format!r}.")
    trigger = trigger or payload.NAMES[endpoint.format][past.event.type][0]
    application_id = call.services.settings.application_id
    content = payload.shape(past, endpoint, application_id=application_id, attempt=1, trigger=trigger)
    if endpoint.compressed:
        content = sending.compressed(content)
    number = payload.notification_id(past.event, endpoint, trigger)
    now = time.time()
    headers = sending.request_headers(content, endpoint, endpoint.secret or examples.MOCK_SECRET, number, now, 1)
    if endpoint.format == "unosend":
        headers["X-Unosend-Test"] = "true"
    begun = time.monotonic()
    answer = await call.poster.post(endpoint.url, content, headers, now)
    took = round((time.monotonic() - begun) * 1000)
    return Outcome(trigger=trigger, status=answer.status, error=answer.error, milliseconds=took)


EXAMPLE = {
    "id": "wh_0f1c2d3e4f5061728394", "url": "https://app.example.com/hooks", "source": "api", "registry": "own",
    "format": "nylas", "triggers": ["message.opened"], "verdicts": ["human"], "status": "active", "description": "CRM",
    "notify": ["ops@example.com"], "compressed": False, "grant_id": "", "created_at": 1764400000.5,
    "updated_at": 1764400000.5, "status_updated_at": 1764400000.5, "pending": 0, "delivered": 12, "dead": 0,
    "oldest_pending_at": 0.0,
}  # fmt: skip
WITH_SECRET = EXAMPLE | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
ASKED = {name: EXAMPLE[name] for name in ("url", "triggers", "verdicts", "description", "notify")}
WRONG = "Wrong, or a URL that may not be called."
NONE = "There is no such endpoint."
ANSWERS = {404: NONE, 409: "It is one of relay.toml, and is changed there."}

ROUTES = (
    Route("GET", "/api/endpoints", "read", listed, "List all webhook endpoints", answer=list[Shown], shown=EXAMPLE),
    Route(
        "POST", "/api/endpoints", "manage", create, "Make a webhook endpoint", body=Created, answer=Shown, status=201,
        answers={400: WRONG}, example=ASKED, shown=WITH_SECRET, description="The secret is shown here and by a rotation only.",
    ),
    Route(
        "GET", "/api/endpoints/{id}", "read", find, "Find a webhook endpoint", answer=Shown, answers={404: NONE},
        shown=EXAMPLE,
    ),
    Route(
        "PATCH", "/api/endpoints/{id}", "manage", update, "Change a webhook endpoint", body=Updated, answer=Shown,
        answers={400: WRONG, **ANSWERS}, example={"status": "pause"}, shown=EXAMPLE,
    ),
    Route(
        "DELETE", "/api/endpoints/{id}", "manage", destroy, "Remove a webhook endpoint", answer=Removed, answers=ANSWERS,
        shown={"id": "wh_0f1c2d3e4f5061728394", "removed": True}, description="What it is still owed goes with it.",
    ),
    Route(
        "POST", "/api/endpoints/{id}/rotate-secret", "manage", rotate, "Make a new secret for a webhook endpoint",
        answer=Shown, answers=ANSWERS, shown=WITH_SECRET,
    ),
    Route(
        "POST", "/api/endpoints/{id}/test", "manage", test, "Send a webhook endpoint an example", body=Tested,
        answer=Outcome, answers={400: "The format has no such trigger.", 404: NONE}, example={"trigger": "message.opened"},
        shown={"trigger": "message.opened", "status": 204, "error": "", "milliseconds": 31},
    ),
)  # fmt: skip
