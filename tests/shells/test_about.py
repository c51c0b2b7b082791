"""The page about a message: what it shows, what a choice on it does, and who may make one."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import string
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web

from relay import journal, suppressing
from relay import store as stores
from relay.config import Http, Privacy, Settings
from relay.core import suppressions, tokens
from relay.core.model import Event, Keys, Sent, SentCopy, Token, TokenKind
from relay.store import memory
from tests.until import until
from tracking_http import about, about_words, public

NOW = 1_700_000_100.0
KEYS = Keys(0, {0: bytes(range(32))})
KEY = tokens.message_key(1_700_000_000.0, bytes(range(6)))
MESSAGE = tokens.message_id(KEY)
BOB, ANN = "bob@example.org", "ann@example.org"
EVIL = '"<script>alert(1)</script>"@example.com'


def token(index: int = 0, kind: TokenKind = "about", key: bytes = KEY) -> str:
    return tokens.write(Token(kind, key, index, 0, "https://x.test/" if kind == "click" else ""), KEYS)


def sent(*copies: SentCopy, **changes: Any) -> Sent:
    values: dict[str, Any] = {
        "sender": "news@shop.example", "subject": "Secret subject", "opens": True, "links_tracked": True,
        "copies": copies or (SentCopy(BOB, 0, True), SentCopy(ANN, 1, True, thread_replies=True)),
    }  # fmt: skip
    return Sent(MESSAGE, "sales", "m@x", 1_700_000_000.0, **(values | changes))


class Away(memory.Memory):
    """A store that can be away."""

    away = False

    def look(self) -> None:
        if self.away:
            raise stores.Unavailable("it is away")

    async def sent(self, message_id: str) -> Sent | None:
        self.look()
        return await super().sent(message_id)

    async def suppressed(self, digests: Collection[str]) -> list[suppressions.Suppression]:
        self.look()
        return await super().suppressed(digests)


class Site:
    def __init__(self, base: str, store: Away, http: ClientSession) -> None:
        self.base, self.store, self.http = base, store, http

    async def ask(self, path: str, method: str = "GET", data: Any = None, **headers: str) -> tuple[ClientResponse, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.http.request(method, self.base + path, data=data, headers=named, allow_redirects=False)
        return answer, await answer.text()

    async def entries(self, address: str = BOB) -> list[suppressions.Suppression]:
        return await self.store.suppressed([suppressions.digest(address, KEYS)])


@asynccontextmanager
async def site(folder: Path, *records: Sent, **settings: Any) -> AsyncIterator[Site]:
    store = Away()
    for one in records:
        await store.record_sent(one)
    kept = journal.Journal(folder / "journal", pause=0.01)
    app = public.application(Settings(**settings), store, lambda: KEYS, kept, clock=lambda: NOW)
    runner = web.AppRunner(app, **public.RUNNER)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    feeding = asyncio.create_task(kept.run(suppressing.Suppressing(store, lambda: KEYS)))
    try:
        async with ClientSession() as http:
            yield Site(f"http://127.0.0.1:{runner.addresses[0][1]}", store, http)
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding
        await runner.cleanup()
        await kept.stop()


# -- looking -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["about", "open", "click"])
async def test_it_says_who_sent_what_is_recorded_and_hides_the_rest(tmp_path: Path, kind: TokenKind) -> None:
    async with site(tmp_path, sent(), http=Http(abuse="abuse@host.example")) as s:
        answer, text = await s.ask(f"/about/{token(kind=kind)}")
        assert (answer.status, answer.content_type) == (200, "text/html")
        for shown in (
            "shop.example",
            "b•••@example.org",
            "2023-11-14",
            "invisible picture",
            "which links",
            "365 days",
            "abuse@host.example",
        ):
            assert shown in text
        for hidden in (BOB, ANN, "Secret", "you replied"):
            assert hidden not in text
        assert "you replied" in (await s.ask(f"/about/{token(1)}"))[1]
        assert await s.store.events() == []


async def test_looking_changes_nothing_whoever_looks(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:
        for path in (f"/about/{token()}", f"/about/{token()}?wish=stop", f"/about/{token()}?wish=erase"):
            for method in ("GET", "HEAD"):
                assert (await s.ask(path, method))[0].status == 200
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert (await s.ask(f"/about/{token()}", method))[0].status == 404
        assert await s.entries() == []
        assert await s.store.erasures() == []


async def test_it_is_not_kept_framed_or_found(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:
        for method in ("GET", "POST"):
            answer, text = await s.ask(f"/about/{token()}", method)
            said = answer.headers
            assert "no-store" in said["Cache-Control"]
            assert said["X-Frame-Options"] == "DENY"
            assert "frame-ancestors 'none'" in said["Content-Security-Policy"]
            assert "form-action 'self'" in said["Content-Security-Policy"]
            assert "noindex" in said["X-Robots-Tag"]
            assert said["Referrer-Policy"] == "no-referrer"
            assert "Set-Cookie" not in said
            assert not re.search(r"<script|<img|<link|src=|url\(|@import|https?://", text)


@pytest.mark.parametrize(
    "path", ["x", "../x", token()[:-1] + "A", token() + "AAAA", token(kind="reference"), "%00", ""]
)
async def test_what_is_no_token_of_ours_is_nothing(tmp_path: Path, path: str) -> None:
    async with site(tmp_path, sent()) as s:
        for method in ("GET", "POST"):
            assert (await s.ask(f"/about/{path}", method))[0].status == 404
        assert await s.entries() == []


async def test_the_tail_that_a_mail_program_took_for_the_link_does_no_harm(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:
        for tail in (").", ">", "%22"):
            assert (await s.ask(f"/about/{token()}{tail}"))[0].status == 200


@pytest.mark.parametrize(
    ("privacy", "has", "lacks"),
    [
        (Privacy(), ("the internet address that", "which mail program", "the page from which"), ("a part of",)),
        (Privacy(ip="truncated", user_agent="family"), ("a part of the internet address", "what kind of"), ("which mail program",)),
        (Privacy(ip="none", user_agent="none", referer="none"), ("which links",), ("internet address", "browser", "the page from")),
        (Privacy(retention_days=30, ip_days=7), ("30 days", "deleted after 7 days"), ()),
        (Privacy(retention_days=30, ip_days=90), ("30 days",), ("90 days",)),
        (Privacy(ip="none", user_agent="none", retention_days=30, ip_days=7), ("30 days",), ("7 days",)),
    ],
)  # fmt: skip
async def test_it_is_true_to_the_settings(
    tmp_path: Path, privacy: Privacy, has: tuple[str, ...], lacks: tuple[str, ...]
) -> None:
    async with site(tmp_path, sent(), privacy=privacy) as s:
        text = (await s.ask(f"/about/{token()}"))[1]
        assert all(part in text for part in has)
        assert not any(part in text for part in lacks)


async def test_of_an_untracked_copy_it_says_so(tmp_path: Path) -> None:
    async with site(tmp_path, sent(SentCopy(BOB, 0, False, "suppressed"))) as s:
        text = (await s.ask(f"/about/{token()}"))[1]
        assert "is not tracked" in text
        assert "invisible picture" not in text


# -- choosing ------------------------------------------------------------------------------------------------------------


async def test_who_refuses_is_on_the_list_once_and_for_all_mail(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:
        for _ in range(2):
            answer, text = await s.ask(f"/about/{token()}", "POST", {"wish": "stop"})
            assert answer.status == 200
            assert "will not be tracked any more" in text
        (entry,) = await s.entries()
        (event,) = await s.store.events()
        assert (entry.recipient, entry.grant_id, entry.reason, entry.source) == (BOB, "", "refusal", "page")
        assert (entry.event_id, event.type, event.recipient) == (event.event_id, "message.tracking_refused", BOB)
        assert await s.entries(ANN) == []
        assert await s.store.erasures() == []
        assert "You have refused tracking" in (await s.ask(f"/about/{token()}"))[1]
        assert "You have refused tracking" not in (await s.ask(f"/about/{token(1)}"))[1]
        await s.store.unsuppress([(entry.digest, "", "refusal")])
        await s.ask(f"/about/{token()}", "POST")  # without any field, and again behind the operator's removal
        assert len(await s.entries()) == 1


@pytest.mark.parametrize("how", [{"data": {"wish": "erase"}}, {"query": "?wish=erase"}, {"data": {"action": "delete"}}])
async def test_who_wants_to_be_forgotten_is_queued_and_refuses_too(tmp_path: Path, how: dict[str, Any]) -> None:
    async with site(tmp_path, sent()) as s:
        for _ in range(2):
            answer, text = await s.ask(f"/about/{token()}{how.get('query', '')}", "POST", how.get("data"))
            assert answer.status == 200
            assert "passed on to whoever runs this host" in text
        (wish,) = await s.store.erasures()
        assert (wish.recipient, wish.message_id, wish.at) == (BOB, MESSAGE, NOW)
        assert [entry.reason for entry in await s.entries()] == ["refusal"]


async def test_of_a_shared_copy_one_says_which_address_is_ones_own(tmp_path: Path) -> None:
    shared = sent(SentCopy(BOB, 0, True), SentCopy(ANN, 0, True), SentCopy("carl@example.org", 1, True))
    async with site(tmp_path, shared) as s:
        text = (await s.ask(f"/about/{token()}"))[1]
        assert "Several people got the same copy" in text
        assert 'type="email"' in text
        assert "Several people" in (await s.ask(f"/about/{token()}", "POST", {"wish": "stop"}))[1]
        said = {
            (await s.ask(f"/about/{token()}", "POST", {"address": given}))[1]
            for given in ("nobody@example.org", "carl@example.org", " ANN@Example.ORG ")
        }
        assert len(said) == 1  # nobody learns who else got it
        assert "If this message was sent to the address" in said.pop()
        (entry,) = await s.entries(ANN)
        assert (entry.recipient, entry.grant_id) == (ANN, "sales")
        assert (
            await s.entries(BOB) == await s.entries("carl@example.org") == await s.entries("nobody@example.org") == []
        )
        (event,) = await s.store.events()
        assert (event.recipient, event.data) == (ANN, {})


async def test_of_a_copy_of_ones_own_the_address_is_not_asked_for(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:
        await s.ask(f"/about/{token()}", "POST", {"wish": "stop", "address": ANN})
        assert [entry.grant_id for entry in await s.entries(BOB)] == [""]
        assert await s.entries(ANN) == []


async def test_while_the_store_is_away_a_wish_goes_to_the_journal(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:
        s.store.away = True
        answer, text = await s.ask(f"/about/{token()}")
        assert answer.status == 200
        assert "cannot be looked up right now" in text
        assert "<form" in text
        answer, text = await s.ask(f"/about/{token()}", "POST", {"wish": "erase"})
        assert answer.status == 200
        assert "within a few minutes" in text
        s.store.away = False
        await until(s.store.erasures)
        assert [entry.since for entry in await s.entries()] == [NOW]


async def test_where_neither_takes_it_it_says_so(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:
        s.store.away = True
        (tmp_path / "journal").write_text("no folder")
        answer, text = await s.ask(f"/about/{token()}", "POST")
        assert answer.status == 503
        assert "could not be saved" in text


async def test_without_a_record_nobody_can_say_whose_wish_it_is(tmp_path: Path) -> None:
    async with site(tmp_path) as s:
        answer, text = await s.ask(f"/about/{token()}")
        assert answer.status == 200
        assert "<form" not in text
        assert (await s.ask(f"/about/{token()}", "POST", {"address": BOB}))[0].status == 404
        assert await s.entries() == []


async def test_one_network_may_not_ask_without_end_and_others_may(tmp_path: Path) -> None:
    async with site(tmp_path, sent()) as s:

        async def asked(address: str) -> int:
            return (await s.ask(f"/about/{token()}", X_Forwarded_For=address))[0].status

        assert {await asked(f"2001:db8::{n:x}") for n in range(about.EACH)} == {200}
        assert await asked("2001:db8::ffff") == 429
        assert await asked("192.0.2.1") == 200


@pytest.mark.parametrize(
    "body", [b"x" * 100_000, b"\xff\xfe&wish=erase", b"&".join([b"a=b"] * 1000), b"=&&&=%%%", b'{"wish": "erase"}']
)  # fmt: skip
async def test_any_body_is_a_refusal_or_more(tmp_path: Path, body: bytes) -> None:
    async with site(tmp_path, sent()) as s:
        answer, _ = await s.ask(f"/about/{token()}", "POST", body)
        assert answer.status == 200
        assert [entry.reason for entry in await s.entries()] == ["refusal"]


# -- for everybody -------------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """What a screen reader goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.mark.parametrize("code", about_words.WORDS)
async def test_it_is_whole_in_each_language(tmp_path: Path, code: str) -> None:
    shared = sent(SentCopy(BOB, 0, True), SentCopy(EVIL, 0, True), sender=f"<b>@{code}.example")
    async with site(tmp_path, shared) as s:
        for method, data in (("GET", None), ("POST", {"address": BOB})):
            answer, text = await s.ask(f"/about/{token()}?lang={code}", method, data)
            page = Outline()
            page.feed(text)
            assert answer.headers["Content-Language"] == code
            assert page.all("html")[0]["lang"] == code
            assert len(page.all("title")) == len(page.all("main")) == len(page.all("h1")) == 1
            labels = {one["for"] for one in page.all("label")}
            assert labels == {one["id"] for one in page.all("input")}
            described = {one["aria-describedby"] for one in page.all("button")}
            assert described <= {one.get("id") for one in page.all("p")}
            assert len(page.all("form")) == (2 if method == "GET" else 0)
            assert {one["hreflang"] for one in page.all("a")} == set(about_words.WORDS)
            assert not page.all("script", "b")
            assert "{" not in text.partition("</style>")[2]


