"""The door for mail servers that ask: Postfix and Sendmail by the milter protocol, on TCP or a unix socket.

Owns: the listener (`server`), one connection of a mail server (`connection`), what becomes of a message and what the mail
server hears of it (`answering`). Leaves to others: the protocol (`core.milter`), the message itself (`outbound`), and its
delivery, which is the mail server's.

It fails open: whatever goes wrong here, the mail server hears that it may go on, unless the operator wants otherwise.
"""

from relay.milter.server import CannotListen, Server, serve

__all__ = ["CannotListen", "Server", "serve"]
