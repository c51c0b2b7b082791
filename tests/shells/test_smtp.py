"""SMTP in: the commands, over real connections on loopback."""

import asyncio
import smtplib
from collections.abc import Callable

import pytest
from aiosmtpd.smtp import SMTP

from relay import smtp
from relay.config import Settings, Smtp
from relay.core.model import Recipient, Reply
from relay.smtp import commands, server
from tests.fakes.taker import Taker
from tests.fakes.wire import Transport, connect
from tests.until import until

MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"


@pytest.fixture
async def relay():
    """Starts servers, and ends them with the test."""
    servers = []

    async def start(taker: Callable, **settings) -> tuple[str, int]:
        started = await smtp.serve(
            Settings(smtp=Smtp(**{"listen": ("127.0.0.1:0",), "hostname": "relay.example", **settings})),
            taker,
        )
        servers.append(started)
        start.server = started  # type: ignore[attr-defined]
        return started.addresses[0]

    yield start
    for started in servers:
        await started.drain(0)


def test_what_is_borrowed_from_aiosmtpd_is_there():
    """Beyond its public face. If one of these is gone, read the new version before moving its bound."""
    for name in ("_reset_timeout", "_timeout_cb", "_set_post_data_state", "_set_rset_state", "_create_envelope",
                 "_create_session", "_handle_client", "_call_handler_hook"):  # fmt: skip
        assert callable(getattr(SMTP, name)), name


async def test_private_members_of_a_live_session():
    settings = Settings(smtp=Smtp())
    shared = server.share(settings, Taker(), server.authenticator(settings))
    pattern = commands.Commands(shared)
    session = commands.Commands(shared, pattern=pattern)
    session.connection_made(Transport(("127.0.0.1", 4)))
    for name in (
        "_reader",
        "_writer",
        "_timeout_handle",
        "_timeout_duration",
        "_handler_coroutine",
        "session",
        "envelope",
    ):
        assert hasattr(session, name), name
    assert isinstance(session._reader._buffer, bytearray)
    assert session._reader._paused is False
    assert session._reader._transport is session._writer._transport
    # A session that became one by the pattern is as aiosmtpd makes it.
    assert session.__dict__.keys() - pattern.__dict__.keys() == {"_reader", "_writer"}
    assert not pattern.__dict__.keys() - session.__dict__.keys()
    for name, method in pattern._smtp_methods.items():
        assert session._smtp_methods.get(name) == getattr(session, method.__name__)
    assert session._smtp_methods.get("X") is None
    assert session._stream_reader is not pattern._stream_reader
    session.connection_lost(None)


async def test_a_message_from_smtplib(relay):
    taker = Taker()
    host, port = await relay(taker)

    def send() -> None:
        with smtplib.SMTP(host, port, timeout=10) as client:
            refused = client.sendmail(
                "a@example.com", ["b@example.com", "c@example.com"], MESSAGE + b".dot\r\n..\r\n", ["BODY=8BITMIME"]
            )
            assert refused == {}

    await asyncio.to_thread(send)
    (submission,) = taker.taken
    assert submission.reverse_path == "a@example.com"
    assert submission.recipients == (Recipient("b@example.com"), Recipient("c@example.com"))
    assert submission.content == MESSAGE + b".dot\r\n..\r\n"
    assert submission.options == ("BODY=8BITMIME",)
    assert submission.peer == "127.0.0.1"
    assert submission.received_at > 0
    assert submission.login == submission.password == ""


