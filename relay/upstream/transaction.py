"""One mail transaction, pipelined, on a connection that somebody else opened, greeted, secured and logged in.

Owns: the commands from MAIL to the final dot and their replies (RFC 5321 3.3, RFC 2920; LMTP: RFC 2033). It is a talk, a
generator that waits for one reply after the other: whoever reads the replies goes on with it at once.
Leaves to others: how replies are read (`protocol`), connections (`connections`), what may stand in a command
(`core.envelopes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from relay.core import envelopes
from relay.core.model import Later, Outcome, Reply, Value
from relay.upstream.protocol import ConnectionLost, Said, Talk, TransactionProtocol, Wait

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


class Result(Value, frozen=True):
    """How a transaction ended, per recipient. `reusable`: the connection may carry another one, which begins with RSET
    where `rset` says so. `stale`: the upstream left (it did not hang) before the message was handed over, as it does
    with a connection that was idle for too long or carried its share: another connection may do. `unsent`: it left or
    hung before the message was handed over, so that nobody has it."""

    outcomes: tuple[Outcome, ...]
    reusable: bool = False
    rset: bool = False
    stale: bool = False
    unsent: bool = False


class Transaction:
    """One MAIL, its RCPTs, one message. `talk` is called once, and raises nothing. `outcomes` are those of the recipients,
    None while there is none; `handed_over`: all of the message went to the transport, so the upstream may have it."""

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
        self.outcomes: list[Outcome | None] = list(lines.refused)
        self.handed_over = False

    def talk(self, content: bytes) -> Talk[Result]:
        try:
            mail, rcpts, data = yield from (self._together() if self.pipelining else self._one_by_one())
            accepted = self._accepted(mail, rcpts)
            if data.code == 354 and accepted:
                return (yield from self._message(content, accepted))
            return (yield from self._without(mail, data, accepted))
        except ConnectionLost as lost:
            said = "after the message, before the upstream's reply" if self.handed_over else "before the message"
            reply = envelopes.reply(451, [f"4.4.2 The upstream went away {said}: {lost}"])
            later = Later(reply, uncertain=self.handed_over)
            unsent = not self.handed_over
            return Result(self._fill(later), stale=lost.left and unsent, unsent=unsent)

    def _fill(self, outcome: Outcome) -> tuple[Outcome, ...]:
        return tuple(known or outcome for known in self.outcomes)

    def _accepted(self, mail: Said, rcpts: Sequence[Said]) -> list[int]:
        """Which recipients were; the others have their outcome then."""
        asked = [i for i, outcome in enumerate(self.outcomes) if outcome is None]
        accepted = []
        for i, said in zip(asked, rcpts, strict=True):
            if mail.code // 100 != 2:
                self.outcomes[i] = envelopes.outcome(mail.reply)
            elif said.code // 100 == 2:
                accepted.append(i)
            else:
                self.outcomes[i] = envelopes.outcome(said.reply)
        return accepted

    def _without(self, mail: Said, data: Said, accepted: Sequence[int]) -> Talk[Result]:
        """The end where the message is not sent."""
        if mail.code // 100 != 2 and data.code == 354:
            # It refused the sender and asks for the message all the same: whatever we send may be mail to it.
            return Result(self._fill(Later(mail.reply)))
        if data.code != 354:
            for i in accepted:  # RFC 5321 4.2.5: a 2xx to DATA says nothing of the message
                self.outcomes[i] = envelopes.outcome(
                    data.reply
                    if data.code // 100 in (4, 5)
                    else Reply(451, f"4.5.0 The upstream answered DATA with {data.code}")
                )
            known = mail.code != 421 and data.code // 100 in (4, 5) and data.code != 421
            # Postfix keeps the sender after it refused DATA: the next message would go out under it.
            return Result(self._fill(Later(data.reply)), reusable=known, rset=True)
        self.protocol.transport.write(b".\r\n")  # RFC 2920 3.1: end it at once; it has no recipients
        yield Wait(self.times.dot)
        return Result(self._fill(Later(data.reply)), reusable=True, rset=True)

    def _together(self) -> Talk[tuple[Said, list[Said], Said]]:
        rcpt = [line for line in self.lines.rcpt if line is not None]
        commands = [self.lines.mail, *rcpt, b"DATA", b""]
        if self.rset:
            commands.insert(0, b"RSET")
        self.protocol.transport.write(b"\r\n".join(commands))
        replies = yield from self._heard(self.times.mail, len(commands) - 2)
        (data,) = yield from self._heard(self.times.data)
        if self.rset:
            del replies[0]
        return replies[0], replies[1:], data

    def _one_by_one(self) -> Talk[tuple[Said, list[Said], Said]]:
        if self.rset:
            yield from self._ask(b"RSET", self.times.mail)
        mail = yield from self._ask(self.lines.mail, self.times.mail)
        rcpt = [line for line in self.lines.rcpt if line is not None]
        if mail.code // 100 != 2:
            return mail, [mail] * len(rcpt), mail
        rcpts: list[Said] = []
        for line in rcpt:
            rcpts.append((yield from self._ask(line, self.times.mail)))
        if not any(said.code // 100 == 2 for said in rcpts):
            return mail, rcpts, rcpts[-1]
        return mail, rcpts, (yield from self._ask(b"DATA", self.times.data))

    def _ask(self, command: bytes, seconds: float) -> Talk[Said]:
        self.protocol.transport.write(command + b"\r\n")
        (said,) = yield from self._heard(seconds)
        return said

    def _heard(self, seconds: float, replies: int = 1) -> Talk[list[Said]]:
        """The next replies. RFC 5321 3.8: after a 421 no more is said, so it answers all that is left."""
        heard = yield Wait(seconds, replies)
        for said in heard:
            if said.code == 421:
                raise ConnectionLost(f"{said.reply}", left=True)
        return heard

    def _message(self, content: bytes, accepted: Sequence[int]) -> Talk[Result]:
        protocol = self.protocol
        end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
        for piece, last in stuffed(content, SLICE):
            self.handed_over = last
            protocol.transport.write(piece + end if last else piece)
            if protocol.paused or protocol.lost:
                yield Wait(self.times.block, 0)
            if protocol.replies and not last:
                # Refused half-way (552, for one): final. The upstream is still inside the message, so it is closed.
                return Result(self._fill(envelopes.outcome(protocol.replies[0].reply)))
        replies = yield Wait(self.times.dot)
        outcome = _final(replies[0])
        if self.lmtp:  # RFC 2033 4.2: one reply per accepted recipient
            self.outcomes[accepted[0]] = outcome
            for i in accepted[1:]:
                replies += yield Wait(self.times.dot)
                self.outcomes[i] = _final(replies[-1])
        known = all(said.code // 100 in (2, 4, 5) and said.code != 421 for said in replies)
        return Result(self._fill(outcome), reusable=known, rset=any(said.code // 100 != 2 for said in replies))


def _final(said: Said) -> Outcome:
    """What the reply to the dot means. One that is no answer leaves open what became of the message."""
    outcome = envelopes.outcome(said.reply)
    if isinstance(outcome, Later) and said.code // 100 != 4:
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
