"""What rates are made of: what a message, a reply of the upstream and an event add to which counters.

Owns: the counters, the rows in which they stand, and what each thing adds. An engine adds it in the transaction of the
thing itself; a rebuild adds up the same again (`message`), so the two can be compared. Leaves to others: whether an event
counts at all (`tally`), keeping the rows (`relay.store`), rates.

A row is an hour (UTC), a grant, and one value of one dimension: a label, a sender, a sending domain, a recipient's
domain, and for clicks a link's host and the page that it leads to (`pages`). Each thing stands in a row of each dimension
that it has. Pages are many: of those a row is a whole day, which stands at its first hour.

- `sent`, `delivered` and `failed` are recipients, in the hour in which the message was submitted: delivered are those
  that the next server accepted, or that went back to the mail server that asked by the milter protocol; failed are
  those that it refused for good. `bounced` are reports, `replies` answers of others, each in its own hour.
- `opens` and `clicks` are those of people: verdict human, proxy or unknown. Those of machines (prefetch, scanner,
  crawler, self) stand apart. `first_` are the first per message and recipient: of people, of machines, and (`any_`) of
  either. Where recipients share a copy, its first open is the first of all of them.
- Only events that count (see `tally`) of recorded messages.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping, Sequence
from functools import lru_cache
from typing import Literal

from relay.core import domains, pages
from relay.core.model import Event, Sent, Value

Dimension = Literal["label", "sender", "sending_domain", "recipient_domain", "link_host", "link"]

COUNTERS = (
    "sent", "delivered", "failed", "bounced", "replies", "opens", "first_opens", "clicks", "first_clicks",
    "machine_opens", "machine_first_opens", "machine_clicks", "machine_first_clicks", "any_first_opens",
    "any_first_clicks",
)  # fmt: skip
AT = {name: at for at, name in enumerate(COUNTERS)}
HOUR = 3600
DAY = 24  # hours
MACHINES = frozenset({"prefetch", "scanner", "crawler", "self"})
STATES = {"done": AT["delivered"], "handed": AT["delivered"], "never": AT["failed"]}
PLAIN = {"message.bounce_detected": AT["bounced"], "thread.replied": AT["replies"]}
HITS = {"message.opened": 0, "message.link_clicked": 2}  # where in `Seen` people's are; machines' come next
# Per kind of hit and people's or machines': each one, the first, the first of either.
HIT = (
    (AT["opens"], AT["first_opens"], AT["any_first_opens"]),
    (AT["machine_opens"], AT["machine_first_opens"], AT["any_first_opens"]),
    (AT["clicks"], AT["first_clicks"], AT["any_first_clicks"]),
    (AT["machine_clicks"], AT["machine_first_clicks"], AT["any_first_clicks"]),
)

Key = tuple[str, int, str, str]  # dimension, hours since 1970, grant, value
Totals = dict[Key, list[int]]  # per row what is added to each of COUNTERS
# Of many hits at once: hour, grant, label and sender -> what is added to each of the rows that hits of these share.
Shared = dict[tuple[int, str, str, str], list[int]]
Seen = list[int]  # of one message and recipient index: opens by people, by machines, clicks by people, by machines


class About(Value, frozen=True, array_like=True, gc=False):
    """What the rows take from the message."""

    grant_id: str
    submitted_at: float
    label: str
    sender: str


def about(sent: Sent) -> About:
    return About(sent.grant_id, sent.submitted_at, sent.label, sent.sender)


def unseen() -> Seen:
    return [0, 0, 0, 0]


def submitted(totals: Totals, of: About, copies: Iterable[tuple[str, str]]) -> None:
    """A message with these copies: envelope recipient and state."""
    hour = int(of.submitted_at // HOUR)
    for recipient, state in copies:
        then = STATES.get(state)
        for row in rows(totals, of, hour, recipient):
            row[0] += 1
            if then is not None:
                row[then] += 1


def moved(totals: Totals, of: About, recipient: str, before: str, after: str) -> None:
    """A copy's state became another one."""
    was, now = STATES.get(before), STATES.get(after)
    if was == now:
        return
    for row in rows(totals, of, int(of.submitted_at // HOUR), recipient):
        if was is not None:
            row[was] -= 1
        if now is not None:
            row[now] += 1


def happened(totals: Totals, of: About, seen: Seen, event: Event, shared: Shared | None = None) -> bool:
    """An event as it is remembered. `seen` is that of its recipient index, and is moved on: then it is True. Where `shared`
    is given, some of it is added there, until `spread` is called."""
    if not event.counted:
        return False
    kind = event.type
    at = HITS.get(kind)
    if at is None:
        plain = PLAIN.get(kind)
        if plain is not None and not event.data.get("from_self"):
            for row in rows(totals, of, int(event.at // HOUR), event.recipient):
                row[plain] += 1
        return False
    which = at + (event.verdict in MACHINES)
    each, first, either = HIT[which]
    own = rows(totals, of, int(event.at // HOUR), event.recipient, event.url if at else "", shared)
    for row in own:
        row[each] += 1
    if not seen[which]:
        is_first_of_either = not seen[at] and not seen[at + 1]
        for row in own:
            row[first] += 1
            if is_first_of_either:
                row[either] += 1
    seen[which] += 1
    return True


def message(sent: Sent, events: Iterable[Event]) -> tuple[Totals, dict[int, Seen]]:
    """All that a message has added, and what each recipient index has seen. `events` are all of it, by position."""
    totals: Totals = {}
    seen: dict[int, Seen] = {}
    of = about(sent)
    submitted(totals, of, ((copy.recipient, copy.state) for copy in sent.copies))
    for event in events:
        own = seen.get(event.recipient_index) or unseen()
        if happened(totals, of, own, event):
            seen[event.recipient_index] = own
    return totals, seen


def rows(
    totals: Totals, of: About, hour: int, recipient: str, url: str = "", shared: Shared | None = None
) -> list[list[int]]:
    """The rows of one thing. Each is another one: no two dimensions share one."""
    grant = of.grant_id
    if shared is None:
        found = of_sender(totals, hour, grant, of.label, of.sender)
    else:
        which = (hour, grant, of.label, of.sender)
        row = shared.get(which)
        if row is None:
            row = shared[which] = [0] * len(COUNTERS)
        found = [row]
    found.append(row_of(totals, ("recipient_domain", hour, grant, domain(recipient))))
    if url:
        found.append(row_of(totals, ("link_host", hour, grant, host(url))))
        found.append(row_of(totals, ("link", row_hour("link", hour), grant, page(url))))
    return found


def row_hour(dimension: str, hour: int) -> int:
    """Where that hour's row of the dimension stands."""
    return hour - hour % DAY if dimension == "link" else hour


def of_sender(totals: Totals, hour: int, grant: str, label: str, sender: str) -> list[list[int]]:
    return [
        row_of(totals, ("label", hour, grant, label)),
        row_of(totals, ("sender", hour, grant, spelt(sender))),
        row_of(totals, ("sending_domain", hour, grant, domain(sender))),
    ]


def spread(totals: Totals, shared: Shared) -> None:
    for which, values in shared.items():
        for row in of_sender(totals, *which):
            for at, value in enumerate(values):
                row[at] += value


def row_of(totals: Totals, key: Key) -> list[int]:
    found = totals.get(key)
    if found is None:
        found = totals[key] = [0] * len(COUNTERS)
    return found


def add(totals: Totals, more: MutableMapping[Key, list[int]], sign: int = 1) -> None:
    """`totals` with `more` added, or subtracted."""
    for key, values in more.items():
        row = totals.setdefault(key, [0] * len(COUNTERS))
        for at, value in enumerate(values):
            row[at] += sign * value


def changes(totals: Totals) -> list[tuple[Key, Sequence[int]]]:
    """What is to be written: rows to which nothing is added are left out."""
    return [(key, row) for key, row in totals.items() if any(row)]


@lru_cache(maxsize=4096)
def spelt(address: str) -> str:
    return address.strip().lower()


@lru_cache(maxsize=4096)
def domain(address: str) -> str:
    return domains.of_address(address)


@lru_cache(maxsize=4096)
def host(url: str) -> str:
    return domains.of_url(url) if "://" in url else ""


@lru_cache(maxsize=4096)
def page(url: str) -> str:
    return pages.of(url)
