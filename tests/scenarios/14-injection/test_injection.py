"""What others write into a label, a name, a subject or a user agent stays a value: it makes no header field, no second
line in a log, and drives no terminal."""

import base64
import email
import json
from collections.abc import Iterator

import pytest

from tests import oracle
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually

ESCAPES = "\x1b[31m\x1b]0;owned\x07\x9b2J\u202e\u2028\x7fend"
LABELS = [
    "a\rBcc: in@x.test", "a\nBcc: in@x.test", "=?utf-8?q?a=0d=0aBcc:_in@x.test?=", "=?utf-8?b?YQ0KQmNjOiBpbkB4LnRlc3Q=?=",
    "a\x00b", "a\u2028Bcc: in@x.test", "a\u2029b", "a\x85b", "=?utf-8?q?a=E2=80=A8Bcc:_in@x.test?=", "a\x1b[2Jb",
    "a\x0bb", "a\x0cb", "=?utf-16le?b?YQANAAoAQgBjAGMAOgA=?=",
]  # fmt: skip
Peers = tuple[service.Service, service.Service, Upstream]


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """A relay that delivers what it can't read, one that refuses it, and their upstream."""
    kind, strict = tmp_path_factory.mktemp("kind"), tmp_path_factory.mktemp("strict")
    with hostile.sink() as upstream:
        ports = service.settings(kind, upstream=upstream.port, smtp='auth = "users"')
        others = service.settings(
            strict, upstream=upstream.port, smtp='bare_newline = "reject"', tracking='on_invalid = "reject"'
        )
        with service.running(kind, ports) as relay, service.running(strict, others, only="smtp") as second:
            yield relay, second, upstream


@pytest.mark.parametrize("label", LABELS, ids=ascii)
def test_a_label_is_no_header(peers: Peers, label: str) -> None:
    relay, strict, upstream = peers
    before = len(upstream.taken)
    content = hostile.letter("", "X-Track: all", f"X-Track-Label: {label}")
    with hostile.Smtp(relay.smtp) as client, hostile.Smtp(strict.smtp) as other:
        answer, refused = client.mail(content), other.mail(content)
        assert client.ask("NOOP").startswith("250")
        assert other.ask("NOOP").startswith("250")
    assert answer.startswith("550 5.6.0" if "\r" in label else "250"), answer
    assert refused.startswith("550 5.6.0"), refused
    assert refused.isprintable()
    # A label that can't be read is none: untracked, and nothing of it leaves. A line feed ends it, and a Bcc behind that
    # is one like any other.
    for kept in upstream.taken[before:]:
        names = [name.lower() for name in email.message_from_bytes(kept.content)]
        assert "bcc" not in names
        assert not any(name.startswith("x-track") for name in names)
        assert oracle.below_trace(kept.content).count(b"\r\n") == content.count(b"\r\n") - 2
        assert b"in@x.test" not in kept.content


def test_one_event_is_one_line(peers: Peers) -> None:
    relay, _, _ = peers
    before = len(relay.log)
    with hostile.Smtp(relay.smtp, hello="") as client:
        client.ask(b"EHLO evil\x1b[31m\x7f")
        client.ask(ESCAPES)
        login = base64.b64encode(f"\0me{ESCAPES}\r\nINFO forged\0wrong".encode()).decode()
        assert client.ask(f"AUTH PLAIN {login}").startswith("535")
        client.ask(f"MAIL FROM:<a@example.test{ESCAPES}>")
        assert client.mail(hostile.letter("", f"X-Subject: {ESCAPES}", f"X-Track: {ESCAPES}")).startswith("250")
    written = eventually(lambda: relay.log[before:] if "login_refused" in relay.log[before:] else "")
    for line in written.splitlines():
        assert line.startswith("20"), line  # each begins with its time
        assert line.isprintable(), ascii(line)
    assert "\\x1b" in written


def test_commands_drive_no_terminal(peers: Peers) -> None:
    relay, _, upstream = peers
    subject = "=?utf-8?b?" + base64.b64encode(ESCAPES.encode()).decode() + "?="
    with hostile.Smtp(relay.smtp) as client:
        content = hostile.letter("", "X-Track: all").replace(b"A letter", subject.encode())
        assert client.mail(content).startswith("250")
    pixels, clicks = hostile.tokens(upstream.taken[-1].content)
    with hostile.Http(relay.http) as client:
        agent = "User-Agent: x\x9b2J\x7fy"
        assert client.get(pixels[0] + "?tid=%1b%5b2J%0a%e2%80%ae", agent)[0] in (200, 400)
    with hostile.Http(relay.http) as client:
        assert client.get(clicks[0] + "?tid=%1b%5b2J%0a%e2%80%ae%c2%9b", "User-Agent: tidy")[0] == 302
    shown = eventually(lambda: "tid=" in (text := relay.command("events").stdout) and text)
    assert all(line.isprintable() for line in shown.splitlines()), ascii(shown)
    assert relay.events()[-1]["data"]["tid"] == "\x1b[2J\n\u202e\x9b"


def test_a_log_in_json_is_json(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("json")
    ports = service.settings(folder, upstream=9, smtp='auth = "users"')
    with service.running(folder, ports, only="smtp", words=("--log-format", "json")) as relay:
        with hostile.Smtp(relay.smtp) as client:
            login = base64.b64encode(f"\0me{ESCAPES}\0wrong".encode()).decode()
            assert client.ask(f"AUTH PLAIN {login}").startswith("535")
        found = [json.loads(line) for line in relay.log.splitlines() if line != "trackrelay ready"]
    assert [row["login"] for row in found if row["event"] == "login_refused"] == [f"me{ESCAPES}"]
