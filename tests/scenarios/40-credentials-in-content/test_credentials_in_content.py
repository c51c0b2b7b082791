"""What lets somebody in and stands in a message, or in a webhook's address, is kept nowhere and shown to nobody: links to a
new password, logins in URLs, tokens in fragments; whether links are tracked or not."""

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scenarios import hostile, service
from tests.until import eventually

WORD = "canary-Word-4711"
LINKS = [
    f"https://app.example.com/reset?token={WORD}", f"https://app.example.com/reset?id=1&amp;password={WORD}",
    f"https://user:{WORD}@app.example.com/x", f"https://{WORD}@app.example.com/", f"ftp://me:{WORD}@files.example.com/",
    f"https://app.example.com/cb#access_token={WORD}", f"/reset/{WORD}", f"mailto:a@example.com?body={WORD}",
    f"https://app.example.com/{WORD}/{{{{name}}}}", f"myapp:{WORD}",
    f"https://app.example.com/password/reset/{WORD}?email=ada", f"https://app.example.com/verify-email/{WORD}",
    f"https://app.example.com/confirm/{WORD}", f"https://app.example.com/auth/magic-link/{WORD}",
    f"https://app.example.com/cb?state=1&amp;code={WORD}", f"https://app.example.com/j/1?pwd={WORD}",
    f"https://app.example.com/?X-Amz-Signature={WORD}", f"https://app.example.com/?sv=1&amp;sp=r&amp;sig={WORD}",
    f"https://app.example.com/?resourcekey={WORD}", f"https://app.example.com/viewform?edit2={WORD}",
    f"https://app.example.com/a;jsessionid={WORD}?x=1", f"https://app.example.com/?a;user%5Breset-token%5D={WORD}",
    f"https://go.example.com/?url=https%3A%2F%2Fapp.example.com%2F%3FapiKey%3D{WORD}",
    f"https://go.example.com/?url=https%253A%252F%252Fapp.example.com%252Freset%252F{WORD}",
    f"https://go.example.com/?url=https%3A%2F%2Fme%3A{WORD}%40app.example.com%2F", f"https://app.example.com/#id_token={WORD}",
    f"https://app.example.com/?SAMLResponse={WORD}", f"https://app.example.com/?oobCode={WORD}",
]  # fmt: skip
HTML = "<html><body>" + "".join(f'<a href="{link}">x</a>\r\n' for link in LINKS) + "</body></html>"
FIELDS = {
    "tracked": "X-Track: all", "opens": "X-Track: opens", "links": "X-Track: links", "none": "X-Track: none",
    "nothing said": "X-Other: 1",
}  # fmt: skip
LOGIN = "l0g1n-0f-4-h00k"
TRIGGERS = '["message.opened", "message.link_clicked"]'
SECRET = "whsec_" + "c2VjcmV0" * 4


def shown(relay: service.Service, *commands: tuple[str, ...]) -> dict[str, str]:
    """All that the program says of what it knows, by the place where it says it."""
    found = {" ".join(words): relay.command(*words).stdout for words in commands}
    found["log"] = relay.log
    pages = ["/metrics", "/live", "/live/messages"]
    for page in pages:
        with urllib.request.urlopen(f"http://127.0.0.1:{relay.admin}{page}", timeout=hostile.WAIT) as answer:
            found[page] = answer.read().decode()
        if page == "/live/messages":
            pages += [f"/live/messages/{message['id']}" for message in json.loads(found[page])["messages"]]
    return found


