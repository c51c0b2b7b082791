"""Nylas' webhooks: https://developer.nylas.com, "webhook destinations".

Owns: their form, and which of our endpoints are shown in it: those made here, and those of relay.toml in Nylas' format,
which can be read and not changed. Endpoints of Unosend's registry and our own never are, since a trigger that Nylas does not
know makes its SDK fail on the whole list. Leaves to others: the challenge and the secrets (`relay.webhooks.registration`).

A secret is shown when it is made, and never again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay import webhooks as sending
from relay.core import payload, urls
from relay.core.model import Endpoint
from relay.webhooks import examples, registration
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route

# What Nylas' clients may ask for: all that its API knows. Those in payload.NAMES are sent, and no others ever come.
SUBJECTS = {
    "booking": "created pending rescheduled cancelled reminder",
    "calendar": "created updated deleted",
    "contact": "created updated deleted",
    "event": "created updated deleted",
    "folder": "created updated deleted",
    "grant": "created updated deleted expired imap_sync_completed",
    "message": "created updated deleted send_success send_failed bounce_detected opened link_clicked opened.legacy "
    "link_clicked.legacy intelligence.order intelligence.tracking intelligence.return created.cleaned",
    "notetaker": "created updated deleted meeting_state media",
    "thread": "replied replied.legacy",
}
TRIGGERS = frozenset(f"{subject}.{what}" for subject, all_ in SUBJECTS.items() for what in all_.split())
# What the enumeration of Nylas' SDK for Python lacks: it can't read a list with one of them.
NOT_IN_PYTHON = frozenset(
    {
        *(name for name in TRIGGERS if name.startswith("notetaker.")),
        *("contact.created", "grant.imap_sync_completed", "message.created.cleaned"),
    }
)
WRAPPER = "X-Nylas-API-Wrapper"  # by which that SDK says its language

UNKNOWN_ID = "destination.id.not.found : record not found"

Description = Annotated[str, Meta(max_length=1000)]
Triggers = Annotated[list[str], Meta(min_length=1, max_length=100)]


class Created(msgspec.Struct, frozen=True, kw_only=True):
    trigger_types: Triggers
    webhook_url: str
    description: Description | None = None
    notification_email_addresses: list[str] | None = None
    compressed_delivery: bool = False


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    trigger_types: Triggers | UnsetType = UNSET
    webhook_url: str | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    notification_email_addresses: list[str] | UnsetType | None = UNSET
    compressed_delivery: bool | UnsetType = UNSET
    status: Literal["active", "pause"] | UnsetType = UNSET


class Mocked(msgspec.Struct, frozen=True, kw_only=True):
    trigger_type: str


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    webhook_url: str
    trigger_type: str = "message.opened"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    description: str | None
    trigger_types: list[str]
    webhook_url: str
    status: Literal["active", "failing", "failed", "pause"]
    notification_email_addresses: list[str]
    compressed_delivery: bool
    status_updated_at: int
    created_at: int
    updated_at: int
    webhook_secret: str | UnsetType = UNSET


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["success"] = "success"


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    ip_addresses: list[str]
    updated_at: int


def shown(call: Call, endpoint: Endpoint, *, secret: bool = False) -> Webhook:
    names: Sequence[str] = endpoint.triggers or [names[0] for names in payload.NAMES["nylas"].values()]
    if call.request.headers.get(WRAPPER) == "python":
        names = [name for name in names if name not in NOT_IN_PYTHON]
    return Webhook(
        id=endpoint.endpoint_id,
        description=endpoint.description or None,
        trigger_types=[name for name in names if name != payload.CHANGED],  # an SDK fails on one that it does not know
        webhook_url=urls.masked(endpoint.url),
        status=endpoint.status if endpoint.status != "gone" else "failed",
        notification_email_addresses=list(endpoint.notify),
        compressed_delivery=endpoint.compressed,
        status_updated_at=int(endpoint.status_updated_at),
        created_at=int(endpoint.created_at),
        updated_at=int(endpoint.updated_at),
        webhook_secret=endpoint.secret if secret else UNSET,
    )


def visible(call: Call, endpoint: Endpoint) -> bool:
    made_here = endpoint.registry == "nylas" or (endpoint.source == "config" and endpoint.format == "nylas")
    return made_here and endpoint.status != "gone" and call.sees(endpoint.grant_id)


async def named(call: Call) -> Endpoint:
    for endpoint in await call.services.store.endpoints():
        if endpoint.endpoint_id == call.path("id") and visible(call, endpoint):
            return endpoint
    raise problems.Problem(400, "70000", UNKNOWN_ID)


async def changeable(call: Call) -> Endpoint:
    endpoint = await named(call)
    if endpoint.source == "config":
        raise problems.Problem(409, "", "This webhook is one of relay.toml, and is changed there.")
    return endpoint


def known(triggers: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in triggers if name not in TRIGGERS]
    if unknown:
        raise problems.invalid(f"trigger_types: {unknown[0][:100]!r} is no trigger.")
    return registration.unique(triggers)


def refused(reason: registration.Unfit) -> problems.Problem:
    return problems.Problem(400, "70005" if isinstance(reason, registration.Unverified) else "", str(reason))


async def listed(call: Call) -> list[Webhook]:
    return [shown(call, one) for one in await call.services.store.endpoints() if visible(call, one)]


async def find(call: Call) -> Webhook:
    return shown(call, await named(call))


async def create(call: Call) -> Webhook:
    body: Created = call.body
    endpoint = Endpoint(
        "",
        body.webhook_url,
        known(body.trigger_types),
        registry="nylas",
        grant_id=call.grant_id,
        description=body.description or "",
        notify=registration.unique(body.notification_email_addresses or ()),
        compressed=body.compressed_delivery,
    )
    try:
        made = await registration.make(call.services.store, call.poster, endpoint, time.time(), ask=True)
    except registration.Unfit as reason:
        raise refused(reason) from reason
    return shown(call, made, secret=True)


async def update(call: Call) -> Webhook:
    body: Updated = call.body
    endpoint = await changeable(call)
    changes: dict[str, Any] = {}
    if body.trigger_types is not UNSET:
        changes["triggers"] = known(body.trigger_types)
    if body.webhook_url is not UNSET:
        changes["url"] = body.webhook_url
    if body.description is not UNSET:
        changes["description"] = body.description or ""
    if body.notification_email_addresses is not UNSET:
        changes["notify"] = registration.unique(body.notification_email_addresses or ())
    if body.compressed_delivery is not UNSET:
        changes["compressed"] = body.compressed_delivery
    if body.status is not UNSET:
        changes["status"] = body.status
    try:
        changed = await registration.change(call.services.store, call.poster, endpoint, changes, time.time(), ask=True)
    except registration.Unfit as reason:
        raise refused(reason) from reason
    if changed is None:
        raise problems.Problem(400, "70000", UNKNOWN_ID)
    return shown(call, changed)


async def destroy(call: Call) -> Removed:
    endpoint = await changeable(call)
    await call.services.store.remove_endpoint(endpoint.endpoint_id)
    return Removed()


async def rotate(call: Call) -> Webhook:
    changed = await registration.rotate(call.services.store, await changeable(call), time.time())
    if changed is None:
        raise problems.Problem(400, "70000", UNKNOWN_ID)
    return shown(call, changed, secret=True)


async def addresses(call: Call) -> Addresses:
    """None are promised: they are those of the machine, which it can't see from inside."""
    return Addresses(ip_addresses=[], updated_at=0)


