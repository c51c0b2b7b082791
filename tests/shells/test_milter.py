"""The milter's listener, with a mail server whose every packet is the test's; and with miltertest's."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from relay import config, keys, metrics, milter, outbound
from relay.config.settings import Milter
from relay.core.model import Reason, Reply, Submission, Tracking
from relay.milter import server
from relay.store import memory
from tests.fakes import mta
from tests.scenarios import hostile
from tests.until import until

LETTER = hostile.letter("", "X-Track: all", "Bcc: secret@example.test")
BARE = hostile.letter()
KEYS = keys.dry_run()


class Tracker:
    """The real one, which the test may hold up or break."""

    def __init__(self, **tracking: Any) -> None:
        self.store = memory.Memory()
        given = config.Settings(tracking=Tracking(url="http://t.example.test", **tracking))
        self.real = outbound.Tracker(given, lambda: KEYS, self.store)
        self.asked: list[Submission] = []
        self.go = asyncio.Event()
        self.go.set()
        self.fault: Exception | None = None
        self.refusal: Reply | None = None

    async def track(self, submission: Submission, *, one_group: bool = False) -> outbound.Tracked:
        self.asked.append(submission)
        await self.go.wait()
        if self.fault:
            raise self.fault
        if self.refusal:
            return outbound.Tracked("m", (), self.refusal)
        return await self.real.track(submission, one_group=one_group)

    async def pass_by(self, submission: Submission, reason: Reason, size: int) -> None:
        await self.real.pass_by(submission, reason, size)


@asynccontextmanager
async def listening(
    tracker: Tracker, listen: str = "inet:127.0.0.1:0", *, limits: server.Limits | None = None, **how: Any
) -> AsyncIterator[milter.Server]:
    found = await milter.serve(config.Settings(milter=Milter(listen, **how)), tracker, limits=limits)
    try:
        yield found
    finally:
        await found.drain(5)


@asynccontextmanager
async def client(found: milter.Server, *, negotiate: bool = True, **offer: int) -> AsyncIterator[mta.Server]:
    async with await mta.connect(found.addresses[0][1]) as peer:
        if negotiate:
            await peer.negotiate(**offer)
            await peer.step(b"C", mta.connect_packet()[5:], mute=0x1000)
        yield peer


def answers(kind: str) -> float:
    return metrics.value("trackrelay_milter_messages_total", answer=kind)


def is_tracked(content: bytes) -> bool:
    return bool(hostile.tokens(content)[0]) and b"x-track" not in content.lower() and b"\nBcc:" not in content


@pytest.mark.parametrize("steps", [mta.STEPS, 0, 0x7F, 0x100080])
async def test_a_message_is_tracked_whatever_steps_there_are(steps: int) -> None:
    tracker = Tracker()
    async with listening(tracker) as found, client(found, steps=steps) as peer:
        answer = await peer.message(LETTER)
        after = mta.applied(LETTER, answer, spaced=bool(peer.steps & 0x100000))
        assert is_tracked(after)
        assert tracker.asked[0].content == LETTER
        sent = await tracker.store.find_queued("4dLxyz")
        assert sent is not None
        assert [(copy.recipient, copy.state) for copy in sent.copies] == [("b@example.test", "handed")]
        assert found.in_flight == 0


async def test_several_messages_of_one_connection_have_nothing_of_each_other() -> None:
    tracker = Tracker()
    async with listening(tracker) as found, client(found) as peer:
        for n, login in enumerate(("ann", "", "bob")):
            content = hostile.letter(f"<p>number {n}</p>", "X-Track: opens")
            answer = await peer.message(content, f"r{n}@example.test", login=login, queue_id=f"q{n}" if n != 1 else "")
            assert is_tracked(mta.applied(content, answer))
    told = [(s.login, s.queue_id, [r.address for r in s.recipients]) for s in tracker.asked]
    assert told == [
        ("ann", "q0", ["r0@example.test"]),
        ("", "", ["r1@example.test"]),
        ("bob", "q2", ["r2@example.test"]),
    ]


async def test_what_was_not_tracked_has_no_edit() -> None:
    async with listening(Tracker()) as found, client(found) as peer:
        assert await peer.message(BARE) == [(b"a", b"")]


async def test_a_body_of_50_mb_arrives_in_chunks_and_goes_back_in_chunks() -> None:
    tracker = Tracker()
    big = hostile.letter("", "X-Track: all") + b"<!-- filler " + b"z" * 70 + b"-->\r\n"
    big += (b"y" * 76 + b"\r\n") * 640_000
    async with listening(tracker) as found, client(found) as peer:
        answer = await peer.message(big)
        assert answer[-1] == (b"a", b"")
        assert found.in_flight == 0
    assert tracker.asked[0].content == big
    assert b"X-Track" not in mta.applied(big, answer)


async def test_what_is_larger_than_may_be_goes_on_without_its_control_headers() -> None:
    limits = server.Limits(message=20_000)
    before = metrics.value("trackrelay_untracked_total", reason="limit_size")
    tracker = Tracker()
    async with listening(tracker, limits=limits) as found, client(found) as peer:
        large = LETTER + b"x" * 20_000
        after = mta.applied(large, await peer.message(large, queue_id="4dLarge"))
        assert b"X-Track" not in after
        assert b"Bcc" not in after
        assert after.endswith(large[-20_100:])
        assert found.in_flight == 0
    assert tracker.asked == []
    assert metrics.value("trackrelay_untracked_total", reason="limit_size") == before + 1
    sent = await tracker.store.find_queued("4dLarge")
    assert sent is not None
    assert (sent.internet_message_id, sent.subject, sent.size) == ("letter-1@example.test", "A letter", len(large))
    assert [(c.recipient, c.tracked, c.reason, c.state) for c in sent.copies] == [
        ("b@example.test", False, "limit_size", "handed")
    ]


@pytest.mark.parametrize("points", range(1, 8))
async def test_a_mail_server_that_is_gone_at_any_point(points: int) -> None:
    """Aborted, and begun anew; and its connection cut: nothing is tracked, all room is given back."""
    tracker, before = Tracker(), answers("unfinished")
    async with listening(tracker) as found:
        for cut in (False, True):
            async with client(found) as peer:
                sent = [
                    mta.packet(b"M", b"<a@example.test>\0"), mta.packet(b"R", b"<b@example.test>\0"),
                    mta.packet(b"L", b"X-Track\0 all\0"), mta.packet(b"L", b"Content-Type\0 text/html\0"),
                    mta.packet(b"B", b"<p>one"), mta.packet(b"B", b"</p>"), mta.packet(b"B", b"x")[:5],
                ]  # fmt: skip
                peer.send(*sent[:points])
                assert (await peer.read())[0] == b"c"
                if not cut and points < 7:
                    peer.send(mta.packet(b"A"))
                    assert is_tracked(mta.applied(LETTER, await peer.message(LETTER)))
        await until(lambda: found.connections == 0)
        assert found.in_flight == 0
        assert answers("unfinished") == before + 2
    assert len(tracker.asked) == (1 if points < 7 else 0)


async def test_a_mail_server_that_dies_while_it_waits() -> None:
    tracker = Tracker()
    tracker.go.clear()
    async with listening(tracker) as found:
        async with client(found) as peer:
            await peer.mail("b@example.test")
            await peer.content(LETTER)
            peer.send(mta.packet(b"E"))
            await until(lambda: tracker.asked)
        await until(lambda: found.connections == 0)
        assert found.in_flight == 0
        tracker.go.set()
        async with client(found) as peer:
            assert is_tracked(mta.applied(LETTER, await peer.message(LETTER)))


@pytest.mark.parametrize("last", [mta.packet(b"Z"), bytes(4), mta.packet(b"Q"), mta.packet(b"K"), mta.packet(b"A")])
async def test_a_message_that_is_left_is_counted_once(last: bytes) -> None:
    """By an end in good order, an abort, or by what no mail server says."""
    before = answers("unfinished")
    async with listening(Tracker()) as found:
        async with client(found) as peer:
            await peer.mail("b@example.test")
            await peer.content(LETTER)
            peer.send(last)
            await until(lambda: answers("unfinished") > before)
        await until(lambda: found.connections == 0)
        assert found.in_flight == 0
    assert answers("unfinished") == before + 1


@pytest.mark.parametrize("stage", ["client", "message", "answer"])
async def test_a_mail_server_that_closes_its_half_is_gone(stage: str) -> None:
    """It is told nothing any more: whoever dies looks the same from here. Nothing is left of its message."""
    tracker, before = Tracker(), answers("unfinished")
    tracker.go.clear()
    async with listening(tracker) as found:
        async with client(found) as peer:
            if stage != "client":
                await peer.mail("b@example.test")
                await peer.content(LETTER)
            if stage == "answer":
                peer.send(mta.packet(b"E"))
                await until(lambda: tracker.asked)
            peer.writer.write_eof()
            assert await peer.read() == (b"", b"")
        await until(lambda: found.connections == 0)
        assert found.in_flight == 0
        assert answers("unfinished") == before + (stage != "client")
        tracker.go.set()
        async with client(found) as peer:
            assert is_tracked(mta.applied(LETTER, await peer.message(LETTER)))


async def test_what_comes_before_the_answer_waits_for_it() -> None:
    tracker = Tracker()
    tracker.go.clear()
    async with listening(tracker) as found, client(found) as peer:
        one = [
            mta.packet(b"M", b"<a@x>\0"),
            mta.packet(b"R", b"<b@x>\0"),
            mta.packet(b"L", b"Subject\0 s\0"),
            mta.packet(b"E"),
        ]
        peer.send(*one, *one, mta.packet(b"Q"))
        await until(lambda: tracker.asked)
        tracker.go.set()
        assert (await peer.read())[0] == b"c"
        await until(lambda: len(tracker.asked) == 2)
        await until(lambda: found.connections == 0)


async def test_a_step_too_few_or_out_of_order_goes_on() -> None:
    tracker = Tracker()
    async with listening(tracker) as found, client(found) as peer:
        assert await peer.step(b"E") == b"a"  # no message
        peer.send(mta.packet(b"L", b"X-Track\0 all\0"), mta.packet(b"B", b"x"), mta.packet(b"R", b"<b@x>\0"))
        assert await peer.mail() == b"c"
        assert await peer.end() == [(b"a", b"")]  # no recipients
        assert await peer.mail("b@example.test") == b"c"
        assert (await peer.end())[-1] == (b"a", b"")  # no fields, no body
        assert is_tracked(mta.applied(LETTER, await peer.message(LETTER)))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\xff" * 100, mta.packet(b"M", b"<a@x>\0"), mta.packet(b"O", b"x"),
        mta.packet(b"O", struct.pack("!III", 1, 0x1FF, 0)), mta.packet(b"O", struct.pack("!III", 6, 0x1FF, 0)) + mta.packet(b"?"),
    ],
)  # fmt: skip
async def test_who_is_no_mail_server_is_left(data: bytes) -> None:
    before = metrics.value("trackrelay_milter_turned_away_total")
    async with listening(Tracker()) as found:
        async with client(found, negotiate=False) as peer:
            peer.send(data)
            while (await peer.read())[0]:
                pass
        await until(lambda: found.connections == 0)
        assert metrics.value("trackrelay_milter_turned_away_total") == before + 1
        async with client(found) as peer:
            assert is_tracked(mta.applied(LETTER, await peer.message(LETTER)))


# -- failing open ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["accept", "tempfail"])
@pytest.mark.parametrize("fault", ["slow", "raises", "store"])
async def test_it_fails_open_or_as_the_operator_wants(how: str, fault: str) -> None:
    tracker = Tracker()
    match fault:
        case "slow":
            tracker.go.clear()
        case "raises":
            tracker.fault = RuntimeError("a bug")
        case "store":

            async def broken(sent: Any, unless: Any = ()) -> Any:
                raise RuntimeError("a store that is broken")

            tracker.store.record_sent = broken  # type: ignore[method-assign]
    reason = "limit_time" if fault == "slow" else "internal_error"
    before = metrics.value("trackrelay_untracked_total", reason=reason)
    async with listening(tracker, deadline=0.05, on_failure=how) as found, client(found) as peer:
        answer = await peer.message(LETTER)
        if how == "tempfail":
            assert answer == [(b"y", b"451 4.3.0 Something went wrong here, try again later\0")]
        else:
            after = mta.applied(LETTER, answer)
            assert after == LETTER.replace(b"X-Track: all\r\nBcc: secret@example.test\r\n", b"")
        assert metrics.value("trackrelay_untracked_total", reason=reason) > before
        assert found.in_flight == 0


async def test_a_refusal_is_the_answer() -> None:
    async with listening(Tracker(on_invalid="reject")) as found, client(found) as peer:
        ((command, words),) = await peer.message(hostile.letter("", "X-Track-Opens: perhaps"))
        assert command == b"y"
        assert words.startswith(b"550 5.6.0 ")
        assert is_tracked(mta.applied(LETTER, await peer.message(LETTER)))


# -- whose mail --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("submitters", "address", "login", "daemon", "tracked"),
    [
        (Milter().submitters, "127.0.0.1", "", "", True), (Milter().submitters, "::1", "", "", True),
        (Milter().submitters, "192.0.2.1", "", "", False), (Milter().submitters, "192.0.2.1", "ann", "", True),
        (("192.0.2.0/24",), "::ffff:192.0.2.1", "", "", True), (("192.0.2.0/24",), "127.0.0.1", "ann", "", False),
        (("daemon:submission",), "192.0.2.1", "", "submission", True), (("daemon:submission",), "127.0.0.1", "", "smtpd", False),
        ((), "127.0.0.1", "ann", "smtpd", False), (("192.0.2.0/24",), "no address", "", "", False),
    ],
)  # fmt: skip
async def test_only_what_submitters_send_is_touched(
    submitters: tuple[str, ...], address: str, login: str, daemon: str, tracked: bool
) -> None:
    tracker, before = Tracker(), answers("passed")
    async with listening(tracker, submitters=submitters) as found, client(found, negotiate=False) as peer:
        await peer.negotiate()
        if daemon:
            peer.send(mta.macros(b"C", daemon_name=daemon))
        peer.send(mta.connect_packet(address))
        answer = await peer.message(LETTER, login=login)
    assert (len(tracker.asked) == 1) == tracked
    if not tracked:
        assert answer == [(b"a", b"")]
        assert answers("passed") == before + 1


# -- the listener ------------------------------------------------------------------------------------------------------


async def test_hundreds_of_sessions_at_once() -> None:
    tracker = Tracker()

    async def one(found: milter.Server, number: int) -> bool:
        async with client(found) as peer:
            content = hostile.letter(f"<p>{number}</p>", "X-Track: opens")
            after = mta.applied(content, await peer.message(content, queue_id=f"q{number}"))
            return is_tracked(after) and f"<p>{number}</p>".encode() in after

    async with listening(tracker) as found:
        assert all(await asyncio.gather(*(one(found, n) for n in range(300))))
        await until(lambda: found.connections == 0)


async def test_more_connections_than_may_be_are_closed() -> None:
    async with (
        listening(Tracker(), limits=server.Limits(connections=2)) as found, client(found) as first, client(found),
        client(found, negotiate=False) as third,
    ):  # fmt: skip
        assert await third.read() == (b"", b"")
        assert is_tracked(mta.applied(LETTER, await first.message(LETTER)))


async def test_who_says_nothing_loses_its_place() -> None:
    async with (
        listening(Tracker(), limits=server.Limits(idle=0.05, look=0.01)) as found,
        client(found, negotiate=False) as peer,
    ):
        assert await peer.read() == (b"", b"")


async def test_a_stop_waits_for_the_message_and_no_longer() -> None:
    tracker = Tracker()
    tracker.go.clear()
    async with listening(tracker) as found, client(found) as idle, client(found) as busy:
        await busy.mail("b@example.test")
        await busy.content(LETTER)
        asking = asyncio.create_task(busy.end())
        await until(lambda: tracker.asked)
        stopping = asyncio.create_task(found.drain(10))
        assert await idle.read() == (b"", b"")
        with pytest.raises(OSError):
            await mta.connect(found.addresses[0][1])
        tracker.go.set()
        assert is_tracked(mta.applied(LETTER, await asking))
        await stopping
        assert found.connections == 0


async def test_a_socket_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "milter.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()  # as a process leaves it that was killed
    async with listening(Tracker(), f"unix:{path}", mode=0o666, group=str(os.getgid())):
        assert oct(path.stat().st_mode & 0o777) == "0o666"
        async with await mta.connect(path=str(path)) as peer:
            await peer.negotiate()
            peer.send(mta.connect_packet())
            assert is_tracked(mta.applied(LETTER, await peer.message(LETTER)))
        with pytest.raises(milter.CannotListen, match="another process listens"):
            await milter.serve(config.Settings(milter=Milter(f"unix:{path}")), Tracker())
    assert not path.exists()
    path.write_text("a file of somebody")
    with pytest.raises(milter.CannotListen, match="is no socket"):
        await milter.serve(config.Settings(milter=Milter(f"unix:{path}")), Tracker())
    assert path.read_text() == "a file of somebody"
    with pytest.raises(milter.CannotListen, match="there is no group"):
        await milter.serve(config.Settings(milter=Milter(f"unix:{tmp_path}/x", group="no such group")), Tracker())
    assert not (tmp_path / "x").exists()


async def test_miltertest_sends_a_message() -> None:
    """Another implementation of the mail server's side."""
    miltertest = pytest.importorskip("miltertest")
    tracker = Tracker()

    def session(port: int) -> list[Any]:
        with socket.create_connection(("127.0.0.1", port), 15) as line:
            peer = miltertest.MilterConnection(line)
            peer.optneg_mta(protocol=miltertest.SMFIP_HDR_LEADSPC)  # it waits for a reply to each step
            peer.send_ar(
                miltertest.SMFIC_CONNECT,
                hostname="client.test",
                family=miltertest.SMFIA_INET,
                port=1,
                address="127.0.0.1",
            )
            peer.send_macro(miltertest.SMFIC_MAIL, **{"{auth_authen}": "ann"})
            peer.send_ar(miltertest.SMFIC_MAIL, args=["<a@example.test>"])
            peer.send_ar(miltertest.SMFIC_RCPT, args=["<b@example.test>"])
            peer.send_headers([("From", "a@example.test"), ("X-Track", "all"), ("Content-Type", "text/html")])
            peer.send_body("<p>hello</p>")
            return list(peer.send_eom())

    async with listening(tracker) as found:
        commands = await asyncio.to_thread(session, found.addresses[0][1])
    assert [command for command, _ in commands] == ["m", "h", "h", "b", "a"]
    (asked,) = tracker.asked
    assert (asked.login, asked.peer, [r.address for r in asked.recipients]) == ("ann", "127.0.0.1", ["b@example.test"])
    assert asked.content == b"From:a@example.test\r\nX-Track:all\r\nContent-Type:text/html\r\n\r\n<p>hello</p>"


