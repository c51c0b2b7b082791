"""The declaration of a route, and what each call of one goes through.

Owns: `Route`, the order of the checks (scope, grant, query, body), the envelope around what a handler gives, the audit
line, the aiohttp routes. Leaves to others: who asks (`tracking_http.access`), reading (`calls`), the handlers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiohttp import HttpVersion11, web

from relay import log, store
from tracking_http import access
from tracking_http.api import calls, envelopes, problems
from tracking_http.api.calls import Call
from tracking_http.api.envelopes import Answer
from tracking_http.api.problems import Api, Problem

LOG = log.room("api")

MAX_BODY = 1_000_000  # octets
MAX_PART = 1000  # characters of a part of the path

Scope = Literal["send", "read", "manage", ""]


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `tracking_http.api` says how to write one. `answer` is the type of `data`. `answers` are statuses that
    only this route has, with a sentence each."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    scope: Scope
    handler: Callable[[Call], Awaitable[Any]]
    summary: str
    description: str = ""
    body: Any = None
    reads: Mapping[str, Any] = field(default_factory=dict)  # without `body`: what the handler reads, by media type
    query: Any = None
    answer: Any = None
    status: int = 200
    answers: Mapping[int, str] = field(default_factory=dict)
    max_body: int = MAX_BODY
    media: str = problems.JSON
    example: Any = None
    shown: Any = None

    @property
    def api(self) -> Api:
        found = problems.api_of(self.path)
        assert found
        return found

    @property
    def changes(self) -> bool:
        return self.scope in ("send", "manage") and self.method != "GET"


def mount(app: web.Application, routes: Iterable[Route]) -> None:
    """Each route with and without a slash at its end; those of v1 also under /api. "messages/schedules" goes before
    "messages/{id}": it is no id."""
    for route in sorted(routes, key=lambda route: [part.startswith("{") for part in route.path.split("/")]):
        handler = served(route)
        for path in (route.path, f"/api{route.path}") if route.api == "v1" else (route.path,):
            for spelled in (path, f"{path}/"):
                app.router.add_route(route.method, spelled, handler, expect_handler=expected)
                if route.method == "GET" and route.media == problems.JSON:
                    app.router.add_route("HEAD", spelled, handler)


async def expected(request: web.Request) -> web.StreamResponse | None:
    """The answer to the field Expect (RFC 9110 10.1.1), of which there is one kind; HTTP/1.0 has none."""
    if request.version < HttpVersion11:
        return None
    if request.headers["Expect"].lower() != "100-continue":
        return problems.answer(request, Problem(417, "", "Expect: is 100-continue, or is not there.", closes=True))
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer has not begun
    return None


def served(route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        who: store.ApiKey = request[access.WHO]
        request_id = problems.request_id(request)
        status = 500
        try:
            response = await carry_out(route, request, who, request_id)
            status = response.status
        except Problem as problem:
            status = problem.status
            raise
        except web.HTTPException as given:
            status = given.status
            raise
        finally:
            if route.changes:
                LOG.info(
                    "audit",
                    key=who.name,
                    route=f"{route.method} {route.path}",
                    status=status,
                    peer=request.remote,
                    request=request_id,
                    path=request.path,
                )
        return response

    return serve


async def carry_out(route: Route, request: web.Request, who: store.ApiKey, request_id: str) -> web.StreamResponse:
    if route.scope and not access.permits(who, route.scope):
        raise Problem(403, "", f'This key has no scope "{route.scope}".', closes=request.body_exists)
    services = request.app[calls.API]
    parts = dict(request.match_info)
    for name, value in parts.items():
        if len(value) > MAX_PART or not calls.clean(value):
            raise problems.missing(name.removesuffix("_id").replace("_", " "))
    grant = calls.grant_of(parts["grant_id"], who, services.settings) if "grant_id" in parts else None
    query = calls.query_of(request, route.query) if route.query else None
    if (request.content_length or 0) > route.max_body:
        raise calls.too_large(route.max_body)
    body = await calls.body_of(request, route.body, route.max_body) if route.body else None
    own = request.clone(client_max_size=route.max_body) if route.body is None else request
    call = Call(own, services, who, request_id, route.max_body, grant, body, query, parts)
    given = await route.handler(call)
    if isinstance(given, web.StreamResponse):
        return given
    answer = given if isinstance(given, Answer) else Answer(given)
    wrapped = envelopes.wrap(route.api, request_id, answer.data, answer.beside)
    return web.Response(
        status=answer.status or route.status,
        body=msgspec.json.encode(wrapped),
        content_type=problems.JSON,
        headers={"Cache-Control": "no-store", **answer.headers},
    )
