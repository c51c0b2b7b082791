"""The server that recipients reach: pixel, click, a page that says what this host is for, and nothing else.

Owns: the routes and the answers. Leaves to others: getting a hit into the store (`recorder`), what a token says
(`core.tokens`), who asked, and what that means (`askers`), whether a hit counts (`core.tally`, in the store).

The usual hit goes a short way, past aiohttp: `Handlers.quick` is given the bytes of a request, and either answers them or leaves
them to the application. Which way a hit goes, nobody can tell from its answer.

A pixel is always answered by 200 and the picture. A click on a token of ours is always answered by 302, even if the
store is down, and on the canary by a page; any other click by 404 without a Location. Nobody waits for a store that makes no progress.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote, unquote_plus, urlsplit

import idna  # aiohttp's own dependency, through yarl
from aiohttp import web
from multidict import CIMultiDict, istr

from relay import journal as journals
from relay import log, metrics, suppressing
from relay.config import Settings
from relay.core import classify, floods, tally, tokens, urls
from relay.core.blocks import Blocks
from relay.core.model import Event, EventType, Keys, Token, TokenKind
from relay.workers import sharing
from tracking_http import about, askers, heads, pages, ready, recorder, reverse_names, visitor

LOG = log.room("public")

# Options for this application's runner. The keep-alive time is also how long a client may take to send its first
# header section (aiohttp starts that clock with the connection), so it is short. No access log: a hit is an event.
RUNNER: dict[str, Any] = {
    "access_log": None,
    "keepalive_timeout": 10.0,
    # Nobody has a reason to send a body here, so none is read or inflated (a compressed one would cost a thousand times
    # its bytes): the request is answered as if there were none, and the connection closed.
    "lingering_time": 0.0,
    "auto_decompress": False,
    "max_line_size": 16_384,  # a click's path contains its URL: at most 2,000 characters of ours, plus what a proxy adds
    "max_field_size": 8_190,
}

# A transparent GIF of one pixel, 43 octets.
PIXEL = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
COMMON, UNCACHED = pages.COMMON, pages.UNCACHED
PICTURE = CIMultiDict({"Content-Type": "image/gif", "Content-Length": str(len(PIXEL)), **UNCACHED, **COMMON})
# No Referrer-Policy: browsers never tell the destination about a redirecting address, and what they tell it about the
# page with the link should be the same as without us.
REDIRECT = CIMultiDict({"Content-Length": "0", **UNCACHED, **COMMON})
LOOKED_AT = {name: istr(name) for name in heads.FIELDS}
LOCATION = istr("Location")

HIT = r"/([oc]|(?:api/)?v1/track/(?:open|click))/([A-Za-z0-9_-]+)"
OPENS = (b"o", b"v1/track/open", b"api/v1/track/open")
PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
SCHEMES = re.compile(r"(?:https?|mailto|tel):", re.I)
HOST = re.compile(r"(https?://(?:[^/?#]*@)?)([^/?#:@]*)(.*)", re.I | re.S)
PLAIN_URL = re.compile(r"(?:https?|mailto|tel):[!-~]*+", re.I | re.A)  # which goes out as it is
CONTROL = re.compile("[\x00-\x1f\x7f]")
# What RFC 3986 allows in a URI, and what browsers accept besides. These characters go out as they were signed.
AS_IS = "".join(chr(c) for c in range(0x21, 0x7F))
LONGEST_TID = 256
DRAWN = 10  # random octets of an event's id


TYPES: dict[TokenKind, EventType] = {
    "open": "message.opened",
    "click": "message.link_clicked",
    "canary": "message.canary_followed",
}


class Unanswered(Protocol):
    """A connection with a request that is to be answered by one of these, once."""

    peer: str

    def answer(self, data: bytes) -> None: ...

    def pass_on(self, data: bytes) -> None:
        """This request goes to the application, and so do all that follow."""


class Store(recorder.Store, about.Store, suppressing.Records, Protocol):
    """What is asked of a store here."""


def application(
    settings: Settings,
    store: Store,
    keys: Callable[[], Keys],
    journal: journals.Journal,
    *,
    blocks: Callable[[], Blocks] = Blocks,
    network: classify.Networks = lambda _: "",
    identity: Callable[[float], bytes] = lambda _: b"",
    clock: Callable[[], float] = time.time,
    appended: Callable[[], None] | None = None,
    named: reverse_names.ReverseNames | None = None,
    service: sharing.Shared = sharing.ALONE,
) -> web.Application:
    """The application; run it with `web.AppRunner(app, **RUNNER)`, or with a listener that asks `app[QUICK]` first. `keys` gives the keys that verify tokens now,
    `blocks` what is blocked now, `network` whose network an address is in (see `classify.hit`), `identity` the key
    of a moment's `neighbours.identity`, `clock` Unix seconds, `named` the names that addresses have, where they are looked up. `appended` is called when the store has taken an event, so that its notification goes
    out at once."""
    limits = floods.Limits(settings.http.hits_per_token, settings.http.hits_per_message)
    record = recorder.Recorder(store, journal, appended, limits)
    told = about.Handlers(
        settings, store, keys, suppressing.Suppressing(store, keys), journal, paths=paths(settings), clock=clock,
        appended=appended, service=service,
    )  # fmt: skip
    handlers = Handlers(settings, keys, record, blocks, network, identity, clock, told, named)
    app = web.Application()
    app[QUICK] = handlers.quick
    app.on_cleanup.append(lambda _: record.close())
    if named is not None:
        app.on_cleanup.append(lambda _: named.close())
    app.on_response_prepare.append(without_body)
    for path in paths(settings):
        app.router.add_get(path + "/", handlers.disclosure, expect_handler=unasked)
        app.router.add_get(path + r"/about/{token:[\s\S]+}", handlers.about, expect_handler=unasked)
        app.router.add_post(path + r"/about/{token:[\s\S]+}", handlers.about, expect_handler=unasked)
        for prefix in ("/o/", "/v1/track/open/", "/api/v1/track/open/"):
            app.router.add_get(path + prefix + r"{token:[\s\S]+}", handlers.opened, expect_handler=unasked)
        for prefix in ("/c/", "/v1/track/click/", "/api/v1/track/click/"):
            app.router.add_get(path + prefix + r"{token:[\s\S]+}", handlers.clicked, expect_handler=unasked)
    app.router.add_get("/robots.txt", robots, expect_handler=unasked)
    app.router.add_route("*", r"/{tail:[\s\S]*}", handlers.absent, expect_handler=unasked)
    return app


def paths(settings: Settings) -> tuple[str, ...]:
    """The paths that tracking URLs have, the longest first and none last: some proxies take a path off, and some don't."""
    found = {urlsplit(url).path.rstrip("/") for url in (settings.tracking.url, *settings.tracking.domains)}
    return tuple(
        sorted({"", *(path for path in found if PLAIN_PATH.fullmatch(path))}, key=lambda path: (-len(path), path))
    )


