"""Every answer in a mailbox is seen once: pushed or polled, after a restart, a new UIDVALIDITY, a server that was away.
Nothing that is no answer becomes one, and nothing in the mailbox changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import imapclient
import pytest

from relay import mailbox, metrics, outbound
from relay import store as stores
from relay.config import Grant, Mailbox, Settings
from relay.core import headers, threads, tokens
from relay.core.model import Event, Keys, Recipient, Sent, SentCopy, Submission, Token, Tracking
from relay.mailbox import client, fetching, maildir
from relay.mailbox.source import Times
from relay.store.contract import Store
from tests import reporting
from tests.fakes import certificates
from tests.fakes import imap as fake
from tests.peers import dovecot
from tests.until import until

KEYS = Keys(1, {1: bytes(range(32))})
KEY = tokens.message_key(1_700_000_000.0, bytes(16))
SENT = Sent(
    tokens.message_id(KEY), "sales", "sent.1@example.test", 1_700_000_000.0, sender="sales@example.test",
    thread_replies=True, copies=(SentCopy("ann@example.org", 0, True, thread_replies=True), SentCopy("bob@example.org", 1, True, thread_replies=True)),
)  # fmt: skip
USER, WORD = "sales@example.test", "se cret\"'"


def letter(*fields: str, sender: str = "Ann <ann@example.org>", body: str = "Yes.", number: int = 1) -> bytes:
    lines = [
        f"From: {sender}",
        "To: sales@example.test",
        f"Message-ID: <answer.{number}@example.org>",
        *fields,
        "",
        body,
        "",
    ]
    return "\r\n".join(lines).encode()


def answer(number: int = 1, **changes: Any) -> bytes:
    return letter("Subject: Re: Offer", "In-Reply-To: <sent.1@example.test>", number=number, **changes)


BOUNCE = """From: MAILER-DAEMON@mx.example.org
To: sales@example.test
Message-ID: <bounce@mx.example.org>
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I am sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
Original-Envelope-Id: {envelope}

Final-Recipient: rfc822; bob@example.org
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 No such user

--b
Content-Type: text/rfc822-headers

Message-ID: <{original}>
To: bob@example.org

