"""A message and its events -> what the live page shows. Pure: values in, JSON-ready values out.

Owns: the states of a message, its links and its recipients, and the lines of its timeline. Leaves to others: fetching
(`feed`, `pages`), the sentences (`phrases`). Text goes out unescaped: the page inserts it as text, never as HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relay import describing
from relay.core import reasons, suppressions, tally, unicode_domains
from relay.core.model import Event, Sent, SentCopy
from relay.store import Engagement
from tracking_http.dashboard import phrases

LONGEST = 2_100  # characters of any one text on the page
MAX_RECIPIENTS = 200  # of one message in its details
REPORTS = frozenset({"message.bounce_detected", "message.delayed", "message.complained"})
MACHINES = frozenset({"prefetch", "scanner", "crawler"})

State = dict[str, Any]
NOBODY = Engagement()


def named(address: str) -> str:
    """An address for people."""
    return clip(unicode_domains.shown_in(address), 320)


def clip(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def from_people(event: Event) -> bool:
    return event.counted and event.verdict in phrases.PEOPLE


def of_type(events: Sequence[Event], type_: str) -> list[Event]:
    return [e for e in events if e.type == type_]


def first(events: Sequence[Event]) -> Event | None:
    return min(events, key=lambda e: (e.at, e.position), default=None)


def several(sent: Sent) -> bool:
    """Whether there are several recipients, each with a copy that can be told from the others'."""
    return 1 < len(sent.copies) == len({copy.index for copy in sent.copies})


def firsts(events: Sequence[Event]) -> frozenset[int]:
    """Of a message's events, ascending, the positions of each recipient's first open by people; nothing where the oldest
    are not there."""
    if not events or events[0].sequence > 1:
        return frozenset()
    found: dict[int, int] = {}
    for event in events:
        if event.type == "message.opened" and from_people(event):
            found.setdefault(event.recipient_index, event.position)
    return frozenset(found.values())


def summary(sent: Sent, events: Sequence[Event], did: Engagement = NOBODY) -> dict[str, Any]:
    """One line of the list. `events` are those of this message, ascending, at least the newest; `did` is what is counted
    of all."""
    return {
        "id": sent.message_id,
        "subject": clip(sent.subject, 300),
        "sender": named(sent.sender),
        "to": [named(a) for a in (sent.to or tuple(c.recipient for c in sent.copies))[:5]],
        "recipients": len(sent.copies),
        "label": clip(sent.label, 200),
        "grant": sent.grant_id,
        "at": sent.submitted_at,
        "asked": [
            n
            for n, on in (("opens", sent.opens), ("links", sent.links_tracked), ("replies", sent.thread_replies))
            if on
        ],
        "states": states(sent, events, did),
        "latest": max((e.at for e in events), default=sent.submitted_at),
    }


def states(sent: Sent, events: Sequence[Event], did: Engagement = NOBODY) -> list[State]:
    """What is known about a message, in the order in which it happens. Each state has a `name` (for the page's icon and
    colour), a `text`, and a `title` that says more."""
    found = [way(sent), *untracked(sent)]
    many = len(sent.copies) if several(sent) else 0
    found += opened(of_type(events, "message.opened"), did, many)
    found += clicked(of_type(events, "message.link_clicked"), did, many)
    found += answered(events)
    found += troubles(events)
    return found


def way(sent: Sent) -> State:
    """How far the message got: the upstream's answers, over all recipients."""
    by = [copy.state for copy in sent.copies]
    done, never, later = by.count("done"), by.count("never"), by.count("later")
    last = clip(next((c.reply for c in sent.copies if c.reply), ""), 300)
    if by and done == len(by):
        return {"name": "delivered", "text": "Delivered", "title": f"The upstream server accepted it: {last}"}
    if by and never == len(by) and all(c.reply.startswith("given up: ") for c in sent.copies):
        return {
            "name": "bounced",
            "text": "Given up",
            "title": f"It is not tried any more: {last.removeprefix('given up: ')}",
        }
    if by and never == len(by):
        return {"name": "bounced", "text": "Refused", "title": f"The upstream server refused it: {last}"}
    if done:
        return {"name": "delivered", "text": f"Delivered to {done} of {len(by)}", "title": last}
    if by and by.count("handed") == len(by):
        return {"name": "sent", "text": "Sent", "title": "Handed back to the mail server, which delivers it"}
    if later or never:
        return {"name": "waiting", "text": "Waiting", "title": f"It will be tried again: {last}"}
    return {"name": "sent", "text": "Sent", "title": "Accepted; the upstream server has not answered yet"}


def untracked(sent: Sent) -> list[State]:
    if sent.reason:
        text = f"Not tracked: {reasons.said(sent.reason)}"
        return [{"name": "untracked", "text": text, "title": f"Not tracked: {reason(sent)}"}]
    partly = next((why(c) for c in sent.copies if c.tracked and c.reason), "")
    if partly:
        return [{"name": "untracked", "text": partly, "title": partly}]
    left = [c for c in sent.copies if not c.tracked]
    if left and len(left) < len(sent.copies):
        text = f"{len(left)} of {len(sent.copies)} not tracked"
        return [{"name": "untracked", "text": text, "title": f"{text}: {reasons.said(left[0].reason)}"}]
    return []


