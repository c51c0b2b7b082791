"""What a client hears, and where its message is then: with a real upstream client, spool and store, and a scripted
upstream."""

import asyncio
import email
import email.policy
import gc
import itertools
import json
import os
import random
import smtplib
import threading
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import dkim as dkimpy
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from relay import config, delivery, keys, outbound, outcomes, smtp, spool
from relay import store as stores
from relay.core import dkim, payload
from relay.core.model import Endpoint, Recipient, Reply, Sent, SentCopy, Submission
from relay.delivery import carrying, resubmissions
from relay.spool.disk import Disk
from relay.store import memory
from relay.upstream import pool, transaction
from relay.upstream.failover import Upstreams
from relay.workers import board
from tests import contract
from tests.fakes import copies
from tests.fakes import upstream as fake
from tests.until import until

MESSAGE = b"From: a@here.example\r\nTo: b@there.example\r\nSubject: x\r\nMessage-ID: <1@here.example>\r\n\r\nHello\r\n"
TIMES = transaction.Times(connect=2, mail=2, data=2, block=2, dot=2)
FAST = (0.0, 0.05, 0.05)


@dataclass
class Setting:
    upstream: fake.Upstream
    upstreams: Upstreams
    delivery: delivery.Delivery
    spool: spool.Spool
    disk: Disk
    outcomes: outcomes.Outcomes
    store: memory.Memory
    tracker: copies.FixedTracker

    async def take(self, message):
        handle = await self.delivery.take(message)
        return await asyncio.shield(handle.reply)

    def spooled(self):
        """What is there; what goes between the listing and the look is not."""
        return [entry for name in self.disk.scan() if (entry := self.disk.read(name))]

    def contents(self):
        return [k.content for k in self.upstream.taken]

    async def kept(self, count):
        """Until the upstream has that many."""
        await until(lambda: len(self.upstream.kept) >= count)

    async def empty(self):
        await until(lambda: not self.spooled())

    async def bounced(self):
        return await until(lambda: self.store.events(types=["message.bounce_detected"]))


@asynccontextmanager
async def house(
    folder,
    script=None,
    *,
    together=False,
    refusal=None,
    refused=None,
    sends=False,
    times=TIMES,
    auth="none",
    signers=None,
    **how,
):
    """`signers` are the DKIM keys of a real tracker, in place of the one with fixed copies."""
    settings_of = {k: how.pop(k) for k in ("on_defer", "patience", "bounce_from", "queue_lifetime") if k in how}
    async with fake.Upstream(script, **how) as server:
        settings = config.Settings(
            state_dir=folder,
            smtp=config.Smtp(hostname="relay.test", auth=auth),
            upstream=config.Upstream(url=server.url, tls="never", **settings_of),
        )
        store = memory.Memory()
        await store.start()
        tracker: Any = copies.FixedTracker(together=together, refusal=refusal, refused=refused)
        if signers:
            signing = keys.dry_run()
            tracker = outbound.Tracker(settings, lambda: signing, store, signers)
        out = Upstreams(settings, hostname="relay.test", times=times, signers=signers or ())
        heard = outcomes.Outcomes(store, host=out.host)
        kept = spool.Spool(folder / "spool", settings, out, heard, schedule=FAST)
        delivering = delivery.Delivery(settings, tracker, out, kept, heard)
        running = asyncio.create_task(kept.run()) if sends else None
        try:
            yield Setting(server, out, delivering, kept, Disk(folder / "spool"), heard, store, tracker)
        finally:
            if running:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            await delivering.close(0)
            await heard.flush()
            await out.close()


def submission(*recipients, sender="a@here.example", content=MESSAGE, **how):
    to = tuple(r if isinstance(r, Recipient) else Recipient(r) for r in recipients or ("b@x.example",))
    return Submission(sender, to, content, **how)


def by_recipient(**words):
    """A script for RCPT: the local part decides."""
    return {p: lambda c: words.get(c.partition("<")[2].partition("@")[0]) for p in ("rcpt", "rcpt2")}


NO, LATER = "550 5.1.1 nobody", "450 4.2.1 greylisted"


async def test_one_copy_hears_the_upstreams_words(tmp_path):
    async with house(tmp_path) as it:
        reply = await it.take(submission())
        assert str(reply) == "250 2.0.0 Ok 00000000000000000001 Ok: queued as 000001"
        assert it.contents() == [b"X-Copy: 0\r\n" + MESSAGE]
        assert not (tmp_path / "spool").exists()  # no fsync on the way of a message that goes out


@pytest.mark.parametrize(
    ("script", "on_defer", "code"),
    [
        ({"rcpt": NO}, "spool", 550),
        ({"rcpt": NO}, "pass", 550),
        ({"mail": "550 5.7.1 not you"}, "spool", 550),
        ({"dot": "554 5.6.0 spam"}, "spool", 554),
        ({"rcpt": LATER}, "pass", 450),
        ({"dot": "451 4.3.0 disk"}, "pass", 451),
        ({"dot": "drop"}, "pass", 451),
        ({"banner": "421 busy"}, "pass", 451),
    ],
)
async def test_a_refusal_goes_back_in_its_class_and_nothing_is_kept(tmp_path, script, on_defer, code):
    async with house(tmp_path, script, on_defer=on_defer) as it:
        for to in ([], ["b@x.example", "c@x.example"]):
            reply = await it.take(submission(*to))
            assert reply.code == code
        if code in (550, 450, 554):
            assert str(reply) == next(iter(script.values()))
        assert not (tmp_path / "spool").exists()
        assert await it.store.events() == []


