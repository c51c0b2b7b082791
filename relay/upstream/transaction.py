"""One mail transaction, pipelined, on a connection that somebody else opened, greeted, secured and logged in.

Owns: the commands from MAIL to the final dot and their replies (RFC 5321 3.3, RFC 2920; LMTP: RFC 2033).
Leaves to others: how replies are read (`protocol`), connections (`connections`), what may stand in a command
(`core.envelopes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

from relay.core import envelopes
from relay.core.model import Done, Later, Outcome, Reply
from relay.upstream.protocol import ConnectionLost, TransactionProtocol

SLICE = 1 << 18  # octets handed to the transport at once


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds to wait (RFC 5321 4.5.3.2). `connect` is for each of connection, handshake, greeting, EHLO and AUTH."""

    connect: float = 60
    mail: float = 300
    data: float = 120
    block: float = 180
    dot: float = 600


@dataclass(frozen=True, slots=True)
class Result:
    """How a transaction ended, per recipient. `reusable`: the connection may carry another one, which begins with RSET
    where `rset` says so. `stale`: the upstream left (it did not hang) before the message was handed over, as it does
    with a connection that was idle for too long or carried its share: another connection may do. `unsent`: it left or
    hung before the message was handed over, so that nobody has it."""

    outcomes: tuple[Outcome, ...]
    reusable: bool = False
    rset: bool = False
    stale: bool = False
    unsent: bool = False


@dataclass(slots=True)
class _Progress:
    """What is known while a transaction runs. `outcomes` are those of the recipients, None while there is none."""

    outcomes: list[Outcome | None]
    handed_over: bool = False  # all of the message went to the transport: the upstream may have it

    def fill(self, outcome: Outcome) -> tuple[Outcome, ...]:
        return tuple(known or outcome for known in self.outcomes)