--b--
"""


def bounce(original: str = "sent.1@example.test", action: str = "failed", envelope: str = "x") -> bytes:
    return BOUNCE.format(original=original, action=action, envelope=envelope).replace("\n", "\r\n").encode()


QUICK = Times(broken=(0.05,), refused=(0.05,), unfetched=(0.05,))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = stores.open("memory:", Path("."))
    await opened.start()
    await opened.record_sent(SENT)
    yield opened
    await opened.stop()


@pytest.fixture(params=[True, False], ids=["idle", "poll"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dovecot.Dovecot]:
    with dovecot.running(tmp_path_factory.mktemp("dovecot"), {USER: WORD}, idle=request.param) as running:
        yield running


@pytest.fixture
def idle_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dovecot.Dovecot]:
    with dovecot.running(tmp_path_factory.mktemp("dovecot"), {USER: WORD}) as running:
        yield running


def settings(url: str, **changes: Any) -> Settings:
    grant = Grant("sales", email="sales@example.test", mailbox=(url,), mailbox_password=WORD)
    return replace(Settings(), grants=(grant, Grant("default")), mailbox=Mailbox(poll_interval=0.1, **changes))


def by_imap(server: dovecot.Dovecot, **changes: Any) -> Settings:
    return settings(f"imap://sales%40example.test@127.0.0.1:{server.imap_port}/INBOX", **changes)


def by_maildir(folder: Path) -> Settings:
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return settings(f"maildir:{folder}")


@asynccontextmanager
async def watching(
    chosen: Settings, store: Store, state: str = "watching", times: Times = QUICK, **how: Any
) -> AsyncIterator[mailbox.Watcher]:
    watcher = mailbox.Watcher(chosen, store, lambda: KEYS, times=times, **how)
    task = asyncio.create_task(watcher.run())
    try:
        await until(lambda: task.done() or (watcher.states and watcher.states[0].state == state), 20)
        yield watcher
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def seen(store: Store, count: int) -> list[Event]:
    """The events, once there are as many as that."""

    async def there() -> list[Event]:
        found = await store.events()
        return found if len(found) >= count else []

    return await until(there) if count else await store.events()


# -- IMAP, with a real server


async def test_an_answer_is_seen_as_it_comes(server: dovecot.Dovecot, store: Store) -> None:
    server.deliver(USER, answer(1))  # before the first start: not asked for
    async with watching(by_imap(server, excerpt=True), store):
        server.deliver(USER, letter("Subject: news", number=7))
        server.deliver(USER, answer(2))
        [event] = await seen(store, 1)
        assert (event.type, event.message_id, event.grant_id) == ("thread.replied", SENT.message_id, "sales")
        assert (event.recipient_index, event.recipient, event.counted) == (0, "ann@example.org", True)
        assert event.data["reply_internet_id"] == "answer.2@example.org"
        assert (event.data["from_self"], event.data["from"]) == (False, "ann@example.org")
        kept = await store.answer(event.data["reply_id"], "sales")
        assert kept is not None
        assert (kept.message_id, kept.sender, kept.internet_message_id) == (
            SENT.message_id, "ann@example.org", "answer.2@example.org",
        )  # fmt: skip
        assert kept.excerpt == event.data["excerpt"] == "Yes."
        assert kept.size
        server.deliver(USER, answer(3))
        assert len(await seen(store, 2)) == 2
    with closing_imap(server) as client:
        client.select_folder("INBOX", readonly=True)
        assert all(b"\\Seen" not in flags for flags in client.get_flags(client.search()).values())


async def test_a_restart_goes_on_where_it_stood(server: dovecot.Dovecot, store: Store) -> None:
    async with watching(by_imap(server), store):
        pass
    for number in (1, 2, 3):
        server.deliver(USER, answer(number))
    async with watching(by_imap(server), store):
        assert len(await seen(store, 3)) == 3
    async with watching(by_imap(server), store):
        server.deliver(USER, answer(4))
        assert [e.data["reply_internet_id"][:8] for e in await seen(store, 4)] == [f"answer.{n}" for n in (1, 2, 3, 4)]


async def test_a_folder_made_anew_is_read_again_and_no_answer_counts_twice(
    idle_server: dovecot.Dovecot, store: Store
) -> None:
    chosen = settings(f"imap://sales%40example.test@127.0.0.1:{idle_server.imap_port}/Answers")
    with closing_imap(idle_server) as client:
        client.create_folder("Answers")
        async with watching(chosen, store):
            client.append("Answers", answer(1))
            client.append("Answers", answer(2))
            await seen(store, 2)
        client.delete_folder("Answers")
        client.create_folder("Answers")
        for number in (3, 1, 2):
            client.append("Answers", answer(number))
    async with watching(chosen, store):
        found = await seen(store, 3)
    assert [e.data["reply_internet_id"][:8] for e in found] == [f"answer.{n}" for n in (1, 2, 3)]


async def test_a_server_that_was_away_is_found_again(idle_server: dovecot.Dovecot, store: Store) -> None:
    async with watching(by_imap(idle_server), store) as watcher:
        idle_server.stop()
        await until(lambda: watcher.states[0].state == "unreachable", 20)
        assert (troubled("unreachable"), troubled("refused")) == (1, 0)
        idle_server.start()
        idle_server.deliver(USER, answer(1))
        await seen(store, 1)
        assert watcher.states[0].state == "watching"
        await until(lambda: not troubled("unreachable"))


def troubled(kind: str) -> float:
    return metrics.value("trackrelay_mailbox_trouble", kind=kind)


async def test_a_refused_password_is_said_and_tried_again(idle_server: dovecot.Dovecot, store: Store) -> None:
    idle_server.users({USER: "another"})
    async with watching(by_imap(idle_server), store, "refused") as watcher:
        assert "AUTHENTICATIONFAILED" in watcher.states[0].reason
        assert WORD not in watcher.states[0].reason
        assert (troubled("unreachable"), troubled("refused")) == (0, 1)
        idle_server.users({USER: WORD})
        await until(lambda: watcher.states[0].state == "watching", 20)
        await until(lambda: not troubled("refused"))


async def test_a_long_backlog_is_read_in_order(idle_server: dovecot.Dovecot, store: Store) -> None:
    async with watching(by_imap(idle_server), store):
        pass
    with closing_imap(idle_server) as client:
        for number in range(fetching.BATCH + 20):
            client.append("INBOX", answer(number))
    async with watching(by_imap(idle_server), store):
        found = await seen(store, fetching.BATCH + 20)
    assert [e.data["reply_internet_id"] for e in found] == [f"answer.{n}@example.org" for n in range(len(found))]


async def test_a_first_start_that_was_late_looks_back(idle_server: dovecot.Dovecot, store: Store) -> None:
    idle_server.stop()
    async with watching(by_imap(idle_server), store, "unreachable", replace(QUICK, late=0.0)):
        idle_server.start()
        idle_server.deliver(USER, answer(1))
        await seen(store, 1)


async def test_a_folder_that_is_not_there_is_said(idle_server: dovecot.Dovecot, store: Store) -> None:
    chosen = settings(f"imap://sales%40example.test@127.0.0.1:{idle_server.imap_port}/No%20such")
    async with watching(chosen, store, "refused") as watcher:
        assert "folder No such" in watcher.states[0].reason


@pytest.mark.parametrize(
    ("answers", "greeting", "state"),
    [
        ({"LOGIN": "drop"}, "* OK ready", "unreachable"),
        ({"LOGIN": "{tag} NO [UNAVAILABLE] Temporary failure."}, "* OK ready", "unreachable"),
        ({"LOGIN": "{tag} NO [AUTHENTICATIONFAILED] No."}, "* OK ready", "refused"),
        ({"EXAMINE": "* 0 EXISTS\r\n{tag} OK [READ-ONLY] done"}, "* OK ready", "unreachable"),  # UIDs that do not last
        ({}, "rubbish", "unreachable"),
        ({}, "", "unreachable"),
    ],
)
async def test_a_server_that_breaks_at_the_login_is_not_one_that_refuses(
    store: Store, answers: dict[str, str], greeting: str, state: str
) -> None:
    times = replace(QUICK, connect=0.5, answer=0.5)  # one of them says nothing at all
    async with fake.Server(answers, greeting=greeting) as server:
        chosen = settings(f"imap://sales@127.0.0.1:{server.port}/INBOX")
        async with watching(chosen, store, state, times) as watcher:
            assert watcher.states[0].reason.startswith(f"127.0.0.1:{server.port}: ")


async def test_idle_is_renewed(idle_server: dovecot.Dovecot, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    renewals: list[float] = []
    wait = client.Client.wait

    def counted(of: client.Client, seconds: float) -> None:
        renewals.append(seconds)
        wait(of, seconds)

    monkeypatch.setattr(client.Client, "wait", counted)
    async with watching(by_imap(idle_server), store, times=replace(QUICK, idle=(0.05, 0.1))):
        await until(lambda: len(renewals) > 3)
        idle_server.deliver(USER, answer(1))
        await seen(store, 1)
    assert all(0.05 <= timeout <= 0.1 for timeout in renewals)


async def test_a_certificate_that_nobody_vouches_for_gets_no_password(tmp_path: Path, store: Store) -> None:
    tls = certificates.serving(certificates.make(tmp_path))
    async with fake.Server(tls=tls) as server:
        chosen = settings(f"imaps://sales@localhost:{server.port}/INBOX")
        async with watching(chosen, store, "unreachable") as watcher:
            assert "certificate is refused: it is self-signed; " in watcher.states[0].reason
    assert server.heard == []


@pytest.mark.parametrize(("host", "told"), [("127.0.0.1", True), ("LOCALHOST.", True), ("0.0.0.0", False)])
async def test_no_password_goes_to_another_machine_in_clear(store: Store, host: str, told: bool) -> None:
    """0.0.0.0 leads to this machine as well, but by no name that only this machine has."""
    async with fake.Server() as server:
        chosen = settings(f"imap://sales@{host}:{server.port}/INBOX")
        async with watching(chosen, store, "watching" if told else "unreachable") as watcher:
            assert ("no STARTTLS" in watcher.states[0].reason) is not told
    assert any(command.startswith(("LOGIN", "AUTHENTICATE")) for command in server.heard) is told


def closing_imap(server: dovecot.Dovecot) -> Any:
    client = imapclient.IMAPClient("127.0.0.1", server.imap_port, ssl=False)
    client.login(USER, WORD)
    return client


# -- Maildir


def drop(folder: Path, name: str, content: bytes, place: str = "new") -> None:
    (folder / "tmp" / name).write_bytes(content)
    (folder / "tmp" / name).rename(folder / place / name)


async def test_a_maildir_is_read_as_mail_comes(tmp_path: Path, store: Store) -> None:
    chosen = by_maildir(tmp_path)
    async with watching(chosen, store):
        drop(tmp_path, "1700000000.M1P1.host", answer(1))
        await seen(store, 1)
        drop(tmp_path, "1600000000.M2P1.host:2,S", answer(2), "cur")
        await seen(store, 2)
        (tmp_path / "new" / "1700000000.M1P1.host").rename(tmp_path / "cur" / "1700000000.M1P1.host:2,RS")
    drop(tmp_path, "1700000001.M3P1.host", answer(3))
    async with watching(chosen, store):
        assert len(await seen(store, 3)) == 3
    async with watching(chosen, store):
        drop(tmp_path, "1700000002.M4P1.host", answer(4))
        assert len(await seen(store, 4)) == 4
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["1700000001.M3P1.host", "1700000002.M4P1.host"]


async def test_a_grant_has_several_folders(tmp_path: Path, store: Store) -> None:
    inbox, junk = by_maildir(tmp_path / "inbox"), by_maildir(tmp_path / "junk")
    grant = replace(inbox.grants[0], mailbox=inbox.grants[0].mailbox + junk.grants[0].mailbox)
    async with watching(replace(inbox, grants=(grant,)), store) as watcher:
        await until(lambda: [state.state for state in watcher.states] == ["watching"] * 2)
        drop(tmp_path / "inbox", "1.M1P1.host", answer(1))
        await seen(store, 1)
        drop(tmp_path / "junk", "2.M1P1.host", answer(2))
        drop(tmp_path / "junk", "3.M1P1.host", answer(1))  # as it was copied from one to the other
        await seen(store, 2)
        drop(tmp_path / "junk", "4.M1P1.host", answer(3))
        assert len(await seen(store, 3)) == 3


async def test_a_maildir_that_is_not_there_yet_is_waited_for(tmp_path: Path, store: Store) -> None:
    async with watching(settings(f"maildir:{tmp_path / 'mail'}"), store, "unreachable"):
        by_maildir(tmp_path / "mail")
        drop(tmp_path / "mail", "1.M1P1.host", answer(1))
        await seen(store, 1)


def test_a_cursor_of_a_maildir_stays_small() -> None:
    recent = {f"name.{n}": 1_700_000_000.0 + n for n in range(maildir.MAX_NAMES * 2)}
    cursor = maildir.stand(stores.Cursor("m", 1, 0), recent)
    assert len(cursor.seen) <= maildir.MAX_NAMES
    assert cursor.uid == 1_700_000_000 + maildir.MAX_NAMES * 2 - 1


# -- what a message means: through a Maildir, since the way does not matter


async def events_of(
    tmp_path: Path, store: Store, *messages: bytes, addresses: tuple[str, ...] = (), **changes: Any
) -> list[Event]:
    """The events of these messages; a last answer, which always makes one, is taken off. `addresses` are the grant's."""
    chosen = replace(by_maildir(tmp_path), mailbox=Mailbox(0.1, **changes))
    chosen = replace(chosen, grants=(replace(chosen.grants[0], addresses=addresses), *chosen.grants[1:]))
    async with watching(chosen, store):
        for number, message in enumerate(messages):
            drop(tmp_path, f"{number:04}", message)
        drop(tmp_path, "zzz", answer(99))

        async def last() -> bool:
            return any("answer.99@" in str(e.data.get("reply_internet_id")) for e in await store.events())

        await until(last)
        return (await store.events())[:-1]


