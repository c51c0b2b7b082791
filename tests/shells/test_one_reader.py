"""What `trackrelay inspect` says of a message, the mailbox does: over every report there is, by Maildir and by IMAP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import imapclient
import pytest

from relay import mailbox
from relay.commands import inspect
from relay.config import Grant, Mailbox, Settings
from relay.mailbox import reading
from relay.mailbox.source import Fetched
from relay.store import Cursor
from tests import corpus, reporting
from tests.peers import dovecot

USER, WORD = "sales@example.test", "secret"


def messages() -> list[bytes]:
    return [form.raw for form in reporting.FORMS] + [path.read_bytes() for path in corpus.messages("reports")]


def settings(url: str) -> tuple[Grant, Settings]:
    grant = Grant("sales", email=USER, mailbox=(url,), mailbox_password=WORD)
    return grant, replace(Settings(), grants=(grant, Grant("default")), mailbox=Mailbox(poll_interval=0.1))


async def read(url: str) -> list[object]:
    """What the mailbox makes of each message that it holds, in order."""
    grant, chosen = settings(url)
    source = mailbox.open_source(grant, url, chosen)
    found: list[object] = []
    async with aclosing(source.messages(Cursor(source.name, 0, 0), 1_000_000_000.0)) as fetched:
        async for one in fetched:
            if not isinstance(one, Fetched):
                break
            report, _ = await reading.understood(one)
            found.append(inspect.shown(report))
    return found


def inspected(folder: Path, raw: list[bytes]) -> list[object]:
    folder.mkdir()
    found = []
    for number, message in enumerate(raw):
        (folder / str(number)).write_bytes(message)
        found.append(json.loads(inspect.line(str(folder / str(number)))))
    return found


async def test_the_mailbox_does_what_inspect_says_by_maildir(tmp_path: Path) -> None:
    raw = messages()
    for name in ("new", "cur", "tmp"):
        (tmp_path / "mail" / name).mkdir(parents=True)
    for number, message in enumerate(raw):
        (tmp_path / "mail" / "new" / f"{number:05}.host").write_bytes(message)
    assert await read(f"maildir:{tmp_path / 'mail'}") == inspected(tmp_path / "files", raw)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[dovecot.Dovecot]:
    with dovecot.running(tmp_path / "dovecot", {USER: WORD}) as running:
        yield running


async def test_the_mailbox_does_what_inspect_says_by_imap(tmp_path: Path, server: dovecot.Dovecot) -> None:
    raw = [message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for message in messages()]
    with imapclient.IMAPClient("127.0.0.1", server.imap_port, ssl=False) as client:
        client.login(USER, WORD)
        for message in raw:
            client.append("INBOX", message)
    url = f"imap://sales%40example.test@127.0.0.1:{server.imap_port}/INBOX"
    assert await read(url) == inspected(tmp_path / "files", raw)
