"""What asked for a pixel or a link: a person, a proxy, a machine?

Owns: the verdict that one request allows, with its reason code; the closed list of those codes. Leaves to others: what the
agent says (`agents`), what other hits of the copy show (`neighbours`), `self`, which needs the message that was sent,
repeats and counting (`tally`); storing (`tracking_http.public`).

The strongest sign decides: how it asked, what it says of itself, where it came from. `human` is said of a browser or a mail
program that shows nothing else, so it is the answer to "what does this look like", not to "who was it": programs can
call themselves what they like. What shows nothing is `unknown`, and counts as a person's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from relay.core import agents
from relay.core.model import Verdict

BLOCKED = "blocked"  # the reason of a click on a link that the operator has blocked: it led nowhere, and counts nowhere

# Every reason code, with what it says: docs/verdicts.md has the same list.
REASONS: Mapping[str, str] = {
    "unclassified": "Nothing tells a person from a machine.",
    "no_agent": "The request names no program.",
    "browser": "A browser, and nothing else to be seen.",
    "mail_program": "A mail program, and nothing else to be seen.",
    "image_proxy": "A mail provider's proxy for pictures, which fetches one when somebody looks at it.",
    "apple_privacy": "Apple's Mail Privacy Protection, which fetches all pictures, whether or not anybody looks.",
    "gmail_prefetch": "Gmail, which fetches pictures once when the message arrives.",
    "prefetch_header": "The program says that it fetches ahead of time.",
    "head": "Only asked whether the address exists (HEAD).",
    "method": "Asked in a way that neither shows a picture nor follows a link.",
    "gateway_agent": "The program is a mail gateway's or a virus scanner's.",
    "scanner_agent": "The program is one that looks for weaknesses, or checks what links lead to.",
    "crawler_agent": "The program is in the list of crawlers.",
    "program_agent": "The program is a library, a monitor or another that no person sits at.",
    "gateway_network": "The address belongs to a mail gateway.",
    "cloud_network": "The address is a machine's in a data centre, and it asked soon after the message was delivered.",
    "gateway_name": "The address has the name of a mail gateway's machine in the DNS.",
    "submitter_address": "The address that submitted the message: the sender's own look.",
    BLOCKED: "The operator has blocked the link.",
}  # fmt: skip

AHEAD = ("sec-purpose", "purpose", "x-purpose", "x-moz")
LOOKED_AT = (*AHEAD, "via")
PREFETCH = re.compile(r"prefetch|prerender|preview|instant", re.I)
VIA_PROXY = re.compile(r"GoogleImageProxy|ggpht|ymail|YahooMailProxy", re.I)
SOON = 600.0  # seconds after the delivery in which a data centre's address is taken for a scanner's

# Who asks without wanting to see anything is a machine, whatever it calls itself.
LOOKING: Mapping[Verdict, Verdict] = {
    "human": "scanner", "unknown": "scanner", "scanner": "scanner", "crawler": "crawler", "proxy": "prefetch", "prefetch": "prefetch",
}  # fmt: skip

CLOUD: tuple[Verdict, str] = ("scanner", "cloud_network")

LOCAL = "local"  # the network of this machine itself

Networks = Callable[[str], str]  # an address -> "gateway", "cloud" or ""
Headers = Mapping[str, str]  # by names in lower case
NONE: Headers = {}


def hit(
    *,
    method: str,
    agent: str = "",
    headers: Headers = NONE,
    network: str = "",
    age: float | None = None,
    click: bool = False,
) -> tuple[Verdict, str]:
    """The verdict of one request and the reason code for it. `headers` has at least those of `LOOKED_AT` that came,
    `network` is what is known of the address, `age` the seconds since the copy was delivered."""
    if network == LOCAL:  # who tries it out here, also by a browser without a window, is no crawler
        agent = agent.replace("HeadlessChrome", "Chrome")
    verdict, reason = agents.read(agent)
    if method != "GET":
        return LOOKING[verdict], "head" if method == "HEAD" else "method"
    if not headers.keys().isdisjoint(LOOKED_AT):
        if any(PREFETCH.search(headers[name]) for name in AHEAD if name in headers):
            return "prefetch", "prefetch_header"
        if verdict in ("unknown", "human") and not click and VIA_PROXY.search(headers.get("via", "")):
            return "proxy", "image_proxy"
    if network in ("gateway", "cloud") and verdict in ("human", "unknown"):
        if network == "gateway":
            return "scanner", "gateway_network"
        if click and age is not None and late(verdict, network, age):
            return CLOUD
    return verdict, reason


def late(verdict: Verdict, network: str, age: float) -> bool:
    """Whether a click that `hit` let pass without an age came from a data centre soon after the delivery."""
    return network == "cloud" and verdict in ("human", "unknown") and age < SOON
