"""Servers that lack what most have: one program sends through all of them, and each message arrives once."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from relay.core import greetings
from tests import peers
from tests.fakes.upstream import Prompting, Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

FEW = ("PIPELINING", "8BITMIME")
LARGE = "<html><body>" + "<p>Grüße</p>" * 400 + "</body></html>"


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_all_kinds_of_upstreams(tmp_path: Path) -> None:
    """They hear the machine's name, or, where that is no full one, the address of our end."""
    ours = greetings.name(os.uname().nodename, "127.0.0.1")
    prompts = [f"334 {packed('Username:')}"] * 2 + ["334 Passwort:", "235 2.7.0 welcome"]
    prompting = Prompting("AUTH GSSAPI PLAIN|AUTH=LOGIN", ["504 5.7.4 no PLAIN", *prompts])
    servers: dict[str, Upstream] = {
        "helo": Upstream({"ehlo": "502 5.5.1 EHLO is not for us"}),
        "leaves": Upstream({"ehlo": "close:500 what?"}),
        "login": prompting,
        "seven": Upstream({"dot": ["554 5.6.1 Body type not supported by remote host", None]}),
        "small": Upstream(offers=(*FEW, "SIZE 3000")),
        "ascii": Upstream(offers=FEW),
        "nobody": Upstream({"mail": "530 5.7.0 Authentication required"}),
        "spare": Upstream(),
    }
    with hostile.elsewhere() as run:
        more = ""
        for name, server in servers.items():
            run(server.start(peers.free_port()))
            login = 'password = "word"' if name == "login" else ""
            more += f"""
[[upstreams]]
id = "{name}"
from = ["*@{name}.test"]
url = "smtp://{"u@" if login else ""}127.0.0.1:{server.port}"
{login}
{'fallback = ["spare"]' if name in ("small", "ascii", "nobody") else ""}
"""
        ports = service.settings(tmp_path, upstream=servers["spare"].port, more=more, hostname="")
        with (
            service.running(tmp_path, ports, only="smtp,queue") as relay,
            hostile.Smtp(relay.smtp) as client,
        ):

            def send(name: str, *to: str, options: str = "", body: str = LARGE) -> None:
                letter = hostile.letter(body).replace(b"<a@example.test>", f"<a@{name}.test>".encode())
                assert client.mail(letter, *to, options=options).startswith("250"), name

            for name in ("helo", "leaves", "login", "seven", "small", "nobody"):
                send(name, options=" BODY=8BITMIME")
            send("ascii", "b@example.test", "ü@example.test", options=" SMTPUTF8 BODY=8BITMIME")
            send("ascii", options=" SMTPUTF8 BODY=8BITMIME")  # which nothing in it needs
            send("small", body="<p>small</p>")
            eventually(lambda: sum(len(server.taken) for server in servers.values()) == 10)
            assert {name: len(server.taken) for name, server in servers.items()} == {
                "helo": 1, "leaves": 1, "login": 1, "seven": 1, "small": 1, "ascii": 2, "nobody": 0, "spare": 3,
            }  # fmt: skip
        for name, server in servers.items():
            run(server.stop())
            assert {line for line in server.lines if line.startswith("EHLO")} <= {f"EHLO {ours}"}, name
    for name in ("helo", "leaves", "seven"):
        assert servers[name].taken[0].content.isascii()
    assert f"HELO {ours}" in servers["leaves"].lines
    assert [line.split(" ")[1] for line in prompting.heard if line.startswith("AUTH")] == ["PLAIN", "LOGIN"]
    assert prompting.heard[2:] == [packed("u"), packed("u"), packed("word")]
    assert [kept.recipients for kept in servers["ascii"].taken] == [["b@example.test"], ["b@example.test"]]
    assert sorted(kept.recipients[0] for kept in servers["spare"].taken) == [
        "b@example.test",
        "b@example.test",
        "ü@example.test",
    ]
    assert ["SMTPUTF8" in kept.commands[0] for kept in servers["ascii"].taken] == [False, False]
