"""The routes of the live page: the page itself, its data, its stream, the login form, the static files.

Owns: HTTP for all of these. Leaves to others: who may ask (`access`), what is shown (`shape`), when (`feed`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any, Protocol

import jinja2
from aiohttp import web

from relay import log, store
from relay.config import Settings
from relay.core import nodes as ages
from relay.core.model import Endpoint
from relay.store import Aggregate, Backlog
from tracking_http import access
from tracking_http.dashboard import endpoints, rates, shape
from tracking_http.dashboard import feed as feeds

LOG = log.room("pages")


class Reads(feeds.Reads, Protocol):
    """What is asked of a store here."""

    async def counting(self) -> bool: ...
    async def endpoints(self) -> list[Endpoint]: ...
    async def backlog(self) -> list[Backlog]: ...
    async def aggregates(
        self,
        by: str,
        since: int,
        until: int,
        *,
        step: str = "day",
        offset: int = 0,
        grant_id: str = "",
        limit: int = 1000,
    ) -> list[Aggregate]: ...


class Among(Protocol):
    """The processes that share the store, as they were heard last."""

    def nodes(self) -> list[dict[str, Any]]: ...
    def node_troubles(self) -> list[str]:
        """What is wrong among them, in sentences."""
        ...


HERE = Path(__file__).parent
STATIC = {p.name: p for p in (HERE / "static").iterdir() if p.is_file()}
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
MAX_MESSAGES, USUAL = 100, 30  # messages per request
EVENTS = 50
TIMELINE = 200
MAX_RATES = 5_000  # rows of the table of rates
LARGEST_FORM, FORM_SECONDS = 4_096, 10.0  # of the login form, which anybody may send
STREAM = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}

ACCESS = web.AppKey("access", access.Access)
FEED = web.AppKey("feed", feeds.Feed)
STORE = web.AppKey("store", Reads)
AMONG = web.AppKey("among", Among)
SETTINGS = web.AppKey("settings", Settings)


def environment(*folders: Path) -> jinja2.Environment:
    """Templates from these folders and our own. Every value is escaped, and an unknown name is an error."""
    loader = jinja2.FileSystemLoader([*folders, HERE / "templates"])
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)


PAGES = environment()


def page(name: str, /, *, status: int = 200, pages: jinja2.Environment = PAGES, **values: Any) -> web.Response:
    return web.Response(
        text=pages.get_template(name).render(**values),
        content_type="text/html",
        status=status,
        headers={"Cache-Control": "no-store"},
    )


def routes() -> list[web.AbstractRouteDef]:
    return [
        web.get("/live", live),
        web.get("/live/rates", rates_page),
        web.get("/live/rates/data", rates_data),
        web.get("/live/webhooks", endpoints_page),
        web.get("/live/webhooks/data", endpoints_data),
        web.get("/live/nodes", nodes_page),
        web.get("/live/nodes/data", nodes_data),
        web.get("/live/messages", messages),
        web.get("/live/messages/{id}", message),
        web.get("/live/events", events),
        web.get("/login", login_form),
        web.post("/login", login),
        web.post("/logout", logout),
        web.get("/static/{name}", static),
    ]


async def live(request: web.Request) -> web.Response:
    settings = request.app[SETTINGS]
    who: store.ApiKey = request[access.WHO]
    return page(
        "live.html",
        listen=", ".join(settings.smtp.listen + settings.smtp.listen_tls),
        tracking=settings.tracking,
        rules=bool(settings.rules),
        mailbox=any(grant.mailbox for grant in settings.grants if who.grant in ("", grant.id)),
        who=who.name,
    )


def check(request: web.Request) -> store.ApiKey:
    who: store.ApiKey = request[access.WHO]
    if not access.permits(who, "read"):
        raise web.HTTPForbidden(text="This key does not allow reading messages and events.")
    return who


# -- data
# ----------------------------------------------------------------------------------------------------------------


async def messages(request: web.Request) -> web.Response:
    """`?limit=` (at most 100) and `?before=` (a `submitted_at`): the newest messages, and the mark from which
    `/live/events?after=` goes on."""
    who, known, feed = check(request), request.app[STORE], request.app[FEED]
    limit = number(request, "limit", USUAL, least=1, most=MAX_MESSAGES)
    try:
        before = float(request.query["before"]) if "before" in request.query else None
    except ValueError as wrong:
        raise web.HTTPBadRequest(text="before: a time in Unix seconds.") from wrong
    recent = await feed.recent_events(who.grant, EVENTS)
    position = recent[-1].position if recent else 0
    found = await known.recent_sent(limit, before, grant_id=who.grant)
    listed = [await feed.message(sent.message_id, sent) for sent in found]
    stands = {one.sent.message_id: one for one in listed if one}
    for message_id in {event.message_id for event in recent} - stands.keys():  # events of old messages
        if older := await feed.message(message_id):
            stands[message_id] = older
    return web.json_response(
        {
            "messages": [one.summary().data for one in listed if one],
            "before": found[-1].submitted_at if len(found) == limit else None,
            "events": [feeds.event_frame(event, stands.get(event.message_id)).data for event in reversed(recent)],
            "position": feed.marks.write(position, who.grant),
        },
        headers={"Cache-Control": "no-store"},
    )


async def message(request: web.Request) -> web.Response:
    who, known = check(request), request.app[STORE]
    sent = await known.sent(request.match_info["id"])
    if sent is None or who.grant not in ("", sent.grant_id):
        raise web.HTTPNotFound(text="No such message.")
    own = await known.events(limit=feeds.PER_MESSAGE, newest=True, message_id=sent.message_id)
    did = await known.engagements([sent.message_id])
    found = shape.details(sent, own, did.get(sent.message_id, shape.NOBODY))
    found["timeline"] = found["timeline"][:TIMELINE]
    return web.json_response(found, headers={"Cache-Control": "no-store"})


async def rates_page(request: web.Request) -> web.Response:
    who: store.ApiKey = request[access.WHO]
    return page("rates.html", who=who.name)


async def rates_data(request: web.Request) -> web.Response:
    """`?days=` (at most 90) and `?offset=`: hours by which days begin before those of UTC."""
    who, known = check(request), request.app[STORE]
    days = number(request, "days", 30, least=1, most=90)
    text = request.query.get("offset", "0")
    if text not in map(str, range(-12, 15)):
        raise web.HTTPBadRequest(text="offset: whole hours from -12 to 14.")
    offset = int(text) * 3600
    until = int(time.time()) + 1
    since = (until + offset) // 86_400 * 86_400 - (days - 1) * 86_400 - offset
    found = await known.aggregates(
        "label", since, until, step="day", offset=offset, grant_id=who.grant, limit=MAX_RATES
    )
    return web.json_response(
        {**rates.table(found), "counting": await known.counting(), "cut": len(found) == MAX_RATES},
        headers={"Cache-Control": "no-store"},
    )


async def endpoints_page(request: web.Request) -> web.Response:
    who: store.ApiKey = request[access.WHO]
    return page("endpoints.html", who=who.name)


async def endpoints_data(request: web.Request) -> web.Response:
    who, known = check(request), request.app[STORE]
    stands = {one.endpoint_id: one for one in await known.backlog()}
    return web.json_response(
        {"endpoints": endpoints.table(await known.endpoints(), stands, who.grant)},
        headers={"Cache-Control": "no-store"},
    )


async def nodes_page(request: web.Request) -> web.Response:
    who: store.ApiKey = request[access.WHO]
    return page("nodes.html", who=who.name)


async def nodes_data(request: web.Request) -> web.Response:
    """As this process heard them last; times in words."""
    check(request)
    among = request.app.get(AMONG)
    rows = [
        {**node, "heard": ages.age(node["heard_seconds"]), "oldest": ages.age(node["oldest_seconds"])}
        for node in (among.nodes() if among else [])
    ]
    return web.json_response(
        {"nodes": rows, "troubles": among.node_troubles() if among else []}, headers={"Cache-Control": "no-store"}
    )


def number(request: web.Request, name: str, usual: int, *, least: int, most: int) -> int:
    text = request.query.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise web.HTTPBadRequest(text=f"{name}: a whole number.")
    return max(least, min(most, int(text)))


async def events(request: web.Request) -> web.StreamResponse:
    """The stream. A browser that reconnects sends the last id that it saw in Last-Event-ID; `?after=` does the same."""
    who, control, feed = check(request), request.app[ACCESS], request.app[FEED]
    last = request.headers.get("Last-Event-ID") or request.query.get("after")
    after = feed.marks.read(last, who.grant) if last else None
    stream = web.StreamResponse(headers=STREAM)

    def gone() -> bool:
        return request.transport is None or request.transport.is_closing()

    frames = feed.watch(after, who.grant, gone, lambda: stands(control, request))
    try:
        async with contextlib.aclosing(frames):
            async for frame in frames:
                if not stream.prepared:
                    await stream.prepare(request)
                    await stream.write(b"retry: 2000\n\n")
                mark = feed.marks.write(frame.position, who.grant) if frame and frame.position else ""
                await stream.write(frame.encode(mark) if frame else b": still here\n\n")
    except feeds.Full:
        raise web.HTTPServiceUnavailable(text="Too many pages are open.", headers={"Retry-After": "30"}) from None
    except ConnectionError:  # the page was closed
        pass
    return stream


async def stands(control: access.Access, request: web.Request) -> bool:
    """Whether the key of a stream is still one. A store that does not answer revokes nothing."""
    try:
        return await control.who(request) is not None
    except store.Unavailable:
        return True
    except web.HTTPException:
        return False


# -- the login form --------------------------------------------------------------------------------------------------


async def login_form(request: web.Request) -> web.Response:
    return page("login.html", wrong="")


async def login(request: web.Request) -> web.Response:
    control = request.app[ACCESS]
    if (request.content_length or 0) > LARGEST_FORM or request.headers.get("Transfer-Encoding"):
        answer = page("login.html", status=413, wrong="That is no key: it is too long.")
        answer.force_close()
        return answer
    try:
        async with asyncio.timeout(FORM_SECONDS):
            form = await request.post()
    except TimeoutError:
        answer = page("login.html", status=408, wrong="Your browser took too long to send this.")
        answer.force_close()
        return answer
    given = form.get("key")
    text = given.strip() if isinstance(given, str) else ""
    try:
        key = await control.key(text, request.remote or "") if text else None
    except web.HTTPTooManyRequests as refused:
        answer = page("login.html", status=429, wrong="Too many wrong keys. Wait a minute, then try again.")
        answer.headers["Retry-After"] = refused.headers["Retry-After"]
        return answer
    if key is None:
        return page("login.html", status=401, wrong="That is not one of this installation's keys.")
    if not access.permits(key, "read"):
        LOG.info("login_without_scope", key=key.name, scopes=" ".join(key.scopes), peer=request.remote)
        return page("login.html", status=403, wrong=unreadable(key))
    name, half = control.begin(key)
    # No server hears of a fragment; the page keeps it and takes it out of the address.
    location = f"/#{access.HALF}={half}"
    response = web.Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
    access.set_cookie(response, request, name)
    LOG.info("login", key=key.name, peer=request.remote)
    return response


def unreadable(key: store.ApiKey) -> str:
    """What a key that this installation knows, and that may not look at this page, is told."""
    return (
        f"The key {key.name} may not see this page: its scope is {', '.join(key.scopes) or 'none'}, and read is needed. "
        "Make one with trackrelay api-key create NAME --scope read."
    )


async def logout(request: web.Request) -> web.Response:
    request.app[ACCESS].end(request.cookies.get(access.cookie_of(request), ""))
    response = web.Response(status=303, headers={"Location": "/login", "Cache-Control": "no-store"})
    access.set_cookie(response, request, "")
    return response


async def static(request: web.Request) -> web.Response:
    """One of the static files. The name is looked up in a table, so it can't lead to any other path."""
    return file_of(STATIC, request)


def file_of(files: dict[str, Path], request: web.Request) -> web.Response:
    path = files.get(request.match_info["name"])
    if path is None or path.suffix not in TYPES:
        raise web.HTTPNotFound(text="Not here.")
    body = path.read_bytes()
    return web.Response(
        body=body, content_type=TYPES[path.suffix], charset="utf-8", headers={"Cache-Control": "no-cache"}
    )
