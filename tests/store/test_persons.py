"""What every store does with one person: found everywhere, and erased without anybody else."""

from typing import Any

from relay.core.model import Event, SentCopy
from relay.core.persons import Person
from relay.store import Draft, PersonMark, Request
from relay.store.contract import Store
from relay.store.lists import Answer
from tests.store.contract import T0, click, endpoint, event, sent

ADA, BOB = "Ada@Example.net", "bob@example.org"
WHO = Person("ada@example.net")


async def walked(store: Store, who: Person = WHO) -> list[Any]:
    found, mark = [], PersonMark()
    while mark is not None:
        page = await store.person_page(who, mark)
        found += page.found
        mark = page.next  # type: ignore[assignment]
    return found


async def erase(store: Store, who: Person = WHO) -> set[str]:
    left = set()
    for one in await walked(store, who):
        left.add((await store.erase_person(who, one.table, one.key)).left)
    return left - {""}


async def filled(store: Store) -> None:
    await store.sync_endpoints([endpoint()])
    await store.record_sent(
        sent(
            "m1",
            to=(f"Ada <{ADA}>",),
            cc=(),
            subject=f"For {ADA}",
            copies=(SentCopy(ADA, 0, True, reply=f"250 <{ADA}> ok"),),
        )
    )
    await store.record_sent(
        sent("m2", to=(f"Ada <{ADA}>", BOB), cc=(), copies=(SentCopy(ADA, 0, True), SentCopy(BOB, 1, True)),
             links=("https://x.test/?e=ada%40example.net", "https://y.test/"))
    )  # fmt: skip
    await store.record_sent(sent("m3", to=(BOB,), cc=(), subject=f"About {ADA}", copies=(SentCopy(BOB, 0, True),)))
    for name, index in (("m1", 0), ("m2", 0), ("m2", 1), ("m3", 0)):
        await store.append(event(message_id=name, recipient_index=index, at=T0 + 60))
        await store.append(
            click(message_id=name, recipient_index=index, at=T0 + 70, url="https://x.test/?e=ada%40example.net")
        )
    for number, who in ((1, ADA), (2, BOB)):
        data = {"reply_from": {"name": "X", "email": who}, "to": [ADA]}
        answer = Answer(
            f"a{number}", "sales", "m2", "m2", T0 + 80, sender=who, to=(ADA,), excerpt=f"I am {who}, not {ADA}"
        )
        await store.append(event("thread.replied", "m2", recipient=who, at=T0 + 80, data=data), None, answer)


async def test_all_that_names_a_person_is_found(store: Store) -> None:
    await filled(store)
    found = await walked(store)
    assert {one.key for one in found if one.table == "messages"} == {("m1",), ("m2",), ("m3",)}
    assert len([one for one in found if one.table == "events"]) == 8
    assert {one.key[0] for one in found if one.table == "answers"} == {"a1", "a2"}
    assert await walked(store, Person("nobody@example.net")) == []
    assert await store.messages_to("ada@example.net", (0.0, ""), 10) == ["m1", "m2"]
    assert await store.messages_to("ada@example.net", (T0, "m1"), 10) == ["m2"]


async def test_an_erasure_takes_what_is_the_persons_and_leaves_what_is_others(store: Store) -> None:
    await filled(store)
    span = int(T0 - 86_400), int(T0 + 86_400)
    before = await store.aggregates("", *span)
    assert await erase(store) == set()
    assert await walked(store) == []
    assert await store.sent("m1") is None
    both, other = await store.sent("m2"), await store.sent("m3")
    assert both is not None
    assert other is not None
    assert both.to == (BOB,)
    assert [(c.recipient, c.index) for c in both.copies] == [("", 0), (BOB, 1)]
    assert both.links == ("https://x.test/?e=erased", "https://y.test/")
    assert (other.subject, other.copies[0].recipient) == ("About erased", BOB)
    left = await store.events()
    assert [(e.type, e.message_id, e.recipient) for e in left] == [
        ("message.opened", "m2", BOB),
        ("message.link_clicked", "m2", BOB),
        ("message.opened", "m3", BOB),
        ("message.link_clicked", "m3", BOB),
        ("thread.replied", "m2", BOB),
    ]
    assert left[1].url == "https://x.test/?e=erased"
    assert left[4].data["to"] == []
    assert [row.pending for row in await store.backlog()] == [4]
    assert await store.answer("a1") is None
    kept = await store.answer("a2")
    assert kept is not None
    assert (kept.to, kept.excerpt) == ((), f"I am {BOB}, not erased")
    # What was counted stays, and a later hit of their copies is not kept, whatever is left of the message.
    assert await store.aggregates("", *span) == before
    assert await store.append(event(message_id="m1", recipient_index=0, at=T0 + 900)) is None
    assert await store.append(click(message_id="m2", recipient_index=0, at=T0 + 900)) is None
    assert isinstance(await store.append(event(message_id="m2", recipient_index=1, at=T0 + 900)), Event)
    assert await store.erased_marks(["m1", "m2", "m3"]) == {"m1": [0], "m2": [0]}
    # Once more does no harm.
    assert await erase(store) == set()


async def test_an_address_in_a_link_that_is_stored_by_the_one_before_it(store: Store) -> None:
    links = ("https://x.test/?e=bo@example.net&n=1", "https://x.test/?e=ada@example.net&n=1")
    await store.record_sent(sent("m1", to=(BOB,), cc=(), links=links, copies=(SentCopy(BOB, 0, True),)))
    assert [(one.table, one.key) for one in await walked(store)] == [("messages", ("m1",))]
    assert await erase(store) == set()
    left = await store.sent("m1")
    assert left is not None
    assert left.links == (links[0], "https://x.test/?e=erased&n=1")
    assert await walked(store) == []


async def test_who_shares_a_copy_is_not_cut_off(store: Store) -> None:
    await store.record_sent(sent("m1", to=(ADA, BOB), cc=(), copies=(SentCopy(ADA, 0, True), SentCopy(BOB, 0, True))))
    await store.append(event(message_id="m1", at=T0 + 60))
    await erase(store)
    assert len(await store.events()) == 1  # of whom, nobody knows
    assert await store.append(event(message_id="m1", at=T0 + 900)) is not None


async def test_drafts_and_stored_calls(store: Store) -> None:
    ada, bob = {"name": "Ada", "email": ADA}, {"name": "Bob", "email": BOB}
    await store.save_draft(Draft("d1", "sales", T0, T0, {"to": [ada], "body": "Hello"}), [b"a file"])
    await store.save_draft(Draft("d2", "sales", T0, T0, {"to": [ada, bob], "body": f"Hello {ADA}"}))
    await store.begin_request(Request("r1", "digest", "m1", T0), 0.0)
    await store.settle_request(Request("r1", "digest", "m1", T0, "answered", f'{{"to": [{{"email": "{ADA}"}}]}}'))
    await erase(store)
    assert await walked(store) == []
    (kept,) = await store.drafts("sales")
    assert kept.fields == {"to": [bob], "body": "Hello erased"}
    assert await store.contents("d1") == []
    again = await store.begin_request(Request("r1", "digest", "m1", T0), 0.0)
    assert again is not None
    assert again.state == "answered"


async def test_overwriting_says_what_it_can_not(store: Store, url: str) -> None:
    said = await store.overwrite(WHO)
    assert ("WAL" in said) is url.startswith("postgres")