@pytest.mark.parametrize(
    "script",
    [{"rcpt": [LATER, None]}, {"dot": ["drop", None]}, {"connect": ["drop", None]}, {"data": ["451 no", None]}],
)
async def test_what_is_put_off_is_kept_then_sent_as_it_was(tmp_path, script):
    async with house(tmp_path, script, sends=True) as it:
        await it.store.record_sent(sent("b@x.example"))
        reply = await it.take(submission(options=("RET=HDRS",)))
        assert str(reply) == "250 2.0.0 Ok 00000000000000000001 queued"
        await it.kept(1)
        await it.empty()
        assert it.upstream.kept[0].content == b"X-Copy: 0\r\n" + MESSAGE
        assert "RET=HDRS" in it.upstream.kept[0].commands[0]
        assert it.tracker.rendered == {0: 1}
        await it.outcomes.flush()
        (copy,) = (await it.store.sent("00000000000000000001")).copies
        assert (copy.state, copy.reply.startswith("250 2.0.0 Ok: queued")) == ("done", True)


def sent(*recipients):
    return Sent("0" * 19 + "1", "default", "1@here.example", 1.0,
                copies=tuple(SentCopy(r, i, True) for i, r in enumerate(recipients)))  # fmt: skip


@pytest.mark.parametrize("together", [False, True], ids=["copies", "one copy"])
@pytest.mark.parametrize("on_defer", ["spool", "pass"])
async def test_some_accepted_is_a_250_with_the_rest_kept_and_reported(tmp_path, together, on_defer):
    script = by_recipient(no=NO)
    script["rcpt"] = script["rcpt2"] = lambda c, met=[]: (
        NO if "<no@" in c else LATER if "<later@" in c and not met.append(c) and len(met) == 1 else None
    )
    async with house(tmp_path, script, together=together, on_defer=on_defer, sends=True) as it:
        await it.store.record_sent(sent("yes@x.example", "no@x.example", "later@x.example"))
        reply = await it.take(submission("yes@x.example", "no@x.example", "later@x.example"))
        assert reply.code == 250
        await it.kept(3)  # yes, later, and the report
        await it.empty()
        to = [k.recipients for k in it.upstream.kept]
        assert sorted(map(tuple, to)) == [("a@here.example",), ("later@x.example",), ("yes@x.example",)]
        report = next(k for k in it.upstream.kept if k.recipients == ["a@here.example"])
        assert report.reverse_path == ""
        said = email.message_from_bytes(report.content, policy=email.policy.SMTP)
        assert said.get_content_type() == "multipart/report"
        assert "no@x.example" in str(said.get_payload(1).get_payload(1)["Final-Recipient"])
        assert "yes@x.example" not in report.content.decode()
        (event,) = await it.bounced()
        assert (event.recipient, event.recipient_index, event.data["code"]) == ("no@x.example", 1, 550)
        assert event.message_id == "00000000000000000001"


async def test_refused_and_put_off_without_an_acceptance(tmp_path):
    async with house(tmp_path, by_recipient(no=NO, later=LATER), on_defer="pass") as it:
        reply = await it.take(submission("no@x.example", "later@x.example"))
        assert str(reply) == LATER  # the client keeps it, and asks again
        assert not (tmp_path / "spool").exists()
    async with house(tmp_path, by_recipient(no=NO, later=LATER), on_defer="spool") as it:
        reply = await it.take(submission("no@x.example", "later@x.example"))
        assert reply.code == 250
        kinds = sorted((e.kind, e.recipients[0].address) for e in it.spooled())
        assert kinds == [("mail", "later@x.example"), ("report", "a@here.example")]


async def test_the_null_sender_is_never_told(tmp_path):
    async with house(tmp_path, by_recipient(no=NO)) as it:
        reply = await it.take(submission("yes@x.example", "no@x.example", sender=""))
        assert reply.code == 250
        assert it.spooled() == []


async def test_who_wants_no_report_gets_none(tmp_path):
    async with house(tmp_path, by_recipient(no=NO)) as it:
        never = Recipient("no@x.example", ("NOTIFY=NEVER",))
        assert (await it.take(submission("yes@x.example", never))).code == 250
        assert it.spooled() == []
        assert len(await it.bounced()) == 1  # the event is no mail


async def test_patience_ends_and_the_attempt_owns_what_was_kept(tmp_path):
    """The upstream never answers the dot: the next attempt is made when the first has ended, and not before."""
    async with house(
        tmp_path, {"dot": "hang"}, patience=0.05, sends=True, times=transaction.Times(9, 9, 9, 9, 3)
    ) as it:
        reply = await it.take(submission())
        assert str(reply) == "250 2.0.0 Ok 00000000000000000001 queued"
        (entry,) = it.spooled()
        assert entry.attempts == 0
        assert it.disk.claim(entry.entry_id) is None  # nobody else may send it now
        it.upstream.script.clear()  # from the next connection on it goes well
        await it.kept(1)
        await it.empty()
        assert len(set(it.contents())) == 1  # it may have had the first as well: then byte for byte the same


@pytest.mark.parametrize(("word", "left"), [(None, []), (NO, ["report"])])
async def test_patience_ends_and_the_upstream_says_yes_or_no_later(tmp_path, word, left):
    release = asyncio.Event()
    async with house(tmp_path, {"dot": word}, patience=0.05, gates={"dot": release}) as it:
        assert (await it.take(submission())).code == 250
        assert [e.kind for e in it.spooled()] == ["mail"]
        release.set()
        await until(lambda: [e.kind for e in it.spooled()] == left)
        assert len(it.upstream.kept) == 1 - len(left)
        if left:
            assert len(await it.bounced()) == 1