@pytest.mark.parametrize("text_links", [False, True], ids=["html", "text too"])
def test_links_that_let_somebody_in(tmp_path: Path, text_links: bool) -> None:
    commands = (("events",), ("events", "--json"), ("queue", "list", "--json"), ("webhooks", "list", "--json"))
    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, tracking="text_links = true" if text_links else "")
        with service.running(tmp_path, ports, words=("--verbose",)) as relay:
            with hostile.Smtp(relay.smtp) as client:
                for field in FIELDS.values():
                    content = hostile.letter(HTML, field)
                    if text_links:
                        content = content.replace(b"text/html", b"text/plain")
                    assert client.mail(content).startswith("250")
            assert all(kept.content.count(WORD.encode()) == len(LINKS) for kept in upstream.taken)  # as it came
            pixels = [pixel for kept in upstream.taken for pixel in hostile.tokens(kept.content)[0]]
            assert len(pixels) == (0 if text_links else 2)
            with hostile.Http(relay.http) as visitor:
                assert [visitor.get(pixel)[0] for pixel in pixels] == [200] * len(pixels)
            eventually(lambda: relay.command("events").stdout.count("message.opened") == len(pixels))
            told = shown(relay, *commands)
            assert len(told) == len(commands) + 4 + len(FIELDS)
            assert [place for place, text in told.items() if WORD in text] == []
            assert hostile.found_in(tmp_path, WORD.encode()) == []  # the database, its WAL, the log
        assert hostile.found_in(tmp_path, WORD.encode()) == []
        whole = relay.command("rewrite", "--explain", "--links", input=HTML.join(["Content-Type: text/html\n\n", ""]))
        assert whole.stdout.count(WORD) > len(LINKS)  # a dry run tells the one who asks all


@contextmanager
def nonsense() -> Iterator[int]:
    """A server that answers whatever it is asked with what is no HTTP; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65_536)
                    peer.sendall(b"nonsense\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_addresses_of_webhooks(tmp_path: Path) -> None:
    """One that fails so that the library names its whole address; one that is tried by hand."""
    commands = (("webhooks", "list"), ("webhooks", "list", "--json"), ("events",))
    with hostile.sink() as upstream, nonsense() as port:
        ports = service.settings(
            tmp_path, upstream=upstream.port, tracking="opens = true",
            more=f"""
[[webhooks]]
url = "http://{WORD}:{LOGIN}@127.0.0.1:{port}/hook?token={WORD}&{WORD}#{WORD}"
triggers = {TRIGGERS}
secret = "{SECRET}"
[webhook_delivery]
allow_private = ["127.0.0.1"]
""",
        )  # fmt: skip
        with service.running(tmp_path, ports, words=("--verbose",)) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter()).startswith("250")
            with hostile.Http(relay.http) as visitor:
                assert visitor.get(hostile.tokens(upstream.taken[0].content)[0][0])[0] == 200
            eventually(lambda: " webhooks retry " in relay.log)
            told = shown(relay, *commands)
            (endpoint,) = map(json.loads, told["webhooks list --json"].splitlines())
            assert endpoint["url"] == f"http://…@127.0.0.1:{port}/hook?token=…&…"
            tried = relay.command("webhooks", "test", endpoint["endpoint_id"], "--json", code=1)
            told["webhooks test"] = tried.stdout + tried.stderr
            assert [place for place, text in told.items() if WORD in text or LOGIN in text] == []
            eventually(lambda: endpoint["endpoint_id"] in relay.log)  # so that one knows which it was
            assert json.loads(tried.stdout)["error"]
            rows = hostile.found_in(tmp_path / "var", b"nonsense")
            assert all("trackrelay.db" in path for path in rows)
            assert hostile.found_in(tmp_path / "var", LOGIN.encode()) == []  # it is in relay.toml only


def test_a_mistake_in_the_settings_does_not_repeat_it(tmp_path: Path) -> None:
    service.settings(tmp_path, upstream=25)
    config = tmp_path / "relay.toml"
    good = config.read_text()
    for line in (
        f'[[webhooks]]\nurl = "https://user:{WORD}@/hook"\ntriggers = {TRIGGERS}\nsecret = "{SECRET}"',
        f'[[webhooks]]\nurl = "ftp://app.example.com/?key={WORD}"\ntriggers = {TRIGGERS}\nsecret = "{SECRET}"',
        f'[[upstreams]]\nid = "x"\nurl = "smtp://me:{WORD}@smtp.example.com"',
    ):
        config.write_text(f"{good}\n{line}\n")
        done = service.command("check", "--config", str(config))
        assert done.returncode == 2, done.stdout + done.stderr
        assert WORD not in done.stdout + done.stderr
