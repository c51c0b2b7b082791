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
from tests.fakes import imap as fake
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


# -- what is fetched for it


ALTERNATIVE = reporting.multipart(
    reporting.text("Yes."), reporting.html("<p>Yes.</p>"), subject="Re: Offer", kind="alternative", sender="Ann <ann@example.org>",
    path="<ann@example.org>", fields=(f"In-Reply-To: <{reporting.SENT}>",),
)  # fmt: skip


async def test_an_ordinary_answer_is_not_fetched_as_a_whole(server: dovecot.Dovecot) -> None:
    [wrapped] = [form.raw for form in reporting.FORMS if form.name == "arf, mixed"]
    with imapclient.IMAPClient("127.0.0.1", server.imap_port, ssl=False) as client:
        client.login(USER, WORD)
        for message in (ALTERNATIVE, wrapped):
            client.append("INBOX", message)
    asked: list[str] = []
    url = f"imap://sales%40example.test@127.0.0.1:{server.imap_port}/INBOX"
    grant, chosen = settings(url)
    source = mailbox.open_source(grant, url, chosen)
    async with aclosing(source.messages(Cursor(source.name, 0, 0), 1_000_000_000.0)) as fetched:
        async for one in fetched:
            if not isinstance(one, Fetched):
                break

            async def whole(one: Fetched = one) -> bytes:
                asked.append(one.head.decode().partition("Subject: ")[2].partition("\r")[0])
                return await one.whole()

            await reading.understood(replace(one, whole=whole))
    assert asked == ["complaint"]


@pytest.mark.parametrize(
    "structure",
    ["NIL", "()", '"text" "plain"', '(("text" "plain" NIL NIL NIL "7bit" 5 1) "mixed"', "((((((((", '(NIL "mixed")', '(("text") "mixed")', "5",
     "(" * 200 + '"text" "plain" NIL NIL NIL "7bit" 5 1' + ' "mixed")' * 200, '("text" {1000}', "drop"],
)  # fmt: skip
async def test_a_structure_that_says_nothing_is_no_reason_to_miss_a_report(structure: str) -> None:
    """Any server may answer anything: then the whole decides, also on another connection."""
    [raw] = [form.raw.decode() for form in reporting.FORMS if form.name == "a gateway's footer"]
    head = raw.partition("\r\n\r\n")[0] + "\r\n\r\n"
    fetch = '* 1 FETCH (UID 7 INTERNALDATE "02-Feb-2026 10:00:00 +0000" BODY[%s] {%d}\r\n%s)\r\n{tag} OK done'
    script = {
        "EXAMINE": "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] set\r\n* OK [UIDNEXT 8] next\r\n{tag} OK done",
        "UID SEARCH": "* SEARCH 7\r\n{tag} OK done",
        "UID FETCH 7 (BODY.PEEK[HEADER": fetch % ("HEADER", len(head), head),
        "UID FETCH 7 (BODY.PEEK[]": fetch % ("", len(raw), raw),
        "UID FETCH 7 (BODYSTRUCTURE": f"* 1 FETCH (UID 7 BODYSTRUCTURE {structure})\r\n{{tag}} OK done",
    }
    if structure == "drop":
        script["UID FETCH 7 (BODYSTRUCTURE"] = "{tag} NO not today"
    async with fake.Server(script) as server:
        url = f"imap://sales%40example.test@127.0.0.1:{server.port}/INBOX"
        grant, chosen = settings(url)
        source = mailbox.open_source(grant, url, chosen)
        async with aclosing(source.messages(Cursor(source.name, 1, 6), 1_000_000_000.0)) as fetched:
            async for one in fetched:
                assert isinstance(one, Fetched)
                report, _ = await reading.understood(one)
                assert report.kind == "bounce"
                break
