"""The milter protocol as bytes and as a session: no socket, no clock."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.milter import Client, Message, Session, changes, packets
from relay.core.milter.session import End
from relay.core.rewrite import Added, Edits, Removed, Replaced
from tests.fakes import mta

EVERYBODY = lambda client: True  # noqa: E731


class Room:
    """Octets that are given out."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.used, self.most = 0, most

    def __call__(self, octets: int) -> bool:
        if octets > 0 and self.used + octets > self.most:
            return False
        self.used += octets
        assert self.used >= 0
        return True


def session(room: Room | None = None, most: int = 1_000_000) -> Session:
    return Session(EVERYBODY, room or Room(), most)


def heard(some: Session, *sent: bytes) -> list[object]:
    """What the session says to these packets."""
    return [some.receive(*packet) for packet in packets.Reader().feed(b"".join(sent))]


def offer(version: int = 6, actions: int = 0x1FF, steps: int = 0x1FFFFF) -> bytes:
    return mta.packet(b"O", struct.pack("!III", version, actions, steps))


def whole(*sent: bytes) -> Message:
    (found,) = [one for one in heard(session(), *sent) if isinstance(one, Message)]
    return found


MAIL, RCPT, END = mta.packet(b"M", b"<a@x.test>\0"), mta.packet(b"R", b"<b@x.test>\0"), mta.packet(b"E")
SUBJECT = mta.packet(b"L", b"Subject\0 hello\n there\0")

# -- packets -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from([b"A", b"B", b"z"]), st.binary(max_size=40))), st.lists(st.integers(1, 30)))
def test_packets_are_read_in_any_pieces(sent: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    data, reader, found = b"".join(mta.packet(*one) for one in sent), packets.Reader(), []
    for cut in [*cuts, len(data)]:
        found += list(reader.feed(data[:cut]))
        data = data[cut:]
    assert found == sent


@pytest.mark.parametrize(
    "data", [b"\0\0\0\0", b"\0\0\0\0A", b"\xff\xff\xff\xffA", b"\0\x10\0\x02A", b"GET / HTTP/1.1\r\n"]
)
def test_what_has_no_possible_length_is_no_packet(data: bytes) -> None:
    with pytest.raises(packets.Malformed):
        list(packets.Reader().feed(data))


def test_a_body_is_sent_in_chunks() -> None:
    found = list(packets.Reader().feed(b"".join(packets.replace_body(b"x" * 150_000))))
    assert [(command, len(data)) for command, data in found] == [(b"b", 65_535), (b"b", 65_535), (b"b", 18_930)]
    assert b"".join(packets.replace_body(b"")) == mta.packet(b"b")


def test_a_reply_is_one_line_and_no_format() -> None:
    assert packets.reply(550, "5.6.0 100% wrong\r\n250 ok\0") == mta.packet(b"y", b"550 5.6.0 100%% wrong 250 ok?\0")


@pytest.mark.parametrize(("spaced", "space"), [(True, b" "), (False, b"")])
def test_edits_as_packets(spaced: bool, space: bytes) -> None:
    edits = (
        Replaced("References", 1, b" <1@x>\r\n <2@x>"), Removed("bcc", 2), Replaced("X-A", 1, b""), Added("Date", b" now", 9),
        Added("DKIM-Signature", b" v=1;\r\n b=x", 0),
    )  # fmt: skip
    one, two = struct.pack("!I", 1), struct.pack("!I", 2)
    assert changes.answer(Edits(edits, b"new\r\n"), leading_space=spaced) == b"".join(
        (
            mta.packet(b"m", one, b"References\0", space, b"<1@x>\n <2@x>\0"),
            mta.packet(b"m", two, b"bcc\0\0"),
            mta.packet(b"m", one, b"X-A\0 \0"),  # without a value it would be removed
            mta.packet(b"h", b"Date\0", space, b"now\0"),
            mta.packet(b"i", one, b"DKIM-Signature\0", space, b"v=1;\n b=x\0"),
            mta.packet(b"b", b"new\r\n"),
            mta.packet(b"a"),
        )
    )


# -- the session -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        ((6, 0x1FF, 0x1FFFFF), (6, 0x13, 0x1FB3C2)),
        ((9, 0xFFFFFFFF, 0xFFFFFFFF), (6, 0x13, 0x1FB3C2)),
        ((2, 0x1F, 0x7F), (2, 0x13, 0x42)),
        ((4, 0x13, 0x80), (4, 0x13, 0x80)),
        ((6, 0, 0), (6, 0, 0)),
    ],
)
def test_what_is_agreed_on_was_offered(offered: tuple[int, int, int], agreed: tuple[int, int, int]) -> None:
    (answer,) = heard(session(), offer(*offered))
    assert isinstance(answer, bytes)
    assert struct.unpack_from("!III", answer, 5) == agreed


