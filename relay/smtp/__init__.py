"""SMTP in: mail from clients, over aiosmtpd on our own event loop.

Owns: sessions (`session`), their commands (`commands`), DATA (`data`), who may submit (`submitters`, `auth`,
`throttle`), what a client may use (`limits`), the listeners and their end (`server`). Turns a session into a
`model.Submission` and the `model.Reply` of whoever takes it into words.
Leaves to others: the certificate (`relay.certificates`), everything that happens to the message, and so the promise
behind a 250.
"""

from relay.smtp.server import Refused, Server, serve
from relay.smtp.submitters import problems

__all__ = ["Refused", "Server", "problems", "serve"]
