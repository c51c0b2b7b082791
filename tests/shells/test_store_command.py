"""`trackrelay store copy` as an operator gives it: what it takes, what it refuses, what it says."""

import asyncio
from pathlib import Path

import pytest

from relay import __main__ as program
from relay import store as stores
from relay.core.nodes import Node
from relay.core.suppressions import Suppression
from tests.store.contract import T0, sent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "relay.toml").write_text('state_dir = "var"\n[upstream]\nurl = "smtp://127.0.0.1:9"\n')
    (tmp_path / "var").mkdir(mode=0o700)
    return tmp_path


def copy(folder: Path, *words: str) -> int:
    return program.main(["store", "copy", *words, "--config", str(folder / "relay.toml")])


async def fill(folder: Path, file: str = "trackrelay.db", *, node: Node | None = None, subject: str = "s") -> None:
    store = stores.open(f"sqlite:{file}", folder / "var")
    await store.start()
    await store.record_sent(sent("m1", subject=subject))
    await store.suppress([Suppression("d1", "", "refusal", "bob@example.org", T0)])
    if node:
        await store.beat(node)
    await store.stop()


def test_it_says_that_both_are_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(fill(folder))
    assert copy(folder, "--to", "sqlite:other.db") == 0
    assert capsys.readouterr().out.endswith(" rows are the same in both; now set store.url to the new one\n")


def test_the_other_store_holds_something_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(fill(folder))
    asyncio.run(fill(folder, "other.db", subject="of another"))
    assert copy(folder, "--to", "sqlite:other.db") == 1
    assert capsys.readouterr().err.endswith(
        "trackrelay store: messages of the store to copy to has rows that are not of this store. Empty the store to copy to, "
        "and copy again while nothing runs with either\n"
    )


@pytest.mark.parametrize("link", [False, True])
def test_one_store_is_not_two(folder: Path, capsys: pytest.CaptureFixture[str], link: bool) -> None:
    """However it is spelt."""
    asyncio.run(fill(folder))
    path = folder / "var" / "trackrelay.db"
    if link:
        path = folder / "link.db"
        path.symlink_to(folder / "var" / "trackrelay.db")
    assert copy(folder, "--to", f"sqlite:{path}") == 2
    assert capsys.readouterr().err == "trackrelay store: --from and --to are the same store\n"


@pytest.mark.parametrize("used", ["trackrelay.db", "other.db"])
def test_nothing_is_copied_while_a_service_runs(folder: Path, capsys: pytest.CaptureFixture[str], used: str) -> None:
    asyncio.run(fill(folder, node=None if used == "other.db" else Node("relay-1", ("smtp", "queue"), "p1")))
    if used == "other.db":
        asyncio.run(fill(folder, used, node=Node("relay-1", ("smtp", "queue"), "p1")))
    assert copy(folder, "--to", "sqlite:other.db") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"trackrelay store: relay-1 (smtp, queue) runs with sqlite:{used}: stop it first."), said
    assert "copied" not in said
