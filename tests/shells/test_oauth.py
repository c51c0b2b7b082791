"""Access tokens from a token endpoint on loopback, and logins with them."""

import asyncio
import base64
import dataclasses
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from relay import config, mailbox, oauth
from relay.core.model import Done, Envelope, Later, Recipient
from relay.mailbox.source import LoginRefused
from relay.upstream.client import UpstreamClient
from tests.fakes import certificates, imap
from tests.fakes import upstream as fake
from tests.until import until

MESSAGE = b"Subject: x\r\n\r\nHello\r\n"


class Endpoint:
    """Answers as Google does, or as Microsoft, which gives a new refresh token each time."""

    def __init__(self, *, rotates: bool, life: object = 3599) -> None:
        self.rotates, self.life = rotates, life
        self.asked: list[dict[str, str]] = []
        self.good = {"refresh-1"}
        self.status, self.body = 200, None
        self.held: asyncio.Event | None = None  # answers wait for it

    async def answer(self, request: web.Request) -> web.Response:
        form = {k: str(v) for k, v in (await request.post()).items()}
        self.asked.append(form)
        if self.held:
            await self.held.wait()
        if self.body is not None:
            return web.Response(status=self.status, text=self.body)
        if form.get("refresh_token") not in self.good or form.get("grant_type") != "refresh_token":
            return web.json_response(
                {"error": "invalid_grant", "error_description": "expired\r\nor revoked"}, status=400
            )
        said = {"access_token": f"access-{len(self.asked)}", "token_type": "Bearer", "expires_in": self.life}
        if self.rotates:
            self.good = {f"refresh-{len(self.asked) + 1}"}
            said["refresh_token"] = f"refresh-{len(self.asked) + 1}"
        return web.json_response(said)


@asynccontextmanager
async def endpoint(*, rotates=False, **how):
    end = Endpoint(rotates=rotates, **how)
    application = web.Application()
    application.router.add_post("/token", end.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield end, config.OAuth2(f"http://127.0.0.1:{port}/token", "client", "https://mail", "hush", "refresh-1")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("rotates", [False, True], ids=["google", "microsoft"])
async def test_a_token_is_kept_until_shortly_before_its_end(rotates):
    now = [0.0]
    async with endpoint(rotates=rotates) as (end, settings):
        tokens = oauth.Tokens(settings, clock=lambda: now[0])
        assert await tokens.access() == await tokens.access() == "access-1"
        now[0] = 3599 - oauth.EARLY + 1
        assert await tokens.access() == "access-2"
        both = await asyncio.gather(tokens.access(fresh=True), tokens.access(fresh=True))
        assert set(both) == {"access-3"}
        assert end.asked[0] == {
            "grant_type": "refresh_token", "client_id": "client", "client_secret": "hush", "refresh_token": "refresh-1",
            "scope": "https://mail",
        }  # fmt: skip
        assert [a["refresh_token"] for a in end.asked] == [f"refresh-{i if rotates else 1}" for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "<html>"),
        (200, "{}"),
        (200, "[1]"),
        (200, '{"access_token": "a\\r\\nb"}'),
        (200, '{"access_token": 5}'),
        (302, ""),
        (200, "[" * 60_000),
        (200, '{"access_token": "' + "a" * 70_000),
        (503, "\xff"),
    ],
)
async def test_an_endpoint_that_gives_none(status, body):
    async with endpoint() as (end, settings):
        end.status, end.body = status, body
        with pytest.raises(oauth.TokenRefused) as refused:
            await oauth.Tokens(settings).access()
        assert "hush" not in str(refused.value)
        assert "refresh-1" not in str(refused.value)


@pytest.mark.parametrize("life", ["nan", "-5", "inf", "1e999", 1e30, "soon", None, True, 0])
async def test_a_life_that_makes_no_sense_ends(life):
    now = [0.0]
    async with endpoint(life=life) as (_, settings):
        tokens = oauth.Tokens(settings, clock=lambda: now[0])
        assert await tokens.access() == "access-1"
        now[0] += oauth.LONGEST_LIFE
        assert await tokens.access() == "access-2"


async def test_an_endpoint_that_fails_matters_once_the_token_is_over(caplog):
    now = [0.0]
    async with endpoint() as (end, settings):
        tokens = oauth.Tokens(settings, clock=lambda: now[0])
        assert await tokens.access() == "access-1"
        end.status, end.body = 500, "oops"
        now[0] = 3599 - oauth.EARLY + 1
        assert [await tokens.access() for _ in range(5)] == ["access-1"] * 5
        assert (len(end.asked), caplog.text.count("token_not_renewed")) == (2, 1)
        with pytest.raises(oauth.TokenRefused):
            await tokens.access(fresh=True)  # the upstream has refused it
        with pytest.raises(oauth.TokenRefused):
            await tokens.access()
        end.body = None
        assert (await tokens.access()).startswith("access-")


async def test_who_waits_for_a_slow_endpoint_waits_once():
    async with endpoint() as (end, settings):
        end.status, end.body, end.held = 500, "oops", asyncio.Event()
        tokens = oauth.Tokens(settings)
        waiting = [asyncio.create_task(tokens.access()) for _ in range(10)]
        await until(lambda: end.asked)
        end.held.set()
        assert all(isinstance(e, oauth.TokenRefused) for e in await asyncio.gather(*waiting, return_exceptions=True))
        assert len(end.asked) == 1