@pytest.mark.parametrize(
    ("word", "disk", "reply", "left"),
    [
        ("451 4.3.0 later", "takes it", 250, [("mail", 1)]),
        ("451 4.3.0 later", "is full", 452, []),
        (None, "takes it", 250, []),
        (None, "is full", 250, []),
        (NO, "takes it", 250, [("report", 0)]),
        (NO, "is full", 550, []),
    ],
)
async def test_the_upstreams_word_comes_while_the_spool_writes(tmp_path, monkeypatch, word, disk, reply, left):
    """There is one entry at any instant at which the program could be killed, and its outcome is the attempt's."""
    said, over = asyncio.Event(), threading.Event()
    async with house(tmp_path, {"dot": word}, patience=0.05, gates={"dot": said}) as it:
        put, send, loop = Disk.put, it.upstreams.send, asyncio.get_running_loop()
        there, heard = [], asyncio.Event()

        def putting(self, entry, content):
            claim = put(self, entry, content) if disk == "takes it" and entry.kind == "mail" else None
            there.append([e.kind for e in it.spooled()])
            if len(there) == 1:  # the hand-over: the upstream speaks before it is through
                loop.call_soon_threadsafe(said.set)
                assert over.wait(5)
            if claim is None and disk == "is full":
                raise spool.Unwritable("No space left on device")
            return claim or put(self, entry, content)

        async def sending(*args, **how):
            outcomes = await send(*args, **how)
            heard.set()
            return outcomes

        monkeypatch.setattr(Disk, "put", putting)
        it.upstreams.send = sending
        client = asyncio.create_task(it.take(submission()))
        async with asyncio.timeout(5):
            await heard.wait()
        for _ in range(10):  # more than the attempt needs to keep by itself what was put off, which it must not
            await asyncio.sleep(0)
        over.set()
        assert (await client).code == reply
        await until(lambda: [(e.kind, e.attempts) for e in it.spooled()] == left)
        assert there[0] == (["mail"] if disk == "takes it" else [])
        assert len(there) == (2 if left == [("report", 0)] else 1)
        assert len(it.upstream.taken) == (word is None)


async def test_pass_waits_for_the_upstreams_word(tmp_path):
    async with house(
        tmp_path, {"dot": ["hang"]}, on_defer="pass", patience=0.01, times=transaction.Times(2, 2, 2, 2, 0.2)
    ) as it:
        reply = await it.take(submission())
        assert reply.code == 451
        assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("point", ["connect", "mail", "dot"])
async def test_an_attempt_that_the_end_of_the_service_cuts_off_leaves_the_message_to_its_client(tmp_path, point):
    async with house(tmp_path, {point: "hang"}, on_defer="pass") as it:
        handle = await it.delivery.take(submission())
        await until(lambda: it.upstream.sessions)
        await it.delivery.close(0)
        assert (handle.reply.result().code, handle.reply.result().text[:5]) == (451, "4.3.0")
        assert it.spooled() == []


async def test_what_is_cut_off_after_its_client_was_answered_is_in_the_spool(tmp_path):
    async with house(tmp_path, {"dot": "hang"}, patience=0.05) as it:
        assert (await it.take(submission())).code == 250
        await it.delivery.close(0)
        (entry,) = it.spooled()
        assert (entry.kind, entry.attempts, entry.last_reply) == ("mail", 0, "")


async def test_a_stop_waits_for_what_is_under_way(tmp_path):
    gate = asyncio.Event()
    async with house(tmp_path, gates={"dot": gate}, on_defer="pass") as it:
        handle = await it.delivery.take(submission())
        await until(lambda: "DATA" in it.upstream.lines)
        stopping = asyncio.create_task(it.delivery.close(10))
        await asyncio.sleep(0)
        gate.set()
        await stopping
        assert handle.reply.result().code == 250


async def test_many_hung_attempts_fill_the_disk_and_not_the_memory(tmp_path):
    alive = Counter()

    class Copy(bytes):
        """Bytes whose end can be seen."""

        def __del__(self):
            alive["copies"] -= 1

    async with house(tmp_path, {"mail": "hang"}, patience=0.1, times=transaction.Times(60, 60, 60, 60, 60)) as it:
        render = it.tracker.render

        def rendering(index, content):
            alive["copies"] += 1
            made = render(index, content)
            return made.with_(trace=b"", unsigned=Copy(made.content()))

        it.tracker.render = rendering
        replies = await asyncio.gather(*(it.take(submission()) for _ in range(40)))
        assert {r.code for r in replies} == {250}
        assert len(it.spooled()) == 40
        under_way = [e for e in it.spooled() if it.disk.claim(e.entry_id) is None]
        assert len(under_way) == pool.MAX_CONNECTIONS
        gc.collect()
        assert alive["copies"] == pool.MAX_CONNECTIONS


async def test_at_most_four_copies_are_in_memory(tmp_path):
    async with house(tmp_path, {"mail": "hang"}, on_defer="pass", times=transaction.Times(60, 60, 60, 60, 60)) as it:
        task = asyncio.create_task(it.take(submission(*(f"r{i}@x.example" for i in range(20)))))
        await until(lambda: it.upstream.sessions >= carrying.AT_ONCE)
        assert sum(it.tracker.rendered.values()) == carrying.AT_ONCE
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_full_disk_is_a_452_and_recovers_by_itself(tmp_path):
    async with house(tmp_path, {"rcpt": [LATER, LATER, None]}) as it:
        (tmp_path / "spool").write_text("in the way")
        reply = await it.take(submission())
        assert reply.code == 452
        assert reply.text.startswith("4.3.1 ")
        (tmp_path / "spool").unlink()
        assert (await it.take(submission())).code == 250
        assert len(it.spooled()) == 1


