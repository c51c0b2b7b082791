"""Every option of relay.toml, once: its key, its kind, what it is for. Defaults are those of `settings`.

Owns: the vocabulary of the file, and the words that relay.toml and docs/config.md explain it with.
Leaves to others: reading (`loading`), and what is wrong only in combination (`contradictions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from relay.config import kinds, locators, settings
from relay.config.kinds import Kind
from relay.core import model


@dataclass(frozen=True)
class Option:
    """One key. `field` is the setting's where it has another name. `example` stands in relay.toml where there is no
    default to show; `default` replaces the one of the dataclass in the documents, in words."""

    key: str
    kind: Kind
    help: str
    field: str = ""
    example: Any = None
    default: str = ""
    required: bool = False
    secret: bool = False

    @property
    def attribute(self) -> str:
        return self.field or self.key


@dataclass(frozen=True)
class Section:
    """A table of the file, or with `many` an array of tables. `key` is "" for the top of the file."""

    key: str
    values: type[Any]
    help: str
    options: tuple[Option, ...]
    many: bool = False

    def option(self, key: str) -> Option | None:
        return next((o for o in self.options if o.key == key), None)

    def default(self, option: Option) -> Any:
        """The setting's default value, MISSING where there is none."""
        for f in fields(self.values):
            if f.name == option.attribute:
                return f.default_factory() if f.default_factory is not MISSING else f.default
        raise KeyError(option.attribute)


def _switch(key: str, help: str) -> Option:
    return Option(key, kinds.FLAG, help)


SECRET = Kind("a secret", kinds.TEXT.read)

OAUTH2 = Section(
    "oauth2",
    settings.OAuth2,
    "A login by OAuth2 (XOAUTH2, OAUTHBEARER) in place of a password: an inline table.",
    (
        Option("token_url", locators.TOKEN_URL,
               "Where a refresh token is turned into an access token.",
               example="https://login.example.com/token", required=True),
        Option("client_id", kinds.TEXT, "The identifier of the application that you registered there.",
               example="1234.apps.example.com", required=True),
        Option("client_secret", SECRET, "Its secret, where it has one.", secret=True, example="secrets/client"),
        Option("refresh_token", SECRET, "The token of the account whose mail it is.", secret=True, required=True,
               example="secrets/refresh"),
        Option("scope", kinds.TEXT, "The scope to ask for, where the provider wants one."),
    ),
)  # fmt: skip
LOGIN = Kind("an inline table: token_url, client_id, client_secret_file, refresh_token_file, scope", lambda v, u: v)

TOP = Section(
    "",
    settings.Settings,
    "",
    (
        Option("application_id", locators.IDENTIFIER,
               "Echoed in every notification as application_id and sender_app_id. Change it where one consumer hears "
               "from several installations."),
        Option("state_dir", locators.FOLDER,
               "Keys, the SQLite file, the spool and the journal. Relative to this file. Under systemd leave it out and "
               "$STATE_DIRECTORY is taken; name the same folder here where you run commands by hand. Losing the token "
               "keys in it kills every link that was ever sent: back it up."),
    ),
)  # fmt: skip

