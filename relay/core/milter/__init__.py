"""The filter's side of the milter protocol, by which a mail server asks about each message while it takes it in.

Owns: packets as bytes (`packets`), the course of a session (`session`), what of a message is given back (`changes`).
Leaves to others: sockets, time and limits over all sessions (`relay.milter`), what becomes of a message (`outbound`).

There is no standard: Sendmail's libmilter is the protocol (mfdef.h and mfapi.h, versions 2 to 6), and Postfix speaks it
as MILTER_README says.
"""

from relay.core.milter.session import Client, Message, Named, Session

__all__ = ["Client", "Message", "Named", "Session"]