@pytest.mark.parametrize(
    ("hello", "mail", "said", "protocol"),
    [
        ("HELO my computer", "MAIL FROM:<a@b>", "my computer", "SMTP"),
        ("EHLO client.example", "MAIL FROM:<a@b>", "client.example", "ESMTP"),
        ("EHLO client.example", "MAIL FROM:<a@b> SMTPUTF8", "client.example", "UTF8SMTP"),
        ("EHLO x\r\nRSET\r\nEHLO other", "MAIL FROM:<a@b>", "other", "ESMTP"),
    ],
)
async def test_what_a_client_spoke_and_said_of_itself(relay, hello, mail, said, protocol):
    taker = Taker()
    async with connect(await relay(taker)) as client:
        await client.reply()
        for line in (*hello.split("\r\n"), mail, "RCPT TO:<c@d>", "DATA", "."):
            assert (await client.ask(line))[:3] in ("250", "354")
    (submission,) = taker.taken
    assert (submission.helo, submission.protocol) == (said, protocol)


async def test_what_is_offered(relay):
    async with connect(await relay(Taker(), max_message_size=1234)) as client:
        lines = (await client.greet()).splitlines()
    assert lines[0] == "250-relay.example"
    assert {line[4:] for line in lines[1:]} == {
        "SIZE 1234", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES", "DSN",
    }  # fmt: skip
    assert [line[3] for line in lines] == ["-"] * (len(lines) - 1) + [" "]


DIALOGUES = {
    "commands in the wrong order": [
        ("MAIL FROM:<a@b>", "503"), ("EHLO x", "250"), ("RCPT TO:<a@b>", "503"), ("DATA", "503"),
        ("MAIL FROM:<a@b>", "250"), ("MAIL FROM:<a@b>", "503"), ("DATA", "503"), ("RCPT TO:<c@d>", "250"),
        ("DATA now", "501"), ("DATA", "354"), ("x\r\n.", "250"), ("DATA", "503"), ("QUIT", "221"),
    ],
    "a transaction begins anew": [
        ("EHLO x", "250"), ("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"), ("RSET", "250"), ("DATA", "503"),
        ("MAIL FROM:<>", "250"), ("RCPT TO:<c@d>", "250"), ("EHLO x", "250"), ("DATA", "503"),
    ],
    "what is not there": [
        ("EHLO", "501"), ("HELO", "501"), ("NOOP", "250"), ("VRFY a", "252"), ("HELP", "214"), ("EXPN x", "502"), ("NONSENSE", "500 5.5.2"),
        ("BDAT 3 LAST", "500"), ("STARTTLS", "502"), ("AUTH PLAIN AGEAYg==", "502"), ("", "500"), ("\xff\xfe", "500"),
    ],
    "plain HELO": [
        ("HELO x", "250"), ("MAIL FROM:<a@b> SIZE=1", "501"), ("MAIL FROM:<a@b>", "250"), ("RCPT TO:<c@d>", "250"),
        ("DATA", "354"), (".", "250"),
    ],
    "sizes": [
        ("EHLO x", "250"), ("MAIL FROM:<a@b> SIZE=50000001", "552 5.3.4"), ("MAIL FROM:<a@b> SIZE=50000000", "250"),
    ],
    "addresses": [
        ("EHLO x", "250"), ("MAIL FROM:<a@b c>", "553"), ("MAIL FROM:<jürgen@b>", "553 5.6.7"),
        ("MAIL FROM:<jürgen@b> SMTPUTF8", "250"), ("RCPT TO:<ünal@c>", "250"), ("RCPT TO:<a\rb@c>", "553"),
        ("RCPT TO:<>", "501"), ("RCPT TO:<a%b@c>", "250"), ("RCPT TO:<@x:a@c>", "250"), ("RCPT TO:<a@[::1>", "553"),
    ],
    "the command line is bounded": [("EHLO x", "250"), ("NOOP " + "x" * 20_000, "500"), ("NOOP " + "x" * 200_000, "500"), ("NOOP", "250")],
}  # fmt: skip


@pytest.mark.parametrize("name", DIALOGUES)
async def test_dialogue(relay, name):
    async with connect(await relay(Taker())) as client:
        assert (await client.reply()).startswith("220 relay.example ESMTP")
        for line, expected in DIALOGUES[name]:
            answer = await client.ask(line)
            assert answer.startswith(expected), (line[:80], answer)


