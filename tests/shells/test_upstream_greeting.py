"""Greetings and logins at upstreams as there are: without EHLO, with prompts of their own, with methods that they offer and
refuse. On loopback, where a login may go without TLS, so that the dialogue can be read."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from relay import config
from relay.core.model import Done, Envelope, Later, Never, Outcome, Recipient
from relay.upstream import client, transaction
from tests.fakes import certificates
from tests.fakes import upstream as fake
from tests.samples import sample

MESSAGE = (
    "From: a@here.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode()
)
TIMES = transaction.Times(connect=2, mail=1, data=1, block=1, dot=1)
SECRET = "canary-9f3b"
EHLO_REFUSED = "500 5.5.1 what is EHLO?"


@asynccontextmanager
async def at(
    server: fake.Upstream, *, user: str = "", tls: str = "never", hostname: str = "relay.test", **how: object
) -> AsyncIterator[client.UpstreamClient]:
    async with server:
        url = server.url.replace("://", f"://{user}@") if user else server.url
        settings = config.Upstream(url=url, password=SECRET if user else "", tls=tls)  # type: ignore[arg-type]
        out = client.UpstreamClient(settings, hostname=hostname, times=TIMES, **how)  # type: ignore[arg-type]
        try:
            yield out
        finally:
            await out.close()


async def sent(out: client.UpstreamClient) -> Outcome:
    (outcome,) = await out.send(Envelope("a@here.example", (Recipient("b@there.example"),)), MESSAGE)
    return outcome


def verbs(server: fake.Upstream) -> list[str]:
    return [line.split(" ")[0] for line in server.lines]


# -- HELO (RFC 5321 3.2) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal", [EHLO_REFUSED, "502 no", "501 no", "504 no", "550-no\n550 never", "554 5.7.1 no", "599 ?"]
)
async def test_helo_where_ehlo_is_refused(refusal: str) -> None:
    """Nothing is offered then: one command after another, in 7bit."""
    server = fake.Upstream({"ehlo": refusal})
    async with at(server) as out:
        for _ in range(2):
            assert isinstance(await sent(out), Done)
        assert server.lines[:2] == ["EHLO relay.test", "HELO relay.test"]
        assert server.lines[2] == "MAIL FROM:<a@here.example>"
        assert server.kept[0].content.isascii()
        assert server.sessions == 1
        assert out.troubles.now is None


async def test_one_that_leaves_after_it_refused_ehlo_is_asked_again_with_helo() -> None:
    server = fake.Upstream({"ehlo": f"close:{EHLO_REFUSED}"})
    async with at(server) as out:
        assert isinstance(await sent(out), Done)
        assert verbs(server)[:3] == ["EHLO", "HELO", "MAIL"]
        assert server.sessions == 2


@pytest.mark.parametrize("refusal", ["421 4.3.2 closing", "450 4.7.1 not now", "drop"])
async def test_what_is_no_refusal_for_good_is_no_reason_for_helo(refusal: str) -> None:
    server = fake.Upstream({"ehlo": refusal})
    async with at(server) as out:
        assert isinstance(await sent(out), Later)
        assert "HELO" not in verbs(server)


async def test_where_neither_is_taken_both_are_said() -> None:
    server = fake.Upstream({"ehlo": "550 5.7.1 bad name", "helo": "550 5.7.1 bad name too"})
    async with at(server) as out:
        outcome = await sent(out)
        assert isinstance(outcome, Later)
        assert "takes neither EHLO nor HELO from us as relay.test: 550 5.7.1 bad name; 550 5.7.1 bad name too" in str(
            outcome.reply
        )


@pytest.mark.parametrize(
    ("how", "user", "tls", "words"),
    [
        (
            {},
            "u",
            "never",
            "refuses EHLO, and without it there is no AUTH, which the login needs: 500 5.5.1 what is EHLO?",
        ),
        (
            {},
            "",
            "required",
            'refuses EHLO, and without it there is no STARTTLS, while upstream.tls is "required": 500 5.5.1',
        ),
        ({}, "u", "opportunistic", "refuses EHLO, and without it there is no AUTH"),
        ({"lmtp": True}, "", "never", "refuses LHLO, and LMTP has no other greeting: 500 5.5.1"),
    ],
)
async def test_helo_is_not_said_where_something_is_needed_that_only_ehlo_has(
    how: dict[str, bool], user: str, tls: str, words: str
) -> None:
    server = fake.Upstream({"ehlo": EHLO_REFUSED}, **how)  # type: ignore[arg-type]
    async with at(server, user=user, tls=tls) as out:
        outcome = await sent(out)
        assert isinstance(outcome, Later)
        assert words in str(outcome.reply)
        assert "HELO" not in verbs(server)
        assert "AUTH" not in verbs(server)
        assert words in out.troubles.now.sentence


@pytest.mark.parametrize("implicit", [True, False])
async def test_helo_under_tls(tmp_path: Path, implicit: bool) -> None:
    """TLS from the first byte, or made before EHLO is refused: nothing is left that EHLO is needed for."""
    context, trust = certificates.contexts(tmp_path)
    script = {"ehlo" if implicit else "ehlo_tls": EHLO_REFUSED}
    server = fake.Upstream(script, implicit=context if implicit else None, starttls=None if implicit else context)
    async with at(server, tls="required", trust=trust) as out:
        assert isinstance(await sent(out), Done)
        assert server.kept[0].tls
        assert "EHLO HELO MAIL" in " ".join(verbs(server))


@pytest.mark.parametrize(
    ("hostname", "said"),
    [
        ("relay.test", "relay.test"), ("relay", "[127.0.0.1]"), ("my_relay.test", "[127.0.0.1]"), ("", "[127.0.0.1]"),
        ("[192.0.2.1]", "[192.0.2.1]"), ("rêlais.test", "[127.0.0.1]"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("script", [{}, {"ehlo": EHLO_REFUSED}], ids=["EHLO", "HELO"])
async def test_our_name(hostname: str, said: str, script: dict[str, str]) -> None:
    server = fake.Upstream(script)
    async with at(server, hostname=hostname) as out:
        assert isinstance(await sent(out), Done)
        assert server.lines[0] == f"EHLO {said}"
        assert [line for line in server.lines if line.startswith("HELO")] == [f"HELO {said}"] * bool(script)


# -- AUTH --------------------------------------------------------------------------------------------------------------


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


U, P = f"334 {packed('Username:')}", f"334 {packed('Password:')}"
OK = "235 2.7.0 welcome"
USER, WORD = packed("u"), packed(SECRET)
PLAIN = f"AUTH PLAIN {packed(f'{chr(0)}u{chr(0)}{SECRET}')}"


@pytest.mark.parametrize(
    ("offer", "replies", "heard"),
    [
        ("AUTH LOGIN", [U, P, OK], ["AUTH LOGIN", USER, WORD]),
        ("AUTH=LOGIN", [U, P, OK], ["AUTH LOGIN", USER, WORD]),
        ("AUTH LOGIN", [f"334 {packed('User Name' + chr(0))}", f"334 {packed('Password' + chr(0))}", OK], ["AUTH LOGIN", USER, WORD]),
        ("AUTH LOGIN", [U, U, P, OK], ["AUTH LOGIN", USER, USER, WORD]),
        ("AUTH LOGIN", ["334", "334 ", OK], ["AUTH LOGIN", USER, WORD]),
        ("AUTH LOGIN", ["334 Username:", "334 Password:", OK], ["AUTH LOGIN", USER, WORD]),
        ("AUTH LOGIN", [f"334-hello\n{U}", f"334-{packed('Password:')}\n334 ", OK], ["AUTH LOGIN", USER, WORD]),
        ("AUTH LOGIN", [P, OK], ["AUTH LOGIN", WORD]),
        ("AUTH LOGIN", [U, OK], ["AUTH LOGIN", USER]),
        ("AUTH LOGIN", [U, P, "250 ok"], ["AUTH LOGIN", USER, WORD]),  # as Postfix's client takes it
        # the next one that is offered, where the method is refused
        ("AUTH PLAIN LOGIN", ["504 5.7.4 what?", U, P, OK], [PLAIN, "AUTH LOGIN", USER, WORD]),
        ("AUTH PLAIN LOGIN", ["534 5.7.9 too weak", U, P, OK], [PLAIN, "AUTH LOGIN", USER, WORD]),
        ("AUTH PLAIN|AUTH=LOGIN", ["504 no", U, P, OK], [PLAIN, "AUTH LOGIN", USER, WORD]),
        ("AUTH LOGIN PLAIN", ["502 no", U, P, OK], [PLAIN, "AUTH LOGIN", USER, WORD]),
        ("AUTH PLAIN LOGIN", ["334 ", OK], [PLAIN, PLAIN.split(" ")[2]]),  # it takes no initial response
        ("AUTH PLAIN LOGIN", [U, U, P, OK], [PLAIN, "*", "AUTH LOGIN", USER, WORD]),  # it takes PLAIN for LOGIN
    ],
)  # fmt: skip
async def test_a_login_as_servers_have_it(offer: str, replies: list[str], heard: list[str]) -> None:
    server = fake.Prompting(offer, replies)
    async with at(server, user="u") as out:
        assert isinstance(await sent(out), Done)
        assert server.heard == heard
        assert out.troubles.now is None


@pytest.mark.parametrize(
    ("offer", "replies", "heard", "words"),
    [
        # the credentials are refused: nothing else is tried, which would only count as a second guess
        ("AUTH PLAIN LOGIN", ["535 5.7.8 wrong"], [PLAIN], "refused the login: 535 5.7.8 wrong"),
        ("AUTH LOGIN CRAM-MD5", [U, P, "535 5.7.8 wrong"], ["AUTH LOGIN", USER, WORD], "535 5.7.8 wrong"),
        ("AUTH LOGIN", [U, "535 5.7.8 who?"], ["AUTH LOGIN", USER], "535 5.7.8 who?"),
        ("AUTH PLAIN LOGIN", ["454 4.7.0 later"], [PLAIN], "refused the login: 454 4.7.0 later"),
        ("AUTH PLAIN LOGIN", ["550 5.7.1 no"], [PLAIN], "550 5.7.1 no"),
        ("AUTH PLAIN LOGIN", ["530 5.7.0 TLS first"], [PLAIN], "530 5.7.0 TLS first"),
        ("AUTH PLAIN LOGIN", ["504 no", U, P, "535 5.7.8 wrong"], [PLAIN, "AUTH LOGIN", USER, WORD], "535 5.7.8 wrong"),
        # all are refused: what says most is told
        ("AUTH PLAIN LOGIN", ["534 5.7.9 by browser", "504 no"], [PLAIN, "AUTH LOGIN"], "534 5.7.9 by browser"),
        ("AUTH PLAIN LOGIN", ["504 no", "534 5.7.9 by browser"], [PLAIN, "AUTH LOGIN"], "534 5.7.9 by browser"),
        ("AUTH PLAIN LOGIN", ["504 no", "504 neither"], [PLAIN, "AUTH LOGIN"], "504 neither"),
        ("AUTH PLAIN LOGIN", ["close:534 5.7.9 no"], [PLAIN], "534 5.7.9 no"),
        # what has no answer gets none
        ("AUTH LOGIN", [U, U, U], ["AUTH LOGIN", USER, USER, "*"], "asks in AUTH LOGIN for what can't be answered: 334"),
        ("AUTH LOGIN", [U, P, P], ["AUTH LOGIN", USER, WORD, "*"], "asks in AUTH LOGIN for what can't be answered: 334"),
        ("AUTH CRAM-MD5", ["334 !"], ["AUTH CRAM-MD5", "*"], "asks in AUTH CRAM-MD5 for what can't be answered: 334 !"),
        ("AUTH GSSAPI NTLM", [OK], [], "offers none of AUTH PLAIN, LOGIN and CRAM-MD5, only GSSAPI, NTLM"),
        ("DSN", [OK], [], "offers no AUTH; take the user out of the URL"),
    ],
)  # fmt: skip
async def test_a_login_that_is_refused(offer: str, replies: list[str], heard: list[str], words: str) -> None:
    server = fake.Prompting(offer, replies)
    async with at(server, user="u") as out:
        outcome = await sent(out)
        assert isinstance(outcome, Later)
        assert words in str(outcome.reply)
        assert server.heard == heard
        assert words in out.troubles.now.sentence


async def test_what_a_server_repeats_of_a_login_is_not_told() -> None:
    server = fake.Prompting("AUTH LOGIN", [U, P, f"334 {WORD}"])
    async with at(server, user="u") as out:
        outcome = await sent(out)
        assert "334 [hidden]" in str(outcome.reply)
        assert WORD not in str(outcome.reply)
        assert SECRET not in str(outcome.reply)


@pytest.mark.parametrize(
    ("replies", "kind", "words"),
    [
        ([U, P, "535 5.7.8 wrong"], Never, "535 5.7.8 wrong"),
        ([U, P, "454 4.7.0 too many failures of this user"], Later, "454 4.7.0"),
        (["504 5.7.4 no LOGIN"], Later, "504 5.7.4 no LOGIN"),  # says nothing of the client's password
        ([U, U, U], Later, "can't be answered"),
        ([U, P, "454 4.7.0 later"], Later, "454 4.7.0 later"),
        ([U, P, OK], Done, ""),
    ],
)
async def test_a_clients_own_login(replies: list[str], kind: type[Outcome], words: str) -> None:
    server = fake.Prompting("AUTH=LOGIN", replies)
    async with at(server) as out:
        outcome = await out.try_login("u", SECRET)
        assert isinstance(outcome, kind)
        assert words in str(outcome.reply)
        # Anybody can have a login refused: that is no trouble of the upstream. What no login can have is.
        assert (out.troubles.now is not None) is (words in ("can't be answered", "504 5.7.4 no LOGIN"))


async def test_logins_of_clients_that_it_does_not_have_are_told_as_check_tells_them() -> None:
    server = fake.Upstream()
    async with at(server) as out:
        outcome = await out.try_login("u", SECRET)
        assert isinstance(outcome, Later)
        assert out.troubles.now is not None
        assert (
            out.troubles.now.sentence
            == f'The upstream {out.address} offers no AUTH, and smtp.auth = "upstream" needs it'
        )
        assert isinstance(await out.probe(), Done)  # which needs no login
        assert out.troubles.now is not None
        server.users = {"u": SECRET}
        assert isinstance(await out.try_login("u", SECRET), Done)
        assert out.troubles.now is None


# -- what is told of us, whatever the message --------------------------------------------------------------------------

HELLO = "504 5.5.2 <srv1>: Helo command rejected: need fully-qualified hostname"


@pytest.mark.parametrize(
    ("script", "user", "words", "kind"),
    [
        ({"mail": "530 5.7.0 Authentication required"}, "", "wants a login; name its user in the URL", "login"),
        ({"mail": "530 5.7.0 Authentication required"}, "u", "wants another login: 530 5.7.0", "login"),
        ({"mail": "530 5.7.0 Must issue a STARTTLS command first"}, "", 'wants TLS; set its tls = "required"', "tls"),
        (
            {"rcpt": "554 5.7.1 <x[127.0.0.1]>: Client host rejected: no"},
            "",
            "takes no mail from this machine",
            "greeting",
        ),
        ({"mail": HELLO}, "", "refuses our name relay.test; set smtp.hostname", "name"),
        ({"rcpt": HELLO}, "", "refuses our name relay.test; set smtp.hostname", "name"),
        ({"data": HELLO}, "", "refuses our name relay.test; set smtp.hostname", "name"),
        ({"dot": HELLO.replace("504 5.5.2", "450 4.7.1")}, "", "refuses our name relay.test", "name"),
    ],
)
@pytest.mark.parametrize("offers", [fake.USUAL, ()], ids=["pipelined", "plain"])
async def test_a_refusal_of_us_is_none_of_the_message(
    script: dict[str, str], user: str, words: str, kind: str, offers: tuple[str, ...]
) -> None:
    """It waits, since the operator can mend that; and it is told once, until a message is taken."""
    server = fake.Upstream(script, users={"u": SECRET} if user else None, offers=offers)
    async with at(server, user=user) as out:
        for _ in range(2):
            outcomes, reached = await out.attempt(Envelope("a@here.example", (Recipient("b@there.example"),)), MESSAGE)
            assert not reached  # a fallback may have it
            (outcome,) = outcomes
            assert isinstance(outcome, Later)
            assert words in outcome.reply.text
            assert str(next(iter(script.values()))) in outcome.reply.text
            now = out.troubles.now
            assert now is not None
            assert (now.kind, words in now.sentence) == (kind, True)
            assert sample("upstream_trouble", upstream="default", kind=kind) == 1
        server.script.clear()
        assert isinstance(await sent(out), Done)
        assert out.troubles.now is None
        assert sample("upstream_trouble", upstream="default", kind=kind) == 0


async def test_what_is_told_has_no_address() -> None:
    """/readyz is open to all who reach it; the message's own record has the whole reply."""
    words = "530 5.7.0 <b@there.example>: log in first, a@here.example (to=b@there.example)"
    server = fake.Upstream({"rcpt": words})
    async with at(server) as out:
        outcome = await sent(out)
        assert words in str(outcome.reply)
        assert out.troubles.now is not None
        assert "530 5.7.0 <[address]>: log in first, [address] (to=[address])" in out.troubles.now.sentence