SMTP = Section(
    "smtp",
    settings.Smtp,
    "Where programs and mail clients hand in their mail.",
    (
        Option("listen", kinds.listing(locators.ADDRESS),
               "STARTTLS is offered here when a certificate is set. Beyond loopback it needs logins (auth) or networks "
               "(allow): without either it refuses to start, since it would be an open relay."),
        Option("listen_tls", kinds.listing(locators.ADDRESS),
               'The same with TLS from the first byte, as mail clients like it: ["0.0.0.0:465"].'),
        Option("hostname", locators.HOSTNAME,
               "The name in greetings, Received and EHLO, and of Message-IDs that we add. Upstreams may check that it "
               "resolves.",
               default="the machine's name", example="relay.example.com"),
        Option("certificate", locators.PRESENT, "PEM: the certificate and its chain. Read again on SIGHUP.",
               example="secrets/cert.pem", default="none"),
        Option("key", locators.PRESENT, "PEM: the certificate's private key.", example="secrets/key.pem", default="none"),
        Option("auth", kinds.choice("none", "users", "upstream"),
               "users: logins made by `trackrelay user add`. upstream: the client's own login is tried at the upstream "
               "and its mail goes out over that session, so that people keep the password they have; since passwords are "
               'not kept, on_defer is "pass" for it.'),
        _switch("clear_logins", "Take logins without TLS too, from this machine only. false where a proxy on this machine lets "
                                "others in: then they all come from loopback, and allow should not name it either."),
        Option("allow", kinds.listing(locators.NETWORK),
               "Who may submit without a login. Add the network of your application servers."),
        Option("max_message_size", kinds.size(1000),
               "Announced as SIZE; larger mail is refused with 552. Not above what the upstream takes."),
        Option("messages_per_minute", kinds.number(0),
               "How many messages each login, or each address without one, may begin within a minute; more is put off "
               "with 450. A login that was stolen does less harm then. 0 is no limit."),
    ),
)  # fmt: skip

UPSTREAM = Section(
    "upstream",
    settings.Upstream,
    "The server that delivers the mail: your provider's, or a mail server of your own. docs/upstreams.md has recipes.",
    (
        Option("url", locators.UPSTREAM_URL,
               "smtp (587 with STARTTLS, 25 without a login), smtps (465, TLS from the first byte) or lmtp. The login "
               "stands before the @; write an @ within it as %40. Without this `trackrelay run` refuses to start.",
               example="smtp://user@smtp.example.com:587", default="none"),
        Option("password", SECRET, "The login's password.", secret=True, example="secrets/upstream"),
        Option("oauth2", LOGIN, "In place of a password: Gmail, Microsoft 365.", field="oauth2", default="none"),
        Option("tls", kinds.choice("required", "opportunistic", "never"),
               "required: TLS with a verified certificate, or the mail waits. opportunistic: TLS where it is offered, "
               "unverified; only without a login. never: only for a server on this machine or a network that you trust.",
               default='"required"; "never" where the upstream is on loopback'),
        Option("on_defer", kinds.choice("spool", "pass"),
               "What happens to mail that the upstream can't take now. spool: it is kept on disk and tried again, and "
               "the client gets 250. pass: the client gets the upstream's 4xx and tries again itself."),
        Option("queue_lifetime", kinds.duration(60), "How long the spool tries before the sender gets a bounce."),
        Option("patience", kinds.duration(0.1),
               "How long a client waits for a slow upstream before the spool takes over. Below the time after which "
               "your clients give up: some do so after 5 s."),
        Option("bounce_from", locators.MAIL_ADDRESS,
               "The sender of bounces where the upstream refuses the null reverse-path, as Gmail, Microsoft 365 and "
               "most providers do.", example="bounces@example.com", default="none: the null reverse-path"),
        Option("fallback", kinds.listing(locators.IDENTIFIER),
               "Those of [[upstreams]], by id, that are tried in this order when this one can't be reached: it does not "
               "answer, or its TLS or login fails. Never once a message was handed over, nor where a server said no to it. "
               '"default" is [upstream].'),
    ),
)  # fmt: skip


def _again(key: str) -> Option:
    """An option of [upstream] that each of [[upstreams]] has too."""
    option = next(o for o in UPSTREAM.options if o.key == key)
    inherits = key in ("on_defer", "queue_lifetime", "patience", "bounce_from")
    return replace(option, help="As in [upstream].", default="as in [upstream]" if inherits else option.default)


UPSTREAMS = Section(
    "upstreams",
    settings.NamedUpstream,
    "Further upstreams: for the mail of some senders, or as a fallback. The first whose pattern matches the From address "
    "is taken, else [upstream].",
    (
        Option("id", locators.IDENTIFIER,
               "Its name, for fallback lists. What waits in the spool goes to the upstream of that name; where there is "
               "none any more, to [upstream].", example="sales", required=True),
        Option("from", kinds.listing(locators.GLOB),
               "Patterns for the address in From. Without any it is a fallback only.", field="senders",
               example=["*@sales.example.com"], default="[]"),
        replace(_again("url"), required=True, default=""),
        *map(_again, ("password", "oauth2", "tls", "fallback", "bounce_from", "on_defer", "queue_lifetime", "patience")),
    ),
    many=True,
)  # fmt: skip