def token_of(recipient: int) -> str:
    return threads.entry("t.example.test", tokens.write(Token("reference", KEY, recipient), KEYS))


async def test_an_answer_to_an_answer_is_one_by_its_references(tmp_path: Path, store: Store) -> None:
    later = letter(
        "Subject: Re: Offer", "In-Reply-To: <other@x.example>", "References: <sent.1@example.test> <other@x.example>"
    )
    [event] = await events_of(tmp_path, store, later)
    assert event.type == "thread.replied"


async def test_an_answer_is_found_by_our_token_where_the_upstream_renamed_the_message(
    tmp_path: Path, store: Store
) -> None:
    renamed = letter(
        f"References: <{token_of(1)}> <renamed@ses.example>", "In-Reply-To: <renamed@ses.example>", sender="x@y.example"
    )
    forged = letter("References: <t.AAAA@t.example.test>", number=2)
    bobs = renamed.replace(b"x@y.example", b"Bob@Example.org").replace(b"answer.1@", b"answer.3@")
    anns = renamed.replace(b"x@y.example", b"ann@example.org").replace(b"answer.1@", b"answer.4@")
    other, own, quoting = await events_of(tmp_path, store, renamed, forged, bobs, anns)
    assert (own.recipient_index, own.recipient, own.data["verified"]) == (1, "bob@example.org", True)
    assert (quoting.recipient_index, quoting.recipient, quoting.data["verified"]) == (0, "ann@example.org", False)
    # Whoever answers without a copy is not the one whose copy it was.
    assert (other.recipient_index, other.recipient, other.data["verified"]) == (0, "", True)
    assert other.data["from"] == "x@y.example"


