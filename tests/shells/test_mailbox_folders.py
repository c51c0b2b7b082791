"""A folder that is read to its end whatever is in it and whatever its server does: messages that can't be had, word that
comes at any moment, folders of any size, folders made anew, too few connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay import mailbox, metrics
from relay import store as stores
from relay.config import Grant, Mailbox, OAuth2, Settings
from relay.mailbox import fetching, imap, session
from relay.mailbox.places import Places
from relay.mailbox.source import CredentialsRefused, Fetched, PassedOver, Times, Unreachable
from relay.store import Cursor
from relay.store.contract import Store
from tests.fakes import certificates
from tests.fakes.imap_folder import Server
from tests.shells.test_mailbox import KEYS, SENT, answer, bounce, seen, watching
from tests.until import until

QUICK = Times(broken=(0.05,), refused=(0.05,), unfetched=(0.02,), noisy=(0.0,))


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    opened = stores.open("memory:", Path("."))
    await opened.start()
    await opened.record_sent(SENT)
    yield opened
    await opened.stop()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as running:
        yield running


def settings(server: Server, *folders: str, **changes: Any) -> Settings:
    urls = tuple(f"imap://sales%40example.test@127.0.0.1:{server.port}/{name}" for name in folders or ("INBOX",))
    grant = Grant("sales", email="sales@example.test", mailbox=urls, mailbox_password="secret")
    return replace(Settings(), grants=(grant, Grant("default")), mailbox=Mailbox(**{"poll_interval": 0.05, **changes}))


def name_of(server: Server, folder: str = "INBOX") -> str:
    return f"sales imap://127.0.0.1:{server.port}/{folder} sales@example.test"


async def ids(store: Store, count: int) -> list[str]:
    return [event.data.get("reply_internet_id", "").partition("@")[0] for event in await seen(store, count)]


def box(
    server: Server, *, times: Times = QUICK, clock: Any = None, windows: fetching.Windows | None = None, **account: Any
) -> imap.Imap:
    here = session.Account("127.0.0.1", server.port, "starttls", "me", "secret", **account)
    more = {"clock": clock} if clock else {}
    return imap.Imap(
        "box", here, 0.02, times=times, logins=asyncio.Semaphore(9), jitter=lambda: 0.5,
        places=Places(9, 9, 9), windows=windows, **more,
    )  # fmt: skip


async def read(
    source: imap.Imap, cursor: Cursor | None, since: float = 2e9
) -> tuple[list[Fetched | PassedOver], Cursor]:
    """What is found until the mailbox is up to date for the first time."""
    found: list[Fetched | PassedOver] = []
    stream = source.messages(cursor, since)
    async for one in stream:
        if isinstance(one, Cursor):
            await stream.aclose()
            return found, one
        found.append(one)
    raise AssertionError


# -- messages that can't be had


@pytest.mark.parametrize("how", ["drop", "hang", "NIL", "garbage", "NO [SERVERBUG] Internal error", "BAD no", "NO no"])
async def test_a_message_that_cannot_be_had_is_passed_over(
    server: Server, store: Store, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = metrics.value("trackrelay_mailbox_messages_passed_over_total")
    await store.save_cursor(Cursor(name_of(server), 1, 0))
    for number in range(1, 61):  # more than a batch
        server.add(answer(number))
    server.poison[7] = how
    async with watching(settings(server), store, times=replace(QUICK, answer=2.0 if how == "hang" else 60.0)):
        assert await ids(store, 59) == [f"answer.{n}" for n in range(1, 61) if n != 7]
        server.add(answer(61))
        await seen(store, 60)
    [said] = [record for record in caplog.records if "message_passed_over" in record.getMessage()]
    assert said.fields["uid"] == 7  # type: ignore[attr-defined]
    assert not [record for record in caplog.records if record.exc_info]
    assert metrics.value("trackrelay_mailbox_messages_passed_over_total") == before + 1
    cursor = await store.cursor(name_of(server))
    assert cursor is not None
    assert len(cursor.passed) == 1
    assert cursor.passed[0].startswith("INBOX UID 7: ")
    assert server.logins <= 7


async def test_messages_that_cannot_be_had_in_a_row_and_at_the_end(server: Server, store: Store) -> None:
    await store.save_cursor(Cursor(name_of(server), 1, 0))
    for number in range(1, 9):
        server.add(answer(number))
    server.poison.update({uid: "drop" for uid in (1, 2, 3, 8)})
    async with watching(settings(server), store):
        assert await ids(store, 4) == [f"answer.{n}" for n in (4, 5, 6, 7)]
        server.add(answer(9))
        await seen(store, 5)
    cursor = await store.cursor(name_of(server))
    assert cursor is not None
    assert [sentence.split(":")[0] for sentence in cursor.passed] == [f"INBOX UID {n}" for n in (1, 2, 3, 8)]


async def test_the_only_message_cannot_be_had(server: Server, store: Store) -> None:
    await store.save_cursor(Cursor(name_of(server), 1, 0))
    server.poison[server.add(answer(1))] = "drop"
    async with watching(settings(server), store):
        server.add(answer(2))
        assert await ids(store, 1) == ["answer.2"]


async def test_a_body_that_cannot_be_had_is_a_message_that_cannot(server: Server, store: Store) -> None:
    """Its header is given, its body is not; the next one's is."""
    await store.save_cursor(Cursor(name_of(server), 1, 0))
    server.poison[server.add(bounce())] = "body:drop"
    server.add(bounce().replace(b"bounce@mx", b"bounce.2@mx"))
    async with watching(settings(server), store):
        [event] = await seen(store, 1)
    assert event.data["report_internet_id"] == "bounce.2@mx.example.org"
    cursor = await store.cursor(name_of(server))
    assert cursor is not None
    assert len(cursor.passed) == 1


