"""What every store does with messages."""

import random
import string

import pytest

from relay.core.model import SentCopy, Settlement
from relay.outbound import records
from relay.store import UpstreamReply
from relay.store.contract import Store
from tests.store.contract import SOON, T0, click, endpoint, sent


async def test_what_was_recorded_comes_back_whole(store: Store) -> None:
    message = sent(reason="limit_links", references=("x@y",))
    await store.record_sent(message)
    assert await store.sent("m1") == message.with_(thread_id="m1")
    assert await store.sent("m2") is None


async def test_a_message_is_found_by_any_identifier_in_the_order_asked(store: Store) -> None:
    await store.record_sent(sent("m1"))
    await store.record_sent(sent("m2"))
    await store.record_replies([UpstreamReply("m2", ("c@example.org",), "done", "250 ok", "made-up@upstream.example")])
    for ids, expected in [
        (["m1@mail.example"], "m1"),
        (["unknown@x", "m2@mail.example", "m1@mail.example"], "m2"),
        (["made-up@upstream.example"], "m2"),
    ]:
        found = await store.find_sent(ids)
        assert found is not None
        assert found.message_id == expected
    assert await store.find_sent(["M1@mail.example"]) is None
    assert await store.find_sent([]) is None


async def test_an_upstreams_identifier_without_a_domain_stands_for_any(store: Store) -> None:
    await store.record_sent(sent("m1"))
    await store.record_replies(
        [UpstreamReply("m1", ("bob@example.org",), "done", "250 Ok", "0100018bcfe5-1234-000000")]
    )
    found = await store.find_sent(["0100018bcfe5-1234-000000@eu-west-1.amazonses.com"])
    assert found is not None
    await store.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250 Ok", "short")])
    assert await store.find_sent(["short@elsewhere.example"]) is None


@pytest.mark.parametrize("identifier", ["sales@sales.example", "SALES@Sales.Example", "177", "177@", "@x", ""])
async def test_an_identifier_that_is_no_messages_own_finds_none(store: Store, identifier: str) -> None:
    await store.record_sent(sent("m1", internet_message_id=identifier, sender="sales@sales.example"))
    assert await store.find_sent([identifier]) is None
    await store.record_sent(sent("m2", references=(identifier,)))
    found = await store.sent("m2")
    assert found is not None
    assert found.thread_id == "m2"


async def test_what_is_as_long_as_it_may_be_is_recorded(store: Store) -> None:
    """An index of PostgreSQL takes 2,704 octets, and what repeats itself in fewer."""
    made = random.Random(0)
    sender = "".join(chr(made.randrange(0x10000, 0x20000)) for _ in range(records.MAX_SENDER))
    named = "".join(made.choices(string.ascii_letters, k=5000)) + "@mail.example"
    await store.record_sent(sent("m1", sender=sender, internet_message_id=named))
    found = await store.sent("m1")
    assert found is not None
    assert (found.sender, found.internet_message_id) == (sender, named)
    assert await store.find_sent([named]) is None


async def test_a_message_is_found_in_its_own_grant(store: Store) -> None:
    await store.record_sent(sent("m1", internet_message_id="same@x", grant_id="sales"))
    await store.record_sent(sent("m2", internet_message_id="same@x", grant_id="other"))
    await store.record_sent(sent("m3", internet_message_id="third@x", grant_id="other"))
    found = [await store.find_sent(["third@x", "same@x"], grant) for grant in ("sales", "other", "third", "")]
    assert [one.message_id if one else None for one in found] == ["m1", "m3", None, "m3"]


async def test_of_several_with_one_identifier_the_one_is_found_that_somebody_was_sent(store: Store) -> None:
    for key, address in (
        ("m1", "Ann@example.org"),
        ("m2", "ann@example.org"),
        ("m3", "bob@example.org"),
        ("m4", "c@x"),
    ):
        grant = "other" if key == "m2" else "sales"
        copies = (SentCopy(address, 0, True),)
        await store.record_sent(sent(key, internet_message_id="same@x", grant_id=grant, copies=copies))
    asked = (("sales", "ann@example.org"), ("", "ann@example.org"), ("sales", "bob@example.org"), ("sales", "\ud800"))
    found = [await store.find_sent(["none@x", "same@x"], grant, ("nobody@x", address)) for grant, address in asked]
    assert [one.message_id if one else None for one in found] == ["m1", "m2", "m3", "m4"]


async def test_of_two_messages_with_one_identifier_the_newer_is_found(store: Store) -> None:
    await store.record_sent(sent("m1", internet_message_id="same@x"))
    await store.record_sent(sent("m2", internet_message_id="same@x"))
    found = await store.find_sent(["same@x"])
    assert found is not None
    assert found.message_id == "m2"


async def test_a_thread_is_that_of_the_message_named(store: Store) -> None:
    await store.record_sent(sent("m1"))
    await store.record_sent(sent("m2", references=("never-seen@x", "m1@mail.example")))
    await store.record_sent(sent("m3", references=("m2@mail.example",)))
    await store.record_sent(sent("m4", references=("never-seen@x",)))
    threads = [s.thread_id for s in [await store.sent(m) for m in ("m1", "m2", "m3", "m4")] if s]
    assert threads == ["m1", "m1", "m1", "m4"]


