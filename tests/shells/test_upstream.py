"""The upstream room against a scripted upstream and against Postfix."""

import asyncio
import base64
import email
import email.policy
import re
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay import config
from relay.core.model import Done, Envelope, Later, Never, Recipient, Reply
from relay.upstream import client, connections, protocol, transaction
from tests.fakes import certificates, wire
from tests.fakes import upstream as fake
from tests.until import until

MESSAGE = b"From: a@here.example\r\nTo: b@there.example\r\nSubject: x\r\n\r\nHello\r\n.dot\r\n..two\r\n"
BIG = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 60 + b"\r\n" + b"x" * 70 + b"\r\n"
HUGE = b"Subject: huge\r\n\r\n" + (b"y" * 998 + b"\r\n") * 2000  # more than one slice, and than socket buffers hold
TIMES = transaction.Times(connect=30, mail=30, data=30, block=30, dot=30)
SHORT = transaction.Times(connect=30, mail=1.5, data=1.5, block=1.5, dot=1.5)  # for an upstream that says nothing


def envelope(*recipients: str, sender: str = "a@here.example", options: tuple[str, ...] = ()) -> Envelope:
    return Envelope(sender, tuple(Recipient(r) for r in recipients or ("b@there.example",)), options)


@asynccontextmanager
async def sending(
    script=None, *, tls="never", password="", user="", trust=None, times=TIMES, max_connections=20, idle=30.0, **how
):
    async with fake.Upstream(script, **how) as server:
        url = server.url.replace("://", f"://{user}@") if user else server.url
        settings = config.Upstream(url=url, password=password, tls=tls)
        out = client.UpstreamClient(
            settings,
            hostname="relay.test",
            times=times,
            trust=trust,
            max_connections=max_connections,
            idle_seconds=idle,
        )
        try:
            yield server, out
        finally:
            await out.close()


class Timers:
    """A loop whose time is turned by hand."""

    def __init__(self):
        self.now, self.made, self.due = 0.0, 0, {}

    def time(self):
        return self.now

    def call_later(self, seconds, call):
        self.made += 1
        timer: Any = SimpleNamespace(cancel=lambda: self.due.pop(id(timer), None))
        self.due[id(timer)] = (self.now + seconds, call)
        return timer

    def turn(self, to):
        while due := [(at, key) for key, (at, _) in self.due.items() if at <= to]:
            self.now, key = min(due)
            self.due.pop(key)[1]()
        self.now = to


def test_a_deadline_moves_without_a_timer_for_each_time():
    timers: Any = Timers()
    over: list[Any] = []
    deadline = protocol.Deadline(timers, 2.0)
    for n in range(1000):
        timers.turn(n * 0.01)
        deadline.move(2.0 if n % 2 else 30.0, lambda: over.append(timers.now))
    assert timers.made < 10
    deadline.move(30.0, lambda: over.append(timers.now))
    deadline.move(2.0, lambda: over.append(timers.now))
    timers.turn(11.98)
    assert not over
    timers.turn(60.0)
    assert over == [pytest.approx(9.99 + 2.0)]
    deadline.move(2.0, lambda: over.append("lifted"))
    deadline.lift()
    timers.turn(70.0)
    deadline.move(2.0, lambda: over.append("closed"))
    deadline.close()
    timers.turn(80.0)
    assert len(over) == 1
    assert not timers.due


class Line(wire.Transport):
    """One on which nothing is said but what a test says."""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.home = protocol


async def test_a_connection_on_which_something_is_said_unasked_is_left():
    line = Line(("192.0.2.1", 25))
    deadline = protocol.Deadline(asyncio.get_running_loop(), 2.0)
    stands = protocol.TransactionProtocol(line, asyncio.Protocol(), deadline)
    assert line.home is stands
    assert not line.is_closing()
    stands.data_received(b"421 4.4.2 idle for too long\r\n")
    assert line.is_closing()


@pytest.mark.parametrize("offers", [fake.USUAL, ()], ids=["pipelined", "plain"])
async def test_a_message_arrives_byte_for_byte_and_the_upstreams_words_come_back(offers):
    async with sending(offers=offers) as (server, out):
        outcomes = await out.send(envelope("b@x.example", "c@y.example"), MESSAGE)
        assert outcomes == (Done(Reply(250, "2.0.0 Ok: queued as 000001")),) * 2
        (kept,) = server.kept
        assert (kept.content, kept.reverse_path, kept.recipients) == (
            MESSAGE, "a@here.example", ["b@x.example", "c@y.example"],
        )  # fmt: skip
        assert server.lines[0] == "EHLO relay.test"


