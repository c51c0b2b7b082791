"""What every store does with keys of the API, and as a whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from relay import store as stores
from relay.store import ApiKey
from relay.store.contract import Store


async def test_api_keys(store: Store) -> None:
    one, two = ApiKey("one", "d1", ("read", "send"), created_at=1), ApiKey("two", "d2", (), "sales", created_at=2)
    await store.add_api_key(one)
    await store.add_api_key(two)
    with pytest.raises(ValueError, match="one"):
        await store.add_api_key(replace(one, digest="d3"))
    assert await store.api_keys() == [one, two]
    assert (await store.find_api_key("d2"), await store.find_api_key("d3")) == (two, None)
    await store.use_api_key("d2", 7.0)
    await store.use_api_key("d2", 6.0)
    await store.use_api_key("d3", 8.0)
    assert await store.api_keys() == [one, replace(two, last_used_at=7.0)]
    assert (await store.revoke_api_key("one"), await store.revoke_api_key("one")) == (True, False)
    assert await store.find_api_key("d1") is None


async def test_check(store: Store) -> None:
    await store.check()


def test_the_kind_is_chosen_by_the_url(tmp_path: Path) -> None:
    assert type(stores.open("sqlite:a.db", tmp_path)).__name__ == "Sqlite"
    with pytest.raises(ValueError, match="mysql"):
        stores.open("mysql://x", tmp_path)
