"""The settings as the program uses them: frozen, with their defaults, in seconds and octets.

Owns: names, types, defaults. Leaves to others: how the file spells them (`table`), what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from relay.core.model import Format, Rule, Tracking


@dataclass(frozen=True, slots=True)
class Smtp:
    listen: tuple[str, ...] = ("127.0.0.1:2525",)  # host:port, [v6]:port
    listen_tls: tuple[str, ...] = ()
    hostname: str = ""  # "" is the machine's name
    certificate: Path | None = None
    key: Path | None = None
    auth: Literal["none", "users", "upstream"] = "none"
    clear_logins: bool = True  # from loopback, without TLS
    allow: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    proxies: tuple[str, ...] = ()  # networks, whose XCLIENT and XFORWARD are believed
    max_message_size: int = 50_000_000  # octets; the file says "50MB"
    max_in_flight: int = 1_000_000_000  # octets of messages being received or delivered, of all clients
    messages_per_minute: int = 0  # of each login, else of each address; 0 is no limit
    failed_logins_per_hour: int = 100  # passed on to the upstream, of all clients together; 0 is no limit
    bare_newline: Literal["normalize", "reject"] = "normalize"  # a line feed alone, within a message
    received: Literal["full", "private", "none"] = "full"  # the trace field; of a client with a login at most "private"
    workers: int | Literal["auto"] = 1  # processes that take mail


@dataclass(frozen=True, slots=True)
class User:
    """One of [[users]]: what a login may send as."""

    name: str
    senders: tuple[str, ...] = ()  # globs over the From field's addresses and the reverse-path


@dataclass(frozen=True, slots=True)
class OAuth2:
    token_url: str
    client_id: str
    scope: str = ""
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)


DEFAULT_UPSTREAM = "default"  # the name of [upstream] among [[upstreams]]


@dataclass(frozen=True, slots=True)
class Upstream:
    url: str = ""  # smtp, smtps or lmtp://[user@]host[:port]
    password: str = field(default="", repr=False)
    oauth2: OAuth2 | None = None
    tls: Literal["required", "opportunistic", "never"] = "required"  # resolved: never is the default on loopback
    on_defer: Literal["spool", "pass"] = "spool"
    queue_lifetime: float = 432_000.0  # seconds; the file says "5d"
    patience: float = 4.0  # seconds
    bounce_from: str = ""
    fallback: tuple[str, ...] = ()  # names of upstreams that are tried in order where this one can't be reached


@dataclass(frozen=True, slots=True)
class NamedUpstream(Upstream):
    """One of [[upstreams]]: for some senders, or only a fallback for others. If the file leaves out on_defer,
    queue_lifetime, patience or bounce_from, they are as in [upstream]."""

    id: str = ""
    senders: tuple[str, ...] = ()  # globs over the From header's address


@dataclass(frozen=True, slots=True)
class Dkim:
    domain: str
    selector: str
    key: Path
    unsigned_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Http:
    listen: tuple[str, ...] = ("127.0.0.1:8080",)
    certificate: Path | None = None
    key: Path | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1/32", "::1/128")
    abuse: str = ""
    hits_per_token: int = 200  # that are kept within an hour, of one pixel or link; 0 is no limit
    hits_per_message: int = 2000  # and of one recipient's copy
    workers: int | Literal["auto"] = 1  # processes


@dataclass(frozen=True, slots=True)
class Admin:
    listen: str = "127.0.0.1:8081"
    open: bool = False
    calls_per_minute: int = 6000  # of each API key; 0 is no limit
    keep_messages: float = 0.0  # seconds that what an API call sent can be had back for; 0 is not at all
    keep_messages_size: int = 500_000_000  # octets of these in all


@dataclass(frozen=True, slots=True)
class Milter:
    listen: str = ""  # inet:host:port, inet6:[v6]:port, unix:/path
    mode: int = 0o660  # of the unix socket
    group: str = ""  # of the unix socket; "" is the process's
    submitters: tuple[str, ...] = ("authenticated", "127.0.0.0/8", "::1/128")  # or networks, or "daemon:NAME"
    deadline: float = 10.0  # seconds
    on_failure: Literal["accept", "tempfail"] = "accept"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    url: str = "sqlite:trackrelay.db"  # relative to state_dir; or postgresql://…
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    id: str
    email: str = ""
    addresses: tuple[str, ...] = ()  # globs over the From header's address
    mailbox: tuple[str, ...] = ()  # imaps://user@host[:port]/FOLDER, imap://…, maildir:/path
    mailbox_password: str = field(default="", repr=False)
    mailbox_oauth2: OAuth2 | None = None


@dataclass(frozen=True, slots=True)
class Mailbox:
    poll_interval: float = 60.0  # seconds
    notify_self: bool = False
    excerpt: bool = False
    authserv_id: str = ""
    max_connections: int = 200
    max_connections_per_account: int = 4


@dataclass(frozen=True, slots=True)
class Webhook:
    url: str
    triggers: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    verdicts: tuple[str, ...] = ()
    format: Format = "nylas"
    settle: float = 0.0


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    allow_private: tuple[str, ...] = ()  # networks or host names


@dataclass(frozen=True, slots=True)
class Privacy:
    ip: Literal["full", "truncated", "none"] = "full"
    user_agent: Literal["full", "family", "none"] = "full"
    referer: Literal["full", "origin", "none"] = "full"
    retention_days: int = 365
    ip_days: int = 0
    on_request: Literal["queue", "erase"] = "queue"


@dataclass(frozen=True, slots=True)
class Verdicts:
    networks: Path | None = None  # None is the table that comes with us
    reverse_dns: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    application_id: str = "trackrelay"
    state_dir: Path = Path("./var")  # absolute once loaded
    node: str = ""  # "" is the machine's name
    smtp: Smtp = Smtp()
    users: tuple[User, ...] = ()
    upstream: Upstream = Upstream()
    upstreams: tuple[NamedUpstream, ...] = ()
    tracking: Tracking = field(default_factory=Tracking)
    rules: tuple[Rule, ...] = ()
    dkim: tuple[Dkim, ...] = ()
    http: Http = Http()
    admin: Admin = Admin()
    milter: Milter = Milter()
    store: StoreSettings = StoreSettings()
    grants: tuple[Grant, ...] = (Grant("default"),)  # "default" is always there, last
    mailbox: Mailbox = Mailbox()
    webhooks: tuple[Webhook, ...] = ()
    webhook_delivery: WebhookDelivery = WebhookDelivery()
    privacy: Privacy = Privacy()
    verdicts: Verdicts = Verdicts()
    file: Path | None = None  # where it was read from
    warnings: tuple[str, ...] = ()  # what is no mistake, but should be known: FILE:LINE: key: sentence
