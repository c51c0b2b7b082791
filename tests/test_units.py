"""`trackrelay units`: the systemd files for the place where the program is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay import installed
from relay.__main__ import main
from tests import peers

ROOT = Path(__file__).parent.parent
SHIPPED = {path.name: path.read_text() for path in (ROOT / "systemd").iterdir()}
CHECKOUT = ["/opt/trackrelay/.venv/bin/trackrelay"]


def lines(text: str, key: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{key}=")]


def test_the_shipped_units_are_those_of_a_checkout_in_opt():
    """Where the docs stand is that checkout's own."""
    written = installed.units(CHECKOUT, installed.CONFIG)
    here = f"file://{ROOT}/docs/"
    assert {name: text.replace(here, "file:///opt/trackrelay/docs/") for name, text in written.items()} == SHIPPED


def test_what_units_name_exists(tmp_path):
    for text in installed.units(CHECKOUT, installed.CONFIG).values():
        for line in lines(text, "Documentation"):
            assert Path(line.removeprefix("Documentation=file://")).is_file()


def test_program_and_settings_stand_elsewhere():
    written = installed.units(["/srv/mail/bin/trackrelay"], Path("/srv/mail/etc/my.toml"))
    assert lines(written["trackrelay-http.service"], "ExecStart") == [
        "ExecStart=/srv/mail/bin/trackrelay run --only http --config /srv/mail/etc/my.toml"
    ]
    assert "InaccessiblePaths=-/srv/mail/etc/secrets" in written["trackrelay-http.service"].splitlines()
    assert "#LoadCredential=upstream:/srv/mail/etc/secrets/upstream" in written["trackrelay.service"]
    for text in written.values():
        assert "/etc/trackrelay" not in text
        assert "/opt/trackrelay" not in text


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["/a b/trackrelay"], '"/a b/trackrelay" run'),
        (["/50%/trackrelay"], '"/50%%/trackrelay" run'),
        (["/usr/bin/python3", "-m", "relay"], "/usr/bin/python3 -m relay run"),
        (["/$x/python3", "/$y"], '"/$x/python3" "/$$y" run'),
    ],
)
def test_any_path_can_be_started(words, start):
    written = installed.units(words, installed.CONFIG)["trackrelay.service"]
    assert lines(written, "ExecStart") == [f"ExecStart={start} --config /etc/trackrelay/relay.toml"]


def test_systemd_starts_what_was_meant(tmp_path):
    """Its own reading of the words: it looks for the program, and has nothing to say."""
    analyze = peers.require("systemd-analyze", package="systemd")
    place = tmp_path / "a %n $HOME é b"
    place.mkdir()
    (place / "trackrelay").write_text("#!/bin/sh\n")
    (place / "trackrelay").chmod(0o755)
    assert main(["units", str(tmp_path / "units"), "--program", str(place / "trackrelay")]) == 0
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", tmp_path / "units" / "trackrelay.service"],
        capture_output=True, text=True, timeout=60,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path / 'units'}:", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_files_are_for_everybody_to_read_and_told(tmp_path, capsys):
    before = os.umask(0o077)
    try:
        assert main(["units", str(tmp_path / "new" / "folder"), "--program", "/usr/bin/trackrelay"]) == 0
    finally:
        os.umask(before)
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(tmp_path / "new" / "folder" / name) for name in sorted(SHIPPED)]
    assert told.err == (
        f"trackrelay units: now: systemd-sysusers {tmp_path}/new/folder/trackrelay.sysusers; systemctl daemon-reload\n"
    )
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == set(SHIPPED)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new" / "folder").iterdir()} == {0o644}


def test_what_somebody_changed_is_left_alone(tmp_path, capsys):
    again = ["units", str(tmp_path), "--program", "/usr/bin/trackrelay"]
    assert main(again) == main(again) == 0
    (tmp_path / "trackrelay.service").write_text("mine\n")
    (tmp_path / "trackrelay-smtp.service").unlink()
    (tmp_path / "trackrelay-smtp.service").symlink_to("/dev/null")  # systemctl mask
    (tmp_path / "trackrelay-http.service").unlink()
    capsys.readouterr()
    assert main(again) == 1
    assert f"nothing was written, since these in {tmp_path} differ: trackrelay-smtp.service, trackrelay.service." in (
        capsys.readouterr().err
    )
    assert (tmp_path / "trackrelay.service").read_text() == "mine\n"
    assert not (tmp_path / "trackrelay-http.service").exists()
    assert main([*again, "--force"]) == 0
    assert "ExecStart=/usr/bin/trackrelay run" in (tmp_path / "trackrelay.service").read_text()
    assert not (tmp_path / "trackrelay-smtp.service").is_symlink()


@pytest.mark.parametrize("said", [("--config", "/etc/track relay/relay.toml"), ("--program", "/opt/it's/trackrelay")])
def test_a_path_that_a_unit_cannot_name(tmp_path, capsys, said):
    assert main(["units", str(tmp_path / "x"), *said]) == 2
    assert "is a path that a unit can't name; choose a plainer one" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_what_the_service_cannot_reach_is_said(tmp_path):
    reasons = installed.out_of_reach(["/home/ann/.local/bin/trackrelay"], Path("/root/relay.toml"))
    assert any("hide /home from the service, and /home/ann/.local/bin/trackrelay is there" in r for r in reasons)
    assert any("hide /root from the service" in reason for reason in reasons)


def test_a_folder_that_only_some_may_enter_is_said(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o700)
    (tmp_path / "shut" / "bin").mkdir()
    tmp_path.chmod(0o755)
    reasons = installed.out_of_reach([str(tmp_path / "shut" / "bin" / "trackrelay")], installed.CONFIG, hiding=())
    assert any("only some users may enter" in r and "bin/trackrelay; chmod a+x it" in r for r in reasons)


def test_the_program_is_the_one_that_was_called(tmp_path, monkeypatch):
    """Through a link too, as pipx makes them; but a folder that is a link is named as it was."""
    for name in ("version-1", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "version-1" / "trackrelay").write_text("#!/bin/sh\n")
    (tmp_path / "version-1" / "trackrelay").chmod(0o755)
    (tmp_path / "current").symlink_to("version-1")
    (tmp_path / "bin" / "trackrelay").symlink_to("../current/trackrelay")
    monkeypatch.chdir(tmp_path / "bin")
    monkeypatch.setattr(sys, "argv", ["./trackrelay", "units"])
    assert installed.program() == [str(tmp_path / "current" / "trackrelay")]
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "other"), "units"])
    assert Path(installed.program()[0]).name in ("trackrelay", Path(sys.executable).name)