TRACKING = Section(
    "tracking",
    model.Tracking,
    "What is tracked when neither a header nor a rule says otherwise, and how.",
    (
        Option("url", locators.PUBLIC_URL,
               "The address of the tracking server (see [http]) as recipients reach it: it stands in every link and "
               "pixel, for years. A host name of its own, below your domain, with TLS.",
               example="https://t.example.com",
               default="none; the address of [http] where the upstream and [http] are on loopback"),
        _switch("opens", "Place a pixel in HTML mail."),
        _switch("links", "Lead links in HTML mail through the tracking server."),
        _switch("thread_replies", "Tell when somebody answers. Needs a mailbox in [[grants]]."),
        Option("label", kinds.line_of_text(2048), "Echoed in every notification where the message names none."),
        _switch("per_recipient",
                "Each recipient gets a copy with tokens of its own, so that you know who it was. Gmail and Microsoft 365 "
                "count each copy and may file each under Sent: switch it off there."),
        Option("per_recipient_max", kinds.number(1, 1000),
               "With more recipients than this, all share the message's tokens."),
        Option("references", kinds.choice("auto", "always", "never"),
               "An entry of ours in References, by which an answer is known even where the upstream rewrites Message-ID. "
               "auto: for upstreams that are known to (Amazon SES, Outlook.com). Only with thread_replies."),
        Option("pixel_min_text", kinds.number(0),
               "Leave the pixel out of HTML with fewer octets of text than this: spam filters dislike a picture with "
               "little text."),
        Option("domains", kinds.listing(locators.TRACKING_HOST),
               "Further addresses of the tracking server, which a message may choose by X-Track-Domain."),
        Option("max_links", kinds.number(0, 10_000), "Links beyond the first so many are left as they are."),
        Option("schemes", kinds.listing(kinds.choice("http", "https", "mailto", "tel")),
               "Which links are tracked. mailto and tel work, through a redirect that some programs refuse."),
        _switch("text_links", "Track URLs in plain text too. They become long and ugly, which everybody sees."),
        Option("pixel", kinds.choice("bottom", "top"),
               "bottom: before </body>. top: after <body>, where a clipped message still has it; HTML beyond 102 kB "
               "(where Gmail clips) gets it there anyway."),
        _switch("skip_visible_urls",
                "Leave links whose visible text is a URL: text and target that differ look like phishing."),
        Option("skip_hosts", kinds.listing(locators.HOSTNAME),
               "Hosts whose links are left alone: those that open an app (universal links) break behind a redirect."),
        Option("credential_params", kinds.listing(locators.PARAMETER),
               "A URL with one of these in its query or fragment is left alone, since it lets in whoever has it. Keep "
               "the defaults when you add yours."),
        Option("append", kinds.TEXTS, 'Query parameters added to every tracked link: { utm_source = "mail" }.'),
        Option("dialects", kinds.listing(locators.DIALECT),
               "Vendors whose headers are understood and taken out. Leave out the vendor that is your upstream: it wants "
               "to see its own. docs/migrating.md says what maps to what."),
        Option("on_invalid", kinds.choice("deliver", "reject"),
               "What a control header that can't be read does. deliver: the mail goes out untracked, the reason is "
               "recorded. reject: 550 and a sentence, which a developer notices."),
        Option("suppress", kinds.choice("off", "untrack", "reject"),
               "What a recipient gets who refused tracking or whose address bounces: a copy like all others, an "
               "untracked one, or none (550)."),
    ),
)  # fmt: skip

# What a rule can't change: it is needed before a rule can be chosen, or belongs to the whole installation.
NOT_IN_RULES = ("url", "domains", "dialects", "on_invalid")

