"""One connection of a mail server, from the negotiation on: what it says of a client and of each message.

Owns: what is agreed on, which command is answered how, the message put together again, and that nothing of one message is
left when the next one begins. Leaves to others: the bytes of packets (`packets`), whether a client's mail is tracked
(`tracks`, which is asked at MAIL), what is done with a whole message.

A mail server may leave out any step and any macro, and may repeat them. Whatever it does not say is not known; a message
without MAIL or without a recipient goes on as it is.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.core.milter import packets
from relay.core.model import Recipient, Value

ACTIONS = packets.ADD_HEADERS | packets.CHANGE_BODY | packets.CHANGE_HEADERS
# All that can be left out is: each step that waits for a reply costs the client a round trip. MAIL alone is answered, so
# that the mail server keeps what is not tracked to itself.
STEPS = (
    packets.NO_HELO | packets.NO_HEADERS_END | packets.NO_UNKNOWN | packets.NO_DATA
    | packets.MUTE_HEADER | packets.MUTE_CONNECT | packets.MUTE_HELO | packets.MUTE_RECIPIENT | packets.MUTE_DATA
    | packets.MUTE_UNKNOWN | packets.MUTE_HEADERS_END | packets.MUTE_BODY | packets.LEADING_SPACE
)  # fmt: skip
MUTE = {
    packets.CONNECT: packets.MUTE_CONNECT, packets.HELO: packets.MUTE_HELO, packets.RECIPIENT: packets.MUTE_RECIPIENT,
    packets.DATA: packets.MUTE_DATA, packets.UNKNOWN: packets.MUTE_UNKNOWN, packets.HEADER: packets.MUTE_HEADER,
    packets.HEADERS_END: packets.MUTE_HEADERS_END, packets.BODY: packets.MUTE_BODY,
}  # fmt: skip
AGAIN = (packets.ABORT, packets.QUIT, packets.QUIT_NEXT)
MAX_RECIPIENTS = 10_000
MAX_FIELDS = 20_000
MAX_HEAD = 65_536  # octets of the fields that are kept of a message which is too large itself
FIELD_COST = (
    200  # octets that a field, a recipient or a macro counts at least: as values they take more than their text
)


class Client(Value, frozen=True):
    """Who hands a message to the mail server: `address` is "" where that is not known, `login` without AUTH; `daemon` is
    the name of the mail server's service."""

    address: str = ""
    login: str = ""
    daemon: str = ""


class Field(Value, frozen=True):
    name: str
    value: bytes  # the octets after the colon, lines ended by CRLF, without the last line ending


class Message(Value, frozen=True):
    """One message, whole. `removable` has (name, index among those of its name, from 1) of each field. `content` has CRLF
    line endings only, and is None where it was too large to be kept: then `head` is its header section, as far as that was
    kept. `body` is where its body begins, `size` its octets, as far as they are known."""

    client: Client
    queue_id: str
    reverse_path: str
    options: tuple[str, ...]
    recipients: tuple[Recipient, ...]
    fields: tuple[tuple[str, int], ...]
    content: bytes | None
    body: int
    leading_space: bool
    size: int
    head: bytes
    held: int  # octets that it was given room for, to be given back after its answer


class Named(Value, frozen=True):
    """A recipient that the mail server waits for an answer about."""

    reverse_path: str
    recipient: str


class End:
    """The connection ends; `why` is "" where the mail server said so."""

    __slots__ = ("why",)

    def __init__(self, why: str = "") -> None:
        self.why = why