async def test_a_report_that_can_not_be_kept_leaves_the_message_to_its_client(tmp_path):
    async with house(tmp_path, by_recipient(no=NO)) as it:
        (tmp_path / "spool").write_text("in the way")
        assert (await it.take(submission("yes@x.example", "no@x.example"))).code == 452


async def test_a_report_of_success_that_can_not_be_kept_is_no_reason_to_refuse(tmp_path, caplog):
    async with house(tmp_path, offers=NO_DSN) as it:
        (tmp_path / "spool").write_text("in the way")
        assert (await it.take(submission(Recipient("b@x.example", TELL)))).code == 250
        assert "not_told" in caplog.text


async def test_a_full_disk_while_an_attempt_is_slow_waits_for_the_attempt(tmp_path):
    async with house(tmp_path, {"dot": ["hang"]}, patience=0.05, times=transaction.Times(2, 2, 2, 2, 0.3)) as it:
        (tmp_path / "spool").write_text("in the way")
        reply = await it.take(submission())
        assert reply.code == 452


async def test_a_refusal_of_the_tracker_goes_back(tmp_path):
    async with house(tmp_path, refusal=Reply(550, "5.6.0 X-Track: what?")) as it:
        assert (await it.take(submission())).code == 550
        assert it.contents() == []


SUPPRESSED = Reply(550, "5.7.1 this recipient is suppressed")


@pytest.mark.parametrize("together", [False, True], ids=["copies", "one copy"])
async def test_a_recipient_that_the_tracker_refuses_is_reported_where_others_have_it(tmp_path, together):
    refused = {"no@x.example": SUPPRESSED}
    async with house(tmp_path, together=together, refused=refused, sends=True) as it:
        to = ("yes@x.example", "no@x.example", "too@x.example")
        await it.store.record_sent(sent(*to))
        assert (await it.take(submission(*to))).code == 250
        (event,) = await it.bounced()
        await it.empty()
        assert (event.recipient, event.recipient_index, event.data["code"]) == ("no@x.example", 1, 550)
        (report,) = [k for k in it.upstream.kept if k.reverse_path == ""]
        assert b"Final-Recipient: rfc822; no@x.example" in report.content
        assert b"X-Copy: 0" in report.content  # a copy as it left, without control headers
        assert {r for k in it.upstream.kept for r in k.recipients} == {
            "yes@x.example",
            "too@x.example",
            "a@here.example",
        }
        await it.outcomes.flush()
        states = {c.recipient: (c.state, c.reply) for c in (await it.store.sent("0" * 19 + "1")).copies}
        assert states["no@x.example"] == ("never", str(SUPPRESSED))
        assert states["too@x.example"][0] == "done"


@pytest.mark.parametrize(
    ("script", "on_defer", "code", "left"),
    [
        ({}, "spool", 250, ["report"]),
        ({"rcpt": NO}, "spool", 550, []),
        ({"rcpt": LATER}, "spool", 250, ["mail", "report"]),
        ({"rcpt": LATER}, "pass", 450, []),
        ({"dot": "hang"}, "spool", 250, ["mail", "report"]),
    ],
)
async def test_one_refused_recipient_counts_as_any_that_the_upstream_refuses(tmp_path, script, on_defer, code, left):
    refused = {"no@x.example": SUPPRESSED}
    async with house(tmp_path, script, refused=refused, on_defer=on_defer, patience=0.1) as it:
        assert (await it.take(submission("no@x.example", "b@x.example"))).code == code
        assert sorted(e.kind for e in it.spooled()) == left


async def test_all_refused_by_the_tracker_hear_the_first_refusal(tmp_path):
    refused = {"no@x.example": SUPPRESSED, "nor@x.example": Reply(550, "5.7.1 nor this")}
    async with house(tmp_path, refused=refused) as it:
        assert await it.take(submission("nor@x.example", "no@x.example")) == refused["nor@x.example"]
        assert it.upstream.sessions == 0
        assert it.spooled() == []


LONG = MESSAGE + (b"y" * 70 + b"\r\n") * 5000  # more than is read on the event loop


@pytest.mark.parametrize("content", [MESSAGE, LONG], ids=["short", "long"])
async def test_a_client_that_left_and_comes_back_joins_the_first_outcome(tmp_path, content):
    async with house(tmp_path, {"dot": None}) as it:
        held = asyncio.Event()
        track = it.tracker.track

        async def slow(what):
            await held.wait()
            return await track(what)

        it.tracker.track = slow
        first = await it.delivery.take(submission(content=content))
        first.client_gone()
        again = await it.delivery.take(submission(content=content))
        other = await it.delivery.take(submission("c@x.example", content=content))
        held.set()
        replies = [str(await handle.reply) for handle in (first, again, other)]
        assert replies[0] == replies[1] != replies[2]
        assert len(it.contents()) == 2
        assert str(await it.take(submission(content=content))) == replies[0]  # also after it has ended
        assert len(it.contents()) == 2


@asynccontextmanager
async def workers(it):
    """Two processes of one service, as far as they know of each other: their deliveries, and the supervisor's memory."""
    made = board.create(2)
    found = [board.Board(os.dup(made.fd), slot) for slot in range(2)]
    of = it.delivery.settings, it.tracker, it.upstreams, it.spool, it.outcomes
    yield *[delivery.Delivery(*of, service=each) for each in found], made
    for each in (*found, made):
        each.close()


