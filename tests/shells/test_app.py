"""The service as a whole, in this process: how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace

import pytest

from relay import __main__ as main
from relay import app, config, files, metrics, spool, starting
from relay.core import queue
from relay.spool.disk import Disk
from tests.fakes import upstream
from tests.fakes.wire import connect
from tests.until import until


def settings(folder, port: int) -> config.Settings:
    return config.Settings(
        state_dir=folder,
        smtp=config.Smtp(listen=("127.0.0.1:0",), hostname="relay.example"),
        upstream=config.Upstream(url=f"smtp://127.0.0.1:{port}", tls="never", patience=0.1),
    )


@pytest.mark.parametrize("on_defer", ["spool", "pass"])
async def test_an_upstream_that_hangs_does_not_keep_it_from_stopping(tmp_path, caplog, on_defer):
    """Clients, the queue and attempts that outlasted their clients have one time together, not one after the other."""
    times = app.Times(stop=3.0, drain=1.0, spool=spool.Times(end=1.0))
    async with upstream.Upstream({"dot": "hang"}) as scripted:
        given = settings(tmp_path, scripted.port)
        given = replace(given, upstream=replace(given.upstream, on_defer=on_defer))
        service = app.Service(given, frozenset({"smtp", "queue"}), times=times)
        addresses = await service.start()
        async with connect(addresses["smtp"][0]) as client:
            await client.greet()
            heard = asyncio.create_task(client.mail(b"Subject: one\r\n\r\nbody\r\n"))
            await until(lambda: scripted.taken)
            if on_defer == "spool":
                assert (await heard).startswith("250")
            async with asyncio.timeout(10):
                await service.stop()
            if on_defer == "pass":
                with pytest.raises((AssertionError, ConnectionError)):  # no 250: the client keeps it
                    assert (await heard).startswith("250")
    assert not [r for r in caplog.records if r.levelname == "ERROR"]  # nothing had to be cut
    kept = Disk(tmp_path / "spool")
    entries = [kept.read(name) for name in kept.scan()]
    assert [(e.attempts, e.waiting[0].address) for e in entries] == ([(0, "b@example.com")] * (on_defer == "spool"))
    assert all(isinstance(e, queue.Entry) for e in entries)


async def test_a_step_of_the_stop_that_fails_keeps_none_of_the_others_from_being_taken(tmp_path, caplog, monkeypatch):
    service = app.Service(settings(tmp_path, 1), frozenset({"smtp", "queue"}))
    await service.start()
    closed = []

    async def note():
        closed.append(True)

    async def fail(seconds):
        raise AttributeError("a transport that is gone")

    service.closers.insert(0, note)
    monkeypatch.setattr(service.wiring.server, "drain", fail)
    failed = metrics.ERRORS.labels("app")
    before = failed._value.get()
    await service.stop()
    assert closed == [True]
    assert failed._value.get() == before + 1
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["not_closed"]


async def test_a_state_dir_that_others_can_write_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    service = app.Service(settings(tmp_path, 1), frozenset({"http"}))
    with pytest.raises(starting.CannotStart) as refused:
        await service.start()
    assert (refused.value.code, str(refused.value)) == (1, files.exposed(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_a_state_dir_is_made_private_and_what_a_crash_left_in_it_goes(tmp_path, caplog):
    folder = tmp_path / "above" / "var"
    service = app.Service(settings(folder, 1), frozenset({"http"}))
    before = os.umask(0)
    try:
        await service.start()
    finally:
        os.umask(before)
        await service.stop()
    made = [folder.parent, folder, *folder.rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in made if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in made if path.is_file()} == {"0o600"}
    assert "state_dir_readable" not in caplog.text
    draft = folder / "keys" / "tokens.json.01.tmp"
    draft.write_bytes(b"x")
    os.utime(draft, (1, 1))
    folder.chmod(0o755)
    again = app.Service(settings(folder, 1), frozenset({"http"}))
    await again.start()
    await again.stop()
    assert not draft.exists()
    assert "state_dir_readable" in caplog.text


@pytest.mark.parametrize("only", ["milter", "smtp,milter"])
def test_a_role_that_would_listen_nowhere_is_refused_by_name(tmp_path, only, capsys):
    """Never "ready" where nothing listens."""
    (tmp_path / "relay.toml").write_text("")
    assert main.main(["run", "--only", only, "--config", str(tmp_path / "relay.toml")]) == 2
    assert capsys.readouterr().err.endswith("relay.toml: milter.listen: is empty, so nothing would listen\n")


async def test_the_tracking_server_on_several_addresses(tmp_path):
    given = config.Settings(state_dir=tmp_path, http=config.Http(listen=("127.0.0.1:0", "[::1]:0", "127.0.0.1:0")))
    service = app.Service(given, frozenset({"http"}))
    addresses = (await service.start())["http"]
    assert [host for host, _ in addresses] == ["127.0.0.1", "::1", "127.0.0.1"]
    try:
        for host, port in addresses:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET /robots.txt HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
    finally:
        await service.stop()
    for host, port in addresses:
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(host, port)


def listening(folder, role: str, address: str) -> config.Settings:
    given = settings(folder, 9)
    match role:
        case "smtp":
            smtp = replace(given.smtp, listen=("127.0.0.1:0", address), allow=("192.0.2.0/24",))
            return replace(given, smtp=smtp)
        case "http":
            return replace(given, http=replace(given.http, listen=("127.0.0.1:0", address)))
        case "admin":
            return replace(given, admin=replace(given.admin, listen=address))
        case _:
            return replace(given, milter=replace(given.milter, listen=f"inet:{address}"))


async def refusal(given: config.Settings, role: str) -> starting.CannotStart:
    service = app.Service(given, frozenset({role}))
    try:
        with pytest.raises(starting.CannotStart) as stopped:
            await service.start()
    finally:
        await service.stop()
    return stopped.value


@pytest.mark.parametrize("role", ["smtp", "http", "admin", "milter"])
async def test_an_address_that_cannot_be_had_now_ends_it_with_1(tmp_path, role):
    """systemd starts it again then: the other program may go, the address may come."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for address, why in (
            (f"127.0.0.1:{port}", "another program listens there; "),
            ("192.0.2.1:2525", "this machine has no such address now; "),
            ("[2001:db8::1]:2525", "this machine "),
        ):
            refused = await refusal(listening(tmp_path, role, address), role)
            assert refused.code == 1
            shown = f"inet:{address}" if role == "milter" else address
            assert str(refused).startswith(f"{role}: can't listen on {shown}: {why}"), str(refused)


