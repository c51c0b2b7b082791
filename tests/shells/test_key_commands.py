"""`trackrelay token-key` and `trackrelay dkim create`, as people call them."""

import re
import stat
import tomllib

import pytest

from relay import __main__, config, keys
from relay.core import dkim, tokens
from relay.core.model import Token
from tests.peers import perl_dkim

MESSAGE = b"From: ann@example.com\r\nSubject: x\r\n\r\nHello\r\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text('state_dir = "state"\n')
    return path


def call(file, command, *words):
    return __main__.main([command, "--config", str(file), *words])


def test_rotate_and_list(file, capsys):
    found = keys.TokenKeys(file.parent / "state" / "keys" / "tokens.json")
    before = tokens.write(Token("open", bytes(12), 0), found.now())
    assert call(file, "token-key", "rotate") == 0
    assert "key 1 signs from now on" in capsys.readouterr().out
    assert call(file, "token-key", "list") == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[2]) for row in rows] == [("0", "verifies"), ("1", "signs and verifies")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[1]) for row in rows)
    assert tokens.read(before, "open", keys.TokenKeys(found.path).now())


def test_listing_before_the_first_start(file, capsys):
    assert call(file, "token-key", "list") == 1
    assert "the first start makes it" in capsys.readouterr().err


def test_the_last_key(file, capsys):
    for _ in range(31):
        assert call(file, "token-key", "rotate") == 0
    assert call(file, "token-key", "rotate") == 1
    assert "32 keys" in capsys.readouterr().err


def test_secrets_are_not_printed(file, capsys):
    call(file, "token-key", "rotate")
    call(file, "token-key", "list")
    secret = re.search(r'"secret": "([^"]+)"', (file.parent / "state" / "keys" / "tokens.json").read_text())[1]
    assert secret not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["--rsa", "--ed25519", None])
def test_dkim_create(file, capsys, kind):
    assert call(file, "dkim", "create", "Example.com", "t1", *([kind] if kind else [])) == 0
    out = capsys.readouterr().out
    stanza = tomllib.loads(out[out.index("[[dkim]]") :])["dkim"][0]
    path = file.parent / "state" / "keys" / "dkim" / "example.com.t1.pem"
    assert stanza == {"domain": "example.com", "selector": "t1", "key": str(path)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    signer = dkim.load(path.read_bytes(), "example.com", "t1")
    assert signer.algorithm == ("ed25519-sha256" if kind == "--ed25519" else "rsa-sha256")
    zone = next(line for line in out.splitlines() if " IN TXT " in line)
    record = "".join(re.findall(r'"([^"]*)"', zone))
    assert record == dkim.record(signer)
    assert f";   value  {record}" in out
    assert "PRIVATE" not in out
    file.write_text('state_dir = "state"\n' + out[out.index("[[dkim]]") :])
    assert config.load(file).dkim[0].key == path
    if kind != "--ed25519":
        signed = dkim.sign(MESSAGE, signer, 1_700_000_000) + MESSAGE
        assert perl_dkim.verify(signed, {"t1._domainkey.example.com": record}) == "pass"


def test_a_key_is_never_replaced(file, capsys):
    out = file.parent / "key.pem"
    assert call(file, "dkim", "create", "example.com", "t1", "--out", str(out)) == 0
    before = out.read_bytes()
    assert call(file, "dkim", "create", "example.com", "t1", "--out", str(out)) == 1
    assert "another selector" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert [p.name for p in file.parent.iterdir() if p.suffix == ".new"] == []


@pytest.mark.parametrize(("domain", "selector"), [("no domain", "t1"), ("example.com", "../t1"), ("", "t1")])
def test_names_that_can_not_be(file, capsys, domain, selector):
    assert call(file, "dkim", "create", domain, selector) == 2
    assert "is no" in capsys.readouterr().err
    assert not (file.parent / "state").exists()


def test_a_folder_that_is_not_there(file, capsys):
    assert call(file, "dkim", "create", "example.com", "t1", "--out", str(file.parent / "none" / "key.pem")) == 1
    assert "none" in capsys.readouterr().err
