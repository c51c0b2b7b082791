"""A call that is repeated after a crash, whatever died when: the message is sent once."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay import config, delivery, outbound, outcomes, spool, store, submitting
from relay.core.model import Keys, Recipient, Submission, Tracking
from relay.store import Request
from relay.upstream import transaction
from relay.upstream.failover import Upstreams
from tests.fakes import upstream as fake
from tests.fakes.mortal import Died, Mortal
from tests.store.contract import T0
from tests.until import until

CONTENT = (
    b"From: a@here.example\r\nTo: b@x.example\r\nSubject: Once\r\nMessage-ID: <1@here.example>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>Hello\r\n"
)
MAIL = Submission("a@here.example", (Recipient("b@x.example"), Recipient("c@x.example")), CONTENT)
STEPS = 12  # more than there are


class World:
    def __init__(self, folder: Path, server: fake.Upstream, *, sends: bool, auth: str = "none") -> None:
        settings = config.Settings(
            state_dir=folder,
            smtp=config.Smtp(hostname="relay.test", auth=auth),  # type: ignore[arg-type]
            upstream=config.Upstream(url=server.url, tls="never"),
            tracking=Tracking(url="https://t.example", opens=True),
        )
        times = transaction.Times(connect=2, mail=2, data=2, block=2, dot=2)
        self.settings, self.records = settings, store.open("memory:", folder)
        out = Upstreams(settings, hostname="relay.test", times=times)
        self.outcomes = outcomes.Outcomes(self.records, host=out.host)
        self.spool = spool.Spool(folder / "spool", settings, out, self.outcomes, schedule=(0.0, 0.05))
        self.tracker = outbound.Tracker(settings, lambda: Keys(0, {0: bytes(32)}), self.records)
        self.delivery = delivery.Delivery(settings, self.tracker, out, self.spool, self.outcomes) if sends else None

    def room(self, dies: Callable[[], bool] | None = None, *, after: bool = False) -> tuple[Any, submitting.Submitting]:
        records: Any = self.records
        kept: Any = self.spool
        if dies:
            records, kept = Mortal(records, dies, after=after), Mortal(kept, dies, after=after)
        return records, submitting.Submitting(self.settings, records, self.tracker, kept, self.delivery)

    async def call(self, dies: Callable[[], bool] | None = None, *, after: bool = False) -> submitting.Result | None:
        """What the API does for a call with a key; None where it was answered before."""
        records, room = self.room(dies, after=after)
        request = Request("k", "d", room.new_id(), T0)
        known = await records.begin_request(request, 0.0)
        if known and known.state == "answered":
            return None
        result = await (room.resume(MAIL, known) if known else room.submit(MAIL, request.message_id, request))
        await records.settle_request((known or request).with_(state="answered"))
        return result


def deadly(step: int) -> Callable[[], bool]:
    left = [step]

    def dies() -> bool:
        left[0] -= 1
        return left[0] == 0

    return dies


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("sends", [False, True], ids=["admin-alone", "one-process"])
@pytest.mark.parametrize("step", range(1, STEPS))
async def test_a_repeated_call_sends_it_once(tmp_path: Path, step: int, sends: bool, after: bool) -> None:
    async with fake.Upstream() as server:
        world = World(tmp_path, server, sends=sends)
        await world.records.start()
        with contextlib.suppress(Died):
            await world.call(deadly(step), after=after)
        await world.outcomes.flush()
        result = await world.call()
        assert result is None or isinstance(result, submitting.Accepted)
        assert await world.call() is None
        sending = asyncio.create_task(world.spool.run())
        try:
            await until(lambda: len(server.taken) >= 2 and not list((tmp_path / "spool").glob("*.msg")))
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        assert sorted(address for each in server.taken for address in each.recipients) == ["b@x.example", "c@x.example"]
        assert not list((tmp_path / "spool").glob("*.held"))


async def test_who_has_it_gets_it_no_second_time(tmp_path: Path) -> None:
    """A crash when one recipient's copy was accepted and the other's was not."""
    async with fake.Upstream({"rcpt": lambda line: "451 4.0.0 later" if "c@x" in line else None}) as server:
        world = World(tmp_path, server, sends=True)
        await world.records.start()
        _, room = world.room()
        request = Request("k", "d", room.new_id(), T0)
        await world.records.begin_request(request, 0.0)
        assert isinstance(await room.submit(MAIL, request.message_id, request), submitting.Accepted)
        await world.outcomes.flush()
        assert isinstance(await room.resume(MAIL, request), submitting.Accepted)
        assert len(server.taken) == 1
        assert await world.spool.recipients_of(request.message_id) == {"c@x.example"}


async def test_with_the_senders_own_login_there_is_none_for_the_api(tmp_path: Path) -> None:
    async with fake.Upstream() as server:
        _, room = World(tmp_path, server, sends=True, auth="upstream").room()
        result = await room.submit(MAIL)
        assert isinstance(result, submitting.Refused)
        assert (result.reply.code, "own login" in result.reply.text) == (550, True)
        assert not server.taken


async def test_what_the_store_does_not_know_yet_is_not_sent_again(tmp_path: Path) -> None:
    async with fake.Upstream() as server:
        world = World(tmp_path, server, sends=True)
        await world.records.start()
        _, room = world.room()
        request = Request("k", "d", room.new_id(), T0)
        await world.records.begin_request(request, 0.0)
        await room.submit(MAIL, request.message_id, request)
        assert isinstance(await room.resume(MAIL, request), submitting.Accepted)
        assert len(server.taken) == len(MAIL.recipients)
        await world.outcomes.flush()


async def test_who_was_refused_before_a_crash_is_refused_after_it(tmp_path: Path) -> None:
    async with fake.Upstream({"rcpt": "550 5.1.1 nobody", "rcpt2": "550 5.1.1 nobody"}) as server:
        world = World(tmp_path, server, sends=True)
        await world.records.start()
        _, room = world.room()
        request = Request("k", "d", room.new_id(), T0)
        await world.records.begin_request(request, 0.0)
        assert isinstance(await room.submit(MAIL, request.message_id, request), submitting.Refused)
        await world.outcomes.flush()
        again = await room.resume(MAIL, request)
        assert isinstance(again, submitting.Refused)
        assert again.reply.code == 550
