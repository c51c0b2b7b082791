"""What `trackrelay check` would find at the upstreams, the running service says too, in the same sentences, once mail has met
it: on /readyz, once in the log, in a metric. And it ends when the upstream takes mail again, or at its next message."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from tests import peers
from tests.fakes.upstream import USUAL, Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

HELLO = "504 5.5.2 <relay.example.test>: Helo command rejected: need fully-qualified hostname"
# name -> what the server does, what it offers, whether we have a login there, what is said of it, and the metric's kind
SERVERS = {
    "login": ({"auth": "535 5.7.8 wrong password"}, True, "refused the login: 535 5.7.8 wrong password", "login"),
    "noauth": ({}, True, "offers no AUTH; take the user out of the URL", "login"),
    "greeting": ({"ehlo": "550 no", "helo": "550 5.7.1 not you"}, False, "takes neither EHLO nor HELO from us as relay", "greeting"),
    "banner": ({"banner": "554 5.3.2 not here"}, False, "does not take us: 554 5.3.2 not here", "greeting"),
    "secure": ({}, False, 'does not offer STARTTLS, and upstreams.secure.tls is "required"', "tls"),
    "name": ({"rcpt": HELLO}, False, "refuses our name relay.example.test; set smtp.hostname", "name"),
    "missing": ({"mail": "530 5.7.0 Authentication required"}, False, "wants a login; name its user in the URL", "login"),
    "encrypt": ({"mail": "530 5.7.0 Must issue a STARTTLS command first"}, False, 'wants TLS; set its tls = "required"', "tls"),
}  # fmt: skip
UNSEEN = ("name",)  # by `check`, which names no recipient


def test_what_keeps_all_mail_waiting_is_told(tmp_path: Path) -> None:
    with hostile.elsewhere() as run, hostile.sink() as good:
        servers, more = {}, ""
        for name, (script, login, _, _) in SERVERS.items():
            users = {"u": "word"} if name == "login" else None
            server = servers[name] = Upstream(script, users=users, offers=USUAL)
            run(server.start(peers.free_port()))
            more += f"""
[[upstreams]]
id = "{name}"
from = ["*@{name}.test"]
url = "smtp://{"u@" if login else ""}127.0.0.1:{server.port}"
{'password = "env:WORD"' if login else ""}
tls = "{"required" if name == "secure" else "never"}"
"""
        ports = service.settings(tmp_path, upstream=good.port, more=more)
        env = {**os.environ, "WORD": "word"}
        with service.running(tmp_path, ports, only="smtp,queue,admin", env=env) as relay:

            def warnings() -> list[str]:
                with hostile.Http(relay.admin) as client:
                    status, _, body = client.get("/readyz")
                assert status == 200
                found: list[str] = json.loads(body)["warnings"]
                return found

            def send(name: str) -> str:
                with hostile.Smtp(relay.smtp) as client:
                    return client.mail(hostile.letter().replace(b"<a@example.test>", f"<a@{name}.test>".encode()))

            assert warnings() == []
            for name in (*SERVERS, *SERVERS):  # the second message of each says nothing new
                assert send(name).startswith("250"), name
            assert send("example").startswith("250")
            eventually(lambda: len(warnings()) == len(SERVERS))
            said = {line.partition(": ")[0].removeprefix("upstreams."): line for line in warnings()}
            assert set(said) == set(SERVERS)
            figures = hostile.metrics(relay.admin)
            checked = service.command("check", "--config", str(tmp_path / "relay.toml"), env=env).stdout
            listed = relay.command("queue", "list", env=env).stdout
            for name, (_, _, words, kind) in SERVERS.items():
                assert words in said[name]
                assert figures[f'trackrelay_upstream_trouble{{kind="{kind}",upstream="{name}"}}'] == 1
                line = rf"WARNING upstream upstream_(?:unreachable|refuses_us) .*name={name} .*"
                eventually(lambda line=line: re.search(line, relay.log))  # type: ignore[misc]
                assert len(re.findall(line, relay.log)) == 1, relay.log
                assert (said[name] in checked) is (name not in UNSEEN), name
                assert listed.count(said[name].partition(": ")[2][:40]) >= 2, (
                    listed
                )  # and each message says why it waits
            assert figures['trackrelay_upstream_trouble{kind="login",upstream="default"}'] == 0
            # all is well again: what can be looked at is, the rest by the next message
            for name, server in servers.items():
                server.script.clear()
                if name == "noauth":
                    server.users = {"u": "word"}
                if name == "secure":
                    server.script["connect"] = "drop"  # it stays in trouble, of another kind
            relay.command("queue", "retry", "--all", env=env)
            eventually(lambda: [line.partition(":")[0] for line in warnings()] == ["upstreams.secure"])
            assert "does not answer" in warnings()[0]
            eventually(lambda: relay.log.count(" upstream_works_again ") == len(SERVERS) - 1)
            eventually(lambda: len(servers["name"].taken) == 2)
        for server in servers.values():
            run(server.stop())
