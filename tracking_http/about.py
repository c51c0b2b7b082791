"""The page about a message: who sent it to whom, what is recorded, and a recipient's say.

Owns: the page and its forms, what of a record is shown, how often one may ask. Leaves to others: the words
(`about_words`), putting a refusal on the list (`relay.suppressing`), what a token says (`core.tokens`).

To look changes nothing: scanners look at everything. What is chosen is sent by POST, and may be sent again. The token is
all that is needed, as it was in a message that only its recipient got: no cookie, and nothing that another page could misuse.
It works without script. Whoever has the token may not be the recipient, so their address is mostly hidden.
While the store is away the page says less, and a wish goes to the journal.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection
from html import escape
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from aiohttp import web

from relay import journal as journals
from relay import log, metrics
from relay import store as stores
from relay.config import Settings
from relay.core import domains, dsn, networks, suppressions, tokens, urls
from relay.core.model import Event, EventType, Keys, Sent, SentCopy, Token, TokenKind
from relay.core.suppressions import Suppression
from relay.suppressing import ADDRESS, Suppressing
from relay.workers import sharing
from tracking_http import pages, visitor
from tracking_http.about_words import WORDS, Words, known, preferred

LOG = log.room("public")

SECONDS = 1.0  # that the page waits for the store
EACH = 30  # requests of one network in a minute
LARGEST = 2048  # octets of a form
FORM_SECONDS = 5.0
LONGEST_ADDRESS = 320
KINDS: tuple[TokenKind, ...] = ("about", "open", "click")  # whoever has one of these has the message
HEADERS = {
    **pages.HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Vary": "Accept-Language",
}
HTML = """<!doctype html>
<html lang="{code}" dir="ltr"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex,nofollow"><title>{title}</title><style>
:root{{color-scheme:light dark;--ink:#1c1c1c;--ground:#fff;--line:#6b6b6b;--link:#0b4fb3;--act:#0b4fb3;--on:#fff}}
@media(prefers-color-scheme:dark){{:root{{--ink:#e6e6e6;--ground:#161616;--line:#9a9a9a;--link:#9cc2ff;--act:#9cc2ff;--on:#10131a}}}}
*{{box-sizing:border-box}}body{{font:1rem/1.6 system-ui,sans-serif;color:var(--ink);background:var(--ground);max-width:38rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}}
h1{{font-size:1.6rem;line-height:1.25}}h2{{font-size:1.2rem;margin-top:2rem}}a{{color:var(--link)}}
form{{margin:1.25rem 0}}label{{display:block;font-weight:600}}
input{{font:inherit;width:100%;padding:.6rem;margin:.25rem 0 .75rem;color:inherit;background:var(--ground);border:1px solid var(--line);border-radius:.3rem}}
button{{font:inherit;font-weight:600;min-height:2.75rem;padding:.6rem 1rem;max-width:100%;color:var(--on);background:var(--act);border:2px solid var(--act);border-radius:.3rem;cursor:pointer}}
:focus-visible{{outline:3px solid var(--link);outline-offset:3px}}nav ul{{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1rem}}
nav a{{display:inline-block;padding:.25rem 0}}nav [aria-current]{{font-weight:600;color:inherit}}
</style></head><body><main>{main}</main><nav aria-label="{languages}"><ul>{others}</ul></nav></body></html>"""


class Store(Protocol):
    """What is asked of a store here."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def suppressed(self, digests: Collection[str]) -> list[Suppression]: ...


class Rates:
    """Requests of each network in a minute: a bucket that holds `EACH` and drains evenly."""

    def __init__(self, service: sharing.Shared) -> None:
        self._buckets = service.latest("http.about")

    def take(self, client: str, now: float) -> bool:
        told = self._buckets.get(client)
        used = max(0.0, told.value - max(0.0, now - told.at) * EACH / 60) if told else 0.0
        allowed = used <= EACH - 1 + 1e-9
        self._buckets.put(client, used + 1 if allowed else used, now)
        return allowed


class Known(NamedTuple):
    """What the store has: `copies` are those that share the token. `away` where it can't be asked."""

    sent: Sent | None = None
    copies: tuple[SentCopy, ...] = ()
    refused: bool = False
    away: bool = False

    @property
    def alone(self) -> str:
        return self.copies[0].recipient if len(self.copies) == 1 else ""


class Handlers:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: Callable[[], Keys],
        suppressing: Suppressing,
        journal: journals.Journal,
        *,
        paths: Collection[str] = ("",),
        clock: Callable[[], float] = time.time,
        appended: Callable[[], None] | None = None,
        service: sharing.Shared = sharing.ALONE,
    ) -> None:
        self._settings, self._store, self._keys, self._journal = settings, store, keys, journal
        self._erasing = "erased" if settings.privacy.on_request == "erase" else "erasing"
        self._suppressing, self._clock, self._appended = suppressing, clock, appended
        self._path = re.compile(f"(?:{'|'.join(map(re.escape, paths))})/about/([A-Za-z0-9_-]+)")
        self._client = visitor.addresses(settings.http.trusted_proxies)
        self._rates = Rates(service)

    async def show(self, request: web.Request) -> web.Response:
        code = language(request)
        token = self._token(request)
        if token is None:
            raise web.HTTPNotFound
        if not self._room(request):
            return self._page(code, "busy", 429, Known(), request)
        return self._page(code, "", 200, await self._known(token), request)

    async def choose(self, request: web.Request) -> web.Response:
        code = language(request)
        token = self._token(request)
        if token is None:
            raise web.HTTPNotFound
        if not self._room(request):
            return self._page(code, "busy", 429, Known(), request)
        said = await fields(request)
        erase = bool({"erase", "delete"} & {value.lower() for value in said.values()})
        kind: EventType = "message.erasure_requested" if erase else "message.tracking_refused"
        given = said.get("address", "").strip()[:LONGEST_ADDRESS]
        message_id = tokens.message_id(token.message_key)
        event = Event(
            dsn.event_id(message_id, kind, str(token.recipient), suppressions.mailbox(given)),
            kind,
            message_id,
            self._clock(),
            token.recipient,
            data={ADDRESS: given} if given else {},
        )
        known = await self._known(token)
        if not known.away and known.sent is None:
            return self._page(code, "failed", 404, known, request)
        if not known.away and len(known.copies) != 1 and not given:
            return self._page(code, "", 200, known, request)
        outcome = await self._take(event)
        metrics.WISHES.labels("erase" if erase else "stop", outcome).inc()
        if outcome == "stored":
            said_so = "perhaps" if not known.alone else self._erasing if erase else "stopped"
            return self._page(code, said_so, 200, known, request)
        return self._page(
            code,
            "noted" if outcome == "journaled" else "failed",
            200 if outcome == "journaled" else 503,
            known,
            request,
        )

    async def _take(self, event: Event) -> str:
        """Where it is now: "stored", "journaled" or "lost"."""
        try:
            async with asyncio.timeout(SECONDS):
                if await self._suppressing.append(event) is not None and self._appended:
                    self._appended()
            return "stored"
        except (stores.Unavailable, TimeoutError) as reason:
            LOG.warning("wish_not_stored", message_id=event.message_id, reason=str(reason) or "the store is slow")
        return "journaled" if await self._journal.append(event) else "lost"

    def _token(self, request: web.Request) -> Token | None:
        found = self._path.match(urls.plain(request.rel_url.raw_path))
        keys = self._keys()
        return next((t for kind in KINDS if (t := tokens.read(found[1], kind, keys))), None) if found else None

    def _room(self, request: web.Request) -> bool:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        address = self._client(
            peer[0] if isinstance(peer, tuple) else "", ",".join(request.headers.getall("X-Forwarded-For", ()))
        )
        return self._rates.take(networks.client(networks.peer(address)), time.monotonic())

    async def _known(self, token: Token) -> Known:
        try:
            async with asyncio.timeout(SECONDS):
                sent = await self._store.sent(tokens.message_id(token.message_key))
                copies = tuple(c for c in sent.copies if c.index == token.recipient) if sent else ()
                refused = False
                if sent and len(copies) == 1:
                    entries = await self._store.suppressed([suppressions.digest(copies[0].recipient, self._keys())])
                    refused = any(e.reason == "refusal" and e.grant_id in ("", sent.grant_id) for e in entries)
            return Known(sent if copies else None, copies, refused)
        except (stores.Unavailable, TimeoutError):
            return Known(away=True)

    # -- the page ------------------------------------------------------------------------------------------------------

    def _page(self, code: str, outcome: str, status: int, known: Known, request: web.Request) -> web.Response:
        words = WORDS[code]
        title, body = words.title, ""
        if outcome in ("busy", "failed"):
            title, body = words.failed_title, paragraph(getattr(words, outcome))
            body += self._contact(words)
        elif outcome:
            title = words.done
            body = f'<p role="status">{escape(getattr(words, outcome))}</p>'
            if outcome in ("erasing", "erased"):
                body = f'<p role="status">{escape(words.stopped)} {escape(getattr(words, outcome))}</p>'
            body += paragraph(words.stop_means) + paragraph(words.mail) + self._contact(words)
        else:
            body = self._about(words, known) + self._choices(code, words, known, request)
        main = f"<h1>{escape(title)}</h1>{body}"
        others = "".join(
            f'<li><a lang="{other}" hreflang="{other}" href="?lang={other}"{" aria-current=true" if other == code else ""}>'
            f"{escape(its.language)}</a></li>"
            for other, its in WORDS.items()
        )
        text = HTML.format(
            code=code, title=escape(title), main=main, languages=escape(words.languages, quote=True), others=others
        )
        headers = {**HEADERS, "Content-Language": code}
        if status == 429:
            headers["Retry-After"] = "60"
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)

    def _about(self, words: Words, known: Known) -> str:
        sent, privacy = known.sent, self._settings.privacy
        if sent is None:
            return paragraph(words.unnamed)
        day = time.strftime("%Y-%m-%d", time.gmtime(sent.submitted_at))
        who = ", ".join(dict.fromkeys(suppressions.masked(copy.recipient) for copy in known.copies[:3]))
        named = {
            "sender": f"<bdi>{escape(domains.of_address(sent.sender) or sent.sender or '?')}</bdi>",
            "recipient": f"<bdi>{escape(who)}{'…' if len(known.copies) > 3 else ''}</bdi>",
            "date": f'<time datetime="{day}">{day}</time>',
        }
        told = [f"<p>{escape(words.sent).format(**named)}</p>"]
        if known.refused:
            told.append(f"<p><strong>{escape(words.refused)}</strong></p>")
        told.append(f"<h2>{escape(words.recorded)}</h2>")
        told.append(recorded(words, sent, known.copies, privacy))
        told.append(paragraph(words.kept.format(days=privacy.retention_days)))
        told.append(paragraph(words.itself))
        return "".join(told)

    def _choices(self, code: str, words: Words, known: Known, request: web.Request) -> str:
        told = [f"<h2>{escape(words.choice)}</h2>"]
        if known.sent is None and not known.away:
            return "".join((*told, paragraph(words.mail), self._contact(words)))
        if known.alone:
            who = f"<bdi>{escape(suppressions.masked(known.alone))}</bdi>"
            told.append(f"<p>{escape(words.forwarded).format(recipient=who)}</p>")
        elif known.sent:
            told.append(paragraph(words.several))
        for wish, label, means in (
            ("stop", words.stop, words.stop_means),
            ("erase", words.erase, words.erased if self._erasing == "erased" else words.erase_means),
        ):
            field = ""
            if not known.alone:
                must = " required" if known.sent else ""
                field = (
                    f'<label for="address-{wish}">{escape(words.yours)}</label><input id="address-{wish}" name="address" '
                    f'type="email" autocomplete="email" inputmode="email" maxlength="{LONGEST_ADDRESS}"{must}>'
                )
            told.append(
                f'<form method="post" action="?lang={code}"><p id="means-{wish}">{escape(means)}</p>{field}'
                f'<button name="wish" value="{wish}" aria-describedby="means-{wish}">{escape(label)}</button></form>'
            )
        return "".join((*told, paragraph(words.mail), self._contact(words)))

    def _contact(self, words: Words) -> str:
        address = self._settings.http.abuse
        if not address:
            return ""
        link = f'<a href="mailto:{escape(address)}">{escape(address)}</a>'
        return f"<p>{escape(words.contact).format(address=link)}</p>"


def recorded(words: Words, sent: Sent, copies: tuple[SentCopy, ...], privacy: Any) -> str:
    """What is recorded of these copies, as the settings have it now."""
    if not any(copy.tracked for copy in copies):
        return paragraph(words.untracked) + paragraph(words.nothing)
    hits = [text for text, on in ((words.opens, sent.opens), (words.links, sent.links_tracked)) if on]
    if hits:
        for field, texts in (
            (privacy.ip, {"full": words.with_address, "truncated": words.with_part}),
            (privacy.user_agent, {"full": words.with_program, "family": words.with_kind}),
            (privacy.referer if sent.links_tracked else "none", {"full": words.with_page, "origin": words.with_page}),
        ):
            if field in texts:
                hits.append(texts[field])
    if any(copy.thread_replies for copy in copies):
        hits.append(words.replies)
    items = "".join(f"<li>{escape(text)}</li>" for text in hits)
    cut = (
        privacy.ip_days
        and privacy.ip_days < privacy.retention_days
        and (privacy.ip != "none" or privacy.user_agent != "none")
    )
    return f"<ul>{items}</ul>" + (paragraph(words.cut.format(days=privacy.ip_days)) if cut else "")


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def language(request: web.Request) -> str:
    """What the address says, else what the browser wants."""
    return known(request.query.get("lang", "")) or preferred(request.headers.get("Accept-Language", ""))


async def fields(request: web.Request) -> dict[str, str]:
    """Of the form and of the query, as far as they can be read."""
    text = request.rel_url.raw_query_string[:LARGEST]
    if request.body_exists:
        octets = b""
        try:
            async with asyncio.timeout(FORM_SECONDS):
                while len(octets) <= LARGEST and (chunk := await request.content.readany()):
                    octets += chunk
        except (TimeoutError, OSError, web.HTTPException):
            octets = b""
        if len(octets) <= LARGEST:
            text += "&" + octets.decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, max_num_fields=20))
    except ValueError:
        return {}
