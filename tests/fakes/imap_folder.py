"""An IMAP server with one account and a few folders, which can be made to fail at will.

    async with Server() as server:            # or `with serving() as server:` where there is no event loop
        server.add(message)
        server.poison[7] = "drop"

Every attribute may be changed while it runs. `tests.fakes.imap` is the one for single answers of no sense.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

DAYS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass
class Message:
    raw: bytes
    date: str = "01-Jan-2026 00:00:00 +0000"

    @property
    def day(self) -> tuple[int, int, int]:
        day, month, year = self.date[:11].strip().split("-")
        return int(year), DAYS.index(month), int(day)


@dataclass
class Folder:
    messages: dict[int, Message] = field(default_factory=dict)
    uidvalidity: int = 1
    next_uid: int = 1


class Hangup(Exception):
    """The connection is closed, without a word."""


class Server:
    """`poison`: UID -> "drop" (the connection closes), "hang" (nothing is said), "NIL" (nothing is given of it), "garbage",
    or the answer, such as "NO [SERVERBUG] no"; "body:" before it where only the whole can't be had. `refuse`: command -> answer in place of what would be done, also "drop",
    "hang". `tell`: commands in whose answer an EXISTS is told of what `arriving` holds, which is then there. `capability`
    is what it offers, before and after the login."""

    def __init__(self, *folders: str, capability: str = "IMAP4rev1 IDLE", tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.folders = {name: Folder() for name in folders or ("INBOX",)}
        self.capability = capability
        self.port = 0
        self.poison: dict[int, str] = {}
        self.refuse: dict[str, str] = {}
        self.arriving: dict[str, list[bytes]] = {}  # command -> messages that come while it is answered
        self.uidvalidity_told = True
        self.uidnext_told = True
        self.id_needed = False
        self.repeats = False  # every IDLE begins with an EXISTS that tells nothing new
        self.max_connections = 10_000
        self.heard: list[str] = []
        self.fetched: Counter[int] = Counter()
        self.logins = self.open = self.peak = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._idling: set[Session] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def inbox(self) -> Folder:
        return self.folders["INBOX"]

    def add(self, raw: bytes, folder: str = "INBOX", *, date: str = "", uid: int = 0) -> int:
        """Its UID. Whoever is in an IDLE is told. From whatever thread."""
        into = self.folders[folder]
        uid = uid or into.next_uid
        into.next_uid = max(into.next_uid, uid + 1)
        into.messages[uid] = Message(raw, date or datetime.now(UTC).strftime("%d-%b-%Y %H:%M:%S +0000"))
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._push, into)
        return uid

    def _push(self, folder: Folder) -> None:
        for session in list(self._idling):
            if session.folder is folder:
                session.exists()

    def drop_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def start(self, port: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=2**24, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.drop_all()

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.open += 1
        self.peak = max(self.peak, self.open)
        with contextlib.suppress(Hangup, OSError, asyncio.CancelledError):
            await Session(self, reader, writer).run()
        self._writers.discard(writer)
        self.open -= 1
        writer.close()


class Session:
    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.folder = Folder()
        self.introduced = False
        self.known = 0  # messages that the client was told of

    def exists(self) -> None:
        self.known = len(self.folder.messages)
        self.say(f"* {self.known} EXISTS")

    def say(self, line: str | bytes) -> None:
        self.writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")

    async def line(self) -> str:
        got = await self.reader.readline()
        if not got:
            raise Hangup
        return got.decode().rstrip("\r\n")

    async def fail(self, how: str, tag: str) -> None:
        if how == "drop":
            raise Hangup
        if how == "hang":
            await self.reader.read(1)  # until the client gives up
            raise Hangup
        self.say(f"{tag} {how}")

    async def run(self) -> None:
        server = self.server
        greeting = server.refuse.get("GREETING")
        if greeting is not None:
            await self.fail(greeting, "*")
            raise Hangup
        self.say(f"* OK [CAPABILITY {server.capability}] ready")
        while True:
            await self.writer.drain()
            tag, _, command = (await self.line()).partition(" ")
            server.heard.append(command)
            words = command.upper().split(" ")
            verb = f"UID {words[1]}" if words[0] == "UID" else words[0]
            if verb in server.refuse:
                if verb == "AUTHENTICATE":
                    self.say("+ ")
                    server.heard.append(base64.b64decode(await self.line()).decode())
                await self.fail(server.refuse[verb], tag)
                continue
            await getattr(self, verb.lower().replace(" ", "_"), self.other)(tag, command)

    async def other(self, tag: str, command: str) -> None:
        self.tell(command.split(" ")[0])
        self.say(f"{tag} OK done")

    def tell(self, verb: str) -> None:
        """What came while this command was answered."""
        came = self.server.arriving.pop(verb, [])
        for raw in came:
            uid = self.folder.next_uid
            self.folder.next_uid += 1
            self.folder.messages[uid] = Message(raw, datetime.now(UTC).strftime("%d-%b-%Y %H:%M:%S +0000"))
        if len(self.folder.messages) != self.known:
            self.exists()

    async def capability(self, tag: str, command: str) -> None:
        self.say(f"* CAPABILITY {self.server.capability}")
        self.say(f"{tag} OK done")

    async def login(self, tag: str, command: str) -> None:
        while command.endswith("}"):
            size = int(command[command.rindex("{") + 1 : -1])
            self.say("+ go on")
            text = (await self.reader.readexactly(size)).decode()
            command = f"{command} {text}{await self.line()}"
            self.server.heard[-1] = command
        self.enter(tag)

    async def authenticate(self, tag: str, command: str) -> None:
        self.say("+ ")
        self.server.heard.append(base64.b64decode(await self.line()).decode())
        self.enter(tag)

    def enter(self, tag: str) -> None:
        server = self.server
        server.logins += 1
        if server.open > server.max_connections:
            self.say(f"{tag} NO [LIMIT] Maximum number of connections exceeded")
        else:
            self.say(f"{tag} OK in")

    async def id(self, tag: str, command: str) -> None:
        self.introduced = True
        self.say('* ID ("name" "fake")')
        self.say(f"{tag} OK done")

    async def examine(self, tag: str, command: str) -> None:
        server = self.server
        name = command.partition(" ")[2].strip('"')
        if server.id_needed and not self.introduced:
            self.say(f"{tag} NO EXAMINE Unsafe Login. Please contact kefu@188.com for help")
            return
        if name not in server.folders:
            self.say(f"{tag} NO [NONEXISTENT] Mailbox doesn't exist: {name}")
            return
        self.folder = server.folders[name]
        self.exists()
        self.say("* 0 RECENT")
        if server.uidvalidity_told:
            self.say(f"* OK [UIDVALIDITY {self.folder.uidvalidity}] set")
        if server.uidnext_told:
            self.say(f"* OK [UIDNEXT {self.folder.next_uid}] next")
        self.say(f"{tag} OK [READ-ONLY] done")

    async def status(self, tag: str, command: str) -> None:
        self.tell("STATUS")
        name = command.split(" ")[1].strip('"')
        self.say(f"* STATUS {name} (UIDVALIDITY {self.server.folders[name].uidvalidity})")
        self.say(f"{tag} OK done")

    async def uid_search(self, tag: str, command: str) -> None:
        found = set(self.folder.messages)
        last = max(found, default=0)
        if wanted := re.search(r"UID (\d+|\*)(?::(\d+|\*))?(?: |$)", command.partition("SEARCH ")[2]):
            ends = [last if end == "*" else int(end) for end in wanted.groups() if end]
            found = {uid for uid in found if min(ends) <= uid <= max(ends)}
        if since := re.search(r"SINCE (\d+)-(\w+)-(\d+)", command):
            day = int(since[3]), DAYS.index(since[2]), int(since[1])
            found = {uid for uid in found if self.folder.messages[uid].day >= day}
        self.say(f"* SEARCH {' '.join(map(str, sorted(found)))}".rstrip())
        self.tell("UID SEARCH")
        self.say(f"{tag} OK done")

    async def uid_fetch(self, tag: str, command: str) -> None:
        _, _, rest = command.partition("FETCH ")
        numbers, _, items = rest.partition(" ")
        order = sorted(self.folder.messages)
        for uid in map(int, numbers.split(",")):
            message = self.folder.messages.get(uid)
            if message is None:
                continue
            how = self.server.poison.get(uid, "")
            if how.startswith("body:"):
                how = how.removeprefix("body:") if "BODY.PEEK[]" in items else ""
            if how in ("drop", "hang"):
                await self.writer.drain()
                await self.fail(how, tag)
            if how.startswith(("NO", "BAD")):
                self.say(f"{tag} {how}")
                return
            self.server.fetched[uid] += 1
            head = f'* {order.index(uid) + 1} FETCH (UID {uid} INTERNALDATE "{message.date}"'
            if "BODY.PEEK[" not in items:
                self.say(f"{head})")
                continue
            if how == "NIL":
                self.say(f"{head} BODY[HEADER]<0> NIL)")
                continue
            if how == "garbage":
                self.say(f"{head} BODY[HEADER]<0> ((((")
                continue
            whole = "BODY.PEEK[]" in items
            raw = message.raw if whole else message.raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            name = "BODY[]<0>" if whole else "BODY[HEADER]<0>"
            self.say(f"{head} {name} {{{len(raw)}}}".encode() + b"\r\n" + raw + b")")
        self.tell("UID FETCH")
        self.say(f"{tag} OK done")

    async def idle(self, tag: str, command: str) -> None:
        self.tell("IDLE")
        if self.server.repeats:
            self.exists()
        self.say("+ idling")
        self.tell("AFTER")
        self.server._idling.add(self)
        try:
            await self.line()  # DONE
        finally:
            self.server._idling.discard(self)
        self.tell("DONE")
        self.say(f"{tag} OK done")


@contextlib.contextmanager
def serving(server: Server | None = None) -> Iterator[Server]:
    """The server on a thread of its own."""
    server = server or Server()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    def work() -> None:
        loop.run_until_complete(server.start())
        started.set()
        loop.run_forever()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(server.stop)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