class Session:
    """`room` is asked whether a message may take so many more octets, and told how many it gave back (less than 0); one
    message takes at most `most`. With `asks` each recipient is asked about."""

    def __init__(
        self, tracks: Callable[[Client], bool], room: Callable[[int], bool], most: int, *, asks: bool = False
    ) -> None:
        self._tracks, self._room, self._most, self._asks = tracks, room, most, asks
        self._steps = -1  # negotiated; -1 before
        self._able = False  # the mail server makes the changes that we need
        self._spaced = False  # it sends fields with the space after the colon
        self._macros = b""  # the command that they are for, and they
        self._connection: dict[str, str] = {}
        self._address = ""
        self._message: Draft | None = None

    @property
    def busy(self) -> bool:
        """Within a message that is wanted."""
        return self._message is not None

    def receive(self, command: bytes, data: bytes) -> bytes | Message | Named | End:
        """What the mail server hears, perhaps nothing; or the message, or the recipient, that it waits for an answer to."""
        if command == packets.MACRO:
            self._macros = data[: packets.CHUNK]
            return b""
        if command == packets.HEADER and self._message and not self._macros:  # what comes most
            self._message.header(data)
            return b"" if self._steps & packets.MUTE_HEADER else packets.CONTINUE
        if command == packets.NEGOTIATE:
            return self._negotiate(data)
        if self._steps < 0:
            return End("no negotiation")
        macros = self._macros_of(command)
        if command == packets.MAIL:
            return self._mail(data, macros)
        if command == packets.BODY_END:
            return self._whole(data, macros)
        if command in AGAIN:
            return self._ended(command)
        if command not in MUTE:
            return End(f"command {command!r}")
        if command == packets.CONNECT:
            self._connect(data, macros)
        elif self._message:
            named = self._message.step(command, data, macros)
            if named and self._asks and not self._steps & packets.MUTE_RECIPIENT:
                return Named(bare(self._message.path), named)
        return b"" if self._steps & MUTE[command] else packets.CONTINUE

    def refuse(self, recipient: str) -> None:
        """The message that is coming in does not go to this one."""
        if self._message:
            self._message.recipients.pop(recipient, None)

    def _macros_of(self, command: bytes) -> dict[str, str]:
        """Those that were sent for this command just before it."""
        macros, self._macros = self._macros, b""
        if command == packets.HEADER and self._message and "i" in self._message.macros:
            return {}  # Postfix sends it before each field
        return packets.macros(macros) if macros[:1] == command else {}

    def _ended(self, command: bytes) -> bytes | End:
        """A message, or the session, without an answer. After QUIT_NEXT comes another client's, as it was agreed."""
        if command == packets.ABORT:
            self._forget()
        else:
            self._disconnect()
        return End() if command == packets.QUIT else b""

    def close(self) -> None:
        """The connection is gone."""
        self._disconnect()

    def _negotiate(self, data: bytes) -> bytes | End:
        self._disconnect()
        if len(data) < packets.OFFER.size:
            return End("no offer")
        version, actions, steps = packets.OFFER.unpack_from(data)
        oldest, newest = packets.VERSIONS
        if version < oldest:
            return End(f"version {version}")
        self._able = actions & ACTIONS == ACTIONS
        self._steps = steps & STEPS & ~(packets.MUTE_RECIPIENT if self._asks else 0)
        self._spaced = bool(steps & packets.LEADING_SPACE)
        return packets.negotiated(min(version, newest), actions & ACTIONS, self._steps)

    def _connect(self, data: bytes, macros: dict[str, str]) -> None:
        self._disconnect()
        self._connection = macros
        _, _, rest = data.partition(b"\0")
        if rest[:1] in (b"4", b"6"):  # its port in two octets, then the address
            self._address = packets.text(rest[3:].split(b"\0")[0])
        self._address = (self._address or macros.get("client_addr", "")).removeprefix("IPv6:")

    def _mail(self, data: bytes, macros: dict[str, str]) -> bytes:
        self._forget()
        client = Client(self._address, macros.get("auth_authen", ""), self._connection.get("daemon_name", ""))
        if not (self._able and self._tracks(client)):
            return packets.ACCEPT  # this message
        self._message = Draft(client, data, macros, self._room, self._most, spaced=self._spaced)
        return packets.CONTINUE

    def _whole(self, data: bytes, macros: dict[str, str]) -> bytes | Message:
        draft, self._message = self._message, None
        if draft is None:
            return packets.ACCEPT
        if data:
            draft.chunk(data)
        draft.macros.update(macros)
        return draft.message()

    def _forget(self) -> None:
        if self._message:
            self._message.drop()
            self._message = None

    def _disconnect(self) -> None:
        self._forget()
        self._connection, self._address, self._macros = {}, "", b""


