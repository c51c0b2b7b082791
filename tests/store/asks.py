"""All that a store is asked, over a store as `filled` makes it: of what there is much, little and nothing. For lists each
filter alone, each two together, and all of it within a short time."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from relay.core import floods
from relay.core.model import Settlement
from relay.core.nodes import Node
from relay.core.persons import Person
from relay.core.suppressions import Erasure, Suppression
from relay.store import ApiKey, Cursor, Draft, Purged, PurgeMark, Request, Schedule, UpstreamReply, decisions
from relay.store.lists import Answer, Events, Messages, Suppressions, Threads
from relay.store.sql import copying, counts
from relay.store.sql.engine import Engine
from tests.store.contract import click, endpoint, event, sent
from tests.store.filled import Filled

Ask = Callable[[Engine], Awaitable[object]]
PAGE = 10
NODE = Node("one", ("http",), "p1")
# Of each filter: the first value lets much through, the last one little or nothing.
GRANTS = ("sales", "rare", "nobody")
MESSAGES: dict[str, tuple[Any, ...]] = {
    "grant_id": GRANTS,
    "thread_id": ("{hog}", "{own}", "none"),
    "sender": ("ann1@example.com", "rare@rare.example"),
    "sending_domain": ("example.com", "rare.example"),
    "recipients": (("hog@example.org",), ("nobody@example.org", "hog@example.org"), ("nobody@example.org",)),
    "people": (("hog@example.org",), ("rare@rare.example", "nobody@example.org")),
    "to": (("hog@example.org",), ("nobody@example.org",)),
    "cc": (("hog@example.org",),),
    "bcc": (("hog@example.org",),),
    "label": ("campaign-1", "rare"),
    "state": ("done", "pending", "later", "never"),
    "internet_message_id": ("hog@mail.example", "none"),
    "subject": ("usual", "seldom"),
    "metadata": ((("key1", "hog"),), (("key1", "none"),)),
}
EVENTS: dict[str, tuple[Any, ...]] = {
    "grant_id": GRANTS,
    "types": (("message.opened",), ("message.opened", "thread.replied"), ("thread.replied",), ("grant.expired",)),
    "message_id": ("{own}",),
    "thread_id": ("{hog}", "{own}"),
    "label": ("campaign-1", "rare"),
    "sending_domain": ("example.com", "rare.example"),
    "sender": ("ann1@example.com", "rare@rare.example"),
}


def filters(fields: dict[str, tuple[Any, ...]], of: Filled) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each with a name that is the same for a store of any size."""
    short = {"since": of.at(20), "until": of.at(70)}
    words = {"{hog}": of.message(7), "{own}": of.own}
    yield "all", {}
    yield "a short time", short
    for name, values in fields.items():
        for value in values:
            chosen = words.get(value, value) if isinstance(value, str) else value
            yield f"{name}={value}", {name: chosen}
            yield f"{name}={value} in a short time", {name: chosen, **short}
    for one, other in itertools.combinations(fields, 2):
        for first, second in {(fields[one][0], fields[other][-1]), (fields[one][-1], fields[other][0])}:
            both = {
                name: words.get(value, value) if isinstance(value, str) else value
                for name, value in ((one, first), (other, second))
            }
            yield f"{one}={first} {other}={second}", both


