"""Many wait equally long, by one timer: what takes too long ends, and nothing else does."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from relay import patience


class Loop(asyncio.SelectorEventLoop):
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = 0
        super().__init__()

    def time(self) -> float:
        return self.now

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


def run(main: Callable[[Loop], Any]) -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Loop)
        runner.run(main(loop))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def hold(patient: patience.Patience, until_: asyncio.Future[str]) -> str:
    with patient.wait():
        return await until_


def test_what_takes_too_long_ends_and_what_is_over_does_not() -> None:
    async def main(loop: Loop) -> None:
        patient = patience.Patience(2.0)
        first, second, third = (loop.create_future() for _ in range(3))
        tasks = [asyncio.create_task(hold(patient, first))]
        await turns()
        loop.now = 1.0
        tasks += [asyncio.create_task(hold(patient, each)) for each in (second, third)]
        await turns()
        second.set_result("in time")
        await turns()
        loop.now = 2.0
        await turns()
        assert [task.done() for task in tasks] == [True, True, False]
        with pytest.raises(TimeoutError):
            await tasks[0]
        assert await tasks[1] == "in time"
        loop.now = 2.9
        await turns()
        third.set_result("just so")
        assert await tasks[2] == "just so"
        loop.now = 9.0
        await turns()
        assert not tasks[0].cancelled()

    run(main)


def test_many_have_one_timer() -> None:
    async def main(loop: Loop) -> None:
        patient = patience.Patience(2.0)
        for number in range(1000):
            answer: asyncio.Future[str] = loop.create_future()
            loop.call_soon(answer.set_result, "here")
            assert await hold(patient, answer) == "here"
            loop.now = number / 1000
        assert loop.timers == 1

    run(main)


def test_a_task_that_is_cancelled_is_cancelled() -> None:
    async def main(loop: Loop) -> None:
        patient = patience.Patience(2.0)
        alone = asyncio.create_task(hold(patient, loop.create_future()))
        both = asyncio.create_task(hold(patient, loop.create_future()))
        await turns()
        alone.cancel()
        await turns()
        assert alone.cancelled()
        loop.call_at(2.0, both.cancel)  # in the same turn as its time is over
        loop.now = 2.0
        await turns()
        assert both.cancelled()

    run(main)


def test_an_error_of_its_own_stays() -> None:
    async def main(loop: Loop) -> None:
        patient = patience.Patience(2.0)
        with pytest.raises(KeyError), patient.wait():
            raise KeyError
        never = loop.create_future()
        loop.call_soon(setattr, loop, "now", 3.0)
        with pytest.raises(TimeoutError):
            await hold(patient, never)
        with patient.wait():  # and the next one has all of its time
            await turns()

    run(main)


def test_another_loop_begins_anew() -> None:
    """As in commands, each of which has a loop of its own."""
    patient = patience.Patience(2.0)

    async def main(loop: Loop) -> None:
        waiting = asyncio.create_task(hold(patient, loop.create_future()))
        await turns()
        loop.now = 2.0
        with pytest.raises(TimeoutError):
            await waiting

    async def left(loop: Loop) -> None:
        asyncio.create_task(hold(patient, loop.create_future()))  # noqa: RUF006
        await turns()

    run(left)
    run(main)


async def test_on_the_clock() -> None:
    patient = patience.Patience(0.01)
    with pytest.raises(TimeoutError):
        await hold(patient, asyncio.get_running_loop().create_future())