RULES = Section(
    "rules",
    model.Rule,
    "Other defaults for some mail; the first rule that matches wins. Every key of [tracking] may stand in a rule, other "
    "than " + ", ".join(NOT_IN_RULES) + ".",
    (
        Option("from", locators.GLOB, "A pattern for the address in From.", field="sender", example="*@sales.example.com",
               default='"*"'),
        Option("to", locators.GLOB, "A pattern for the envelope recipient of the copy.", field="recipient", example="*",
               default='"*"'),
    ),
    many=True,
)  # fmt: skip

DKIM = Section(
    "dkim",
    settings.Dkim,
    "Sign what leaves: one per domain, the From address chooses. Needed where the upstream does not sign, since a "
    "changed message breaks the signature that it came with. `trackrelay dkim create DOMAIN SELECTOR` makes a key.",
    (
        Option("domain", locators.HOSTNAME, "The domain that signs (d=).", example="example.com", required=True),
        Option("selector", locators.SELECTOR, "The record is at SELECTOR._domainkey.DOMAIN.", example="t1", required=True),
        Option("key", locators.PRESENT, "PEM: an RSA or Ed25519 private key.", example="secrets/dkim.pem", required=True),
    ),
    many=True,
)  # fmt: skip

HTTP = Section(
    "http",
    settings.Http,
    "The tracking server: pixels, links and the page that tells recipients about them. The only part that the world "
    "must reach.",
    (
        Option("listen", locators.ADDRESS, "Behind a proxy that does TLS, or with a certificate of its own."),
        Option("certificate", locators.PRESENT, "PEM: the certificate and its chain, where no proxy does TLS. Read again on SIGHUP.",
               example="secrets/cert.pem", default="none"),
        Option("key", locators.PRESENT, "PEM: the certificate's private key.", example="secrets/key.pem", default="none"),
        Option("trusted_proxies", kinds.listing(locators.NETWORK),
               "Proxies whose X-Forwarded-For is believed. Without your proxy here, every hit seems to come from it."),
    ),
)  # fmt: skip

ADMIN = Section(
    "admin",
    settings.Admin,
    "API, live page, /metrics, /healthz, /readyz. Not for the world: reach it through SSH or a VPN.",
    (
        Option("listen", locators.ADDRESS, "Where it listens."),
        _switch("open", "Ask for no key. Only on loopback, and only where everybody on the machine may see the mail's "
                        "subjects and recipients."),
    ),
)  # fmt: skip

MILTER = Section(
    "milter",
    settings.Milter,
    "For Postfix or Sendmail, in place of the SMTP hop.",
    (
        Option("listen", locators.MILTER, '"inet:127.0.0.1:8891" or "unix:/run/trackrelay/milter.sock"; empty is off.'),
    ),
)  # fmt: skip

STORE = Section(
    "store",
    settings.StoreSettings,
    "Where messages and events are kept.",
    (Option("url", locators.STORE_URL, "sqlite:FILE, relative to state_dir."),),
)

GRANTS = Section(
    "grants",
    settings.Grant,
    'Sender accounts. Without any, one grant "default" owns all mail; it is always there, last.',
    (
        Option("id", locators.IDENTIFIER, "Its name in notifications and in the API (grant_id).", example="sales",
               required=True),
        Option("email", locators.MAIL_ADDRESS, "The sender where the API names none.", example="sales@sales.example.com",
               default="none"),
        Option("addresses", kinds.listing(locators.GLOB),
               "Whose mail is this grant's: the first grant whose pattern matches the From address.",
               example=["*@sales.example.com"], default="[]"),
        Option("mailbox", locators.MAILBOX_URL,
               "Where answers and bounces arrive; it is read, never changed. Without one there are no replies.",
               example="imaps://sales@imap.example.com/INBOX", default="none"),
        Option("mailbox_password", SECRET, "The mailbox's password.", secret=True, example="secrets/sales"),
        Option("mailbox_oauth2", LOGIN, "In place of a password.", default="none"),
    ),
    many=True,
)  # fmt: skip