class Draft:
    """A message that comes in. What it is too large for is counted and not kept, but for its fields if the body alone is."""

    def __init__(
        self,
        client: Client,
        mail: bytes,
        macros: dict[str, str],
        room: Callable[[int], bool],
        most: int,
        *,
        spaced: bool,
    ) -> None:
        self.client, self.macros, self._room, self._most, self._spaced = client, macros, room, most, spaced
        self.path, *options = packets.strings(mail[: packets.CHUNK])
        self.options = tuple(packets.text(option) for option in options if option)
        self.recipients: dict[str, Recipient] = {}
        self._names: dict[str, int] = {}
        self._fields: list[tuple[str, int]] = []
        self._head: list[bytes] = []
        self._body: list[bytes] = []
        self._rest = b""
        self._length = 0  # octets of the body
        self.size = 0
        self.whole = True

    def step(self, command: bytes, data: bytes, macros: dict[str, str]) -> str:
        """The recipient that it names, if it does."""
        if macros:
            self.macros.update(macros)
        if command == packets.HEADER:
            self.header(data)
        elif command == packets.BODY:
            self.chunk(data)
        elif command == packets.RECIPIENT:
            return self.recipient(data)
        return ""

    def recipient(self, data: bytes) -> str:
        if len(self.recipients) >= MAX_RECIPIENTS:
            self._give_up()
        path, *options = packets.strings(data[: packets.CHUNK])
        address = bare(path)
        if not self.whole:
            return address
        if address and self._take(max(FIELD_COST, len(data))):
            self.recipients.setdefault(address, Recipient(address, tuple(map(packets.text, filter(None, options)))))
        return address

    def header(self, data: bytes) -> None:
        name, _, value = data.partition(b"\0")
        if len(self._fields) >= MAX_FIELDS:
            return self._give_up()
        spelling = packets.text(name[:1000])
        low = spelling.lower()
        self._names[low] = index = self._names.get(low, 0) + 1
        self._fields.append((spelling, index))
        if not (self.whole and self._take(max(FIELD_COST, len(data)))):
            return None
        value = value.removesuffix(b"\0")
        if b"\n" in value or b"\r" in value:
            value = b"\r\n".join(value.replace(b"\r\n", b"\n").split(b"\n"))
        self._head += (name, b":" if self._spaced else b": ", value, b"\r\n")
        return None

    def chunk(self, data: bytes) -> None:
        self._length += len(data)
        if not self.whole:
            return
        head = self._head
        if self._take(len(data)):
            self._body.append(data)
        elif sum(map(len, head)) <= MAX_HEAD:
            self._rest = b"".join((*head, b"\r\n"))

    def message(self) -> Message:
        head = b"".join(self._head)
        content = b"".join((head, b"\r\n", *self._body)) if self.whole else None
        size = len(self._rest) + self._length if content is None else len(content)
        self._head, self._body = [], []
        return Message(
            self.client, self.macros.get("i", ""), bare(self.path), self.options, tuple(self.recipients.values()),
            tuple(self._fields), content, len(head) + 2, self._spaced, size, self._rest, self.size,
        )  # fmt: skip

    def drop(self) -> None:
        """It will never be whole."""
        self._give_up()

    def _take(self, octets: int) -> bool:
        if self.size + octets <= self._most and self._room(octets):
            self.size += octets
            return True
        self._give_up()
        return False

    def _give_up(self) -> None:
        self.whole = False
        self._head, self._body = [], []
        self._room(-self.size)
        self.size = 0


def bare(path: bytes) -> str:
    """The address of a path as MAIL and RCPT have it: <a@b>."""
    return packets.text(path.strip().removeprefix(b"<").removesuffix(b">"))
