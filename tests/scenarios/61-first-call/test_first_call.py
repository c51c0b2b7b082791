"""The calls and programs of the guide "Track email opens and replies" (developer.nylas.com) run as they stand there: only
the address, the key, the account and the handler's URL are put in.

The guide's two programs name no recipient. That can't be sent anywhere: they are told so, and run with one line more.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import peers
from tests.fakes.upstream import Upstream
from tests.peers import node
from tests.scenarios import hostile, service
from tests.until import eventually

HERE = Path(__file__).parent
CLOUD = "https://api.us.nylas.com"
KIM = '"to": [{"name": "Kim Townsend", "email": "kim@example.org"}],'


@dataclass
class Guided:
    relay: service.Service
    upstream: Upstream
    key: str
    handler: int  # its port
    heard: Path  # what it printed

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.relay.admin}"

    def text(self, name: str) -> str:
        found = (HERE / name).read_text()
        for words, instead in {
            CLOUD: self.api,
            "<NYLAS_GRANT_ID>": "default",
            "<NYLAS_API_KEY>": self.key,
            "[email protected]": "kim@example.org",
            "https://yourapp.com": f"http://127.0.0.1:{self.handler}",
        }.items():
            found = found.replace(words, instead)
        return found

    def call(self, name: str) -> dict[str, dict[str, object]]:
        done = subprocess.run(["bash", "-c", self.text(name)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        answer: dict[str, dict[str, object]] = json.loads(done.stdout)
        return answer

    def python(self, text: str) -> subprocess.CompletedProcess[str]:
        text = text.replace("api_key=", f'api_uri="{self.api}", api_key=', 1)
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)

    def node(self, text: str) -> subprocess.CompletedProcess[str]:
        program = node.require("nylas")
        text = text.replace("{ apiKey", f'{{ apiUri: "{self.api}", apiKey', 1)
        text = f"(async () => {{ {text} }})().catch((reason) => {{ console.error(reason); process.exit(1); }})"
        return subprocess.run([program, "-e", text], capture_output=True, text=True, timeout=60)


@contextmanager
def handling(folder: Path) -> Iterator[tuple[int, Path]]:
    """The guide's handler, by Flask's own server."""
    (folder / "handler.py").write_text((HERE / "handler.py.txt").read_text())
    port, heard = peers.free_port(), folder / "heard"
    with heard.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "flask", "--app", "handler", "run", "--port", str(port)],
            cwd=folder, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        eventually(lambda: b"Running on" in heard.read_bytes())
        yield port, heard
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def guided(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guided]:
    folder = tmp_path_factory.mktemp("guide")
    more = """
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
[[grants]]
id = "default"
email = "rep@example.test"
addresses = ["*@example.test"]
"""
    with handling(folder) as (handler, heard), hostile.sink() as upstream:
        ports = service.settings(folder, upstream=upstream.port, admin="open = false", more=more)
        with service.running(folder, ports) as relay:
            key = relay.command("api-key", "create", "guide").stdout.strip()
            yield Guided(relay, upstream, key, handler, heard)


def test_the_calls(guided: Guided) -> None:
    made = guided.call("subscribe.sh")["data"]
    assert made["webhook_url"] == f"http://127.0.0.1:{guided.handler}/webhooks/nylas"
    assert made["trigger_types"] == ["message.opened", "message.link_clicked", "thread.replied"]
    assert "challenge=" in guided.heard.read_text()

    sent = guided.call("send.sh")["data"]
    (copy,) = [each for each in guided.upstream.taken if each.recipients == ["kim@example.org"]]
    pixels, clicks = hostile.tokens(copy.content)
    assert len(pixels) == len(clicks) == 1
    with hostile.Http(guided.relay.http) as reader:
        assert reader.get(pixels[0])[0] == 200
        status, fields, _ = reader.get(clicks[0])
        assert (status, fields["location"]) == (302, "https://example.com/demo")
    for words in (f"Opened: {sent['id']}\n", f"Link clicked: {sent['id']}\n"):
        eventually(lambda: words in guided.heard.read_text())  # noqa: B023 - asked for at once
    assert "Traceback" not in guided.heard.read_text()


def test_the_python_program(guided: Guided) -> None:
    text = guided.text("send.py.txt")
    told = guided.python(text)
    assert told.returncode != 0
    assert "NylasApiError" in told.stderr
    assert re.search(r"\bto\b", told.stderr.splitlines()[-1]), told.stderr

    done = guided.python(text.replace('"subject"', f'{KIM} "subject"'))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Sent message [0-9a-z_-]+\n", done.stdout)


def test_the_node_program(guided: Guided) -> None:
    node.require("nylas")
    text = guided.text("send.js")
    told = guided.node(text)
    assert told.returncode == 1
    assert "NylasApiError" in told.stderr

    done = guided.node(text.replace("subject:", f"{KIM} subject:"))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Sent message [0-9a-z_-]+\n", done.stdout)


def test_the_first_calls_of_our_own_document(guided: Guided) -> None:
    node.require("nylas")
    text = (service.ROOT / "docs" / "api.md").read_text()
    blocks = dict(re.findall(r"^```(python|js)\n(.*?)^```", text, re.S | re.M))
    (curl,) = re.findall(r"^```sh\n(curl .*?)^```", text, re.S | re.M)
    before = len(guided.upstream.taken)
    programs = {"bash": ["bash", "-c"], "python": [sys.executable, "-c"], "js": ["node", "-e"]}
    for language, block in {"bash": curl, **blocks}.items():
        for words, instead in {"http://127.0.0.1:8081": guided.api, "Bearer any": f"Bearer {guided.key}",
                               '"any"': f'"{guided.key}"'}.items():  # fmt: skip
            block = block.replace(words, instead)
        done = subprocess.run([*programs[language], block], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    found = guided.upstream.taken[before:]
    assert [each.recipients for each in found] == [["kim@example.com"]] * 3
    assert all(len(links) == 1 for both in map(hostile.tokens, (each.content for each in found)) for links in both)