async def test_of_an_answers_text_nothing_is_kept_unless_asked_for(tmp_path: Path, store: Store) -> None:
    [event] = await events_of(tmp_path, store, answer(1))
    kept = await store.answer(event.data["reply_id"], "sales")
    assert kept is not None
    assert (kept.excerpt, kept.size, "excerpt" in event.data) == ("", 0, False)


async def test_what_the_sender_sent_is_no_answer(tmp_path: Path, store: Store) -> None:
    follow_up = SENT.with_(message_id=tokens.message_id(b"follow-up-12"), internet_message_id="answer.2@example.org")
    await store.record_sent(follow_up)
    itself = letter("Subject: Offer", f"References: <{token_of(0)}>", sender="sales@example.test", number=1)
    through_us = answer(2, sender="sales@example.test")
    [event] = await events_of(tmp_path, store, itself, through_us)  # the second goes on with the thread
    assert (event.message_id, event.data["from_self"], event.counted) == (SENT.message_id, True, False)
    assert event.data["reply_id"] == follow_up.message_id
    assert await store.answer(follow_up.message_id) is None  # it is among what was sent


async def test_what_goes_on_with_a_thread_is_known_by_its_own_token(tmp_path: Path, store: Store) -> None:
    """Where an upstream gave it another Message-ID. The token of what it goes on with says nothing of it."""
    key = tokens.message_key(1_800_000_000.0, b"\x01" * 16)
    follow_up = told("ann@example.org", message_id=tokens.message_id(key), internet_message_id="f@x")
    await store.record_sent(follow_up)
    own_token = threads.entry("t.example.test", tokens.write(Token("reference", key, 0), KEYS))
    named = "<sent.1@example.test>"
    itself = letter(
        f"In-Reply-To: {named}", f"References: <{own_token}> {named}", sender="sales@example.test", number=1
    )
    by_hand = letter(
        f"In-Reply-To: {named}", f"References: <{token_of(0)}> {named}", sender="sales@example.test", number=2
    )
    found = await events_of(tmp_path, store, itself, by_hand)
    assert [event.data["from_self"] for event in found] == [True, True]
    assert [event.data["reply_id"] == follow_up.message_id for event in found] == [True, False]


async def test_the_senders_own_answer_is_kept_and_not_notified(tmp_path: Path, store: Store) -> None:
    [event] = await events_of(tmp_path, store, answer(1, sender="Sales <Sales@Example.test>"))
    assert (event.data["from_self"], event.counted) == (True, False)


async def test_the_senders_own_answer_is_notified_on_request(tmp_path: Path, store: Store) -> None:
    [event] = await events_of(tmp_path, store, answer(1, sender="sales@example.test"), notify_self=True)
    assert (event.data["from_self"], event.counted) == (True, True)


async def test_two_users_of_the_same_relay_answer_each_other(tmp_path: Path, store: Store) -> None:
    theirs = SENT.with_(
        message_id=tokens.message_id(b"from-ann-now"), internet_message_id="answer.1@example.org",
        sender="ann@example.org", references=("sent.1@example.test",),
    )  # fmt: skip
    await store.record_sent(theirs)
    [event] = await events_of(tmp_path, store, answer(1))
    assert event.message_id == SENT.message_id


async def test_answers_that_were_not_asked_for_are_not_kept(tmp_path: Path, store: Store) -> None:
    silent = SENT.with_(message_id=tokens.message_id(b"silent-one--"), internet_message_id="s@x", thread_replies=False)
    await store.record_sent(silent)
    assert (
        await events_of(tmp_path, store, letter("In-Reply-To: <s@x>"), letter("In-Reply-To: <unknown@x>", number=2))
        == []
    )


def told(*people: str, **changes: Any) -> Sent:
    copies = tuple(SentCopy(person, index, True, thread_replies=True) for index, person in enumerate(people))
    return SENT.with_(copies=copies, **changes)


def numbered(name: str, *people: str, **changes: Any) -> Sent:
    """Another message, `name@x`."""
    key = tokens.message_id(name.ljust(12, "-").encode())
    return told(*people, message_id=key, internet_message_id=f"{name}@x", **changes)


UNTOLD: dict[str, Any] = {"thread_replies": False}