class Transaction:
    """One MAIL, its RCPTs, one message. `run` is called once, and raises only what cancels it."""

    def __init__(
        self,
        protocol: TransactionProtocol,
        lines: envelopes.Lines,
        *,
        pipelining: bool,
        rset: bool,
        lmtp: bool,
        times: Times,
    ) -> None:
        self.protocol, self.lines = protocol, lines
        self.pipelining, self.rset, self.lmtp, self.times = pipelining, rset, lmtp, times
        self.progress = _Progress(list(lines.refused))

    async def run(self, content: bytes) -> Result:
        progress = self.progress
        try:
            result = await self._talk(content)
        except ConnectionLost as lost:
            said = "after the message, before the upstream's reply" if progress.handed_over else "before the message"
            reply = envelopes.reply(451, [f"4.4.2 The upstream went away {said}: {lost}"])
            later = Later(reply, uncertain=progress.handed_over)
            unsent = not progress.handed_over
            result = Result(progress.fill(later), stale=lost.left and unsent, unsent=unsent)
        if result.reusable and (self.protocol.replies or self.protocol.lost or self.protocol.transport.is_closing()):
            return replace(result, reusable=False)  # it said more than it was asked, or goes
        return result

    async def _talk(self, content: bytes) -> Result:
        progress = self.progress
        mail, rcpts, data = await (self._together() if self.pipelining else self._one_by_one())
        asked = [i for i, outcome in enumerate(progress.outcomes) if outcome is None]
        accepted = []
        for i, reply in zip(asked, rcpts, strict=True):
            if mail.code // 100 != 2:
                progress.outcomes[i] = envelopes.outcome(mail)
            elif reply.code // 100 == 2:
                accepted.append(i)
            else:
                progress.outcomes[i] = envelopes.outcome(reply)
        if mail.code // 100 != 2 and data.code == 354:
            # It refused the sender and asks for the message all the same: whatever we send may be mail to it.
            return Result(progress.fill(Later(mail)))
        if data.code != 354:
            for i in accepted:  # RFC 5321 4.2.5: a 2xx to DATA says nothing of the message
                progress.outcomes[i] = envelopes.outcome(
                    data
                    if data.code // 100 in (4, 5)
                    else Reply(451, f"4.5.0 The upstream answered DATA with {data.code}")
                )
            known = mail.code != 421 and data.code // 100 in (4, 5) and data.code != 421
            # Postfix keeps the sender after it refused DATA: the next message would go out under it.
            return Result(progress.fill(Later(data)), reusable=known, rset=True)
        if not accepted:
            self.protocol.transport.write(b".\r\n")  # RFC 2920 3.1: end it at once; it has no recipients
            await self.protocol.reply(self.times.dot)
            return Result(progress.fill(Later(data)), reusable=True, rset=True)
        return await self._message(content, accepted)

    async def _together(self) -> tuple[Reply, list[Reply], Reply]:
        rcpt = [line for line in self.lines.rcpt if line is not None]
        commands = [*([b"RSET"] if self.rset else []), self.lines.mail, *rcpt, b"DATA", b""]
        self.protocol.transport.write(b"\r\n".join(commands))
        replies = [await self._answer(self.times.mail) for _ in commands[:-2]]
        replies.append(await self._answer(self.times.data))
        if self.rset:
            del replies[0]
        return replies[0], replies[1:-1], replies[-1]

    async def _one_by_one(self) -> tuple[Reply, list[Reply], Reply]:
        if self.rset:
            await self._ask(b"RSET", self.times.mail)
        mail = await self._ask(self.lines.mail, self.times.mail)
        rcpt = [line for line in self.lines.rcpt if line is not None]
        if mail.code // 100 != 2:
            return mail, [mail] * len(rcpt), mail
        rcpts = [await self._ask(line, self.times.mail) for line in rcpt]
        if not any(reply.code // 100 == 2 for reply in rcpts):
            return mail, rcpts, rcpts[-1]
        return mail, rcpts, await self._ask(b"DATA", self.times.data)

    async def _ask(self, command: bytes, seconds: float) -> Reply:
        self.protocol.transport.write(command + b"\r\n")
        return await self._answer(seconds)

    async def _answer(self, seconds: float) -> Reply:
        """The next reply. RFC 5321 3.8: after a 421 no more is said, so it answers all that is left."""
        reply = await self.protocol.reply(seconds)
        if reply.code == 421:
            raise ConnectionLost(f"{reply}", left=True)
        return reply

    async def _message(self, content: bytes, accepted: Sequence[int]) -> Result:
        progress = self.progress
        end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
        for piece, last in stuffed(content, SLICE):
            progress.handed_over = last
            await self.protocol.write(piece + end if last else piece, self.times.block)
            if self.protocol.replies and not last:
                # Refused half-way (552, for one): final. The upstream is still inside the message, so it is closed.
                refusal = await self.protocol.reply(0)
                return Result(progress.fill(envelopes.outcome(refusal)))
        replies = [await self.protocol.reply(self.times.dot)]
        final = replies[0]
        if self.lmtp:  # RFC 2033 4.2: one reply per accepted recipient
            progress.outcomes[accepted[0]] = _final(final)
            for i in accepted[1:]:
                replies.append(final := await self.protocol.reply(self.times.dot))
                progress.outcomes[i] = _final(final)
        known = all(reply.code // 100 in (2, 4, 5) and reply.code != 421 for reply in replies)
        return Result(
            progress.fill(_final(final)),
            reusable=known,
            rset=any(not isinstance(_final(reply), Done) for reply in replies),
        )


def _final(reply: Reply) -> Outcome:
    """What the reply to the dot means. One that is no answer leaves open what became of the message."""
    outcome = envelopes.outcome(reply)
    if isinstance(outcome, Later) and reply.code // 100 != 4:
        return Later(outcome.reply, uncertain=True)
    return outcome


def stuffed(content: bytes, size: int) -> Iterator[tuple[bytes, bool]]:
    """The message in pieces of about `size` octets, a dot that begins a line doubled (RFC 5321 4.5.2), and whether it is
    the last piece. By pieces, so that a large message is not there twice."""
    at = 0
    while True:
        end = at + size
        while content[end - 1 : end] == b"\r":  # what the next piece begins with must be seen with the line before it
            end += 1
        piece = content[at:end]
        if b"\r\n." in piece:
            piece = piece.replace(b"\r\n.", b"\r\n..")
        if piece.startswith(b".") and (at == 0 or content.endswith(b"\r\n", at - 2, at)):
            piece = b"." + piece
        yield piece, end >= len(content)
        if end >= len(content):
            return
        at = end


async def run(
    transport: asyncio.BaseTransport,
    home: asyncio.BaseProtocol,
    lines: envelopes.Lines,
    content: bytes,
    *,
    pipelining: bool,
    rset: bool,
    lmtp: bool,
    times: Times,
) -> Result:
    """Runs one transaction on `transport`, whose protocol is `home` before and after."""
    writer = cast(asyncio.Transport, transport)
    protocol = TransactionProtocol(writer, cast(asyncio.Protocol, home))
    writer.set_protocol(protocol)
    try:
        transaction = Transaction(protocol, lines, pipelining=pipelining, rset=rset, lmtp=lmtp, times=times)
        return await transaction.run(content)
    finally:
        writer.set_protocol(home)