@pytest.mark.parametrize("content", [b".\r\n", b"", b"no end", b"..\r\n.\r\n\r\n", HUGE, b"a\r\n." * 70_000 + b"\r\n"])
async def test_dots_and_ends(content):
    async with sending() as (server, out):
        (outcome,) = await out.send(envelope(), content)
        assert isinstance(outcome, Done)
        assert server.kept[0].content == content + (b"" if not content or content.endswith(b"\r\n") else b"\r\n")


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\n\n.\n\n", b"\r\r\n.\r\r\n", b"\n.\r", b"\r\n\x00.\r\n",
     b"\r\n.\r\n", b"\r\n..\r\n"],
)  # fmt: skip
async def test_nothing_is_smuggled_out(end):
    content = (
        b"Subject: one\r\n\r\nx" + end + b"MAIL FROM:<evil@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nSubject: two\r\n\r\ny\r\n"
    )
    async with sending() as (server, out):
        (outcome,) = await out.send(envelope(), content)
        assert isinstance(outcome, Done | Never)
        assert [k.content for k in server.taken] == [content] * isinstance(outcome, Done)
        assert sum(line.startswith("MAIL") for line in server.lines) <= 1
        assert isinstance(outcome, Done) == (
            content.replace(b"\r\n", b"").count(b"\r") + content.replace(b"\r\n", b"").count(b"\n") == 0
        )


async def test_a_reply_that_drips_is_not_waited_for_for_ever():
    class Dripping(fake.Upstream):
        async def _mail(self, session, command):
            while True:
                session.writer.write(b"2")
                await session.writer.drain()
                await asyncio.sleep(0.02)  # drop by drop

    async with Dripping() as server:
        out = client.UpstreamClient(config.Upstream(url=server.url, tls="never"), hostname="relay.test", times=SHORT)
        async with asyncio.timeout(20):
            (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Later)


@given(st.text(alphabet="\r\n.x", max_size=40), st.integers(1, 12))
@example("x\r\r\n.", 2)
def test_dots_are_doubled_wherever_a_message_is_cut_into_pieces(text, size):
    """For any message and any size of piece: the pieces together are what one pass over the lines gives."""
    content = text.encode()
    pieces = list(transaction.stuffed(content, size))
    whole = re.sub(rb"(?:(?<=\r\n)|\A)\.", b"..", content)
    assert b"".join(piece for piece, _ in pieces) == whole
    assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]


# point -> what the upstream does there, what it means, and whether the message may be there all the same
CUTS = [
    ("connect", "drop", Later, False),
    ("banner", "554 5.3.2 no", Later, False),
    ("banner", "421 4.3.2 busy", Later, False),
    ("banner", "hang", Later, False),
    ("banner", "garbage", Later, False),
    ("ehlo", "drop", Later, False),
    ("ehlo", "450 4.3.2 not now", Later, False),
    ("ehlo", "550 no", Done, False),  # HELO does
    ("mail", "drop", Later, False),
    ("mail", "reset", Later, False),
    ("mail", "hang", Later, False),
    ("mail", "garbage", Later, False),
    ("mail", "451 4.3.0 busy", Later, False),
    ("mail", "421 4.7.0 too much", Later, False),
    ("mail", "550 5.7.1 not you", Never, False),
    ("mail", "552 5.3.4 too large", Never, False),
    ("rcpt", "450 4.2.0 later", Later, False),
    ("rcpt", "550 5.1.1 unknown", Never, False),
    ("rcpt", "drop", Later, False),
    ("rcpt", "hang", Later, False),
    ("rcpt", "354 what", Later, False),
    ("data", "drop", Later, False),
    ("data", "hang", Later, False),
    ("data", "451 4.3.0 no space", Later, False),
    ("data", "554 5.7.1 no", Never, False),
    ("data", "250 ok?", Later, False),
    ("data", "garbage", Later, False),
    ("dot", "drop", Later, True),
    ("dot", "reset", Later, True),
    ("dot", "hang", Later, True),
    ("dot", "garbage", Later, True),
    ("dot", "354 more?", Later, True),
    ("dot", "451 4.3.0 disk", Later, False),
    ("dot", "421 4.3.0 closing", Later, False),
    ("dot", "554 5.6.0 spam", Never, False),
    ("dot_half", "drop", Later, True),
    ("after", "drop", Done, False),
    ("idle", "close:421 4.4.2 idle", Done, False),
]


