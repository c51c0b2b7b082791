"""What asked for a pixel or a link: a person, a proxy, a machine?

Owns: the verdict that the request alone allows, with its reason code. Leaves to others: `self`, which needs the
message that was sent, repeats and counting (`tally`); storing (`tracking_http.public`).

A verdict is given only if something shows it. Everything else is `unknown`, and counts, since it may be a person.
"""

from __future__ import annotations

from relay.core.model import Verdict

BLOCKED = "blocked"  # the reason of a click on a link that the operator has blocked: it led nowhere, and counts nowhere


def hit(*, method: str) -> tuple[Verdict, str]:
    """The verdict of one request and the reason code for it.

    `head`: nothing was displayed or followed; a program only looked whether the address exists.
    `unclassified`: nothing in the request tells a person from a machine.
    """
    return ("unknown", "head") if method == "HEAD" else ("unknown", "unclassified")
