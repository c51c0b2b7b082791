"""docs/install.md, its shell blocks run word for word and in order on a clean Debian 12 with systemd.

What stands in for the world, and for nothing else: git takes this checkout for the documented address; smtp.example.com
and t.example.com are the machine itself, as /etc/hosts has it, with certificates of an authority that it trusts; the
upstream is a server of the test's; Caddy finds the certificate that it would have fetched. Blocks that install
something have this machine's network, so that apt and pip reach their mirrors, all others only the clean machine's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes import certificates
from tests.fakes.upstream import Kept, Upstream
from tests.peers import clean_debian
from tests.until import eventually

ROOT = Path(__file__).parent.parent.parent
ADDRESS = "https://github.com/trackrelay/trackrelay"
PASSWORD = "correct horse"
MIRRORS = re.compile(r"apt-get|make -C|pip ")  # blocks that fetch something
STORED = "/var/lib/caddy/.local/share/caddy/certificates/acme-v02.api.letsencrypt.org-directory/t.example.com"
SETTINGS = """
state_dir = "/var/lib/trackrelay"
[upstream]
url = "smtp://relay@smtp.example.com:587"
password_file = "secrets/upstream"
[tracking]
url = "https://t.example.com"
opens = true
links = true
"""
pytestmark = pytest.mark.timeout(1800)


def blocks(section: str) -> list[str]:
    """The shell blocks of a section, by the beginning of its heading."""
    text = (ROOT / "docs" / "install.md").read_text()
    (found,) = (part for part in text.split("\n## ") if part.startswith(section))
    return re.findall(r"^```sh\n(.*?)^```$", found, re.M | re.S)


class World:
    """The clean machine, and what it meets."""

    def __init__(self, machine: clean_debian.Machine, upstream: Upstream, repository: Path) -> None:
        self.machine, self.upstream, self.repository = machine, upstream, repository

    def run(self, block: str, stdin: str = "") -> str:
        return self.machine.run(block, network=bool(MIRRORS.search(block)), stdin=stdin)

    def get(self, url: str) -> str:
        """As a recipient's program does it, which trusts what the machine trusts and follows nothing."""
        return self.machine.run(f"""
            python3 - <<'END'
import http.client, ssl
connection = http.client.HTTPSConnection("{urlsplit(url).hostname}", context=ssl.create_default_context())
connection.request("GET", "{urlsplit(url).path}", headers={{"User-Agent": "Mozilla/5.0"}})
answer = connection.getresponse()
print(answer.status, answer.getheader("Location", ""))
END
        """, network=False)  # fmt: skip

    def remembered(self) -> set[str]:
        """Which messages and events there are, by their ids."""
        told = self.run("trackrelay messages list --json; trackrelay events --json")
        found = [json.loads(line) for line in told.splitlines()]
        return {str(one.get("event_id") or one["message_id"]) for one in found}

    def message(self, count: int) -> Kept:
        """The message with that number, once it has come."""
        eventually(lambda: len(self.upstream.kept) >= count, 60)
        return self.upstream.kept[count - 1]


def older() -> str:
    """The commit before the one that last changed what the database is like; "" where there is no history."""
    told = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%P", "--", "relay/store/sqlite/migrations.py"],
        capture_output=True, text=True,
    )  # fmt: skip
    return told.stdout.strip()


def git(repository: Path, *words: str) -> str:
    name = ["-c", "user.name=trackrelay", "-c", "user.email=trackrelay@example.com"]
    done = subprocess.run(
        ["git", "--git-dir", repository, *name, *words], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    return done.stdout.strip()


@contextlib.contextmanager
def serving(upstream: Upstream, machine: clean_debian.Machine) -> Iterator[None]:
    """At port 587 of the machine, from a thread of its own."""
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def begin() -> None:
        await upstream.start(587)
        ready.set()

    def serve() -> None:
        loop.create_task(begin())
        loop.run_forever()

    thread = threading.Thread(target=machine.within, args=(serve,))
    thread.start()
    try:
        assert ready.wait(60)
        yield
        asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    """A repository with what is in this checkout, as it is, and a machine that gets there."""
    clean_debian.require()
    repository = tmp_path / "trackrelay.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", repository], check=True)
    before = older()
    git(repository, "--work-tree", str(ROOT), "add", "--all")
    if before:
        git(repository, "fetch", "--quiet", "--depth=1", f"file://{ROOT}", f"{before}:refs/heads/before")
    parent = ("-p", "before") if before else ()
    this = git(repository, "commit-tree", *parent, "-m", "this", git(repository, "write-tree"))
    git(repository, "branch", "this", this)
    git(repository, "branch", "main", this)
    smtp = certificates.make(tmp_path / "smtp", "smtp.example.com")
    http = certificates.make(tmp_path / "http", "t.example.com", days=9)
    upstream = Upstream(starttls=certificates.serving(smtp), users={"relay": PASSWORD})
    with clean_debian.running(systemd=True, shared=[repository]) as machine:
        machine.path("/root/.gitconfig").write_text(
            f'[url "file://{repository}"]\n\tinsteadOf = {ADDRESS}\n[safe]\n\tdirectory = *\n'
        )
        with machine.path("/etc/hosts").open("a") as hosts:
            hosts.write("127.0.0.1 smtp.example.com t.example.com\n")
        trusted = machine.path("/usr/local/share/ca-certificates")
        trusted.mkdir(parents=True)
        (trusted / "smtp.crt").write_bytes(smtp.certificate.read_bytes())
        (trusted / "http.crt").write_bytes(http.certificate.read_bytes())
        stored = machine.path(STORED)
        stored.mkdir(parents=True)
        (stored / "t.example.com.crt").write_bytes(http.certificate.read_bytes())
        (stored / "t.example.com.key").write_bytes(http.key.read_bytes())
        (stored / "t.example.com.json").write_text('{"sans": ["t.example.com"], "issuer_data": {}}')
        machine.run("chmod -R a+rwX /var/lib/caddy")
        with serving(upstream, machine):
            yield World(machine, upstream, repository)


