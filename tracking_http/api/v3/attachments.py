"""The files of messages and drafts, as Nylas' clients ask for them.

Owns: their form, and which file an id names: that of the message or draft, "-", its number. Leaves to others: the files of a
message (`core.contents`) and of a draft (the store).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from aiohttp import web
from msgspec import Meta

from relay.core import contents
from tracking_http.api import problems
from tracking_http.api.calls import Call
from tracking_http.api.routing import Route
from tracking_http.api.v3 import messages
from tracking_http.api.v3.messages import Attached

OCTETS = "application/octet-stream"


class Query(msgspec.Struct, frozen=True, kw_only=True):
    message_id: Annotated[str, Meta(description="Of the message or draft. The id of the file says it too.")] = ""


async def one(call: Call) -> tuple[Attached, bytes]:
    owner, _, number = call.path("attachment_id").rpartition("-")
    if not (number.isascii() and number.isdecimal() and len(number) < 5) or call.query.message_id not in ("", owner):
        raise problems.missing("attachment")
    found = await of_message(call, owner) or await of_draft(call, owner)
    if int(number) >= len(found):
        raise problems.missing("attachment")
    return found[int(number)]


async def of_message(call: Call, message_id: str) -> list[tuple[Attached, bytes]]:
    known = call.services.store
    sent = await known.sent(message_id)
    raw = await known.kept_message(message_id) if sent and call.sees(sent.grant_id) else None
    if sent is None or raw is None:
        return []
    read = await asyncio.to_thread(contents.read, raw)
    made = messages.of_sent(sent)
    return [(messages.attached(n, made, file), file.content) for n, file in enumerate(read.files)]


async def of_draft(call: Call, draft_id: str) -> list[tuple[Attached, bytes]]:
    draft = await call.services.store.draft(call.grant_id, draft_id)
    if draft is None:
        return []
    octets = await call.services.store.contents(draft_id)
    described = [{**about, "grant_id": draft.grant_id} for about in draft.fields.get("attachments", ())]
    return list(zip(msgspec.convert(described, list[Attached]), octets, strict=True))


async def find(call: Call) -> Attached:
    return (await one(call))[0]


async def download(call: Call) -> web.Response:
    about, octets = await one(call)
    kind = about.content_type if about.content_type.isascii() and about.content_type.isprintable() else OCTETS
    headers = {
        "Content-Type": kind,
        # Whoever opens it in a browser must not run what is in it as a page of this listener.
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(about.filename or 'file', safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return web.Response(body=octets, headers=headers)


EXAMPLE: dict[str, Any] = {
    "id": f"{messages.ID}-0", "grant_id": "sales", "filename": "offer.pdf", "content_type": "application/pdf", "size": 12345,
    "content_id": "", "content_disposition": "attachment", "is_inline": False,
}  # fmt: skip
PATH = "/v3/grants/{grant_id}/attachments/{attachment_id}"
ABOUT = "Of a draft, and of a message whose text is kept (`[admin] keep_messages`)."

ROUTES = (
    Route(
        "GET", PATH, "read", find, "Find an attachment", query=Query, answer=Attached, shown=EXAMPLE, description=ABOUT
    ),
    Route(
        "GET", f"{PATH}/download", "read", download, "Download an attachment", query=Query, media=OCTETS,
        shown="the octets", description=ABOUT,
    ),
)  # fmt: skip
