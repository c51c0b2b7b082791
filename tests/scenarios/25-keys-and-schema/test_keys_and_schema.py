"""What a start may meet: keys that are damaged, a database of a newer program or of none, a folder that is none. A
sentence and an exit code, never a traceback; and mail is not kept waiting for a store."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

LETTER = hostile.letter("", "X-Track: all")


def refused(folder: Path, *, code: int = 1) -> str:
    """The sentence with which `run` ends."""
    done = service.command("run", "--config", str(folder / "relay.toml"))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "trackrelay ready" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state_dir that has been in use."""
    folder = tmp_path_factory.mktemp("used")
    with hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port)
        with service.running(folder, ports, only="smtp,queue") as relay, hostile.Smtp(relay.smtp) as client:
            assert client.mail(LETTER).startswith("250")
    return folder


@pytest.fixture
def copy(used: Path, tmp_path: Path) -> Path:
    shutil.copytree(used, tmp_path, dirs_exist_ok=True)
    return tmp_path


DAMAGE = {
    "empty": b"",
    "cut": b'{"current": 0, "keys": {"0": {"secr',
    "no current": b'{"current": 5, "keys": {}}',
    "a number": b'{"current": 0, "keys": {"77": {"secret": "' + b"A" * 43 + b'="}}}',
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_keys(copy: Path, damage: str) -> None:
    """They are never made anew: that would kill every link."""
    path = copy / "var" / "keys" / "tokens.json"
    path.write_bytes(DAMAGE[damage])
    sentence = refused(copy)
    assert "tokens.json" in sentence
    assert "backup" in sentence
    assert path.read_bytes() == DAMAGE[damage]


def test_a_newer_schema(copy: Path) -> None:
    with closing(sqlite3.connect(copy / "var" / "trackrelay.db")) as db, db:
        db.execute("INSERT INTO migrations VALUES (9999, 0)")
    sentence = refused(copy)
    assert "9999" in sentence
    assert "newer" in sentence
    with closing(sqlite3.connect(copy / "var" / "trackrelay.db")) as db:
        assert db.execute("SELECT count(*) FROM messages").fetchone() == (1,)  # and it is as it was


def test_a_first_start_without_a_store(tmp_path: Path) -> None:
    service.settings(tmp_path, upstream=9, more='[store]\nurl = "sqlite:/nowhere/at/all.db"')
    assert "all.db" in refused(tmp_path)
    (tmp_path / "var").rename(tmp_path / "gone")
    (tmp_path / "var").write_text("a file stands here")
    assert f"{tmp_path}/var" in refused(tmp_path)


def test_a_port_that_is_taken(copy: Path) -> None:
    with hostile.sink() as upstream:
        service.settings(copy, upstream=9)
        text = (copy / "relay.toml").read_text()
        for section in ("smtp", "http"):
            at = text.index("listen", text.index(f"[{section}]"))
            line = text[at : text.index("\n", at)]
            port = f'["127.0.0.1:{upstream.port}"]' if section == "smtp" else f'"127.0.0.1:{upstream.port}"'
            (copy / "relay.toml").write_text(text.replace(line, f"listen = {port}"))
            assert f"{section}: can't listen" in refused(copy)


def test_a_restart_with_a_damaged_store(copy: Path) -> None:
    """Mail first: it goes on, untracked, and all is well again once the store is."""
    database = copy / "var" / "trackrelay.db"
    whole = database.read_bytes()
    database.write_bytes(b"this is no database" * 1000)
    with hostile.sink() as upstream:
        ports = service.settings(copy, upstream=upstream.port)
        with service.running(copy, ports, only="smtp,queue,http,admin") as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(LETTER).startswith("250")
            assert b"/c/" not in upstream.taken[0].content
            with hostile.Http(relay.admin) as client:
                assert client.get("/readyz")[0] == 503
            assert "ERROR app store_unavailable" in relay.log
            database.unlink()
            database.write_bytes(whole)

            def tracked() -> bool:
                with hostile.Smtp(relay.smtp) as client:
                    assert client.mail(LETTER).startswith("250")
                return b"/c/" in upstream.taken[-1].content

            eventually(tracked, pause=0.2)
            with hostile.Http(relay.admin) as client:
                assert client.get("/readyz")[0] == 200
        assert "Traceback" not in relay.log


def test_keys_change_while_it_runs(tmp_path: Path) -> None:
    """One process signs, another verifies: with the old key and, within a second or two, with the new one."""
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with (
            service.running(tmp_path, ports, only="smtp,queue") as sending,
            service.running(tmp_path, ports, only="http") as answering,
        ):

            def send() -> str:
                with hostile.Smtp(sending.smtp) as client:
                    assert client.mail(LETTER).startswith("250")
                return hostile.tokens(upstream.taken[-1].content)[1][0]

            def leads(path: str) -> bool:
                with hostile.Http(answering.http) as client:
                    return client.get(path)[0] == 302

            old = send()
            assert leads(old)
            sending.command("token-key", "rotate")
            new = eventually(lambda: (link := send())[3:5] != old[3:5] and link, pause=0.1)
            assert eventually(lambda: leads(new), pause=0.1)
            assert leads(old)
            assert len(sending.command("token-key", "list").stdout.splitlines()) >= 2
            # A file that breaks under a running service changes nothing for it.
            path = tmp_path / "var" / "keys" / "tokens.json"
            content = path.read_bytes()
            path.write_bytes(b"{")
            eventually(lambda: leads(send()) and "keys_not_reloaded" in sending.log)
            assert leads(old)
            assert leads(send())
            path.write_bytes(content)
        assert json.loads(content)["current"] == 1
        assert "keys_not_reloaded" in sending.log
