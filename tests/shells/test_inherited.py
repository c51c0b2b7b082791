"""Sockets that systemd passes: which listener each is for, and the program that is started with them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import config, inherited, starting
from relay.workers import sockets
from tests import peers

ROOT = Path(__file__).parent.parent.parent
MAIL = frozenset({"smtp", "http"})


@pytest.fixture
def listen() -> Iterator[object]:
    """Makes a socket as systemd does: `ListenStream=`, its name, and whether IPv6 is alone."""
    with contextlib.ExitStack() as stack:

        def made(host: str, port: int = 0, *, name: str = "", both: bool = False) -> inherited.Given:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            each = stack.enter_context(socket.socket(family))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not both))
            each.bind((host, port))
            each.listen()
            return inherited.Given(each, name)

        yield made


def settings(smtp: tuple[str, ...] = (), tls: tuple[str, ...] = (), http: tuple[str, ...] = ()) -> config.Settings:
    return config.Settings(smtp=config.Smtp(listen=smtp, listen_tls=tls), http=config.Http(listen=http))


def port(given: inherited.Given) -> int:
    return int(given.socket.getsockname()[1])


def given(places: sockets.Places) -> dict[tuple[str, int], list[list[int]]]:
    """The descriptors of each place."""
    return {key: [[each.fileno() for each in place.given] for place in found] for key, found in places.items()}


def test_each_listener_gets_the_socket_of_its_address(listen):
    mail, tls, pixels = listen("127.0.0.1"), listen("::1"), listen("0.0.0.0")
    found = settings(
        (f"127.0.0.1:{peers.free_port()}", f"127.0.0.1:{port(mail)}"),
        (f"[::1]:{port(tls)}",),
        (f"0.0.0.0:{port(pixels)}",),
    )
    assert given(inherited.places(found, MAIL, [pixels, tls, mail])) == {
        ("smtp.listen", 1): [[mail.socket.fileno()]],
        ("smtp.listen_tls", 0): [[tls.socket.fileno()]],
        ("http.listen", 0): [[pixels.socket.fileno()]],
    }


@pytest.mark.parametrize("spelt", [("0.0.0.0:{}",), ("[::]:{}",), ("0.0.0.0:{}", "[::]:{}")])
def test_a_number_alone_is_both_families(listen, spelt):
    """`ListenStream=25`."""
    both = listen("::", both=True)
    places = inherited.places(settings(tuple(text.format(port(both)) for text in spelt)), MAIL, [both])
    assert set(places) == {("smtp.listen", at) for at in range(len(spelt))}


def test_a_host_of_two_addresses_takes_one_and_binds_the_other(listen, monkeypatch):
    one = listen("127.0.0.1")
    where = [(socket.AF_INET, ("127.0.0.1", port(one))), (socket.AF_INET6, ("::1", port(one), 0, 0))]
    monkeypatch.setattr(inherited, "resolved", lambda text: iter(where))
    places = inherited.places(settings((f"localhost:{port(one)}",)), MAIL, [one])
    assert given(places) == {("smtp.listen", 0): [[one.socket.fileno()], []]}
    bound = sockets.bind(places)
    assert [each.getsockname()[:2] for each in bound["smtp.listen", 0]] == [
        ("127.0.0.1", port(one)),
        ("::1", port(one)),
    ]
    sockets.close_all(bound)


def test_a_name_takes_all_sockets_of_that_name(listen):
    one, two, other = listen("127.0.0.1", name="mail"), listen("::1", name="mail"), listen("127.0.0.1", name="web")
    found = settings(("systemd:mail",), (), ("systemd:web",))
    assert given(inherited.places(found, MAIL, [one, other, two])) == {
        ("smtp.listen", 0): [[one.socket.fileno()], [two.socket.fileno()]],
        ("http.listen", 0): [[other.socket.fileno()]],
    }


def test_a_name_that_is_not_passed_is_said(listen):
    web = listen("127.0.0.1", name="web")
    with pytest.raises(starting.CannotStart) as refused:
        inherited.places(settings(("systemd:mail",), (), ("systemd:web",)), MAIL, [web])
    assert refused.value.code == 2
    assert str(refused.value) == (
        f'smtp.listen: there is no socket "mail": systemd passes 127.0.0.1:{port(web)} (web); check FileDescriptorName= of '
        "the .socket unit, and that it is started (systemctl enable --now trackrelay.socket)"
    )
    with pytest.raises(starting.CannotStart, match='there is no socket "mail": systemd passes no socket at all; check'):
        inherited.places(settings(("systemd:mail",)), MAIL, [])


def test_a_socket_that_is_nobodys_is_said(listen):
    stray = listen("127.0.0.1", name="trackrelay.socket")
    with pytest.raises(starting.CannotStart) as refused:
        inherited.places(settings((f"127.0.0.2:{port(stray)}",)), MAIL, [stray])
    assert refused.value.code == 2
    assert str(refused.value) == (
        f"systemd passes the socket 127.0.0.1:{port(stray)} (trackrelay.socket), and nothing in relay.toml listens there; name "
        'its address in smtp.listen, smtp.listen_tls or http.listen (or "systemd:trackrelay.socket"), or take it out of the '
        ".socket unit"
    )


def test_a_socket_of_another_role_is_said(listen):
    web = listen("127.0.0.1", name="web")
    with pytest.raises(starting.CannotStart) as refused:
        inherited.places(settings((), (), (f"127.0.0.1:{port(web)}",)), frozenset({"smtp"}), [web])
    assert "which is http.listen's, and this process has not the role http; let its .socket unit name" in str(
        refused.value
    )
    assert "Service=trackrelay-http.service" in str(refused.value)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_each_socket_has_a_process_and_each_process_a_socket(listen, processes, number):
    """Whether as many are passed (ReusePort=yes), fewer or more."""
    made = tuple(listen("127.0.0.1").socket for _ in range(number))
    shares = [sockets.share(made, turn, processes) for turn in range(processes)]
    assert all(shares)
    assert {each for share in shares for each in share} == set(made)
    if number >= processes:
        assert sum(map(len, shares)) == number


# -- the program -------------------------------------------------------------------------------------------------------

# Puts the descriptors in its arguments where systemd has them, and becomes the program.
LAUNCH = """
import os, sys
names, fds, words = sys.argv[1], [int(n) for n in sys.argv[2].split(",") if n], sys.argv[3:]
high = [os.dup2(fd, 50 + at) for at, fd in enumerate(fds)]
for at, fd in enumerate(high):
    os.dup2(fd, 3 + at)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, "-m", "relay", *words])
