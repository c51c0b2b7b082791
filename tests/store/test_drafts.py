"""What every store does with drafts, and with messages that are sent later."""

import asyncio
from typing import Any

import pytest

from relay.core.nodes import Node
from relay.store import Draft, Schedule, decisions
from relay.store.contract import Store
from tests.store.contract import T0


def draft(number: int = 1, **changes: Any) -> Draft:
    fields = {"subject": "Grüße \N{PARTY POPPER}", "to": [{"email": "bob@example.org"}]}
    return Draft(f"d{number:03}", "sales", T0, T0, fields).with_(**changes)


def schedule(number: int = 1, **changes: Any) -> Schedule:
    fields = {"subject": "Grüße", "recipients": ["bob@example.org"]}
    return Schedule(f"s{number:03}", "sales", f"m{number:03}", T0 + 600, T0, fields).with_(**changes)


async def test_a_draft_is_kept_with_its_attachments_changed_and_removed(store: Store) -> None:
    assert await store.save_draft(draft(), [b"\x00one", b"two"])
    assert await store.draft("sales", "d001") == draft()
    assert await store.contents("d001") == [b"\x00one", b"two"]
    changed = draft(updated_at=T0 + 5, fields={"subject": "other"})
    assert await store.save_draft(changed)
    assert (await store.draft("sales", "d001"), await store.contents("d001")) == (changed, [b"\x00one", b"two"])
    assert await store.save_draft(changed, [b"three"])
    assert await store.contents("d001") == [b"three"]
    assert [await store.remove_draft("sales", "d001") for _ in range(2)] == [True, False]
    assert (await store.draft("sales", "d001"), await store.contents("d001")) == (None, [])


async def test_a_draft_is_its_grants(store: Store) -> None:
    await store.save_draft(draft(), [b"one"])
    assert await store.draft("other", "d001") is None
    assert not await store.remove_draft("other", "d001")
    assert not await store.save_draft(draft(grant_id="other", fields={}), [])
    assert (await store.draft("sales", "d001"), await store.contents("d001")) == (draft(), [b"one"])
    assert await store.drafts("other") == []


async def test_drafts_are_listed_newest_first_page_by_page(store: Store) -> None:
    for number in (2, 1, 3):
        await store.save_draft(draft(number))
    await store.save_draft(draft(4, grant_id="other"))
    first = await store.drafts("sales", 2)
    assert first == [draft(3), draft(2)]
    assert await store.drafts("sales", 2, first[-1].draft_id) == [draft(1)]


async def test_half_a_surrogate_pair_is_a_question_mark(store: Store) -> None:
    await store.save_draft(draft(fields={"subject": "a\ud800b"}))
    found = await store.draft("sales", "d001")
    assert found is not None
    assert found.fields["subject"] in ("a?b", "a\ud800b")  # in memory nothing is encoded


async def test_a_schedule_waits_until_it_is_due_and_is_claimed_once(store: Store, another: Store) -> None:
    assert await store.add_schedule(schedule(), [b"envelope", b"message"])
    assert not await store.add_schedule(schedule(fields={}), [b"other"])
    assert await store.next_schedule() == T0 + 600
    assert await store.claim_schedules(T0 + 599) == []
    both = await asyncio.gather(store.claim_schedules(T0 + 600), another.claim_schedules(T0 + 600))
    (claimed,) = [one for found in both for one in found]
    assert claimed == schedule(attempt=1, next_at=T0 + 600 + decisions.LEASE)
    assert await store.schedule("sales", "s001") == claimed
    assert await store.contents("s001") == [b"envelope", b"message"]
    assert await store.settle_schedule(claimed.with_(state="handed", next_at=T0 + 700, handed=1))
    assert await store.contents("s001") == []
    (again,) = await another.claim_schedules(T0 + 700)
    assert (again.state, again.attempt, again.handed) == ("handed", 2, 1)
    assert await store.settle_schedule(again.with_(state="sent", closed_at=T0 + 701))
    assert await store.schedule("sales", "s001") == again.with_(state="sent", closed_at=T0 + 701)
    assert (await store.claim_schedules(T0 + 9999), await store.next_schedule()) == ([], None)


