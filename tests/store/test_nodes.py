"""What every store does with the processes that share it, and with the leases of mailboxes."""

from pathlib import Path

from relay import store as stores
from relay.core.nodes import Node
from relay.store import Cursor
from relay.store.contract import Store
from tests.store.contract import event, sent

ONE = Node("one", ("http", "smtp"), "p1", "0.1", 5.5, 0.0, 3, 4.5, {"0": "abc"}, 0, {"wh_1": "d.e"})
TWO = Node("two", ("webhooks",), "p2")


async def test_all_hear_of_all(store: Store, another: Store) -> None:
    first = await store.beat(ONE)
    assert first.was is None
    assert [node.with_(at=0.0) for node in first.nodes] == [ONE]
    assert first.nodes[0].at == first.now
    second = await another.beat(TWO)
    assert [node.with_(at=0.0) for node in second.nodes] == [ONE, TWO]
    assert second.nodes == (await store.nodes()).nodes
    third = await store.beat(ONE.with_(queue=4))
    assert third.was == first.nodes[0]
    assert [(node.name, node.queue) for node in third.nodes] == [("one", 4), ("two", 0)]
    assert first.now <= second.now <= third.now <= (await another.nodes()).now


async def test_a_machine_has_a_node_for_each_set_of_roles(store: Store) -> None:
    for node in (ONE, TWO.with_(name="one")):
        await store.beat(node)
    assert [(node.name, node.roles) for node in (await store.nodes()).nodes] == [
        ("one", ("http", "smtp")), ("one", ("webhooks",)),
    ]  # fmt: skip


async def test_who_stops_is_gone_but_for_its_mail(store: Store) -> None:
    for node in (ONE, TWO):
        await store.beat(node)
    await store.leave(ONE)
    await store.leave(TWO)
    (left,) = (await store.nodes()).nodes
    assert left.with_(at=0.0) == ONE.with_(stopped=True)
    assert (await store.beat(ONE)).nodes[0].stopped is False


async def test_who_stops_leaves_the_place_of_its_successor(store: Store) -> None:
    await store.beat(ONE)
    roll = await store.beat(ONE.with_(process="p3"))
    assert roll.was is not None
    assert roll.was.process == "p1"
    await store.leave(ONE)
    await store.leave(TWO)
    assert [(node.process, node.stopped) for node in (await store.nodes()).nodes] == [("p3", False)]


async def test_who_does_not_run_can_be_removed(store: Store, another: Store) -> None:
    for node in (ONE, ONE.with_(roles=("mailbox",)), TWO):
        await store.beat(node)
    await store.leave(ONE)
    assert await another.remove_node("nobody") == await another.remove_node("two") == ()
    assert [node.with_(at=0.0) for node in await another.remove_node("one")] == [ONE.with_(stopped=True)]
    assert [(node.name, node.roles) for node in (await store.nodes()).nodes] == [
        ("one", ("mailbox",)), ("two", ("webhooks",)),
    ]  # fmt: skip


async def test_it_can_be_looked_at_without_a_start(store: Store, url: str, tmp_path: Path) -> None:
    await store.beat(ONE)
    if url != "memory:":
        seen = await stores.roll(url, tmp_path)
        assert (seen.nodes, seen.now >= seen.nodes[0].at) == ((await store.nodes()).nodes, True)


async def test_where_no_service_has_run_nobody_is_seen(tmp_path: Path) -> None:
    assert (await stores.roll("sqlite:trackrelay.db", tmp_path)).nodes == ()
    assert [*tmp_path.iterdir()] == []


# -- leases ------------------------------------------------------------------------------------------------------------


async def test_a_mailbox_is_leased_to_one(store: Store, another: Store) -> None:
    assert await store.take_leases(["a", "b"], "one", 60) == {"a", "b"}
    assert await another.take_leases(["a", "b", "c"], "two", 60) == {"c"}
    assert await store.take_leases(["a", "b", "c"], "one", 60) == {"a", "b"}
    assert await store.take_leases([], "one", 60) == frozenset()
    await another.release_leases("two")
    assert await store.take_leases(["c"], "one", 60) == {"c"}
    await another.release_leases("two")
    assert await another.take_leases(["c"], "two", 60) == frozenset()


async def test_a_lease_that_ran_out_is_taken_over(store: Store, another: Store) -> None:
    await store.take_leases(["a"], "one", 0)
    assert await another.take_leases(["a"], "two", 60) == {"a"}
    assert await store.take_leases(["a"], "one", 60) == frozenset()


async def test_a_lease_of_another_clock_is_void(store: Store) -> None:
    await store.take_leases(["a"], "one", 1_000_000)
    assert await store.take_leases(["a"], "two", 60) == {"a"}


async def test_a_cursor_is_moved_by_who_has_the_lease(store: Store, another: Store) -> None:
    await store.record_sent(sent())
    await store.take_leases(["a"], "one", 0)
    await store.save_cursor(Cursor("a", 1, 1, holder="one"))
    await store.append(event(), Cursor("a", 1, 2, holder="one"))
    assert await store.cursor("a") == Cursor("a", 1, 2)  # it ran out, and nobody took it
    await another.take_leases(["a"], "two", 60)
    await another.save_cursor(Cursor("a", 1, 7, holder="two"))
    await store.save_cursor(Cursor("a", 1, 3, holder="one"))
    late = event()
    written = await store.append(late, Cursor("a", 1, 4, holder="one"))
    assert written is not None
    assert written.event_id == late.event_id
    await store.save_cursor(Cursor("a", 1, 5))
    assert await another.cursor("a") == Cursor("a", 1, 7)
    await another.append(event(), Cursor("a", 1, 8, holder="two"))
    assert await store.cursor("a") == Cursor("a", 1, 8)


async def test_without_leases_whoever_reads_moves_the_cursor(store: Store) -> None:
    await store.save_cursor(Cursor("a", 1, 3))
    await store.save_cursor(Cursor("a", 1, 4, holder="one"))
    assert await store.cursor("a") == Cursor("a", 1, 4)