MAILBOX = Section(
    "mailbox",
    settings.Mailbox,
    "How the mailboxes of [[grants]] are read.",
    (
        Option("poll_interval", kinds.duration(1), "Between looks, where the server has no IDLE."),
        _switch("notify_self", "Tell also when the sender answers in the own thread."),
    ),
)

# What each format has a name for; `gaps` has those that are never sent.
TRIGGERS: Mapping[str, tuple[str, ...]] = {
    "nylas": (
        "message.opened", "message.link_clicked", "thread.replied", "message.bounce_detected", "message.send_success",
        "message.send_failed", "message.opened.legacy", "message.link_clicked.legacy", "thread.replied.legacy",
        "grant.expired", "grant.updated",
    ),
    "nylas-v2": ("message.opened", "message.link_clicked", "thread.replied"),
    "unosend": (
        "email.sent", "email.delivered", "email.opened", "email.clicked", "email.bounced", "email.complained",
        "email.failed",
    ),
}  # fmt: skip
VERDICTS = ("human", "proxy", "prefetch", "scanner", "crawler", "self", "unknown")

WEBHOOKS = Section(
    "webhooks",
    settings.Webhook,
    "Who is told, by signed POST. docs/webhooks.md has the shapes.",
    (
        Option("url", locators.web("https", "http", example="https://app.example.com/hooks"),
               "https; http only for what [webhook_delivery] allow_private names.",
               example="https://app.example.com/hooks", required=True),
        Option("triggers", kinds.listing(kinds.choice(*TRIGGERS["nylas"], *TRIGGERS["unosend"])),
               "What it is told: message.* , thread.* and grant.* in the formats of Nylas, email.* in that of Unosend.",
               example=["message.opened", "message.link_clicked", "thread.replied"], required=True),
        Option("secret", SECRET, "Signs every notification: whsec_ and base64, or any text.", secret=True,
               example="secrets/webhook", required=True),
        Option("verdicts", kinds.listing(kinds.choice(*VERDICTS)),
               "Only opens and clicks with these verdicts; empty is all. This version sends \"unknown\" only."),
        Option("format", kinds.choice("nylas", "nylas-v2", "unosend"),
               "nylas (v3), nylas-v2 (bare deltas, for code that never left v2) or unosend."),
    ),
    many=True,
)  # fmt: skip

WEBHOOK_DELIVERY = Section(
    "webhook_delivery",
    settings.WebhookDelivery,
    "How notifications leave.",
    (
        Option("allow_private", kinds.listing(locators.NETWORK_OR_HOST),
               'Networks or hosts that may be called although they are private, by http too: ["10.1.0.0/16", '
               '"hooks.internal"]. Without it no webhook can be aimed at your own network.'),
    ),
)  # fmt: skip

PRIVACY = Section(
    "privacy",
    settings.Privacy,
    "What is kept of recipients. docs/privacy.md says more.",
    (
        Option("ip", kinds.choice("full", "truncated", "none"),
               "Of addresses that opened or clicked. truncated: the first 24 bits of IPv4, 48 of IPv6."),
        Option("user_agent", kinds.choice("full", "family", "none"),
               'The browser\'s or mail program\'s name for itself; family keeps "Firefox" and drops the rest.'),
        Option("referer", kinds.choice("full", "origin", "none"), "The page that a click came from."),
        Option("retention_days", kinds.number(1, 36_500), "How long messages and events are meant to stay. Links go "
               "on working in any case."),
    ),
)  # fmt: skip

SECTIONS = (
    TOP, SMTP, UPSTREAM, UPSTREAMS, TRACKING, RULES, DKIM, HTTP, ADMIN, MILTER, STORE, GRANTS, MAILBOX, WEBHOOKS,
    WEBHOOK_DELIVERY, PRIVACY,
)  # fmt: skip
BY_KEY: Mapping[str, Section] = {section.key: section for section in SECTIONS}
