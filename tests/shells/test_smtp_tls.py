"""SMTP in: TLS, logins, and the clients that people have."""

import asyncio
import base64
import gc
import logging
import re
import smtplib
import socket
import ssl
import struct
import subprocess
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from relay import smtp
from relay.config import Settings, Smtp
from relay.core.model import Done, Later, Never, Reply
from relay.smtp import commands, limits, server, throttle, users
from tests import peers
from tests.fakes import certificates
from tests.fakes.taker import Taker
from tests.fakes.wire import Transport, connect
from tests.peers import nodemailer
from tests.until import until

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
SECRET = "canary-Secret 1"  # smtplib takes ASCII only
PLAIN_SECRET = "canary_Secret_2"  # and msmtp no space


def plain(login: str, password: str, authzid: str = "") -> str:
    return base64.b64encode(f"{authzid}\0{login}\0{password}".encode()).decode()


def patient(guesses):
    """The same without a pause after a failure."""
    return guesses._replace(first_pause=0.0)


@pytest.fixture
async def start(tmp_path):
    """Starts servers with TLS and logins, and ends them with the test."""
    servers = []
    certificate, key = certificates.make(tmp_path / "tls")

    async def start(*, guesses=throttle.HERE, held_to=None, **smtp_settings):
        taker = Taker()
        settings = Settings(
            state_dir=tmp_path,
            smtp=Smtp(
                listen=("127.0.0.1:0",), listen_tls=("127.0.0.1:0",), certificate=certificate, key=key, auth="users",
                allow=("192.0.2.0/24",), **smtp_settings,
            ),
        )  # fmt: skip
        for login, password in (("jane", SECRET), ("joan", PLAIN_SECRET)):
            users.add(users.path(settings), login, password)
        server: Any = await smtp.serve(settings, taker, guesses=patient(guesses), held_to=held_to)
        servers.append(server)
        server.taker, server.certificate, server.folder = taker, certificate, tmp_path / "tls"
        server.context = certificates.trusting(certificate)
        return server

    yield start
    for each in servers:
        await each.drain(0)


@pytest.fixture
async def relay(start):
    return await start()


async def test_starttls_forgets_what_was_said(relay):
    async with connect(relay.addresses[0]) as client:
        assert "STARTTLS" in await client.greet()
        assert (await client.ask("STARTTLS now")).startswith("501")
        assert (await client.ask("STARTTLS")).startswith("220")
        await client.start_tls(relay.context)
        assert (await client.ask("AUTH PLAIN " + plain("jane", SECRET))).startswith("503")
        assert (await client.ask("MAIL FROM:<a@b>")).startswith("503")
        answer = await client.ask("EHLO again")
        assert "STARTTLS" not in answer
        assert "AUTH PLAIN LOGIN" in answer
        assert (await client.ask("STARTTLS")).startswith("503")
        assert (await client.ask("AUTH PLAIN " + plain("jane", SECRET))).startswith("235")
        assert (await client.mail(MESSAGE)).startswith("250")
    (submission,) = relay.taker.taken
    assert submission.login == "jane"
    assert submission.password == ""
    assert submission.content == MESSAGE
    assert (submission.helo, submission.protocol) == ("again", "ESMTPSA")


async def test_each_message_of_a_session_is_whole(relay):
    """Between two of them the buffers of TLS are given back."""
    messages = [b"Subject: %d\r\n\r\n" % n + (b"%d" % n * 70 + b"\r\n") * 4000 for n in range(3)]
    async with connect(relay.addresses[0]) as client:
        await client.greet()
        await client.ask("STARTTLS")
        await client.start_tls(relay.context)
        await client.ask("EHLO again")
        await client.ask("AUTH PLAIN " + plain("jane", SECRET))
        for message in messages:
            assert (await client.mail(message)).startswith("250")
    assert [submission.content for submission in relay.taker.taken] == messages


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_of_implicit_tls_may_speak_at_once(tmp_path, loop):
    """Its first words are there before the connection is accepted."""
    certificate, key = certificates.make(tmp_path)
    settings = Settings(smtp=Smtp(listen=(), listen_tls=("127.0.0.1:0",), certificate=certificate, key=key))

    async def main():
        server = await smtp.serve(settings, Taker())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = certificates.trusting(certificate).wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        with socket.create_connection(server.addresses[0]) as client:
            client.sendall(outgoing.read())  # the event loop has had no turn since the connection was there
            client.setblocking(False)
            incoming.write(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 65536), 10))
            tls.do_handshake()
            assert tls.version() == "TLSv1.3"
        await server.drain(0)

    with asyncio.Runner(loop_factory=pytest.importorskip(loop).new_event_loop) as runner:
        runner.run(main())