@pytest.mark.parametrize(
    ("place", "why"),
    [("gone/milter.sock", "there is no such file or folder"), ("file/milter.sock", "a part of the path is a file"),
     ("file", "is there and is no socket"), ("used", "another process listens at")],
)  # fmt: skip
async def test_a_socket_as_a_file_that_cannot_be_had_now_ends_it_with_1(tmp_path, place, why):
    (tmp_path / "file").write_text("somebody's")
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(tmp_path / "used"))
        used.listen()
        given = replace(settings(tmp_path / "var", 9), milter=config.Milter(f"unix:{tmp_path}/{place}"))
        refused = await refusal(given, "milter")
    assert (refused.code, why in str(refused)) == (1, True), str(refused)


async def test_settings_that_cannot_be_used_end_it_with_2(tmp_path):
    """systemd leaves it at that: starting again does not mend them."""
    (tmp_path / "no.pem").write_text("no certificate")
    ours, pair = settings(tmp_path / "var", 9), {"certificate": tmp_path / "no.pem", "key": tmp_path / "no.pem"}
    for role, given in (
        ("smtp", replace(ours, smtp=replace(ours.smtp, **pair))),
        ("http", replace(ours, http=config.Http(("127.0.0.1:0",), **pair))),
        ("milter", replace(ours, milter=config.Milter(f"unix:{tmp_path}/sock", group="no such group"))),
        ("smtp", replace(ours, dkim=(config.Dkim("e.test", "t1", tmp_path / "no.pem"),))),
        ("smtp", replace(ours, dkim=(config.Dkim("e.test", "t1", tmp_path / "gone.pem"),))),
    ):
        refused = await refusal(given, role)
        assert (refused.code, str(refused).count("\n")) == (2, 0), str(refused)