async def test_an_answer_deep_in_a_thread_goes_to_its_root(tmp_path: Path, store: Store) -> None:
    first = SENT.message_id
    follow_up = numbered(
        "f", "ann@example.org", references=("sent.1@example.test",), submitted_at=SENT.submitted_at + 9
    )
    plain = follow_up.with_(copies=(SentCopy("ann@example.org", 0, False),), **UNTOLD)
    await store.record_sent(plain)
    told_later = numbered(
        "g", "ann@example.org", references=("f@x",), submitted_at=SENT.submitted_at + 19, label="later"
    )
    await store.record_sent(told_later)
    letters = [
        letter("In-Reply-To: <f@x>", number=1),
        letter("In-Reply-To: <unknown@y>", f"References: <sent.1@example.test> {'<z@y> ' * 250}<unknown@y>", number=2),
        letter("In-Reply-To: <g@x>", "References: <sent.1@example.test> <f@x> <g@x>", number=3),
        letter("In-Reply-To: <answer.1@example.org>", sender="Bob <bob@example.org>", number=4),
    ]
    events = await events_of(tmp_path, store, *letters)
    assert [e.data["reply_to_message_id"] for e in events] == [
        plain.message_id,
        first,
        told_later.message_id,
        plain.message_id,
    ]
    assert [e.data["root_message_id"] for e in events] == [first] * 4
    assert [e.message_id for e in events] == [first, first, told_later.message_id, first]
    assert [e.recipient for e in events] == ["ann@example.org"] * 3 + ["bob@example.org"]
    histories = [await store.history(e.event_id) for e in events]
    assert [history.replies for history in histories if history] == [1, 2, 3, 4]
    assert events[2].data["root_label"] == SENT.label


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        ("Ann <ann@example.org>", "ann@example.org"),
        ("ANN@Example.ORG", "ann@example.org"),
        ("ann+offers@example.org", "ann@example.org"),
        ("ann@mail.example.org", "ann@example.org"),
        ("tag@example.co.uk", "tag+x@post.example.co.uk"),
        ("ann@example.com", ""),
        ("anna@example.org", ""),
        ("an@example.org", ""),
        ("two@example.org", ""),  # two copies, of two tags
        ("tag@other.co.uk", ""),
        ("eve@example.net", ""),
    ],
)
async def test_who_answered_is_the_recipient_where_a_copy_went_there(
    tmp_path: Path, store: Store, sender: str, recipient: str
) -> None:
    message = numbered("p", "ann@example.org", "tag+x@post.example.co.uk", "two+a@example.org", "two+b@example.org")
    await store.record_sent(message)
    [event] = await events_of(tmp_path, store, letter("In-Reply-To: <p@x>", sender=sender))
    assert event.recipient == recipient
    assert event.data["reply_from"]["address"] == sender.rpartition("<")[2].rstrip(">")
    assert event.data["reply_from"]["name"] == ("Ann" if "<" in sender else "")


async def test_somebody_else_with_a_copy_of_ours_is_told_by_its_token(tmp_path: Path, store: Store) -> None:
    [event] = await events_of(
        tmp_path, store, letter("In-Reply-To: <sent.1@example.test>", f"References: <{token_of(1)}> <sent.1@example.test>",
                                sender="Eve <eve@example.net>")
    )  # fmt: skip
    assert (event.recipient, event.data["copy_recipient"], event.data["verified"]) == ("", "bob@example.org", True)
    assert event.data["reply_from"] == {"address": "eve@example.net", "name": "Eve"}


async def test_the_message_that_the_author_was_sent_wins(tmp_path: Path, store: Store) -> None:
    """Of several that References names, where In-Reply-To names none; and of several with one Message-ID."""
    for name, person in (("a", "ann@example.org"), ("b", "bob@example.org"), ("c", "cid@example.org")):
        await store.record_sent(numbered(name, person))
        await store.record_sent(numbered(f"{name}2", person).with_(internet_message_id="same@x"))
    letters = (
        letter("References: <a@x> <b@x> <c@x>", sender="bob@example.org", number=1),
        letter("In-Reply-To: <c@x> <a@x>", sender="ann@example.org", number=2),
        letter("In-Reply-To: <same@x>", sender="bob+tag@example.org", number=3),
        letter("In-Reply-To: <c@x>", "References: <a@x> <c@x>", sender="ann@example.org", number=4),
    )
    found = [(e.data["reply_to_message_id"], e.recipient) for e in await events_of(tmp_path, store, *letters)]
    assert found == [
        (numbered("b").message_id, "bob@example.org"),
        (numbered("a").message_id, "ann@example.org"),
        (numbered("b2").message_id, "bob@example.org"),
        (numbered("c").message_id, "ann@example.org"),
    ]


async def test_an_excluded_recipient_has_answers_of_nobodys_concern(tmp_path: Path, store: Store) -> None:
    message = numbered("e", "ann@example.org", "bob@example.org")
    ann, bob = message.copies
    await store.record_sent(message.with_(copies=(ann, bob.with_(thread_replies=False))))
    letters = [
        letter("In-Reply-To: <e@x>", sender=sender, number=number)
        for number, sender in enumerate(("bob@example.org", "bob+x@example.org", "ann@example.org", "eve@example.net"))
    ]
    found = await events_of(tmp_path, store, *letters)
    assert [e.data["from"] for e in found] == ["ann@example.org", "eve@example.net"]


async def test_every_address_of_the_grant_is_the_sender(tmp_path: Path, store: Store) -> None:
    found = await events_of(
        tmp_path, store, answer(1, sender="desk@sales.example.test"), answer(2, sender="eve@example.test"),
        addresses=("*@sales.example.test",),
    )  # fmt: skip
    assert [e.data["from_self"] for e in found] == [True, False]


@pytest.mark.parametrize("pattern", ["*", "*@*", "*@*.test", "?*@*.?*"])
async def test_a_pattern_that_is_anybodys_makes_nobody_the_sender(tmp_path: Path, store: Store, pattern: str) -> None:
    found = await events_of(
        tmp_path, store, answer(1), answer(2, sender="sales@example.test"), addresses=(pattern,)
    )  # fmt: skip
    assert [(e.data["from_self"], e.counted) for e in found] == [(False, True), (True, False)]


GESTURES = {
    "reaction": ("text/vnd.google.email-reaction+json", '{"version": 1, "emoji": "!"}', "!"),
    "calendar": (
        "text/calendar",
        "BEGIN:VCALENDAR\r\nMETHOD:REPLY\r\nATTENDEE;PARTSTAT=DECLINED:mailto:a@b",
        "declined",
    ),
}