Hit = tuple[Token | None, Event | None]
QUICK: web.AppKey[Callable[[bytes, Unanswered], None]] = web.AppKey("QUICK")


class Handlers:
    """One application's handlers."""

    def __init__(
        self,
        settings: Settings,
        keys: Callable[[], Keys],
        record: recorder.Recorder,
        blocks: Callable[[], Blocks],
        network: classify.Networks,
        identity: Callable[[float], bytes],
        clock: Callable[[], float],
        told: about.Handlers,
        named: reverse_names.ReverseNames | None,
    ) -> None:
        self.named = named
        self.told = told
        self.keys = keys
        self.blocks = blocks
        hit = f"(?:{'|'.join(map(re.escape, paths(settings)))}){HIT}"
        self.path, self.line = re.compile(hit), heads.line(hit)
        self.pages = pages.made(settings.http.abuse)
        self.recorder = record
        self.clock = clock
        client = visitor.addresses(settings.http.trusted_proxies)
        self.askers = askers.Askers(settings.privacy, client, network, identity, named)
        self.asked: list[tuple[heads.Head, TokenKind, asyncio.Future[Hit]]] = []
        self.unread: list[tuple[bytes, Unanswered]] = []
        self.opens = metrics.HITS.labels("open")
        self.picture = ready.Form("200 OK", PICTURE, PIXEL)
        self.redirect = ready.Form("302 Found", REDIRECT)
        self.clicks = metrics.HITS.labels("click")
        self.canaries = metrics.HITS.labels("canary")

    async def opened(self, request: web.Request) -> web.StreamResponse:
        _, event = await self.hit(request, "open")
        if event is not None:
            self.opens.inc()
            await self.record(event)
        if ready.fits(request):
            return ready.Ready(self.picture.same())
        return web.Response(body=PIXEL, headers=PICTURE.copy())

    def quick(self, data: bytes, connection: Unanswered) -> None:
        """With the requests of all connections that have one in this turn of the loop: see `hit`."""
        if not self.asked and not self.unread:
            asyncio.get_running_loop().call_soon(self.turn)
        self.unread.append((data, connection))

    def usual(self, data: bytes, connection: Unanswered, drawn: bytes, hits: list[recorder.Hit]) -> TokenKind | None:
        """What it is where it is a pixel or link of ours, as most are: then it is one of the `hits`, which are to be recorded,
        and is answered."""
        found = self.line.match(data)
        if found is None or len(data) > heads.LONGEST:
            return None
        way, text, query = found.groups()
        kind: TokenKind = "open" if way in OPENS else "click"
        token = tokens.read(text.decode("ascii"), kind, self.keys())
        if token is None:
            return None
        now = self.clock()
        asker = self.askers.usual(data[found.end() :], connection.peer, kind == "click", now)
        if asker is None:
            return None
        event = happened("GET", token, asker, query.decode("ascii") if query else "", now, drawn)
        if kind == "open":
            answer = self.picture.same()
        else:
            target = location(token.url)
            if target is None or self.blocks().stop(event.message_id, token.url):
                return None
            answer = self.redirect.with_location(target)
        LOG.debug("hit", kind=kind, method="GET", message_id=event.message_id)
        answered = partial(connection.answer, answer)
        hits.append((event, answered if self.named is None else partial(self.recorded, event, answered)))
        return kind

    def recorded(self, event: Event, answer: Callable[[], None]) -> None:
        answer()
        self.ask_name(event)

    async def clicked(self, request: web.Request) -> web.StreamResponse:
        token, event = await self.hit(request, "click")
        if token is not None and token.kind == "canary":
            return await self.canary(event)
        target = None if token is None else location(token.url)
        if token is None or target is None:
            return await self.absent(request)
        if self.blocks().stop(tokens.message_id(token.message_key), token.url):
            return await self.blocked(event)
        if event is not None:
            self.clicks.inc()
            await self.record(event)
        if ready.fits(request):
            return ready.Ready(self.redirect.with_location(target))
        headers = REDIRECT.copy()
        headers[LOCATION] = target
        return web.Response(status=302, headers=headers)

    async def record(self, event: Event) -> None:
        await self.recorder.record(event)
        self.ask_name(event)

    def ask_name(self, event: Event) -> None:
        if self.named is not None and event.verdict in ("human", "unknown"):
            self.named.ask(event, event.data.get(tally.TRANSIENT) or event.ip)

    async def canary(self, event: Event | None) -> web.Response:
        """It leads nowhere: a page says what this host is for, to a program that judges where links lead as to a person
        whose reader shows what is hidden."""
        if event is not None:
            self.canaries.inc()
            await self.recorder.record(event)
        return page(self.pages.disclosure, 200)

    async def blocked(self, event: Event | None) -> web.Response:
        """Recorded, and not counted: who clicked is what an operator wants to know of a harmful link."""
        metrics.BLOCKED.inc()
        if event is not None:
            await self.recorder.record(event.with_(reason=classify.BLOCKED))
        return page(self.pages.blocked, 410)

    async def absent(self, _request: web.Request) -> web.Response:
        return page(self.pages.not_found, 404)

    async def about(self, request: web.Request) -> web.StreamResponse:
        try:
            return await (self.told.choose if request.method == "POST" else self.told.show)(request)
        except web.HTTPNotFound:
            return await self.absent(request)

    async def disclosure(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.pages.disclosure, content_type="text/html", headers=pages.PAGE)

    def hit(self, request: web.Request, kind: TokenKind) -> asyncio.Future[Hit]:
        """What a request's token says, and its event. Those of all requests of one turn of the loop are made one after
        the other: done between the work of a server, each takes three times as long, since nothing of it is in the
        processor's caches any more."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Hit] = loop.create_future()
        if not self.asked and not self.unread:
            loop.call_soon(self.turn)
        self.asked.append((head(request), kind, answer))
        return answer

    def turn(self) -> None:
        asked, self.asked = self.asked, []
        unread, self.unread = self.unread, []
        if unread:
            self.turn_unread(unread)
        for request, kind, answer in asked:
            if answer.done():
                continue
            token = event = None
            try:
                token = self.token(request, kind)
                event = None if token is None else self.event(request, token)
                LOG.debug("hit", kind=kind, method=request.method, message_id=event and event.message_id)
            except Exception:  # a mistake of ours takes neither the picture nor the page from a reader
                metrics.ERRORS.labels("public").inc()
                LOG.exception("hit_failed")
            answer.set_result((token, event))

    def turn_unread(self, unread: list[tuple[bytes, Unanswered]]) -> None:
        # Drawn for all at once: this hands the interpreter's lock to whoever waits for it, mostly the store's thread.
        drawn = os.urandom(DRAWN * len(unread))
        opens = clicks = 0
        hits: list[recorder.Hit] = []
        for number, (data, connection) in enumerate(unread):
            kind = None
            try:
                kind = self.usual(data, connection, drawn[DRAWN * number : DRAWN * (number + 1)], hits)
            except Exception:
                metrics.ERRORS.labels("public").inc()
                LOG.exception("hit_failed")
            if kind is None:
                connection.pass_on(data)
            elif kind == "open":
                opens += 1
            else:
                clicks += 1
        self.opens.inc(opens)
        self.clicks.inc(clicks)
        self.recorder.take(hits)

    def token(self, request: heads.Head, kind: TokenKind) -> Token | None:
        """What the path says. Behind a link there often stands what a mail program took for a part of it: a full stop,
        a bracket, a quotation mark. None of it can be the token's, and the signature covers all that leads anywhere. A canary looks like any other link."""
        found = self.path.match(urls.plain(request.path))
        if not found:
            return None
        token = tokens.read(found[2], kind, self.keys())
        return tokens.read(found[2], "canary", self.keys()) if token is None and kind == "click" else token

    def event(self, request: heads.Head, token: Token) -> Event:
        now = self.clock()
        asker = self.askers.of(request, token.kind == "click", now)
        return happened(request.method, token, asker, request.query, now, os.urandom(DRAWN))


