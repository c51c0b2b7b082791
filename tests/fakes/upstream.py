"""A scripted upstream: an SMTP or LMTP server on loopback that does as told at each point of the dialogue.

`Upstream(script={"rcpt": "450 4.2.0 later"})` answers RCPT so; a point that the script does not name goes well. Points, in the
order in which a session meets them (POINTS): `connect banner ehlo starttls handshake ehlo_tls auth auth_more mail rcpt
rcpt2 data body body_half dot dot_half after rset quit idle`. What can stand there (a list is one per time the point is met,
the last one for ever; a callable gets the command and returns one):

    "250 words"     that reply ("250-a\\n250 b" is two lines)
    "drop"          closes the connection          "reset"    the same with a TCP reset
    "hang"          says nothing more              "garbage"  answers with bytes that are no reply
    "close:TEXT"    that reply, then closes
    None or "ok"    goes well

`body` is met with the first octet of the message, `body_half` once `half` octets have come (both before the final dot), `dot`
after it and before the reply, `dot_half` sends half of the reply and closes. `after` and `idle` are met when the 250 has been
sent: "drop" there means that the message was taken and the connection ended, "close:421 idle" that it ended with a word. `kept` has the messages that were answered with 2xx, and with
`taken` also those whose sender never heard so.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

POINTS = (
    "connect", "banner", "ehlo", "starttls", "handshake", "ehlo_tls", "auth", "auth_more", "mail", "rcpt", "rcpt2",
    "data", "body", "body_half", "dot", "dot_half", "after", "rset", "quit", "idle",
)  # fmt: skip
USUAL = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
Does = str | None | Sequence[str | None] | Callable[[str], str | None]


@dataclass
class Kept:
    """One message. `recipients` are those accepted; `commands` what was said from MAIL to DATA."""

    reverse_path: str
    recipients: list[str]
    content: bytes
    commands: list[str]
    login: str
    tls: bool
    session: int
    answered: bool = False


class Gone(Exception):
    pass


@dataclass
class Session:
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    tls: bool = False
    login: str = ""
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


class Upstream:
    """`async with Upstream(...) as upstream`: listens on 127.0.0.1, `upstream.port`. `users` maps a login to its
    password; `tokens` are the access tokens that XOAUTH2 and OAUTHBEARER take. At a point that has a gate it
    waits until that is set, and does what it does then."""

    def __init__(
        self,
        script: Mapping[str, Does] | None = None,
        *,
        offers: Sequence[str] = USUAL,
        starttls: ssl.SSLContext | None = None,
        implicit: ssl.SSLContext | None = None,
        users: Mapping[str, str] | None = None,
        tokens: set[str] | None = None,
        methods: str = "PLAIN LOGIN",
        lmtp: bool = False,
        half: int = 1024,
        gates: Mapping[str, asyncio.Event] | None = None,
    ) -> None:
        self.script: dict[str, Does] = dict(script or {})
        self.offers, self.starttls, self.implicit, self.lmtp, self.half = offers, starttls, implicit, lmtp, half
        self.users, self.tokens, self.methods = users, tokens, methods
        self.gates = gates or {}
        self.port = 0
        self.sessions = 0
        self.kept: list[Kept] = []
        self.taken: list[Kept] = []
        self.lines: list[str] = []  # every command heard, over all sessions
        self.raw = bytearray()  # and every octet, as far as it is not under TLS's own handshake
        self.met: dict[str, int] = {}  # how often each point was met
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Upstream(port={self.port}, script={self.script})"

    @property
    def url(self) -> str:
        scheme = "lmtp" if self.lmtp else "smtps" if self.implicit else "smtp"
        return f"{scheme}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._met_client, "127.0.0.1", port, ssl=self.implicit, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _met_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.sessions += 1
        session = Session(self.sessions, reader, writer, tls=self.implicit is not None)
        try:
            await self._serve(session)
        except (Gone, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            session.writer.close()

    # -- the script ----------------------------------------------------------------------------------------------------

    def _does(self, point: str, command: str = "") -> str | None:
        does = self.script.get(point)
        count = self.met[point] = self.met.get(point, 0) + 1
        if callable(does):
            return does(command)
        if isinstance(does, str) or does is None:
            return does
        return does[min(count, len(does)) - 1]

    async def _point(self, session: Session, point: str, usual: str, command: str = "") -> int:
        """Does what the script says, or answers `usual`. Returns the reply's code, 0 for none."""
        if point in self.gates:
            await self.gates[point].wait()
        does = self._does(point, command)
        match does:
            case None | "ok":
                does = usual
            case "drop":
                raise Gone
            case "reset":
                session.writer.transport.abort()
                raise Gone
            case "hang":
                await asyncio.Event().wait()
            case "garbage":
                session.writer.write(b"\x00\xff what?\r\n")
                await session.writer.drain()
                return 599  # it refuses, in its way
        assert does is not None
        text = does.removeprefix("close:")
        if text:
            session.writer.write(text.replace("\n", "\r\n").encode() + b"\r\n")
            await session.writer.drain()
        if does.startswith("close:"):
            raise Gone
        return int(text[:3]) if text else 0

    # -- the dialogue --------------------------------------------------------------------------------------------------

    async def _line(self, session: Session) -> str:
        line = await session.reader.readline()
        if not line:
            raise Gone
        self.raw += line
        return line.rstrip(b"\r\n").decode("utf-8", "replace")

    async def _serve(self, session: Session) -> None:
        await self._point(session, "connect", "")
        await self._point(session, "banner", "220 scripted upstream")
        while True:
            command = await self._line(session)
            self.lines.append(command)
            verb = command.split(" ", 1)[0].upper()
            await getattr(self, f"_{verb.lower()}", self._unknown)(session, command)

    async def _unknown(self, session: Session, command: str) -> None:
        await self._point(session, "unknown", "500 5.5.1 what?", command)

    async def _ehlo(self, session: Session, command: str) -> None:
        if self.lmtp != command.upper().startswith("LHLO"):
            await self._point(session, "unknown", "500 5.5.1 wrong greeting", command)
            return
        offers = [*self.offers]
        if self.starttls and not session.tls:
            offers.append("STARTTLS")
        if self.users is not None or self.tokens is not None:
            offers.append(f"AUTH {self.methods}")
        words = ["scripted.example", *offers]
        usual = "\n".join(f"250-{w}" for w in words[:-1]) + ("\n" if words[:-1] else "") + f"250 {words[-1]}"
        session.sender, session.recipients, session.commands = None, [], []
        await self._point(session, "ehlo_tls" if session.tls and not self.implicit else "ehlo", usual, command)

    _lhlo = _ehlo

    async def _helo(self, session: Session, command: str) -> None:
        await self._point(session, "helo", "250 scripted.example", command)

    async def _starttls(self, session: Session, command: str) -> None:
        code = await self._point(session, "starttls", "220 2.0.0 go ahead", command)
        if code != 220 or not self.starttls:
            return
        if self._does("handshake") is not None:
            raise Gone
        await session.writer.start_tls(self.starttls)
        session.tls = True

    async def _auth(self, session: Session, command: str) -> None:
        _, method, *rest = command.split(" ")
        login, ok = await self._check(session, method.upper(), rest[0] if rest else "")
        if await self._point(session, "auth", "235 2.7.0 welcome" if ok else "535 5.7.8 wrong login", command) == 235:
            session.login = login

    async def _more(self, session: Session, challenge: str) -> str:
        await self._point(session, "auth_more", f"334 {base64.b64encode(challenge.encode()).decode()}")
        return base64.b64decode(await self._line(session)).decode()

    async def _check(self, session: Session, method: str, first: str) -> tuple[str, bool]:
        given = base64.b64decode(first).decode()
        users = self.users or {}
        if method == "PLAIN":
            _, login, password = (given or await self._more(session, "")).split("\0")
            return login, users.get(login) == password
        if method == "LOGIN":
            login = given or await self._more(session, "Username:")
            return login, users.get(login) == await self._more(session, "Password:")
        if method == "CRAM-MD5":
            login, _, digest = (await self._more(session, "<1@scripted>")).partition(" ")
            return login, hmac.new(users.get(login, "").encode(), b"<1@scripted>", "md5").hexdigest() == digest
        found = re.search(r"(?:user|a)=([^,\x01]*).*auth=Bearer ([^\x01]*)", given, re.S)
        login, token = (found[1], found[2]) if found else ("", "")
        if token not in (self.tokens or set()):
            await self._more(session, '{"status":"401"}')
            return login, False
        return login, True

    async def _mail(self, session: Session, command: str) -> None:
        if session.sender is not None:
            await self._point(session, "nested", "503 5.5.1 nested MAIL", command)
            return
        code = await self._point(session, "mail", "250 2.1.0 ok", command)
        if code // 100 == 2:
            session.sender, session.recipients, session.commands = _path(command), [], [command]

    async def _rcpt(self, session: Session, command: str) -> None:
        if session.sender is None:
            await self._point(session, "unknown", "503 5.5.1 need MAIL", command)
            return
        session.commands.append(command)
        point = "rcpt2" if sum(c.upper().startswith("RCPT") for c in session.commands) == 2 else "rcpt"
        if await self._point(session, point, "250 2.1.5 ok", command) // 100 == 2:
            session.recipients.append(_path(command))

    async def _data(self, session: Session, command: str) -> None:
        usual = "354 go ahead" if session.recipients else "503 5.5.1 no recipients"
        if await self._point(session, "data", usual, command) != 354:
            return  # the sender stays, as with Postfix
        content = await self._body(session)
        kept = Kept(
            session.sender or "",
            session.recipients,
            content,
            [*session.commands],
            session.login,
            session.tls,
            session.number,
        )
        session.sender, session.recipients, session.commands = None, [], []
        if not kept.recipients and self.script.get("data"):
            await self._point(session, "dot", "554 5.5.1 no valid recipients")
            return
        words = [f"250 2.0.0 Ok: queued as {len(self.taken) + 1:06X}"] * (len(kept.recipients) if self.lmtp else 1)
        half = self._does("dot_half")
        if half is not None:
            self.taken.append(kept)
            session.writer.write(words[0][:7].encode())
            await session.writer.drain()
            raise Gone
        for i, word in enumerate(words):
            if i == 0:
                self.taken.append(kept)
            if await self._point(session, "dot", word, kept.recipients[i] if kept.recipients else "") // 100 != 2:
                if not self.lmtp:
                    self.taken.remove(kept)
                    return
            else:
                kept.answered = True
        self.kept.append(kept)
        await self._point(session, "after", "")
        await self._point(session, "idle", "")

    async def _body(self, session: Session) -> bytes:
        got = bytearray()
        begun = halved = False
        while not (got.endswith(b"\r\n.\r\n") or got == b".\r\n"):
            chunk = await session.reader.readline()
            if not chunk:
                raise Gone
            got += chunk
            if not begun:
                begun = True
                if await self._point(session, "body", ""):
                    raise Gone
            if not halved and len(got) >= self.half:
                halved = True
                if await self._point(session, "body_half", ""):
                    await asyncio.sleep(0.2)  # the client reads the refusal before the connection goes
                    raise Gone
        self.raw += got
        content = bytes(got[:-3])
        return (content[1:] if content.startswith(b"..") else content).replace(b"\r\n..", b"\r\n.")

    async def _rset(self, session: Session, command: str) -> None:
        session.sender, session.recipients, session.commands = None, [], []
        await self._point(session, "rset", "250 2.0.0 ok", command)

    async def _noop(self, session: Session, command: str) -> None:
        await self._point(session, "noop", "250 2.0.0 ok", command)

    async def _quit(self, session: Session, command: str) -> None:
        await self._point(session, "quit", "221 2.0.0 bye", command)
        raise Gone


def _path(command: str) -> str:
    found = re.search(r"<(.*)>", command)
    return found[1] if found else ""


class Prompting(Upstream):
    """Answers AUTH, and what is said in it, by its `replies`, one after another; the last one for ever. `offer` are lines of
    the reply to EHLO, with "|" between them; `heard` has what was said. A reply that is no 334 ends the exchange."""

    def __init__(self, offer: str, replies: Sequence[str]) -> None:
        super().__init__(offers=(*USUAL, *offer.split("|")))
        self.replies, self.heard = list(replies), list[str]()

    async def _auth(self, session: Session, command: str) -> None:
        self.heard.append(command)
        while True:
            does = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
            reply = does.removeprefix("close:")
            session.writer.write(reply.replace("\n", "\r\n").encode() + b"\r\n")
            await session.writer.drain()
            if does != reply:
                raise Gone
            if not reply.startswith("334"):
                return
            self.heard.append(await self._line(session))
            if self.heard[-1] == "*":
                session.writer.write(b"501 5.7.0 cancelled\r\n")
                return