@pytest.mark.parametrize("offers", [fake.USUAL, ()], ids=["pipelined", "plain"])
@pytest.mark.parametrize(("point", "does", "meaning", "uncertain"), CUTS)
async def test_what_an_upstream_does_and_what_it_means(point, does, meaning, uncertain, offers):
    times = replace(SHORT, connect=1.5) if does == "hang" else TIMES
    async with sending({point: [does, None]}, offers=offers, times=times) as (server, out):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert type(outcome) is meaning, outcome
        assert getattr(outcome, "uncertain", False) is uncertain
        if "5" in does[:1] and meaning is Never:
            assert str(outcome.reply) == does
        assert server.sessions == 1  # one attempt, whatever happened
        # and the next message goes out whole, under its own sender, once
        before = len(server.taken)
        (outcome,) = await out.send(envelope(sender="next@here.example"), BIG)
        assert isinstance(outcome, Done)
        assert [(k.reverse_path, k.content) for k in server.taken[before:]] == [("next@here.example", BIG)]


@pytest.mark.parametrize(("does", "uncertain"), [("drop", False), ("hang", False), ("552 5.3.4 too large", None)])
async def test_cut_inside_a_message_that_is_larger_than_the_buffers(does, uncertain):
    async with sending({"body_half": [does, None]}, times=SHORT if does == "hang" else TIMES) as (server, out):
        (outcome,) = await out.send(envelope(), HUGE * 8)
        if uncertain is None:
            assert outcome == Never(Reply(552, "5.3.4 too large"))
        else:
            assert isinstance(outcome, Later)
            assert outcome.uncertain is uncertain
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert [k.content for k in server.taken] == [MESSAGE]


async def test_each_recipient_has_a_word_of_its_own():
    script = {
        "rcpt": lambda c: "550 5.1.1 nobody" if "<no@" in c else "450 4.2.1 greylisted" if "<later@" in c else None
    }
    script["rcpt2"] = script["rcpt"]
    async with sending(script) as (server, out):
        outcomes = await out.send(envelope("no@x.example", "yes@x.example", "later@x.example", "b@x.example"), MESSAGE)
        assert [type(o) for o in outcomes] == [Never, Done, Later, Done]
        assert server.kept[0].recipients == ["yes@x.example", "b@x.example"]


async def test_a_confused_upstream_never_gets_a_message_that_nobody_was_to_have():
    async with sending({"mail": ["550 5.7.1 no", None], "data": ["354 go on", None]}) as (server, out):
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Never)
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert server.sessions == 2
    async with sending({"rcpt": ["550 5.1.1 no", None], "data": ["354 go on", None]}) as (server, out):
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Never)
        assert server.raw.endswith(b"DATA\r\n.\r\n")
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert server.sessions == 1


async def test_after_a_refused_data_the_next_message_begins_with_rset():
    async with sending({"data": ["554 5.7.1 no", None]}) as (server, out):
        await out.send(envelope(sender="first@x.example"), MESSAGE)
        await out.send(envelope(sender="second@x.example"), MESSAGE)
        assert server.lines[-4:] == [
            "RSET", f"MAIL FROM:<second@x.example> SIZE={len(MESSAGE)}", "RCPT TO:<b@there.example>", "DATA",
        ]  # fmt: skip
        assert server.sessions == 1
        assert server.kept[0].reverse_path == "second@x.example"


async def test_a_connection_that_went_stale_is_replaced_without_a_word():
    async with sending({"mail": [None, "close:421 4.4.2 idle for too long", None]}) as (server, out):
        for _ in range(2):
            assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert (server.sessions, len(server.taken)) == (2, 2)


async def test_a_message_that_was_handed_over_is_never_sent_again_by_itself():
    async with sending({"dot": [None, "drop", None]}) as (server, out):
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Later)
        assert outcome.uncertain
        assert server.sessions == 1