def opened(events: Sequence[Event], did: Engagement, many: int) -> list[State]:
    """`many` recipients, of whom each is known by his copy; else 0."""
    people = [e for e in events if from_people(e)]
    if people or did.opened:
        begun = first(people)
        who = f" by {named(begun.recipient)}" if begun and begun.recipient else ""
        proxy = people and all(e.verdict == "proxy" for e in people)
        title = f"First seen{who}" + (", through an image proxy" if proxy else "")
        return [
            {
                "name": "opened",
                "text": f"{did.opened} of {many} opened at least once"
                if many and did.opened
                else "Opened at least once",
                "title": clip(title, 400),
                "at": begun.at if begun else 0,
            }
        ]
    if any(e.verdict in MACHINES for e in events):
        title = "The pixel was loaded by a machine: no sign that a person opened it"
        return [{"name": "machine", "text": "Fetched by a machine", "title": title}]
    return []


def clicked(events: Sequence[Event], did: Engagement, many: int) -> list[State]:
    people = [e for e in events if from_people(e)]
    if people or did.clicked:
        urls = list(dict.fromkeys(e.url for e in people))
        more = f" and {len(urls) - 1} more" if len(urls) > 1 else ""
        text = f"Clicked {short(urls[0])}{more}" if urls else "Clicked at least once"
        if many and did.clicked:
            text = f"{did.clicked} of {many} clicked at least once"
        return [{"name": "clicked", "text": text, "title": clip("Clicked: " + ", ".join(urls), 600) if urls else text}]
    if any(e.verdict in MACHINES for e in events):
        return [
            {
                "name": "machine",
                "text": "Links checked by a machine",
                "title": "A scanner follows links before delivery",
            }
        ]
    return []


def short(url: str) -> str:
    """A URL short enough for a chip: host and path, without scheme and query."""
    rest = url.partition("://")[2] or url
    rest = rest.partition("?")[0].partition("#")[0].removeprefix("www.").rstrip("/")
    return clip(rest, 34)


def answered(events: Sequence[Event]) -> list[State]:
    replies = [e for e in of_type(events, "thread.replied") if not e.data.get("from_self")]
    found: list[State] = []
    if replies:
        who = ", ".join(dict.fromkeys(named(e.recipient) for e in replies if e.recipient))
        found.append(
            {"name": "replied", "text": "Replied", "title": clip(f"Answered by {who}" if who else "Answered", 400)}
        )
    elif of_type(events, "message.auto_replied"):
        found.append(
            {"name": "auto", "text": "Automatic answer", "title": "An automatic answer does not count as a reply"}
        )
    return found


def troubles(events: Sequence[Event]) -> list[State]:
    found: list[State] = []
    for type_, name, text in (
        ("message.bounce_detected", "bounced", "Bounced"),
        ("message.failed", "bounced", "Failed"),
        ("message.complained", "bounced", "Marked as spam"),
    ):
        for event in of_type(events, type_)[:1]:
            found.append(
                {"name": name, "text": text, "title": clip(event.reason or str(event.data.get("reason", text)), 400)}
            )
    if not found and of_type(events, "message.delayed"):
        found.append({"name": "waiting", "text": "Delayed", "title": "A server on the way is still trying"})
    return found


# -- details
# -------------------------------------------------------------------------------------------------------------


def details(sent: Sent, events: Sequence[Event], did: Engagement = NOBODY) -> dict[str, Any]:
    """Everything that the page shows of one message."""
    begun = firsts(events)
    return {
        **summary(sent, events, did),
        "internet_message_id": clip(sent.internet_message_id, 998),
        "size": sent.size,
        "login": clip(sent.login, 200),
        "peer": sent.submitter_ip,
        "reason": reason(sent),
        "reason_code": sent.reason,
        "metadata": {clip(str(k), 100): clip(str(v), 300) for k, v in list(sent.metadata.items())[:50]},
        "people": [
            person(copy, events, suppressions.said(sent.explanation.get("suppressed")))
            for copy in sent.copies[:MAX_RECIPIENTS]
        ],
        "links": links(sent, events),
        "left": left(sent.explanation),
        "timeline": [line(event, sent, begun) for event in reversed(events)],
    }


def reason(sent: Sent) -> str:
    """Why nothing of it is tracked; where a field could not be read, with the sentence about that."""
    words = reasons.said(sent.reason)
    invalid = sent.explanation.get("invalid")
    if sent.reason != "invalid_instruction" or not isinstance(invalid, str) or not invalid:
        return words
    return f"{words}: {clip(invalid.rstrip('.'), 500)}"


def why(copy: SentCopy) -> str:
    """Why a copy is not tracked, or only in part; "" if it is."""
    if not copy.reason:
        return ""
    part = "Replies can't be seen" if copy.reason == "no_mailbox" else "Only replies tracked"
    return f"{part if copy.tracked else 'Not tracked'}: {reasons.said(copy.reason)}"


