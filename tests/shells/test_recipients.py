"""One person in the spool and the journal, and in an order that can be gone through again."""

import fcntl
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay import journal, keys, store
from relay.core import queue
from relay.core.model import Keys, SentCopy
from relay.core.persons import Person
from relay.core.queue import Waiting
from relay.core.suppressions import Erasure, Suppression, digest
from relay.recipients import erasing, exporting, files, requested
from relay.spool import disk
from relay.store.contract import Store
from tests.store.contract import T0, click, event, sent

ADA, BOB = "ada@example.net", "bob@example.org"
WHO = Person(ADA)
KEYS = Keys(1, {1: b"k" * 32})
PLAIN = b"Subject: hello\r\n\r\nHello\r\n"


@pytest.fixture
async def known(tmp_path: Path) -> AsyncIterator[Store]:
    opened = store.open("sqlite:test.db", tmp_path)
    await opened.start()
    yield opened
    await opened.stop()


def put(
    folder: Path, name: str, *addresses: str, content: bytes = PLAIN, state: Any = "waiting", kind: Any = "mail"
) -> None:
    recipients = tuple(Waiting(address, index=number, state=state) for number, address in enumerate(addresses))
    entry = queue.Entry(name, "m1", T0, T0, "sales@example.com", recipients, kind=kind)
    kept = disk.Disk(folder / "spool")
    kept.start()
    kept.put(entry, content).release()


def segment(folder: Path, name: str, *lines: bytes) -> Path:
    path = folder / "journal" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def work(known: Store, folder: Path, grant: str = "", **how: Any) -> erasing.Erasing:
    return erasing.Erasing(known, folder, WHO, grant, keys=KEYS, **({"patience": 0.0} | how))


async def test_the_spool(known: Store, tmp_path: Path) -> None:
    await known.record_sent(sent("m1", copies=(SentCopy(BOB, 0, True),)))
    put(tmp_path, "0a", ADA)
    put(tmp_path, "0b", "ADA@Example.NET", BOB)
    put(tmp_path, "0c", BOB, ADA, content=b"To: ada@example.net, bob@example.org\r\n\r\nHello\r\n")
    put(tmp_path, "0d", BOB)
    put(tmp_path, "0e", "sales@example.com", content=b"\r\n\r\n<ada@example.net> is unknown", kind="report")
    (tmp_path / "spool" / "broken").mkdir()
    (tmp_path / "spool" / "broken" / "0f.msg").write_bytes(b"{broken ada@example.net")
    (tmp_path / "spool" / "1a.dropped").write_bytes(b'{"by": "root", "entry": "ada@example.net"}')
    with pytest.raises(erasing.InFlight) as refused:
        await work(known, tmp_path).run()
    assert refused.value.names == ["0a", "0b", "0c"]
    report = await work(known, tmp_path).run(queue=True)
    kept = disk.Disk(tmp_path / "spool")
    assert {name: [r.address for r in entry.recipients] for name in kept.scan() if (entry := kept.read(name))} == {
        "0b": [BOB], "0c": [BOB], "0d": [BOB], "0e": ["sales@example.com"],
    }  # fmt: skip
    assert kept.content("0c").startswith(b"To: ada@example.net")  # not a byte of his mail is changed
    assert [where for where, _ in report.left] == ["spool 0c", "spool 0e"]
    naming = [p.name for p in (tmp_path / "spool").rglob("*") if p.is_file() and WHO.named_in(p.read_bytes())]
    assert sorted(naming) == ["0c.msg", "0e.msg"]
    put(tmp_path, "1b", ADA, state="done")  # what was delivered is on its way no more
    assert await work(known, tmp_path).in_flight() == []


async def test_an_entry_that_is_being_sent_is_left_and_said(known: Store, tmp_path: Path) -> None:
    put(tmp_path, "0a", ADA)
    claim = disk.Disk(tmp_path / "spool").claim("0a")
    assert claim is not None
    report = await work(known, tmp_path).run(queue=True)
    assert report.left == [erasing.Left("spool 0a", "it is being sent right now")]
    claim.release()
    assert (await work(known, tmp_path).run(queue=True)).left == []


async def test_an_entry_keeps_its_state_and_its_lock(tmp_path: Path) -> None:
    put(tmp_path, "0a", ADA, BOB)
    kept = disk.Disk(tmp_path / "spool")
    claim = kept.claim("0a")
    assert claim is not None
    claim.save(queue.read(queue.write(claim.entry).replace(b'"reverse_path"', b'"attempts":3,"reverse_path"')))
    claim.rewrite(queue.read(queue.write(claim.entry)))
    assert kept.claim("0a") is None  # still ours
    assert claim.content() == PLAIN
    claim.release()
    found = kept.read("0a")
    assert found is not None
    assert (found.attempts, len(found.recipients)) == (3, 2)
    assert not (tmp_path / "spool" / "0a.now").exists()


async def test_the_journal(known: Store, tmp_path: Path) -> None:
    await known.record_sent(sent("m1", copies=(SentCopy(ADA, 0, True),)))
    await known.record_sent(sent("m2", copies=(SentCopy(ADA, 0, True), SentCopy(BOB, 1, True))))
    hers, his = event(message_id="m1"), event(message_id="m2", recipient_index=1)
    naming = click(message_id="m2", recipient_index=1, url="https://x.test/?e=ada%40example.net")
    lines = [journal.encode(one) for one in (hers, event(message_id="m2"), his, naming)]
    path = segment(tmp_path, "1-1-1.jsonl", *lines, b"0000 {torn ada@example.net")
    refused = segment(tmp_path, "refused.jsonl", journal.encode(hers))
    report = await work(known, tmp_path).run()
    assert report.left == []
    left = [journal.decode(line) for line in path.read_bytes().splitlines()]
    assert left == [his, naming.with_(url="https://x.test/?e=erased")]
    assert not refused.exists()