def happened(method: str, token: Token, asker: askers.Asker, query: str, now: float, drawn: bytes) -> Event:
    """`drawn` are so many random octets, and no others' than this event's."""
    named = tid(query) if query else None
    # By position: by name takes twice as long.
    return Event(
        tally.event_id(now, drawn), TYPES[token.kind], tokens.message_id(token.message_key), now, token.recipient, "",
        token.link, token.url, method, asker.ip, asker.user_agent, asker.referer, asker.verdict, asker.reason,
        {**named, **asker.data} if named else asker.data,
    )  # fmt: skip


def head(request: web.Request) -> heads.Head:
    headers = request.headers
    fields = {name: headers[spelt] for name, spelt in LOOKED_AT.items() if spelt in headers}
    if heads.FORWARDED in fields:
        fields[heads.FORWARDED] = ",".join(headers.getall(heads.FORWARDED))
    peer = request.transport.get_extra_info("peername") if request.transport else None
    url = request.rel_url
    return heads.Head(
        request.method, url.raw_path, url.raw_query_string, fields, peer[0] if isinstance(peer, tuple) else ""
    )


async def without_body(request: web.Request, response: web.StreamResponse) -> None:
    """A request with a body is the last one on its connection: what follows it is not looked at."""
    if request.body_exists:
        response.headers["Connection"] = "close"
        response.force_close()


