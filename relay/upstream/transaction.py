"""One mail transaction, pipelined, on a connection that somebody else opened, greeted, secured and logged in.

Owns: the commands from MAIL to the final dot and their replies (RFC 5321 3.3, RFC 2920; LMTP: RFC 2033). It is a talk, a
generator that waits for one reply after the other: whoever reads the replies goes on with it at once.
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
from relay.upstream.protocol import ConnectionLost, Deadline, Talk, TransactionProtocol, Wait

SLICE = 1 << 18  # octets handed to the transport at once


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds to wait (RFC 5321 4.5.3.2). `connect` is for each of connection, handshake, greeting, EHLO and AUTH."""

    connect: float = 60
    mail: float = 300
    data: float = 120
    block: float = 180
    dot: float = 600

    @property
    def shortest(self) -> float:
        """Of those within a transaction."""
        return min(self.mail, self.data, self.block, self.dot)


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
    """One MAIL, its RCPTs, one message. `talk` is called once, and raises nothing."""

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

    def talk(self, content: bytes) -> Talk[Result]:
        progress = self.progress
        try:
            return (yield from self._talk(content))
        except ConnectionLost as lost:
            said = "after the message, before the upstream's reply" if progress.handed_over else "before the message"
            reply = envelopes.reply(451, [f"4.4.2 The upstream went away {said}: {lost}"])
            later = Later(reply, uncertain=progress.handed_over)
            unsent = not progress.handed_over
            return Result(progress.fill(later), stale=lost.left and unsent, unsent=unsent)

    def _talk(self, content: bytes) -> Talk[Result]:
        progress = self.progress
        mail, rcpts, data = yield from (self._together() if self.pipelining else self._one_by_one())
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
            yield Wait(self.times.dot)
            return Result(progress.fill(Later(data)), reusable=True, rset=True)
        return (yield from self._message(content, accepted))

    def _together(self) -> Talk[tuple[Reply, list[Reply], Reply]]:
        rcpt = [line for line in self.lines.rcpt if line is not None]
        commands = [*([b"RSET"] if self.rset else []), self.lines.mail, *rcpt, b"DATA", b""]
        self.protocol.transport.write(b"\r\n".join(commands))
        replies: list[Reply] = []
        for _ in commands[:-2]:
            replies.append((yield from self._answer(self.times.mail)))
        replies.append((yield from self._answer(self.times.data)))
        if self.rset:
            del replies[0]
        return replies[0], replies[1:-1], replies[-1]

    def _one_by_one(self) -> Talk[tuple[Reply, list[Reply], Reply]]:
        if self.rset:
            yield from self._ask(b"RSET", self.times.mail)
        mail = yield from self._ask(self.lines.mail, self.times.mail)
        rcpt = [line for line in self.lines.rcpt if line is not None]
        if mail.code // 100 != 2:
            return mail, [mail] * len(rcpt), mail
        rcpts: list[Reply] = []
        for line in rcpt:
            rcpts.append((yield from self._ask(line, self.times.mail)))
        if not any(reply.code // 100 == 2 for reply in rcpts):
            return mail, rcpts, rcpts[-1]
        return mail, rcpts, (yield from self._ask(b"DATA", self.times.data))

    def _ask(self, command: bytes, seconds: float) -> Talk[Reply]:
        self.protocol.transport.write(command + b"\r\n")
        return (yield from self._answer(seconds))

    def _answer(self, seconds: float) -> Talk[Reply]:
        """The next reply. RFC 5321 3.8: after a 421 no more is said, so it answers all that is left."""
        reply: Reply = yield Wait(seconds)
        if reply.code == 421:
            raise ConnectionLost(f"{reply}", left=True)
        return reply

    def _message(self, content: bytes, accepted: Sequence[int]) -> Talk[Result]:
        progress = self.progress
        end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
        for piece, last in stuffed(content, SLICE):
            progress.handed_over = last
            yield from self.protocol.write(piece + end if last else piece, self.times.block)
            if self.protocol.replies and not last:
                # Refused half-way (552, for one): final. The upstream is still inside the message, so it is closed.
                refusal: Reply = yield Wait(0)
                return Result(progress.fill(envelopes.outcome(refusal)))
        final: Reply = yield Wait(self.times.dot)
        replies = [final]
        if self.lmtp:  # RFC 2033 4.2: one reply per accepted recipient
            progress.outcomes[accepted[0]] = _final(final)
            for i in accepted[1:]:
                final = yield Wait(self.times.dot)
                replies.append(final)
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
    deadline: Deadline,
) -> Result:
    """Runs one transaction on `transport`, whose protocol is `home` before and after. `deadline` is the connection's."""
    writer = cast(asyncio.Transport, transport)
    protocol = TransactionProtocol(writer, cast(asyncio.Protocol, home), deadline)
    writer.set_protocol(protocol)
    try:
        transaction = Transaction(protocol, lines, pipelining=pipelining, rset=rset, lmtp=lmtp, times=times)
        result = await protocol.run(transaction.talk(content))
        if result.reusable and (protocol.replies or protocol.lost or writer.is_closing()):
            return replace(result, reusable=False)  # it said more than it was asked, or goes
        return result
    finally:
        writer.set_protocol(home)
