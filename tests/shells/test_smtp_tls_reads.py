"""A TLS connection reads in pieces, by every event loop."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from relay.smtp import tls
from tests.fakes import certificates
from tests.until import until

SECRET = bytes(range(256)) * 2000  # 512 kB


class Seen(tls.Reads):
    """What the TLS protocol is given, by a buffer as large as it has."""

    def __init__(self, below: Any) -> None:
        super().__init__(below)
        self.below, self.sizes = below, []
        self.buffer_updated = self.updated  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.below.get_buffer(sizehint)

    def updated(self, nbytes: int) -> None:
        self.sizes.append(nbytes)
        self.below.buffer_updated(nbytes)


class Inner(asyncio.Protocol):
    """What was decrypted."""

    transport: Any
    handshake: Any
    seen: Seen

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context, self.loop = context, asyncio.get_running_loop()
        self.had, self.over = bytearray(), self.loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.handshake = tls.Begun(self.loop.start_tls(transport, self, self.context, server_side=True))
        self.seen = Seen(transport.get_protocol())
        transport.set_protocol(self.seen)

    def data_received(self, data: bytes) -> None:
        self.had += data

    def connection_lost(self, error: Exception | None) -> None:
        self.over.set_result(None)


@pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_no_more_than_a_piece_is_held_undecrypted(tmp_path, make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    pem = certificates.make(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem.certificate, pem.key)

    async def session() -> None:
        loop = asyncio.get_running_loop()
        inner = Inner(context)
        listener = await loop.create_server(lambda: inner, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(
            *listener.sockets[0].getsockname(), ssl=certificates.trusting(pem.certificate), server_hostname="localhost"
        )
        socket = inner.transport
        inner.transport = await inner.handshake
        reads = tls.in_pieces(socket, inner.transport)
        assert reads is not None
        for _ in range(2):  # also after its memory was given back
            writer.write(SECRET)
            await until(lambda: len(inner.had) == len(SECRET), seconds=30)
            assert inner.had == SECRET
            inner.had.clear()
            reads.rest()
        assert 0 < max(inner.seen.sizes) <= tls.PIECE
        inner.seen.sizes.clear()
        inner.transport.pause_reading()
        writer.write(SECRET)
        await until(lambda: not socket.is_reading(), seconds=30)
        assert sum(inner.seen.sizes) <= tls.PIECE  # the rest waits where it is not ours
        inner.transport.resume_reading()
        await until(lambda: inner.had == SECRET, seconds=30)
        inner.transport.write(SECRET)  # more than is sent at once: it has to wait for the reader
        assert await asyncio.wait_for(reader.readexactly(len(SECRET)), 30) == SECRET
        writer.close()
        await asyncio.wait_for(inner.over, 30)
        listener.close()

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(session())


def test_a_protocol_that_takes_no_buffer_reads_as_before() -> None:
    class Transport:
        protocol = asyncio.Protocol()

        def get_protocol(self) -> asyncio.Protocol:
            return self.protocol

    assert tls.in_pieces(Transport(), None) is None
