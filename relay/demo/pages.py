"""The demo's page: compose, inbox, the live page beside them, and the webhooks that went out.

Owns: its routes. Leaves to others: the live page's data (`tracking_http.dashboard`), access control
(`tracking_http.admin`), reading and writing messages (`display`, `writing`).

A message's HTML is shown as a document of its own, in two sandboxes (the frame's attribute and the document's policy):
no scripts, no forms, only pictures of the tracking server and of the message itself, links in a new tab.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosmtplib
from aiohttp import web

from relay import log
from relay.demo import display, writing
from relay.demo.inbox import Inbox, Received
from relay.demo.received import Notifications
from tracking_http.dashboard import pages

LOG = log.room("demo")

HERE = Path(__file__).parent
STATIC = {p.name: p for p in (HERE / "static").iterdir() if p.is_file()}
TEMPLATES = pages.environment(HERE / "templates")
LONGEST_HTML = 1_000_000
SEND_SECONDS = 60.0
OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: `smtp` is (host, port); the URLs have no slash at the end."""

    smtp: tuple[str, int]
    tracking: str
    admin: str
    maildir: Path


class Demo:
    """The routes over one inbox. `places` is called for each request, since the addresses are known only once all is
    up."""

    def __init__(self, inbox: Inbox, notifications: Notifications, places: Callable[[], Places]) -> None:
        self.inbox, self.notifications, self.places = inbox, notifications, places

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/", self.page),
            web.get("/demo/static/{name}", self.static),
            web.get("/visit/{name}", self.visit),
            web.post("/demo/send", self.send),
            web.post("/demo/preview", self.preview),
            web.get("/demo/inbox", self.messages),
            web.get("/demo/inbox/{id}", self.view),
            web.get("/demo/inbox/{id}/body", self.body),
            web.get("/demo/inbox/{id}/source", self.source),
            web.get("/demo/inbox/{id}/changes", self.changes),
            web.get("/demo/inbox/{id}/parts/{index}", self.part),
            web.post("/demo/inbox/{id}/reply", self.reply),
            web.post("/demo/webhook", self.notified),
            web.get("/demo/webhooks", self.webhooks),
            web.get("/demo/webhooks/{id}/body", self.webhook_body),
        ]

    async def page(self, request: web.Request) -> web.Response:
        places = self.places()
        answer = pages.page(
            "demo.html", pages=TEMPLATES, smtp=f"{places.smtp[0]}:{places.smtp[1]}", sample=self.sample(places)
        )
        answer.headers["Content-Security-Policy"] = OWN_POLICY
        return answer

    def sample(self, places: Places) -> str:
        return TEMPLATES.get_template("sample.html").render(base=f"{places.admin}/visit")

    async def static(self, request: web.Request) -> web.Response:
        return pages.file_of(STATIC, request)

    async def visit(self, request: web.Request) -> web.Response:
        """Where the sample's links lead: a page that needs no network."""
        return pages.page("visit.html", pages=TEMPLATES, url=str(request.url), name=request.match_info["name"])

    # -- compose ------------------------------------------------------------------------------------------------------

    async def send(self, request: web.Request) -> web.Response:
        """Sends the form (as JSON) the way any mail client would: by SMTP, to the relay's own port. Answers with the
        relay's reply, even if it is a refusal."""
        form = await fields(request)
        track = form.get("track")
        draft = writing.Draft(
            sender=text(form, "from", 500),
            to=text(form, "to", 5_000),
            subject=text(form, "subject", 2_000),
            html=text(form, "html", LONGEST_HTML),
            track=frozenset(t for t in track if isinstance(t, str)) if isinstance(track, list) else frozenset(),
            label=text(form, "label", 2_048),
        )
        try:
            sender, recipients, message = writing.compose(draft)
        except writing.Unwritable as reason:
            return web.json_response({"sent": False, "reply": str(reason)}, status=422)
        host, port = self.places().smtp
        try:
            async with aiosmtplib.SMTP(
                hostname=host, port=port, start_tls=False, timeout=SEND_SECONDS, local_hostname="client.localhost"
            ) as client:
                options = () if writing.plain(sender, *recipients) else ("SMTPUTF8", "BODY=8BITMIME")
                refused, reply = await client.sendmail(sender, recipients, message, mail_options=options)
        except aiosmtplib.SMTPRecipientsRefused as reason:
            words = "; ".join(f"{r.code} {r.message}" for r in reason.recipients)
            return web.json_response({"sent": False, "reply": words}, status=422)
        except aiosmtplib.SMTPResponseException as reason:
            return web.json_response({"sent": False, "reply": f"{reason.code} {reason.message}"}, status=422)
        except (aiosmtplib.SMTPException, OSError) as reason:
            LOG.warning("not_sent", reason=str(reason))
            return web.json_response({"sent": False, "reply": f"The relay does not answer: {reason}"}, status=502)
        words = f"250 {reply}" + "".join(f"; {address}: {code} {word}" for address, (code, word) in refused.items())
        return web.json_response({"sent": True, "reply": words})

    async def preview(self, request: web.Request) -> web.Response:
        form = await request.post()
        given = form.get("html")
        return sandboxed(given[:LONGEST_HTML] if isinstance(given, str) else "", "data:")

    # -- the inbox
    # -------------------------------------------------------------------------------------------------------

    def message(self, request: web.Request) -> Received:
        found = self.inbox.messages.get(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound(text="This message is gone.")
        return found

    async def messages(self, request: web.Request) -> web.Response:
        found = [display.line(each) for each in reversed(self.inbox.messages.values())]
        return web.json_response({"messages": found}, headers=NO_STORE)

    async def view(self, request: web.Request) -> web.Response:
        found = self.message(request)
        found.seen = True
        return web.json_response(await asyncio.to_thread(display.view, found), headers=NO_STORE)

    async def body(self, request: web.Request) -> web.Response:
        """The message's HTML as a document. With `?images=0`, as a mail client shows it that loads no remote
        pictures."""
        found = self.message(request)
        reading = await asyncio.to_thread(display.read, found.raw)
        remote = "" if request.query.get("images") == "0" else f"{self.places().tracking} "
        return sandboxed(display.document(reading), f"{remote}data:")

    async def source(self, request: web.Request) -> web.Response:
        raw = self.message(request).raw[:2_000_000]
        return web.Response(text=raw.decode("utf-8", "replace"), content_type="text/plain", headers=NO_STORE)

    async def changes(self, request: web.Request) -> web.Response:
        """The source with marks where the relay changed it."""
        found = self.message(request)
        told = await asyncio.to_thread(display.changes, found, self.places().tracking)
        return web.json_response(told, headers=NO_STORE)

    async def part(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(display.read, self.message(request).raw)
        index = request.match_info["index"]
        if not (index.isascii() and index.isdigit() and int(index[:4]) < len(found.attachments)):
            raise web.HTTPNotFound(text="No such attachment.")
        attachment = found.attachments[int(index[:4])]
        return web.Response(
            body=attachment.content,
            content_type="application/octet-stream",
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(attachment.name, safe='')}",
                "Content-Security-Policy": "sandbox; default-src 'none'",
                **NO_STORE,
            },
        )

    async def reply(self, request: web.Request) -> web.Response:
        """Writes the recipient's reply and delivers it to the sender's mailbox, where the relay finds it."""
        found, form = self.message(request), await fields(request)
        try:
            message = writing.answer(found, text(form, "text", 50_000), automatic=form.get("automatic") is True)
        except writing.Unwritable as reason:
            return web.json_response({"sent": False, "reply": str(reason)}, status=422)
        await asyncio.to_thread(writing.deliver, self.places().maildir, message)
        found.answered = found.answered or form.get("automatic") is not True
        return web.json_response({"sent": True, "reply": "Delivered to the sender’s mailbox."})

    # -- the webhook consumer ------------------------------------------------------------------------------------------

    async def notified(self, request: web.Request) -> web.Response:
        """The endpoint, as any program has it."""
        if self.notifications.take(tuple(request.headers.items()), await request.read()):
            return web.Response(status=204)
        return web.Response(status=401, text="This is not signed with the secret.")

    async def webhooks(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"webhooks": self.notifications.told(self.places().admin, request.query.get("after", ""))}, headers=NO_STORE
        )

    async def webhook_body(self, request: web.Request) -> web.Response:
        """The octets that were signed."""
        found = self.notifications.found.get(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound(text="This webhook is gone.")
        return web.Response(body=found.body, content_type="application/json", headers=NO_STORE)


async def fields(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="JSON, please.")
    try:
        found = await request.json()
    except ValueError as wrong:
        raise web.HTTPBadRequest(text="This is no JSON.") from wrong
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(text="An object, please.")
    return found


def text(form: dict[str, Any], name: str, longest: int) -> str:
    value = form.get(name, "")
    if not isinstance(value, str) or len(value) > longest:
        raise web.HTTPBadRequest(text=f"{html.escape(name)}: a text of at most {longest} characters.")
    return value


def sandboxed(document: str, pictures: str) -> web.Response:
    """A document that somebody else wrote, with the response headers that a webmail client would give it."""
    policy = (
        f"sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src {pictures}; "
        "style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    )
    return web.Response(
        text=document,
        content_type="text/html",
        headers={"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN", **NO_STORE},
    )