async def test_a_segment_that_is_being_written_is_handed_on_without_the_person(known: Store, tmp_path: Path) -> None:
    await known.record_sent(sent("m1", copies=(SentCopy(ADA, 0, True),)))
    path = segment(tmp_path, "1-1-1.jsonl", journal.encode(event(message_id="m1")))
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    report = await work(known, tmp_path).run()
    assert report.left == [erasing.Left("journal 1-1-1.jsonl", "a process is writing it")]
    os.close(descriptor)
    found = journal.decode(path.read_bytes().strip())
    assert found is not None
    assert await known.append(found) is None  # whoever hands it on
    assert await known.events() == []


async def test_of_one_grant_only(known: Store, tmp_path: Path) -> None:
    for name, grant in (("m1", "sales"), ("m2", "support")):
        await known.record_sent(sent(name, grant_id=grant, copies=(SentCopy(ADA, 0, True),)))
        await known.append(event(message_id=name))
    kinds = [(line["kind"], line.get("message_id")) async for line in exporting.lines(known, tmp_path, WHO, "sales")]
    assert {message for _, message in kinds} == {"m1"}
    await work(known, tmp_path, "sales").run()
    assert [m.message_id for m in await known.recent_sent()] == ["m2"]
    assert [e.message_id for e in await known.events()] == ["m2"]


async def test_a_refusal_outlives_the_erasure(known: Store, tmp_path: Path) -> None:
    name = digest(ADA, KEYS)
    await known.suppress([Suppression(name, "", "refusal", ADA, T0, note=f"{ADA} wrote")])
    await known.ask_erasure(Erasure(name, ADA, T0))
    await work(known, tmp_path).run()
    (kept,) = await known.suppressed([name])
    assert (kept.reason, kept.recipient, kept.note) == ("refusal", "", "")
    assert await known.erasures() == []
    lines = [line async for line in exporting.lines(known, tmp_path, WHO, keys=KEYS)]
    assert [line["kind"] for line in lines] == ["suppressions"]


async def test_an_export_has_their_own_whole_and_of_others_what_names_them(known: Store, tmp_path: Path) -> None:
    await known.record_sent(sent("m1", subject="for her", copies=(SentCopy(ADA, 0, True), SentCopy(BOB, 1, True))))
    await known.record_sent(sent("m2", subject=f"about {ADA}", copies=(SentCopy(BOB, 0, True),)))
    await known.append(event(message_id="m1"))
    put(tmp_path, "0a", ADA, BOB, content=b"Subject: \xff\r\n\r\nHello\r\n")
    segment(tmp_path, "1-1-1.jsonl", journal.encode(event(message_id="m1")))
    lines = [line async for line in exporting.lines(known, tmp_path, WHO)]
    json.dumps(lines)
    by_kind = {(line["kind"], line.get("mention", False)): line for line in lines}
    assert by_kind["messages", False]["subject"] == "for her"
    assert by_kind["messages", True] == {"kind": "messages", "mention": True, "key": ["m2"], "subject": f"about {ADA}"}
    assert [copy["recipient"] for copy in by_kind["messages", False]["copies"]] == [ADA]
    assert by_kind["events", False]["ip"] == "8.8.8.8"
    assert [r["address"] for r in by_kind["spool", False]["recipients"]] == [ADA]
    assert "message_base64" in by_kind["spool", False]
    assert by_kind["journal", False]["message_id"] == "m1"


def test_what_was_never_a_folder_has_nothing(tmp_path: Path) -> None:
    assert list(files.entries(disk.Disk(tmp_path / "spool"), WHO)) == []
    assert list(files.aside(tmp_path / "spool", WHO)) == []
    assert list(files.events(tmp_path / "journal", WHO, lambda names: {})) == []


async def test_who_asked_is_erased_once_their_mail_has_left(known: Store, tmp_path: Path) -> None:
    secrets = keys.TokenKeys(tmp_path / "keys" / "tokens.json").now()
    asked = [Erasure(digest(address, secrets), address, T0, "m1") for address in (ADA, "nonsense")]
    await known.record_sent(sent("m1", copies=(SentCopy(ADA, 0, True),)))
    await known.suppress([Suppression(asked[0].digest, "", "refusal", ADA, T0, "page", "e1", f"{ADA} called")])
    for one in asked:
        await known.ask_erasure(one)
    put(tmp_path, "0a", ADA)
    now = [0.0]
    room = requested.Requested(known, tmp_path, clock=lambda: now[0])
    assert await room.round() == 0
    (tmp_path / "spool" / "0a.msg").unlink()
    now[0] = requested.AGAIN / 2
    assert await room.round() == 0  # it was looked for just now
    now[0] = requested.AGAIN
    assert await room.round() == 1
    assert await known.sent("m1") is None
    assert [one.recipient for one in await known.erasures()] == ["nonsense"]
    assert [(one.recipient, one.note, one.reason) for one in await known.suppressed([asked[0].digest])] == [
        ("", "", "refusal")
    ]
