"""The heartbeat of a process, and what it makes of the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay import __main__, config, metrics, nodes, store
from relay.core.model import Keys
from relay.core.nodes import Node, Roll
from relay.store.memory import Memory

KEYS = Keys(0, {0: b"x" * 32})
OTHERS = Keys(0, {0: b"y" * 32})


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Away(Memory):
    """Until it is let."""

    away = True

    async def beat(self, node: Node) -> Roll:
        if self.away:
            raise store.Unavailable("away")
        return await super().beat(node)

    async def leave(self, node: Node) -> None:
        if self.away:
            raise store.Unavailable("away")
        await super().leave(node)


def made(known: Memory, clock: Clock, name: str = "one", *, keys: Keys | None = KEYS, process: str = "") -> nodes.Nodes:
    return nodes.Nodes(
        config.Settings(node=name), frozenset({"smtp", "http"}), known, keys=(lambda: keys) if keys else None,
        clock=clock, process=process,
    )  # fmt: skip


def trouble(kind: str) -> float:
    return metrics.value("trackrelay_node_trouble", kind=kind)


async def test_one_that_is_gone_with_mail_is_said_once_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    known = Memory(clock=clock)
    one, two = made(known, clock), made(known, clock, "two")

    async def spool() -> tuple[int, float]:
        return 3, 900.0

    two.spool = spool
    await two.beat()
    for _ in range(14):
        await one.beat()
        clock.at += 10
    assert [sentence.partition(" is gone")[0] for sentence in one.troubles] == ["two (smtp, http)"]
    assert [(n["name"], n["state"], n["queue"]) for n in one.shown] == [("one", "running", 0), ("two", "gone", 3)]
    assert trouble("gone") == 1
    said = [r for r in caplog.records if r.getMessage().startswith("node_trouble")]
    assert [r.levelname for r in said] == ["ERROR"]
    await two.beat()
    await one.beat()
    assert one.troubles == []
    assert trouble("gone") == 0


async def test_after_the_store_was_away_nobody_is_gone() -> None:
    clock = Clock()
    known = Away(clock=clock)
    known.away = False
    one, two = made(known, clock), made(known, clock, "two")

    async def spool() -> tuple[int, float]:
        return 3, 900.0

    two.spool = spool
    await two.beat()
    await one.beat()
    known.away = True
    with pytest.raises(store.Unavailable):
        await one.beat()
    await one.leave()
    clock.at += 300
    assert one.troubles == []
    known.away = False
    await one.beat()
    assert one.troubles == []


async def test_before_anything_was_heard_it_shows_itself() -> None:
    (shown,) = made(Away(), Clock()).shown
    assert (shown["name"], shown["state"], shown["roles"]) == ("one", "running", ["smtp", "http"])


async def test_a_key_that_differs_is_said_by_both(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    known = Memory(clock=clock)
    one, two = made(known, clock), made(known, clock, "two", keys=OTHERS)
    for each in (one, two, one):
        await each.beat()
    assert len(one.troubles) == 2
    assert one.troubles == two.troubles
    assert "two (smtp, http) has another key of the number 0" in one.troubles[0]


async def test_two_of_one_name_are_said_where_it_stays_so() -> None:
    clock = Clock()
    known = Memory(clock=clock)
    one, again = made(known, clock, process="p1"), made(known, clock, process="p2")
    for each in (one, again, one):
        await each.beat()
    assert one.troubles == []
    for each in (again, one):
        await each.beat()
    assert ["call themselves one (smtp, http)" in sentence for sentence in one.troubles] == [True]
    await again.leave()
    assert [node.process for node in (await known.nodes()).nodes] == ["p1"]


async def test_a_clock_that_is_wrong_is_said_until_it_is_right(caplog: pytest.LogCaptureFixture) -> None:
    clock, own = Clock(), Clock()
    own.at += 3600
    one = made(Memory(clock=clock), own)
    await one.beat()
    assert ["60 min ahead" in sentence for sentence in one.troubles] == [True]
    assert trouble("clock") == 1
    own.at -= 3600
    await one.beat()
    assert (one.troubles, trouble("clock")) == ([], 0)


async def test_who_stops_is_forgotten(tmp_path: Path) -> None:
    known, clock = Memory(), Clock()
    one = made(known, clock)
    await one.beat()
    await one.leave()
    assert (await known.nodes()).nodes == ()


# -- the command -------------------------------------------------------------------------------------------------------


async def test_one_that_will_not_come_back_is_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f'state_dir = "{tmp_path}"\n')
    known = store.open("sqlite:trackrelay.db", tmp_path)
    await known.start()

    async def remove(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(__main__.main, ["nodes", "remove", *words, "--config", str(file)])
        said = capsys.readouterr()
        return code, said.out + said.err

    node = Node("two", ("smtp", "queue"), "p", queue=3)
    await known.beat(node)
    assert await remove("three") == (1, "trackrelay nodes: there is no node three\n")
    assert await remove("two", "--force") == (1, "trackrelay nodes: two runs: stop it first. Nothing was changed\n")
    await known.leave(node)
    code, words = await remove("two")
    assert (code, words.startswith("trackrelay nodes: two had 3 messages in its spool")) == (1, True)
    assert len((await known.nodes()).nodes) == 1
    code, words = await remove("two", "--force")
    assert (code, words.startswith("two is forgotten. It had 3 messages in its spool")) == (0, True)
    assert (await known.nodes()).nodes == ()
    again = Node("two", ("queue",), "q")
    for each in (node, again):
        await known.beat(each)
    await known.leave(node)
    assert await remove("two") == (0, "two (smtp, queue) is forgotten\n")  # its spool is that of the one that runs
    assert [one.roles for one in (await known.nodes()).nodes] == [("queue",)]
    await known.stop()