@pytest.mark.parametrize("kind", GESTURES)
async def test_a_gesture_is_no_plain_answer(tmp_path: Path, store: Store, kind: str) -> None:
    content_type, body, gesture = GESTURES[kind]
    fields = ("In-Reply-To: <sent.1@example.test>", 'Content-Type: multipart/alternative; boundary="b"')
    parts = f"--b\r\nContent-Type: text/plain\r\n\r\nAnn answered.\r\n--b\r\nContent-Type: {content_type}\r\n\r\n{body}\r\n--b--"
    [event] = await events_of(tmp_path, store, letter(*fields, body=parts))
    assert (event.type, event.data["kind"], event.data["gesture"]) == ("thread.replied", kind, gesture)


async def test_a_read_receipt_is_an_event_of_its_own(tmp_path: Path, store: Store) -> None:
    """Also of a message that is not tracked; and nobody is told that somebody answered."""
    await store.record_sent(numbered("r", "ann@example.org", **UNTOLD))
    part = "Content-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; ann@example.org\r\n"
    part += "Original-Message-ID: <{}>\r\nDisposition: manual-action/MDN-sent-manually; {}\r\n"
    fields = ('Content-Type: multipart/mixed; boundary="b"',)
    letters = [
        letter(*fields, body=f"--b\r\n{part.format(named, done)}\r\n--b--", number=number)
        for number, (named, done) in enumerate(
            [("sent.1@example.test", "displayed"), ("r@x", "displayed"), ("r@x", "deleted"), ("unknown@x", "displayed")]
        )
    ]
    found = await events_of(tmp_path, store, *letters)
    assert [(e.type, e.message_id, e.recipient) for e in found] == [
        ("message.read_receipt", SENT.message_id, "ann@example.org"),
        ("message.read_receipt", numbered("r").message_id, "ann@example.org"),
    ]


# Message-IDs as programs write them, of two messages each, and how answers name the first (RFC 5322 3.6.4, 4.5.4).
LONG = "x" * 60
NAMED = [
    ("<{}.The Bot <sales@example.test>>", "<1.The Bot <sales@example.test>>"),
    ("<{}.The Bot <sales@example.test>>", "<1.The\r\n Bot <sales@example.test>>"),
    ("<{}.The Bot <sales@example.test>", "<1.The Bot <sales@example.test>"),
    ("<{}-" + LONG + "\r\n yyyy@example.test>", "<1-" + LONG + "yyyy@example.test>"),
    ("<{}-" + LONG + "\r\n yyyy@example.test>", "<1-" + LONG + " yyyy@example.test>"),
    ("\r\n <{}@example.test>", "<1@example.test>"),
    ('<"{} x"@example.test>', "<1x@example.test>"),
    ("{}@example.test", "<1@example.test>"),
    ("=?utf-8?q?=3C{}=40example=2Etest=3E?=", "<1@example.test>"),
    ("<{}@example.test> (added by <x@example.test>)", "<1@example.test>"),
]


@pytest.mark.parametrize(("written", "named"), NAMED)
async def test_an_answer_names_the_message_however_it_is_written(
    tmp_path: Path, store: Store, written: str, named: str
) -> None:
    tracker = outbound.Tracker(replies_wanted(), lambda: KEYS, store, ())
    done = [await tracker.track(outgoing(written.format(number))) for number in (1, 2)]
    [event] = await events_of(tmp_path, store, letter("Subject: Re: Offer", f"In-Reply-To: {named}"))
    assert event.message_id == done[0].message_id


@pytest.mark.parametrize(
    "constant", ["<sales@example.test>", "<Sales@EXAMPLE.test>", "sales@example.test", "<177>", "<177@>"]
)
async def test_a_message_id_that_all_mail_has_names_none(tmp_path: Path, store: Store, constant: str) -> None:
    """An answer is known by our entry in References, which such mail gets."""
    tracker = outbound.Tracker(replies_wanted(), lambda: KEYS, store, ())
    done = [await tracker.track(outgoing(constant)) for _ in range(2)]
    first = headers.read(done[0].copies[0].render())
    entry = f"References: {first.get('references')}"
    nameless = letter("Subject: Re: Offer", f"In-Reply-To: {constant}", number=1)
    [event] = await events_of(
        tmp_path, store, nameless, letter("Subject: Re: Offer", f"In-Reply-To: {constant}", entry, number=2)
    )
    assert event.message_id == done[0].message_id
    assert event.data["reply_internet_id"] == "answer.2@example.org"


def replies_wanted() -> Settings:
    tracking = Tracking(url="https://t.example.test", thread_replies=True)
    return Settings(tracking=tracking, grants=(Grant("sales", addresses=("*",), mailbox=("maildir:/nowhere",)),))


def outgoing(message_id: str) -> Submission:
    content = f"From: Sales <sales@example.test>\r\nTo: ann@example.org\r\nMessage-ID: {message_id}\r\n\r\nhi\r\n"
    return Submission(
        "sales@example.test", (Recipient("ann@example.org"),), content.encode(), received_at=1_700_000_000.0
    )


async def test_two_answers_of_a_program_that_writes_one_message_id(tmp_path: Path, store: Store) -> None:
    written = [answer(number).replace(b"answer.%d@example.org" % number, b"Ann@Example.org") for number in (1, 2)]
    events = await events_of(
        tmp_path, store, written[0], written[1].replace(b"Yes.", b"No.").replace(b"Offer", b"Offers")
    )
    assert len({event.event_id for event in events}) == 2