@pytest.mark.parametrize("content", [MESSAGE, LONG], ids=["short", "long"])
async def test_a_client_that_comes_back_to_another_process_joins_the_first_outcome(tmp_path, content):
    think = asyncio.Event()
    async with house(tmp_path, gates={"dot": think}) as it, workers(it) as (one, two, _):
        first = await one.take(submission(content=content))
        first.client_gone()
        again = await two.take(submission(content=content))
        await until(lambda: it.upstream.sessions == 1)
        assert not again.reply.done()
        think.set()
        assert await again.reply == await first.reply
        assert (await first.reply).code == 250
        later = await two.take(submission(content=content))
        assert await later.reply == await first.reply
        assert len(it.contents()) == 1
        assert (await (await two.take(submission("c@x.example", content=content))).reply).code == 250
        assert len(it.contents()) == 2
        await one.close(1)
        await two.close(1)


@pytest.mark.parametrize(
    ("leaves", "delivered"), [((), 2), ((0,), 1), ((1,), 1), ((0, 1), 1)], ids=["nobody", "first", "second", "both"]
)
async def test_the_same_bytes_at_two_processes_are_one_message_where_a_client_was_gone(tmp_path, leaves, delivered):
    """It is gone as its process sees it only once that looks."""
    think = asyncio.Event()
    async with house(tmp_path, gates={"dot": think}) as it, workers(it) as (one, two, _):
        handles = [await each.take(submission()) for each in (one, two)]
        for place in leaves:
            handles[place].client_gone()
        await until(lambda: it.upstream.sessions == delivered)
        think.set()
        assert [(await handle.reply).code for handle in handles] == [250, 250]
        assert len(it.contents()) == delivered
        await one.close(1)
        await two.close(1)


async def test_a_message_is_read_after_its_second_try_was_answered(tmp_path):
    async with house(tmp_path) as it, workers(it) as (one, two, _):
        assert (await (await one.take(submission())).reply).code == 250
        late = await two.take(submission())
        late.client_gone()
        assert (await late.reply).code == 250
        assert len(it.contents()) == 1
        assert (await (await one.take(submission("c@x.example"))).reply).code == 250
        assert (await (await two.take(submission("c@x.example"))).reply).code == 250  # a client that is there
        assert len(it.contents()) == 3


async def test_a_process_that_does_not_look_is_not_waited_for_long(tmp_path):
    ticks = itertools.count()
    async with house(tmp_path) as it, workers(it) as (_, _, made):
        other, own = (board.Board(os.dup(made.fd), slot) for slot in range(2))
        asyncio.get_running_loop().remove_reader(other.answers().bell)
        key = resubmissions.key(submission()).hex()
        other.answers().begin(key, -1.0, 900.0)
        of = it.delivery.settings, it.tracker, it.upstreams, it.spool, it.outcomes
        two = delivery.Delivery(*of, service=own, clock=lambda: float(next(ticks)))
        assert (await (await two.take(submission())).reply).code == 250
        assert len(it.contents()) == 1


async def test_where_the_first_process_died_it_is_as_after_a_crash(tmp_path):
    begun, think = asyncio.Event(), asyncio.Event()
    async with house(tmp_path) as it, workers(it) as (one, two, supervisor):
        track = it.tracker.track

        async def never(what):
            begun.set()
            await think.wait()

        it.tracker.track = never
        (await one.take(submission())).client_gone()
        await begun.wait()
        it.tracker.track = track
        again = await two.take(submission())
        for _ in range(5):
            await asyncio.sleep(0)
        assert it.contents() == []
        supervisor.clear(0)  # it was killed
        assert (await again.reply).code == 250
        assert len(it.contents()) == 1
        await two.close(1)
        await one.close(0)


async def test_a_4xx_of_another_process_is_no_answer(tmp_path):
    async with house(tmp_path, {"rcpt": [LATER, None]}, on_defer="pass") as it, workers(it) as (one, two, _):
        first = await one.take(submission())
        first.client_gone()
        again = await two.take(submission())
        assert (await first.reply).code == 450
        assert (await again.reply).code == 250
        assert len(it.contents()) == 1


async def test_two_clients_that_stay_are_two_messages(tmp_path):
    async with house(tmp_path) as it:
        await asyncio.gather(*(it.take(submission()) for _ in range(2)))
        assert len(it.contents()) == 2


async def test_a_try_that_ended_in_4xx_is_no_answer_for_the_next(tmp_path):
    async with house(tmp_path, {"rcpt": [LATER, None]}, on_defer="pass") as it:
        first = await it.delivery.take(submission())
        first.client_gone()
        assert (await first.reply).code == 450
        assert (await it.take(submission())).code == 250


async def test_left_over_copies_of_a_user_wait_for_that_users_session(tmp_path):
    script = {"rcpt": [None, LATER, None]}
    async with house(tmp_path, script, users={"u": "pw"}, auth="upstream", sends=True) as it:
        mail = submission("b@x.example", "c@x.example", login="u", password="canary-77")
        it.upstream.users["u"] = "canary-77"
        assert (await it.take(mail)).code == 250
        await it.kept(1)
        (entry,) = it.spooled()
        assert entry.login == "u"
        for path in (tmp_path / "spool").iterdir():
            assert b"canary-77" not in path.read_bytes()
        for number in (2, 3):  # several turns of the queue, by what others get: nothing of that user's may go out
            others = msgspec.structs.replace(entry, entry_id=f"{number}", login="", next_at=0.0)
            await it.spool.put(others, MESSAGE)
            await it.kept(number)
        await it.upstreams.try_login("u", "canary-77")
        await it.kept(4)
        await it.empty()
        assert [k.login for k in it.upstream.kept] == ["u", "", "", "u"]