async def test_one_recipient_that_is_refused_for_our_name_is_no_trouble_of_all() -> None:
    server = fake.Upstream({"rcpt2": HELLO})
    async with at(server) as out:
        to = (Recipient("b@there.example"), Recipient("c@there.example"))
        outcomes, reached = await out.attempt(Envelope("a@here.example", to), MESSAGE)
        assert reached
        assert [type(o) for o in outcomes] == [Done, Later]
        assert out.troubles.now is None


async def test_a_clients_login_that_is_taken_says_nothing_of_ours() -> None:
    server = fake.Upstream(users={"u": "other", "c": "word"})
    async with at(server, user="u") as out:
        assert isinstance(await sent(out), Later)
        assert isinstance(await out.try_login("c", "word"), Done)
        assert out.troubles.now is not None
        server.users = {"u": SECRET}
        assert isinstance(await out.probe(), Done)
        assert out.troubles.now is None


async def test_a_time_of_trouble_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the server's words differ each time by what it calls the session."""
    caplog.set_level("INFO", logger="trackrelay.upstream")
    count = iter(range(1000, 9999))
    server = fake.Upstream(users={"u": SECRET})
    server.script["auth"] = lambda _: f"535 5.7.8 wrong (session a{next(count)}x - gsmtp)"
    async with at(server, user="u") as out:
        for _ in range(3):
            assert isinstance(await sent(out), Later)
        server.script["auth"] = "454 4.7.0 the directory is away"
        for _ in range(2):
            assert isinstance(await sent(out), Later)
        server.script.clear()
        for _ in range(2):
            assert isinstance(await sent(out), Done)
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("upstream_")]
    assert said == ["upstream_unreachable", "upstream_unreachable", "upstream_works_again"]