async def test_connections_are_bounded_shared_and_closed_when_idle():
    async with sending(max_connections=3, idle=2) as (server, out):
        outcomes = await asyncio.gather(*(out.send(envelope(), MESSAGE) for _ in range(30)))
        assert all(isinstance(o[0], Done) for o in outcomes)
        assert server.sessions == 3
        await until(lambda: server.lines.count("QUIT") == 3)
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert server.sessions == 4


async def test_a_cancelled_transaction_leaves_no_connection_behind():
    async with sending({"dot": ["hang", None]}, times=transaction.Times()) as (server, out):
        task = asyncio.create_task(out.send(envelope(), MESSAGE))
        await until(lambda: server.raw.endswith(b"\r\n.\r\n"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert isinstance((await out.send(envelope(), BIG))[0], Done)
        assert server.sessions == 2


# -- what the upstream offers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hide", ["PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN"])
async def test_only_what_is_offered_is_asked_for(hide):
    offers = tuple(o for o in fake.USUAL if o != hide)
    async with sending(offers=offers) as (server, out):
        to = (Recipient("b@x.example", ("NOTIFY=FAILURE", "ORCPT=rfc822;b@x.example")),)
        asked = Envelope("a@x.example", to, ("BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=t.1"))
        # Both are only asked for where they are needed.
        eight = {"8BITMIME": MESSAGE, "SMTPUTF8": MESSAGE + "Grüße\r\n".encode()}
        message = eight.get(hide, MESSAGE.replace(b"Subject: x", "Subject: Grüße".encode()))
        if hide == "8BITMIME":
            asked = asked.with_(reverse_path="a@bücher.example")
        (outcome,) = await out.send(asked, message)
        assert isinstance(outcome, Done)
        words = {
            "SIZE 52428800": [f"SIZE={len(message)}"], "8BITMIME": ["BODY=8BITMIME"], "SMTPUTF8": ["SMTPUTF8"],
            "DSN": ["RET=HDRS", "ENVID=t.1"], "PIPELINING": [],
        }  # fmt: skip
        expected = [w for name, ws in words.items() if name != hide for w in ws]
        mail, rcpt = server.kept[0].commands
        assert mail.split()[2:] == expected
        assert rcpt.split()[2:] == ([] if hide == "DSN" else ["NOTIFY=FAILURE", "ORCPT=rfc822;b@x.example"])


NO_EIGHT = tuple(offer for offer in fake.USUAL if offer != "8BITMIME")
EIGHT = "From: a@here.example\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße\r\n".encode()
SEALED = b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--b--\r\n"
DECLARED = ("BODY=8BITMIME",)


@pytest.mark.parametrize("options", [DECLARED, ()], ids=["declared", "not declared"])
@pytest.mark.parametrize("times", [1, 30_000], ids=["small", "large"])
async def test_8bit_goes_in_7bit_where_nothing_else_is_offered(options, times, caplog):
    content = EIGHT + "Grüße\r\n".encode() * times
    caplog.set_level("INFO", logger="trackrelay.upstream")
    async with sending(offers=NO_EIGHT) as (server, out):
        for _ in range(2):
            assert isinstance((await out.send(envelope(options=options), content))[0], Done)
        kept = server.kept[1]
        assert kept.content.isascii()
        read = email.message_from_bytes(kept.content, policy=email.policy.default)
        assert read.get_content() == "Grüße\r\n" * (times + 1)
        assert kept.commands[0] == f"MAIL FROM:<a@here.example> SIZE={len(kept.content)}"
        assert server.sessions == 1
    said = [r.fields for r in caplog.records if r.getMessage() == "converted"]
    assert [(f["size"], f["to"], f["signatures_removed"]) for f in said] == [(len(content), len(kept.content), 0)] * 2


@pytest.mark.parametrize("refusal", ["554 5.6.1 Body type not supported by remote host", "554 5.6.3 no"])
@pytest.mark.parametrize("point", ["mail", "data", "dot"])
@pytest.mark.parametrize("offers", [fake.USUAL, ("8BITMIME",)], ids=["pipelined", "plain"])
async def test_an_upstream_that_offers_8bit_and_does_not_take_it_gets_7bit_once(point, refusal, offers):
    async with sending({point: [refusal, None]}, offers=offers) as (server, out):
        (outcome,) = await out.send(envelope(options=DECLARED), EIGHT)
        assert isinstance(outcome, Done)
        (kept,) = server.kept
        assert kept.content.isascii()
        read = email.message_from_bytes(kept.content, policy=email.policy.default)
        assert read.get_content() == "Grüße\r\n"
        assert "BODY=8BITMIME" not in kept.commands[0]
        assert server.sessions == 1
    async with sending({point: refusal}, offers=offers) as (server, out):  # and where that is refused too, it is
        assert await out.send(envelope(options=DECLARED), EIGHT) == (Never(Reply(554, refusal[4:])),)
        assert server.met[point] == 2
    for content in (MESSAGE, SEALED):  # nothing else to try
        async with sending({point: refusal}, offers=offers) as (server, out):
            assert await out.send(envelope(), content) == (Never(Reply(554, refusal[4:])),)
            assert server.met[point] == 1


@pytest.mark.parametrize("lmtp", [True, False])
async def test_only_who_was_refused_gets_it_again_in_7bit(lmtp):
    words = {"b@x": "554 5.6.3 no 8bit"}
    script = {"dot" if lmtp else "rcpt": lambda said: words.pop(said.removeprefix("RCPT TO:<").removesuffix(">"), None)}
    async with sending(script, lmtp=lmtp) as (server, out):
        outcomes = await out.send(envelope("b@x", "c@x"), EIGHT)
        assert [type(o) for o in outcomes] == [Done, Done]
        assert [kept.content.isascii() for kept in server.taken[-2:]] == [False, True]
        assert server.taken[-1].recipients == ["b@x"]


async def test_and_as_it_is_where_8bit_is_offered():
    async with sending() as (server, out):
        assert isinstance((await out.send(envelope(), EIGHT))[0], Done)
        assert server.kept[0].content == EIGHT
        assert server.kept[0].commands[0].endswith(" BODY=8BITMIME")


async def test_what_can_not_be_had_in_7bit_is_refused_where_it_was_declared(caplog):
    async with sending(offers=NO_EIGHT) as (server, out):
        (outcome,) = await out.send(envelope(options=DECLARED), SEALED)
        assert isinstance(outcome, Never)
        assert str(outcome.reply) == (
            "554 5.6.3 The upstream does not offer 8BITMIME, and a signed or encrypted part of the message would have to change"
        )
        assert not any(line.startswith("MAIL") for line in server.lines)
        assert isinstance((await out.send(envelope(), SEALED))[0], Done)
        assert [k.content for k in server.kept] == [SEALED]
        assert server.sessions == 1
    assert [r.getMessage() for r in caplog.records].count("not_converted") == 2


async def test_a_bare_line_ending_is_what_is_wrong_with_it():
    async with sending(offers=NO_EIGHT) as (_, out):
        (outcome,) = await out.send(envelope(options=DECLARED), EIGHT + b"\n")
        assert outcome.reply.text.startswith("5.6.0")


async def test_a_connection_that_was_left_makes_no_difference():
    async with sending({"idle": "drop"}, offers=NO_EIGHT) as (server, out):
        for _ in range(3):
            assert isinstance((await out.send(envelope(), EIGHT))[0], Done)
        assert len({k.content for k in server.kept}) == 1
        assert len(server.taken) == 3


# -- LMTP --------------------------------------------------------------------------------------------------------------


async def test_lmtp_has_a_word_per_recipient_after_the_message():
    script = {"dot": lambda who: {"b@x": "452 4.2.2 full", "c@x": "550 5.2.1 off"}.get(who)}
    async with sending(script, lmtp=True) as (server, out):
        outcomes = await out.send(envelope("a@x", "b@x", "c@x"), MESSAGE)
        assert [type(o) for o in outcomes] == [Done, Later, Never]
        assert server.lines[0] == "LHLO relay.test"
    async with sending({"dot": lambda who: "drop" if who == "b@x" else None}, lmtp=True) as (server, out):
        first, second = await out.send(envelope("a@x", "b@x"), MESSAGE)
        assert isinstance(first, Done)
        assert isinstance(second, Later)
        assert second.uncertain


# -- TLS and logins ----------------------------------------------------------------------------------------------------

SECRET = "canary-9f3b"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ssl.SSLContext, ssl.SSLContext]]:
    folder: Path = tmp_path_factory.mktemp("tls")
    return {
        "good": certificates.contexts(folder),
        "wrong name": certificates.contexts(folder, "other.example"),
        "expired": certificates.contexts(folder, days=-1),
    }


