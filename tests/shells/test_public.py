"""The pixel is always the picture; a click leads to a URL that was signed here and nowhere else; no hit is lost while
the store is away, and nobody waits for it."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession
from hypothesis import given
from hypothesis import strategies as st

from relay import journal
from relay import store as stores
from relay.config import Http, Privacy, Settings
from relay.core import classify, floods, networks, tokens
from relay.core.model import Event, Keys, Token
from relay.store import memory
from tests.fakes import names
from tests.fakes.stores import MoodyStore
from tests.fakes.wire import connect
from tests.samples import sample
from tests.until import until
from tracking_http import listener, public, reverse_names, visitor

NOW = 1_700_000_100.25
KEYS = Keys(3, {3: bytes(range(32)), 1: bytes(32)})
KEY = tokens.message_key(1_700_000_000.0, bytes(range(16)))
URL = "https://example.com/a(b)?x=1&y=%20ü#fragment".replace("ü", "%C3%BC")
OPEN = tokens.write(Token("open", KEY, 2), KEYS)
CLICK = tokens.write(Token("click", KEY, 2, 7, URL), KEYS)


class Site:
    """The application on a port of its own."""

    def __init__(self, base: str, store: Any, http: ClientSession, kept: journal.Journal) -> None:
        self.base, self.store, self.http, self.kept = base, store, http, kept
        self.port = int(base.rpartition(":")[2])

    async def get(self, path: str, method: str = "GET", **headers: str) -> ClientResponse:
        from yarl import URL as Address

        address = Address(self.base + path, encoded=True)
        answer = await self.http.request(
            method, address, allow_redirects=False, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        await answer.read()
        return answer

    async def raw(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def site(
    folder: Path,
    settings: Settings | None = None,
    store: Any = None,
    clock: Callable[[], float] = lambda: NOW,
    named: reverse_names.ReverseNames | None = None,
    **how: Any,
) -> AsyncIterator[Site]:
    """`how` are options of the runner, in place of those that the program has."""
    store = store or MoodyStore()
    kept = journal.Journal(folder / "journal")
    app = public.application(settings or Settings(), store, lambda: KEYS, kept, clock=clock, named=named)
    room = listener.Listener(app, quick=app[public.QUICK], **{**public.RUNNER, **how})
    await room.start("127.0.0.1", 0)
    feeding = asyncio.create_task(kept.run(store))
    try:
        async with ClientSession() as http:
            yield Site(f"http://127.0.0.1:{room.addresses[0][1]}", store, http, kept)
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding
        await room.stop()
        await kept.stop()


async def test_a_pixel_is_the_picture_and_an_event(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        answer = await s.get(f"/o/{OPEN}", User_Agent="Reader of mail (Linux)", Referer="https://webmail.example/")
        assert answer.status == 200
        assert await answer.read() == public.PIXEL
        assert len(public.PIXEL) == 43
        assert answer.headers["Content-Type"] == "image/gif"
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Pragma"] == "no-cache"
        assert answer.headers["Expires"] == "0"
        [event] = s.store.taken
        assert (event.type, event.message_id) == ("message.opened", tokens.message_id(KEY))
        assert (event.recipient_index, event.at, event.method) == (2, 1_700_000_100.25, "GET")
        assert (event.ip, event.user_agent, event.referer) == (
            "127.0.0.1",
            "Reader of mail (Linux)",
            "https://webmail.example/",
        )
        assert (event.verdict, event.reason) == ("unknown", "unclassified")


async def test_a_click_leads_to_exactly_the_signed_url(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        answer = await s.get(f"/c/{CLICK}?url=https://evil.example/&tid=a%20b+c")
        assert (answer.status, answer.headers["Location"]) == (302, URL)
        assert "no-store" in answer.headers["Cache-Control"]
        [event] = s.store.taken
        assert (event.type, event.url, event.link_index) == ("message.link_clicked", URL, 7)
        assert event.data["tid"] == "a b c"


@pytest.mark.parametrize("prefix", ["/v1/track", "/api/v1/track"])
async def test_the_aliases_answer_as_the_short_paths_do(tmp_path: Path, prefix: str) -> None:
    async with site(tmp_path) as s:
        assert (await s.get(f"{prefix}/open/{OPEN}")).headers["Content-Type"] == "image/gif"
        assert (await s.get(f"{prefix}/click/{CLICK}")).headers["Location"] == URL
        refused = await s.get(f"{prefix}/click/nothing?url=https://evil.example/")
        assert refused.status == 404
        assert "Location" not in refused.headers
        assert (await s.get(f"{prefix}/open/nothing")).status == 200
        assert len(s.store.taken) == 2


@pytest.mark.parametrize("path", ["", "/t", "/o", "/c", "/mail/t", "/v1"])
async def test_a_path_of_the_tracking_url_may_come_along_or_not(tmp_path: Path, path: str) -> None:
    """A proxy hands on the path that recipients asked for, or takes its own part of it off."""
    tracking = replace(Settings().tracking, url="https://www.example.com" + path, domains=("https://t2.example.com/u",))
    async with site(tmp_path, replace(Settings(), tracking=tracking)) as s:
        for before in {"", path, "/u"}:
            assert (await s.get(f"{before}/")).headers["Content-Type"] == "text/html; charset=utf-8"
            assert (await s.get(f"{before}/o/{OPEN}")).headers["Content-Type"] == "image/gif"
            assert (await s.get(f"{before}/c/{CLICK}")).headers["Location"] == URL
            assert (await s.get(f"{before}/v1/track/click/{CLICK}")).headers["Location"] == URL
            assert [event.type for event in s.store.taken[-3:]] == [
                "message.opened",
                "message.link_clicked",
                "message.link_clicked",
            ]
        assert (await s.get(f"/elsewhere/c/{CLICK}")).status == 404


async def test_a_head_request_is_kept_as_one(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        pixel, link = await s.get(f"/o/{OPEN}", "HEAD"), await s.get(f"/c/{CLICK}", "HEAD")
        assert (pixel.status, pixel.headers["Content-Length"]) == (200, "43")
        assert (link.status, link.headers["Location"]) == (302, URL)
        assert [(e.method, e.reason) for e in s.store.taken] == [("HEAD", "head")] * 2


async def test_no_altered_token_leads_anywhere_or_counts(tmp_path: Path) -> None:
    raw = base64.urlsafe_b64decode(CLICK + "=" * (-len(CLICK) % 4))
    dice = random.Random(7)
    altered = {CLICK[:-1], CLICK[:-1] + ".", CLICK + "A", CLICK + "%41", CLICK + "-.", "%20" + CLICK, OPEN}
    for bit in range(0, len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        altered.add(base64.urlsafe_b64encode(changed).rstrip(b"=").decode())
    while len(altered) < len(raw) * 8 + 100:
        altered.add(base64.urlsafe_b64encode(dice.randbytes(dice.randint(1, 90))).rstrip(b"=").decode())
    async with site(tmp_path) as s:
        for token in altered:
            answer = await s.get(f"/c/{token}")
            assert answer.status == 404, token
            assert "Location" not in answer.headers
        for token in (OPEN[:-1], OPEN + "x", OPEN + "%37", CLICK, "x" * 9000):
            assert (await s.get(f"/o/{token}")).status == 200
        assert not s.store.taken


# What mail programs and people leave behind a link, as browsers and other programs write it.
BEHIND = [
    ".", ",", ";", ":", "!", "?", ")", "]", "}", ">", "%3E", "%22", "%27", "'", "*", "**", "=", "==", "%3D", "+", "&", "|",
    "~", "%7E", "%2E", "%20", "%20and%20more", "%C2%A0", "%E2%80%8B", "%E2%80%9D", "%E3%80%82", "%EF%BC%89", "%0D%0A",
    "%00", "/", "//", "/.", "%2F", "/index.html", "/../x", "?utm_source=mail", "/?utm_source=mail", ")?utm=1", "#top", ".#top",
    "%", "%4", "%ZZ", "%25", "&gt;", "\\",
]  # fmt: skip


@pytest.mark.parametrize("behind", BEHIND)
async def test_what_can_be_of_no_token_takes_nothing_from_it(tmp_path: Path, behind: str) -> None:
    async with site(tmp_path) as s:
        for path in ("/c/", "/v1/track/click/", "/api/v1/track/click/"):
            answer = await s.get(f"{path}{CLICK}{behind}")
            assert (answer.status, answer.headers.get("Location")) == (302, URL), path
        pixel = await s.get(f"/o/{OPEN}{behind}")
        assert (pixel.status, await pixel.read()) == (200, public.PIXEL)
        assert [e.type for e in s.store.taken] == ["message.link_clicked"] * 3 + ["message.opened"]


async def test_unreserved_characters_may_be_percent_encoded(tmp_path: Path) -> None:
    """RFC 3986 6.2.2.2: it is the same URI."""
    written = [
        "".join(f"%{ord(c):02X}" for c in CLICK),
        "".join(f"%{ord(c):02x}" for c in CLICK),
        *(CLICK[:n] + f"%{ord(CLICK[n]):02X}" + CLICK[n + 1 :] for n in range(len(CLICK))),
    ]
    async with site(tmp_path) as s:
        for text in written:
            answer = await s.get(f"/c/{text}.")
            assert (answer.status, answer.headers.get("Location")) == (302, URL), text
        assert (await s.get(f"/%63/{CLICK}")).status == 302
        assert (await s.get("/c/" + CLICK.replace(CLICK[0], f"%25{ord(CLICK[0]):02X}", 1))).status == 404
        assert (await s.get(f"/C/{CLICK}")).status == 404


async def test_a_pixel_for_any_token_is_the_same_picture(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        good, bad = await s.get(f"/o/{OPEN}"), await s.get("/o/" + "A" * len(OPEN))
        assert await good.read() == await bad.read()
        same = [{k: v for k, v in a.headers.items() if k != "Date"} for a in (good, bad)]
        assert same[0] == same[1]


@pytest.mark.parametrize(
    "target",
    ["javascript:alert(1)", "data:text/html,x", "//evil.example/", "https://a/\r\nSet-Cookie: x", "https://a/\0"],
)
async def test_a_target_that_no_browser_should_get_is_404(tmp_path: Path, target: str) -> None:
    async with site(tmp_path) as s:
        answer = await s.get("/c/" + tokens.write(Token("click", KEY, 0, 0, target), KEYS))
        assert answer.status == 404
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com/%zz|{}\\^`\"<>'", "https://example.com/%zz|{}\\^`\"<>'"),
        ("https://example.com/straße?q=ü#ö", "https://example.com/stra%C3%9Fe?q=%C3%BC#%C3%B6"),
        ("https://user@bücher.example:8443/a b", "https://user@xn--bcher-kva.example:8443/a%20b"),
        ("HTTP://EXAMPLE.com?a", "HTTP://EXAMPLE.com?a"),
        ("mailto:a@b.example?subject=ü", "mailto:a@b.example?subject=%C3%BC"),
        ("tel:+49123", "tel:+49123"),
        ("ftp://example.com/", None),
        ("https://a.example/\x7f", None),
    ],
)
def test_location(url: str, expected: str | None) -> None:
    assert public.location(url) == expected


@given(st.text(max_size=80))
def test_for_any_text_a_location_is_printable_ascii_or_none(text: str) -> None:
    for url in (text, "https://" + text):
        target = public.location(url)
        assert target is None or (target.isascii() and target.isprintable() and " " not in target)


async def test_there_is_nothing_else_here(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        home = await s.get("/")
        assert home.status == 200
        assert "counts opens and clicks" in await home.text()
        assert "default-src 'none'" in home.headers["Content-Security-Policy"]
        assert await (await s.get("/robots.txt")).text() == "User-agent: *\nDisallow: /\n"
        for method, path in [("GET", "/metrics"), ("GET", "/v3/webhooks"), ("GET", "/o/"), ("POST", f"/c/{CLICK}"),
                             ("GET", f"/c/x/{CLICK}"), ("GET", f"/C/{CLICK}"), ("DELETE", "/"), ("GET", "/o/..%2fc/x")]:  # fmt: skip
            answer = await s.get(path, method)
            assert "Location" not in answer.headers
            assert answer.status == 404 or await answer.read() == public.PIXEL
        assert not s.store.taken


async def test_requests_as_no_client_library_writes_them(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        old = await s.raw(f"GET /o/{OPEN} HTTP/1.0\r\n\r\n".encode())
        assert old.startswith(b"HTTP/1.0 200")
        assert old.endswith(public.PIXEL)
        proxied = await s.raw(
            f"GET http://other.example/c/{CLICK} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        assert b"\r\nLocation: " + URL.encode() in proxied
        ranged = await s.raw(
            f"GET /o/{OPEN} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n".encode()
        )
        assert ranged.startswith(b"HTTP/1.1 200")
        twice = f"GET /o/{OPEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n".encode()
        assert (await s.raw(twice)).startswith(b"HTTP/1.") is True
        assert len(s.store.taken) == 3


async def test_a_client_that_never_ends_its_headers_is_cut_off(tmp_path: Path) -> None:
    async with site(tmp_path, keepalive_timeout=0.2) as s:
        assert await s.raw(b"GET / HTTP/1.1\r\nHost:") == b""
        assert await s.raw(b"") == b""


def asked(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


@pytest.mark.parametrize("path", [f"/o/{OPEN}", f"/c/{CLICK}", f"/v1/track/open/{OPEN}", f"/c/{CLICK}?tid=1"])
async def test_nobody_can_tell_which_way_a_hit_went(tmp_path: Path, path: str) -> None:
    """TE makes a request unusual, and means nothing."""
    async with site(tmp_path) as s, connect(("127.0.0.1", s.port)) as client:
        answers = []
        for fields in (["User-Agent: x"], ["User-Agent: x", "TE: trailers"], ["User-Agent: x"]):
            await client.send(asked(path, *fields))
            head = await client.reader.readuntil(b"\r\n\r\n")
            body = await client.reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
            answers.append(re.sub(rb"Date: [^\r]+", b"", head) + body)
        assert answers[0] == answers[1] == answers[2]
        seen = [event.with_(event_id="") for event in s.store.taken]
        assert seen[0] == seen[1] == seen[2]


async def test_requests_behind_each_other_are_answered_in_order(tmp_path: Path) -> None:
    async with site(tmp_path, store=MoodyStore("locked")) as s, connect(("127.0.0.1", s.port)) as client:
        await client.send(asked(f"/o/{OPEN}"))
        await until(lambda: s.store.asked)
        await client.send(asked(f"/c/{CLICK}") + asked("/nothing"))
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await client.reader.readexactly(len(public.PIXEL)) == public.PIXEL
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 302")
        assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("first", [b"", asked(f"/o/{OPEN}")])
async def test_a_connection_on_which_nothing_is_asked_is_closed(tmp_path: Path, first: bytes) -> None:
    async with site(tmp_path, keepalive_timeout=0.2) as s:
        answer = await s.raw(first)
        assert answer.endswith(public.PIXEL) if first else not answer


async def test_what_is_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    store = MoodyStore("locked")
    async with site(tmp_path, store=store) as s:
        reader, writer = await asyncio.open_connection("127.0.0.1", s.port)
        writer.write(asked(f"/o/{OPEN}"))
        await until(lambda: store.asked)
    assert (await reader.read()).endswith(public.PIXEL)
    writer.close()


async def test_hits_are_answered_and_kept_while_the_store_is_locked(tmp_path: Path) -> None:
    async with site(tmp_path, store=MoodyStore("locked")) as s:
        answers = await asyncio.gather(*(s.get(f"/{'oc'[n % 2]}/{(OPEN, CLICK)[n % 2]}") for n in range(700)))
        assert {a.status for a in answers} == {200, 302}
        assert not s.store.taken
        assert s.store.asked <= 700
        s.store.be("open")
        await until(lambda: len(s.store.taken) == 700)
        await until(lambda: not list((tmp_path / "journal").glob("*.jsonl")))
        assert len(s.store.taken) == 700


async def test_what_the_journal_does_not_take_waits_for_the_store(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("in the way")
    lost = sample("events_lost_total")
    async with site(tmp_path, store=MoodyStore("locked")) as s:
        answers = await asyncio.gather(*(s.get(f"/c/{CLICK}") for _ in range(50)))
        assert {a.headers["Location"] for a in answers} == {URL}
        assert not s.store.taken
        s.store.be("open")
        await until(lambda: len(s.store.taken) == 50)
        assert sample("events_lost_total") == lost
        s.store.be("unavailable")
        await asyncio.gather(*(s.get(f"/c/{CLICK}") for _ in range(5)))
        await until(lambda: sample("events_lost_total") == lost + 5)


async def test_hits_go_on_while_another_holds_the_database(tmp_path: Path) -> None:
    real = stores.open("sqlite:events.db", tmp_path)
    await real.start()
    async with site(tmp_path, store=real) as s:
        await s.get(f"/o/{OPEN}")
        other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        hits = 1

        async def clicked() -> None:
            nonlocal hits
            assert (await s.get(f"/c/{CLICK}")).headers["Location"] == URL
            hits += 1

        while not list((tmp_path / "journal").glob("*.jsonl")):
            await clicked()
        for _ in range(30):
            await clicked()
        other.execute("ROLLBACK")
        other.close()

        async def there() -> list[Event]:
            found = await real.events(limit=10_000)
            return found if len(found) >= hits else []

        assert len({e.event_id for e in await until(there)}) == hits
        await clicked()
        assert len(await until(there)) == hits
    await real.stop()


@pytest.mark.parametrize("mood", ["unavailable", "broken"])
async def test_hits_reach_a_store_that_refused_them_at_first(tmp_path: Path, mood: str) -> None:
    async with site(tmp_path, store=MoodyStore(mood)) as s:
        assert (await s.get(f"/o/{OPEN}")).status == 200
        assert (await s.get(f"/c/{CLICK}")).headers["Location"] == URL
        if mood == "unavailable":
            s.store.be("open")
            await until(lambda: len(s.store.taken) == 2)


async def test_a_late_append_that_succeeds_is_not_written_twice(tmp_path: Path) -> None:
    async with site(tmp_path, store=MoodyStore("locked")) as s:
        await s.get(f"/o/{OPEN}")
        await until(lambda: s.store.asked >= 2)  # the hit's append, which was given up, and the journal's
        s.store.be("open")
        await until(lambda: not list((tmp_path / "journal").glob("*.jsonl")))
        assert len(s.store.taken) == 1


async def test_a_mistake_of_ours_costs_no_reader_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(classify, "hit", broken)
    async with site(tmp_path) as s:
        assert (await s.get(f"/o/{OPEN}")).status == 200
        assert (await s.get(f"/c/{CLICK}")).headers["Location"] == URL


async def test_privacy_settings_decide_what_is_kept(tmp_path: Path) -> None:
    settings = replace(Settings(), privacy=Privacy("truncated", "family", "origin"))
    async with site(tmp_path, settings) as s:
        agent = "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"
        await s.get(
            f"/o/{OPEN}",
            User_Agent=agent,
            Referer="https://u:p@mail.example:8443/inbox?id=7",
            X_Forwarded_For="203.0.113.77",
        )
        [event] = s.store.taken
        assert (event.ip, event.user_agent, event.referer) == ("203.0.113.0", "Chrome", "https://mail.example:8443/")
        assert event.data["peer"] == "203.0.113.77"  # in memory, for the verdict; no store keeps it


async def test_no_header_of_a_stranger_is_believed(tmp_path: Path) -> None:
    async with site(tmp_path, replace(Settings(), http=Http(trusted_proxies=()))) as s:
        await s.get(f"/o/{OPEN}", X_Forwarded_For="203.0.113.77", Host="evil.example")
        assert s.store.taken[0].ip == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.1", "203.0.113.1", "198.51.100.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.1, 10.0.0.9", "203.0.113.1"),
        ("127.0.0.1", "10.0.0.8,10.0.0.9", "10.0.0.8"),
        ("::ffff:127.0.0.1", "::ffff:203.0.113.1", "203.0.113.1"),
        ("127.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.1", "203.0.113.1:5555", "203.0.113.1"),
        ("127.0.0.1", "6.6.6.6, unknown", "127.0.0.1"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", ",,,", "127.0.0.1"),
        ("fe80::1%eth0", "6.6.6.6", "fe80::1"),
        ("", "6.6.6.6", ""),
    ],
)
def test_the_client_behind_proxies(peer: str, forwarded: str, expected: str) -> None:
    assert visitor.addresses(("127.0.0.1/32", "10.0.0.0/8"))(peer, forwarded) == expected


@given(st.text(max_size=60), st.text(max_size=60))
def test_for_any_text_a_client_is_an_address_or_nothing(peer: str, forwarded: str) -> None:
    client = visitor.addresses(("0.0.0.0/0", "::/0"))(peer, forwarded)
    assert client == "" or networks.peer(client) is not None


@pytest.mark.parametrize(
    ("text", "family"),
    [
        (
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            "GoogleImageProxy",
        ),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "YahooMailProxy"),
        ("Mozilla/5.0 AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0", "Edg"),
        ("curl/8.1", "curl"),
        ("Mozilla/5.0", "Mozilla"),
        ("", ""),
        ("\x00", ""),
    ],
)
def test_the_family_of_a_user_agent(text: str, family: str) -> None:
    assert visitor.user_agent(text, "family") == family


@pytest.mark.parametrize(
    ("address", "kept"), [("203.0.113.77", "203.0.113.0"), ("2001:db8:1:2:3::4", "2001:db8:1::"), ("", "")]
)
def test_a_truncated_address(address: str, kept: str) -> None:
    assert visitor.ip(address, "truncated") == kept
    assert visitor.ip(address, "none") == ""


async def test_verbose_logs_each_hit_without_whose_it_was(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "trackrelay.public")
    async with site(tmp_path) as it:
        await it.get(f"/o/{OPEN}", User_Agent="Somebody/1.0")
        await it.get("/c/forged")
    hits = [record.fields for record in caplog.records if record.message == "hit"]
    own = tokens.message_id(KEY)
    assert hits == [
        {"kind": "open", "method": "GET", "message_id": own},
        {"kind": "click", "method": "GET", "message_id": None},
    ]


async def test_what_the_store_folds_is_folded_here_and_told_it(tmp_path: Path) -> None:
    store = MoodyStore()
    async with site(tmp_path, store=store) as it:
        assert (await it.get(f"/c/{CLICK}")).status == 302
        store.folding["c2.7"] = floods.Folded(NOW + 30, everyone=True)
        for _ in range(5):
            assert (await it.get(f"/c/{CLICK}")).headers["Location"] == URL
        assert store.asked == 2  # the first one was folded there, the others here
        assert (await it.get(f"/c/{CLICK}", "HEAD")).status == 302
        assert store.asked == 3  # nothing was said of these
        assert (await it.get(f"/o/{OPEN}")).status == 200
        assert [event.type for event in store.taken] == ["message.link_clicked", "message.opened"]
    assert store.folds == [floods.Fold(tokens.message_id(KEY), "c2.7", 6)]


async def test_one_clients_hits_are_folded_for_it_alone_and_for_a_time(tmp_path: Path) -> None:
    store = MoodyStore()
    store.folding["c2.7"] = floods.Folded(NOW + 30, everyone=False)
    now = NOW
    async with site(tmp_path, store=store, clock=lambda: now) as it:
        for _ in range(3):
            await it.get(f"/c/{CLICK}", User_Agent="one")
        assert store.asked == 1
        await it.get(f"/c/{CLICK}", User_Agent="other")
        assert store.asked == 2
        now += 31
        await it.get(f"/c/{CLICK}", User_Agent="one")
        assert store.asked == 3
        now -= 86_400  # the clock is set back
        await it.get(f"/c/{CLICK}", User_Agent="one")
        assert store.asked == 4


async def test_a_flood_does_not_fill_the_journal_while_the_store_is_away(tmp_path: Path) -> None:
    store = MoodyStore("unavailable")
    settings = Settings(http=Http(hits_per_token=2, hits_per_message=2))
    async with site(tmp_path, settings, store) as it:
        for _ in range(60):
            assert (await it.get(f"/o/{OPEN}")).status == 200
        assert (
            sum(len(p.read_bytes().splitlines()) for p in (tmp_path / "journal").glob("*.jsonl")) == 20
        )  # ten times what is kept otherwise: nobody knows how many share the copy
        assert store.folds == []
        store.be("open")
    assert [(fold.token, fold.hits) for fold in store.folds] == [("o2", 40)]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://webmail.example/inbox?id=7", "https://webmail.example/inbox?id=7"),
        ("https://webmail.example/inbox?id=7&sid=5f4dcc3b5aa765d61d83", "https://webmail.example/"),
        ("https://webmail.example/?_task=mail&_token=Ab1", "https://webmail.example/"),
        ("https://webmail.example/a;jsessionid=Ab1", "https://webmail.example/"),
        ("https://u:p@webmail.example/inbox", "https://webmail.example/"),
        ("no URL ?token=1", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_referer_that_lets_somebody_in_is_not_kept(text: str, kept: str) -> None:
    assert visitor.referer(text, "full") == kept
    assert visitor.referer(text, "none") == ""


async def test_the_canary_looks_like_a_link_and_leads_to_a_page_of_ours(tmp_path: Path) -> None:
    canary = tokens.write(Token("canary", KEY, 2), KEYS)
    async with site(tmp_path) as there:
        answer = await there.get(
            f"/c/{canary}", User_Agent="Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
        )
        assert (answer.status, answer.headers.get("Location")) == (200, None)
        assert "counts opens and clicks" in await answer.text()
        assert "no-store" in answer.headers["Cache-Control"]
        assert (await there.get(f"/o/{canary}")).status == 200  # the picture, as for any token
        (event,) = (hit for hit in there.store.taken if hit.type != "message.opened")
    assert (event.type, event.recipient_index, event.url) == ("message.canary_followed", 2, "")


async def test_the_name_of_an_address_is_asked_after_the_answer_and_known_for_the_next(tmp_path: Path) -> None:
    settings = Settings(http=Http(trusted_proxies=("127.0.0.0/8",)), privacy=Privacy(ip="none"))
    answers = {("8.4.4.8.in-addr.arpa", "PTR"): "mx0a-1.pphosted.com.", ("mx0a-1.pphosted.com", "A"): "8.4.4.8"}
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
    kept = memory.Memory(clock=lambda: NOW)
    async with names.resolver({}, answers) as resolver:
        named = reverse_names.ReverseNames(kept, lambda _: b"key", resolver)
        async with site(tmp_path, settings, kept, named=named) as s:
            await s.get(f"/c/{CLICK}", User_Agent=firefox, X_Forwarded_For="8.4.4.8")
            await until(lambda: not named.tasks)
            await s.get(f"/o/{OPEN}", User_Agent=firefox, X_Forwarded_For="8.4.4.8")
    found = [e for e in await kept.events() if e.type != "message.verdict_changed"]
    assert [(e.verdict, e.reason, e.first_verdict, e.ip) for e in found] == [
        ("scanner", "gateway_name", "human", ""),
        ("scanner", "gateway_name", "", ""),
    ]
    assert all("8.4.4.8" not in str(dict(e.data)) for e in found)
