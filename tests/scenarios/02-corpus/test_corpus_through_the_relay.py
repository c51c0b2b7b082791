"""Every message of the corpus through the running relay to a sink that keeps the bytes: none lost, none damaged."""

import asyncio
import re
import smtplib
from pathlib import Path

import pytest

from tests import corpus, oracle
from tests.fakes.upstream import Upstream
from tests.scenarios import service


def crlf(raw: bytes) -> bytes:
    """As a client puts it on the wire; what it can't put there (a bare CR) stays."""
    text = re.sub(rb"(?<!\r)\n", b"\r\n", raw)
    return text if text.endswith(b"\r\n") else text + b"\r\n"


def send(port: int, paths: list[Path], recipients: tuple[str, ...]) -> dict[int, tuple[int, bytes]]:
    """Each in a transaction of its own on one connection, asking for all; number -> the relay's answer."""
    answers = {}
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.ehlo("client.example.test")
        for number, path in enumerate(paths):
            client.mail(f"m{number}@example.test", ["BODY=8BITMIME"])
            for recipient in recipients:
                client.rcpt(recipient)
            client.putcmd("DATA")
            assert client.getreply()[0] == 354
            content = b"X-Track: all\r\n" + crlf(path.read_bytes())
            client.sock.sendall(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
            answers[number] = client.getreply()
    return answers


@pytest.mark.parametrize(
    "recipients", [("one@example.test",), ("one@example.test", "two@example.test")], ids=["one", "two"]
)
async def test_none_is_lost_none_is_damaged(tmp_path: Path, recipients: tuple[str, ...]) -> None:
    paths = corpus.messages("messages", "template-messages")
    async with Upstream() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, only="smtp,queue,http,admin") as relay:
            answers = await asyncio.to_thread(send, relay.smtp, paths, recipients)
        base = f"http://127.0.0.1:{ports[1]}"
        arrived: dict[int, dict[str, bytes]] = {}
        for kept in upstream.kept:
            number = int(re.match(r"m(\d+)@", kept.reverse_path)[1])
            for recipient in kept.recipients:
                assert recipient not in arrived.setdefault(number, {}), f"{paths[number]} arrived twice"
                arrived[number][recipient] = kept.content
    wrong: list[str] = []
    edited = refused = 0
    for number, path in enumerate(paths):
        code, words = answers[number]
        before = crlf(path.read_bytes())
        if re.search(rb"\r(?!\n)", before):
            assert (code, words[:5]) == (550, b"5.6.0"), f"{path}: {code} {words!r}"
            assert number not in arrived
            refused += 1
            continue
        assert code == 250, f"{path}: {code} {words!r}"
        assert set(arrived.get(number, {})) == set(recipients), f"{path} was lost"
        for after in arrived[number].values():
            assert b"x-track" not in after.lower().partition(b"\r\n\r\n")[0]
            found = oracle.damage(before, oracle.below_trace(after), base)
            wrong += [f"{path}: {words}" for words in found]
            edited += base.encode() in after or base.encode()[:40] in after
    print(f"{len(paths)} messages: {edited} copies edited, {refused} refused for a bare CR, {len(wrong)} differences")
    assert not wrong, "\n".join(wrong)
    assert edited > 50