def test_all_languages_say_all_with_the_same_names_in_it() -> None:
    def names(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}

    english = dataclasses.asdict(about_words.WORDS["en"])
    for code, words in about_words.WORDS.items():
        for field, text in dataclasses.asdict(words).items():
            assert text.strip() == text != "", (code, field)
            assert names(text) == names(english[field]), (code, field)
            assert code == "en" or field in ("done", "language") or text != english[field], (code, field)


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ("", "en"), ("de", "de"), ("de-AT", "de"), ("DE-at,en;q=0.5", "de"), ("ja,fr;q=0.8,en;q=0.9", "en"), ("ja, zh", "en"),
        ("fr;q=0,es;q=0.1", "es"), ("*", "en"), ("ar,he;q=0.9,nl;q=0.1", "nl"), ("pt-BR;q=0.7,it;q=0.7", "pt"),
        (";;,q=1,de;q=x", "en"), ("zh-Hant-TW,pl", "pl"), ("x" * 10_000, "en"), (" de ; q=0.4 , pl ", "pl"),
    ],
)  # fmt: skip
async def test_the_browser_says_which_language_and_the_address_says_it_first(
    tmp_path: Path, accepted: str, code: str
) -> None:
    assert about_words.preferred(accepted) == code
    async with site(tmp_path, sent()) as s:
        said = {"Accept_Language": accepted[:8000]} if accepted else {}
        assert (await s.ask(f"/about/{token()}", **said))[0].headers["Content-Language"] == code
        assert (await s.ask(f"/about/{token()}?lang=it-IT", **said))[0].headers["Content-Language"] == "it"
        assert (await s.ask(f"/about/{token()}?lang=xx", **said))[0].headers["Content-Language"] == code


