"""The recipients who are not tracked, or not written to.

Owns: its routes, and what a grant's key may do: see and change what is for its mail. Leaves to others: what an address and an
entry are (`core.suppression_lists`, `core.suppressions`), keeping them (`store`).
"""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
from msgspec import Meta

from relay.core import suppression_lists, suppressions
from relay.core.suppressions import Ground, Suppression
from relay.store import lists
from relay.store.lists import Suppressions
from tracking_http.api import calls, cursors, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Page
from tracking_http.api.problems import Problem
from tracking_http.api.routing import Route

MOST = 1000  # addresses of one call
Address = Annotated[str, Meta(min_length=3, max_length=320)]
Grant = Annotated[str, Meta(max_length=200, description='A grant\'s id. "all" is what is for all grants.')]


class Asked(calls.Listing, frozen=True, kw_only=True):
    recipient: Annotated[str, Meta(max_length=320)] = ""
    grant: Grant = ""
    reason: Ground | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    recipients: Annotated[list[Address], Meta(min_length=1, max_length=MOST)]
    grant: Annotated[
        str, Meta(max_length=200, description="For the mail of this grant. Else of all, or of the key's.")
    ] = ""
    reason: Ground = "manual"
    note: Annotated[str, Meta(max_length=1000)] = ""


class Unwanted(msgspec.Struct, frozen=True, kw_only=True):
    recipient: Address
    grant: Grant = ""
    reason: Ground | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    recipient: Annotated[str | None, Meta(description="null where it was erased.")]
    grant: Annotated[str | None, Meta(description="null: for the mail of all grants.")]
    reason: Ground
    since: Annotated[float, Meta(description="Unix seconds.")]
    source: Annotated[str, Meta(description="Who put it there: page, mailbox, command, api, or what a list said.")]
    event: Annotated[str | None, Meta(description="The event that it comes from.")]
    note: str
    digest: Annotated[str, Meta(description="What the recipient is known by, also once the address is erased.")]


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    number: Annotated[int, Meta(description="Entries that were added or removed.")]


def shown(one: Suppression) -> Entry:
    return Entry(**suppression_lists.shown(one))  # type: ignore[arg-type]


def grant_of(call: Call, named: str) -> str | None:
    """Whose entries are meant: None those of any grant, "" those that are for all."""
    if call.grant_id:
        if named not in ("", call.grant_id):
            raise problems.missing("grant")
        return call.grant_id
    return {"": None, "all": ""}.get(named, named)


def digest(call: Call, address: str) -> str:
    return suppressions.digest(address, calls.keys_of(call))


async def listed(call: Call) -> Page:
    query: Asked = call.query
    asked = Suppressions(grant_of(call, query.grant), query.reason or "")
    if query.page_token:
        asked = asked.with_(after=cursors.read(query.page_token, tuple[float, str, str, str]))
    known = call.services.store
    if query.recipient:
        found = await known.suppressed([digest(call, query.recipient)])
        found = sorted(filter(asked.fits, found), key=lists.suppression_key, reverse=True)[: query.limit]
    else:
        found = await known.list_suppressions(asked, query.limit)
    more = len(found) == query.limit
    return Page([shown(one) for one in found], cursors.write(lists.suppression_key(found[-1])) if more else None)


async def add(call: Call) -> Changed:
    body: Wanted = call.body
    grants = {grant.id for grant in call.services.settings.grants} | {"default"}
    if call.grant_id and body.grant not in ("", call.grant_id):
        raise Problem(403, "", "This key is for one grant: it changes the list for that grant only.")
    defaults = suppression_lists.Defaults(time.time(), "api", call.grant_id or body.grant, body.reason, body.note)
    made = []
    for number, address in enumerate(body.recipients):
        try:
            made.append(suppression_lists.entry({"recipient": address}, calls.keys_of(call), defaults, grants))
        except ValueError as reason:
            raise problems.invalid(f"recipients[{number}]: {reason}.") from reason
    return Changed(number=await call.services.store.suppress(made))


async def remove(call: Call) -> Changed:
    query: Unwanted = call.query
    asked = Suppressions(grant_of(call, query.grant), query.reason or "")
    found = await call.services.store.suppressed([digest(call, query.recipient)])
    gone = [(one.digest, one.grant_id, one.reason) for one in found if asked.fits(one)]
    if not gone:
        raise problems.missing("suppression")
    return Changed(number=await call.services.store.unsuppress(gone))


EXAMPLE = {
    "recipient": "bob@example.org", "grant": None, "reason": "refusal", "since": 1_735_689_600.0, "source": "page",
    "event": "5a8bfc2e-53a8-5d7f-9d43-3f0f8f9f4a11", "note": "", "digest": "0f1c2d3e4f50617283940f1c2d3e4f50",
}  # fmt: skip

ROUTES = (
    Route("GET", "/api/suppressions", "read", listed, "List who is not tracked, or not written to, newest first",
          query=Asked, answer=list[Entry], shown=EXAMPLE),
    Route("POST", "/api/suppressions", "manage", add, "Put recipients on the list",
          "All of them or none. Who is there for the same reason and grant stays as they are. Holds for the next message.",
          body=Wanted, answer=Changed, example={"recipients": ["bob@example.org"], "note": "on the phone"}, shown={"number": 1},
          answers={403: "The key is for another grant."}),
    Route("DELETE", "/api/suppressions", "manage", remove, "Take a recipient off the list",
          query=Unwanted, answer=Changed, shown={"number": 1}, answers={404: "Nothing of it is there."}),
)  # fmt: skip
