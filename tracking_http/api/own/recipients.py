"""One recipient: what there is of them, and erasing it.

Owns: its routes and forms. Leaves to others: finding and erasing (`relay.recipients`). The address is in the body, so that it stands in
no log of a proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from relay.core.persons import Person
from relay.recipients import erasing, exporting, looking
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.own import export
from tracking_http.api.problems import Problem
from tracking_http.api.routing import Route

LINES = 50


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    recipient: Annotated[str, Meta(description="The address.", max_length=320)]
    grant: Annotated[str, Meta(description="Only what this grant has of them. A grant's key has its own only.")] = ""


class Erase(Asked, frozen=True, kw_only=True):
    queue: Annotated[bool, Meta(description="Mail on its way to them goes too, and is not sent.")] = False


class Left(msgspec.Struct, frozen=True, kw_only=True):
    where: str
    why: str


class Done(msgspec.Struct, frozen=True, kw_only=True):
    erased: Annotated[dict[str, int], Meta(description="What was changed, by table and place.")]
    left: Annotated[list[Left], Meta(description="What still names them. Ask again once that has gone.")]
    notes: Annotated[list[str], Meta(description="What no erasure reaches.")]


def asked(call: Call) -> tuple[Person, str]:
    """Whom, and of which grant."""
    body: Asked = call.body
    try:
        who = Person(body.recipient)
    except ValueError as wrong:
        raise problems.invalid(f"recipient: {wrong}.") from None
    grants = {grant.id for grant in call.services.settings.grants} | {"default"}
    if body.grant and (body.grant not in grants or not call.sees(body.grant)):
        raise problems.missing("grant")
    return who, body.grant or call.grant_id


async def lines(call: Call) -> web.StreamResponse:
    who, grant = asked(call)
    keys = await asyncio.to_thread(looking.token_keys, call.services.settings.state_dir)
    found = exporting.lines(call.services.store, call.services.settings.state_dir, who, grant, keys=keys)
    return await export.streamed(call, "recipient.jsonl", export.TYPES["jsonl"], paged(found))


async def paged(found: AsyncIterator[dict[str, Any]]) -> AsyncIterator[list[export.Row]]:
    page: list[export.Row] = []
    async for line in found:
        page.append(line)
        if len(page) == LINES:
            yield page
            page = []
    yield page


async def erase(call: Call) -> Done:
    who, grant = asked(call)
    state_dir = call.services.settings.state_dir
    keys = await asyncio.to_thread(looking.token_keys, state_dir)
    work = erasing.Erasing(call.services.store, state_dir, who, grant, keys=keys)
    try:
        # Goes on to its end also where the client hangs up.
        report = await asyncio.shield(asyncio.ensure_future(work.run(queue=call.body.queue)))
    except erasing.InFlight as reason:
        raise Problem(409, "", f"Nothing was erased: mail is {reason}. With queue it is not sent.") from None
    except PermissionError as reason:
        raise Problem(503, "", "This process may not change the spool: use trackrelay erase.") from reason
    return Done(
        erased=dict(report.rows),
        left=[Left(where=where, why=why) for where, why in report.left],
        notes=list(report.kept),
    )


EXAMPLE = {"recipient": "jonas@example.org"}

ROUTES = (
    Route("POST", "/api/recipients/export", "manage", lines, "Hand out all that is kept of one recipient",
          "JSON lines, as `trackrelay export` prints them.", body=Asked, media=export.TYPES["jsonl"], example=EXAMPLE),
    Route("POST", "/api/recipients/erase", "manage", erase, "Erase all that is kept of one recipient",
          "As `trackrelay erase` does. It can't be undone. It may take minutes; it goes on if the client hangs up, and to ask again does "
          "no harm.",
          body=Erase, answer=Done, answers={409: "Mail is on its way to them."}, example={**EXAMPLE, "queue": False},
          shown={"erased": {"messages": 2, "events": 7}, "left": [], "notes": []}),
)  # fmt: skip