def heard_no_secret(server: fake.Upstream) -> bool:
    import base64

    return (
        b"AUTH" not in server.raw
        and SECRET.encode() not in server.raw
        and base64.b64encode(SECRET.encode()) not in server.raw
    )


@pytest.mark.parametrize("method", ["PLAIN", "LOGIN", "CRAM-MD5", "CRAM-MD5 LOGIN PLAIN"])
@pytest.mark.parametrize("implicit", [False, True])
async def test_tls_then_login(contexts, method, implicit):
    server_tls, trust = contexts["good"]
    how = {"implicit": server_tls} if implicit else {"starttls": server_tls}
    users = {"user@x.example": SECRET}
    async with sending(
        user="user%40x.example", password=SECRET, tls="required", trust=trust, users=users, methods=method, **how
    ) as (server, out):
        assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert isinstance((await out.send(envelope(), HUGE))[0], Done)
        assert (server.kept[0].login, server.kept[0].tls, server.sessions) == ("user@x.example", True, 1)
        assert server.kept[1].content == HUGE


@pytest.mark.parametrize("tls", ["required", "opportunistic"])
@pytest.mark.parametrize(
    "fault", ["no STARTTLS", "STARTTLS refused", "dropped in the handshake", "wrong name", "expired", "unknown"]
)
async def test_no_credentials_without_verified_tls(contexts, fault, tls):
    server_tls, trust = contexts.get(fault, contexts["good"])
    if fault == "unknown":
        trust = ssl.create_default_context()
    script = {"STARTTLS refused": {"starttls": "454 4.7.0 not now"}, "dropped in the handshake": {"handshake": "drop"}}
    how = {} if fault == "no STARTTLS" else {"starttls": server_tls}
    async with sending(
        script.get(fault), user="u", password=SECRET, tls=tls, trust=trust, users={"u": SECRET}, **how
    ) as (server, out):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Later)
        assert outcome.reply.code == 451
        assert outcome.reply.text.startswith(("4.7.", "4.4."))
        assert heard_no_secret(server)
        assert server.taken == []
        login = await out.try_login("client", SECRET)
        assert isinstance(login, Later)
        assert heard_no_secret(server)