async def test_no_secret_goes_to_an_endpoint_without_tls():
    with pytest.raises(oauth.TokenRefused, match="https"):
        await oauth.Tokens(config.OAuth2("http://login.example.com/token", "client")).access()


@pytest.mark.parametrize("method", ["XOAUTH2", "OAUTHBEARER", "PLAIN XOAUTH2 OAUTHBEARER"])
async def test_login_by_token_and_renewal_when_it_is_refused(tmp_path, method):
    server_tls, trust = certificates.contexts(tmp_path)
    async with endpoint() as (end, settings), fake.Upstream(
        starttls=server_tls, tokens={"access-1"}, methods=method
    ) as server:  # fmt: skip
        out = UpstreamClient(
            config.Upstream(url=f"smtp://me%40x.example@127.0.0.1:{server.port}", oauth2=settings),
            hostname="relay.test",
            trust=trust,
            idle_seconds=0,
        )
        mail = Envelope("me@x.example", (Recipient("b@x.example"),))
        assert isinstance((await out.send(mail, MESSAGE))[0], Done)
        assert server.kept[0].login == "me@x.example"
        server.tokens = {"access-2"}  # revoked before its time
        await until(lambda: server.lines.count("QUIT") == 1)  # the next message logs in anew
        assert isinstance((await out.send(mail, MESSAGE))[0], Done)
        assert len(end.asked) == 2
        server.tokens = set()
        await until(lambda: server.lines.count("QUIT") == 2)
        (outcome,) = await out.send(mail, MESSAGE)
        assert isinstance(outcome, Later)
        assert "refused the login" in outcome.reply.text
        end.good = set()
        (outcome,) = await out.send(mail, MESSAGE)
        assert isinstance(outcome, Later)
        assert "invalid_grant" in outcome.reply.text
        assert "\r" not in outcome.reply.text
        await out.close()


async def test_no_token_goes_out_without_tls():
    async with endpoint() as (end, settings), fake.Upstream(tokens={"access-1"}, methods="XOAUTH2") as server:
        for tls in ("required", "opportunistic"):
            upstream = config.Upstream(url=f"smtp://me@127.0.0.1:{server.port}", oauth2=settings, tls=tls)
            out = UpstreamClient(upstream, hostname="relay.test")
            (outcome,) = await out.send(Envelope("a@x", (Recipient("b@x"),)), MESSAGE)
            assert isinstance(outcome, Later)
            assert b"AUTH" not in server.raw
            assert base64.b64encode(b"access") not in server.raw
        assert end.asked == []


async def test_a_mailbox_is_shown_a_fresh_token_when_one_is_refused(tmp_path):
    def shown(number):
        return f"AUTHENTICATE user=me\x01auth=Bearer access-{number}\x01\x01"

    revoked = "{tag} NO [AUTHENTICATIONFAILED] revoked"
    async with endpoint() as (end, settings), imap.Server({shown(1): revoked, shown(3): revoked}) as server:
        grant = config.Grant("a", mailbox=(f"imap://me@127.0.0.1:{server.port}/INBOX",), mailbox_oauth2=settings)
        source = mailbox.open_source(grant, grant.mailbox[0], config.Settings(state_dir=tmp_path))
        assert "took the login me" in await source.probe()
        assert "took the login me" in await source.probe()  # the one at hand is good
        assert [h for h in server.heard if h.startswith("AUTH")] == [shown(1), shown(2), shown(2)]
        server.answers[shown(2)] = revoked
        with pytest.raises(LoginRefused, match=r"login me refused: \[AUTHENTICATIONFAILED\] revoked"):
            await source.probe()
        assert len(end.asked) == 3


async def test_a_rotated_refresh_token_survives_a_restart(tmp_path):
    async with endpoint(rotates=True) as (end, settings):
        assert await oauth.Tokens(settings, folder=tmp_path / "keys").access() == "access-1"
        (kept,) = (tmp_path / "keys").iterdir()
        assert kept.read_text() == "refresh-2\n"
        assert kept.stat().st_mode & 0o777 == 0o600
        assert await oauth.Tokens(settings, folder=tmp_path / "keys").access() == "access-2"  # the process of tomorrow
        assert [a["refresh_token"] for a in end.asked] == ["refresh-1", "refresh-2"]


async def test_two_processes_share_what_came_last(tmp_path):
    async with endpoint(rotates=True) as (end, settings):
        one, other = (oauth.Tokens(settings, folder=tmp_path) for _ in range(2))
        for tokens in (one, other, one):
            await tokens.access(fresh=True)
        assert [a["refresh_token"] for a in end.asked] == ["refresh-1", "refresh-2", "refresh-3"]


async def test_another_token_in_the_configuration_begins_anew(tmp_path):
    async with endpoint(rotates=True) as (end, settings):
        await oauth.Tokens(settings, folder=tmp_path).access()
        end.good = {"refresh-new"}
        new = dataclasses.replace(settings, refresh_token="refresh-new")
        assert await oauth.Tokens(new, folder=tmp_path).access() == "access-2"


async def test_where_it_cannot_be_kept_it_is_used_all_the_same(tmp_path, caplog):
    (tmp_path / "keys").write_text("a file where the folder should be")
    async with endpoint(rotates=True) as (_, settings):
        tokens = oauth.Tokens(settings, folder=tmp_path / "keys")
        assert await tokens.access() == "access-1"
        assert await tokens.access(fresh=True) == "access-2"
    assert "refresh_token_not_saved" in caplog.text
    assert "refresh-2" not in caplog.text
