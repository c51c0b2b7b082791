"""The configured grants, as Nylas' clients see grants.

Owns: their form. No time is known of them: they are lines of relay.toml. Leaves to others: where they come from
(`relay.config`), where they are made and removed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.config import Grant
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
    grant_status: Literal["valid"] = "valid"
    email: str
    scope: list[str] = []
    settings: dict[str, Any] = {}


def shown(grant: Grant) -> Shown:
    return Shown(id=grant.id, email=grant.email)


async def listed(call: Call) -> list[Shown]:
    query: Listed = call.query
    mine = [
        shown(grant)
        for grant in call.services.settings.grants
        if call.sees(grant.id) and query.email.lower() in ("", grant.email.lower())
    ]
    if query.provider not in ("", "imap") or query.grant_status not in ("", "valid"):
        mine = []
    return mine[query.offset : query.offset + query.limit]


async def find(call: Call) -> Shown:
    assert call.grant
    return shown(call.grant)


EXAMPLE = {
    "id": "sales", "object": "grant", "provider": "imap", "grant_status": "valid", "email": "sales@example.com",
    "scope": [], "settings": {},
}  # fmt: skip

ROUTES = (
    Route("GET", "/v3/grants", "read", listed, "List the grants", query=Listed, answer=list[Shown], shown=EXAMPLE),
    Route("GET", "/v3/grants/{grant_id}", "read", find, "Find a grant", answer=Shown, shown=EXAMPLE),
)
