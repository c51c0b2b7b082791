"""The spool: what is on disk survives, is tried again, is never sent by two at once, and ends in mail or a bounce."""

import argparse
import asyncio
import contextlib
import email
import errno
import gc
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from relay import config, files, outcomes, spool
from relay.commands import queue as command
from relay.core import queue
from relay.core.model import Keys, Sent, SentCopy
from relay.mailbox import reading, source
from relay.spool import requests, sending
from relay.spool.disk import Disk, Unwritable
from relay.store import Cursor, memory
from relay.upstream import transaction
from relay.upstream.failover import Upstreams
from tests.fakes import faults
from tests.fakes import upstream as fake
from tests.until import until

MESSAGE = b"From: a@here.example\r\nSubject: x\r\nMessage-ID: <1@here.example>\r\n\r\nHello\r\n"
TIMES = transaction.Times(connect=2, mail=2, data=2, block=2, dot=2)
FAST = (0.0, 0.05, 0.05)
SOON = spool.Times(again=0.1, write=0.1)
NO, LATER = "550 5.1.1 nobody", "450 4.2.1 greylisted"


def entry(name: str = "01", *to: str, **how: object) -> queue.Entry:
    waiting = tuple(queue.Waiting(r, index=i) for i, r in enumerate(to or ("b@x.example",)))
    now = time.time()
    return msgspec.structs.replace(queue.Entry(name, "m" + name, now, now, "a@here.example", waiting), **how)


@asynccontextmanager
async def spooling(
    folder: Path,
    server: fake.Upstream,
    *,
    run=True,
    schedule=FAST,
    delay_after=1e9,
    clock=time.time,
    times=spool.TIMES,
    **upstream,
):
    settings = config.Settings(
        state_dir=folder,
        smtp=config.Smtp(hostname="relay.test"),
        upstream=config.Upstream(url=server.url, tls="never", **upstream),
    )
    store = memory.Memory()
    await store.start()
    out = Upstreams(settings, hostname="relay.test", times=TIMES)
    how = {"schedule": schedule, "delay_after": delay_after, "clock": clock, "times": times}
    heard = outcomes.Outcomes(store, host=out.host)
    kept = spool.Spool(folder / "spool", settings, out, heard, **how)
    running = asyncio.create_task(kept.run()) if run else None
    try:
        yield kept, store
    finally:
        if running:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await heard.flush()
        await out.close()


def names(folder: Path) -> list[str]:
    """Of what waits there."""
    return list(Disk(folder / "spool").scan())


def free(folder: Path, name: str) -> bool:
    """Is nobody at it?"""
    claim = Disk(folder / "spool").claim(name)
    if claim:
        claim.release()
    return claim is not None


def waiting(folder: Path) -> list[queue.Entry]:
    disk = Disk(folder / "spool")
    return [entry for entry in map(disk.read, disk.scan()) if entry]


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    made = Disk(tmp_path / "spool")
    made.start()
    return made


def test_an_entry_is_kept_whole_and_belongs_to_one(disk):
    claim = disk.put(entry(), MESSAGE)
    assert disk.claim("01") is None
    claim.release()
    again = disk.claim("01")
    assert (again.content(), again.entry.recipients[0].address) == (MESSAGE, "b@x.example")
    again.save(msgspec.structs.replace(again.entry, attempts=3))
    again.release()
    assert disk.read("01").attempts == 3
    assert (disk.directory / "01.msg").stat().st_mode & 0o777 == 0o600
    assert disk.directory.stat().st_mode & 0o777 == 0o700
    last = disk.claim("01")
    last.remove()
    assert disk.claim("01") is None
    assert [p.name for p in disk.directory.iterdir()] == []


def test_what_is_held_is_no_entry_until_it_is_admitted_and_then_once(disk):
    for name in ("0a1", "0a2", "0b1"):
        disk.hold(entry(name), MESSAGE)
    assert list(disk.scan()) == []
    assert (disk.has("0a"), disk.has("0c")) == (True, False)
    assert disk.admit("0a") == ["0a1", "0a2"]
    claim = disk.claim("0a1")
    assert (claim.content(), claim.entry.entry_id) == (MESSAGE, "0a1")
    claim.remove()
    assert disk.admit("0a") == []
    assert list(disk.scan()) == ["0a2"]
    disk.drop("0b")
    assert disk.admit("0b") == []
    assert not disk.has("0b")


