"""What every store does with its lists: messages, threads, events, and what was kept of answers."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from relay.core.model import Sent, SentCopy
from relay.store import UpstreamReply
from relay.store.contract import Store
from relay.store.lists import MAX_ANSWERS, WALK, Answer, Events, Listed, Messages, Place, Threads
from relay.store.sqlite import Sqlite
from tests.store.contract import T0, click, event, sent


def answer(number: int = 1, message_id: str = "m1", **changes: Any) -> Answer:
    return Answer(
        f"a{number:03}", "sales", message_id, message_id, T0 + number, f"a{number}@mail.example", "bob@example.org", "Bob",
        ("ann@example.com",), (), "Re: Grüße", T0, (f"{message_id}@mail.example",), "Yes, please.", 700,
    ).with_(**changes)  # fmt: skip


async def keep(store: Store, kept: Answer) -> None:
    await store.append(event("thread.replied", kept.message_id, kept.at, data={"reply_id": kept.answer_id}), None, kept)


async def everything(ask: Callable[[Any], Awaitable[Listed[Any]]]) -> list[Any]:
    """All pages, one after the other."""
    found: list[Any] = []
    after = None
    while True:
        page = await ask(after)
        found += page.items
        after = page.after
        if after is None:
            return found


def ids(found: Listed[Sent]) -> list[str]:
    return [one.message_id for one in found.items]


MAIL = {
    "m1": {},
    "m2": {"label": "", "sender": "Ann@Example.COM", "submitted_at": T0 + 1},
    "m3": {
        "sender": "eve@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example",
        "submitted_at": T0 + 2,
        "copies": (SentCopy("Zoe@example.org", 0, True), SentCopy("bob@example.org", 1, True)),
    },
    "m4": {"grant_id": "other", "submitted_at": T0 + 3, "subject": "Something else"},
    "m5": {
        "references": ("m2@mail.example",),
        "submitted_at": T0 + 4,
        "to": ("c@example.org",),
        "cc": ("bob@example.org",),
    },
}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "m5 m4 m3 m2 m1"),
        ({"grant_id": "sales"}, "m5 m3 m2 m1"),
        ({"grant_id": "nobody"}, ""),
        ({"label": "spring"}, "m5 m4 m3 m1"),
        ({"label": "spring", "grant_id": "other"}, "m4"),
        ({"sender": "ann@example.com"}, "m5 m4 m2 m1"),
        ({"sender": "ANN@example.com", "label": "spring", "grant_id": "sales"}, "m5 m1"),
        ({"sending_domain": "Example.com"}, "m5 m4 m2 m1"),
        ({"sending_domain": "xn--bcher-kva.example"}, "m3"),
        ({"sending_domain": "b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"}, "m3"),
        ({"recipients": ("zoe@EXAMPLE.org",)}, "m3"),
        ({"recipients": ("zoe@example.org", "bob@example.org")}, "m5 m4 m3 m2 m1"),
        ({"people": ("zoe@example.org", "eve@b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example")}, "m3"),
        ({"people": ("ann@example.com", "zoe@example.org")}, "m5 m4 m3 m2 m1"),
        ({"to": ("bob@example.org",)}, "m4 m3 m2 m1"),
        ({"cc": ("bob@example.org",)}, "m5"),
        ({"bcc": ("zoe@example.org",)}, "m3"),
        ({"bcc": ("bob@example.org",)}, ""),
        ({"thread_id": "m2"}, "m5 m2"),
        ({"thread_id": "m2", "grant_id": "other"}, ""),
        ({"since": T0 + 1, "until": T0 + 4}, "m4 m3 m2"),
        ({"grant_id": "sales", "since": T0 + 3}, "m5"),
        ({"internet_message_id": "m3@mail.example"}, "m3"),
        ({"internet_message_id": "m3@mail.example", "grant_id": "other"}, ""),
        ({"subject": "GRÜSSE"}, "m5 m3 m2 m1"),
        ({"subject": "summer"}, ""),
        ({"subject": "grüße"}, "m5 m3 m2 m1"),
        ({"state": "never"}, "m3"),
        ({"state": "later"}, "m2"),
        ({"state": "later", "grant_id": "other"}, ""),
        ({"state": "done"}, "m2"),
        ({"state": "pending"}, "m5 m4 m3 m1"),
    ],
)
async def test_messages_are_listed_by_each_filter(store: Store, asked: dict[str, Any], expected: str) -> None:
    for message_id, changes in MAIL.items():
        await store.record_sent(sent(message_id, **changes))
    await store.record_replies(
        [
            UpstreamReply("m3", ("bob@example.org",), "never", "550 no"),
            UpstreamReply("m2", ("bob@example.org",), "done", "250 ok"),
            UpstreamReply("m2", ("c@example.org",), "later", "450 wait"),
        ]
    )
    query = Messages(**asked)
    assert " ".join(ids(await store.list_messages(query, 50))) == expected
    one = await everything(lambda after: store.list_messages(query.with_(before=after), 1))
    assert " ".join(s.message_id for s in one) == expected
    found = await store.list_messages(query, 50)
    assert [await store.sent(s.message_id) for s in found.items] == list(found.items)  # whole


async def test_a_page_that_ends_with_the_list_says_so(store: Store) -> None:
    for number in range(4):
        await store.record_sent(sent(f"m{number}", submitted_at=T0))  # all at one time
    first = await store.list_messages(Messages(), 2)
    assert (ids(first), first.after) == (["m3", "m2"], (T0, "m2"))
    second = await store.list_messages(Messages(before=(T0, "m2")), 2)
    assert (ids(second), second.after) == (["m1", "m0"], None)


async def test_all_pages_have_each_message_once_while_new_ones_come(store: Store) -> None:
    for number in range(60):
        await store.record_sent(sent(f"m{number:03}", submitted_at=T0 + number // 3, grant_id=f"g{number % 2}"))
    came = 60

    async def ask(after: Any) -> Listed[Sent]:
        nonlocal came
        await store.record_sent(sent(f"m{came:03}", submitted_at=T0 + came, grant_id="g0"))
        came += 1
        return await store.list_messages(Messages(grant_id="g0", before=after), 7)

    found = [s.message_id for s in await everything(ask)]
    assert found == [f"m{number:03}" for number in (60, *range(58, -1, -2))]


async def test_a_message_that_is_removed_is_in_no_list_with_what_was_kept_of_its_answers(store: Store) -> None:
    await store.record_sent(sent("m1"))
    await store.record_sent(sent("m2"))
    await keep(store, answer(1))
    await keep(store, answer(2, "m2"))
    assert await store.answer("a001") == answer(1)
    await store.remove_message("m1")
    assert ids(await store.list_messages(Messages(recipients=("bob@example.org",)), 9)) == ["m2"]
    assert (await store.answer("a001"), await store.answer("a002")) == (None, answer(2, "m2"))
    assert [t.thread_id for t in (await store.list_threads(Threads("sales", T0 + 99), 9)).items] == ["m2"]


async def test_an_answer_is_its_grants_and_the_first_that_came(store: Store) -> None:
    await store.record_sent(sent("m1"))
    await keep(store, answer(1))
    await keep(store, answer(1, excerpt="again"))
    assert await store.answer("a001", "sales") == await store.answer("a001") == answer(1)
    assert await store.answer("a001", "other") is None
    assert await store.answer("a002") is None


async def test_of_endless_answers_to_one_message_no_more_is_kept(store: Store) -> None:
    await store.record_sent(sent("m1"))
    for number in range(MAX_ANSWERS + 3):
        await keep(store, answer(number))
    assert await store.answer(f"a{MAX_ANSWERS - 1}") is not None
    assert await store.answer(f"a{MAX_ANSWERS}") is None
    assert len(await store.events(limit=9999)) == MAX_ANSWERS + 3


async def test_threads_are_listed_by_their_last_activity(store: Store) -> None:
    await store.record_sent(sent("m1"))
    await store.record_sent(sent("m2", submitted_at=T0 + 10))
    await store.record_sent(sent("m3", submitted_at=T0 + 20, references=("m1@mail.example",)))
    await store.record_sent(sent("m4", submitted_at=T0 + 30, references=("m1@mail.example",), grant_id="other"))
    await store.record_sent(sent("m5", submitted_at=T0 + 40, sender="eve@example.net"))
    ask = Threads("sales", T0 + 1000)
    found = (await store.list_threads(ask, 9)).items
    assert [(t.thread_id, t.at, [m.message_id for m in t.messages]) for t in found] == [
        ("m5", T0 + 40, ["m5"]),
        ("m1", T0 + 20, ["m1", "m3"]),
        ("m2", T0 + 10, ["m2"]),
    ]
    await keep(store, answer(50, "m2"))
    await keep(store, answer(60, "m2"))
    pages = await everything(lambda after: store.list_threads(ask.with_(before=after), 1))
    assert [(t.thread_id, t.at) for t in pages] == [("m2", T0 + 60), ("m5", T0 + 40), ("m1", T0 + 20)]
    assert pages[0] == await store.thread("m2", "sales")
    assert [a.answer_id for a in pages[0].answers] == ["a050", "a060"]
    some = await store.list_threads(ask.with_(messages=Messages(sender="eve@example.net")), 9)
    assert [t.thread_id for t in some.items] == ["m5"]
    some = await store.list_threads(ask.with_(since=T0 + 40, until=T0 + 60), 9)
    assert [t.thread_id for t in some.items] == ["m5"]
    assert [t.thread_id for t in (await store.list_threads(Threads("other", T0 + 1000), 9)).items] == ["m1"]
    assert await store.thread("m1", "nobody") is None


async def test_a_thread_that_moves_between_two_pages_is_on_one_of_them(store: Store) -> None:
    for number in range(6):
        await store.record_sent(sent(f"m{number}", submitted_at=T0 + number))
    seen = []
    after: Any = None
    for number in range(6):
        found = await store.list_threads(Threads("sales", T0 + 10, before=after), 1)
        seen += [t.thread_id for t in found.items]
        after = found.after
        await keep(store, answer(20 + number, f"m{number}"))
    assert (seen, after) == (["m5", "m4", "m3", "m2", "m1", "m0"], None)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [5, 6, 3, 2, 1, 4]),
        ({"grant_id": "sales"}, [5, 3, 2, 1, 4]),
        ({"types": ("message.link_clicked",)}, [5, 2]),
        ({"types": ("message.link_clicked", "thread.replied"), "grant_id": "sales"}, [5, 3, 2]),
        ({"message_id": "m1"}, [3, 2, 1]),
        ({"message_id": "m1", "grant_id": "other"}, []),
        ({"thread_id": "m1"}, [5, 3, 2, 1]),
        ({"thread_id": "m1", "message_id": "m2"}, [5]),
        ({"thread_id": "m3", "message_id": "m2"}, []),
        ({"label": "spring"}, [6, 3, 2, 1, 4]),
        ({"label": "autumn"}, [5]),
        ({"sender": "ANN@example.com", "grant_id": "other"}, [6]),
        ({"sending_domain": "example.com", "types": ("message.opened",)}, [6, 1, 4]),
        ({"sending_domain": "example.net"}, []),
        ({"since": T0 + 1, "until": T0 + 3}, [3, 2, 1]),
    ],
)
async def test_events_are_listed_by_each_filter(store: Store, asked: dict[str, Any], expected: list[int]) -> None:
    await store.record_sent(sent("m1"))
    await store.record_sent(sent("m2", references=("m1@mail.example",), label="autumn"))
    await store.record_sent(sent("m3", grant_id="other"))
    await store.record_sent(sent("m4"))
    for made in (
        event(message_id="m1", at=T0 + 1),
        click(message_id="m1", at=T0 + 2),
        event("thread.replied", "m1", T0 + 2),
        event(message_id="m4", at=T0),  # it came late
        click(message_id="m2", at=T0 + 4),
        event(message_id="m3", at=T0 + 3),
    ):
        await store.append(made)
    query = Events(**asked)
    assert [e.position for e in (await store.list_events(query, 50)).items] == expected
    one = await everything(lambda after: store.list_events(query.with_(before=after), 1))
    assert [e.position for e in one] == expected
    assert one == list((await store.list_events(query, 50)).items)


async def test_a_page_looks_at_so_many_rows_and_goes_on(store: Store) -> None:
    if not isinstance(store, Sqlite):
        pytest.skip("no statements")
    await store.record_sent(sent("m0", label="rare", copies=()))
    for number in range(1, WALK + 2):
        await store.record_sent(sent(f"m{number}", submitted_at=T0 + number, copies=()))
    query = Messages(grant_id="sales", to=(), subject="nothing like it")
    page = await store.list_messages(query, 5)
    assert page.items == []
    assert page.after is not None
    assert await store.list_messages(query.with_(before=page.after), 5) == ([], None)
    assert len(await everything(lambda after: store.list_messages(Messages(before=after), 200))) == WALK + 2


async def test_the_command_lists_by_its_filters(store: Store) -> None:
    import argparse

    from relay.commands import messages as command

    parser = argparse.ArgumentParser()
    command.arguments(parser)
    for number in range(3):
        await store.record_sent(sent(f"m{number}", submitted_at=T0 + number, label=f"l{number % 2}"))
    await store.record_replies([UpstreamReply("m1", ("bob@example.org",), "never", "550 no")])
    for words, expected in (
        ("list", ["m2", "m1", "m0"]),
        ("list --limit 2", ["m2", "m1"]),
        ("list --label l0", ["m2", "m0"]),
        ("list --state never --recipient BOB@example.org", ["m1"]),
        (f"list --since {T0 + 1}", ["m2", "m1"]),
        (f"list --before {T0 + 1}", ["m0"]),
        ("list --before m2", ["m1", "m0"]),
    ):
        args = parser.parse_args(words.split())
        args.after = float(args.since or 0)  # as `run` reads it
        args.until = float(args.before) if args.before.startswith("1") else None
        asked = await command.asked_for(store, args)
        assert asked is not None
        found = [s.message_id async for s in command.listed(store, asked, args.limit)]
        assert found == expected, words


async def test_how_many_messages_there_are_and_where_a_page_begins(store: Store) -> None:
    """A list that goes on there goes on behind so many."""
    for number in range(12):
        grant = "sales" if number % 3 else "hr"
        await store.record_sent(sent(f"m{number:02}", grant_id=grant, submitted_at=T0 + number // 2))
    for grant, total in (("", 12), ("sales", 8), ("hr", 4), ("none", 0)):
        everything = (await store.list_messages(Messages(grant_id=grant), 50)).items
        assert len(everything) == total
        for offset in range(14):
            place = await store.place_of_messages(grant, None, offset, 50)
            assert place.number == total
            assert (place.before is None) == (not 0 < offset <= total)
            if place.before:
                before: Any = place.before
                rest = await store.list_messages(Messages(grant_id=grant, before=before), 50)
                assert rest.items == everything[offset:]
                assert await store.place_of_messages(grant, before, 0, 50) == Place(total - offset, None)
    assert (await store.place_of_messages("", None, 3, 5)).number == 5


async def test_how_many_events_there_are_and_where_a_page_begins(store: Store) -> None:
    for number in range(4):
        await store.record_sent(sent(f"m{number}", grant_id="sales" if number % 2 else "hr"))
    month = 31 * 86_400.0
    for number in range(12):
        made = click if number % 3 else event
        await store.append(made(message_id=f"m{number % 4}", at=T0 + number // 2 * month))
    for asked, total in (
        (Events(), 12),
        (Events(types=("message.opened", "message.link_clicked", "thread.replied")), 12),
        (Events(types=("message.opened",)), 4),
        (Events(grant_id="sales", types=("message.link_clicked",)), 4),
        (Events(message_id="m1"), 3),
        (Events(message_id="m0", types=("message.opened",)), 1),
        (Events(since=T0 + 2 * month), 8),
        (Events(since=T0 + 2 * month, grant_id="hr"), 4),
        (Events(message_id="m1", since=T0 + month), 2),
        (Events(grant_id="none"), 0),
    ):
        everything = (await store.list_events(asked, 50)).items
        assert len(everything) == total
        for offset in range(14):
            place = await store.place_of_events(asked, offset, 50)
            assert place.number == total
            assert (place.before is None) == (not 0 < offset <= total)
            if place.before:
                before: Any = place.before
                behind = asked.with_(before=before)
                assert (await store.list_events(behind, 50)).items == everything[offset:]
                assert await store.place_of_events(behind, 0, 50) == Place(total - offset, None)
    assert (await store.place_of_events(Events(), 3, 5)).number == 5


async def test_of_several_filters_the_rarest_leads(store: Any) -> None:
    """However many the others let through, a page looks at those few."""
    store.walk = 5
    for number in range(30):
        changes = {} if number else {"sender": "eve@rare.example", "label": "rare", "grant_id": "rare"}
        await store.record_sent(sent(f"m{number:02}", submitted_at=T0 + number, **changes))
        await store.append(event(message_id=f"m{number:02}", at=T0 + 100 + number))
    await store.record_replies([UpstreamReply("m01", ("bob@example.org",), "never", "550")])
    for asked in (
        Messages(grant_id="rare", recipients=("bob@example.org",)),
        Messages(grant_id="rare", state="pending"),
        Messages(label="rare", to=("bob@example.org",)),
        Messages(sending_domain="rare.example", state="pending"),
        Messages(sender="eve@rare.example", people=("bob@example.org",)),
    ):
        page = await store.list_messages(asked, 3)
        assert (ids(page), page.after) == (["m00"], None)
    page = await store.list_messages(Messages(state="never", label="spring", recipients=("bob@example.org",)), 3)
    assert (ids(page), page.after) == (["m01"], None)
    assert ids(await store.list_messages(Messages(label="spring", sending_domain="example.com"), 3)) == [
        "m29",
        "m28",
        "m27",
    ]
    for seldom in (
        Events(label="rare"),
        Events(sender="eve@rare.example", grant_id="rare"),
        Events(sending_domain="rare.example", types=("message.opened",)),
    ):
        events = await store.list_events(seldom, 3)
        assert ([one.message_id for one in events.items], events.after) == (["m00"], None)
    assert (await store.list_events(Events(label="rare", types=("thread.replied",)), 3)).items == []
    assert (await store.list_events(Events(label="none"), 3)) == Listed([], None)
