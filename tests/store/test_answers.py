"""What every store knows of threads and the answers in them: where a thread begins, how many answers it has, who opened first."""

from relay.core.model import SentCopy
from relay.store.contract import Store
from tests.store.contract import T0, event, sent
from tests.store.test_lists import answer, keep

TOLD = (SentCopy("bob@example.org", 0, True, thread_replies=True),)


async def test_an_answer_is_found_by_its_message_id(store: Store) -> None:
    await store.record_sent(sent())
    await keep(store, answer(1))
    await keep(store, answer(2, internet_message_id=""))
    found = await store.find_answer(["none@x", "", "a1@mail.example"], "sales")
    assert found is not None
    assert found.answer_id == "a001"
    assert await store.find_answer(["a1@mail.example"], "other") is None
    assert await store.find_answer([], "sales") is None


async def test_a_message_that_names_an_answer_only_is_in_its_thread(store: Store) -> None:
    await store.record_sent(sent())
    await keep(store, answer(1))
    for number, (grant, thread) in enumerate([("sales", "m1"), ("other", "n1")]):
        await store.record_sent(sent(f"n{number}", grant_id=grant, references=("a1@mail.example",)))
        found = await store.sent(f"n{number}")
        assert found is not None
        assert found.thread_id == thread


async def test_a_thread_begins_with_the_first_message_whose_answers_are_told(store: Store) -> None:
    plain = {"thread_id": "t", "thread_replies": False}
    await store.record_sent(sent("m1", **plain))
    await store.record_sent(sent("m2", thread_id="t", submitted_at=T0 + 3, copies=TOLD))
    await store.record_sent(sent("m3", thread_id="t", submitted_at=T0 + 2, copies=TOLD))
    await store.record_sent(sent("m4", thread_id="t", submitted_at=T0 + 1))  # of nobody's copy
    await store.record_sent(sent("m5", thread_id="t", grant_id="other", copies=TOLD))
    root = await store.thread_root("t", "sales")
    assert root is not None
    assert (root.message_id, root.copies) == ("m3", TOLD)
    assert await store.thread_root("t", "third") is None
    assert await store.thread_root("", "sales") is None


async def test_a_history_has_the_answers_of_the_whole_thread(store: Store) -> None:
    for number, changes in enumerate([{}, {"thread_id": "m0"}, {}, {"thread_id": "m0", "grant_id": "other"}]):
        await store.record_sent(sent(f"m{number}", **changes))
    made = [await store.append(event("thread.replied", f"m{message}", data=data)) for message, data in (
        (0, {}), (1, {}), (2, {}), (3, {}), (0, {"notify": False}), (0, {}), (9, {}), (9, {}),
    )]  # fmt: skip
    await store.append(event("message.opened", "m0"))
    found = [await store.history(one.event_id) for one in made if one]
    assert [one.replies for one in found if one] == [1, 2, 1, 1, 2, 3, 1, 2]
    opened = await store.append(event(at=T0 + 99))
    history = await store.history(opened.event_id) if opened else None
    assert history is not None
    assert history.replies == 0


async def test_a_history_has_the_first_open_of_that_recipient(store: Store) -> None:
    await store.record_sent(sent())
    made = [
        await store.append(event(at=T0 + at, recipient_index=index))
        for at, index in ((0, 0), (100, 1), (200, 0), (300, 1), (310, 1))
    ]
    found = [await store.history(one.event_id) for one in made if one]
    assert [one.first_at - T0 for one in found if one] == [0, 100, 0, 100, 100]