def example_of(call: Call, trigger: str) -> bytes:
    """The body of an example notification. Raises 400."""
    found = examples.of_nylas().get(trigger)
    if found is not None:
        return msgspec.json.encode(found)
    endpoint = Endpoint("", "", (trigger,))
    past = examples.example(endpoint, trigger) if trigger else None
    if past is None:
        raise problems.invalid(f"trigger_type: there is no example of {trigger[:100]!r}.")
    application_id = call.services.settings.application_id
    return payload.shape(past, endpoint, application_id=application_id, attempt=1, trigger=trigger)


async def mock(call: Call) -> Any:
    body: Mocked = call.body
    return msgspec.Raw(example_of(call, body.trigger_type))


async def test(call: Call) -> str:
    body: Tested = call.body
    content = example_of(call, body.trigger_type)
    endpoint = Endpoint("test", body.webhook_url, (body.trigger_type,))
    try:
        await registration.examine(call.poster, endpoint)
    except registration.Unfit as reason:
        raise refused(reason) from reason
    now = time.time()
    headers = sending.request_headers(content, endpoint, examples.MOCK_SECRET, registration.new_id(), now, 1)
    answer = await call.poster.post(endpoint.url, content, headers, now)
    if not answer.good:
        said = f"status is not ok, got {answer.status}" if answer.status else answer.error
        raise problems.Problem(400, "70005", f"{registration.TOLD}{said}")
    return "success"


