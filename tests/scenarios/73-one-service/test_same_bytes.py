"""A client that left unanswered and comes back with the same bytes, to another process of the service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import peers
from tests.fakes import certificates
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually


@contextlib.contextmanager
def thinking(folder: Path) -> Iterator[tuple[service.Service, Upstream, Callable[[bool], None]]]:
    """Three processes, an upstream, and what has it say nothing to the last dot (True) or go on (False)."""
    with hostile.elsewhere() as run:

        async def made() -> tuple[Upstream, asyncio.Event]:
            event = asyncio.Event()
            return Upstream(gates={"dot": event}), event

        upstream, gate = run(made())

        async def turn(think: bool) -> None:
            gate.clear() if think else gate.set()

        run(upstream.start(peers.free_port()))
        certificate, key = certificates.make(folder)
        smtp = f'workers = 3\ncertificate = "{certificate}"\nkey = "{key}"'
        ports = service.settings(folder, upstream=upstream.port, smtp=smtp, out='patience = "60s"')
        with service.running(folder, ports) as relay:
            yield relay, upstream, lambda think: run(turn(think))
        run(upstream.stop())


def by(relay: service.Service, event: str) -> list[str]:
    """Which process wrote each such line."""
    return re.findall(rf" delivery {event} worker=(\S+)", relay.log)


def leave(relay: service.Service, letter: bytes) -> None:
    """Sends it, and is gone before the answer; the process has noticed."""
    with hostile.Smtp(relay.smtp) as client:
        client.envelope()
        client.send(letter + b".\r\n")
        eventually(lambda: hostile.metrics(relay.admin)["trackrelay_smtp_in_flight_bytes"])
    eventually(lambda: not hostile.metrics(relay.admin)["trackrelay_smtp_connections"])


def test_it_is_delivered_once_and_the_reply_is_the_first_ones(tmp_path: Path) -> None:
    letter = hostile.letter()
    with thinking(tmp_path) as (relay, upstream, think):
        think(True)
        leave(relay, letter)
        with contextlib.ExitStack() as stack:
            back = [stack.enter_context(hostile.Smtp(relay.smtp)) for _ in range(6)]
            for client in back:
                client.envelope()
                client.send(letter + b".\r\n")
            think(False)
            replies = {client.reply() for client in back}
        (first,) = eventually(lambda: by(relay, "accepted"))
        for _ in range(100):
            with hostile.Smtp(relay.smtp) as client:
                replies.add(client.mail(letter))
            if set(by(relay, "joined")) > {first}:
                break
        joined = eventually(lambda: set(by(relay, "joined")) > {first} and set(by(relay, "joined")))
        assert joined <= {"smtp-1", "smtp-2", "smtp-3"}
        (reply,) = replies
        assert reply.startswith("250")
        assert len(upstream.taken) == 1


def test_where_its_process_died_the_message_is_delivered_by_another(tmp_path: Path) -> None:
    letter = hostile.letter()
    with thinking(tmp_path) as (relay, upstream, think):
        think(True)
        leave(relay, letter)
        with hostile.Http(relay.admin) as client:
            workers = json.loads(client.get("/readyz")[2])["workers"]
        for each in workers:
            if "smtp" in each["roles"]:
                os.kill(each["pid"], signal.SIGKILL)
        eventually(lambda: hostile.metrics(relay.admin)["trackrelay_worker_deaths_total"] == 3)
        think(False)
        with hostile.Smtp(relay.smtp) as client:
            assert client.mail(letter).startswith("250")
        assert len(eventually(lambda: by(relay, "accepted"))) == 1
        assert upstream.taken


def takers(relay: service.Service) -> list[int]:
    """The processes that take mail, once all of them are there."""

    def found() -> list[int]:
        with hostile.Http(relay.admin) as client:
            workers = json.loads(client.get("/readyz")[2])["workers"]
        pids = [each["pid"] for each in workers if "smtp" in each["roles"] and each["state"] == "up"]
        return pids if len(pids) == 3 else []

    return eventually(found)


def envelope(relay: service.Service, *, tls: bool = False) -> hostile.Smtp:
    """A client that may send its message now. Whoever comes to a process that is being killed comes again."""

    def tried() -> hostile.Smtp | None:
        with contextlib.suppress(OSError, AssertionError):
            client = hostile.Smtp(relay.smtp)
            if tls:
                assert client.ask("STARTTLS").startswith("220")
                client.secure(certificates.trusting(relay.folder / "cert.pem"))
                client.ask("EHLO client.example.test")
            client.envelope()
            return client
        return None

    return eventually(tried)


@contextlib.contextmanager
def asleep(pid: int) -> Iterator[None]:
    """The process stands still from now on, and goes on a moment after the end. As it is on a busy machine."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        goes_on = threading.Timer(0.05, os.kill, (pid, signal.SIGCONT))
        goes_on.start()


MESSAGES = 40
KILLED = 20  # the message at which a process is killed


def test_who_comes_back_before_it_was_noticed_that_they_left_is_delivered_once(tmp_path: Path) -> None:
    """The process that stands still is in a third of the cases the one that the client leaves. It has the message, or has
    not even read it."""
    with thinking(tmp_path) as (relay, upstream, think):
        workers = takers(relay)
        for n in range(MESSAGES):
            letter = hostile.letter().replace(b"Subject: ", b"Subject: %d " % n) + b".\r\n"
            think(True)
            first = envelope(relay, tls=n % 4 > 1)
            unread = n % 2
            if not unread:
                first.send(letter)
                eventually(lambda: hostile.metrics(relay.admin)["trackrelay_smtp_in_flight_bytes"])
            if n == KILLED:
                os.kill(workers[0], signal.SIGKILL)
                first.close()
            else:
                with asleep(workers[n % 3]):
                    if unread:
                        first.send(letter)
                    first.close()
            with contextlib.closing(envelope(relay)) as second:
                second.send(letter)
                think(False)
                assert second.reply().startswith("250") or n == KILLED
            if n == KILLED:
                eventually(lambda: hostile.metrics(relay.admin)["trackrelay_worker_deaths_total"] == 1)
                workers = takers(relay)
        eventually(lambda: not hostile.metrics(relay.admin)["trackrelay_smtp_in_flight_bytes"])
        times = Counter(re.findall(rb"Subject: (\d+)", each.content)[0] for each in upstream.taken)
        del times[b"%d" % KILLED]  # it may have been with the upstream when its process was killed
        assert times == {b"%d" % n: 1 for n in range(MESSAGES) if n != KILLED}
