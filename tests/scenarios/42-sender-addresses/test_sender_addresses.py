"""Two customers share one relay: neither can send in the other's name, and of every message it is known who sent it."""

from __future__ import annotations

import json
import re
import sqlite3
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

GRANTS = """
[[grants]]
id = "one"
addresses = ["*@one.example"]
[[grants]]
id = "two"
addresses = ["*@two.example"]
"""
LOGINS = 'auth = "users"\nallow = []'


def letter(*fields: str) -> bytes:
    lines = [*fields, "To: b@example.test", "Subject: A letter", "Message-ID: <letter-1@example.test>", "X-Track: all"]
    return "\r\n".join([*lines, "Content-Type: text/html", "", '<a href="https://a.example/">a</a>', ""]).encode()


def prepared(folder: Path, upstream: Upstream, *, more: str = GRANTS, smtp: str = LOGINS, tracking: str = "") -> Any:
    ports = service.settings(folder, upstream=upstream.port, more=more, smtp=smtp, tracking=tracking)
    (folder / "password").write_text("secret words\n")
    return ports


def added(folder: Path, name: str, *senders: str, code: int = 0) -> str:
    words = ["user", "add", name, "--password-file", str(folder / "password"), "--config", str(folder / "relay.toml")]
    done = service.command(*words, *(["--senders", *senders] if senders else []))
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_login_sends_as_itself_and_as_nobody_else(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = prepared(tmp_path, upstream)
        added(tmp_path, "jane", "*@one.example")
        added(tmp_path, "joe", "joe@two.example")
        with service.running(tmp_path, ports) as relay:
            listed = relay.command("user", "list").stdout
            assert listed == "jane\t*@one.example\njoe\tjoe@two.example\n"
            with hostile.Smtp(relay.smtp) as client:
                assert client.login("jane", "secret words").startswith("235")
                said = client.ask("MAIL FROM:<ceo@two.example>")
                assert said.startswith("553 5.7.1 "), said
                assert "*@one.example" in said
                for fields in (
                    ("From: CEO <ceo@two.example>",),
                    ("From: jane@one.example, ceo@two.example",),
                    ("From: jane@one.example", "From: ceo@two.example"),
                    ("from : ceo@two.example",),
                    ("no header field at all", "From: ceo@two.example"),
                    ("From: =?utf-8?q?x?= <ceo@two.example>",),
                ):
                    for sender in ("jane@one.example", ""):
                        said = client.mail(letter(*fields), sender=sender)
                        assert said.startswith("553 5.7.1 "), (fields, said)
                assert not upstream.taken
                assert client.mail(letter("From: Jane <Jane@One.Example>"), sender="jane@one.example").startswith("250")
            accepted = eventually(lambda: re.findall(r"delivery accepted .*", relay.log))[0]
            assert "login=jane peer=127.0.0.1 " in accepted
            with hostile.Smtp(relay.smtp) as client:
                assert client.login("joe", "secret words").startswith("235")
                assert client.mail(letter("From: joe@two.example"), sender="joe@two.example").startswith("250")
                assert client.ask("MAIL FROM:<ann@two.example>").startswith("553 5.7.1 ")
            with urllib.request.urlopen(f"http://127.0.0.1:{relay.admin}/live/messages", timeout=10) as answer:
                found = json.load(answer)["messages"]
            details = []
            for each in found:
                with urllib.request.urlopen(f"http://127.0.0.1:{relay.admin}/live/messages/{each['id']}") as answer:
                    details.append(json.load(answer))
            assert {(d["login"], d["peer"], d["grant"]) for d in details} == {
                ("jane", "127.0.0.1", "one"), ("joe", "127.0.0.1", "two"),
            }  # fmt: skip


def test_also_where_tracking_fails_and_mail_goes_out_as_it_came(tmp_path: Path) -> None:
    with hostile.sink() as upstream:
        ports = prepared(tmp_path, upstream)
        added(tmp_path, "jane", "*@one.example")
        with service.running(tmp_path, ports) as relay:
            database = sqlite3.connect(tmp_path / "var" / "trackrelay.db", isolation_level=None)
            database.execute("BEGIN EXCLUSIVE")  # nobody can record anything
            with hostile.Smtp(relay.smtp) as client:
                client.login("jane", "secret words")
                said = client.mail(letter("From: ceo@two.example"), sender="jane@one.example")
                assert said.startswith("553 5.7.1 "), said
                assert client.mail(letter("From: jane@one.example"), sender="jane@one.example").startswith("250")
            database.close()
        assert len(upstream.taken) == 1


def test_every_login_must_have_its_senders(tmp_path: Path) -> None:
    """`check`, every start and `user add` say the same; one that comes into the file all the same sends nothing."""
    with hostile.sink() as upstream:
        ports = prepared(tmp_path, upstream, more="")
        added(tmp_path, "jane")  # all mail is one account's: there is nothing to choose
        with service.running(tmp_path, ports) as relay, hostile.Smtp(relay.smtp) as client:
            client.login("jane", "secret words")
            assert client.mail(letter("From: x@anywhere.example"), sender="x@anywhere.example").startswith("250")
        ports = prepared(tmp_path, upstream)
        config = ["--config", str(tmp_path / "relay.toml")]
        check, start = service.command("check", *config), service.command("run", *config)
        assert (check.returncode, start.returncode) == (1, 2)
        sentence = added(tmp_path, "joe", code=2).partition(": ")[2]
        assert "no senders are set for joe: " in sentence
        for said in (check.stdout, start.stderr):
            assert sentence.replace("joe", "jane").strip() in said
        added(tmp_path, "jane", "*@one.example")
        with service.running(tmp_path, ports) as relay:
            file = tmp_path / "var" / "keys" / "logins" / "smtp-users"
            file.write_text(file.read_text().replace(":*@one.example", ""))
            with hostile.Smtp(relay.smtp) as client:
                assert client.login("jane", "secret words").startswith("235")
                assert client.ask("MAIL FROM:<jane@one.example>").startswith("553 5.7.1 ")


def test_a_login_of_the_upstream_is_its_own_address(tmp_path: Path) -> None:
    more = GRANTS + '[[users]]\nname = "joe"\nsenders = ["joe@two.example", "sales@two.example"]\n'
    logins = ("Jane@one.example", "joe", "nobody", "*@one.example")
    with hostile.sink(users=dict.fromkeys(logins, "secret")) as upstream:
        ports = prepared(tmp_path, upstream, more=more, smtp='auth = "upstream"\nallow = []')
        with service.running(tmp_path, ports) as relay:
            theirs = (("jane@one.example", "joe@two.example"), ("sales@two.example", "jane@one.example"))
            for login, (good, bad) in zip(logins, (*theirs, *[("", "jane@one.example")] * 2), strict=True):
                with hostile.Smtp(relay.smtp) as client:
                    assert client.login(login, "secret").startswith("235"), login
                    assert client.ask(f"MAIL FROM:<{bad}>").startswith("553 5.7.1 "), login
                    if good:
                        assert client.mail(letter(f"From: {good}"), sender=good).startswith("250")


@pytest.mark.parametrize(
    "fields", [("From: a@one.example", "From: b@two.example"), ("From: Ada",)], ids=["two fields", "no address"]
)
def test_a_message_whose_author_can_not_be_told(tmp_path: Path, fields: tuple[str, ...]) -> None:
    with hostile.sink() as upstream:
        for folder, on_invalid in ((tmp_path / "deliver", "deliver"), (tmp_path / "reject", "reject")):
            folder.mkdir()
            ports = prepared(folder, upstream, smtp="", tracking=f'on_invalid = "{on_invalid}"')
            dkim = service.command("dkim", "create", "one.example", "t1", "--config", str(folder / "relay.toml"))
            config = folder / "relay.toml"
            with config.open("a") as file:
                file.write("\n[[dkim]]\n" + dkim.stdout.partition("[[dkim]]\n")[2].replace("#", ""))
            with service.running(folder, ports) as relay, hostile.Smtp(relay.smtp) as client:
                said = client.mail(letter(*fields), sender="a@one.example")
                if on_invalid == "reject":
                    assert said.startswith("550 5.6.0 "), said
                    continue
                assert said.startswith("250"), said
                assert b"/c/" not in upstream.taken[-1].content
                assert b"DKIM-Signature" not in upstream.taken[-1].content
                assert client.mail(letter("From: a@one.example"), sender="a@one.example").startswith("250")
                assert b"DKIM-Signature" in upstream.taken[-1].content
                with sqlite3.connect(folder / "var" / "trackrelay.db") as database:
                    rows = database.execute("SELECT reason FROM messages ORDER BY message_id").fetchall()
                assert [reason for (reason,) in rows] == ["invalid_instruction", None]