async def refuses(reverse_path: str, recipient: str) -> Reply | None:
    if recipient == "broken@x.test":
        raise RuntimeError
    return Reply(550, "5.7.1 This recipient is suppressed: 100%") if recipient == "no@x.test" and reverse_path else None


@pytest.mark.parametrize("steps", [mta.STEPS, 0])
async def test_a_recipient_is_refused_and_the_others_go_on(steps: int) -> None:
    tracker = Tracker()
    given = config.Settings(milter=Milter("inet:127.0.0.1:0"))
    found = await milter.serve(given, tracker, refuses=refuses)
    async with client(found, steps=steps) as peer:
        assert await peer.mail("yes@x.test") == b"c"
        said = [await peer.step(b"R", f"<{name}@x.test>".encode(), b"\0") for name in ("no", "broken", "other", "no")]
        assert said == [b"y", b"c", b"c", b"y"]
        await peer.content(LETTER)
        assert is_tracked(mta.applied(LETTER, await peer.end()))
        assert await peer.mail("yes@x.test", sender="") == b"c"  # nothing is left of the message before
        assert await peer.step(b"R", b"<no@x.test>", b"\0") == b"c"
        await peer.content(LETTER)
        await peer.end()
    await found.drain(5)
    assert [[r.address for r in asked.recipients] for asked in tracker.asked] == [
        ["yes@x.test", "broken@x.test", "other@x.test"], ["yes@x.test", "no@x.test"],
    ]  # fmt: skip


async def test_a_mail_server_that_does_not_wait_hears_of_each_recipient_in_turn() -> None:
    tracker = Tracker()
    found = await milter.serve(config.Settings(milter=Milter("inet:127.0.0.1:0")), tracker, refuses=refuses)
    async with client(found) as peer:
        peer.send(
            mta.packet(b"M", b"<a@example.test>", b"\0"),
            *(mta.packet(b"R", f"<{name}@x.test>".encode(), b"\0") for name in ("no", "yes", "no")),
        )
        assert [(await peer.read())[0] for _ in range(4)] == [b"c", b"y", b"c", b"y"]
        peer.queue_id = ""
        await peer.content(LETTER)
        assert is_tracked(mta.applied(LETTER, await peer.end()))
    await found.drain(5)
    assert [r.address for r in tracker.asked[0].recipients] == ["yes@x.test"]