async def test_a_reply_of_the_upstream_lands_on_its_recipients_only(store: Store) -> None:
    await store.record_sent(sent())
    await store.record_replies([UpstreamReply("m1", ("c@example.org",), "later", "450 4.2.0 try again")])
    await store.record_replies(
        [
            UpstreamReply("m1", ("c@example.org",), "done", "250 2.0.0 ok", "u@x"),
            UpstreamReply("gone", ("c@example.org",), "done", "250 2.0.0 ok"),
            UpstreamReply("m1", ("c@example.org",), "done", "250 2.0.0 ok again"),
        ]
    )
    found = await store.sent("m1")
    assert found is not None
    assert found.copies == (
        SentCopy("bob@example.org", 0, True),
        SentCopy("c@example.org", 1, True, None, "done", "250 2.0.0 ok again", "u@x"),
    )


async def test_recent_mail_comes_newest_first_in_pages(store: Store) -> None:
    for n in range(5):
        await store.record_sent(sent(f"m{n}", submitted_at=T0 + n))
    first = await store.recent_sent(2)
    assert [s.message_id for s in first] == ["m4", "m3"]
    assert [s.message_id for s in await store.recent_sent(9, before=first[-1].submitted_at)] == ["m2", "m1", "m0"]


async def test_recent_mail_of_a_grant_is_its_own_in_full_pages(store: Store) -> None:
    for n in range(6):
        await store.record_sent(sent(f"m{n}", submitted_at=T0 + n, grant_id=("sales", "hr")[n % 2]))
    first = await store.recent_sent(2, grant_id="sales")
    assert [s.message_id for s in first] == ["m4", "m2"]
    last = await store.recent_sent(2, before=first[-1].submitted_at, grant_id="sales")
    assert [s.message_id for s in last] == ["m0"]
    assert await store.recent_sent(grant_id="legal") == []


async def test_a_message_is_removed_with_all_that_is_known_of_it(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    for message_id in ("m1", "m2"):
        await store.record_sent(sent(message_id))
        await store.record_replies(
            [UpstreamReply(message_id, ("c@example.org",), "done", "250 ok", f"{message_id}@up")]
        )
    gone = [await store.append(click(n)) for n in range(3)]
    left = await store.append(click(message_id="m2"))
    assert left is not None
    (under_way, *_) = await store.claim_due(SOON, limit=1)
    assert await store.remove_message("m1")
    assert await store.sent("m1") is None
    assert await store.find_sent(["m1@mail.example"]) is None
    assert await store.find_sent(["m1@up"]) is None
    assert [s.message_id for s in await store.recent_sent()] == ["m2"]
    assert await store.events() == [left]
    assert [await store.history(e.event_id) for e in gone if e] == [None] * 3
    assert [n.event_id for n in await store.notifications()] == [left.event_id]
    assert [d.event_id for d in await store.claim_due(SOON)] == [left.event_id]
    await store.settle(under_way.delivery_id, Settlement("delivered", T0))  # its POST was under way
    assert (await store.notifications())[0].state == "pending"
    assert not await store.remove_message("m1")
    # A click that comes late is one of an unknown message; positions go on.
    late = await store.append(click())
    assert late is not None
    assert (late.sequence, late.ordinal, late.grant_id, late.position) == (1, 0, "default", left.position + 1)
    assert await store.remove_message("m1")  # what is known of it now is this event
    assert await store.events() == [left]
    assert await store.find_sent(["m2@up"]) == await store.sent("m2")


async def test_a_message_that_is_recorded_again_after_its_removal_is_new(store: Store) -> None:
    await store.record_sent(sent())
    await store.append(click())
    await store.remove_message("m1")
    await store.record_sent(sent(internet_message_id="again@x", copies=(SentCopy("dora@example.org", 0, True),)))
    found = await store.find_sent(["again@x"])
    assert found is not None
    assert [c.recipient for c in found.copies] == ["dora@example.org"]
    assert await store.find_sent(["m1@mail.example"]) is None
    done = await store.append(click())
    assert done is not None
    assert (done.sequence, done.recipient) == (1, "dora@example.org")


async def test_a_message_that_is_recorded_again_knows_who_has_it(store: Store) -> None:
    """Of its two copies one was delivered; what sends it began anew, and now knows of a third."""
    bob, carol = SentCopy("bob@example.org", 0, True), SentCopy("carol@example.org", 1, True)
    await store.record_sent(sent(copies=(bob, carol)))
    await store.record_replies([UpstreamReply("m1", ("bob@example.org",), "done", "250 ok", "up@x")])
    dora = SentCopy("dora@example.org", 2, True)
    await store.record_sent(sent(copies=(bob, carol, dora)))
    found = await store.sent("m1")
    assert found is not None
    assert found.copies == (bob.with_(state="done", reply="250 ok", upstream_id="up@x"), carol, dora)


async def test_a_message_is_found_by_what_a_mail_server_calls_it(store: Store) -> None:
    """Mail servers use such a name again."""
    for key, queue_id in (("m1", "4dLxyz"), ("m3", "4dLxyz"), ("m2", "4dLxyz"), ("m4", "")):
        await store.record_sent(sent(key, queue_id=queue_id, daemon="smtpd"))
    found = [await store.find_queued(queue_id) for queue_id in ("4dLxyz", "4DLXYZ", "", "\ud800")]
    assert [one.message_id if one else None for one in found] == ["m3", None, None, None]
    assert found[0] == sent("m3", queue_id="4dLxyz", daemon="smtpd", thread_id="m3")
