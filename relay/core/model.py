"""The values that travel between rooms. Frozen; no I/O and no decisions here.

Times are Unix seconds (float) unless a name says otherwise. Addresses are as the envelope or the header has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import msgspec


class Value(msgspec.Struct, frozen=True):
    """A value of which many are made for each message or hit: making one takes a sixth of a frozen dataclass's time."""

    def with_(self, **changes: Any) -> Self:
        return msgspec.structs.replace(self, **changes)


class Private(Value, frozen=True):
    """One with a password: of its `secret` members nothing is shown where the value is printed, as a traceback may."""

    secret: ClassVar[frozenset[str]]

    def __repr__(self) -> str:
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.secret]
        return f"{type(self).__name__}({', '.join(shown)})"


# -- why something was not tracked: one closed list for `rewrite --explain`, the API and the metrics --------------------

Reason = Literal[
    "not_requested", "invalid_instruction", "no_html", "no_mailbox", "excluded_recipient", "suppressed", "null_sender",
    "auto_reply", "signed", "encrypted", "pgp", "calendar", "amp", "attachment", "embedded", "charset", "unsafe_place",
    "limit_size", "limit_parts", "limit_depth", "limit_headers", "limit_time", "limit_links", "limit_url", "scheme", "relative",
    "credentials", "unsubscribe", "placeholder", "own_link", "refused", "host_excluded", "visible_url",
    "duplicate_pixel", "internal_error",
]  # fmt: skip

# -- what the operator set: [tracking] and [[rules]] -------------------------------------------------------------------

VENDORS = ("mandrill", "postmark", "mailgun", "sendgrid", "sparkpost", "mailjet", "unosend")


@dataclass(frozen=True, slots=True)
class Tracking:
    """[tracking] of relay.toml, or the same with one rule laid over it. relay.toml explains each key."""

    url: str = ""
    opens: bool = False
    links: bool = False
    thread_replies: bool = False
    label: str = ""
    per_recipient: bool = True
    per_recipient_max: int = 50
    references: Literal["auto", "always", "never"] = "auto"
    pixel_min_text: int = 0
    domains: tuple[str, ...] = ()
    max_links: int = 100
    schemes: tuple[str, ...] = ("http", "https")
    text_links: bool = False
    pixel: Literal["bottom", "top"] = "bottom"
    skip_visible_urls: bool = False
    skip_hosts: tuple[str, ...] = ()
    credential_params: tuple[str, ...] = ()
    append: Mapping[str, str] = field(default_factory=dict)
    dialects: tuple[str, ...] = ()
    on_invalid: Literal["deliver", "reject"] = "deliver"
    suppress: Literal["off", "untrack", "reject"] = "off"
    canary: bool = False
    about_link: bool = False
    about_text: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One of [[rules]]. `sender` is a glob over the From header's address, `recipient` over this copy's envelope
    recipient, both case-insensitive. `tracking` is [tracking] with the rule laid over it; `keys` are those it sets."""

    sender: str
    recipient: str
    tracking: Tracking
    keys: frozenset[str]


# -- what a message asks for -------------------------------------------------------------------------------------------

Switch = Literal["opens", "links", "thread_replies"]


@dataclass(frozen=True, slots=True)
class Instructions:
    """What the control headers and dialects of one message say, before rules and defaults.

    `switches` maps a switch to (value, the header that said so). `strip` holds indexes into `Headers.fields` of all
    that must not leave. `invalid` is a sentence that names the header and what would be right, or None."""

    switches: Mapping[Switch, tuple[bool, str]] = field(default_factory=dict)
    label: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    domain: str | None = None
    pixel: Literal["top", "bottom"] | None = None
    text_links: bool | None = None
    exclude: tuple[str, ...] = ()
    strip: tuple[int, ...] = ()
    invalid: str | None = None


class Decision(Value, frozen=True):
    """What is tracked in one copy. `source` names per switch where its value came from: a header's name, "rule" or
    "default". `reason` says why nothing at all is tracked, or None. `tracking` has the options in force, with
    `url` already the tracking host chosen."""

    opens: bool
    links: bool
    thread_replies: bool
    label: str
    metadata: Mapping[str, str]
    source: Mapping[str, str]
    tracking: Tracking
    reason: Reason | None = None

    @property
    def any(self) -> bool:
        return self.opens or self.links or self.thread_replies


# -- tokens ------------------------------------------------------------------------------------------------------------

TokenKind = Literal["open", "click", "canary", "reference", "about"]


class Token(Value, frozen=True):
    """What a pixel's, a link's or a References entry's token says. `message_key` is 12 bytes and sorts by time;
    `recipient` is the index of the envelope recipient among the submission's; `link` and `url` are of a click only."""

    kind: TokenKind
    message_key: bytes
    recipient: int
    link: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that sign tokens: key id (0 to 31) -> 32 bytes. `current` signs; all verify."""

    current: int
    secrets: Mapping[int, bytes] = field(repr=False)


# -- a change of bytes -------------------------------------------------------------------------------------------------


class Edit(Value, frozen=True):
    """Bytes `start` to `end` of a raw message become `new`. An insertion has start == end."""

    start: int
    end: int
    new: bytes


# -- mail in and out ---------------------------------------------------------------------------------------------------


class Recipient(Value, frozen=True):
    """An envelope recipient (RFC 5321 forward-path) and its DSN parameters (RFC 3461), as `KEYWORD=value`."""

    address: str
    options: tuple[str, ...] = ()


class Hop(Value, frozen=True):
    """Who spoke with us: what it said of itself, and its address."""

    helo: str
    peer: str


class Submission(Private, frozen=True):
    """One message as a client handed it in. `content` has CRLF line endings only, dots taken out. `reverse_path` is
    "" for the null one. `options` are MAIL's, other than SIZE: BODY=8BITMIME, SMTPUTF8, RET=, ENVID=.
    `login` and `password` are the client's own where `auth` asked for them. `helo` is what the client said of itself,
    `protocol` what it spoke, as a Received field names it; "" where nobody spoke SMTP with us. `senders` are the patterns
    of the addresses that the login may send as, None where it may send as anybody. `queue_id` and `daemon` are those of
    the mail server that asked by the milter protocol (see `Sent`), or that forwarded it and said so (XFORWARD): then
    `proxy` is that server, and `peer` and `helo` are of the client that it names. `metadata` is what an API call gave
    beside the message, to be had back with it."""

    secret: ClassVar[frozenset[str]] = frozenset({"password"})
    reverse_path: str
    recipients: tuple[Recipient, ...]
    content: bytes
    options: tuple[str, ...] = ()
    peer: str = ""
    received_at: float = 0.0
    login: str = ""
    password: str = ""
    helo: str = ""
    protocol: str = ""
    senders: tuple[str, ...] | None = None
    queue_id: str = ""
    daemon: str = ""
    proxy: Hop | None = None
    metadata: Mapping[str, str] = {}


class Envelope(Private, frozen=True):
    """One transaction at the upstream: those recipients get these bytes. `credentials` is (login, password) where
    the client's own session must carry it. `upstream` is the name of the one that it is for."""

    secret: ClassVar[frozenset[str]] = frozenset({"credentials"})
    reverse_path: str
    recipients: tuple[Recipient, ...]
    options: tuple[str, ...] = ()
    credentials: tuple[str, str] | None = None
    upstream: str = "default"


