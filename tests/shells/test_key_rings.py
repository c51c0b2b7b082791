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


class Installation:
    """Two machines: this one, and another by what it says of itself."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self._file = folder / "relay.toml"
        self._file.write_text(f'node = "one"\nstate_dir = "{folder}"\n')

    def said(self, *words: str) -> tuple[int, str]:
        code = main.main(["token-key", *words, "--config", str(self._file)])
        out = self._capsys.readouterr()
        return code, out.out + out.err

    def beat(self, name: str, keys: dict[str, str], *, leaves: bool = False) -> None:
        async def once() -> None:
            known = store.open("sqlite:trackrelay.db", self.folder)
            await known.start()
            node = Node(name, ("http",), "p", queue=int(leaves), keys=keys)
            await known.beat(node)
            if leaves:
                await known.leave(node)
            await known.stop()

        asyncio.run(once())


@pytest.fixture
def here(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Installation:
    keys.TokenKeys(path)
    return Installation(tmp_path, capsys)


def test_nothing_signs_while_a_node_that_runs_lacks_the_key(path: Path, here: Installation) -> None:
    assert here.said("add")[1].startswith("key 1 verifies")
    ring = nodes.ring(keys.load(path)[1])
    here.beat("two", {"0": ring["0"]})
    code, words = here.said("activate", "1")
    assert (code, "two lacks key 1" in words, "Nothing was changed" in words) == (1, True, True)
    assert keys.load(path)[1].current == 0
    code, words = here.said("activate", "1", "--force")
    assert (code, "two lacks key 1" in words, keys.load(path)[1].current) == (0, True, 1)
    keys.activate(path, 0)
    here.beat("two", ring)
    assert here.said("activate", "1") == (0, "key 1 signs from now on; running services notice within a second\n")
    assert keys.load(path)[1].current == 1
    assert here.said("activate", "9")[0] == 1
    assert here.said("add", "--from", str(path)) == (0, "nothing is lacking\n")
    assert here.said("add", "--from", str(here.folder / "nowhere"))[0] == 1


def test_one_that_does_not_run_holds_up_nothing_and_is_named(path: Path, here: Installation) -> None:
    here.beat("two", nodes.ring(keys.load(path)[1]), leaves=True)
    here.said("add")
    code, words = here.said("activate", "1")
    assert (code, "two does not run, and lacked key 1" in words, keys.load(path)[1].current) == (0, True, 1)


def test_rotate_is_for_one_machine(path: Path, here: Installation) -> None:
    here.beat("one", nodes.ring(keys.load(path)[1]))  # other processes of this machine read the same file
    here.beat("hooks", {})
    assert here.said("rotate")[0] == 0
    here.beat("two", nodes.ring(keys.load(path)[1]))
    code, words = here.said("rotate")
    assert (code, words.startswith("trackrelay token-key: two would not have the new key")) == (1, True)
    assert "token-key add" in words
    assert "activate" in words
    assert len(keys.listing(path)) == 2
    assert here.said("rotate", "--force")[0] == 0
    assert keys.load(path)[1].current == 2


@pytest.mark.parametrize("verb", [("rotate",), ("activate", "1")])
def test_while_the_store_is_away_nobody_knows_who_lacks_it(path: Path, here: Installation, verb: tuple[str]) -> None:
    here.said("add")
    (here.folder / "trackrelay.db").write_bytes(b"no database" * 100)
    code, words = here.said(*verb)
    assert (code, "the other nodes are not known" in words, keys.load(path)[1].current) == (1, True, 0)
    assert here.said(*verb, "--force")[0] == 0
    assert keys.load(path)[1].current > 0
