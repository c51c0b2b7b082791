"""One process of several: what it says and hears, and the sockets that it is given."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from relay import config, roles, starting, workers
from relay.core.workers import Part
from relay.workers import member, sharing, sockets
from tests import peers
from tests.until import until

ALL = frozenset(roles.ALL)


def pair() -> tuple[member.Line, member.Line]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return member.Line(one), member.Line(other)


def a_member(line: member.Line) -> member.Member:
    made = member.Member(Part("main", frozenset({"admin"}), 0, True), ALL, sharing.ALONE, {}, line)
    made.every = 0.01
    return made


def process(
    name: str, state: str = "up", *, reasons: tuple[str, ...] = (), warnings: tuple[str, ...] = ()
) -> dict[str, Any]:
    role = name.partition("-")[0]
    return {
        "name": name, "roles": ["admin", "queue"] if role == "main" else [role], "state": state, "pid": 1, "deaths": 0,
        "why": "" if state == "up" else "it was killed by SIGKILL", "troubles": [list(reasons), list(warnings)],
    }  # fmt: skip


async def test_it_gives_signs_of_life_and_stops_when_nobody_hears_them():
    ours, theirs = pair()
    one, stopped = a_member(ours), asyncio.Event()
    one.begin(stopped.set)
    one.own = (["spool: full"], [])
    heard: list[dict[str, Any]] = []

    def told() -> bool:
        while message := theirs.hear():
            heard.append(message)
        return any(each.get("troubles") == [["spool: full"], []] for each in heard)

    await until(told)
    assert {"accepted", "clients", "queue"} <= set(heard[0]["figures"])
    assert not stopped.is_set()
    theirs.close()
    async with asyncio.timeout(10):
        await stopped.wait()


@pytest.mark.parametrize(
    ("processes", "reasons", "warnings"),
    [
        ([process("main"), process("smtp-1"), process("smtp-2")], [], []),
        (
            [process("main"), process("smtp-1", "missing"), process("smtp-2")],
            [], ["workers: smtp-1 is missing: it was killed by SIGKILL"],
        ),
        (
            [process("main"), process("smtp-1", "missing"), process("smtp-2", "starting"), process("http-1")],
            ["workers: smtp-1 is missing: it was killed by SIGKILL", "workers: smtp-2 is missing: it was killed by SIGKILL"],
            [],
        ),
        (
            [process("main", reasons=("said by itself already",)), process("smtp-1", warnings=("upstream: tls",))],
            [], ["upstream: tls"],
        ),
        ([process("main"), process("smtp-1", reasons=("spool: full",)), process("smtp-2")], ["spool: full"], []),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_the_service(processes, reasons, warnings):
    ours, theirs = pair()
    one = a_member(ours)
    one.begin(lambda: None)
    theirs.tell("standing", processes=processes, addresses={"smtp": [["127.0.0.1", 25]]})
    await until(lambda: one.others)
    assert one.troubles() == (reasons, warnings)
    assert one.missing == [each for each in (*reasons, *warnings) if "is missing" in each]
    assert one.addresses == {"smtp": [("127.0.0.1", 25)]}
    theirs.close()


def test_one_that_is_alone_has_nobody_to_tell():
    one = member.alone(ALL)
    assert (one.alone, one.leads, one.troubles()) == (True, True, ([], []))
    one.ready({})
    one.reloaded()


def listening(*listen: str) -> config.Settings:
    return config.Settings(smtp=config.Smtp(listen=listen), http=config.Http(listen=()), admin=config.Admin(listen=""))


def test_each_process_has_sockets_of_its_own_on_the_same_addresses():
    port = peers.free_port()
    places = sockets.places(listening(f"127.0.0.1:{port}", "[::1]:0"), frozenset({"smtp"}), {})
    one, other = sockets.bind(places, 0, 2), sockets.bind(places, 1, 2)
    try:
        for bound in (one, other):
            (first,), (second,) = bound.values()
            assert first.getsockname() == ("127.0.0.1", port)
            assert second.family == socket.AF_INET6
            assert second.proto == socket.IPPROTO_TCP  # or the loop would leave Nagle's algorithm on
        assert [s.getsockname() for found in one.values() for s in found] == [
            s.getsockname() for found in other.values() for s in found
        ]
        for found in (*one.values(), *other.values()):
            found[0].listen()
        with pytest.raises(starting.CannotStart) as refused:  # another service
            sockets.places(listening(f"127.0.0.1:{port}"), frozenset({"smtp"}), {})
        assert refused.value.code == 1
        assert str(refused.value).startswith(f"smtp: can't listen on 127.0.0.1:{port}: another program listens there")
    finally:
        sockets.close_all(one)
        sockets.close_all(other)


def test_no_host_is_every_address():
    port = peers.free_port()
    found = sockets.places(listening(f":{port}"), frozenset({"smtp"}), {})["smtp.listen", 0]
    assert {family for family, _, _ in found} == {socket.AF_INET, socket.AF_INET6}
    assert {place[:2] for _, place, _ in found} == {("0.0.0.0", port), ("::", port)}


def test_a_login_that_is_tried_upstream_has_one_process():
    smtp = config.Smtp(auth="upstream", workers="auto")
    assert len(workers.parts(config.Settings(smtp=smtp), ALL)) == 1
    both = config.Settings(smtp=smtp, http=config.Http(workers=2))
    assert [part.name for part in workers.parts(both, ALL)] == ["main", "http-1", "http-2"]