def hello(context):
    """The first words of a client in a handshake."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("end", ["closed", "reset"])
@pytest.mark.parametrize("words", ["none", "STARTTLS", "half", "implicit", "implicit half"])
def test_a_client_that_goes_away_early_leaves_its_place(tmp_path, loop, end, words):
    """A place that nobody leaves is lost until the end of the process."""
    certificate, key = certificates.make(tmp_path)
    smtp_settings = Smtp(listen=("127.0.0.1:0",), listen_tls=("127.0.0.1:0",), certificate=certificate, key=key)
    first = hello(certificates.trusting(certificate))

    async def main():
        server = await smtp.serve(Settings(smtp=smtp_settings), Taker())
        address = server.addresses["implicit" in words]
        for _ in range(5):
            client = socket.create_connection(address)
            if words in ("STARTTLS", "half"):
                client.setblocking(False)
                for line in (b"EHLO x\r\n", b"STARTTLS\r\n"):
                    await asyncio.get_running_loop().sock_recv(client, 4096)
                    client.sendall(line)
                await asyncio.get_running_loop().sock_recv(client, 4096)
            if "half" in words:
                client.sendall(first[: len(first) // 2])
                await until(lambda: server.connections)
                await asyncio.sleep(0.02)  # they may be read, or not
            if end == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        context = certificates.trusting(certificate) if "implicit" in words else None
        async with connect(address, context=context) as last:  # they were accepted before it
            await last.greet()
        await until(lambda: not server.connections)
        await server.drain(0)

    with asyncio.Runner(loop_factory=pytest.importorskip(loop).new_event_loop) as runner:
        runner.run(main())


def tls_of_servers():
    """What the TLS of servers' connections holds its memory by."""
    return [it for it in gc.get_objects() if isinstance(it, ssl.SSLObject) and it.server_side]


async def test_the_memory_of_tls_ends_with_its_connection(relay):
    """And does not wait for the garbage collector, which knows nothing of its size."""
    gc.collect()
    gc.disable()
    try:
        async with connect(relay.addresses[0]) as client:
            await client.greet()
            assert (await client.ask("STARTTLS")).startswith("220")
            await client.start_tls(relay.context)
            await client.ask("EHLO again")
            assert len(tls_of_servers()) == 1
        await until(lambda: not tls_of_servers())
    finally:
        gc.enable()


async def test_what_came_before_the_handshake_is_not_run(relay):
    """CVE-2024-34083, CVE-2011-0411."""
    async with connect(relay.addresses[0]) as client:
        await client.greet()
        await client.send(b"STARTTLS\r\nEHLO injected\r\nMAIL FROM:<evil@x>\r\nNOOP\r\n")
        assert (await client.reply()).startswith("220")
        await client.start_tls(relay.context)
        assert (await client.ask("MAIL FROM:<a@b>")).startswith("503 5.5.1 Say EHLO")  # the first answer, to this
        assert (await client.ask("NOOP")) == "250 2.0.0 Ok"


async def test_a_failed_handshake_gives_its_place_back(relay):
    async with connect(relay.addresses[0]) as client:
        await client.greet()
        await client.ask("STARTTLS")
        await client.send(b"this is no handshake, not at all, whatever you may think of it\r\n" * 5)
        await client.closed()
    async with connect(relay.addresses[1]) as client:
        await client.send(b"EHLO in clear on the TLS port, which is no handshake either\r\n" * 5)
        await client.closed()
    await until(lambda: not relay.connections)


