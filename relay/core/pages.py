"""The page that a link leads to, whoever got the link: by this clicks are counted.

Owns: which parts of a URL are the recipient's own. Leaves to others: URLs that let in whoever has them (`capabilities`: those
are no links of ours), what is kept of a single click (the whole URL).

A parameter is the recipient's own by its name (whose it is, or which mail or click it came by), or where its value is an address
or was made by a machine. What stays tells pages apart: `?id=17`, a video's eleven characters, `utm_campaign`. A path stays as
it is, but for addresses: what looks made by a machine there is as often the name of a document.
"""

from __future__ import annotations

import re

from relay.core import capabilities

# In lower case, without the marks in them.
OWN = frozenset({
    "email", "emailaddress", "mail", "mailaddress", "recipient", "recipientid", "rcpt", "rid", "subscriber", "subscriberid", "subid",
    "uid", "user", "userid", "username", "contact", "contactid", "customer", "customerid", "custid", "member", "memberid", "lead",
    "leadid", "person", "personid", "profileid", "mid", "messageid", "mailid", "emailid", "token", "firstname", "lastname", "mkttok",
    "mceid", "hsenc", "veroid", "veroconv", "cksubscriberid", "olyencid", "mlsubscriber", "mlsubscriberhash", "ke", "kx", "sceh",
    "trkcontact", "trkmsg", "trksid", "elqtrackid", "gclid", "fbclid", "msclkid", "dclid", "gbraid", "wbraid", "yclid", "ttclid",
    "twclid", "irclickid", "rbclickid", "clickid", "epik",
})  # fmt: skip
MACHINES = 12  # characters from which a value that looks made by a machine is one; a video's have 11, a product's 10
MARKS = re.compile(r"[-_.\[\]]")
ADDRESS = re.compile(r"@|%40")
ANY = "*"


def of(url: str) -> str:
    """The URL without what is the recipient's own. For any text; what has nothing of the kind stays as it is."""
    front, hash_, fragment = url.partition("#")
    path, mark, query = front.partition("?")
    if ADDRESS.search(path):
        scheme, slashes, rest = path.partition("://")
        parts = rest.split("/")
        path = scheme + slashes + "/".join([*parts[:1], *(ANY if ADDRESS.search(part) else part for part in parts[1:])])
    return path + shared(mark, query) + shared(hash_, fragment)


def shared(mark: str, text: str) -> str:
    """What of a query or fragment is of all recipients, with its mark; "" for nothing."""
    pieces = text.split("&")
    kept = [piece for piece in pieces if not own(piece)]
    return mark + "&".join(kept) if kept else ""


def own(piece: str) -> bool:
    """Is it one recipient's?"""
    name, equals, value = piece.partition("=")
    if not equals:
        value = name
    elif MARKS.sub("", name).lower() in OWN:
        return True
    return ADDRESS.search(value) is not None or capabilities.opaque(value, MACHINES)