async def unasked(_request: web.Request) -> None:
    """`Expect: 100-continue` gets the final answer at once (RFC 9110 10.1.1)."""


async def robots(_request: web.Request) -> web.Response:
    return web.Response(text="User-agent: *\nDisallow: /\n", headers=COMMON)


def page(text: str, status: int) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html", headers=pages.HEADERS)


def location(url: str) -> str | None:
    """A signed URL as the value of Location: the same characters where it is ASCII; of others the host name by IDNA
    (RFC 5891) and the rest percent-encoded (RFC 3987 3.1). None for what no header may hold or no browser should
    get."""
    if PLAIN_URL.fullmatch(url):
        return url
    if CONTROL.search(url) or not SCHEMES.match(url):
        return None
    if (match := HOST.fullmatch(url)) and not match[2].isascii():
        with suppress(idna.IDNAError):  # browsers read a percent-encoded host name too
            url = match[1] + idna.encode(match[2], uts46=True).decode("ascii") + match[3]
    return quote(url, safe=AS_IS, errors="surrogatepass")


def tid(query: str) -> dict[str, str]:
    """The `tid` of a query, which is kept and routes nothing."""
    for pair in query[:4096].split("&") if query else ():
        name, _, value = pair.partition("=")
        if name == "tid" and value:
            return {"tid": unquote_plus(value)[:LONGEST_TID]}
    return {}
