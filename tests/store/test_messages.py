"""What every store does with messages."""

import pytest

from relay.core.model import SentCopy, Settlement
from relay.store import UpstreamReply
from relay.store.contract import Store
from tests.store.contract import SOON, T0, click, endpoint, sent


async def test_what_was_recorded_comes_back_whole(kept: Store) -> None:
    message = sent(reason="limit_links", references=("x@y",))
    await kept.record_sent(message)
    assert await kept.sent("m1") == message.with_(thread_id="m1")
    assert await kept.sent("m2") is None


async def test_a_message_is_found_by_any_identifier_in_the_order_asked(kept: Store) -> None:
    await kept.record_sent(sent("m1"))
    await kept.record_sent(sent("m2"))
    await kept.record_replies([UpstreamReply("m2", ("c@example.org",), "done", "250 ok", "made-up@upstream.example")])
    for ids, expected in [
        (["m1@mail.example"], "m1"),
        (["unknown@x", "m2@mail.example", "m1@mail.example"], "m2"),
        (["made-up@upstream.example"], "m2"),
    ]:
        found = await kept.find_sent(ids)
        assert found is not None
        assert found.message_id == expected
    assert await kept.find_sent(["M1@mail.example"]) is None
    assert await kept.find_sent([]) is None


async def test_an_upstreams_identifier_without_a_domain_stands_for_any(kept: Store) -> None:
    await kept.record_sent(sent("m1"))
    await kept.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250 Ok", "0100018bcfe5-1234-000000")])
    found = await kept.find_sent(["0100018bcfe5-1234-000000@eu-west-1.amazonses.com"])
    assert found is not None
    await kept.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250 Ok", "short")])
    assert await kept.find_sent(["short@elsewhere.example"]) is None


@pytest.mark.parametrize("identifier", ["sales@sales.example", "SALES@Sales.Example", "177", "177@", "@x", ""])
async def test_an_identifier_that_is_no_messages_own_finds_none(kept: Store, identifier: str) -> None:
    await kept.record_sent(sent("m1", internet_message_id=identifier, sender="sales@sales.example"))
    assert await kept.find_sent([identifier]) is None
    await kept.record_sent(sent("m2", references=(identifier,)))
    found = await kept.sent("m2")
    assert found is not None
    assert found.thread_id == "m2"


async def test_of_two_messages_with_one_identifier_the_newer_is_found(kept: Store) -> None:
    await kept.record_sent(sent("m1", internet_message_id="same@x"))
    await kept.record_sent(sent("m2", internet_message_id="same@x"))
    found = await kept.find_sent(["same@x"])
    assert found is not None
    assert found.message_id == "m2"


async def test_a_thread_is_that_of_the_message_named(kept: Store) -> None:
    await kept.record_sent(sent("m1"))
    await kept.record_sent(sent("m2", references=("never-seen@x", "m1@mail.example")))
    await kept.record_sent(sent("m3", references=("m2@mail.example",)))
    await kept.record_sent(sent("m4", references=("never-seen@x",)))
    threads = [s.thread_id for s in [await kept.sent(m) for m in ("m1", "m2", "m3", "m4")] if s]
    assert threads == ["m1", "m1", "m1", "m4"]


async def test_a_reply_of_the_upstream_lands_on_its_recipients_only(kept: Store) -> None:
    await kept.record_sent(sent())
    await kept.record_replies([UpstreamReply("m1", ("c@example.org",), "later", "450 4.2.0 try again")])
    await kept.record_replies(
        [
            UpstreamReply("m1", ("c@example.org",), "done", "250 2.0.0 ok", "u@x"),
            UpstreamReply("gone", ("c@example.org",), "done", "250 2.0.0 ok"),
            UpstreamReply("m1", ("c@example.org",), "done", "250 2.0.0 ok again"),
        ]
    )
    found = await kept.sent("m1")
    assert found is not None
    assert found.copies == (
        SentCopy("bob@example.org", 0, True),
        SentCopy("c@example.org", 1, True, None, "done", "250 2.0.0 ok again", "u@x"),
    )


async def test_recent_mail_comes_newest_first_in_pages(kept: Store) -> None:
    for n in range(5):
        await kept.record_sent(sent(f"m{n}", submitted_at=T0 + n))
    first = await kept.recent_sent(2)
    assert [s.message_id for s in first] == ["m4", "m3"]
    assert [s.message_id for s in await kept.recent_sent(9, before=first[-1].submitted_at)] == ["m2", "m1", "m0"]


async def test_a_message_is_removed_with_all_that_is_known_of_it(kept: Store) -> None:
    await kept.sync_endpoints([endpoint()])
    for message_id in ("m1", "m2"):
        await kept.record_sent(sent(message_id))
        await kept.record_replies([UpstreamReply(message_id, ("c@example.org",), "done", "250 ok", f"{message_id}@up")])
    gone = [await kept.append(click(n)) for n in range(3)]
    left = await kept.append(click(message_id="m2"))
    assert left is not None
    (under_way, *_) = await kept.claim_due(SOON, limit=1)
    assert await kept.remove_message("m1")
    assert await kept.sent("m1") is None
    assert await kept.find_sent(["m1@mail.example"]) is None
    assert await kept.find_sent(["m1@up"]) is None
    assert [s.message_id for s in await kept.recent_sent()] == ["m2"]
    assert await kept.events() == [left]
    assert [await kept.history(e.event_id) for e in gone if e] == [None] * 3
    assert [n.event_id for n in await kept.notifications()] == [left.event_id]
    assert [d.event_id for d in await kept.claim_due(SOON)] == [left.event_id]
    await kept.settle(under_way.delivery_id, Settlement("delivered", T0))  # its POST was under way
    assert (await kept.notifications())[0].state == "pending"
    assert not await kept.remove_message("m1")
    # A click that comes late is one of an unknown message; positions go on.
    late = await kept.append(click())
    assert late is not None
    assert (late.sequence, late.ordinal, late.grant_id, late.position) == (1, 0, "default", left.position + 1)
    assert await kept.remove_message("m1")  # what is known of it now is this event
    assert await kept.events() == [left]
    assert await kept.find_sent(["m2@up"]) == await kept.sent("m2")


async def test_a_message_that_is_recorded_again_after_its_removal_is_new(kept: Store) -> None:
    await kept.record_sent(sent())
    await kept.append(click())
    await kept.remove_message("m1")
    await kept.record_sent(sent(internet_message_id="again@x", copies=(SentCopy("dora@example.org", 0, True),)))
    found = await kept.find_sent(["again@x"])
    assert found is not None
    assert [c.recipient for c in found.copies] == ["dora@example.org"]
    assert await kept.find_sent(["m1@mail.example"]) is None
    done = await kept.append(click())
    assert done is not None
    assert (done.sequence, done.recipient) == (1, "dora@example.org")