"""


def run(folder: Path, given: list[inherited.Given], text: str) -> subprocess.CompletedProcess[str]:
    """A start that fails."""
    (folder / "relay.toml").write_text(text)
    fds = [each.socket.fileno() for each in given]
    return subprocess.run(
        [sys.executable, "-c", LAUNCH, ":".join(each.name for each in given), ",".join(map(str, fds)),
         "run", "--config", str(folder / "relay.toml")],
        capture_output=True, text=True, timeout=120, pass_fds=fds, cwd=ROOT,
    )  # fmt: skip


def relay_toml(smtp: str, more: str = "") -> str:
    return f"""
[smtp]
{smtp}
[upstream]
url = "smtp://127.0.0.1:9"
[tracking]
url = "http://127.0.0.1:8080"
[http]
listen = "127.0.0.1:{peers.free_port()}"
[admin]
listen = "127.0.0.1:{peers.free_port()}"
{more}
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_start_with_a_stray_socket_is_a_mistake_of_the_settings(tmp_path, listen, workers):
    stray = listen("127.0.0.1", name="trackrelay.socket")
    done = run(tmp_path, [stray], relay_toml(f'listen = ["127.0.0.1:{peers.free_port()}"]\nworkers = {workers}'))
    assert done.returncode == 2
    assert (
        f"trackrelay: systemd passes the socket 127.0.0.1:{port(stray)} (trackrelay.socket), and nothing in"
        in done.stderr
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_start_without_the_socket_is_a_mistake_of_the_settings(tmp_path, workers):
    smtp = f'listen = ["systemd:mail"]\nallow = ["192.0.2.0/24"]\nworkers = {workers}'
    done = run(tmp_path, [], relay_toml(smtp))
    assert done.returncode == 2
    assert 'smtp.listen: there is no socket "mail": systemd passes no socket at all' in done.stderr


def test_what_is_no_listening_socket_is_said(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        done = run(tmp_path, [inherited.Given(datagrams, "dns")], relay_toml('listen = ["127.0.0.1:0"]'))
    assert done.returncode == 2
    assert (
        "systemd passes dns, which is not one to listen on; the .socket unit needs ListenStream= and Accept=no"
        in done.stderr
    )


def test_sockets_of_another_process_are_left_alone():
    environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert inherited.take(environ) == []
    assert environ == {"HOME": "/"}


def test_the_milters_socket_may_be_a_file_of_systemd(tmp_path):
    """It is there before the program and after it."""
    path = tmp_path / "milter.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        (tmp_path / "relay.toml").write_text(relay_toml("", f'[milter]\nlisten = "unix:{path}"'))
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, "milter", str(listening.fileno()), "run", "--only", "milter", "--config",
             str(tmp_path / "relay.toml")],
            stderr=subprocess.PIPE, text=True, pass_fds=[listening.fileno()], cwd=ROOT,
        )  # fmt: skip
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.settimeout(60)
                server.connect(str(path))  # before it is ready: it waits
                server.sendall(b"\0\0\0\rO\0\0\0\6\0\0\1\xff\0\x1f\xff\xff")
                assert server.recv(5)[4:] == b"O"
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.communicate()
        assert path.is_socket()
