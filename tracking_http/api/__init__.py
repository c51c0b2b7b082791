"""The APIs of the admin listener: `/v3` for Nylas' clients, `/v1` (and `/api/v1`) for Unosend's, `/api` our own.

Owns: which modules have routes. Leaves to others: what every call goes through (`routing`), what a handler is given
(`calls`), how answers and errors are wrapped (`envelopes`, `problems`), pages of a list (`cursors`), who may ask
(`tracking_http.access`), what the program does (`relay`).

**A route** is a declaration in a module of `v3/`, `v1/` or `own/` that exports `ROUTES`. There is nothing to register:
each module of these packages is found by `routes()`.

    class Note(msgspec.Struct, frozen=True, kw_only=True):       # the body; unknown fields are ignored
        subject: str                                             # a wrong type is a 400 that names the field
        label: Annotated[str, Meta(max_length=2048)] = ""        # limits go into the OpenAPI document too

    async def create(call: Call) -> Noted:
        if await call.services.store.sent(note_id) is None:
            raise problems.missing("message")                    # or Problem(409, "conflict", "A sentence.")
        return Noted(...)                                        # becomes {"request_id": …, "data": …}

    ROUTES = (
        Route("POST", "/v3/grants/{grant_id}/notes", "manage", create, "Make a note", body=Note, answer=Noted,
              answers={409: "There is one already."}, example={"subject": "Hello"}, shown={"id": "n1"}),
    )

What the frame does with it: `scope` is "send", "read", "manage", or "" for any key. `{grant_id}` becomes `call.grant`, a
configured grant that the key may ask about, else 404. On all other routes `call.grant_id` is the key's own grant, or ""
for all: pass it to the store as the filter. `call.path("id")` is a decoded part of the path. `query=` is a Struct that is
filled from the query (repeated keys fill a list; "1" and "true" are read by type); `calls.Listing` has `limit` and
`page_token`. `call.body` and `call.query` are these Structs. Without `body=` nothing is read: `call.request` is aiohttp's,
for `multipart()` or `content` (declare `reads={"multipart/form-data": Struct or JSON Schema}`); `max_body` (octets, 1 MB by default) is then the limit of each of its parts, of
Content-Length, and of what `call.read()` takes.

A handler returns the value of `data`; or `Page(items, next_cursor)` for a list; or `Answer(data, status=, headers=,
beside={"grant_id": …})` with members beside `data`; or an aiohttp response, which goes out as it is (a stream: declare
`media="text/event-stream"`). `status=` is the status that is documented and sent (200). A field that is left out when it
has no value is a Struct field of type `X | UnsetType`.

In the OpenAPI document each route needs `example` (if it has a body) and `shown` (its `data`, or one item of a list:
`answer=list[X]`). What a handler gives is held to `answer` by tests, not at run time. Ask nothing that blocks the loop:
`asyncio.to_thread`. Integers from outside need bounds (`calls.Time`, `calls.Count`), or SQLite can't take them.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil

from tracking_http.api.routing import Route

PACKAGES = ("v3", "v1", "own")


@functools.cache
def routes() -> tuple[Route, ...]:
    """Every route of every module, in the order of their names."""
    found: list[Route] = []
    for name in PACKAGES:
        package = importlib.import_module(f"{__name__}.{name}")
        for module in sorted(item.name for item in pkgutil.iter_modules(package.__path__)):
            found += getattr(importlib.import_module(f"{package.__name__}.{module}"), "ROUTES", ())
    return tuple(found)