def test_install_md_runs_as_it_stands(world):
    for block in blocks("1.") + blocks("2."):
        world.run(block)
    for block in blocks("3."):
        world.run(block, stdin=PASSWORD + "\n")
    for block in blocks("4.") + blocks("5."):
        world.run(block)
    first_message(world)
    back_up_and_restore(world)
    upgrade(world)
    remove(world)
    if older():
        upgrade_from_before(world)


def first_message(world: World) -> None:
    send, key = blocks("6.")
    with world.machine.start(send, network=False) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        lines = iter(process.stdout.readline, "")
        assert "ada@example.net" in next(lines)
        pixel, link = tracked(world.message(1))
        assert world.get(pixel).startswith("200")
        assert "opened" in next(lines)
        assert world.get(link).split() == ["302", "https://example.com/"]
        assert "clicked" in next(lines)
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
    assert world.run(key).strip()


def tracked(kept: Kept) -> tuple[str, str]:
    html = message_from_bytes(kept.content).get_payload(decode=True).decode()
    (pixel,) = re.findall(r'<img src="([^"]+)"', html)
    (link,) = re.findall(r'<a href="([^"]+)"', html)
    return pixel, link


def back_up_and_restore(world: World) -> None:
    """What came after the backup is gone after the restore; links that were sent before it go on."""
    save, restore = blocks("7.")
    world.run(save)
    _, link = tracked(world.message(1))
    before = world.remembered()
    send, _ = blocks("6.")
    world.run(send.replace("trackrelay events --follow", "true"))
    world.message(2)
    assert world.remembered() > before
    world.run(restore)
    world.run("systemctl is-active trackrelay")
    assert world.remembered() == before
    answered(world, link)


def answered(world: World, link: str) -> None:
    """The proxy answers 502 until the service listens again."""
    eventually(lambda: world.get(link).split() == ["302", "https://example.com/"], 60, 0.5)


def upgrade(world: World) -> None:
    for block in blocks("8."):
        world.run(block)
    _, link = tracked(world.message(1))
    answered(world, link)


def remove(world: World) -> None:
    for block in blocks("9."):
        world.run(block)
    named = "find / -xdev '(' -iname '*trackrelay*' -o -nouser -o -nogroup ')'"
    assert world.run(f"{named}; getent passwd trackrelay || true; getent group trackrelay || true") == ""


def upgrade_from_before(world: World) -> None:
    """From the version with the database before the last change. It is installed as its documents said."""
    git(world.repository, "branch", "--force", "main", "before")
    (fetch,), (send, _) = blocks("1."), blocks("6.")
    world.run(fetch.replace("apt-get", "true apt-get"))
    world.run("""
        systemd-sysusers /opt/trackrelay/systemd/trackrelay.sysusers
        install -d -m 750 -o root -g trackrelay /etc/trackrelay
        install -d -m 700 -o trackrelay -g trackrelay /etc/trackrelay/secrets
        install -m 600 -o trackrelay -g trackrelay /dev/stdin /etc/trackrelay/secrets/upstream
        install -m 644 /opt/trackrelay/systemd/trackrelay.service /etc/systemd/system/
        systemctl daemon-reload
    """, stdin=PASSWORD)  # fmt: skip
    world.run("cat > /etc/trackrelay/relay.toml", stdin=SETTINGS)
    world.run("systemctl enable --now trackrelay")
    count = len(world.upstream.kept)
    world.run(send.replace("trackrelay events --follow", "true"))
    pixel, link = tracked(world.message(count + 1))
    answered(world, link)
    eventually(lambda: "clicked" in world.run("trackrelay events"), 60, 0.5)
    before = world.remembered()
    assert len(before) == 2
    git(world.repository, "branch", "--force", "main", "this")
    for block in blocks("8."):
        world.run(block)
    assert world.remembered() == before
    answered(world, link)
    assert world.get(pixel).startswith("200")
    world.run(send.replace("trackrelay events --follow", "true"))
    world.message(count + 2)
