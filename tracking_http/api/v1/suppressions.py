"""Unosend's suppression list, in its words.

Owns: its form, and which of our reasons its reasons are. Leaves to others: the list (`own.suppressions` has all that is
known of it).

Its `unsubscribe` is not one of ours: nobody unsubscribes here. Who refused to be tracked is shown as `manual`, and the metadata says so.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.core import suppression_lists, suppressions
from relay.core.payload import unosend
from relay.core.suppressions import Ground, Suppression
from relay.store import lists
from relay.store.lists import Suppressions
from tracking_http.api import calls, cursors, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.routing import Route

Reason = Literal["hard_bounce", "spam_complaint", "manual", "unsubscribe"]
THEIRS: dict[Ground, Reason] = {
    "bounce": "hard_bounce", "complaint": "spam_complaint", "manual": "manual", "refusal": "manual",
}  # fmt: skip
OURS: dict[Reason, Ground] = {"hard_bounce": "bounce", "spam_complaint": "complaint", "manual": "manual"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    cursor: Annotated[str, Meta(max_length=1024)] = ""
    reason: Reason | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    email: Annotated[str, Meta(min_length=3, max_length=320)]
    reason: Reason = "manual"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`email` is "" where it was erased."""

    id: str
    email: str
    reason: Reason
    source_email_id: str | None
    metadata: dict[str, str]
    created_at: str


class Pagination(msgspec.Struct, frozen=True, kw_only=True):
    limit: int
    has_more: bool
    next_cursor: str | UnsetType = UNSET


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    id: str


def identify(one: Suppression) -> str:
    return cursors.write((one.digest, one.grant_id, one.reason))


async def shown(call: Call, one: Suppression) -> Entry:
    events = await call.services.store.history(one.event_id) if one.event_id else None
    data: dict[str, Any] = dict(events.event.data) if events else {}
    told = {"status": str(data["status"])} if data.get("status") else {}
    return Entry(
        id=identify(one),
        email=suppressions.mailbox(one.recipient),
        reason=THEIRS[one.reason],
        source_email_id=events.event.message_id if events else None,
        metadata={**told, **({"refusal": "tracking"} if one.reason == "refusal" else {})},
        created_at=unosend.moment(one.since),
    )


async def listed(call: Call) -> Answer:
    query: Asked = call.query
    asked = Suppressions(call.grant_id or None, OURS.get(query.reason, "") if query.reason else "")
    if query.cursor:
        asked = asked.with_(after=cursors.read(query.cursor, tuple[float, str, str, str]))
    found = [] if query.reason == "unsubscribe" else await call.services.store.list_suppressions(asked, query.limit + 1)
    page, more = found[: query.limit], len(found) > query.limit
    cursor = cursors.write(lists.suppression_key(page[-1])) if more else UNSET
    beside = {"pagination": Pagination(limit=query.limit, has_more=more, next_cursor=cursor)}
    return Answer([await shown(call, one) for one in page], beside=beside)


async def add(call: Call) -> Entry:
    body: Wanted = call.body
    if body.reason not in OURS:
        raise problems.invalid(
            "reason: unsubscribe is kept by whoever keeps your lists; here are hard_bounce, spam_complaint, manual."
        )
    grants = {grant.id for grant in call.services.settings.grants} | {"default"}
    defaults = suppression_lists.Defaults(time.time(), "api", call.grant_id, OURS[body.reason])
    try:
        made = suppression_lists.entry({"recipient": body.email}, calls.keys_of(call), defaults, grants)
    except ValueError as reason:
        raise problems.invalid(f"email: {reason}.") from reason
    await call.services.store.suppress([made])
    there = await call.services.store.suppressed([made.digest])
    same = [one for one in there if (one.grant_id, one.reason) == (made.grant_id, made.reason)]
    return await shown(call, same[0] if same else made)


async def remove(call: Call) -> Removed:
    try:
        key = cursors.read(call.path("id"), tuple[str, str, str])
    except problems.Problem:
        raise problems.missing("suppression") from None
    if not (call.sees(key[1]) and await call.services.store.unsuppress([key])):
        raise problems.missing("suppression")
    return Removed(id=call.path("id"))


EXAMPLE = {
    "id": "k9kgMGYx", "email": "bob@example.org", "reason": "hard_bounce", "source_email_id": "06am2p0k5c001ab2cd3e",
    "metadata": {"status": "5.1.1"}, "created_at": "2025-11-29T07:00:00.000Z",
}  # fmt: skip

ROUTES = (
    Route("GET", "/v1/suppressions", "read", listed, "List who is suppressed", query=Asked, answer=list[Entry], shown=EXAMPLE),
    Route("POST", "/v1/suppressions", "manage", add, "Suppress an address", body=Wanted, answer=Entry, status=201,
          example={"email": "bob@example.org"}, shown=EXAMPLE, answers={400: "No address, or a reason that is not kept here."}),
    Route("DELETE", "/v1/suppressions/{id}", "manage", remove, "Suppress an address no longer", answer=Removed,
          shown={"id": "k9kgMGYx"}, answers={404: "There is none."}),
)  # fmt: skip
