"""The kill-switch for links that were already sent.

Owns: its routes, and what a grant's key may block: its own messages. Leaves to others: what is meant (`relay.blocklist`),
what somebody who clicks sees (`tracking_http.public`).
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from relay import blocklist
from relay.core.blocks import Block
from tracking_http.api import calls, problems
from tracking_http.api.calls import Call
from tracking_http.api.problems import Problem
from tracking_http.api.routing import Route

What = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4096,
        description="A URL (with any query, where it has none), a host (and all below it), or a message, by its id or "
        "Message-ID.",
    ),
]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    what: What


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["url", "host", "message"]
    value: str
    since: Annotated[int, Meta(description="Unix seconds.")]
    named: Annotated[str, Meta(description="The Message-ID that a message was named by.")] = ""


def shown(block: Block) -> Blocked:
    return Blocked(kind=block.kind, value=block.value, since=int(block.since), named=block.named)


async def listed(call: Call) -> list[Blocked]:
    found = await asyncio.to_thread(read, call)
    if call.grant_id:
        found = tuple([block for block in found if block.kind == "message" and await own(call, block)])
    return [shown(block) for block in found]


async def own(call: Call, block: Block) -> bool:
    sent = await call.services.store.sent(block.value)
    return sent is not None and call.sees(sent.grant_id)


def read(call: Call) -> tuple[Block, ...]:
    try:
        return blocklist.read(blocklist.path_in(call.services.settings.state_dir))
    except blocklist.Unusable as reason:
        raise unusable(reason) from reason


def unusable(reason: blocklist.Unusable) -> Problem:
    return Problem(503, "", f"The list can't be used: {reason}.")


async def meant(call: Call, what: str) -> Block:
    """What is named; raises where that is nothing, or where the key may not decide about it."""
    if not calls.clean(what):
        raise problems.invalid("what: no text.")
    known = call.services.store
    block = await blocklist.meant(what, time.time(), lambda named: known.find_sent([named], call.grant_id))
    if isinstance(block, str):
        raise problems.invalid(f"what: {block}.")
    if call.grant_id and block.kind != "message":
        raise Problem(403, "", "This key is for one grant: it blocks messages of that grant only.")
    if call.grant_id and not await own(call, block):
        raise problems.missing("message")
    return block


async def change(call: Call, block: Block, *, add: bool) -> bool:
    path = blocklist.path_in(call.services.settings.state_dir)
    try:
        return await asyncio.to_thread(blocklist.add if add else blocklist.remove, path, block)
    except blocklist.Unusable as reason:
        raise unusable(reason) from reason


async def block(call: Call) -> Blocked:
    wanted = await meant(call, call.body.what)
    if await change(call, wanted, add=True):
        return shown(wanted)
    there = [b for b in await asyncio.to_thread(read, call) if (b.kind, b.value) == (wanted.kind, wanted.value)]
    return shown(there[0] if there else wanted)


async def unblock(call: Call) -> Blocked:
    wanted = await meant(call, call.query.what)
    if not await change(call, wanted, add=False):
        raise problems.missing("block")
    return shown(wanted)


EXAMPLE = {"kind": "host", "value": "evil.example", "since": 1_735_689_600, "named": ""}

ROUTES = (
    Route("GET", "/api/links", "read", listed, "List what is blocked, oldest first", answer=list[Blocked], shown=EXAMPLE),
    Route("POST", "/api/links", "manage", block, "Block links",
          "From now on they answer 410, within a second in every process. What is blocked already stays so.",
          body=Wanted, answer=Blocked, example={"what": "evil.example"}, shown=EXAMPLE),
    Route("DELETE", "/api/links", "manage", unblock, "Unblock links", "`what` is as it was blocked, or as it is listed.",
          query=Wanted, answer=Blocked, shown=EXAMPLE),
)  # fmt: skip
