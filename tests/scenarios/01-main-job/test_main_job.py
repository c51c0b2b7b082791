"""The main job with real servers: swaks and smtplib -> trackrelay -> Postfix -> Dovecot -> Chromium -> an answer -> IMAP;
each signal arrives at the webhook, valid against its schema and its signatures."""

import asyncio
import email
import email.policy
import hashlib
import hmac
import imaplib
import json
import os
import smtplib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests import peers
from tests.fakes import hooks
from tests.peers import browser, dovecot, postfix
from tests.scenarios import service
from tests.until import eventually

SCHEMAS = Path(__file__).parent.parent.parent / "contract"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLwSw"
CUSTOMER, SALES = "customer@example.test", "sales@example.test"
PASSWORDS = {CUSTOMER: "customer-word", SALES: "sales-word"}


@asynccontextmanager
async def destination() -> AsyncIterator[tuple[str, list[str]]]:
    """The site that the link leads to, and the paths that were asked of it."""
    asked: list[str] = []

    async def page(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(text="<title>You have arrived</title>Welcome", content_type="text/html")

    application = web.Application()
    application.router.add_get("/{tail:.*}", page)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


def letter(site: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"Sales <{SALES}>", CUSTOMER, "Your offer"
    message["X-Track"] = "opens, clicks, replies"
    message["X-Track-Label"] = "offer-42"
    message.set_content("Your offer is ready.")
    message.add_alternative(
        f'<html><body><h1>Your offer</h1><p><a href="{site}/offer?a=1&amp;b=2#top">See it</a> or '
        f'<a href="{site}/other">another</a>.</p></body></html>',
        subtype="html",
    )
    return message


def by_swaks(port: int, message: bytes) -> None:
    swaks = peers.require("swaks", package="swaks")
    words = [swaks, "--server", f"127.0.0.1:{port}", "--from", SALES, "--to", CUSTOMER, "--data", "-", "--silent", "2"]
    done = subprocess.run(words, input=message, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def by_smtplib(port: int, message: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        assert client.sendmail(SALES, [CUSTOMER], message) == {}


def by_postfix(port: int, message: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        assert client.sendmail(CUSTOMER, [SALES], message) == {}


def newest(port: int, user: str) -> bytes | None:
    """The last message in the user's INBOX, by IMAP."""
    with imaplib.IMAP4("127.0.0.1", port) as client:
        client.login(user, PASSWORDS[user])
        client.select("INBOX", readonly=True)
        _, found = client.search(None, "ALL")
        numbers = found[0].split()
        fetched: Any = client.fetch(numbers[-1].decode(), "(RFC822)") if numbers else None
        return fetched[1][0][1] if fetched else None


async def read_and_click(page_file: Path, title: str) -> str:
    """Opens the delivered HTML in Chromium, waits for its pictures, follows the first link; the address it ends at."""
    async with browser.running_async() as chromium:
        page = await chromium.new_page()
        async with page.expect_response(lambda r: "/o/" in r.url) as pixel:
            await page.goto(page_file.as_uri())
        assert (await (await pixel.value).body())[:6] == b"GIF89a"
        await page.click("text=See it")
        await page.wait_for_function("title => document.title === title", arg=title)
        return str(page.url)


def answer(original: bytes) -> bytes:
    first = email.message_from_bytes(original)
    reply = EmailMessage()
    reply["From"], reply["To"], reply["Subject"] = CUSTOMER, SALES, f"Re: {first['Subject']}"
    reply["Message-ID"], reply["In-Reply-To"] = "<answer-1@example.test>", first["Message-ID"]
    reply["References"] = " ".join(filter(None, [first["References"], first["Message-ID"]]))
    reply.set_content("Yes, please.")
    return reply.as_bytes(policy=email.policy.SMTP)


def verify(received: hooks.Received) -> dict[str, Any]:
    """The notification, when its schema and both of its signatures hold."""
    note: dict[str, Any] = json.loads(received.body)
    schema = json.loads((SCHEMAS / f"{note['type']}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(note)
    Webhook(SECRET).verify(received.body, dict(received.headers))
    nylas = hmac.new(SECRET.encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["x-nylas-signature"] == nylas
    assert received.headers["webhook-id"] == note["id"]
    return note


@pytest.mark.timeout(180)
@pytest.mark.parametrize("send", [by_smtplib, by_swaks])
async def test_sent_opened_clicked_answered(tmp_path: Path, send: Any) -> None:
    with dovecot.running(tmp_path / "dovecot", users=PASSWORDS) as mail:
        transport = f"lmtp:inet:127.0.0.1:{mail.lmtp_port}"
        with postfix.running(transport=transport) as upstream:
            async with hooks.receiver() as hook, destination() as (site, asked):
                ports = service.settings(
                    tmp_path,
                    upstream=upstream.port,
                    more=f"""
[[grants]]
id = "sales"
email = "{SALES}"
addresses = ["{SALES}"]
mailbox = "imap://{SALES.replace("@", "%40")}@127.0.0.1:{mail.imap_port}/INBOX"
mailbox_password = "env:SALES_PASSWORD"
[[webhooks]]
url = "{hook.url}"
triggers = ["message.opened", "message.link_clicked", "thread.replied"]
secret = "env:HOOK_SECRET"
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
""",
                )
                env = {"SALES_PASSWORD": PASSWORDS[SALES], "HOOK_SECRET": SECRET}
                with service.running(tmp_path, ports, env=env) as relay:
                    await asyncio.to_thread(send, relay.smtp, letter(site).as_bytes(policy=email.policy.SMTP))
                    delivered = await asyncio.to_thread(eventually, lambda: newest(mail.imap_port, CUSTOMER))
                    assert b"X-Track" not in delivered
                    parts: Any = email.message_from_bytes(delivered).get_payload()
                    html = parts[1].get_payload(decode=True)
                    page = tmp_path / "mail.html"
                    page.write_bytes(html)
                    assert await read_and_click(page, "You have arrived") == f"{site}/offer?a=1&b=2#top"
                    assert asked[0] == "/offer?a=1&b=2"
                    await asyncio.to_thread(by_postfix, upstream.port, answer(delivered))
                    await hook.until(lambda h: len({r.json["type"] for r in h.accepted}) == 3, timeout=60)
                    shown = await asyncio.to_thread(
                        lambda: relay.command("events", "--json", env={**os.environ, **env}).stdout
                    )
    notes = {note["type"]: note for note in map(verify, hook.accepted)}
    opened, clicked, replied = (notes[t]["data"] for t in ("message.opened", "message.link_clicked", "thread.replied"))
    ours = opened["object"]["message_id"]
    assert {d["grant_id"] for d in (opened, clicked, replied)} == {"sales"}
    assert {d["object"]["label"] for d in (opened, clicked, replied)} == {"offer-42"}
    assert clicked["object"]["message_id"] == replied["object"]["root_message_id"] == ours
    assert opened["object"]["message_data"]["count"] == 1
    assert opened["object"]["recipient"] == CUSTOMER
    links = [(link["url"], link["count"]) for link in clicked["object"]["link_data"]]
    assert links == [(f"{site}/offer?a=1&b=2#top", 1), (f"{site}/other", 0)]
    assert clicked["object"]["recents"][0]["link_index"] == "0"
    assert replied["object"]["reply_data"]["count"] == 1
    types = [json.loads(line)["type"] for line in shown.splitlines()]
    assert [t for t in types if t in notes] == ["message.opened", "message.link_clicked", "thread.replied"]