async def test_tls_required_without_a_login_sends_nothing_in_clear():
    async with sending(tls="required") as (server, out):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Later)
        assert "STARTTLS" in outcome.reply.text
        assert not any(line.startswith("MAIL") for line in server.lines)


async def test_opportunistic_uses_tls_where_it_is(contexts):
    async with sending(tls="opportunistic", starttls=contexts["expired"][0]) as (server, out):
        await out.send(envelope(), MESSAGE)
        assert server.kept[0].tls
    async with sending(tls="opportunistic") as (server, out):
        await out.send(envelope(), MESSAGE)
        assert not server.kept[0].tls


async def test_what_stands_in_the_buffer_before_the_handshake_is_dropped(contexts):
    server_tls, trust = contexts["good"]
    script = {"starttls": "220 go\n250-injected\n250 AUTH PLAIN"}
    async with sending(script, tls="required", trust=trust, starttls=server_tls) as (server, out):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert not isinstance(outcome, Never)
        assert all(k.tls for k in server.taken)


async def test_an_upstream_that_repeats_what_it_was_told_gives_nothing_away(contexts, caplog):
    server_tls, trust = contexts["good"]
    script = {"auth": lambda command: f"535 5.7.8 refused: {command} ({base64.b64decode(command.split()[-1])!r})"}
    async with sending(
        script, user="u", password=SECRET, tls="required", trust=trust, starttls=server_tls, users={"u": "new"}
    ) as (_, out):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Later)
        assert "5.7.8 refused: AUTH PLAIN [hidden]" in outcome.reply.text
        for form in (SECRET, base64.b64encode(f"\0u\0{SECRET}".encode()).decode()):
            assert form not in outcome.reply.text + caplog.text


