"""What every store does with what messages said."""

from relay.store.contract import Store
from tests.store.contract import T0, sent


async def test_it_is_there_until_it_is_too_old_or_too_much(store: Store) -> None:
    for number in range(5):
        await store.keep_message(f"m{number}", T0 + number, bytes(10), oldest=0.0, most=30)
    assert [n for n in range(5) if await store.kept_message(f"m{n}") == bytes(10)] == [2, 3, 4]
    await store.keep_message("m5", T0 + 5, b"five", oldest=T0 + 4, most=30)
    assert [n for n in range(6) if await store.kept_message(f"m{n}") is not None] == [4, 5]
    await store.keep_message("m6", T0 + 6, bytes(31), oldest=0.0, most=30)
    assert [n for n in range(7) if await store.kept_message(f"m{n}") is not None] == []
    await store.keep_message("m7", T0 + 7, bytes(30), oldest=0.0, most=30)
    assert await store.kept_message("m7") == bytes(30)


async def test_what_is_kept_again_is_kept_once(store: Store) -> None:
    for octets in (b"one", b"other"):
        await store.keep_message("m1", T0, octets, oldest=0.0, most=100)
    assert await store.kept_message("m1") == b"other"


async def test_it_goes_with_its_message(store: Store) -> None:
    await store.record_sent(sent())
    await store.keep_message("m1", T0, b"one", oldest=0.0, most=100)
    await store.remove_message("m1")
    assert await store.kept_message("m1") is None