async def test_a_password_that_was_changed_meanwhile_gives_nothing_up(tmp_path):
    """What is left over waits for the login with the new one; a client that is still in its session hears 4xx."""
    script = {"rcpt": [None, LATER, None], "after": ["drop", None]}
    async with house(tmp_path, script, users={"u": "old"}, auth="upstream", sends=True) as it:
        await it.upstreams.try_login("u", "old")
        mail = submission("b@x.example", "c@x.example", login="u", password="old")
        it.upstream.users["u"] = "new"
        assert (await it.take(mail)).code == 250  # over the session that is open, which ends then
        await it.kept(1)
        await until(lambda: it.upstreams.credentials_of("u") is None)
        reply = await it.take(submission("d@x.example", login="u", password="old"))
        assert (reply.code, reply.text[:5]) == (451, "4.7.8")
        assert [e.waiting[0].address for e in it.spooled()] == ["c@x.example"]
        assert not await it.store.events(types=["message.bounce_detected"])
        await it.upstreams.try_login("u", "new")
        await it.empty()
        assert [r for k in it.upstream.kept for r in k.recipients] == ["b@x.example", "c@x.example"]


@pytest.mark.parametrize("refuses", [None, "550 5.7.1 no empty sender here"])
async def test_a_report_on_a_users_mail_goes_out_over_that_users_session(tmp_path, refuses):
    """An upstream that knows users only takes it from nobody else; and where it wants a sender, from the user."""
    script = by_recipient(c=NO) | {"mail": lambda command: refuses if "<>" in command else None}
    async with house(tmp_path, script, users={"u": "pw"}, auth="upstream", sends=True) as it:
        await it.upstreams.try_login("u", "pw")
        mail = submission("b@x.example", "c@x.example", login="u", password="pw")
        assert (await it.take(mail)).code == 250
        await it.kept(2)
        await it.empty()
        report = it.upstream.kept[1]
        assert (report.login, report.recipients) == ("u", ["a@here.example"])
        assert report.reverse_path == ("a@here.example" if refuses else "")
        assert b"c@x.example" in report.content


@pytest.mark.parametrize("seed", [1, 2])
async def test_300_messages_through_a_bad_upstream(tmp_path, seed):
    """Refusals for now, hang-ups before and after the dot, garbage, slowness: none is lost, and only what was cut after
    its dot arrives twice, byte for byte the same."""
    dice = random.Random(seed)
    often = {
        "connect": 0.02,
        "mail": 0.04,
        "rcpt": 0.1,
        "data": 0.05,
        "body": 0.02,
        "dot": 0.15,
        "dot_half": 0.03,
        "after": 0.05,
    }
    does = {"rcpt": [LATER, "421 4.7.0 enough"], "data": ["451 4.3.0 no"], "after": ["drop"], "dot_half": ["drop"]}
    script = {
        point: lambda _, p=point: (
            dice.choice(does.get(p, ["drop", "garbage", "reset"])) if dice.random() < often[p] else None
        )
        for point in often
    }
    async with house(tmp_path, script, sends=True, patience=0.05, times=transaction.Times(60, 60, 60, 60, 60)) as it:
        accepted = set()

        async def client(i):
            content = MESSAGE.replace(b"<1@", b"<%d@" % i)
            while (await it.take(submission(content=content))).code != 250:
                await asyncio.sleep(0.01)  # a client that comes again
            accepted.add(i)

        for first in range(0, 300, 50):
            await asyncio.gather(*(client(i) for i in range(first, first + 50)))
        script.clear()
        it.upstream.script.clear()
        await it.empty()
        of = [int(k.content.partition(b"Message-ID: <")[2].partition(b"@")[0]) for k in it.upstream.taken]
        assert set(of) == accepted == set(range(300))
        assert len(set(it.contents())) == 300
        unanswered = {k.content for k in it.upstream.taken if not k.answered}
        twice = {c for c in it.contents() if it.contents().count(c) > 1}
        assert twice <= unanswered
    assert not list((tmp_path / "spool").glob("*.msg"))


async def test_a_client_that_cannot_wait_and_sends_again_is_one_message(tmp_path, caplog):
    """Over real SMTP: the client hangs up while the upstream thinks, comes back with the same bytes, and hears 250."""
    caplog.set_level("INFO", logger="trackrelay.delivery")
    think = asyncio.Event()
    async with house(tmp_path, gates={"dot": think}) as it:
        front = await smtp.serve(config.Settings(smtp=config.Smtp(listen=("127.0.0.1:0",))), it.delivery.take)
        port = front.addresses[0][1]

        def client(seconds):
            with smtplib.SMTP("127.0.0.1", port, timeout=seconds) as session:
                return session.sendmail("a@here.example", ["b@x.example"], MESSAGE)

        with pytest.raises(smtplib.SMTPServerDisconnected):
            await asyncio.to_thread(client, 0.3)
        await until(lambda: not front.connections)
        again = asyncio.create_task(asyncio.to_thread(client, 10))
        await until(lambda: "joined" in caplog.text)
        think.set()
        assert await again == {}
        assert len(it.upstream.kept) == 1
        await front.drain(1)


# -- what was sent and delivered, for endpoints that ask ---------------------------------------------------------------

SENT_KINDS = ["message.sent", "message.delivered", "message.failed"]


