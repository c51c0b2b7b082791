"""Everything around the program: who sends, who receives, who opens and clicks, who is notified.

Owns: the life and death of the process, the clients, a moody upstream, hits, a receiver that fails, and what the
program's own files say in the end. Leaves to others: when it dies (`test_kills`), what arrived (`letters`).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import hmac
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from relay.__main__ import main as command
from relay.core import queue, tokens
from relay.keys import TokenKeys
from tests.fakes import hooks, upstream
from tests.fakes.wire import connect
from tests.scenarios import service
from tests.torture import databases, letters
from tests.until import until

PATIENCE = 0.3  # upstream.patience
MOST_FAILURES = 6  # of one notification: ten attempts are made
SECRET = "a secret of the torture"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
MORE = """
[[webhooks]]
url = "{url}"
triggers = ["message.opened", "message.link_clicked"]
secret = "{secret}"
[store]
url = "{store}"
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
"""


class Moody(upstream.Upstream):
    """Defers, hangs past patience, leaves before and after the dot; not while `calm`. A `polite` one does not leave
    after the dot: it answers for all that it got. `arrived` has each message that came whole, with the number of deaths
    before it."""

    def __init__(self, dice: random.Random, *, polite: bool = False) -> None:
        def sometimes(**odds: float) -> Callable[[str], str | None]:
            words = {"later": "450 4.2.0 later", "full": "452 4.3.1 full", "bye": "close:421 4.3.2 bye"}

            def does(_command: str) -> str | None:
                at = 1.0 if self.calm else dice.random()
                for name, share in odds.items():
                    at -= share
                    if at < 0:
                        return words.get(name, name)
                return None

            return does

        def known(command: str) -> str | None:
            return "550 5.1.1 nobody of that name" if f"<{letters.NOBODY}@" in command else later(command)

        later = sometimes(later=0.06, drop=0.01)
        script: dict[str, upstream.Does] = {
            "banner": sometimes(bye=0.02), "mail": sometimes(full=0.02, drop=0.01), "rcpt": known, "rcpt2": known,
            "data": sometimes(later=0.02, reset=0.01), "body": sometimes(drop=0.02),
            "dot": sometimes(later=0.04, drop=0 if polite else 0.04, garbage=0 if polite else 0.01), "after": sometimes(drop=0.02),
        }  # fmt: skip
        super().__init__(script)
        self.dice, self.calm, self.deaths = dice, False, 0
        self.arrived: list[tuple[int, upstream.Kept]] = []
        self.hurry = asyncio.Event()

    async def _point(self, session: upstream.Session, point: str, usual: str, command: str = "") -> int:
        if point != "dot":
            return await super()._point(session, point, usual, command)
        deaths, kept, code = self.deaths, self.taken[-1], 0
        try:
            if not self.calm and self.dice.random() < 0.05:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.hurry.wait(), PATIENCE * self.dice.uniform(1, 4))
            code = await super()._point(session, point, usual, command)
            return code
        finally:
            if code // 100 not in (4, 5):  # it did not say that it did not take it
                self.arrived.append((deaths, kept))

    async def bury(self) -> None:
        """After a death: what is still in the sockets arrives; then all sessions are over, those that hang too."""
        self.hurry.set()
        with contextlib.suppress(TimeoutError):
            await until(lambda: not self._tasks, 2)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.hurry.clear()
        self.deaths += 1


def stands_still(pid: int) -> bool:
    """All threads of it."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