EXAMPLE = {
    "id": "wh_0f1c2d3e4f5061728394", "description": "CRM", "trigger_types": ["message.opened", "thread.replied"],
    "webhook_url": "https://app.example.com/hooks", "status": "active",
    "notification_email_addresses": ["ops@example.com"], "compressed_delivery": False,
    "status_updated_at": 1764400000, "created_at": 1764400000, "updated_at": 1764400000,
}  # fmt: skip
WITH_SECRET = EXAMPLE | {"webhook_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
ASKED = {
    name: EXAMPLE[name] for name in ("trigger_types", "webhook_url", "description", "notification_email_addresses")
}
BODY = "Wrong, or the URL did not answer the challenge (type 70005), or there is no such webhook (70000)."
CONFIGURED = "It is one of relay.toml, and is changed there."
ANSWERS = {400: BODY, 409: CONFIGURED}

ROUTES = (
    Route("GET", "/v3/webhooks", "read", listed, "List the webhooks", answer=list[Webhook], shown=EXAMPLE),
    Route(
        "POST", "/v3/webhooks", "manage", create, "Create a webhook", body=Created, answer=Webhook,
        answers={400: BODY}, example=ASKED, shown=WITH_SECRET,
        description="Its URL is asked for `?challenge=…` and has 10 seconds to answer 200 with exactly that value. "
        "The secret is shown here and by a rotation only.",
    ),
    Route(
        "GET", "/v3/webhooks/ip-addresses", "read", addresses, "List the addresses that webhooks are sent from",
        answer=Addresses, shown={"ip_addresses": [], "updated_at": 0},
    ),
    Route(
        "POST", "/v3/webhooks/mock-payload", "manage", mock, "Get an example notification", body=Mocked, answer=dict[str, Any],
        answers={400: "There is no example of this trigger."}, example={"trigger_type": "message.opened"},
        shown={"specversion": "1.0", "type": "message.opened"},
    ),
    Route(
        "POST", "/v3/webhooks/send-test-event", "manage", test, "Send an example notification", body=Tested, answer=str,
        answers={400: "Wrong, or the URL did not answer with 2xx (type 70005)."},
        example={"trigger_type": "message.opened", "webhook_url": "https://app.example.com/hooks"}, shown="success",
        description="It is signed with the secret `mock-webhook-secret`.",
    ),
    Route(
        "POST", "/v3/webhooks/rotate-secret/{id}", "manage", rotate, "Make a new secret", answer=Webhook, answers=ANSWERS,
        shown=WITH_SECRET,
        description="`x-nylas-signature` is by the new one at once. `webhook-signature` has both for a day.",
    ),
    Route(
        "PUT", "/v3/webhooks/{id}/rotate-secret", "manage", rotate, "Make a new secret, as the SDK for Python asks",
        answer=Webhook, answers=ANSWERS, shown=WITH_SECRET,
    ),
    Route("GET", "/v3/webhooks/{id}", "read", find, "Find a webhook", answer=Webhook, answers={400: BODY}, shown=EXAMPLE),
    Route(
        "PUT", "/v3/webhooks/{id}", "manage", update, "Change a webhook", body=Updated, answer=Webhook, answers=ANSWERS,
        example={"status": "pause"}, shown=EXAMPLE,
        description="What is absent stays. Another URL, and an activation, ask for the challenge again.",
    ),
    Route(
        "DELETE", "/v3/webhooks/{id}", "manage", destroy, "Remove a webhook", answer=Removed, answers=ANSWERS,
        shown={"status": "success"},
    ),
)  # fmt: skip