async def test_a_source_route_is_dropped_and_all_else_kept(relay):
    taker = Taker()
    async with connect(await relay(taker)) as client:
        await client.greet()
        assert (await client.ask("MAIL FROM:<@hop.example:a@b> RET=HDRS ENVID=x+2By BODY=8BITMIME")).startswith("250")
        for line in ('RCPT TO:<"q r"@Host.Example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;q@h', "RCPT TO:<a!b%c@d>",
                     "RCPT TO:<a!b%c@d> NOTIFY=NEVER"):  # fmt: skip
            assert (await client.ask(line)).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        assert (await client.ask(".")).startswith("250")
    (submission,) = taker.taken
    assert submission.content == b""
    assert submission.reverse_path == "a@b"
    assert submission.options == ("RET=HDRS", "ENVID=x+2By", "BODY=8BITMIME")
    assert submission.recipients == (
        Recipient('"q r"@Host.Example', ("NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;q@h")), Recipient("a!b%c@d"),
    )  # fmt: skip


async def test_pipelined_messages_in_one_segment(relay):
    taker = Taker()
    async with connect(await relay(taker)) as client:
        await client.greet()
        one = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + MESSAGE + b".\r\n"
        await client.send(one * 20 + b"QUIT\r\nNOOP\r\n")
        codes = [(await client.reply())[:3] for _ in range(81)]
        assert codes == ["250", "250", "354", "250"] * 20 + ["221"]
        assert await client.closed()
    assert [s.content for s in taker.taken] == [MESSAGE] * 20


async def test_replies_do_not_wait_for_a_command_that_is_not_whole(relay):
    async with connect(await relay(Taker())) as client:
        await client.greet()
        await client.send(b"NOOP\r\nRSET\r\nNOO")
        assert (await client.reply()).startswith("250")
        assert (await client.reply()).startswith("250")
        await client.send(b"P\r\n")
        assert (await client.reply()).startswith("250")


async def test_replies_do_not_wait_for_a_message_to_be_taken(relay):
    taker = Taker()
    taker.gate.clear()
    async with connect(await relay(taker)) as client:
        await client.greet()
        await client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nNOOP\r\nRSET\r\n")
        assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "354"]
        taker.gate.set()
        assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "250"]


async def test_the_message_cut_anywhere(relay):
    """The end of DATA is found wherever the network cuts."""
    taker = Taker()
    message = b"..\r\n.\r.x\n"[:4] + b"a\r\n..b\r\n"
    async with connect(await relay(taker)) as client:
        await client.greet()
        for cut in range(1, len(message) + 3):
            await client.envelope()
            await client.ask("DATA")
            whole = message + b".\r\n"
            await client.send(whole[:cut])
            await asyncio.sleep(0.002)  # the pieces come apart, mostly; right either way
            await client.send(whole[cut:])
            assert (await client.reply()).startswith("250")
    assert {s.content for s in taker.taken} == {b".\r\na\r\n.b\r\n"}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(250, "2.0.0 Ok abc"), "250 2.0.0 Ok abc"),
        (Reply(550, "5.1.1 No such user"), "550 5.1.1 No such user"),
        (Reply(451, "4.2.0 one\n4.2.0 two"), "451-4.2.0 one\n451 4.2.0 two"),
        (Reply(550, "5.0.0 a\r\n250 2.0.0 Ok\r\n"), "550-5.0.0 a\n550 250 2.0.0 Ok"),
        (Reply(550, "5.0.0 \x1b[31mnö"), "550 5.0.0 \\x1b[31mn?"),
        (Reply(554, ""), "554 "),
        (RuntimeError("secret"), "451 4.3.0 Something went wrong here, try again later"),
    ],
)
async def test_the_takers_words_reach_the_client(relay, reply, words):
    async with connect(await relay(Taker(reply))) as client:
        await client.greet()
        assert await client.mail(MESSAGE) == words
        assert (await client.mail(MESSAGE)).startswith("250")