async def test_our_login_refused_makes_mail_wait_and_a_clients_is_refused(contexts, caplog):
    server_tls, trust = contexts["good"]
    async with sending(
        user="u", password="old", tls="required", trust=trust, starttls=server_tls, users={"u": "new", "c": SECRET}
    ) as (server, out):
        (outcome,) = await out.send(envelope(), MESSAGE)
        assert isinstance(outcome, Later)
        assert "refused the login" in outcome.reply.text
        assert await out.try_login("c", "wrong") == Never(Reply(535, "5.7.8 wrong login"))
        assert out.credentials_of("c") is None
        assert isinstance(await out.try_login("c", SECRET), Done)
        sessions = server.sessions
        mail = Envelope("c@x.example", (Recipient("b@x.example"),), credentials=("c", SECRET))
        assert isinstance((await out.send(mail, MESSAGE))[0], Done)
        assert (server.kept[0].login, server.sessions) == ("c", sessions)  # on the session that the login opened
        assert out.credentials_of("c") == ("c", SECRET)
        assert SECRET not in "".join(f"{r.getMessage()} {vars(r)}" for r in caplog.records)
        assert SECRET not in f"{mail}{outcome}"


async def test_a_client_that_logs_in_for_each_message_keeps_one_session(contexts):
    server_tls, trust = contexts["good"]
    async with sending(tls="required", trust=trust, starttls=server_tls, users={"c": SECRET}) as (server, out):
        for n in range(1, 5):
            assert isinstance(await out.try_login("c", SECRET), Done)
            assert server.sessions == n  # each time the upstream is who says that the password is right
        await out.close()  # leaves the one that is left
        await until(lambda: server.lines.count("QUIT") == 4)


async def test_strangers_who_try_logins_hold_up_no_mail(contexts):
    server_tls, trust = contexts["good"]
    ours = base64.b64encode(b"\0u\0new").decode()
    script = {"auth": lambda command: None if command.endswith(ours) else "hang"}
    async with sending(
        script, user="u", password="new", tls="required", trust=trust, starttls=server_tls, users={"u": "new"},
        times=transaction.Times(connect=60),
    ) as (_, out):  # fmt: skip
        tries = [asyncio.create_task(out.try_login("c", f"guess {n}")) for n in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
        assert not any(each.done() for each in tries)
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)


async def test_one_users_session_never_carries_anothers_mail(contexts):
    server_tls, trust = contexts["good"]
    users = {"a": "1", "b": "2"}
    async with sending(tls="required", trust=trust, starttls=server_tls, users=users) as (server, out):
        for _ in range(3):
            for login, password in users.items():
                mail = Envelope(f"{login}@x.example", (Recipient("b@x.example"),), credentials=(login, password))
                assert isinstance((await out.send(mail, MESSAGE))[0], Done)
        await out.send(envelope(sender="none@x.example"), MESSAGE)
        assert [k.reverse_path.split("@")[0] for k in server.kept] == [k.login or "none" for k in server.kept]
        assert server.sessions == 3


async def test_the_address_of_an_upstream():
    assert str(connections.address("smtp://h.example")) == "h.example:25"
    assert str(connections.address("smtp://u@h.example")) == "h.example:587"
    assert str(connections.address("smtps://u%40x@h.example")) == "h.example:465"
    assert connections.address("smtps://u%40x@h.example").login == "u@x"
    assert connections.address("lmtp://[::1]:2424").loopback
    assert not connections.address("smtp://h.example").loopback


def test_on_the_services_own_loop(contexts):
    """uvloop's transports are not asyncio's: TLS by STARTTLS, a message of many slices, a refusal, leaving."""
    uvloop = pytest.importorskip("uvloop")
    server_tls, trust = contexts["good"]

    async def scenario():
        async with sending(
            {"data": [None, "554 5.7.1 no", None]}, tls="required", trust=trust, starttls=server_tls, idle=2
        ) as (server, out):
            assert isinstance((await out.send(envelope(), HUGE))[0], Done)
            assert isinstance((await out.send(envelope(), MESSAGE))[0], Never)
            assert isinstance((await out.send(envelope(), MESSAGE))[0], Done)
            assert [k.content for k in server.kept] == [HUGE, MESSAGE]
            await until(lambda: "QUIT" in server.lines)
            assert server.sessions == 1

    uvloop.run(scenario())
