"""Each role in a process of its own, on one state_dir: together they are the service, and one that dies takes no other
along."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from tests.scenarios import hostile, service
from tests.until import eventually

SECRET = {"HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLwSw"}


class Hook(HTTPServer):
    """Remembers the types of the notifications that it took."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.types: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.types.append(json.loads(body)["type"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_together_they_are_the_service(tmp_path: Path) -> None:
    hook = Hook()
    deferring = ["451 4.3.0 later"]
    with hostile.sink({"dot": lambda command: deferring.pop() if deferring else None}) as upstream:
        ports = service.settings(
            tmp_path,
            upstream=upstream.port,
            more=f"""
[[webhooks]]
url = "http://127.0.0.1:{hook.server_address[1]}/"
triggers = ["message.opened", "message.link_clicked"]
secret = "env:HOOK_SECRET"
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
""",
        )

        def role(only: str) -> Any:
            return service.running(tmp_path, ports, only=only, env=SECRET)

        with role("smtp") as smtp, role("http") as http, role("queue,webhooks,mailbox,admin") as rest:
            with hostile.Smtp(smtp.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            assert upstream.taken == []  # put off: it is the queue's now, which another process runs
            rest.command("queue", "retry", "--all", env={**os.environ, **SECRET})
            eventually(lambda: upstream.taken)
            pixels, clicks = hostile.tokens(upstream.taken[0].content)
            with hostile.Http(http.http) as client:
                assert client.get(pixels[0])[0] == 200
                assert client.get(clicks[0])[0] == 302
            eventually(lambda: sorted(hook.types) == ["message.link_clicked", "message.opened"])
            with hostile.Http(rest.admin) as client:
                assert client.get("/readyz")[0] == 200

            rest.kill()  # all but the doors
            with hostile.Http(http.http) as client:
                assert client.get(clicks[0], "User-Agent: another")[0] == 302
            with hostile.Smtp(smtp.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            assert len(upstream.taken) == 2
            http.kill()
            deferring.append("451 4.3.0 later")
            with hostile.Smtp(smtp.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            assert len(upstream.taken) == 2
            with role("queue,webhooks,mailbox,admin") as again:
                eventually(lambda: len(hook.types) >= 3)  # the click of the meantime
                again.command("queue", "retry", "--all", env={**os.environ, **SECRET})
                eventually(lambda: len(upstream.taken) == 3)
            assert "Traceback" not in smtp.log
    hook.shutdown()
    hook.server_close()


def test_the_http_role_alone_needs_no_upstream(tmp_path: Path) -> None:
    """A tracking node knows its keys and its address, and nothing of mail."""
    ports = service.settings(tmp_path, upstream="")
    with service.running(tmp_path, ports, only="http,admin") as relay:
        with hostile.Http(relay.http) as client:
            assert client.get("/")[0] == 200
        with hostile.Http(relay.admin) as client:
            assert client.get("/healthz")[0] == 200
    done = service.command("run", "--config", str(tmp_path / "relay.toml"))
    assert done.returncode == 2
    assert "upstream.url" in done.stderr
