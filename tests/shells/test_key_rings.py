"""A new token key on several machines: it verifies everywhere before it signs anywhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from relay import __main__ as main
from relay import keys, store
from relay.core import nodes
from relay.core.nodes import Node


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "tokens.json"


def test_a_key_that_was_added_verifies_and_signs_once_it_is_activated(path: Path) -> None:
    ring = keys.TokenKeys(path)
    assert keys.add(path).key_id == 1
    listed = [(key.key_id, key.current) for key in keys.listing(path)]
    assert listed == [(0, True), (1, False)]
    keys.activate(path, 1)
    assert [(key.key_id, key.current) for key in keys.listing(path)] == [(0, False), (1, True)]
    assert ring.now().current == 0
    with pytest.raises(keys.Unusable, match="no key 7"):
        keys.activate(path, 7)


def test_the_keys_of_another_machine_are_added(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    keys.rotate(other)
    assert keys.merge(path, other.read_bytes()) == [0, 1]
    assert keys.load(path)[1] == keys.load(other)[1]
    keys.add(other)
    keys.activate(other, 2)
    assert keys.merge(path, other.read_bytes()) == [2]
    assert keys.merge(path, other.read_bytes()) == []
    assert keys.load(path)[1].current == 1  # here it signs once it is activated here
    assert keys.load(path)[1].secrets == keys.load(other)[1].secrets


def test_two_keys_of_one_number_are_refused_whole(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    keys.TokenKeys(path)
    keys.rotate(other)
    before = path.read_bytes()
    with pytest.raises(keys.Unusable, match="another key 0"):
        keys.merge(path, other.read_bytes())
    with pytest.raises(keys.Unusable, match="damaged"):
        keys.merge(path, b"{}")
    assert path.read_bytes() == before


def test_nothing_signs_while_a_node_that_runs_lacks_the_key(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f'state_dir = "{tmp_path}"\n')

    def said(*words: str) -> tuple[int, str]:
        code = main.main(["token-key", *words, "--config", str(file)])
        out = capsys.readouterr()
        return code, out.out + out.err

    async def beat(node: Node) -> None:
        known = store.open("sqlite:trackrelay.db", tmp_path)
        await known.start()
        await known.beat(node)
        await known.stop()

    keys.TokenKeys(path)
    assert said("add")[1].startswith("key 1 verifies")
    ring = nodes.ring(keys.load(path)[1])
    asyncio.run(beat(Node("two", ("http",), "p", keys={"0": ring["0"]})))
    code, words = said("activate", "1")
    assert (code, "two lacks key 1" in words) == (1, True)
    assert keys.load(path)[1].current == 0
    asyncio.run(beat(Node("two", ("http",), "p", keys=ring)))
    assert said("activate", "1")[0] == 0
    assert keys.load(path)[1].current == 1
    assert said("activate", "9")[0] == 1
    assert said("add", "--from", str(path)) == (0, "nothing is lacking\n")
    assert said("add", "--from", str(tmp_path / "nowhere"))[0] == 1