def test_what_cannot_be_read_is_set_aside_and_never_deleted(disk):
    for name, line in (("02", b"{not json}\n"), ("03", b""), ("04", queue.write(entry("05"))), ("06", b"\xff" * 300)):
        (disk.directory / f"{name}.msg").write_bytes(line + MESSAGE)
    disk.put(entry("07"), MESSAGE).release()
    (disk.directory / "07.now").write_bytes(b"half a li")
    assert [disk.read(name) for name in disk.scan()] == [None] * 5
    assert sorted(p.name for p in (disk.directory / "broken").iterdir()) == [
        "02.msg", "03.msg", "04.msg", "06.msg", "07.msg", "07.now",
    ]  # fmt: skip
    assert (disk.directory / "broken" / "02.msg").read_bytes().endswith(MESSAGE)
    assert list(disk.scan()) == []


def test_names_are_no_paths(disk):
    for name in ("../keys/tokens", "/etc/passwd", "", "01.msg", "broken/02"):
        assert disk.read(name) is None


def test_what_a_crash_left_unfinished_goes_what_is_being_written_stays(disk):
    old, young = disk.directory / "aa.tmp", disk.directory / "bb.tmp"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    (disk.directory / "cc.now").write_bytes(b"x")
    disk.start()
    assert [p.name for p in disk.directory.iterdir()] == ["bb.tmp"]


def test_a_disk_that_fails_at_any_step_keeps_all_or_nothing(disk, monkeypatch):
    for at in itertools.count(1):
        with monkeypatch.context() as patch:
            count = faults.at(patch, at, faults.full)
            claim = None
            with contextlib.suppress(Unwritable):
                claim = disk.put(entry(f"{at:02x}"), MESSAGE)
        if claim is None:
            assert list(disk.directory.iterdir()) == []
            continue
        assert count[0] < at  # a whole run without a fault
        with monkeypatch.context() as patch:
            faults.at(patch, 2, faults.full)
            with pytest.raises(Unwritable):
                claim.save(msgspec.structs.replace(claim.entry, attempts=9))
        assert disk.read(f"{at:02x}").attempts == 0
        break


