"""`trackrelay backup`: what it copies is as private as what it was copied from, and never called whole when it is not."""

import errno
import os
import stat

import pytest

from relay import __main__, files, keys


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "relay.toml").write_text('state_dir = "state"\n')
    state = tmp_path / "state"
    keys.TokenKeys(state / "keys" / "tokens.json")
    files.make_folder(state / "keys" / "dkim")
    files.make_folder(state / "spool")
    files.write(state / "keys" / "dkim" / "x.pem", b"a key\n")
    files.write(state / "spool" / "01.msg", b"a message\n" * 500_000)
    files.write(state / "spool" / "02.tmp", b"half of a mess")
    return tmp_path


def backup(folder, *words):
    return __main__.main(["backup", "--config", str(folder / "relay.toml"), *words])


def test_all_of_it_for_its_owner_alone(folder, capsys):
    to, before = folder / "above" / "copy", os.umask(0)
    try:
        assert backup(folder, str(to)) == 0
    finally:
        os.umask(before)
    made = {str(p.relative_to(to)): stat.S_IMODE(p.stat().st_mode) for p in to.rglob("*")}
    assert made == {
        "keys": 0o700, "keys/dkim": 0o700, "spool": 0o700, "keys/dkim/x.pem": 0o600, "keys/tokens.json": 0o600,
        "keys/tokens.lock": 0o600, "spool/01.msg": 0o600, "trackrelay.db": 0o600,
    }  # fmt: skip
    assert (to / "spool" / "01.msg").read_bytes() == (folder / "state" / "spool" / "01.msg").read_bytes()
    assert "4 files" in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
def test_what_root_makes_belongs_to_the_owner_of_the_folder(folder):
    (folder / "backups").mkdir()
    os.chown(folder / "backups", 65534, 65534)
    assert backup(folder, str(folder / "backups" / "today")) == 0
    made = [folder / "backups" / "today", *(folder / "backups" / "today").rglob("*")]
    assert {(p.stat().st_uid, p.stat().st_gid) for p in made} == {(65534, 65534)}


def test_a_disk_that_is_full(folder, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "fill", full)
    assert backup(folder, str(folder / "copy")) == 1
    said = capsys.readouterr()
    assert "the disk is full; make room; the backup in" in said.err
    assert "is incomplete: remove it" in said.err
    assert said.out == ""
