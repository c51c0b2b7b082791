"""docs/scale.md as it is written, on loopback addresses: two machines for mail, two for hits, two databases, a balancer. A
machine of each kind dies under load. What was accepted and what was answered is not lost, and nothing is there twice but
what was under way."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import certificates, hooks
from tests.fakes.upstream import Upstream
from tests.peers import balancer, postgres
from tests.scenarios import blocks, hostile, service
from tests.until import eventually

pytestmark = pytest.mark.timeout(300)
MAIL, WEB = ("mail-1", "mail-2"), ("web-1", "web-2")
ADDRESSES = {"mail-1": 11, "mail-2": 12, "web-1": 21, "web-2": 22, "db-1": 31, "db-2": 32, "balancer": 5}
QUICK = "fsync = off\nfull_page_writes = off\nshared_buffers = '32MB'\nautovacuum = off\n"  # the machine stays up
SENDERS, CLICKERS, STEADY = 2, 3, 40  # clients; what is accepted, and answered, between two faults
CLICKS = "SELECT message_id || ' ' || ip || ' ' || count(*) FROM events WHERE type = 'message.link_clicked' GROUP BY message_id, ip"


class Place:
    """All machines, each a folder and an address of loopback; the 10.0.0 of the document is a network of this test's own."""

    def __init__(self, folder: Path, upstream: int, hook: str) -> None:
        self.folder = folder
        self.network = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
        self._upstream, self._hook = upstream, hook

    def address(self, name: str) -> str:
        return f"{self.network}.{ADDRESSES[name]}"

    def here(self, text: str, name: str) -> str:
        """What a document says, for that machine."""
        own = self.folder / name
        for theirs, ours in (
            ("10.0.0.", f"{self.network}."), ("10.0.0", self.network),
            ("/var/lib/trackrelay", f"{own}/var"), ("/etc/trackrelay/secrets", str(own)), ("/etc/trackrelay", str(own)),
            ("/root", str(self.folder)), ("/var/lib/postgresql/15/main", f"{own}/data"), ("/var/lib/postgresql", str(own)),
            ("/etc/haproxy", str(self.folder)), ("/etc/nginx", str(self.folder)), (":443", ":8443"),
            ("smtp://relay@smtp.example.net:587", f"smtp://127.0.0.1:{self._upstream}"),
            ("https://app.example.com/hooks", self._hook),
        ):  # fmt: skip
            text = text.replace(theirs, ours)
        return text

    def block(self, section: str, name: str, machine: str) -> str:
        found = blocks.read("scale", section, name)
        assert found, name
        return self.here(found, machine)


# -- the databases -----------------------------------------------------------------------------------------------------