@pytest.mark.parametrize("sent", [[offer(1)], [mta.packet(b"O", b"short")], [MAIL], [offer(), mta.packet(b"?")]])
def test_who_speaks_otherwise_is_left(sent: list[bytes]) -> None:
    last = heard(session(), *sent)[-1]
    assert isinstance(last, End)
    assert last.why


def test_a_message_is_put_together_exactly() -> None:
    found = whole(
        offer(), mta.macros(b"C", daemon_name="smtpd", client_addr="8.8.8.8"), mta.connect_packet("192.0.2.1"),
        mta.macros(b"M", auth_authen="ann", i="none yet"), mta.packet(b"M", b"<a@x.test>\0BODY=8BITMIME\0RET=HDRS\0"),
        RCPT, mta.packet(b"R", b"<c@x.test>\0NOTIFY=NEVER\0"), RCPT, SUBJECT, mta.packet(b"L", b"X-A\0\0"),
        mta.packet(b"L", b"subject\0\tagain\0"), mta.packet(b"B", b"one\r\n"), mta.packet(b"B", b"two"),
        mta.macros(b"E", i="4dLxyz"), mta.packet(b"E", b"three"),
    )  # fmt: skip
    assert found.client == Client("192.0.2.1", "ann", "smtpd")
    assert (found.queue_id, found.reverse_path, found.options) == ("4dLxyz", "a@x.test", ("BODY=8BITMIME", "RET=HDRS"))
    assert [(r.address, r.options) for r in found.recipients] == [("b@x.test", ()), ("c@x.test", ("NOTIFY=NEVER",))]
    assert found.fields == (("Subject", 1), ("X-A", 1), ("subject", 2))
    assert found.content == b"Subject: hello\r\n there\r\nX-A:\r\nsubject:\tagain\r\n\r\none\r\ntwothree"
    assert found.content[found.body :] == b"one\r\ntwothree"


def test_a_mail_server_that_keeps_the_space_to_itself() -> None:
    found = whole(offer(2, 0x1F, 0x7F), MAIL, RCPT, mta.packet(b"L", b"Subject\0hello\0"), END)
    assert (found.content, found.leading_space) == (b"Subject: hello\r\n\r\n", False)


@pytest.mark.parametrize(
    ("packet", "address"),
    [
        (mta.connect_packet("IPv6:2001:db8::1"), "2001:db8::1"),
        (mta.packet(b"C", b"localhost\0U"), "198.51.100.7"),
        (mta.packet(b"C", b"localhost\0L\0\0/run/x\0"), "198.51.100.7"),
        (mta.packet(b"C"), "198.51.100.7"),
        (b"", ""),
    ],
)
def test_where_a_client_is(packet: bytes, address: str) -> None:
    """By what the mail server says of the connection, else by its macro; and not by a connection that there is none of."""
    told = mta.macros(b"C", client_addr="198.51.100.7")
    assert whole(offer(), told, packet, MAIL, RCPT, END).client.address == address


ABORT = mta.packet(b"A")