async def test_an_automatic_answer_is_an_event_of_its_own(tmp_path: Path, store: Store) -> None:
    away = letter("Subject: Away", "In-Reply-To: <sent.1@example.test>", "Auto-Submitted: auto-replied")
    [event] = await events_of(tmp_path, store, away)
    assert (event.type, event.counted) == ("message.auto_replied", False)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (bounce(), "message.bounce_detected"),
        (bounce(action="delayed"), "message.delayed"),
        (bounce("renamed@ses.example", envelope=token_of(1).partition("@")[0]), "message.bounce_detected"),
        (bounce("renamed@ses.example", envelope=token_of(1).partition("@")[0] + ".2"), "message.bounce_detected"),
    ],
)
async def test_a_report_is_an_event_of_its_recipient(tmp_path: Path, store: Store, message: bytes, kind: str) -> None:
    [event] = await events_of(tmp_path, store, message)
    assert (event.type, event.recipient_index, event.recipient) == (kind, 1, "bob@example.org")
    assert (event.data["code"], event.data["status"]) == (550, "5.1.1")
    assert event.data["reason"] == "550 5.1.1 No such user"


async def test_of_a_report_about_several_each_has_an_event_of_its_own(tmp_path: Path, store: Store) -> None:
    others = "".join(
        f"\r\nFinal-Recipient: rfc822; {who}\r\nAction: {what}\r\nStatus: {status}\r\n"
        for who, what, status in (("ann@example.org", "delayed", "4.2.2"), ("eve@example.org", "failed", "5.1.1"))
    )
    both = bounce().replace(b"No such user\r\n", b"No such user\r\n" + others.encode())
    events = await events_of(tmp_path, store, both)
    assert [(event.type, event.recipient, event.data["code"]) for event in events] == [
        ("message.bounce_detected", "bob@example.org", 550), ("message.delayed", "ann@example.org", 450),
    ]  # fmt: skip


async def test_who_got_the_message_makes_no_event_of_a_report_about_others(tmp_path: Path, store: Store) -> None:
    arrived = b"\r\nFinal-Recipient: rfc822; ann@example.org\r\nAction: relayed\r\nStatus: 2.0.0\r\n"
    [event] = await events_of(tmp_path, store, bounce().replace(b"No such user\r\n", b"No such user\r\n" + arrived))
    assert (event.type, event.recipient) == ("message.bounce_detected", "bob@example.org")


async def test_a_complaint_has_no_code(tmp_path: Path, store: Store) -> None:
    [arf] = [form.raw for form in reporting.FORMS if form.name == "arf, mixed"]
    [event] = await events_of(tmp_path, store, arf)
    assert (event.type, event.recipient, event.data["feedback"]) == ("message.complained", "ann@example.org", "abuse")
    assert not {"code", "status", "type"} & set(event.data)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a byte order mark", "message.bounce_detected"), ("a report in a report in a report", "message.bounce_detected"),
     ("a gateway's own status, with In-Reply-To", "message.bounce_detected"), ("qq", "message.bounce_detected"),
     ("in klingon", "message.bounce_detected"), ("jmrp", "message.complained"), ("pec, late", "message.delayed"),
     ("ses, bounce", "message.bounce_detected"), ("a person with a report's parts, Re: Offer", "thread.replied")],
)  # fmt: skip
async def test_a_report_in_any_form_is_an_event(tmp_path: Path, store: Store, name: str, kind: str) -> None:
    [raw] = [form.raw for form in reporting.FORMS if form.name == name]
    [event] = await events_of(tmp_path, store, raw)
    assert (event.type, event.recipient) == (kind, "ann@example.org")


# Who a report says did not get the message of Ann and Bob, what comes back with it, and whom it is about.
FORGED = [
    ("bob@example.org", "", [("bob@example.org", False)]),
    ("BOB@Example.ORG", "", [("bob@example.org", False)]),
    ("eve@example.org", "", []),
    ("bob@example.org ann@example.org", "", [("bob@example.org", False), ("ann@example.org", False)]),
    ("bob@example.org eve@example.org bob@example.org", "", [("bob@example.org", False)]),
    (" ".join(f"u{n}@example.org" for n in range(1_000)), "", []),
    (" ".join(["bob@example.org"] * 1_000), "", [("bob@example.org", False)]),
    ("bob@example.org", "envelope 1", [("bob@example.org", True)]),
    ("bob@example.org", "envelope 0", [("bob@example.org", False)]),
    ("bob@example.org", "reference 1", [("bob@example.org", True)]),
    ("bob@example.org", "reference 0", [("bob@example.org", False)]),
    ("bob@example.org", "envelope 0 reference 1", [("bob@example.org", True)]),
    ("elsewhere@example.net", "envelope 1", [("bob@example.org", True)]),  # where it was forwarded to
    ("elsewhere@example.net", "reference 1", [("bob@example.org", True)]),
    ("x@example.net y@example.net", "envelope 1", [("bob@example.org", True)]),
    ("x@example.net", "envelope 0 reference 1", []),  # two copies are no one's
    ("bob@example.org", "envelope -", [("bob@example.org", False)]),
    ("", "", [("", False)]),
    ("", "envelope 1", [("bob@example.org", True)]),
]


def report(people: str, proof: str) -> bytes:
    """A bounce about those people. `proof`: "envelope N", "reference N" for the token of copy N, "-" one that nobody
    signed."""
    words = proof.split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    tokens_ = {k: token_of(int(n)) if n != "-" else "t.AAAA@t.example.test" for k, n in given.items()}
    groups = [f"Final-Recipient: rfc822; {address}\nAction: failed\nStatus: 5.1.1" for address in people.split()]
    content = BOUNCE.format(original=SENT.internet_message_id, action="failed", envelope="x")
    head, _, rest = content.partition("Final-Recipient")
    head = head.replace("Id: x", f"Id: {tokens_.get('envelope', 'x').partition('@')[0]}")
    rest = "--b\n" + rest.partition("--b\n")[2].replace("To: bob@example.org\n", "")
    if "reference" in tokens_:
        rest = rest.replace("Message-ID:", f"References: <{tokens_['reference']}>\nMessage-ID:")
    return (
        (head + "\n\n".join(groups or ["Action: failed\nStatus: 5.1.1"]) + "\n\n" + rest).replace("\n", "\r\n").encode()
    )