class World:
    """`async with World(folder, seed)`; everything random comes from `seed`. `upstream` is added to that table."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        polite: bool = False,
        fails: float = 0.3,
        hitters: int = 3,
        upstream: str = "",
        workers: int = 1,
        database: databases.Database | None = None,
    ) -> None:
        self.database = database or databases.Sqlite(folder / "var" / "trackrelay.db")
        self.polite, self.more, self.workers = polite, upstream, workers
        self.folder, self.dice, self.fails, self.hitters = folder, random.Random(seed), fails, hitters
        self.books = letters.Books(workers > 1)
        self.hits: dict[str, float] = {}  # tid -> when it was answered
        self.to_hit: list[str] = []
        self.killed_at: list[float] = []
        self.stopped: list[float] = []  # seconds that each clean stop took
        self.refused: collections.Counter[str] = collections.Counter()  # notifications, by id
        self.process: subprocess.Popen[bytes] | None = None
        self.up = asyncio.Event()
        self.loads = 0
        self.pace = 0.0  # seconds between two hits of one hitter

    async def __aenter__(self) -> World:
        self._stack = contextlib.AsyncExitStack()
        self.upstream = await self._stack.enter_async_context(Moody(self.dice, polite=self.polite))
        self.hook = await self._stack.enter_async_context(hooks.receiver(self._mood))
        self.ports = service.settings(
            self.folder,
            upstream=self.upstream.port,
            more=MORE.format(url=self.hook.url, secret=SECRET, store=self.database.url),
            # Few clients ask for much.
            http=f"hits_per_token = 0\nhits_per_message = 0\nworkers = {self.workers}",
            smtp=f"workers = {self.workers}",
            out=f'patience = "{PATIENCE * 1000:.0f}ms"\n{self.more}',
        )
        self.hitting = [asyncio.create_task(self._hit(n)) for n in range(self.hitters)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.quiet()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        await self._stack.aclose()

    def _mood(self, number: int, headers: Mapping[str, str]) -> hooks.Answer:
        at = self.dice.random()
        if at > self.fails or self.refused[headers["webhook-id"]] == MOST_FAILURES:
            return hooks.Answer()
        self.refused[headers["webhook-id"]] += 1
        return hooks.Answer(500, cut=at < self.fails / 6)

    # -- the process -----------------------------------------------------------------------------------------------------

    async def start(self, **dying: Any) -> bool:
        """`trackrelay run`, from "trackrelay ready" on; False where it died before. With `dying` it is the one that
        kills itself (`tests.torture.dying`)."""
        self.process = process = await self.run(**dying)
        if process.poll() is None:
            self.up.set()
            return True
        assert process.returncode == -signal.SIGKILL, (self.folder / "stderr.log").read_text()[-5000:]
        await self._dead()
        return False

    async def run(self, *words: str, log: str = "stderr.log", **dying: Any) -> subprocess.Popen[bytes]:
        """A process with these further words, as far as "trackrelay ready", or its death before that."""
        module = "tests.torture.dying" if dying else "relay"
        environment = {f"DYING_{name.upper()}": str(value) for name, value in dying.items()}
        path = self.folder / log
        with path.open("ab") as stderr:
            began = stderr.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", module, "run", "--config", str(self.folder / "relay.toml"), *words],
                stderr=stderr, cwd=service.ROOT, env={**os.environ, **environment},
            )  # fmt: skip

        def ready() -> bool:
            with path.open("rb") as file:
                file.seek(began)
                return b"trackrelay ready\n" in file.read() or process.poll() is not None

        await until(ready, 30)
        return process

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    async def kill(self) -> None:
        """SIGKILL; also where it has died by itself. Then everything around it sees that it is dead."""
        assert self.process
        self.process.kill()
        await asyncio.to_thread(self.process.wait)
        assert self.process.returncode == -signal.SIGKILL, self.process.returncode
        await self._dead()

    async def kill_one(self) -> int:
        """SIGKILL for one of the service's processes; which of them, by its number among those that live. It stands still
        first: what is in the spool then is what it can't have finished."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pids = [int(pid) for pid in children.read_text().split()]
        victim = self.dice.choice(pids)
        os.kill(victim, signal.SIGSTOP)
        await until(lambda: stands_still(victim))  # a thread may be in the middle of an fsync
        self.killed_at.append(time.monotonic())
        self.books.died(self.waiting())
        self.upstream.deaths += 1
        os.kill(victim, signal.SIGKILL)
        return pids.index(victim)

    async def _dead(self) -> None:
        self.up.clear()
        self.killed_at.append(time.monotonic())
        await self.upstream.bury()
        self.books.died(self.waiting())

    async def stop(self, seconds: float = 30) -> float:
        """SIGTERM; the seconds until it ended, with code 0."""
        assert self.process
        self.process.terminate()
        began = time.monotonic()
        code = await asyncio.to_thread(self.process.wait, seconds)
        took = time.monotonic() - began
        self.up.clear()
        assert code == 0, self.log[-5000:]
        await self.upstream.bury()
        self.stopped.append(took)
        self.books.died(collections.Counter())  # after a clean stop nothing may come again
        return took

    @property
    def log(self) -> str:
        return (self.folder / "stderr.log").read_text()

    # -- clients -----------------------------------------------------------------------------------------------------------

    async def load(self, messages: int, sessions: int) -> None:
        """`messages` over `sessions` at once, until all are sent or the program is dead. A client that hears nothing
        does not try again: what it would send would be another message."""
        self.loads += 1
        waiting = [letters.letter((self.loads, n), self.dice) for n in range(messages)]
        self.books.letters.update((letter.subject, letter) for letter in waiting)
        await asyncio.gather(*(self._session(waiting) for _ in range(sessions)))

    async def _session(self, waiting: list[letters.Letter]) -> None:
        with contextlib.suppress(OSError, TimeoutError, EOFError):
            async with connect(("127.0.0.1", self.ports[0])) as wire:
                await wire.reply()
                if not (await wire.ask("EHLO client.example")).startswith("250"):
                    return
                while waiting:
                    letter = waiting.pop()
                    for line in (f"MAIL FROM:<{letter.sender}>", *(f"RCPT TO:<{r}>" for r in letter.recipients)):
                        if not (await wire.ask(line)).startswith("250"):
                            return
                    if not (await wire.ask("DATA")).startswith("354"):
                        return
                    await wire.send(letter.content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
                    letter.reply = await wire.reply()
                    if not letter.reply:
                        return

    # -- recipients --------------------------------------------------------------------------------------------------------

    async def _hit(self, number: int) -> None:
        """Opens and clicks what arrived, one after the other, newest first and then older ones again."""
        count = seen = 0
        async with aiohttp.ClientSession(headers={"User-Agent": AGENT}) as http:
            while True:
                await self.up.wait()
                await asyncio.sleep(self.pace)  # the load
                for _, kept in self.upstream.arrived[seen:]:
                    seen += 1
                    if kept.reverse_path:
                        found = letters.TOKEN.findall(kept.content)
                        self.to_hit += [f"/{kind.decode()}/{token.decode()}" for kind, token in found]
                if not self.to_hit:
                    await asyncio.sleep(0.01)  # nothing to hit yet, or nobody there
                    continue
                path = self.to_hit[-1 - min(int(self.dice.expovariate(0.02)), len(self.to_hit) - 1)]
                count += 1
                tid = f"{number}-{count}"
                try:
                    if self.workers > 1:
                        await self._ask_once(f"{path}?tid={tid}")
                        self.hits[tid] = time.monotonic()
                        continue
                    url = f"http://127.0.0.1:{self.ports[1]}{path}?tid={tid}"
                    async with http.get(url, allow_redirects=False, timeout=aiohttp.ClientTimeout(10)) as answer:
                        assert answer.status in (200, 302), answer.status
                        await answer.read()
                        self.hits[tid] = time.monotonic()
                except (aiohttp.ClientError, OSError, TimeoutError):
                    await asyncio.sleep(0.01)  # nothing to hit yet, or nobody there

    async def _ask_once(self, path: str) -> None:
        """Over a connection of its own. Where one breaks off, aiohttp asks once more, and here somebody else would answer."""
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[1])
            try:
                head = f"GET {path} HTTP/1.1\r\nHost: t\r\nUser-Agent: {AGENT}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                answer = await reader.read()
            finally:
                writer.close()
        if not answer:
            raise ConnectionResetError
        assert answer.split()[1] in (b"200", b"302"), answer[:200]

    async def quiet(self) -> None:
        """No more hits."""
        for task in self.hitting:
            task.cancel()
        await asyncio.gather(*self.hitting, return_exceptions=True)

    # -- what the program keeps ------------------------------------------------------------------------------------------

    @property
    def spool(self) -> Path:
        return self.folder / "var" / "spool"

    def entries(self) -> list[Path]:
        return sorted(self.spool.glob("*.msg"))

    def waiting(self) -> collections.Counter[tuple[str, str]]:
        """Subject and recipient of what is in the spool, and in how many entries."""
        found: collections.Counter[tuple[str, str]] = collections.Counter()
        for path in self.entries():
            try:
                line, _, content = path.read_bytes().partition(b"\n")
            except FileNotFoundError:  # another process, which goes on, is done with it
                continue
            for recipient in queue.read(line).recipients:
                found[letters.subject(content), recipient.address] += 1
        return found

    def later(self) -> None:
        """Time passes for notifications: leases end, the next attempts are due."""
        self.database.change("UPDATE deliveries SET next_at = 0 WHERE state = 'pending'")

    async def empty(self, seconds: float = 30) -> None:
        """Until nothing waits in the spool; what waits is tried at once, by the command that an operator has."""
        self.upstream.calm = True
        deadline = time.monotonic() + seconds
        while self.entries():
            assert time.monotonic() < deadline, f"{len(self.entries())} wait on\n{self.log[-3000:]}"
            await self.retry()
            with contextlib.suppress(TimeoutError):
                await until(lambda: not self.entries(), 1)

    async def retry(self) -> None:
        """Time passes for what waits in the spool, by the command that an operator has."""
        await asyncio.to_thread(command, ["queue", "retry", "--all", "--config", str(self.folder / "relay.toml")])

    def wrong(self) -> list[str]:
        """Sentences about what must not be, with the spool empty: mail, the database, the records of what arrived."""
        wrong = self.books.wrong(self.upstream.arrived)
        keys = TokenKeys(self.folder / "var" / "keys" / "tokens.json").now()
        wrong += filter(None, [self.database.unsound()])
        known = {row[0] for row in self.database.rows("SELECT message_id FROM messages")}
        copies = {*self.database.rows("SELECT message_id, idx, recipient FROM copies")}
        for _, kept in self.upstream.arrived:
            for kind, text in letters.TOKEN.findall(kept.content) if kept.reverse_path else ():
                token = tokens.read(text.decode(), "open" if kind == b"o" else "click", keys)
                if token is None:
                    wrong.append(f"a token that can't be read: {text!r}")
                    continue
                name = tokens.message_id(token.message_key)
                if name not in known or any((name, token.recipient, r) not in copies for r in kept.recipients):
                    wrong.append(f"no record of {name} to {kept.recipients}")
        left = sorted(p.name for p in self.spool.glob("broken/*"))
        return wrong + [f"set aside: {name}" for name in left]

    async def events(self, seconds: float = 30, *, without: Collection[str] | None = None) -> dict[str, int]:
        """The number of times that each hit is stored, by tid; waits until the journal is fed. `without`: those that may
        be lost; for all others it waits, since an answered hit may still be on its way into the journal."""
        found: dict[str, int] = {}

        def all_there() -> bool:
            found.clear()
            for (data,) in self.database.rows("SELECT data FROM events WHERE data <> ''"):
                tid = json.loads(data).get("tid")
                if tid:
                    found[tid] = found.get(tid, 0) + 1
            fed = not list((self.folder / "var" / "journal").glob("*.jsonl"))
            missing = self.hits.keys() - found.keys()
            return not missing or (fed and (without is None or missing <= set(without)))

        with contextlib.suppress(TimeoutError):
            await until(all_there, seconds)
        return found

    async def owed(self, seconds: float = 60) -> list[str]:
        """Sentences about notifications: each counted open and click, at least once, each time with its own id and a
        good signature. The receiver goes on failing; time passes quickly. Waits as long as there are fewer and fewer."""
        deadline, fewest = time.monotonic() + seconds, sys.maxsize
        while time.monotonic() < deadline:
            states = collections.Counter(state for (state,) in self.database.rows("SELECT state FROM deliveries"))
            left, dead = states["pending"], states["dead"]
            events = [name for (name,) in self.database.rows(
                "SELECT event_id FROM events WHERE counted AND type IN ('message.opened', 'message.link_clicked')"
            )]  # fmt: skip
            if not left:
                break
            if left < fewest:
                deadline, fewest = time.monotonic() + seconds, left
            self.later()
            await asyncio.sleep(0.3)  # between two looks
        told: dict[str, set[str]] = {}
        wrong = [f"{left} notifications wait on"] if left else []
        wrong += [f"{dead} notifications given up"] if dead else []
        for received in self.hook.received:
            good = hmac.new(SECRET.encode(), received.body, hashlib.sha256).hexdigest()
            if received.headers["x-nylas-signature"] != good:
                wrong.append(f"a bad signature: {received}")
            ids = told.setdefault(received.json["id"], set())
            if 200 <= received.answered < 300:
                ids.add(received.headers["webhook-id"])
        for event in events:
            if told.get(event) != {event}:
                wrong.append(f"not told of {event}: {told.get(event)}")
        self.notified = len(events)
        return wrong