class Database:
    """A server of PostgreSQL, in a folder that its user can reach."""

    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name, self.folder = place, name, place.folder / name
        self.folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "standby.pgpass").write_text("*:*:*:standby:password of standby\n")
        (self.folder / "standby.pgpass").chmod(0o600)
        if os.geteuid() == 0:
            for path in (self.folder, self.folder / "standby.pgpass"):
                shutil.chown(path, "postgres", "postgres")

    def run(self, words: list[str]) -> None:
        done = subprocess.run(postgres.as_owner(*words), capture_output=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr.decode()

    def make(self) -> None:
        self.run([postgres.program("initdb"), "-D", f"{self.folder}/data", "-A", "peer", "-E", "UTF8", "--no-sync"])

    def configure(self) -> None:
        """The files of this machine, in place of those that may have come with a copy."""
        own = self.place.block("The databases", f"postgresql.conf of {self.name}", self.name)
        hba = self.place.block("The databases", "pg_hba.conf of both", self.name)
        (self.folder / "data" / "postgresql.conf").write_text(
            f"unix_socket_directories = '{self.folder}'\n{QUICK}{own}"
        )
        here = hba.replace(f"{self.place.network}.0/24", "127.0.0.1/32")  # from where loopback's addresses are called
        (self.folder / "data" / "pg_hba.conf").write_text(f"local all all trust\n{hba}{here}")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            words = postgres.as_owner(postgres.program("postgres"), "-D", f"{self.folder}/data")
            self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/")
        eventually(lambda: self.psql("SELECT 1", quiet=True), 60)

    def psql(self, sql: str, database: str = "postgres", *, quiet: bool = False) -> str:
        words = [postgres.program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-d", database]
        done = subprocess.run(
            postgres.as_owner(*words), input=sql, capture_output=True, text=True, cwd="/", check=False
        )
        assert quiet or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def kill(self) -> None:
        """As the end of its machine would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None


@contextlib.contextmanager
def databases(place: Place) -> Iterator[tuple[Database, Database]]:
    first, second = Database(place, "db-1"), Database(place, "db-2")
    try:
        first.make()
        first.configure()
        first.start()
        first.psql(place.block("The databases", "psql on db-1", "db-1"))
        name, *words = shlex.split(place.block("The databases", "on db-2, as postgres", "db-2"))
        second.run([postgres.program(name), *words])
        second.configure()
        second.start()
        first.psql(place.block("The databases", "psql on db-1, once db-2 runs", "db-1"))
        eventually(lambda: first.psql("SELECT sync_state FROM pg_stat_replication") == "sync")
        yield first, second
    finally:
        first.kill()
        second.kill()


# -- our own machines --------------------------------------------------------------------------------------------------


class Machine:
    def __init__(self, place: Place, name: str) -> None:
        self.place, self.name, self.folder = place, name, place.folder / name
        kind, _, _ = name.partition("-")
        self.section = {"mail": "Machines for mail", "web": "Machines for pixels and clicks"}[kind]
        self.folder.mkdir()
        for secret, value in (("postgresql-password", "password of trackrelay"), ("hooks", "a-secret-of-sixteen")):
            (self.folder / secret).write_text(value)
            (self.folder / secret).chmod(0o600)
        text = place.block(self.section, f"relay.toml of {kind}-1", name)
        text = text.replace(f"{kind}-1", name).replace(place.address(f"{kind}-1"), place.address(name))
        text = re.sub(r'(?m)^password_file = ".*/upstream"\n', "", text)  # the test's upstream wants no login
        # Few messages are clicked often: each click is to be found again.
        text = text.replace("[http]\n", "[http]\nhits_per_token = 0\nhits_per_message = 0\n")
        (self.folder / "relay.toml").write_text(f'{text}\n[webhook_delivery]\nallow_private = ["127.0.0.0/8"]\n')
        unit = place.block(self.section, f"trackrelay.service.d/roles.conf of {kind}-1 and {kind}-2", name)
        self._words = shlex.split(unit.rpartition("ExecStart=")[2])[1:]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        began = (self.folder / "log").stat().st_size if (self.folder / "log").exists() else 0
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "relay", *self._words], stderr=log, cwd=service.ROOT
            )
        self._ready = lambda: "trackrelay ready\n" in self.log[began:] or self._process.poll() is not None

    def ready(self) -> None:
        eventually(self._ready, 60)
        assert self._process.poll() is None, self.log

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            assert self._process.wait(35) == 0, self.log

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return service.command(*words, "--config", str(self.folder / "relay.toml"))

    def said(self, line: str) -> subprocess.CompletedProcess[str]:
        """A command as the document has it."""
        program, *words = shlex.split(line)
        assert program == "trackrelay"
        return service.command(*words)

    def waiting(self) -> int:
        return len([*(self.folder / "var" / "spool").glob("*.msg")])


@contextlib.contextmanager
def machines(place: Place) -> Iterator[dict[str, Machine]]:
    made = {name: Machine(place, name) for name in (*MAIL, *WEB)}
    try:
        first, *others = made.values()
        first.start()
        first.ready()
        shutil.copy(first.folder / "var" / "keys" / "tokens.json", place.folder / "tokens.json")
        apart = others[0].command("check").stdout
        assert "FAILED   nodes: there are no token keys here yet" in apart
        for other in others:
            add, _ = place.block(
                "Machines for mail", "on mail-2, web-1 and web-2, as trackrelay", other.name
            ).splitlines()
            assert other.said(add).stdout == "added: 0\n"
        _, check = place.block("Machines for mail", "on mail-2, web-1 and web-2, as trackrelay", "web-1").splitlines()
        assert (
            "ok       nodes: web-1 has the same token keys and [[webhooks]] as mail-1"
            in made["web-1"].said(check).stdout
        )
        for other in others:
            other.start()
        for other in others:
            other.ready()
        yield made
    finally:
        for machine in made.values():
            machine.stop()


# -- the load ----------------------------------------------------------------------------------------------------------


class Load:
    """Clients that send and click through the balancer until they are told to stop; whoever is not answered tries again."""

    def __init__(self, place: Place, upstream: Upstream) -> None:
        self.balancer, self.network, self._upstream = place.address("balancer"), place.network, upstream
        self.accepted: list[str] = []
        self.unanswered: set[str] = set()
        self.answered: Counter[str] = Counter()
        self._numbers, self._clients = itertools.count(), itertools.count()
        self._over = threading.Event()
        self._wrong: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._context = ssl._create_unverified_context()

    def send(self, to: str = "b@example.test") -> str:
        subject = f"load-{next(self._numbers)}"
        content = hostile.letter("", to=to).replace(b"A letter", subject.encode())
        while True:
            try:
                with hostile.Smtp(2525, host=self.balancer) as client:
                    answer = client.mail(content, to)
            except (OSError, AssertionError):
                answer = ""
            if answer.startswith("250"):
                self.accepted.append(subject)
                return subject
            self.unanswered.add(subject)
            time.sleep(0.05)  # before the client tries again

    def links(self, many: int) -> list[str] | None:
        """Of messages that arrived tracked, once there are so many; else one more is sent."""
        found = [link for one in self._upstream.taken for link in hostile.tokens(one.content)[1]]
        if len(found) < many:
            self.send()
        return found if len(found) >= many else None

    def click(self, link: str) -> None:
        number = next(self._clients)
        source = f"{self.network}.{100 + number % 150}"
        while True:
            try:
                with hostile.Http(8443, host=self.balancer, source=source) as client:
                    client.secure(self._context)
                    status, fields, _ = client.get(link)
            except (OSError, ValueError):
                status = 0
            if status == 302:
                assert fields["location"] == "https://example.com/page?a=1"
                self.answered[source] += 1
                return
            assert status in (0, 502, 503, 504), status
            time.sleep(0.05)  # before the client tries again

    def begin(self, links: list[str]) -> None:
        turns = itertools.cycle(links)
        for work in [self.send] * SENDERS + [lambda: self.click(next(turns))] * CLICKERS:
            self._threads.append(threading.Thread(target=self._repeat, args=(work,), daemon=True))
        for thread in self._threads:
            thread.start()

    def _repeat(self, work: Callable[[], object]) -> None:
        try:
            while not self._over.is_set():
                work()
        except BaseException as wrong:
            self._wrong.append(wrong)

    def goes_on(self, steady: int = STEADY) -> None:
        """Until so much more of both was answered."""
        sent, clicked = len(self.accepted) + steady, self.answered.total() + steady
        eventually(lambda: self._wrong or (len(self.accepted) >= sent and self.answered.total() >= clicked), 60)
        assert not self._wrong, self._wrong

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert not self._wrong, self._wrong


def subjects(upstream: Upstream) -> Counter[str]:
    return Counter(re.search(rb"(?m)^Subject: (.*)\r$", one.content)[1].decode() for one in upstream.taken)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where PostgreSQL's user may look in, as pytest's own folders are not, and whose path is short enough for its socket."""
    made = Path(tempfile.mkdtemp(prefix="scale-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def test_one_of_each_dies_under_load(folder: Path) -> None:
    async with hooks.receiver() as hook:
        await asyncio.to_thread(journey, folder, hook)


def journey(folder: Path, hook: hooks.Hooks) -> None:
    later = threading.Event()  # what is for late@ waits in a spool until then

    def rcpt(command: str) -> str | None:
        return "451 4.2.0 later" if "late@" in command and not later.is_set() else None

    with hostile.sink({"rcpt": rcpt}) as upstream:
        place = Place(folder, upstream.port, hook.url)
        pair = certificates.make(folder / "tls", "t.example.com")
        (folder / "t.example.com.pem").write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
        door = place.address("balancer"), 8443
        with (
            databases(place) as (primary, standby),
            machines(place) as nodes,
            contextlib.ExitStack() as stack,
        ):
            stack.enter_context(balancer.haproxy(folder, place.block("The balancer", "haproxy.cfg", "balancer"), door))
            load = Load(place, upstream)
            links = eventually(lambda: load.links(10), 60)
            eventually(lambda: load.send("late@example.test") and all(nodes[name].waiting() for name in MAIL), 60)
            load.begin(links)
            load.goes_on()
            nodes["mail-1"].kill()
            load.goes_on()
            nodes["web-1"].kill()
            load.goes_on()
            primary.kill()
            load.goes_on(8)  # untracked, and journaled
            standby.psql(place.block("When one dies", "psql on db-2", "db-2"))
            eventually(lambda: hostile.tokens(upstream.taken[-1].content)[1])
            load.goes_on()
            load.end()
            standby.psql("UPDATE nodes SET at = at - 100 WHERE name IN ('mail-1', 'web-1')", "trackrelay")
            gone = nodes["mail-2"].command("nodes")
            assert (gone.returncode, "mail-1 (" in gone.stderr) == (1, True), gone
            for name in ("mail-1", "web-1"):
                nodes[name].start()
            for name in ("mail-1", "web-1"):
                nodes[name].ready()
            later.set()
            for name in MAIL:
                nodes[name].command("queue", "retry", "--all")
            eventually(lambda: not any(nodes[name].waiting() for name in MAIL), 60)
            eventually(lambda: nodes["mail-2"].command("nodes").returncode == 0, 60, pause=0.5)

            arrived = subjects(upstream)
            assert [one for one in load.accepted if not arrived[one]] == [], "accepted mail that was lost"
            assert {one for one in arrived if arrived[one] > 1} <= load.unanswered, "twice, though it was answered"
            clicks = eventually(lambda: told(standby, load.answered), 60, pause=0.2)
            again = sum(clicks.values()) - load.answered.total()
            assert again <= 3 * CLICKERS, "twice, and more than was under way at the three deaths"
            for machine in nodes.values():
                assert "Traceback" not in machine.log
            for name in ("mail-1", "web-1"):
                nodes[name].stop()
            stack.close()
            with balancer.nginx(folder, place.block("The balancer", "nginx.conf", "balancer"), door):
                before, tried = load.answered.total(), len(load.unanswered)
                for _ in range(4):  # each of the two is tried
                    load.send()
                    load.click(links[0])
                assert (load.answered.total(), len(load.unanswered)) == (before + 4, tried)


def told(database: Database, answered: Counter[str]) -> Counter[str] | None:
    """The clicks in the database by who clicked, once none that was answered is lacking."""
    found: Counter[str] = Counter()
    for line in database.psql(CLICKS, "trackrelay").splitlines():
        _, ip, count = line.split()
        found[ip] += int(count)
    return found if all(found[ip] >= count for ip, count in answered.items()) else None
