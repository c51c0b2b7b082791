"""The admin server: health, metrics, the live page, the APIs.

Owns: which routes are open and which need a key, and the headers of every answer. Leaves to others: keys and sessions
(`access`), the live page (`dashboard`), the APIs (`api`), the facts (`store`, `metrics`, `wiring`).

`/healthz` says that the process answers. `/readyz` says whether it can do its work, and if not, why. These and
`/metrics` need no key, since they name no addresses and no subjects; nor do the description of the APIs, which is the same
in every installation of this version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import prometheus_client
from aiohttp import web

from relay import __version__, log, metrics, samples, store
from relay.config import Settings
from relay.store.contract import Store
from relay.webhooks.guard import Guard
from relay.webhooks.post import Poster
from tracking_http import access, api
from tracking_http.api import calls, openapi, problems, rates, routing
from tracking_http.dashboard import feed, pages

LOG = log.room("admin")

CHECK_SECONDS = 3.0
MANY = ("127.0.0.0/8", "::1/128")  # of this machine: proxies, and its own programs
LARGEST_BODY = 4_000_000  # octets of a request
LONGEST_LENGTH = 18  # digits of a Content-Length
# Options for this application's runner. A body is inflated for nobody: a compressed one costs a thousand times its bytes.
# A request line may be as long as a query with the longest values; aiohttp itself answers a longer one, and not in JSON.
RUNNER: dict[str, Any] = {
    "keepalive_timeout": 15.0,
    "lingering_time": 1.0,
    "auto_decompress": False,
    "max_line_size": 65_536,
}

OPEN = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json", "/api/docs", "/api/docs/"})
OPEN_PREFIXES = ("/static/",)  # what the login form looks like; nothing about the installation

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Other hosts learn nothing. With "no-referrer", a browser would not send Origin to our own forms either.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class State(Protocol):
    """What the supervisor knows: whether all listeners are up and it is not stopping, their addresses, and how mail is
    doing."""

    @property
    def ready(self) -> bool: ...

    @property
    def addresses(self) -> Mapping[str, Sequence[tuple[str, int]]]: ...

    async def troubles(self) -> tuple[list[str], list[str]]:
        """What keeps this process from doing its work, and what only delays it, as sentences."""
        ...

    async def figures(self) -> Sequence[tuple[samples.Page, bool]]:
        """Those of the other processes, and whether each runs."""
        ...

    def nodes(self) -> list[dict[str, Any]]:
        """The processes that share the store, as they were heard last."""
        ...

    def node_troubles(self) -> list[str]:
        """What is wrong among them, as sentences."""
        ...

    def workers(self) -> list[dict[str, Any]]:
        """The processes of this service, where it has several."""
        ...


RATES = web.AppKey("rates", rates.Rates)
STORE = web.AppKey("checked", Store)
STATE = web.AppKey("state", State)


def application(
    settings: Settings,
    known: Store,
    *,
    state: State | None = None,
    extra: Sequence[web.AbstractRouteDef] = (),
    news: feed.Feed | None = None,
    services: calls.Services | None = None,
) -> web.Application:
    """`extra` are more routes behind the same access control. One of them may be `/`, in place of the live page. `news`
    is what tells open pages, and `services` what the APIs work with, where they are to be others than the usual ones."""
    app = web.Application(middlewares=[caught, guarded], client_max_size=LARGEST_BODY)
    app[STORE], app[pages.SETTINGS], app[pages.STORE] = known, settings, known
    app[pages.ACCESS] = access.Access(known, open_=settings.admin.open)
    app[RATES] = rates.Rates(settings.admin.calls_per_minute)
    app[pages.FEED] = news or feed.Feed(known)
    if state is not None:
        app[STATE] = app[pages.AMONG] = state
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", counted)])
    app.add_routes(pages.routes())
    services = services or calls.Services(settings=settings, store=known)
    if services.poster is None:
        services = replace(services, poster=Poster(Guard(settings.webhook_delivery.allow_private)))
    app[calls.API] = services
    routing.mount(app, api.routes())
    openapi.mount(app)
    app.add_routes(extra)
    if not any(isinstance(route, web.RouteDef) and route.path == "/" for route in extra):
        app.router.add_get("/", pages.live)
    app.on_response_prepare.append(dress)
    app.on_shutdown.append(close)
    return app


async def close(app: web.Application) -> None:
    await app[pages.FEED].close()
    poster = app[calls.API].poster
    if poster is not None:
        await poster.close()
    await app[pages.ACCESS].close()


# -- health -----------------------------------------------------------------------------------------------------------


async def healthz(request: web.Request) -> web.Response:
    return web.json_response({"alive": True, "version": __version__}, headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """200, or 503 with the reasons."""
    reasons: list[str] = []
    warnings: list[str] = []
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await request.app[STORE].check()
    except store.Unavailable as reason:
        reasons.append(f"store: {reason}")
    except TimeoutError:
        reasons.append(f"store: no answer within {CHECK_SECONDS:.0f} seconds")
    listeners: dict[str, list[str]] = {}
    nodes: list[dict[str, Any]] = []
    workers: list[dict[str, Any]] = []
    state = request.app.get(STATE)
    if state is not None:
        if not state.ready:
            reasons.append("service: starting or stopping")
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                more, warnings = await state.troubles()
            reasons += more
        except TimeoutError:
            warnings = [f"mail: no answer within {CHECK_SECONDS:.0f} seconds"]
        nodes, workers = state.nodes(), state.workers()
        listeners = {role: [f"{a[0]}:{a[1]}" for a in found] for role, found in state.addresses.items()}
    told = {"ready": not reasons, "reasons": reasons, "warnings": warnings, "listeners": listeners, "nodes": nodes}
    return web.json_response(
        {**told, "workers": workers} if workers else told,
        status=503 if reasons else 200,
        headers={"Cache-Control": "no-store"},
    )


async def counted(request: web.Request) -> web.Response:
    """The figures in Prometheus' text format."""
    state = request.app.get(STATE)
    body = metrics.exposition(await state.figures() if state else ())
    return web.Response(body=body, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})