@pytest.mark.parametrize(("people", "proof", "expected"), FORGED)
async def test_a_report_is_about_those_who_were_sent_the_message(
    tmp_path: Path, store: Store, people: str, proof: str, expected: list[tuple[str, bool]]
) -> None:
    events = await events_of(tmp_path, store, report(people, proof))
    assert [(e.recipient, e.data["verified"]) for e in events] == expected
    assert all(e.data["recipient"] == e.recipient and e.data["from"] == "mailer-daemon@mx.example.org" for e in events)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_message_id_that_was_made_here_names_the_only_copy(tmp_path: Path, store: Store, number: int) -> None:
    """It has a token, but everybody has the same one."""
    await store.record_sent(SENT.with_(internet_message_id=token_of(0), copies=SENT.copies[:number]))
    forged = report("ann@example.org", "").replace(b"<sent.1@example.test>", f"<{token_of(0)}>".encode())
    [event] = await events_of(tmp_path, store, forged)
    assert (event.recipient, event.data["verified"]) == ("ann@example.org", number == 1)


OTHERS = SENT.with_(message_id=tokens.message_id(b"other-grants"), grant_id="other", internet_message_id="other@x")


async def test_a_mailbox_says_nothing_about_the_mail_of_other_grants(tmp_path: Path, store: Store) -> None:
    await store.record_sent(OTHERS)
    token = threads.entry("t.example.test", tokens.write(Token("reference", b"other-grants", 1), KEYS))
    forged = [
        bounce("other@x"),
        bounce("other@x", envelope=token.partition("@")[0]),
        bounce("renamed@x", envelope=token.partition("@")[0]),
        letter("In-Reply-To: <other@x>", number=2),
        letter("In-Reply-To: <renamed@x>", f"References: <{token}>", number=3),
    ]
    assert await events_of(tmp_path, store, *forged) == []


async def test_of_two_grants_messages_with_one_message_id_its_own_is_meant(tmp_path: Path, store: Store) -> None:
    await store.record_sent(
        OTHERS.with_(message_id=tokens.message_id(b"\xff" * 12), internet_message_id="sent.1@example.test")
    )
    [event] = await events_of(tmp_path, store, bounce())
    assert (event.message_id, event.grant_id) == (SENT.message_id, "sales")


@pytest.mark.parametrize("proof", ["", "envelope 0", "reference 0"])
async def test_a_message_sent_to_each_anew_is_the_one_that_the_recipient_was_sent(
    tmp_path: Path, store: Store, proof: str
) -> None:
    """By a program that writes the same Message-ID into each: also where the address is one it was forwarded to."""
    await store.record_sent(SENT.with_(copies=SENT.copies[:1]))
    later = SENT.with_(message_id=tokens.message_id(b"\xff" * 12), copies=(SentCopy("bob@example.org", 0, True),))
    await store.record_sent(later)
    anns = report("ann@example.org" if not proof else "forwarded@example.net", proof)
    reply = letter("In-Reply-To: <sent.1@example.test>", *([f"References: <{token_of(0)}>"] if proof else []))
    found = await events_of(tmp_path, store, anns, reply)
    assert [(e.message_id, e.recipient) for e in found] == [(SENT.message_id, "ann@example.org")] * 2
    assert {e.data["verified"] for e in found} == {bool(proof)}


async def test_nobody_answers_for_the_only_recipient(tmp_path: Path, store: Store) -> None:
    await store.record_sent(SENT.with_(copies=SENT.copies[:1]))
    [event] = await events_of(tmp_path, store, answer(1, sender="eve@example.net"))
    assert (event.recipient, event.data["from"], event.data["verified"]) == ("", "eve@example.net", False)


async def test_what_the_receiving_server_found_is_told(tmp_path: Path, store: Store) -> None:
    fields = "Authentication-Results: mx.example.test; dmarc=fail header.from=example.org; spf=pass"
    below = "Authentication-Results: mx.example.test; dmarc=pass"
    said = letter(fields, below, "In-Reply-To: <sent.1@example.test>")
    silent = letter(fields.replace("mx.", "mx2."), "In-Reply-To: <sent.1@example.test>", number=2)
    bounced = fields.encode() + b"\r\n" + bounce()
    found = await events_of(tmp_path, store, said, silent, bounced, authserv_id="MX.example.test")
    assert [e.data["authentication"] for e in found] == [
        {"dmarc": "fail", "spf": "pass"}, {}, {"dmarc": "fail", "spf": "pass"},
    ]  # fmt: skip


async def test_without_the_servers_name_nothing_is_told_of_what_it_found(tmp_path: Path, store: Store) -> None:
    said = letter("Authentication-Results: mx.example.test; dmarc=pass", "In-Reply-To: <sent.1@example.test>")
    [event] = await events_of(tmp_path, store, said)
    assert "authentication" not in event.data


async def test_a_report_about_a_message_of_others_is_nothing(tmp_path: Path, store: Store) -> None:
    assert await events_of(tmp_path, store, bounce("unknown@x.example")) == []


async def test_the_same_message_in_two_files_is_one_event(tmp_path: Path, store: Store) -> None:
    assert len(await events_of(tmp_path, store, answer(1), answer(1), bounce(), bounce())) == 2


async def test_rubbish_holds_up_nothing(tmp_path: Path, store: Store) -> None:
    assert (
        await events_of(tmp_path, store, b"", b"\0" * 1000, b"\xff\n\n", b"From: <" + b"<" * 5000, b"\r\n\r\nx") == []
    )