def lists(of: Filled) -> Iterator[tuple[str, Ask]]:
    def messages(asked: Messages) -> Ask:
        return lambda store: store.list_messages(asked, PAGE)

    def events(asked: Events) -> Ask:
        return lambda store: store.list_events(asked, PAGE)

    def threads(asked: Threads) -> Ask:
        return lambda store: store.list_threads(asked, PAGE)

    for grant in ("", *GRANTS):
        for offset in (0, PAGE):
            for before in (None, (of.at(of.size // 2), "")):
                name = f"place of messages of {grant} at {offset} {before and 'behind'}"
                yield name, call("place_of_messages", grant, before, offset, 3 * PAGE)
            for which in (
                {},
                {"types": ("message.opened", "thread.replied")},
                {"message_id": of.own},
                {"since": of.at(70)},
            ):
                asked = Events(grant_id=grant, **which)
                yield (
                    f"place of events of {grant} at {offset} {[*which]}",
                    call("place_of_events", asked, offset, 3 * PAGE),
                )
    for name, values in filters(MESSAGES, of):
        yield f"messages {name}", messages(Messages(**values))
    yield "messages later of rare", messages(Messages(state="later", grant_id="rare"))
    for name, values in filters(EVENTS, of):
        yield f"events {name}", events(Events(**values))
    for grant in GRANTS:
        for name, only in (
            ("", Messages()),
            (" seldom", Messages(subject="seldom")),
            (" rare", Messages(label="rare")),
        ):
            yield f"threads of {grant}{name}", threads(Threads(grant, of.now + 1, only))
            earlier = Threads(grant, of.now + 1, only, until=of.at(of.size // 2))
            yield f"threads of {grant}{name} before", threads(earlier)


def reads(of: Filled) -> Iterator[tuple[str, Ask]]:
    hog, own = of.message(7), of.own
    yield "sent", lambda s: s.sent(own)
    for grant in ("", *GRANTS):
        yield f"recent of {grant}", call("recent_sent", PAGE, grant_id=grant)
        yield f"recent of {grant} before", call("recent_sent", PAGE, of.at(100), grant_id=grant)
        yield f"find_sent of {grant}", call("find_sent", ["hog@mail.example"], grant)
        yield f"find_sent of {grant} to", call("find_sent", ["hog@mail.example"], grant, ["hog@example.org"])
        yield f"find_answer of {grant}", call("find_answer", ["hog@mail.example"], grant)
    for grant in GRANTS:
        yield f"thread of {grant}", call("thread", hog, grant)
        yield f"thread_root of {grant}", call("thread_root", hog, grant)
        yield f"drafts of {grant}", call("drafts", grant, PAGE)
        yield f"drafts of {grant} before", call("drafts", grant, PAGE, own)
        yield f"draft of {grant}", call("draft", grant, hog)
        yield f"schedules of {grant}", call("schedules", grant, PAGE)
        yield f"schedules of {grant} before", call("schedules", grant, PAGE, own)
        yield f"schedule of {grant}", call("schedule", grant, hog)
    yield "find_sent of none", lambda s: s.find_sent(["none@mail.example"])
    yield "find_queued", lambda s: s.find_queued("4dL")
    yield "follow", lambda s: s.events(10, PAGE)
    yield "newest events", lambda s: s.events(newest=True, limit=PAGE)
    yield "events of a message", lambda s: s.events(message_id=own)
    yield "newest events of a message", lambda s: s.events(message_id=own, newest=True)
    yield (
        "newest events of a message by type",
        lambda s: s.events(message_id=own, newest=True, types=("thread.replied",)),
    )
    yield "events of a message by type", lambda s: s.events(message_id=own, types=("message.opened", "thread.replied"))
    yield "history", lambda s: s.history(of.event(of.size // 2))
    yield "history of much", lambda s: s.history(of.event(7))
    yield "history of an answer", lambda s: s.history(of.event(of.size // 2 // 10 * 10 + 7))
    yield "answer", lambda s: s.answer(f"a{hog}", "sales")
    yield "engagements", lambda s: s.engagements([own, hog])
    week = (int(of.now) - 7 * 86_400, int(of.now))
    for by, step in itertools.product(decisions.DIMENSIONS, decisions.PERIODS):
        for grant in ("", "rare"):
            yield (
                f"sums by {by} and {step} of {grant}",
                call("aggregates", by, *week, step=step, grant_id=grant),
            )
    yield "links", lambda s: s.top_links(*week)
    yield "links of rare", lambda s: s.top_links(*week, grant_id="rare")
    yield "counting", lambda s: s.counting()
    for ids in (None, ("wh_busy",), ("wh_idle",), ("wh_busy", "wh_dead"), ("none",)):
        for state in ("", "pending", "delivered", "dead"):
            for before in (0, 200):
                yield (
                    f"notifications of {ids} {state} {before}",
                    call("notifications", endpoint_ids=ids, state=state, before=before, limit=PAGE),
                )
    yield "notifications of an event", lambda s: s.notifications(event_id=of.event(of.size // 2))
    yield "notifications of a message", lambda s: s.notifications(message_id=own)
    yield "notification", lambda s: s.notification(20)
    yield "backlog", lambda s: s.backlog()
    yield "next_due", lambda s: s.next_due()
    yield "endpoints", lambda s: s.endpoints()
    yield "notices", lambda s: s.notices()
    yield "nodes", lambda s: s.nodes()
    yield "cursor", lambda s: s.cursor("sales")
    yield "api_keys", lambda s: s.api_keys()
    yield "find_api_key", lambda s: s.find_api_key("none")
    yield "contents", lambda s: s.contents(own)
    yield "next_schedule", lambda s: s.next_schedule()
    yield "kept_message", lambda s: s.kept_message(own)
    yield "suppressed", lambda s: s.suppressed(["00000000", "none"])
    for name, asked in (
        ("all", Suppressions()), ("a grant", Suppressions("rare")), ("all grants", Suppressions("")),
        ("a ground", Suppressions(reason="bounce")), ("few", Suppressions("", "manual")),
    ):  # fmt: skip
        yield f"suppressions of {name}", call("list_suppressions", asked, PAGE)
    yield "erasures", lambda s: s.erasures(PAGE)
    for table in [table._replace(most=PAGE) for table in copying.TABLES]:
        yield f"last of {table.name}", call("read", copying.last, table)
        yield f"page of {table.name}", call("read", copying.page, table, None)
        yield f"page of {table.name} behind", behind(table)
    yield "ends", lambda s: s.read(copying.ends)
    yield "oldest", lambda s: s.oldest()
    for address in ("hog@example.org", "nobody@example.org"):
        yield f"messages_to {address}", call("messages_to", address, (0.0, ""), PAGE)
    yield "erased_marks", lambda s: s.erased_marks([own])


def call(method: str, *args: Any, **kwargs: Any) -> Ask:
    """A lambda would have the values of the last one."""
    return lambda store: getattr(store, method)(*args, **kwargs)


def behind(table: copying.Copied) -> Ask:
    async def asked(store: Engine) -> object:
        if not (rows := await store.read(copying.page, table, None)):
            return None
        await store.read(copying.at, table, copying.key_of(table, rows[-1]))
        return await store.read(copying.page, table, copying.key_of(table, rows[-1]))

    return asked


def writes(of: Filled) -> Iterator[tuple[str, Ask]]:
    own, now, numbers = of.own, of.now, itertools.count()

    def new(**changes: Any) -> Any:
        return sent(f"1{next(numbers):019}", submitted_at=now, **changes)

    yield "record", lambda s: s.record_sent(new())
    yield "record an answer to much", lambda s: s.record_sent(new(references=("hog@mail.example",)))
    yield "record an answer to an answer", lambda s: s.record_sent(new(references=("re.none@example.org",)))
    yield "record one of many", lambda s: s.record_sent(new(internet_message_id="hog@mail.example"))
    yield "record again", lambda s: s.record_sent(sent(own, submitted_at=now))
    yield "replies", lambda s: s.record_replies([UpstreamReply(own, ("bob@example.org",), "done", "250", "x@upstream")])
    yield "open", lambda s: s.append(event(message_id=own, at=now))
    yield "click", lambda s: s.append(click(message_id=own, at=now))
    yield "hits at once", lambda s: s.append_all([click(message_id=own, at=now), event(message_id=own, at=now)])
    yield "click long ago", lambda s: s.append(click(message_id=own, at=of.at(20)))
    for event_id, kind, message_id in (
        ("uncounted", "message.opened", own), ("unknown", "thread.replied", "unknown"),
    ):  # fmt: skip
        made = event(kind, message_id, now, event_id=event_id, method="HEAD" if event_id == "uncounted" else "GET")
        yield f"append {event_id}", call("append", made)
        yield f"history of {event_id}", call("history", made.event_id)
    yield (
        "answer to much",
        lambda s: s.append(event("thread.replied", of.message(17), now), Cursor("sales", 1, 2), answer()),
    )

    def answer() -> Answer:
        return Answer("new", "sales", of.message(17), of.message(7), now)

    yield "fold", lambda s: s.fold([floods.Fold(own, "o0", 3)], "asks", 1)
    yield "correct", lambda s: s.correct(of.event(of.size // 2), "scanner", "sequence")
    yield "remove", lambda s: s.remove_message(of.message(21))
    yield "remove one of many", lambda s: s.remove_message(of.message(27))
    yield "claim", lambda s: s.claim_due(now, limit=PAGE)
    yield "settle", lambda s: s.settle(1, Settlement("dead", now, status=500, error="no"))
    yield "hasten", lambda s: s.hasten(now + 10, 5)
    yield "replay dead", lambda s: s.replay(now, dead=True)
    yield "replay dead of all", lambda s: s.replay(now, dead=True, endpoint_id="wh_dead")
    yield "replay since", lambda s: s.replay(now, since=of.at(of.size - 20))
    yield "replay since at one", lambda s: s.replay(now, since=of.at(of.size - 20), endpoint_id="wh_idle")
    yield "replay these", lambda s: s.replay(now, event_ids=[of.event(5)], delivery_ids=[5])
    yield "sync_endpoints", lambda s: s.sync_endpoints([endpoint("wh_new", source="config")])
    yield "set_endpoint_status", lambda s: s.set_endpoint_status("wh_idle", "failed", now)
    yield "hand_notice", lambda s: s.hand_notice("none", "none")
    yield "remove_notice", lambda s: s.remove_notice("none")
    yield "remove_endpoint", lambda s: s.remove_endpoint("wh_idle")
    yield "save_cursor", lambda s: s.save_cursor(Cursor("news", 1, 2))
    yield "leases", lambda s: s.take_leases(["sales"], "node", 5)
    yield "release_leases", lambda s: s.release_leases("node")
    yield "beat", lambda s: s.beat(NODE)
    yield "leave", lambda s: s.leave(NODE)
    yield "beat with mail", lambda s: s.beat(NODE.with_(queue=1))
    yield "leave with mail", lambda s: s.leave(NODE.with_(queue=1))
    yield "remove_node", lambda s: s.remove_node(NODE.name)
    yield "save_draft", lambda s: s.save_draft(Draft("new", "sales", now, now, {}), [b"octets"])
    yield "remove_draft", lambda s: s.remove_draft("sales", "new")
    yield "add_schedule", lambda s: s.add_schedule(Schedule("new", "sales", "new", now + 9, now, {}), [b"octets"])
    yield "cancel_schedule", lambda s: s.cancel_schedule("sales", "new", now, 1)
    yield "claim_schedules", lambda s: s.claim_schedules(now, PAGE)
    yield "begin_request", lambda s: s.begin_request(Request("new", "", "new", now), of.at(20))
    yield "begin_request again", lambda s: s.begin_request(Request("new", "", "new", now), of.at(20))
    yield "settle_request", lambda s: s.settle_request(Request("new", "", "new", now, "answered", "{}"))
    yield "drop_request", lambda s: s.drop_request("new")
    yield "keep_message", lambda s: s.keep_message(own, now, b"octets", oldest=of.at(20), most=1000)
    yield "add_api_key", lambda s: s.add_api_key(ApiKey("new", "new", ("read",), "", now))
    yield "use_api_key", lambda s: s.use_api_key("new", now)
    yield "revoke_api_key", lambda s: s.revoke_api_key("new")
    yield "suppress", lambda s: s.suppress([Suppression("new", "", "bounce", "a@b", now)])
    yield "forget_suppressed", lambda s: s.forget_suppressed(["new"])
    yield "unsuppress", lambda s: s.unsuppress([("new", "", "bounce")])
    yield "ask_erasure", lambda s: s.ask_erasure(Erasure("new", "a@b", now))
    yield "settle_erasure", lambda s: s.settle_erasure("new")
    kept = b"octets"
    yield "keep_message long ago", lambda s: s.keep_message(of.message(2), of.at(2), kept, oldest=0.0, most=1000)
    yield (
        "keep a schedule long ago",
        lambda s: s.add_schedule(
            Schedule(of.message(15), "sales", "new", of.at(2), of.at(2), {}, state="sent", closed_at=of.at(3)), [kept]
        ),
    )
    yield "tell that one fails", lambda s: s.set_endpoint_status("wh_dead", "failed", of.at(2))
    yield "purge", purged(lambda s, mark: s.purge(mark, of.at(50), 20))
    yield "cut_addresses", purged(lambda s, mark: s.cut_addresses(mark, 0.0, of.at(70), 20))
    person, number = Person("hog@example.org"), of.size // 2 // 10 * 10 + 7
    for table, key in (
        ("messages", (of.message(number),)),
        ("events", (number + 11,)),
        ("answers", (f"a{of.message(number + 20)}", "sales")),
        ("copies", (of.message(number + 30), 0, 0)),
        ("drafts", (of.message(number),)),
        ("schedules", (of.message(number),)),
        ("suppressions", (f"{(number + 40) * 2654435761 % 4294967296:08x}", "", "bounce")),
    ):
        yield f"erase one of {table}", call("erase_person", person, table, key)
    yield "check", lambda s: s.check()
    yield "begin_recount", lambda s: s.begin_recount()
    yield "recount", recounted


async def recounted(store: Engine) -> object:
    """The first rows are emptied, and the first messages counted. Between them is only more of the same."""
    await store.recount()
    await store.write(counts.empty, counts.Emptying(0, counts.DIMENSIONS_TO_EMPTY[-1], 1 << 40), 1)
    return await store.recount()


def purged(step: Callable[[Engine, PurgeMark], Awaitable[Purged]]) -> Ask:
    """Of what the first messages have, step by step."""

    async def asked(store: Engine) -> object:
        mark: PurgeMark | None = PurgeMark()
        while mark is not None:
            mark = (await step(store, mark)).next
        return None

    return asked


def all_of(of: Filled) -> dict[str, Ask]:
    found = [*lists(of), *reads(of), *writes(of)]
    made = dict(found)
    assert len(made) == len(found)
    return made