async def test_a_client_that_leaves_ends_nothing(relay):
    taker = Taker()
    taker.gate.clear()
    async with connect(await relay(taker)) as client:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        await client.send(MESSAGE + b".\r\n")
        await until(lambda: taker.taken)
    await until(lambda: not relay.server.connections)
    await until(lambda: taker.left == 1)
    taker.gate.set()
    await until(lambda: taker.finished == 1)
    await until(lambda: relay.server.in_flight == 0)
    assert await relay.server.drain(0)


async def test_a_client_that_leaves_in_the_middle_of_data(relay):
    taker = Taker()
    async with connect(await relay(taker)) as client:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        await client.send(b"x" * 100_000)
        await until(lambda: relay.server.in_flight >= 100_000)
    await until(lambda: not relay.server.connections)
    await until(lambda: relay.server.in_flight == 0)
    assert taker.taken == []


async def test_the_last_message_before_the_end(relay):
    """Listeners close first, the message under way is answered, sessions without one hear 421."""
    taker = Taker()
    taker.gate.clear()
    address = await relay(taker)
    async with connect(address) as busy, connect(address) as idle:
        await busy.greet()
        await idle.greet()
        await busy.envelope()
        await busy.ask("DATA")
        await busy.send(MESSAGE + b".\r\n")
        await until(lambda: taker.taken)
        ending = asyncio.create_task(relay.server.drain(10))
        assert (await idle.reply()).startswith("421 4.3.2")
        assert await idle.closed()
        with pytest.raises(OSError):
            await asyncio.open_connection(*address)
        taker.gate.set()
        assert (await busy.reply()).startswith("250")
        assert (await busy.reply()).startswith("421 4.3.2")
        assert await busy.closed()
        assert await ending is True


async def test_what_does_not_end_in_time_is_cut_without_a_reply(relay):
    taker = Taker()
    taker.gate.clear()
    async with connect(await relay(taker)) as client:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        await client.send(MESSAGE + b".\r\n")
        await until(lambda: taker.taken)
        assert await relay.server.drain(0.05) is False
        assert await client.closed()
    assert taker.finished == 0
    await until(lambda: taker.left == 1)


@pytest.mark.parametrize("loop", ["uvloop"])
def test_the_same_under_uvloop(loop):
    uvloop = pytest.importorskip(loop)

    async def main() -> None:
        taker = Taker()
        started = await smtp.serve(Settings(smtp=Smtp(listen=("127.0.0.1:0",))), taker)
        async with connect(started.addresses[0]) as client:
            await client.greet()
            await client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n" + MESSAGE * 20_000 + b".\r\nQUIT\r\n")
            codes = [(await client.reply())[:3] for _ in range(5)]
            assert codes == ["250", "250", "354", "250", "221"]
            assert await client.closed()
        assert taker.taken[0].content == MESSAGE * 20_000
        assert await started.drain(5)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_over_ipv6(relay):
    taker = Taker()
    try:
        address = await relay(taker, listen=("[::1]:0",))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    async with connect(address) as client:
        await client.greet()
        assert (await client.mail(MESSAGE)).startswith("250")
    assert taker.taken[0].peer == "::1"


@pytest.mark.parametrize("words", [b"QUIT\r\n", b"quit\r\n"])
async def test_a_client_that_sends_no_more_hears_the_reply(relay, words):
    """As Exim: QUIT behind the message, and its half of the connection is shut before the reply. It may as well be gone:
    the taker hears that, too."""
    taker = Taker(Reply(250, "2.0.0 taken"))
    taker.gate.clear()
    async with connect(await relay(taker)) as client:
        await client.greet()
        await client.envelope()
        await client.ask("DATA")
        await client.send(MESSAGE + b".\r\n" + words)
        client.writer.write_eof()
        await until(lambda: taker.left)
        taker.gate.set()
        assert await client.reply() == "250 2.0.0 taken"
        assert await client.reply() == "221 2.0.0 Bye"
        assert await client.closed()
    assert len(taker.taken) == 1
