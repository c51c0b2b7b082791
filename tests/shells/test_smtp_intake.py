"""Handing a message over: its octets in flight, what its client hears, and a client that leaves."""

import asyncio

import pytest

from relay import metrics
from relay.core.model import Recipient, Reply, Submission
from relay.smtp import intake, limits
from tests.fakes.taker import Taker
from tests.until import until

MESSAGE = Submission("a@x.example", (Recipient("b@x.example"),), b"x" * 100)


def made(taker):
    flight = limits.Flight(1000)
    flight.add(len(MESSAGE.content))  # as reading did
    return intake.Intake(taker, flight), flight


async def test_the_answer_comes_and_the_octets_go():
    taker = Taker(Reply(550, "5.1.1 no"))
    taker.gate.clear()
    taking, flight = made(taker)
    client = asyncio.create_task(taking.reply(MESSAGE))
    await until(lambda: taker.taken)
    assert (taking.pending, flight.used) == (1, 100)
    taker.gate.set()
    assert await client == Reply(550, "5.1.1 no")
    assert (taking.pending, flight.used, taker.left) == (0, 0, 0)


async def test_a_client_that_leaves_ends_nothing_and_the_taker_hears_of_it():
    taker = Taker()
    taker.gate.clear()
    taking, flight = made(taker)
    client = asyncio.create_task(taking.reply(MESSAGE))
    await until(lambda: taker.taken)
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client
    assert (taker.left, taker.finished, taking.pending, flight.used) == (1, 0, 1, 100)
    taker.gate.set()
    await until(lambda: not taking.pending)
    assert (taker.finished, flight.used) == (1, 0)


@pytest.mark.parametrize("stays", [True, False], ids=["stays", "leaves"])
async def test_a_taker_that_fails_is_logged_and_the_client_keeps_its_message(stays, caplog):
    before = metrics.value("trackrelay_refused_total", code="451")
    taker = Taker(RuntimeError("boom"))
    taker.gate.clear()
    taking, flight = made(taker)
    client = asyncio.create_task(taking.reply(MESSAGE))
    await until(lambda: taker.taken)
    if not stays:
        client.cancel()
    taker.gate.set()
    if stays:
        assert await client == intake.FAILED
    await until(lambda: not taking.pending)
    assert flight.used == 0
    assert caplog.text.count("RuntimeError: boom") == 1
    assert metrics.value("trackrelay_refused_total", code="451") == before + 1


async def test_one_that_takes_nothing_at_all(caplog):
    async def take(submission):
        raise RuntimeError("boom")

    taking, flight = made(take)
    assert await taking.reply(MESSAGE) == intake.FAILED
    assert (taking.pending, flight.used) == (0, 0)
    assert "not_taken" in caplog.text


async def test_a_client_that_leaves_before_its_message_was_taken_has_it_still():
    async def take(submission):
        await asyncio.Event().wait()

    taking, flight = made(take)
    client = asyncio.create_task(taking.reply(MESSAGE))
    await asyncio.sleep(0)
    client.cancel()
    with pytest.raises(asyncio.CancelledError):
        await client
    assert (taking.pending, flight.used) == (0, 0)