def test_what_was_refused_and_can_not_be_taken_back_is_sent_by_nobody(disk, monkeypatch):
    def failing(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", failing)
        patch.setattr(Path, "unlink", lambda *_, **how: failing())
        with pytest.raises(Unwritable):
            disk.put(entry("01"), MESSAGE)
        disk.take_back()
    assert list(disk.scan()) == ["01"]
    other = Disk(disk.directory)
    assert other.claim("01") is None
    disk.take_back()
    assert list(disk.directory.iterdir()) == []


def test_a_disk_that_takes_and_gives_nothing_says_so_each_time(disk, monkeypatch):
    def broken(*_, **how):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", broken)
        patch.setattr(os, "unlink", broken)
        for name in ("01", "02"):
            with pytest.raises(Unwritable):
                disk.put(entry(name), MESSAGE)
    disk.put(entry("03"), MESSAGE).release()
    assert list(disk.scan()) == ["03"]


def test_a_process_that_dies_at_any_step_leaves_a_whole_entry_or_none(disk, monkeypatch):
    for at in itertools.count(1):
        child = os.fork()
        if child == 0:
            faults.at(monkeypatch, at, lambda: os.kill(os.getpid(), signal.SIGKILL))
            claim = disk.put(entry("0a"), MESSAGE)
            claim.save(msgspec.structs.replace(claim.entry, attempts=1))
            claim.remove()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found = disk.read("0a")
        if found:
            assert disk.content("0a") == MESSAGE
            disk.claim("0a").remove()  # and nobody holds it
        assert not (disk.directory / "broken").exists()
        for path in disk.directory.glob("*.tmp"):
            path.unlink()
        if os.WIFEXITED(status):
            assert found is None
            assert at > 8
            break


# -- attempts ----------------------------------------------------------------------------------------------------------


async def test_only_the_missing_recipients_are_tried_again(tmp_path):
    met: list[str] = []

    def says(line: str) -> str | None:
        met.append(line.split("<")[1].split("@")[0])
        return LATER if met.count("later") == 1 and met[-1] == "later" else None

    async with fake.Upstream({"rcpt": says, "rcpt2": says}) as server, spooling(tmp_path, server) as (kept, _):
        await kept.put(entry("01", "one@x.example", "later@x.example", "two@y.example"), MESSAGE)
        await until(lambda: len(server.kept) == 2 and not names(tmp_path))
        assert met == ["one", "later", "two", "later"]
        assert [k.content for k in server.kept] == [MESSAGE] * 2


async def test_a_restart_picks_everything_up(tmp_path):
    async with fake.Upstream() as server:
        async with spooling(tmp_path, server, run=False) as (kept, _):
            for i in range(30):
                await kept.put(entry(f"{i:02x}", f"r{i}@x.example"), MESSAGE)
            assert server.taken == []
        async with spooling(tmp_path, server) as (kept, _):
            await until(lambda: not names(tmp_path))
        assert sorted(k.recipients[0] for k in server.kept) == sorted(f"r{i}@x.example" for i in range(30))


async def test_two_that_run_never_send_the_same(tmp_path):
    async with fake.Upstream() as server:
        async with spooling(tmp_path, server, run=False) as (kept, _):
            for i in range(60):
                await kept.put(entry(f"{i:02x}", f"r@x{i % 7}.example"), MESSAGE)
        async with spooling(tmp_path, server), spooling(tmp_path, server):
            await until(lambda: not names(tmp_path))
        assert len(server.kept) == 60


async def test_what_another_process_puts_is_found(tmp_path):
    async with fake.Upstream() as server, spooling(tmp_path, server) as (own, _):
        await own.put(entry("00"), MESSAGE)
        await until(lambda: len(server.kept) == 1 and not names(tmp_path))  # it runs, and has nothing to do
        async with spooling(tmp_path, server, run=False) as (other, _):
            await other.put(entry("01"), MESSAGE)
        await until(lambda: len(server.kept) == 2 and not names(tmp_path))


async def test_a_process_that_sends_nothing_remembers_nothing(tmp_path):
    """What it keeps is another's to send; it would hold all of it in memory for good."""
    async with fake.Upstream() as server, spooling(tmp_path, server, run=False) as (kept, _):
        for i in range(20):
            await kept.put(entry(f"{i:02x}"), MESSAGE)
        gc.collect()
        assert sum(isinstance(found, queue.Entry) for found in gc.get_objects()) < 3  # the thread's last one
        assert len(names(tmp_path)) == 20


async def test_a_destination_has_few_attempts_at_once(tmp_path):
    async with fake.Upstream({"mail": "hang"}) as server, spooling(tmp_path, server) as (kept, _):
        for i in range(10):
            await kept.put(entry(f"0{i}", f"r{i}@slow.example"), MESSAGE)
        for i in range(2):
            await kept.put(entry(f"1{i}", f"r{i}@other.example"), MESSAGE)
        await until(lambda: server.sessions >= sending.PER_DOMAIN + 2)
        held = {name for name in names(tmp_path) if not free(tmp_path, name)}
        assert sorted(name[0] for name in held) == ["0"] * sending.PER_DOMAIN + ["1"] * 2
        server.script.clear()


async def test_a_delay_is_told_once_and_the_end_is_a_bounce(tmp_path):
    script = {"rcpt": lambda c: LATER if "<b@" in c else None}
    async with (
        fake.Upstream(script) as server,
        spooling(tmp_path, server, delay_after=0.1, queue_lifetime=0.6) as (kept, store),
    ):
        await kept.put(entry(), MESSAGE)
        await until(lambda: len(server.kept) == 2 and not names(tmp_path))
        reports = [email.message_from_bytes(k.content) for k in server.kept]
        actions = [r.get_payload(1).get_payload(1)["Action"] for r in reports]
        assert actions == ["delayed", "failed"]
        assert [k.reverse_path for k in server.kept] == ["", ""]
        assert {k.recipients[0] for k in server.kept} == {"a@here.example"}
        assert reports[1].get_payload(1).get_payload(1)["Status"] == "4.4.7"
        (event,) = await store.events(types=["message.bounce_detected"])
        assert (event.message_id, event.recipient, event.data["code"]) == ("m01", "b@x.example", 450)
        assert event.data["verified"] is True
        assert len(await store.events(types=["message.delayed"])) == 1


class Clock:
    """Real time, and as much more as a test says."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


async def test_a_clock_set_back_makes_nothing_wait_for_longer(tmp_path):
    clock, answers = Clock(), [LATER]
    clock.ahead = 3600.0
    script = {"rcpt": lambda c: answers[0] if answers else None}
    async with (
        fake.Upstream(script) as server,
        spooling(tmp_path, server, clock=clock, schedule=(0.0, 1.0, 5000.0)) as (kept, _),
    ):
        await kept.put(msgspec.structs.replace(entry(), next_at=clock()), MESSAGE)
        await until(lambda: any(e.attempts == 1 for e in waiting(tmp_path)))
        answers.clear()
        clock.ahead = 0.0
        await until(lambda: len(server.kept) == 1 and not names(tmp_path))


async def test_a_clock_set_forward_gives_nothing_up_before_all_tries(tmp_path):
    """Ten days on, and the upstream still says later: tried at once, kept, and delivered when it takes it."""
    clock, answers = Clock(), [LATER]
    script = {"rcpt": lambda c: answers[0] if answers else None}
    async with (
        fake.Upstream(script) as server,
        spooling(tmp_path, server, clock=clock, schedule=(0.0, 60.0, 60.0, 60.0)) as (kept, store),
    ):
        await kept.put(entry(), MESSAGE)
        for number in (1, 2, 3):
            await until(lambda: any(e.attempts == number for e in waiting(tmp_path)))  # noqa: B023
            if number == 3:
                answers.clear()
            clock.ahead += 10 * 86_400.0
        await until(lambda: not names(tmp_path))
        assert [k.reverse_path for k in server.kept] == ["a@here.example"]  # the message, and no report
        assert not await store.events(types=["message.bounce_detected"])


async def test_a_refusal_later_on_is_a_bounce_and_its_report_never_bounces(tmp_path):
    async with fake.Upstream({"rcpt": NO}) as server, spooling(tmp_path, server) as (kept, store):
        await kept.put(entry(), MESSAGE)
        await until(lambda: not names(tmp_path))
        assert sum(line.startswith("MAIL FROM:<> ") for line in server.lines) == 1
        assert len(await store.events(types=["message.bounce_detected"])) == 1


async def test_a_report_goes_out_from_bounce_from_where_the_null_sender_is_refused(tmp_path):
    script = {
        "mail": lambda c: "550 5.7.1 who are you" if "<>" in c else None,
        "rcpt": lambda c: NO if "<b@" in c else None,
    }
    async with (
        fake.Upstream(script) as server,
        spooling(tmp_path, server, bounce_from="bounces@here.example") as (kept, _),
    ):
        await kept.put(entry(), MESSAGE)
        await until(lambda: len(server.kept) == 1 and not names(tmp_path))
        assert server.kept[0].reverse_path == "bounces@here.example"
        assert b"From: Mail Delivery System <bounces@here.example>" in server.kept[0].content


async def test_a_full_disk_at_settling_repeats_nobody_who_has_it(tmp_path, monkeypatch):
    script = {"rcpt": lambda c: LATER if "<late@" in c else None, "rcpt2": lambda c: LATER if "<late@" in c else None}
    async with fake.Upstream(script) as server, spooling(tmp_path, server) as (kept, _):
        real, failures = Disk.replace, []

        def once(self, what):
            if not failures:
                failures.append(1)
                raise Unwritable("No space left on device")
            return real(self, what)

        monkeypatch.setattr(Disk, "replace", once)
        await kept.put(entry("01", "has@x.example", "late@x.example"), MESSAGE)
        await until(lambda: waiting(tmp_path)[0].recipients[0].state == "done")
        server.script.clear()
        await until(lambda: not names(tmp_path))
        assert [k.recipients for k in server.kept] == [["has@x.example"], ["late@x.example"]]


@pytest.mark.parametrize("steps", [("unlink",), ("write", "unlink"), ("fsync",), ("open", "unlink")], ids=" ".join)
async def test_a_disk_that_takes_nothing_for_a_while_repeats_nobody(tmp_path, monkeypatch, caplog, steps):
    """The outcome can't be written down, nor the entry taken away; who asks to try it now does not get it either."""
    async with fake.Upstream() as server, spooling(tmp_path, server, run=False, times=SOON) as (kept, _):
        for name in ("01", "02"):
            await kept.put(entry(name), MESSAGE)
        here = threading.get_ident()

        def broken(real):
            def call(*args, **how):  # for the spool, which writes in threads, and not for who asks
                if threading.get_ident() != here and server.kept:
                    raise OSError(errno.EIO, "Input/output error")
                return real(*args, **how)

            return call

        with monkeypatch.context() as patch:
            for step in steps:
                patch.setattr(os, step, broken(getattr(os, step)))
            running = asyncio.create_task(kept.run())
            await until(lambda: "not_settled" in caplog.text)
            other = Disk(tmp_path / "spool")
            for _ in range(20):
                for name in other.scan():
                    if claim := other.claim(name):
                        claim.save(msgspec.structs.replace(claim.entry, next_at=time.time()))
                        claim.release()
                other.wake()
                await asyncio.sleep(0.02)  # another process has its turn for a while
        await until(lambda: not names(tmp_path))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(server.kept) == 2
        assert "attempt_failed" not in caplog.text


async def test_a_failure_is_told_once_where_the_entry_can_not_be_removed(tmp_path, monkeypatch):
    async with (
        fake.Upstream({"rcpt": lambda c: NO if "<b@" in c else None}) as server,
        spooling(tmp_path, server, times=SOON) as (kept, _),
    ):
        real, failing = os.unlink, []

        def unlink(path):
            if str(path).endswith("/01.msg") and len(failing) < 5:
                failing.append(path)
                raise OSError(errno.EIO, "Input/output error")
            real(path)

        monkeypatch.setattr(os, "unlink", unlink)
        await kept.put(entry("01"), MESSAGE)
        await until(lambda: server.kept)
        await until(lambda: not names(tmp_path))
        assert [k.recipients for k in server.kept] == [["a@here.example"]]
        assert sum(line.startswith("RCPT TO:<b@") for line in server.lines) == 1


async def test_an_entry_that_cannot_be_opened_waits_and_holds_up_no_other(tmp_path, monkeypatch, caplog):
    async with fake.Upstream() as server, spooling(tmp_path, server, times=SOON) as (kept, _):
        real, failures, over = Disk.claim, [], []

        def claim(self, name):
            if name == "01" and not over:
                failures.append(name)
                raise OSError(errno.EMFILE, "Too many open files")
            return real(self, name)

        monkeypatch.setattr(Disk, "claim", claim)
        for name in ("01", "02"):
            await kept.put(entry(name), MESSAGE)
        await until(lambda: names(tmp_path) == ["01"] and len(failures) > 3)
        over.append(True)
        await until(lambda: not names(tmp_path))
        assert len(server.kept) == 2
    (line,) = [r for r in caplog.records if r.levelname == "ERROR"]  # not one per try
    assert line.fields == {"entry": "01", "reason": "[Errno 24] Too many open files"}


async def test_a_bounce_that_the_senders_mailbox_shows_as_well_is_one_event(tmp_path):
    async with (
        fake.Upstream({"rcpt": lambda c: NO if "<b@" in c else None}) as server,
        spooling(tmp_path, server) as (kept, store),
    ):
        await store.record_sent(
            Sent("m1", "default", "1@here.example", 1.0, copies=(SentCopy("b@x.example", 0, True),))
        )
        await kept.put(entry(message_id="m1"), MESSAGE)
        await until(lambda: len(server.kept) == 1 and not names(tmp_path))
        (told,) = await store.events()
        raw = server.kept[0].content

        async def whole() -> bytes:
            return raw

        keys = Keys(0, {0: b"k" * 32})
        reader = reading.Reader(config.Grant("default"), config.Mailbox(), store, lambda: keys)
        (seen,) = await reader.events(source.Fetched(raw, Cursor("x"), time.time(), whole), time.time())
        assert (seen.event_id, seen.recipient, seen.data["code"]) == (told.event_id, told.recipient, told.data["code"])
        assert await store.append(seen) is None


# -- kill -9 -----------------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, sys
from pathlib import Path
from relay import config, delivery, outcomes, spool
from relay.upstream.failover import Upstreams
from relay.core.model import Recipient, Submission
from relay.store import Cursor, memory
from tests.fakes import copies

async def main(folder, url, patience):
    settings = config.Settings(state_dir=Path(folder), smtp=config.Smtp(hostname="relay.test"),
                               upstream=config.Upstream(url=url, tls="never", patience=float(patience)))
    store = memory.Memory()
    out = Upstreams(settings, hostname="relay.test")
    heard = outcomes.Outcomes(store)
    kept = spool.Spool(Path(folder) / "spool", settings, out, heard, schedule=(0.0, 0.02, 0.02))
    delivering = delivery.Delivery(settings, copies.FixedTracker(), out, kept, heard)
    asyncio.create_task(kept.run())
    async def one(i):
        content = b"Message-ID: <%d@x>\\r\\n\\r\\nHello\\r\\n" % i
        handle = await delivering.take(Submission("a@x.example", (Recipient("b@x.example"),), content))
        reply = await handle.reply
        if reply.code == 250:
            print(i, flush=True)
    await asyncio.gather(*(one(i) for i in range(50)))
    await asyncio.sleep(60)  # until it is killed

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("after", [5, 25, 45])
async def test_kill_9_loses_nothing_that_was_accepted(tmp_path, after):
    """50 messages in flight towards an upstream that puts off, drops after the dot and is slow; SIGKILL once `after`
    of them were accepted; then a restart. Accepted is a subset of delivered."""
    turn = itertools.count()
    script = {
        "dot": lambda _: (LATER, "drop", None, "451 4.3.0 busy")[next(turn) % 4],
        "rcpt": lambda _: LATER if next(turn) % 3 == 0 else None,
    }
    async with fake.Upstream(script) as server:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, str(tmp_path), server.url, "0.03",
            stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        accepted = []
        async with asyncio.timeout(30):
            while len(accepted) < after:
                accepted.append(int(await child.stdout.readline()))
        child.kill()
        accepted += [int(line) for line in (await child.stdout.read()).split()]
        await child.wait()
        before = len(server.taken)
        server.script.clear()
        async with spooling(tmp_path, server):
            waiting = len(names(tmp_path))
            await until(lambda: not names(tmp_path), 20)
        delivered = [int(k.content.partition(b"<")[2].partition(b"@")[0]) for k in server.taken]
        assert set(accepted) <= set(delivered)
        assert len(delivered) - before == waiting  # each entry went out once
        assert not (tmp_path / "spool" / "broken").exists()


# -- the command -------------------------------------------------------------------------------------------------------


def asked(folder: Path, capsys: pytest.CaptureFixture[str], *words: str, **defaults: int) -> tuple[int, str, str]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config")
    command.arguments(parser)
    parser.set_defaults(**defaults)
    path = folder / "relay.toml"
    path.write_text('state_dir = "."\n[upstream]\nurl = "smtp://127.0.0.1:1"\n')
    code = command.run(parser.parse_args(["--config", str(path), *words]))
    said = capsys.readouterr()
    return code, said.out, said.err


async def test_the_queue_command_while_the_service_runs(tmp_path, capsys):
    async with (
        fake.Upstream({"rcpt": LATER}) as server,
        spooling(tmp_path, server, schedule=(0.0, 3600.0)) as (kept, _),
    ):
        await kept.put(entry("0a"), MESSAGE)
        await kept.put(entry("0b", "c\x1b[31m@y.example", next_at=time.time() + 3600), MESSAGE)
        await until(lambda: waiting(tmp_path)[0].attempts == 1 and free(tmp_path, "0a"))
        code, out, _ = asked(tmp_path, capsys, "list")
        assert code == 0
        lines = out.splitlines()
        assert len(lines) == 3
        assert "a@here.example -> b@x.example: 450 4.2.1 greylisted" in lines[1]
        assert re.search(r" (5[4-9]|6[0-6])m ", lines[1])  # an hour, moved by up to a tenth
        assert "\x1b" not in out
        code, out, _ = asked(tmp_path, capsys, "list", "--json")
        assert [msgspec.json.decode(line)["entry_id"] for line in out.splitlines()] == ["0a", "0b"]
        code, out, _ = asked(tmp_path, capsys, "show", "0b")
        assert "Subject: x" in out
        assert "c\\x1b[31m@y.example" in out
        assert "\x1b" not in out
        assert asked(tmp_path, capsys, "show", "ff")[0] == 1
        assert asked(tmp_path, capsys, "show", "../../etc/passwd")[0] == 1
        dropped = await asyncio.to_thread(asked, tmp_path, capsys, "drop", "0b")
        assert dropped[:2] == (0, "1 entry dropped\n")
        assert asked(tmp_path, capsys, "retry")[0] == 2
        assert asked(tmp_path, capsys, "retry", "ff")[0] == 1
        server.script.clear()
        assert asked(tmp_path, capsys, "retry", "0a")[0] == 0
        await until(lambda: len(server.kept) == 1 and not names(tmp_path))
        assert asked(tmp_path, capsys, "list")[1] == "nothing waits\n"


async def test_the_queue_command_leaves_what_is_being_sent(tmp_path, capsys):
    async with fake.Upstream({"dot": ["hang", None]}) as server, spooling(tmp_path, server) as (kept, _):
        await kept.put(entry("0a"), MESSAGE)
        await until(lambda: server.raw.endswith(b".\r\n"))
        code, _, err = asked(tmp_path, capsys, "drop", "0a")
        assert (code, "being sent" in err) == (1, True)
        assert names(tmp_path) == ["0a"]


def test_the_queue_command_while_no_service_runs(tmp_path, capsys):
    disk = Disk(tmp_path / "spool")
    assert asked(tmp_path, capsys, "list")[1] == "nothing waits\n"
    disk.start()
    for i in range(3):
        disk.put(entry(f"0{i}", next_at=time.time() + 3600), MESSAGE).release()
    assert asked(tmp_path, capsys, "retry", "--all")[:2] == (0, "3 entries to be tried now\n")
    assert all(disk.read(f"0{i}").next_at <= time.time() for i in range(3))


def test_list_and_show_agree_on_the_size(tmp_path, capsys):
    """It is the message's, without the envelope that is kept with it."""
    disk = Disk(tmp_path / "spool")
    disk.start()
    disk.put(entry("0a", *(f"r{i}@x.example" for i in range(50))), MESSAGE).release()
    listed = asked(tmp_path, capsys, "list")[1].splitlines()[1].split()[2]
    as_json = msgspec.json.decode(asked(tmp_path, capsys, "list", "--json")[1])["size"]
    shown = re.search(r"(\d+) octets", asked(tmp_path, capsys, "show", "0a")[1])[1]
    content = asked_content(tmp_path, "0a")
    assert {int(listed), as_json, int(shown), len(content)} == {len(MESSAGE)}


def asked_content(folder: Path, name: str) -> bytes:
    path = folder / "relay.toml"
    words = [sys.executable, "-m", "relay", "queue", "show", name, "--content", "--config", str(path)]
    return subprocess.run(words, capture_output=True, check=True).stdout


async def recorded(store, entry: queue.Entry) -> None:
    copies = tuple(SentCopy(r.address, r.index, True) for r in entry.recipients)
    await store.record_sent(Sent(entry.message_id, "default", f"{entry.message_id}@x", time.time(), copies=copies))


async def given_up(store, message_id: str) -> tuple[SentCopy, ...]:
    """The message's copies, once the first one is."""

    async def look() -> tuple[SentCopy, ...] | None:
        copies = (await store.sent(message_id)).copies
        return copies if copies[0].state == "never" else None

    return await until(look)


async def test_what_is_dropped_is_logged_and_the_message_says_given_up(tmp_path, capsys, caplog):
    """By whoever sends, once, whatever the command could write itself."""
    some = entry("0a", "b@x.example", "c@x.example")
    async with (
        fake.Upstream({"rcpt": lambda c: LATER if "<b@" in c else None}) as server,
        spooling(tmp_path, server, schedule=(0.0, 3600.0)) as (kept, store),
    ):
        await recorded(store, some)
        await kept.put(some, MESSAGE)
        await until(lambda: waiting(tmp_path)[0].attempts == 1 and free(tmp_path, "0a"))
        assert (await asyncio.to_thread(asked, tmp_path, capsys, "drop", "0a"))[0] == 0
        await until(lambda: "dropped" in [record.message for record in caplog.records])
        (line,) = [record.__dict__["fields"] for record in caplog.records if record.message == "dropped"]
        assert (line["entry"], line["message_id"], line["recipients"]) == ("0a", "m0a", "b@x.example")
        assert line["by"]
        assert [(copy.state, copy.reply) for copy in await given_up(store, "m0a")] == [
            ("never", "given up: dropped from the queue; the last reply was 450 4.2.1 greylisted"),
            ("done", "250 2.0.0 Ok: queued as 000001"),
        ]
    assert list((tmp_path / "spool").glob("*.dropped")) == []
    said = subprocess.run(
        [sys.executable, "-m", "relay", "queue", "drop", "0a", "--config", str(tmp_path / "relay.toml")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (said.returncode, said.stderr) == (1, "trackrelay queue: 0a: no such entry\n")


def test_a_drop_while_no_service_runs_is_told_by_the_next_that_does(tmp_path, capsys):
    disk = Disk(tmp_path / "spool")
    disk.start()
    disk.put(entry("0a"), MESSAGE).release()
    (tmp_path / "trackrelay.db").write_bytes(b"no database, and long enough to see that" * 100)
    code, out, err = asked(tmp_path, capsys, "drop", "0a")
    assert (code, out) == (0, "1 entry dropped\n")
    assert err.startswith(
        "trackrelay queue: the record does not say so yet, the service will write it: trackrelay.db: "
    )
    (note,) = disk.notes()
    assert (note.entry.entry_id, disk.notes()) == ("0a", [])


def test_a_full_disk_still_lets_an_entry_be_dropped(tmp_path, monkeypatch):
    disk = Disk(tmp_path / "spool")
    disk.start()
    disk.put(entry("0a"), MESSAGE).release()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    assert isinstance(requests.drop(disk, "0a", "root"), queue.Entry)
    assert list(disk.scan()) == []


async def test_what_nobody_tries_any_more_is_recorded_as_given_up(tmp_path):
    """Not as something that will be tried later: it was until its time was over."""
    some = entry("01", "b@x.example", "c@x.example")
    async with (
        fake.Upstream({"rcpt": LATER, "rcpt2": NO}) as server,
        spooling(tmp_path, server, queue_lifetime=0.3) as (kept, store),
    ):
        await recorded(store, some)
        await kept.put(some, MESSAGE)
        first, second = await given_up(store, "m01")
        assert first.reply == "given up: not taken within 0 minutes; the last reply was 450 4.2.1 greylisted"
        assert (second.state, second.reply) == ("never", NO)


def test_the_queue_command_on_a_terminal(tmp_path, capsys, monkeypatch):
    """Progress of a long list stands in one line, and is gone when the result comes; what waits for a login says so."""
    disk = Disk(tmp_path / "spool")
    disk.start()
    for i in range(5):
        disk.put(msgspec.structs.replace(entry(f"0{i}"), login="jane"), MESSAGE).release()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    code, out, err = asked(tmp_path, capsys, "retry", "--all", step=2)
    assert (code, out, err) == (0, "5 entries to be tried now\n", "\r2\r4\r")
    assert "  login  a@here.example -> " in asked(tmp_path, capsys, "list")[1]
    assert "the next now once jane has logged in" in asked(tmp_path, capsys, "show", "00")[1]