# -- reports that put somebody on the list -------------------------------------------------------------------------------


def report(kind: Any = "message.bounce_detected", **data: Any) -> Event:
    values = {"status": "5.1.1", "code": 550, "verified": True, "reason": "550 5.1.1 no such user"}
    return Event("e1", kind, MESSAGE, NOW, 0, BOB, data=values | data)


async def test_only_what_is_verified_and_for_good_puts_on_the_list() -> None:
    store = memory.Memory()
    await store.record_sent(sent())
    room = suppressing.Suppressing(store, lambda: KEYS)
    for event in (
        report(verified=False), report(status="4.2.2"), report(status="5.2.2"), report("message.delayed"), report("message.auto_replied"),
        report("message.complained", verified="yes"), report().with_(recipient=""), report().with_(recipient="other@x.test"),
        report().with_(message_id="gone"),
    ):  # fmt: skip
        assert await room.heard(event) == event
        assert await store.suppressed([suppressions.digest(BOB, KEYS)]) == []
    await room.append(report())
    await room.append(report("message.complained").with_(event_id="e2"))
    found = await store.suppressed([suppressions.digest(BOB, KEYS)])
    assert {(one.reason, one.grant_id, one.source, one.event_id) for one in found} == {
        ("bounce", "sales", "mailbox", "e1"), ("complaint", "sales", "mailbox", "e2"),
    }  # fmt: skip
    assert len(await store.events()) == 2


async def test_without_keys_nobody_is_put_on_a_list() -> None:
    store = memory.Memory()
    await store.record_sent(sent())
    assert await suppressing.Suppressing(store, lambda: None).heard(report()) == report()
    assert await store.suppressed([suppressions.digest(BOB, KEYS)]) == []