# -- what every request goes through ----------------------------------------------------------------------------------


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """Adds the headers of every answer, including errors and streams. A route's own values win."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "trackrelay"
    if problems.api_of(request.path):
        response.headers[problems.REQUEST_ID_HEADER] = problems.request_id(request)


@web.middleware
async def caught(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The only place where an exception becomes a 500."""
    LOG.debug("request", method=request.method, path=request.path)
    try:
        return await handler(request)
    except problems.Problem as problem:
        return problems.answer(request, problem)
    except web.HTTPException as given:
        if problems.api_of(request.path) is None:
            raise
        return problems.answer(request, problems.of_http(given))
    except store.Unavailable as reason:
        LOG.warning("store_unavailable", path=request.path, reason=str(reason))
        return problems.answer(
            request, problems.Problem(503, "", "The store can't answer right now.", headers={"Retry-After": "5"})
        )
    except web.RequestPayloadError:
        return problems.answer(request, problems.Problem(400, "", "The body is no HTTP.", closes=True))
    except Exception as reason:
        if isinstance(reason, ConnectionError) and request.transport is None:
            return web.Response(status=400)  # the client left in the middle of its request and won't hear this
        metrics.ERRORS.labels("admin").inc()
        LOG.exception("failed", path=request.path)
        return problems.answer(request, problems.Problem(500, "", "This failed. The log says why."))


@web.middleware
async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nothing about mail is shown, and nothing is changed, without a key or `admin.open` on loopback."""
    if "Content-Encoding" in request.headers:
        raise closing(web.HTTPUnsupportedMediaType(text="A body is taken as it is, without Content-Encoding."))
    if len(request.headers.get("Content-Length", "")) > LONGEST_LENGTH:  # zeros, of which int() takes no thousands
        raise closing(web.HTTPBadRequest(text="Content-Length has too many digits."))
    path = request.path
    if path in OPEN or path.startswith(OPEN_PREFIXES):
        return await handler(request)
    changes = request.method not in access.SAFE_METHODS
    if changes and access.bearer(request) is None and not access.same_origin(request):
        raise web.HTTPForbidden(text="This request came from another site's page.")
    if path == "/login":
        return await handler(request)
    who = await request.app[pages.ACCESS].who(request)
    if who is None:
        return closing(refused(request)) if request.body_exists else refused(request)
    request[access.WHO] = who
    request.app[pages.ACCESS].note_use(who)
    if problems.api_of(path) and (wait := request.app[RATES].take(who.digest, time.monotonic())):
        raise problems.Problem(
            429, "", "This key makes too many calls.", headers={"Retry-After": str(wait)}, closes=request.body_exists
        )
    return await handler(request)


Answer = TypeVar("Answer", bound=web.StreamResponse)


def closing(response: Answer) -> Answer:
    """The answer to a request whose body nobody reads: what follows on its connection is not looked at."""
    response.headers["Connection"] = "close"
    response.force_close()
    return response


def refused(request: web.Request) -> web.Response:
    settings = request.app[pages.SETTINGS]
    if settings.admin.open and not access.only_here(request.host):
        return problems.answer(
            request, problems.Problem(403, "", "With admin.open, only 127.0.0.1 and localhost need no key.")
        )
    called = problems.api_of(request.path)
    if called is None and request.method in access.SAFE_METHODS and "text/html" in request.headers.get("Accept", ""):
        return web.Response(status=303, headers={"Location": "/login", "Cache-Control": "no-store"})
    message = "An API key is needed: Authorization: Bearer KEY"
    if called:
        return problems.answer(request, problems.Problem(401, "", message, headers={"WWW-Authenticate": "Bearer"}))
    return web.json_response(
        {"error": {"type": "unauthorized", "message": message}},
        status=401,
        headers={"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"},
    )
