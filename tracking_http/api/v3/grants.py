"""The configured grants, as Nylas' clients see grants.

Owns: their form. No time is known of them: they are lines of relay.toml. Leaves to others: where they come from
(`relay.config`), where they are made and removed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.config import Grant
from relay.core import credentials
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=200)] = 10
    offset: Annotated[int, Meta(ge=0, le=100_000)] = 0
    email: str = ""
    provider: str = ""
    grant_status: str = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["grant"] = "grant"
    provider: Literal["imap"] = "imap"
    grant_status: Literal["valid", "invalid"]
    email: str
    scope: list[str] = []
    settings: dict[str, Any] = {}


async def shown(call: Call, grant: Grant) -> Shown:
    """Invalid while its mailbox or its upstream refuses the login for good."""
    status: Literal["valid", "invalid"] = "valid"
    for access in credentials.ACCESSES:
        told = await call.services.store.events(
            limit=1, newest=True, message_id=credentials.name(grant.id, access), types=credentials.KINDS
        )
        if told and told[-1].type == "grant.expired":
            status = "invalid"
    return Shown(id=grant.id, email=grant.email, grant_status=status)


async def listed(call: Call) -> list[Shown]:
    query: Listed = call.query
    if query.provider not in ("", "imap"):
        return []
    mine = [
        grant
        for grant in call.services.settings.grants
        if call.sees(grant.id) and query.email.lower() in ("", grant.email.lower())
    ]
    if not query.grant_status:
        mine = mine[query.offset : query.offset + query.limit]
    found = [await shown(call, grant) for grant in mine]
    if query.grant_status:
        found = [one for one in found if one.grant_status == query.grant_status]
        found = found[query.offset : query.offset + query.limit]
    return found


async def find(call: Call) -> Shown:
    assert call.grant
    return await shown(call, call.grant)


EXAMPLE = {
    "id": "sales", "object": "grant", "provider": "imap", "grant_status": "valid", "email": "sales@example.com",
    "scope": [], "settings": {},
}  # fmt: skip

ROUTES = (
    Route("GET", "/v3/grants", "read", listed, "List the grants", query=Listed, answer=list[Shown], shown=EXAMPLE),
    Route("GET", "/v3/grants/{grant_id}", "read", find, "Find a grant", answer=Shown, shown=EXAMPLE),
)