class Reply(Value, frozen=True):
    """An SMTP reply: the code, and the text without it (the enhanced status code stays in the text)."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Done(Value, frozen=True):
    """Accepted by the upstream, which now answers for it. `unconfirmed`: the sender asked to hear of success
    (RFC 3461 NOTIFY=SUCCESS), and the upstream does not offer to tell."""

    reply: Reply
    unconfirmed: bool = False


class Later(Value, frozen=True):
    """Not now: a 4xx, no connection, or a connection cut. `uncertain` where the upstream may have it all the same
    (cut after the final dot): trying again may make a duplicate, not trying may lose it."""

    reply: Reply
    uncertain: bool = False


class Never(Value, frozen=True):
    """Refused for good: a 5xx."""

    reply: Reply


Outcome = Done | Later | Never


# -- what is remembered ------------------------------------------------------------------------------------------------


class SentCopy(Value, frozen=True):
    """What one envelope recipient was sent. `reply` is the upstream's last word once there is one; where nobody tries any
    more it begins with "given up: " (`queue.given_up`), and the state is "never". `upstream_id` the
    message identifier that the upstream named in it, without brackets. "handed" is final: the mail server that asked
    (by the milter protocol) delivers it, and says no more. `thread_replies`: this recipient's answers are told."""

    recipient: str
    index: int
    tracked: bool
    reason: Reason | None = None
    state: Literal["pending", "done", "later", "never", "handed"] = "pending"
    reply: str = ""
    upstream_id: str = ""
    thread_replies: bool = False


class Sent(Value, frozen=True):
    """One submission as recorded: `message_id` is ours (20 lower-case base32hex characters of the 12-byte key),
    `internet_message_id` the Message-ID field's without brackets. `links` are the tracked URLs, numbered by
    occurrence. `references` are the ids of In-Reply-To and References, from which the store finds `thread_id`
    (leave it "" when recording). `submitter_ip` and `login` say who handed it in. `queue_id` is the name that a mail
    server which asked by the milter protocol, or forwarded it (XFORWARD), has for it in its queue and its log, `daemon` the name of its service."""

    message_id: str
    grant_id: str
    internet_message_id: str
    submitted_at: float
    sender: str = ""
    reverse_path: str = ""
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    subject: str = ""
    label: str = ""
    metadata: Mapping[str, str] = {}
    submitter_ip: str = ""
    size: int = 0
    opens: bool = False
    links_tracked: bool = False
    thread_replies: bool = False
    reason: Reason | None = None
    links: tuple[str, ...] = ()
    copies: tuple[SentCopy, ...] = ()
    references: tuple[str, ...] = ()
    thread_id: str = ""
    explanation: Mapping[str, Any] = {}
    login: str = ""
    queue_id: str = ""
    daemon: str = ""


