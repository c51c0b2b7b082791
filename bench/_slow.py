"""Clients that take their time: python -m bench._slow PORT COUNT, until it is ended. Prints "ready" when all are in.

A quarter sends the octets of its commands one a second, a quarter those of a message, a quarter says nothing, as one
that is gone without a word (half-open) does, and a quarter stops in the middle of a TLS handshake. One that is turned out
comes again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import sys

import uvloop

PAUSE = 1.0  # seconds between two octets
GREETED = b"EHLO slow.example\r\n"
MAIL = b"MAIL FROM:<slow@example.com>\r\nRCPT TO:<r@example.org>\r\nDATA\r\n"
LINE = b"Subject: a message that never ends\r\n"
KINDS = 4
COMMANDS, MESSAGE, SILENT, HANDSHAKE = range(KINDS)


def half_a_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="slow.example").do_handshake()
    hello = outgoing.read()
    return hello[: len(hello) // 2]


HELLO = half_a_hello()


async def client(port: int, number: int, ready: asyncio.Semaphore) -> None:
    kind = number % KINDS
    await asyncio.sleep(number % 100 / 100)  # not all in the same instant of the second
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await reader.readuntil(b"\r\n")
            if kind == MESSAGE:
                writer.write(GREETED + MAIL)
                await reader.readuntil(b"354 ")
            elif kind == HANDSHAKE:
                writer.write(GREETED + b"STARTTLS\r\n")
                await reader.readuntil(b"220 2.0.0 ")
                writer.write(HELLO)
            ready.release()
            if kind in (SILENT, HANDSHAKE):
                await reader.read()
                continue
            for octet in itertools.cycle(GREETED if kind == COMMANDS else LINE):
                writer.write(bytes([octet]))
                await writer.drain()
                await asyncio.sleep(PAUSE)
        await asyncio.sleep(PAUSE)


async def main(port: int, count: int) -> None:
    ready = asyncio.Semaphore(0)
    clients = [asyncio.create_task(client(port, number, ready)) for number in range(count)]
    for _ in clients:
        await ready.acquire()
    print("ready", flush=True)
    await asyncio.gather(*clients)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