@pytest.mark.parametrize(
    "before",
    [
        [ABORT], [], [END], [mta.packet(b"K"), mta.connect_packet("192.0.2.1")], [offer(), mta.connect_packet("192.0.2.1")],
        [mta.macros(b"M", auth_authen="eve"), ABORT], [mta.macros(b"R", auth_authen="eve", i="other")],
    ],
)  # fmt: skip
def test_nothing_of_one_message_is_in_the_next(before: list[bytes]) -> None:
    room = Room()
    some = session(room)
    heard(
        some, offer(), mta.connect_packet("192.0.2.1"), mta.macros(b"M", auth_authen="eve", i="first"),
        mta.packet(b"M", b"<eve@x.test>\0ENVID=1\0"), mta.packet(b"R", b"<secret@x.test>\0"), mta.packet(b"L", b"Bcc\0 z\0"),
        mta.packet(b"B", b"secret"),
    )  # fmt: skip
    found = heard(some, *before, MAIL, RCPT, SUBJECT, mta.packet(b"B", b"body"), END)[-1]
    assert isinstance(found, Message)
    assert found.client == Client("192.0.2.1")
    assert (found.queue_id, found.reverse_path, found.options) == ("", "a@x.test", ())
    assert [r.address for r in found.recipients] == ["b@x.test"]
    assert found.fields == (("Subject", 1),)
    assert found.content == b"Subject: hello\r\n there\r\n\r\nbody"


def test_who_is_not_tracked_is_let_go_at_mail() -> None:
    asked: list[Client] = []

    def nobody(client: Client) -> bool:
        asked.append(client)
        return False

    some = Session(nobody, Room(0), 10)
    assert heard(some, offer(), mta.connect_packet("192.0.2.1"), MAIL, SUBJECT, END)[1:] == [
        b"", packets.ACCEPT, b"", packets.ACCEPT,
    ]  # fmt: skip
    assert asked == [Client("192.0.2.1")]


@pytest.mark.parametrize("missing", [0x01, 0x02, 0x10])
def test_a_mail_server_that_makes_no_changes_is_let_go(missing: int) -> None:
    assert heard(session(), offer(actions=0x1FF & ~missing), MAIL)[-1] == packets.ACCEPT


def test_what_is_too_large_is_counted_and_not_kept() -> None:
    for room, most in ((Room(), 1_000), (Room(1_000), 100_000)):
        some = session(room, most)
        chunks = [mta.packet(b"B", b"x" * 600) for _ in range(3)]
        found = heard(
            some, offer(), MAIL, RCPT, mta.packet(b"L", b"Bcc\0 z\0"), *chunks, mta.packet(b"L", b"bcc\0 y\0"), END
        )[-1]
        assert isinstance(found, Message)
        assert (found.content, found.held, room.used) == (None, 0, 0)
        assert found.fields == (("Bcc", 1), ("bcc", 2))
        assert (found.head, found.size) == (b"Bcc: z\r\n\r\n", 10 + 3 * 600)


def test_of_what_is_too_large_by_its_fields_nothing_is_kept() -> None:
    for fields in ([b"X\0 " + b"x" * 600] * 3, [b"X\0 " + b"x" * 60_000] * 2):
        room = Room()
        some = session(room, 1_000 if len(fields) == 3 else 130_000)
        packed = [mta.packet(b"L", field + b"\0") for field in fields]
        found = heard(some, offer(), MAIL, RCPT, *packed, mta.packet(b"B", b"x" * 20_000), END)[-1]
        assert isinstance(found, Message)
        assert (found.content, found.head, found.size, room.used) == (None, b"", 20_000, 0)


COMMANDS = [bytes([c]) for c in b"ABCDEHKLMNOQRTU"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(COMMANDS) | st.binary(min_size=1, max_size=1),
            st.binary(max_size=30)
            | st.sampled_from(
                [b"<a@x>\0", b"Bcc\0 x\0", b"M{auth_authen}\0ann\0", b"host\x004\0\x00192.0.2.1\0", offer()[5:]]
            ),
        )
    )
)
def test_any_packets(sent: list[tuple[bytes, bytes]]) -> None:
    """For any packets after the offer: each is answered or the session ends; all room is given back; and a content is that
    of its fields and body."""
    room = Room(2_000)
    some = session(room, 1_000)
    heard(some, offer())
    for packet in sent:
        answer = some.receive(*packet)
        if isinstance(answer, End):
            break
        if isinstance(answer, Message):
            assert answer.held <= 1_000
            room(-answer.held)
            if answer.content is not None:
                assert answer.content[answer.body - 2 : answer.body] == b"\r\n"
    some.close()
    assert room.used == 0