def person(copy: SentCopy, events: Sequence[Event], grounds: Sequence[str] = ()) -> dict[str, Any]:
    """One recipient: what the upstream said, and what is known about this copy alone."""
    own = [e for e in events if e.recipient == copy.recipient and from_people(e)]
    return {
        "address": named(copy.recipient) or describing.ERASED,
        "state": copy.state,
        "reply": clip(copy.reply, 500),
        "tracked": copy.tracked,
        "reason": why(copy) + (f" ({'; '.join(grounds)})" if copy.reason == "suppressed" and grounds else ""),
        "opened": any(e.type == "message.opened" for e in own),
        "clicked": any(e.type == "message.link_clicked" for e in own),
        "replied": any(e.type == "thread.replied" and e.recipient == copy.recipient for e in events),
    }


def links(sent: Sent, events: Sequence[Event]) -> list[dict[str, Any]]:
    clicks = of_type(events, "message.link_clicked")
    found = []
    for index, url in enumerate(sent.links):
        own = [e for e in clicks if e.link_index == index]
        people = [e for e in own if from_people(e)]
        found.append(
            {
                "index": index,
                "url": clip(url),
                "clicks": len(people),
                "machines": len([e for e in own if e.verdict not in phrases.PEOPLE]),
            }
        )
    return found


def left(explanation: Mapping[str, Any]) -> list[dict[str, str]]:
    """What was left as it was, and why: links, parts, a pixel that was not placed, a message that was not signed. This comes from the record's
    compact explanation: `left` is [part, scheme and host or "", reason, how many], `parts` [path, type, "edited" or
    reason], `pixel` [part, place, reason]."""
    found = [
        {"what": links_left(str(place), number), "why": reasons.said(str(code))}
        for _, place, code, number in rows(explanation.get("left"), 4)
        if code
    ]
    found += [
        {"what": f"Part {clip(str(path), 40)} ({clip(str(kind), 100)})", "why": reasons.said(str(code))}
        for path, kind, code in rows(explanation.get("parts"), 3)
        if code and code != "edited"
    ]
    pixel = explanation.get("pixel")
    found += [{"what": "The pixel", "why": reasons.said(str(code))} for *_, code in rows([pixel], 3) if code]
    if unsigned := explanation.get("unsigned"):
        found.append({"what": "The message, by us", "why": f"Not signed: {clip(str(unsigned), 500)}"})
    return found


def links_left(place: str, number: Any) -> str:
    """Links of one host; of those that may let somebody in only the number is recorded."""
    many = "a link" if number == 1 else f"{number} links"
    return f"{clip(place)} ({many})" if place else f"{many[:1].upper()}{many[1:]}"


def rows(value: Any, length: int) -> list[Any]:
    """Those of a list that have so many items: what an older record has otherwise is passed over."""
    found = value if isinstance(value, list) else []
    return [each for each in found if isinstance(each, list | tuple) and len(each) == length]


def line(event: Event, sent: Sent | None = None, begun: frozenset[int] = frozenset()) -> dict[str, Any]:
    """One line of a timeline, or of the stream of all events. `begun` are the positions of first opens. Where the message
    is not known, it has no subject."""
    from_self = bool(event.data.get("from_self"))
    first_one = event.counted and (event.ordinal == 0 or event.position in begun)
    who = named(event.recipient) if sent and several(sent) else ""
    return {
        "event": event.event_id,
        "id": event.message_id,
        "type": event.type,
        "subject": clip(sent.subject, 300) if sent else None,
        "title": phrases.title(event.type, event.verdict, first=first_one, from_self=from_self, who=who),
        "at": event.at,
        "recipient": named(event.recipient),
        "url": clip(event.url),
        "verdict": event.verdict if event.type in tally.HITS else "",
        "who": phrases.VERDICTS.get(event.verdict, "") if event.type in tally.HITS else "",
        "reason": clip(said(event) or text_of(event.data, "reason", "diagnostic", "reply"), 500),
        "counted": event.counted,
        "ip": clip(event.ip, 64),
        "user_agent": clip(event.user_agent, 400),
        "note": clip(text_of(event.data, "subject", "status", "code"), 300) + doubt(event) + before(event),
    }


def before(event: Event) -> str:
    """What a hit was taken for before others showed better."""
    if not event.first_verdict or event.type not in tally.HITS:
        return ""
    return f"At first taken for: {phrases.VERDICTS[event.first_verdict]}"


def doubt(event: Event) -> str:
    """What is said of a report that brought back nothing that only its subject has."""
    return " · not verified" if event.type in REPORTS and event.data.get("verified") is False else ""


def said(event: Event) -> str:
    """The reason of a verdict, if it says more than that there is none."""
    return "" if event.verdict == "unknown" and event.reason in ("", "unclassified", "unknown") else event.reason


def text_of(data: Mapping[str, Any], *names: str) -> str:
    """The first of these that has a value, as text."""
    return next((str(data[n]) for n in names if data.get(n) not in (None, "", [], {})), "")