async def test_a_server_that_hands_out_nothing_is_away_and_nothing_is_passed_over(server: Server, store: Store) -> None:
    await store.save_cursor(Cursor(name_of(server), 1, 0))
    for number in range(1, 5):
        server.add(answer(number))
    server.poison.update({uid: "NO [SERVERBUG] the disk is away" for uid in range(1, 5)})
    async with watching(settings(server), store, "unreachable") as watcher:
        await until(lambda: server.logins > 12)
        assert "disk is away" in watcher.states[0].reason
        server.poison.clear()
        assert await ids(store, 4) == [f"answer.{n}" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("words", ["NO [UNAVAILABLE] later", "NO [INUSE] locked", "NO [LIMIT] slower"])
async def test_a_server_that_says_later_fails_no_message(server: Server, words: str) -> None:
    source = box(server)
    server.add(answer(1))
    server.add(answer(2))
    server.poison[1] = words
    for _ in range(6):
        with pytest.raises(Exception, match=r"later|locked|slower"):
            await read(source, Cursor("box", 1, 0))
    server.poison.clear()
    found, _ = await read(source, Cursor("box", 1, 0))
    assert [type(one) for one in found] == [Fetched, Fetched]


# -- word of what comes


@pytest.mark.parametrize("moment", ["UID SEARCH", "UID FETCH", "STATUS", "IDLE", "DONE"])
async def test_whatever_answer_tells_of_it_it_is_seen(server: Server, store: Store, moment: str) -> None:
    """No IDLE of this test ends by itself."""
    async with watching(settings(server), store, times=replace(QUICK, idle=(3600.0, 3600.0))):
        server.arriving[moment] = [answer(2)]
        server.add(answer(1))
        assert sorted(await ids(store, 2)) == ["answer.1", "answer.2"]


async def test_word_within_tls_is_heard(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what came in one record with the answer before."""
    pair = certificates.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair.certificate))
    async with Server(tls=certificates.serving(pair)) as server:
        url = f"imaps://sales%40example.test@localhost:{server.port}/INBOX"
        chosen = settings(server)
        chosen = replace(chosen, grants=(replace(chosen.grants[0], mailbox=(url,)),))
        async with watching(chosen, store, times=replace(QUICK, idle=(3600.0, 3600.0))):
            for number, moment in enumerate(("UID SEARCH", "IDLE", "DONE", "AFTER"), 1):
                server.arriving[moment] = [answer(10 + number)]
                server.add(answer(number))
                await seen(store, 2 * number)


class Naps:
    """Sleeps as asked for up to a second, and notes the rest, which last until they are cancelled, or are over at once."""

    def __init__(self, *, skip: bool = False) -> None:
        self.long: list[float] = []
        self.skip = skip

    async def __call__(self, seconds: float) -> None:
        if seconds <= 1.0:
            await asyncio.sleep(seconds)  # what the mailbox asked for
            return
        self.long.append(seconds)
        await (asyncio.sleep(0) if self.skip else asyncio.Event().wait())


async def test_a_server_that_repeats_itself_is_not_looked_at_without_end(server: Server, store: Store) -> None:
    naps = Naps()
    quiet = replace(QUICK, idle=(3600.0, 3600.0), noisy=(0.0, 0.0, 0.0, 10.0))
    async with watching(settings(server), store, times=quiet, sleep=naps):
        server.repeats = True
        server.add(answer(1))
        await seen(store, 1)
        await until(lambda: naps.long == [10.0])
    assert server.heard.count("IDLE") <= 5


def looks(server: Server) -> int:
    return sum(command.startswith("UID SEARCH") for command in server.heard)


# -- waiting that breaks


async def test_an_idle_that_breaks_twice_is_not_tried_again_for_a_while(
    server: Server, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuse["IDLE"] = "drop"
    async with watching(settings(server), store):
        await until(lambda: server.logins >= 5)  # visits, poll_interval apart
        server.add(answer(1))
        await seen(store, 1)
        server.add(answer(2))
        await seen(store, 2)
    assert server.heard.count("IDLE") == imap.BREAKS
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@pytest.mark.parametrize("verb", ["GREETING", "LOGIN", "EXAMINE", "UID SEARCH", "IDLE"])
async def test_pauses_grow_to_five_minutes_while_it_breaks(server: Server, store: Store, verb: str) -> None:
    """Also where the login is taken, and what follows breaks."""
    naps = Naps(skip=True)
    server.refuse[verb] = "drop"
    chosen = settings(server, poll_interval=60.0)
    watcher = mailbox.Watcher(chosen, store, lambda: KEYS, jitter=lambda: 1.0, sleep=naps)
    task = asyncio.create_task(watcher.run())
    await until(lambda: len(naps.long) > 8)
    task.cancel()
    growing = [2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 300.0]
    assert naps.long[:8] == (growing if verb != "IDLE" else [2.0, 5.0, *[60.0] * 6])


async def test_an_idle_that_is_refused_is_a_poll(server: Server, store: Store) -> None:
    server.refuse["IDLE"] = "NO not here"
    async with watching(settings(server), store):
        server.add(answer(1))
        await seen(store, 1)
        await until(lambda: "NOOP" in server.heard)
    assert server.logins == 1


# -- folders of any size, and made anew


@pytest.mark.parametrize("count", [0, 1, 50, 51, 120])
async def test_windows_find_every_message_once(server: Server, count: int) -> None:
    for number in range(count):
        server.add(answer(number), uid=server.inbox.next_uid + (number % 7) ** 3)  # with gaps
    found, cursor = await read(box(server, windows=fetching.Windows(10, 100)), Cursor("box", 1, 0))
    assert [one.cursor.uid for one in found] == sorted(server.inbox.messages)
    assert cursor.uid == max(server.inbox.messages, default=0)
    assert max((len(uids) for uids in answers_of(server)), default=0) <= 100


def answers_of(server: Server) -> list[list[int]]:
    return [
        [uid for uid in server.inbox.messages if low <= uid <= high]
        for low, high in (
            (int(a), int(b) if b != "*" else 10**10)
            for a, b in (c.split(" ")[-1].split(":") for c in server.heard if c.startswith("UID SEARCH"))
        )
    ]


async def test_uids_that_begin_at_a_thousand_million_cost_few_searches(server: Server) -> None:
    for number in range(30):
        server.add(answer(number), uid=1_700_000_000 + 3_600 * number)
    found, _ = await read(box(server, windows=fetching.Windows(10, 100)), Cursor("box", 1, 0))
    assert len(found) == 30
    assert looks(server) < 60


async def test_a_new_uidvalidity_is_read_from_the_cursors_date_on(server: Server) -> None:
    at = 1_780_000_000.0  # 28 May 2026
    server.inbox.uidvalidity = 2
    for number, date in enumerate(("01-Jan-2026", "20-May-2026", "27-May-2026", "28-May-2026", " 1-Jun-2026"), 1):
        server.add(answer(number), date=f"{date} 10:00:00 -0800")
    found, cursor = await read(box(server), Cursor("box", 1, 99, at=at, passed=("INBOX UID 7: x",)))
    assert [one.cursor.uid for one in found] == [3, 4, 5]
    assert (cursor.uidvalidity, cursor.uid, cursor.passed) == (2, 5, ("INBOX UID 7: x",))
    assert cursor.at > at


async def test_a_folder_made_anew_while_it_is_watched(server: Server, store: Store) -> None:
    async with watching(settings(server), store):
        server.add(answer(1))
        await seen(store, 1)
        server.folders["INBOX"] = type(server.inbox)(uidvalidity=9)
        server.add(answer(1))
        server.add(answer(2))
        server.drop_all()
        await seen(store, 2)
    cursor = await store.cursor(name_of(server))
    assert cursor is not None
    assert (cursor.uidvalidity, cursor.uid) == (9, 2)


async def test_a_cursor_knows_until_when_it_was_read(server: Server) -> None:
    clock = iter(range(1_000, 2_000))
    _, cursor = await read(box(server, clock=lambda: float(next(clock))), Cursor("box", 1, 0, at=500.0))
    assert cursor.at == 500.0  # written again after an hour, or where something came
    server.add(answer(1))
    _, cursor = await read(box(server, clock=lambda: float(next(clock))), cursor)
    assert 1_000 < cursor.at < 2_000


async def test_a_server_without_uidnext_begins_at_the_present(server: Server) -> None:
    server.uidnext_told = False
    assert (await read(box(server), None))[1].uid == 0
    server.add(answer(1), uid=41)
    found, cursor = await read(box(server), None)
    assert (found, cursor.uid) == ([], 41)


async def test_a_server_without_uidvalidity_is_a_sentence(server: Server, store: Store) -> None:
    server.uidvalidity_told = False
    async with watching(settings(server), store, "unreachable") as watcher:
        assert watcher.states[0].reason.endswith(
            "folder INBOX: the server gives no UIDVALIDITY, so that its numbers name no message for long; such a folder "
            "can't be read"
        )


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("01-Jan-2026 00:00:00 +0000", 1767225600.0),
        ("01-Jan-2026 00:00:00 -1200", 1767225600.0 + 12 * 3600),
        (" 1-Jan-2026 05:45:00 +0545", 1767225600.0),
        ("25-Oct-2026 02:30:00 +0200", 1792888200.0),  # the hour that Berlin has twice
        ("25-Oct-2026 02:30:00 +0100", 1792891800.0),
        ("01-Jan-1969 00:00:00 +0000", 0.0),
        ("rubbish", 0.0),
        ("99-Foo-2026 99:99:99 +9999", 0.0),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu"])
async def test_internaldate_is_that_moment_in_any_zone(
    server: Server, date: str, at: float, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        server.add(answer(1), date=date)
        [found], _ = await read(box(server), Cursor("box", 1, 0))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert isinstance(found, Fetched)
    assert found.arrived == at


# -- logins


@pytest.mark.parametrize(
    ("capability", "password", "heard"),
    [
        ("IMAP4rev1 AUTH=PLAIN", "pass wörd", "\0ünal\0pass wörd"),
        ("IMAP4rev1 AUTH=PLAIN LOGINDISABLED", "x", "\0ünal\0x"),
        ("IMAP4rev1", "pass wörd", "LOGIN {5} ünal {10} pass wörd"),
    ],
)
async def test_a_password_in_utf_8(server: Server, capability: str, password: str, heard: str) -> None:
    server.capability = capability
    source = box(server)
    source.account = replace(source.account, user="ünal", password=password)
    source = imap.Imap(
        "box", source.account, 1.0, times=QUICK, logins=asyncio.Semaphore(1), jitter=lambda: 0.5, places=Places(1, 1, 1)
    )
    await read(source, None)
    assert heard in server.heard


async def test_a_login_with_quotes_is_one_login(server: Server) -> None:
    source = imap.Imap(
        "box", session.Account("127.0.0.1", server.port, "starttls", 'a "b" c', 'x\\"y'), 1.0, times=QUICK,
        logins=asyncio.Semaphore(1), jitter=lambda: 0.5, places=Places(1, 1, 1),
    )  # fmt: skip
    await read(source, None)
    assert 'LOGIN "a \\"b\\" c" "x\\\\\\"y"' in server.heard


async def test_no_password_where_none_is_taken(server: Server) -> None:
    server.capability = "IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2"
    with pytest.raises(Unreachable, match="takes no password on this connection"):
        await read(box(server), None)
    assert not [command for command in server.heard if command.startswith(("LOGIN", "AUTHENTICATE"))]


async def test_plain_that_is_offered_and_not_known(server: Server) -> None:
    server.capability = "IMAP4rev1 AUTH=PLAIN"
    server.refuse["AUTHENTICATE"] = "BAD unknown command"
    await read(box(server), None)
    server.refuse["AUTHENTICATE"] = "NO [AUTHENTICATIONFAILED] no"
    logins = server.logins
    with pytest.raises(CredentialsRefused):
        await read(box(server), None)
    assert server.logins == logins  # refused once, and not asked twice


@pytest.mark.parametrize(
    ("capability", "heard"),
    [
        ("IMAP4rev1 AUTH=XOAUTH2 AUTH=OAUTHBEARER", "user=me\1auth=Bearer t0ken\1\1"),
        ("IMAP4rev1 AUTH=OAUTHBEARER", "n,a=me,\1auth=Bearer t0ken\1\1"),
        ("IMAP4rev1", "user=me\1auth=Bearer t0ken\1\1"),
    ],
)
async def test_an_access_token_is_shown_as_the_server_wants_it(server: Server, capability: str, heard: str) -> None:
    server.capability = capability
    source = box(server, oauth2=OAuth2("https://x.test", "client", refresh_token="r"))
    source.tokens.access = token  # type: ignore[method-assign]
    await read(source, None)
    assert heard in server.heard


async def token(*, fresh: bool = False) -> str:
    return "t0ken"


async def test_a_server_that_wants_to_know_who_we_are(server: Server) -> None:
    server.id_needed = True
    with pytest.raises(Unreachable, match="Unsafe Login"):
        await read(box(server), None)
    server.capability = "IMAP4rev1 ID"
    await read(box(server), None)
    assert '"name" "trackrelay"' in server.heard[-3]
    server.refuse["ID"] = "NO nobody asked"
    server.id_needed = False
    await read(box(server), None)


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ("NO [AUTHENTICATIONFAILED] no", "refused"), ("NO [EXPIRED] no", "refused"), ("NO LOGIN failed.", "refused"),
        ("NO [UNAVAILABLE] Authentication failed", "unreachable"), ("NO hm", "unreachable"),
        ("BAD User is authenticated but not connected.", "unreachable"),
    ],
)  # fmt: skip
async def test_a_grant_expires_by_a_refusal_only_and_is_updated_when_it_works(
    server: Server, store: Store, words: str, state: str
) -> None:
    server.refuse["LOGIN"] = words
    async with watching(settings(server), store, state):
        del server.refuse["LOGIN"]
        server.add(answer(1))
        server.drop_all()
        await until(lambda: "IDLE" in server.heard)
        server.add(answer(2))

        async def answered() -> bool:
            return any(event.type == "thread.replied" for event in await store.events())

        await until(answered)
    told = [event.type for event in await store.events() if event.type.startswith("grant.")]
    assert told == (["grant.expired", "grant.updated"] if state == "refused" else [])


async def test_a_folder_that_is_missing_is_no_expired_grant(server: Server, store: Store) -> None:
    async with watching(settings(server, "Elsewhere"), store, "refused"):
        pass
    assert await store.events() == []


# -- too few connections


async def test_more_folders_than_connections(store: Store) -> None:
    names = [f"F{n}" for n in range(12)]
    async with Server(*names) as server:
        chosen = settings(server, *names, max_connections=4, max_connections_per_account=4)
        async with watching(chosen, store) as watcher:
            await until(lambda: [state.state for state in watcher.states] == ["watching"] * 12)
            for number, name in enumerate(names):
                server.add(answer(number), name)
            assert len(await seen(store, 12)) == 12
        assert server.peak <= 4


async def test_an_account_whose_server_has_too_many_connections_is_read_one_folder_after_the_other(
    store: Store,
) -> None:
    async with Server("A", "B", "C") as server:
        server.max_connections = 1
        chosen = settings(server, "A", "B", "C")
        async with watching(chosen, store, times=replace(QUICK, idle=(0.05, 0.05))) as watcher:
            await until(lambda: [state.state for state in watcher.states] == ["watching"] * 3)
            for number, name in enumerate("ABC"):
                server.add(answer(number), name)
            assert len(await seen(store, 3)) == 3
