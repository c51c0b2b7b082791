"""What every store does with the recipients who are not tracked, or not written to, and with wishes to be forgotten."""

import asyncio
from typing import Any, Literal

from relay.core.model import SentCopy
from relay.core.suppressions import GROUNDS, Erasure, Ground, Suppression
from relay.store.contract import Store
from relay.store.lists import Suppressions, suppression_key
from tests.store.contract import T0, click, event, sent

REASONS: tuple[Ground | Literal[""], ...] = ("", *GROUNDS)


def entry(digest: str = "d1", grant_id: str = "", reason: str = "refusal", **changes: Any) -> Suppression:
    values: dict[str, Any] = {"recipient": f"{digest}@example.com", "since": T0, "source": "page", "event_id": "e1"}
    return Suppression(digest, grant_id, reason, **({**values, "note": "on the phone \N{BELL}"} | changes))  # type: ignore[arg-type]


async def test_an_entry_is_found_by_its_digest_and_stays_as_it_was(store: Store, another: Store) -> None:
    first, second = entry(), entry("d2", "sales", "bounce")
    assert await store.suppress([first, second, first]) == 2
    assert await another.suppress([first.with_(since=T0 + 1, note="later")]) == 0
    assert await another.suppressed(["d1", "d3"]) == [first]
    assert {one.digest for one in await store.suppressed(["d1", "d2", "d2"])} == {"d1", "d2"}
    assert await store.suppressed([]) == []
    assert await store.suppressed(["D1", "d", ""]) == []


async def test_a_message_is_recorded_unless_one_of_its_recipients_is_on_the_list(store: Store, another: Store) -> None:
    first, second = entry(), entry("d1", "sales", "bounce")
    await another.suppress([first, second, entry("d9")])
    named = {f"m{n}": sent(f"m{n}") for n in range(5)}
    asked = {"m0": ["d1", "d2"], "m1": ["d2", "d3"], "m2": (), "m3": ["d9"], "m4": ["d8"]}
    found = await asyncio.gather(*(store.record_sent(one, asked[name]) for name, one in named.items()))
    assert [{(e.digest, e.reason) for e in entries} for entries in found] == [
        {("d1", "refusal"), ("d1", "bounce")}, set(), set(), {("d9", "refusal")}, set(),
    ]  # fmt: skip
    assert [name for name in named if await store.sent(name)] == ["m1", "m2", "m4"]
    assert await store.record_sent(named["m0"]) == ()
    assert await another.sent("m0")
    await store.record_sent(named["m1"], ["d1"])  # again, and it stays as it was
    assert await store.sent("m1")


async def test_reasons_and_grants_stand_beside_each_other_and_go_alone(store: Store, another: Store) -> None:
    all_of_them = [entry("d1", grant, reason) for grant in ("", "sales") for reason in GROUNDS]
    assert await store.suppress(all_of_them) == 8
    assert await another.unsuppress([("d1", "", "bounce"), ("d1", "sales", "refusal"), ("d2", "", "bounce")]) == 2
    left = {(one.grant_id, one.reason) for one in await store.suppressed(["d1"])}
    assert left == {(one.grant_id, one.reason) for one in all_of_them} - {("", "bounce"), ("sales", "refusal")}
    assert await store.unsuppress([("d1", "", "bounce")]) == 0


async def test_the_list_goes_from_the_newest_to_the_oldest_page_by_page(store: Store) -> None:
    made = [entry(f"d{n}", ("", "sales", "news")[n % 3], GROUNDS[n % 4], since=T0 + n // 5) for n in range(40)]
    await store.suppress(made)
    for grant in (None, "", "sales", "none"):
        for reason in REASONS:
            wanted = Suppressions(grant, reason)
            expected = sorted((one for one in made if wanted.fits(one)), key=suppression_key, reverse=True)
            found: list[Suppression] = []
            while page := await store.list_suppressions(wanted, 4):
                assert len(page) <= 4
                found += page
                wanted = wanted.with_(after=suppression_key(page[-1]))
            assert found == expected


async def test_what_is_forgotten_goes_on_being_found(store: Store, another: Store) -> None:
    await store.suppress([entry("d1"), entry("d1", "sales", "manual"), entry("d2")])
    assert await another.forget_suppressed(["d1", "d9"]) == 2
    found = await store.suppressed(["d1"])
    assert {(one.recipient, one.note, one.since) for one in found} == {("", "", T0)}
    assert {one.reason for one in found} == {"refusal", "manual"}
    assert await store.suppressed(["d2"]) == [entry("d2")]
    assert await store.suppress([entry("d1")]) == 0  # nor does the address come back by another refusal
    assert {one.recipient for one in await store.suppressed(["d1"])} == {""}


async def test_who_wants_to_be_forgotten_is_asked_for_once(store: Store, another: Store) -> None:
    first, second = Erasure("d1", "bob@example.com", T0 + 1, "m1"), Erasure("d2", "ann@example.com", T0)
    assert await store.ask_erasure(first)
    assert await another.ask_erasure(second)
    assert not await store.ask_erasure(first.with_(at=T0 + 9))
    assert await another.erasures() == [second, first]
    assert await another.erasures(1) == [second]
    assert await another.erasures(1, (second.at, second.digest)) == [first]
    assert await store.settle_erasure("d2")
    assert not await another.settle_erasure("d2")
    assert await store.erasures() == [first]


async def test_who_refused_is_not_recorded_in_earlier_mail_either(store: Store) -> None:
    def digest(address: str) -> str:
        return f"digest of {address}"

    store.heed_refusals(digest)
    two = (SentCopy("bob@example.com", 0, tracked=True), SentCopy("ann@example.com", 1, tracked=True))
    await store.record_sent(sent("m1", copies=two))
    assert await store.append(event(at=T0 + 10)) is not None
    refusal = entry(digest("bob@example.com"), since=T0 + 100)
    await store.suppress([refusal, entry(digest("ann@example.com"), reason="bounce", since=T0 + 100)])
    assert await store.append(event(at=T0 + 200)) is None
    assert await store.append(click(0, at=T0 + 201)) is None
    assert await store.append(event(at=T0 + 90)) is not None  # made before, handed in late
    assert await store.append(event(at=T0 + 202, recipient_index=1)) is not None
    assert [(e.at - T0, e.recipient_index) for e in await store.events()] == [(10, 0), (90, 0), (202, 1)]
    [own] = (await store.engagements(["m1"])).values()
    assert (own.opens, own.clicks) == (3, 0)
    await store.unsuppress([(refusal.digest, "", "refusal")])
    assert await store.append(event(at=T0 + 300)) is not None


async def test_a_refusal_holds_for_the_mail_of_its_grant(store: Store) -> None:
    store.heed_refusals(str.upper)
    await store.record_sent(sent("m1", copies=(SentCopy("bob@example.com", 0, tracked=True),)))
    await store.suppress([entry("BOB@EXAMPLE.COM", "another")])
    assert await store.append(event(at=T0 + 200)) is not None
    await store.suppress([entry("BOB@EXAMPLE.COM", "sales")])
    assert await store.append(event(at=T0 + 300)) is None


async def test_of_a_shared_copy_nobody_knows_whose_hit_it_is(store: Store) -> None:
    store.heed_refusals(str.upper)
    await store.record_sent(
        sent("m1", copies=(SentCopy("bob@example.com", 0, tracked=True), SentCopy("ann@example.com", 0, tracked=True)))
    )
    await store.suppress([entry("BOB@EXAMPLE.COM")])
    assert await store.append(event(at=T0 + 200)) is not None
