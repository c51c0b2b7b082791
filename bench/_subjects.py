"""What trackrelay is measured against, each a process that prints its port:
python -m bench._subjects NAME [CERTIFICATE KEY]."""

from __future__ import annotations

import asyncio
import ssl
import sys

import uvloop


def context(certificate: str, key: str) -> ssl.SSLContext:
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(certificate, key)
    return found


async def discard(starttls: ssl.SSLContext | None = None, implicit: ssl.SSLContext | None = None) -> int:
    """aiosmtpd as it comes, throwing messages away."""
    import logging

    from aiosmtpd.smtp import SMTP

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            return "250 2.0.0 Ok"

    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), hostname="discard.example", enable_SMTPUTF8=True, tls_context=starttls, loop=loop),
        "127.0.0.1", 0, ssl=implicit, backlog=1024,
    )  # fmt: skip
    return int(server.sockets[0].getsockname()[1])


async def discard_starttls(*pem: str) -> int:
    """The same with STARTTLS, which aiosmtpd does by asyncio's own SSL protocol."""
    return await discard(starttls=context(*pem))


async def discard_tls(*pem: str) -> int:
    """The same with TLS from the first byte, which is the event loop's."""
    return await discard(implicit=context(*pem))


async def ours() -> int:
    """The relay's own SMTP in, throwing messages away: what is left is rewriting, recording and sending."""
    from relay import smtp
    from relay.config import Settings, Smtp
    from relay.core.model import Reply, Submission

    class Discarded:
        def __init__(self) -> None:
            self.reply = asyncio.get_running_loop().create_future()
            self.reply.set_result(Reply(250, "2.0.0 Ok"))

        def client_gone(self) -> None:
            pass

    async def take(submission: Submission) -> Discarded:
        return Discarded()

    server = await smtp.serve(Settings(smtp=Smtp(listen=("127.0.0.1:0",), hostname="ours.example")), take)
    return server.addresses[0][1]


async def picture() -> int:
    """aiohttp handlers that return the GIF, and a redirect."""
    from aiohttp import web

    from tracking_http import public

    async def pixel(request: web.Request) -> web.Response:
        return web.Response(body=public.PIXEL, content_type="image/gif", headers={"Cache-Control": "no-store"})

    async def link(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "https://example.com/", "Cache-Control": "no-store"})

    app = web.Application()
    app.router.add_get("/o/{token}", pixel)
    app.router.add_get("/c/{token}", link)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    return int(runner.addresses[0][1])


class Answer(asyncio.Protocol):
    """Answers each request with the GIF without looking at it: what the generator and the loop can do alone."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.answer)


class Receiver(asyncio.Protocol):
    """A webhook endpoint that answers each whole request at once; the next one comes behind the answer only."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def __init__(self) -> None:
        self.had = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.had += data
        head, end, body = self.had.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if end and len(body) >= int(length or 0):
            self.had = b""
            self.transport.write(self.ANSWER)


async def receiver() -> int:
    server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0, backlog=1024)
    return int(server.sockets[0].getsockname()[1])


async def answers() -> int:
    from tracking_http import public

    answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: %d\r\n\r\n%b" % (
        len(public.PIXEL),
        public.PIXEL,
    )
    server = await asyncio.get_running_loop().create_server(lambda: Answer(answer), "127.0.0.1", 0, backlog=1024)
    return int(server.sockets[0].getsockname()[1])


SUBJECTS = {
    "discard": discard,
    "discard_starttls": discard_starttls,
    "discard_tls": discard_tls,
    "ours": ours,
    "picture": picture,
    "bytes": answers,
    "receiver": receiver,
}


async def main(name: str, *pem: str) -> None:
    print(await SUBJECTS[name](*pem), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