Verdict = Literal["human", "proxy", "prefetch", "scanner", "crawler", "self", "unknown"]

EventType = Literal[
    "message.opened", "message.link_clicked", "thread.replied", "message.bounce_detected", "message.delayed",
    "message.complained", "message.auto_replied", "message.read_receipt", "message.sent", "message.delivered", "message.failed",
    "message.send_success", "message.send_failed", "message.verdict_changed", "grant.expired", "grant.updated",
    "message.tracking_refused", "message.erasure_requested", "message.canary_followed",
]  # fmt: skip


class Event(Value, frozen=True, gc=False):
    """One thing that happened to a message. Whoever saw it fills the upper half; the store, when it takes it, the
    lower half (see `core.tally`). `event_id` is a UUID and the key by which a thing seen twice is written once:
    random for a hit, derived from the mailbox message for what a mailbox saw."""

    event_id: str
    type: EventType
    message_id: str
    at: float
    recipient_index: int = 0
    recipient: str = ""
    link_index: int = 0
    url: str = ""
    method: str = "GET"
    ip: str = ""
    user_agent: str = ""
    referer: str = ""
    verdict: Verdict = "unknown"
    reason: str = ""
    data: Mapping[str, Any] = {}  # what only this type has: reply_id, from_self, code …

    grant_id: str = ""
    sequence: int = 0  # per message, from 1
    counted: bool = False
    ordinal: int = -1  # per message and type among the counted, from 0
    position: int = 0  # in the whole store, ascending: the cursor of `events`
    first_verdict: Verdict | Literal[""] = ""  # what it was before it was corrected; "" where it never was
    changed_at: float = 0.0  # when it was corrected last


@dataclass(frozen=True, slots=True)
class History:
    """What a notification of one event needs: the message (None where its row is gone), the counted events of the same
    type up to and including this one (the last 50, oldest first), and the counts per link at that point."""

    event: Event
    sent: Sent | None
    recents: tuple[Event, ...] = ()
    link_counts: tuple[int, ...] = ()
    first_at: float = 0.0  # of the first counted event of this type with the same recipient index
    replies: int = 0  # of a thread.replied: the counted ones of the grant's thread up to and including this one


# -- webhooks ----------------------------------------------------------------------------------------------------------

Format = Literal["nylas", "nylas-v2", "unosend"]
Registry = Literal["nylas", "unosend", "own"]
EndpointStatus = Literal["active", "failing", "failed", "pause", "gone"]
LIVE = ("active", "failing")  # the statuses of endpoints that are owed notifications, and sent them


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where notifications go. `endpoint_id` is derived from URL and format for one of [[webhooks]] (source
    "config"), random for one made by the API. `secret` is empty in the store for those of the configuration.

    `registry` is the API that it was made by, and shows it. With a `grant_id` it gets what belongs to that grant only.
    `compressed`: its bodies are gzip. `notify` are the mail addresses that hear when it fails. `previous_secret` signs
    beside the new one for a while since `rotated_at`. Notifications of hits wait `settle` seconds. One of the configuration
    was created when a service first saw it there."""

    endpoint_id: str
    url: str
    triggers: tuple[str, ...]
    secret: str = field(default="", repr=False)
    verdicts: tuple[str, ...] = ()
    format: Format = "nylas"
    source: Literal["config", "api"] = "config"
    status: EndpointStatus = "active"
    registry: Registry = "own"
    grant_id: str = ""
    description: str = ""
    notify: tuple[str, ...] = ()
    compressed: bool = False
    created_at: float = 0.0
    updated_at: float = 0.0
    status_updated_at: float = 0.0
    previous_secret: str = field(default="", repr=False)
    rotated_at: float = 0.0
    settle: float = 0.0

    @property
    def live(self) -> bool:
        return self.status in LIVE


class Notice(Value, frozen=True):
    """That an endpoint is failing or has failed, to be told by mail to those `to`: as it was at that moment. `since` is
    when its attempts began to fail. `entry` names what is held for it in the spool once it was handed over; "" before."""

    notice_id: str
    endpoint_id: str
    status: EndpointStatus
    at: float
    since: float
    error: str
    to: tuple[str, ...]
    url: str
    description: str = ""
    registry: Registry = "own"
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification that is due at one endpoint. `attempt` counts from 1 and was counted before it was made.
    `trigger` is the notification's type: one event can be two notifications ("message.opened" and its legacy)."""

    delivery_id: int
    event_id: str
    endpoint_id: str
    attempt: int
    first_at: float
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """How an attempt ended: delivered, again at `next_at`, or dead."""

    state: Literal["delivered", "retry", "dead"]
    at: float
    next_at: float = 0.0
    status: int = 0  # the HTTP status, 0 for none
    error: str = ""
    milliseconds: int = 0  # until the answer, or until there was none