def greeted(port: int, context: ssl.SSLContext, cut: int) -> bytes:
    """What a client hears whose first flight comes in two pieces, the second a little later where `cut` is not 0."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        step: Callable[[], bytes | None] = tls.do_handshake
        while True:
            try:
                heard = step()
                if heard:
                    return heard
                step = lambda: tls.read(100)  # noqa: E731
            except ssl.SSLWantReadError:
                flight = outgoing.read()
                client.sendall(flight[: cut or None])
                if cut:
                    time.sleep(0.01)  # the pieces come apart, mostly; right either way
                    client.sendall(flight[cut:])
                    cut = 0
                incoming.write(client.recv(65_536))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_is_faster_than_the_handshake(tmp_path, loop):
    """With implicit TLS its first octets may be read before the handshake begins, as uvloop does every other time."""
    loops = pytest.importorskip(loop)
    certificate, key = certificates.make(tmp_path)

    async def main() -> None:
        settings = Settings(smtp=Smtp(listen=(), listen_tls=("127.0.0.1:0",), certificate=certificate, key=key))
        server = await smtp.serve(settings, Taker())
        context = certificates.trusting(certificate)
        for cut in (0, 0, 1, 5, 100, 0) * 6:
            heard = await asyncio.to_thread(greeted, server.addresses[0][1], context, cut)
            assert heard.startswith(b"220 "), cut
        assert await server.drain(5)

    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(main())


async def test_old_versions_of_tls_are_refused(relay):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with connect(relay.addresses[1], context=context) as client:
            await client.reply()


async def test_a_certificate_is_read_anew(relay):
    old = relay.context
    async with connect(relay.addresses[1], context=old) as client:
        await client.greet()
        certificates.make(relay.folder)
        relay.reload()
        assert (await client.ask("NOOP")).startswith("250")
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(relay.addresses[1], context=old):
                pass
        async with connect(relay.addresses[1], context=certificates.trusting(relay.certificate)) as second:
            await second.greet()
        (relay.folder / "key.pem").write_text("no key")
        with pytest.raises(OSError):
            relay.reload()
        async with connect(relay.addresses[1], context=certificates.trusting(relay.certificate)) as second:
            await second.greet()


LOGINS = {
    "plain at once": [("AUTH PLAIN " + plain("jane", SECRET), "235"), ("AUTH PLAIN " + plain("jane", SECRET), "503")],
    "plain in two steps": [("auth plain", "334 "), (plain("jane", SECRET), "235")],
    "plain for oneself": [("AUTH PLAIN " + plain("jane", SECRET, "jane"), "235")],
    "plain for another": [("AUTH PLAIN " + plain("jane", SECRET, "root"), "535")],
    "login": [("AUTH LOGIN", "334 VXNlcm5hbWU6"), (base64.b64encode(b"jane").decode(), "334 UGFzc3dvcmQ6"),
              (base64.b64encode(SECRET.encode()).decode(), "235")],
    "login with the name at once": [("AUTH LOGIN " + base64.b64encode(b"jane").decode(), "334"),
                                    (base64.b64encode(SECRET.encode()).decode(), "235")],
    "wrong, then right": [("AUTH PLAIN " + plain("jane", "no"), "535"), ("AUTH PLAIN " + plain("jane", ""), "535"),
                          ("AUTH PLAIN " + plain("joe", SECRET), "535"), ("AUTH PLAIN " + plain("jane", SECRET), "235")],
    "what can't be read": [
        ("AUTH", "501"), ("AUTH XOAUTH2 AAAA", "504"), ("AUTH PLAIN %%%%", "501"), ("AUTH PLAIN AAAA", "501"), ("AUTH PLAIN =", "501"),
        ("AUTH PLAIN", "334"), ("*", "501"), ("AUTH LOGIN", "334"), ("*", "501"), ("AUTH PLAIN", "334"), ("x" * 13_000, "501"),
        ("AUTH PLAIN " + base64.b64encode(b"\0\xff\0\xfe").decode(), "501"),
    ],
    "not in a transaction": [("AUTH PLAIN " + plain("jane", SECRET), "235"), ("MAIL FROM:<a@b>", "250"),
                             ("AUTH PLAIN " + plain("jane", SECRET), "503")],
}  # fmt: skip


@pytest.mark.parametrize("name", LOGINS)
async def test_logins(relay, name):
    async with connect(relay.addresses[1], context=relay.context) as client:
        await client.greet()
        assert (await client.ask("MAIL FROM:<a@b>")).startswith("530 5.7.0")
        for line, expected in LOGINS[name]:
            assert (await client.ask(line)).startswith(expected), line


async def test_guessing_is_stopped(start):
    relay = await start(guesses=throttle.Guesses(4, 30, 30))
    answers = []
    for n in range(6):
        async with connect(relay.addresses[1], context=relay.context) as client:
            await client.greet()
            answers.append((await client.ask("AUTH PLAIN " + plain("jane", f"guess {n}")))[:9])
    assert answers == ["535 5.7.8"] * 4 + ["454 4.7.0"] * 2
    async with connect(relay.addresses[1], context=relay.context) as client:
        await client.greet()
        assert (await client.ask("AUTH PLAIN " + plain("jane", SECRET))).startswith("454 4.7.0")


async def test_a_password_is_in_no_log(relay, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("trackrelay.smtp", "mail.log", "asyncio"):
        logging.getLogger(name).disabled = False
    logging.getLogger("trackrelay").setLevel(logging.DEBUG)
    words = base64.b64encode(SECRET.encode()).decode()
    async with connect(relay.addresses[1], context=relay.context) as client:
        await client.greet()
        await client.ask("AUTH PLAIN " + plain("jane", SECRET + "x"))
        await client.ask("AUTH PLAIN " + plain("jane", SECRET, "other"))
        await client.ask(words)
        await client.ask("AUTH LOGIN")
        await client.ask(base64.b64encode(b"joe").decode())
        await client.ask(words)
        await client.ask("AUTH PLAIN " + plain("jane", SECRET))
        relay.taker.replies.append(RuntimeError("boom"))
        await client.mail(MESSAGE)
    logged = caplog.text + repr([r.__dict__ for r in caplog.records])
    for secret in (SECRET, words, words.upper(), plain("jane", SECRET)):
        assert secret not in logged, logged[max(0, logged.find(secret) - 200) :]
    assert "login_refused" in logged


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Done(Reply(235, "ok")), "235"),
        (Never(Reply(535, "5.7.8 no")), "535 5.7.8"),
        (Later(Reply(421, "4.3.0 busy")), "454 4.7.0"),
        (OSError("gone"), "454 4.7.0"),
    ],
)
async def test_the_upstream_is_asked(outcome, code):
    asked = []

    async def verify(login: str, password: str):
        asked.append((login, password))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    taker = Taker()
    settings = Settings(smtp=Smtp(listen=("127.0.0.1:0",), auth="upstream", allow=("192.0.2.0/24",)))
    server = await smtp.serve(settings, taker, verify_upstream=verify, guesses=patient(throttle.ELSEWHERE))
    async with connect(server.addresses[0]) as client:
        assert "AUTH PLAIN LOGIN" in await client.greet()  # on loopback without TLS too
        answer = await client.ask("AUTH PLAIN " + plain("joe", SECRET))
        assert answer.startswith(code)
        if code == "235":
            assert (await client.mail(MESSAGE)).startswith("250")
            assert (taker.taken[0].login, taker.taken[0].password) == ("joe", SECRET)
            assert SECRET not in repr(taker.taken[0])
    assert asked == [("joe", SECRET)]
    await server.drain(0)


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves at once"])
async def test_guesses_made_at_the_same_time_are_no_more_than_others(leaves):
    """The upstream hears fewer wrong passwords for a login than lock an account there, however they come."""
    asked = []

    async def verify(login: str, password: str):
        asked.append(password)
        await asyncio.sleep(0.05)  # an upstream that thinks
        return Never(Reply(535, "5.7.8 no"))

    settings = Settings(smtp=Smtp(listen=("127.0.0.1:0",), auth="upstream", allow=("192.0.2.0/24",)))
    server = await smtp.serve(settings, Taker(), verify_upstream=verify, guesses=patient(throttle.ELSEWHERE))

    async def guess(n: int) -> str:
        async with connect(server.addresses[0]) as client:
            await client.greet()
            await client.send(b"AUTH PLAIN " + plain("Jane" if n % 2 else "jane ", f"guess {n}").encode() + b"\r\n")
            return "" if leaves else (await client.reply())[:3]

    answers = await asyncio.gather(*(guess(n) for n in range(40)))
    await until(lambda: not server.connections)
    assert len(asked) == throttle.ELSEWHERE.pair
    if not leaves:
        assert sorted(answers) == ["454"] * (40 - len(asked)) + ["535"] * len(asked)
    await server.drain(0)


async def test_many_good_logins_at_once_are_none_too_many(relay):
    async def login() -> str:
        async with connect(relay.addresses[1], context=relay.context) as client:
            await client.greet()
            return (await client.ask("AUTH PLAIN " + plain("jane", SECRET)))[:3]

    assert await asyncio.gather(*(login() for _ in range(30))) == ["235"] * 30


async def test_no_password_in_clear_beyond_loopback(tmp_path):
    certificate, key = certificates.make(tmp_path)
    settings = Settings(state_dir=tmp_path, smtp=Smtp(auth="users", certificate=certificate, key=key))
    shared = server.share(settings, Taker(), server.authenticator(settings))
    for peer, offered in (("127.0.0.1", True), ("192.0.2.1", False)):
        session, client = commands.Commands(shared), Transport((peer, 40_000))
        session.connection_made(client)
        session.data_received(b"EHLO x\r\nAUTH PLAIN " + plain("joe", "wrong").encode() + b"\r\nQUIT\r\n")
        await until(lambda: client.ended)  # noqa: B023
        answers = client.written.decode()
        assert ("AUTH PLAIN LOGIN" in answers) is offered
        assert ("\r\n535 5.7.8" in answers) is offered
        assert ("\r\n538 5.7.11" in answers) is not offered
        session.connection_lost(None)


async def test_nor_on_loopback_where_a_proxy_lets_others_in(start):
    relay = await start(clear_logins=False)
    async with connect(relay.addresses[0]) as client:
        assert "AUTH" not in await client.greet()
        assert (await client.ask("AUTH PLAIN " + plain("jane", SECRET))).startswith("538 5.7.11")
        await client.ask("STARTTLS")
        await client.start_tls(relay.context)
        assert "AUTH PLAIN LOGIN" in await client.ask("EHLO x")
        assert (await client.ask("AUTH PLAIN " + plain("jane", SECRET))).startswith("235")


@pytest.mark.parametrize(
    ("held_to", "talk"),
    [(limits.Limits(), limits.Limits().stranger_commands), (limits.Limits(stranger_seconds=-1.0), 0)],
)
async def test_a_stranger_holds_no_place_by_talking(start, held_to, talk):
    """By commands, or by time; who has logged in may."""
    relay = await start(held_to=held_to)
    async with connect(relay.addresses[1], context=relay.context) as client:
        await client.reply()
        answers = [(await client.ask("NOOP"))[:3] for _ in range(talk + 1)]
        assert answers == ["250"] * talk + ["421"]
    relay = await start(held_to=replace(held_to, stranger_seconds=1e9))
    async with connect(relay.addresses[1], context=relay.context) as client:
        await client.greet()
        await client.ask("AUTH PLAIN " + plain("jane", SECRET))
        assert [(await client.ask("NOOP"))[:3] for _ in range(talk + 5)] == ["250"] * (talk + 5)


async def test_starting_refuses(tmp_path):
    async def none(*_):
        raise AssertionError

    for settings in (
        Smtp(listen=("0.0.0.0:0",)),
        Smtp(listen=("127.0.0.1:0",), listen_tls=("127.0.0.1:0",)),
        Smtp(listen=("127.0.0.1:0",), certificate=tmp_path / "none", key=tmp_path / "none"),
        Smtp(listen=("127.0.0.1:0",), auth="upstream"),
    ):
        with pytest.raises(smtp.CannotListen):
            await smtp.serve(Settings(smtp=settings), none)


# -- real clients ------------------------------------------------------------------------------------------------------


async def run(*command: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(subprocess.run, command, input=text, capture_output=True, timeout=60)


async def test_smtplib(relay):
    def send() -> None:
        with smtplib.SMTP("localhost", relay.addresses[0][1], timeout=10) as client:
            client.starttls(context=relay.context)
            client.login("jane", SECRET)
            client.sendmail("a@example.com", ["b@example.com"], MESSAGE)
        with smtplib.SMTP_SSL("localhost", relay.addresses[1][1], timeout=10, context=relay.context) as client:
            client.login("jane", SECRET)
            client.sendmail("a@example.com", ["b@example.com"], MESSAGE)

    await asyncio.to_thread(send)
    assert [s.content for s in relay.taker.taken] == [MESSAGE] * 2


@pytest.mark.parametrize("way", [("--tls",), ("--tls-on-connect",)])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_swaks(relay, way, mechanism):
    swaks = peers.require("swaks", package="swaks")
    port = relay.addresses[way == ("--tls-on-connect",)][1]
    done = await run(
        swaks, "--server", "127.0.0.1", "--port", str(port), *way, "--auth", mechanism, "--auth-user", "jane",
        "--auth-password", SECRET, "--from", "a@example.com", "--to", "b@example.com,c@example.com", "--body", "hello",
        "--timeout", "20",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
    (submission,) = relay.taker.taken
    assert [r.address for r in submission.recipients] == ["b@example.com", "c@example.com"]


@pytest.mark.parametrize("starttls", ["on", "off"])
async def test_msmtp(relay, starttls, tmp_path):
    msmtp = peers.require("msmtp", package="msmtp")
    port = relay.addresses[starttls == "off"][1]
    settings = tmp_path / "msmtprc"
    settings.write_text(
        f"account default\nhost localhost\nport {port}\ntls on\ntls_starttls {starttls}\nauth on\nuser joan\n"
        f"tls_trust_file {relay.certificate}\npassword {PLAIN_SECRET}\nfrom a@example.com\nlogfile -\n"
    )
    settings.chmod(0o600)
    done = await run(msmtp, "-C", str(settings), "b@example.com", text=MESSAGE.replace(b"\r\n", b"\n"))
    assert done.returncode == 0, done.stderr.decode()
    assert relay.taker.taken[0].content.endswith(b"Subject: hello\r\n\r\nworld\r\n")


NODEMAILER = """
const mailer = require("nodemailer");
const [port, secure, method, pool, ca, password] = process.argv.slice(1);
const transport = mailer.createTransport({
  host: "localhost", port: Number(port), secure: secure === "tls", requireTLS: true, authMethod: method,
  pool: pool === "pool", maxConnections: 2, maxMessages: 3, logger: true, debug: true,
  auth: { user: "jane", pass: password }, tls: { ca: require("fs").readFileSync(ca) },
});
const send = (n) => transport.sendMail({
  from: "a@example.com", to: ["b@example.com", "jürgen@example.com"], subject: `hello ${n}`, text: "w\\u00f6rld\\n.dot\\n",
  dsn: { id: "some+id", return: "headers", notify: ["failure", "delay"], recipient: "a@example.com" },
});
const all = pool === "pool" ? Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(send)) : send(0).then(() => send(1));
transport.verify().then(() => all).then(() => transport.close(), error => { console.error(error); process.exit(1); });
"""


@pytest.mark.parametrize("secure", ["tls", "starttls"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("pool", ["pool", "each"])
async def test_nodemailer(relay, secure, mechanism, pool):
    """Its pool sends several messages over each connection, and comes back with new ones; without it each has its own."""
    port = relay.addresses[secure == "tls"][1]
    done = await asyncio.to_thread(
        nodemailer.run, NODEMAILER, str(port), secure, mechanism, pool, str(relay.certificate), SECRET
    )
    assert done.returncode == 0, done.stderr
    assert f"C: AUTH {mechanism}" in done.stdout
    taken = relay.taker.taken
    assert len(taken) == (8 if pool == "pool" else 2)
    assert len({b"".join(re.findall(rb"(?m)^Subject: .*", s.content)) for s in taken}) == len(taken)
    for submission in taken:
        assert submission.login == "jane"
        assert [r.address for r in submission.recipients] == ["b@example.com", "jürgen@example.com"]
        assert submission.options[-2:] == ("RET=HDRS", "ENVID=some+2Bid")
        assert "SMTPUTF8" in submission.options
        assert submission.protocol == "UTF8SMTPSA"
        assert submission.recipients[0].options == ("NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;a@example.com")
        assert b"w=C3=B6rld=0A.dot" in submission.content or b"w=C3=B6rld\r\n.dot\r\n" in submission.content