async def asked(it, triggers, format="unosend"):
    await it.store.sync_endpoints([Endpoint("wh_1", "https://app.example/hooks", triggers, format=format)])


async def happened(it):
    await it.outcomes.flush()
    return [(e.type, e.recipient_index, e.recipient) for e in await it.store.events(types=SENT_KINDS)]


async def test_sent_delivered_and_failed_are_events_where_an_endpoint_asks(tmp_path):
    script = by_recipient(no=NO)
    async with house(tmp_path, script) as it:
        await asked(it, ("email.sent", "email.delivered", "email.failed", "email.opened"))
        await it.take(submission("b@x.example", "no@x.example", "c@x.example"))
        assert sorted(await happened(it)) == [
            ("message.delivered", 0, "b@x.example"), ("message.delivered", 2, "c@x.example"),
            ("message.failed", 1, "no@x.example"), ("message.sent", 0, ""),
        ]  # fmt: skip
        assert (await it.store.events(types=SENT_KINDS))[0].type == "message.sent"
        failed = (await it.store.events(types=["message.failed"]))[0]
        assert (failed.data["code"], failed.data["type"]) == (550, "mailbox_unavailable")
        notifications = await it.store.notifications()
        assert sorted(n.trigger for n in notifications) == ["email.delivered"] * 2 + ["email.failed", "email.sent"]
        shaped = {}
        for notification in notifications:
            history = await it.store.history(notification.event_id)
            endpoint = Endpoint("wh_1", "", (), format="unosend")
            body = payload.shape(history, endpoint, application_id="", attempt=1, trigger=notification.trigger)
            shaped[notification.trigger] = json.loads(body)
            assert contract.errors(shaped[notification.trigger]) == []
        assert shaped["email.failed"]["data"]["to"] == "no@x.example"
        assert shaped["email.failed"]["data"]["reason"] == "550 5.1.1 nobody"


@pytest.mark.parametrize(
    ("triggers", "format"),
    [((), ""), (("message.opened",), "nylas"), (("email.opened",), "unosend"), ((), "nylas")],
)
async def test_nobody_asks_so_nothing_is_written(tmp_path, triggers, format):
    async with house(tmp_path) as it:
        if format:
            await asked(it, triggers, format)
        for _ in range(3):
            await it.take(submission())
        assert await happened(it) == []


async def test_an_endpoint_that_asks_for_one_kind_gets_that(tmp_path):
    async with house(tmp_path) as it:
        await asked(it, ("email.delivered",))
        await it.take(submission())
        assert [kind for kind, _, _ in await happened(it)] == ["message.delivered"]


async def test_refused_by_all_is_failed_and_was_never_sent(tmp_path):
    async with house(tmp_path, {"mail": "550 5.7.1 no"}) as it:
        await asked(it, ())  # all of its format
        assert (await it.take(submission())).code == 550
        assert await happened(it) == [("message.failed", 0, "b@x.example")]


async def test_what_was_kept_is_sent_now_and_delivered_later_or_failed(tmp_path):
    async with house(tmp_path, {"rcpt": [LATER, "ok", LATER, NO]}, sends=True) as it:
        await asked(it, ())
        for _ in range(2):
            assert (await it.take(submission())).code == 250
            await it.empty()
        assert [kind for kind, _, _ in await happened(it)] == [
            "message.sent", "message.delivered", "message.sent", "message.failed",
        ]  # fmt: skip
        assert await it.bounced()


async def test_sent_is_told_where_all_was_handed_over(tmp_path):
    async with house(tmp_path, {"dot": "hang"}, patience=0.1, times=transaction.Times(2, 2, 2, 2, 30)) as it:
        await asked(it, ("email.sent",))
        assert (await it.take(submission())).code == 250
        await until(lambda: it.store.events(types=SENT_KINDS))


async def test_a_store_that_is_gone_delays_no_mail(tmp_path):
    async with house(tmp_path) as it:

        async def gone():
            raise stores.Unavailable("gone")

        there, it.store.endpoints = it.store.endpoints, gone
        assert (await it.take(submission())).code == 250
        it.store.endpoints = there
        await asked(it, ("email.sent",))
        await until(lambda: it.store.events(types=SENT_KINDS))
        assert [e.type for e in await it.store.events()] == ["message.sent"]


# -- RFC 3461: success is told -----------------------------------------------------------------------------------------

NO_DSN = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8")
TELL = ("NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Bob@x.example")


async def test_where_the_upstream_has_no_dsn_success_is_reported_as_relayed(tmp_path):
    async with house(tmp_path, offers=NO_DSN, together=True, sends=True) as it:
        to = (Recipient("b@x.example", TELL), Recipient("c@x.example"), Recipient("d@x.example", ("NOTIFY=FAILURE",)))
        reply = await it.take(submission(*to, options=("RET=FULL", "ENVID=QQ314")))
        assert reply.code == 250
        await it.kept(2)
        report = it.upstream.kept[1]
        assert (report.reverse_path, report.recipients) == ("", ["a@here.example"])
        parsed = email.message_from_bytes(report.content, policy=email.policy.default)
        whole, recipient = parsed.get_payload()[1].get_payload()
        assert whole["Original-Envelope-Id"] == "QQ314"
        assert recipient["Action"] == "relayed"
        assert recipient["Original-Recipient"] == "rfc822; Bob@x.example"
        assert recipient["Final-Recipient"] == "rfc822; b@x.example"
        assert recipient["Status"].startswith("2.")
        assert recipient["Remote-MTA"] == "dns; 127.0.0.1"
        assert parsed.get_payload()[2].get_content_type() == "text/rfc822-headers"  # RET is about failures
        assert await it.store.events(types=["message.delayed", "message.bounce_detected"]) == []


