"""SMTP in: mail from clients, over aiosmtpd on our own event loop.

Owns: sessions (`session`, `tls`, `command_loop`), their commands (`commands`), DATA (`data`), who may submit
(`submitters`, `auth`, `users`, `throttle`), what a client may use (`limits`), handing a message over (`intake`), the
listeners and their end (`server`).
Turns a session into a `model.Submission` and the `model.Reply` of whoever takes it into words. One direction: a server
knows its sessions, a session what it was given (`session.Shared`).
Leaves to others: the certificate (`relay.certificates`), everything that happens to the message, and so the promise
behind a 250.
"""

from relay.smtp.server import CannotListen, Server, serve
from relay.smtp.submitters import problems

__all__ = ["CannotListen", "Server", "problems", "serve"]
