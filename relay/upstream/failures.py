"""Why there is no connection to an upstream, and what that means for a message.

Owns: the reply for each thing that goes wrong before MAIL: 451, so that mail waits, but for a client's own login that is
refused. Leaves to others: what goes wrong within a transaction (`transaction`).
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from relay import causes, oauth
from relay.core import envelopes, networks, refusals
from relay.core.model import Later, Never, Outcome, Reply

Kind = Literal["unreachable", "tls", "greeting", "name", "login"]


ADDRESS = re.compile(r"[^\s<>\"'(),;:=]+@[^\s<>\"'(),;:]+")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps all mail from an upstream: at which step, and the sentence that the operator is told, by `trackrelay
    check` and by the service alike. It has no mail address of those that servers repeat: /readyz is open."""

    kind: Kind
    sentence: str


class CannotConnect(Exception):
    """A connection that is ready for MAIL can't be had: no answer, no TLS, no login. `outcome` is what that means for a
    message that needs it; `trouble`: the same for the operator; `refused`: our own credentials were refused for good; `personal`: it says nothing to any other client."""

    def __init__(
        self,
        code: int,
        text: str,
        *,
        kind: Kind = "unreachable",
        never: bool = False,
        refused: bool = False,
        personal: bool = False,
    ) -> None:
        reply = envelopes.reply(code, [text])
        super().__init__(str(reply))
        self.refused, self.personal = refused, personal
        status = envelopes.ENHANCED.match(reply.text)
        sentence = reply.text[status.end() :].strip() if status else reply.text
        self.trouble = Trouble(kind, ADDRESS.sub("[address]", sentence))
        self.outcome: Outcome = Never(reply) if never else Later(reply)


def of_us(reply: Reply, server: networks.Server, name: str, *, login: bool) -> CannotConnect | None:
    """What a reply to a message says of us and not of the message; None for any other. `name` is what we said of ourselves,
    `login`: we have logged in."""
    kind = refusals.of_us(reply)
    match kind:
        case "login":
            said = "wants another login" if login else "wants a login; name its user in the URL of the upstream"
        case "tls":
            said = 'wants TLS; set its tls = "required"'
        case "name":
            said = f"refuses our name {name}; set smtp.hostname to a full name that resolves to this machine"
        case "greeting":
            said = "takes no mail from this machine"
        case None:
            return None
    return CannotConnect(451, f"4.7.0 The upstream {server} {said}: {reply}", kind=kind)


def read(reason: BaseException, server: networks.Server, seconds: float) -> CannotConnect | None:
    """What an exception on the way to a connection says; None for one that is a bug, or a cancellation. `seconds` were
    waited for each answer."""
    cause = reason.__cause__ if isinstance(reason, aiosmtplib.SMTPConnectError) else None
    match cause or reason:
        case CannotConnect() as failure:
            return failure
        case ssl.SSLCertVerificationError() as bad:
            return CannotConnect(
                451, f"4.7.5 The certificate of the upstream {server} is refused: {causes.of(bad)}", kind="tls"
            )
        case ssl.SSLError() as bad:
            return CannotConnect(451, f"4.7.5 No TLS with the upstream {server}: {causes.of(bad)}", kind="tls")
        case oauth.TokenRefused() as refused:
            return CannotConnect(
                451, f"4.7.8 No access token for the upstream {server}: {refused}", kind="login", refused=refused.final
            )
        case aiosmtplib.SMTPResponseException() as said:
            reply = envelopes.reply(said.code, said.message.split("\n"))
            if said.code < 100:  # aiosmtplib's own word for what is no reply
                return CannotConnect(451, f"4.4.1 The upstream {server} does not speak SMTP: {reply.text}")
            return CannotConnect(451, f"4.4.1 The upstream {server} does not take us: {reply}", kind="greeting")
        case TimeoutError() | aiosmtplib.SMTPTimeoutError():
            return CannotConnect(451, f"4.4.1 The upstream {server} does not answer within {seconds:g} s")
        case OSError() as bad:
            return CannotConnect(451, f"4.4.1 The upstream {server} does not answer: {causes.of(bad)}")
        case aiosmtplib.SMTPException() | ValueError() as bad:
            return CannotConnect(451, f"4.4.1 The upstream {server} does not answer: {bad}")
    return None