async def test_what_a_node_handed_over_is_followed_by_that_node(store: Store, another: Store) -> None:
    """It is in its spool. Once that node is forgotten, whoever has its spool now goes on."""
    await store.beat(Node("mail-1", ("smtp",), "p"))
    for number in (1, 2):
        await store.add_schedule(schedule(number), [b"message"])
        (claimed,) = await store.claim_schedules(T0 + 600, 1, "mail-1")
        await store.settle_schedule(claimed.with_(state="handed", next_at=T0 + 601, handed=1, holder="mail-1"))
    assert await another.claim_schedules(T0 + 700, 10, "mail-2") == []
    assert await another.claim_schedules(T0 - 90_000, 10, "mail-2") == []  # nor where its clock is behind
    (first, second) = await store.claim_schedules(T0 + 700, 10, "mail-1")
    assert await store.settle_schedule(first.with_(state="sent", closed_at=T0 + 701))
    assert await store.settle_schedule(second.with_(next_at=T0 + 702))
    await store.leave(Node("mail-1", ("smtp",), "p", queue=1))
    assert await store.remove_node("mail-1")
    (left,) = await another.claim_schedules(T0 + 702, 10, "mail-2")
    assert (left.schedule_id, left.attempt, left.holder) == ("s002", 3, "")
    found = await store.schedule("sales", "s001")
    assert found is not None
    assert found.holder == "mail-1"


async def test_who_lost_the_claim_settles_nothing(store: Store) -> None:
    await store.add_schedule(schedule(), [b"message"])
    (slow,) = await store.claim_schedules(T0 + 600)
    (other,) = await store.claim_schedules(T0 + 600 + decisions.LEASE)
    assert other.attempt == 2
    assert not await store.settle_schedule(slow.with_(state="handed"))
    assert await store.contents("s001") == [b"message"]
    assert await store.settle_schedule(other.with_(state="failed", closed_at=T0, error="refused"))
    assert not await store.settle_schedule(other.with_(state="sent"))  # it is closed
    found = await store.schedule("sales", "s001")
    assert found is not None
    assert (found.state, found.error) == ("failed", "refused")


async def test_a_claim_outlives_no_clock_that_is_set_back(store: Store) -> None:
    await store.add_schedule(schedule(), [b"message"])
    await store.claim_schedules(T0 + 90_000)  # and its process dies
    assert await store.claim_schedules(T0 + 90_000) == []
    (again,) = await store.claim_schedules(T0)
    assert (again.attempt, again.next_at) == (2, T0 + decisions.LEASE)


async def test_what_was_never_claimed_waits_for_its_time_whatever_the_clock_was(store: Store) -> None:
    await store.add_schedule(schedule(send_at=T0 + 90_000), [b"message"])
    assert await store.claim_schedules(T0) == []


@pytest.mark.parametrize(("at", "done"), [(T0, True), (T0 + 589, True), (T0 + 590, False), (T0 + 700, False)])
async def test_a_schedule_is_cancelled_until_shortly_before_it_is_due(store: Store, at: float, done: bool) -> None:
    await store.add_schedule(schedule(), [b"message"])
    assert not await store.cancel_schedule("other", "s001", at, 10)
    assert await store.cancel_schedule("sales", "s001", at, 10) is done
    assert not await store.cancel_schedule("sales", "s001", at, 10)
    assert await store.contents("s001") == ([] if done else [b"message"])
    assert len(await store.claim_schedules(T0 + 600)) == (not done)


async def test_what_was_claimed_is_not_cancelled(store: Store) -> None:
    await store.add_schedule(schedule(), [b"message"])
    await store.claim_schedules(T0 + 600)
    assert not await store.cancel_schedule("sales", "s001", T0, 10)


async def test_schedules_are_their_grants_newest_first_page_by_page(store: Store) -> None:
    for number in (2, 1, 3):
        await store.add_schedule(schedule(number), [])
    await store.add_schedule(schedule(4, grant_id="other"), [])
    assert [s.schedule_id for s in await store.schedules("sales", 2)] == ["s003", "s002"]
    assert [s.schedule_id for s in await store.schedules("sales", 2, "s002")] == ["s001"]
    assert await store.schedule("sales", "s004") is None