async def test_an_upstream_with_dsn_tells_itself(tmp_path):
    async with house(tmp_path, sends=True) as it:
        await it.take(submission(Recipient("b@x.example", TELL)))
        await it.empty()
        assert len(it.upstream.kept) == 1
        assert "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@x.example" in it.upstream.kept[0].commands[1]


async def test_success_after_a_wait_is_reported_too(tmp_path):
    async with house(tmp_path, {"rcpt": [LATER, "ok"]}, offers=NO_DSN, sends=True) as it:
        assert (await it.take(submission(Recipient("b@x.example", TELL)))).code == 250
        await it.kept(2)
        assert b"Action: relayed" in it.upstream.kept[1].content


# -- an upstream without 8BITMIME --------------------------------------------------------------------------------------

NO_EIGHT = ("PIPELINING", "SIZE 52428800", "DSN")
PAGE = (
    "From: ann@here.example\r\nTo: b@there.example\r\nDate: Mon, 05 Jan 2026 10:00:00 +0000\r\nX-Track: all\r\n"
    "DKIM-Signature: v=1; d=there.example; s=x; h=From; b=x\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "<p>Grüße <a href='https://x.example/ü'>ü</a></p>\r\n"
).encode()
SEALED = PAGE.replace(b"text/html", b"multipart/signed; boundary=b")
DECLARED = ("BODY=8BITMIME",)


@pytest.fixture(scope="module")
def key():
    made = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return dkim.load(made, "here.example", "t1")


def signed_by(content, key):
    zone = {b"t1._domainkey.here.example.": dkim.record(key).encode()}
    return dkimpy.DKIM(content).verify(dnsfunc=lambda name, timeout=5: zone.get(name))


@pytest.mark.parametrize("options", [DECLARED, ()], ids=["declared", "not declared"])
async def test_a_tracked_message_goes_in_7bit_and_signed(tmp_path, key, options):
    async with house(tmp_path, signers=[key], offers=NO_EIGHT) as it:
        assert (await it.take(submission(content=PAGE, options=options))).code == 250
        (kept,) = it.upstream.kept
        assert kept.content.isascii()
        assert kept.content.count(b"DKIM-Signature") == 1
        assert signed_by(kept.content, key)
        assert email.message_from_bytes(kept.content)["Content-Transfer-Encoding"] == "quoted-printable"
        assert "<p>Grüße <a href=" in email.message_from_bytes(kept.content, policy=email.policy.default).get_content()


@pytest.mark.parametrize("script", [{"rcpt": [LATER, None]}, {"dot": ["drop", None]}, {"connect": ["drop", None]}])
async def test_what_waits_is_kept_in_8bit_and_each_try_sends_the_same_in_7bit(tmp_path, key, script):
    async with house(tmp_path, script, signers=[key], offers=NO_EIGHT) as it:
        assert (await it.take(submission(content=PAGE, options=DECLARED))).code == 250
        (entry,) = it.spooled()
        stored = it.disk.content(entry.entry_id)
        assert not stored.isascii()
        assert signed_by(stored, key)
        running = asyncio.create_task(it.spool.run())
        await it.kept(1)
        await it.empty()
        running.cancel()
        assert len(set(it.contents())) == 1  # also where the first try was cut after the dot
        assert it.contents()[0].isascii()
        assert signed_by(it.contents()[0], key)


async def test_what_can_not_be_had_in_7bit_is_refused(tmp_path, key):
    async with house(tmp_path, signers=[key], offers=NO_EIGHT) as it:
        reply = await it.take(submission(content=SEALED, options=DECLARED))
        assert str(reply).startswith("554 5.6.3 The upstream does not offer 8BITMIME, and a signed")
        assert not (tmp_path / "spool").exists()


async def test_or_bounces_where_nobody_knew_yet_what_is_offered(tmp_path, key):
    script = {"connect": ["drop", None]}
    async with house(tmp_path, script, signers=[key], offers=NO_EIGHT, sends=True) as it:
        assert (await it.take(submission(content=SEALED, options=DECLARED))).code == 250
        await it.kept(1)
        (report,) = it.upstream.kept
        assert report.reverse_path == ""
        assert report.content.isascii()
        assert b"Status: 5.6.3" in report.content
        (event,) = await it.bounced()
        assert event.data["status"] == "5.6.3"


# -- the log -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({}, {"outcome": "sent", "reply": "250 2.0.0 Ok 00000000000000000001 Ok: queued as 000001"}),
        ({"mail": LATER}, {"outcome": "kept"}),
        ({"mail": NO}, {"outcome": "refused", "reply": NO}),
        (by_recipient(b=NO), {"outcome": "partly"}),
    ],
)
async def test_one_line_per_message(tmp_path, caplog, script, words):
    caplog.set_level("INFO", logger="trackrelay.delivery")
    async with house(tmp_path, script, together=True) as it:
        reply = await it.take(submission("b@x.example", "c@x.example"))
    (line,) = [r for r in caplog.records if r.getMessage() in ("accepted", "refused")]
    assert line.getMessage() == ("accepted" if reply.code == 250 else "refused")
    said = {k: str(v) for k, v in line.fields.items()}
    assert said | words == said
    assert (said["message_id"], said["sender"], said["recipients"]) == ("0" * 19 + "1", "a@here.example", "2")
    assert said["size"] == str(len(MESSAGE))
