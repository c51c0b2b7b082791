"""Every option of relay.toml, declared once: its key, its kind, and what it is for. Defaults are those of `settings`.

Owns: the vocabulary of the file, and the texts that explain it in relay.toml and docs/config.md.
Leaves to others: reading the file (`loading`), and what is wrong only in combination (`contradictions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from relay import roles
from relay.config import kinds, locators, settings
from relay.config.kinds import Kind
from relay.core import model, workers


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
    roles: frozenset[str] = frozenset(roles.ALL)  # who needs it: a process with none of these never opens its file

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


# Who opens the files of secrets and private keys.
SENDERS = frozenset({"smtp", "queue"})
SIGNERS = SENDERS | {"milter", "admin"}
SUBMISSION, PUBLIC, READERS, NOTIFIERS = map(frozenset, (["smtp"], ["http"], ["mailbox"], ["webhooks"]))

SECRET = Kind("a secret", kinds.TEXT.read)

OAUTH2 = Section(
    "oauth2",
    settings.OAuth2,
    "An OAuth2 login (XOAUTH2, OAUTHBEARER) in place of a password: an inline table.",
    (
        Option("token_url", locators.TOKEN_URL,
               "Where a refresh token is exchanged for an access token.",
               example="https://login.example.com/token", required=True),
        Option("client_id", kinds.TEXT, "The identifier of the application that you registered there.",
               example="1234.apps.example.com", required=True),
        Option("client_secret", SECRET, "The application's secret, if it has one.", secret=True, example="secrets/client"),
        Option("refresh_token", SECRET, "The token of the account that the mail belongs to.", secret=True, required=True,
               example="secrets/refresh"),
        Option("scope", kinds.TEXT, "The scope to ask for, if the provider wants one."),
    ),
)  # fmt: skip
LOGIN = Kind("an inline table: token_url, client_id, client_secret_file, refresh_token_file, scope", lambda v, u: v)

TOP = Section(
    "",
    settings.Settings,
    "",
    (
        Option("application_id", locators.IDENTIFIER,
               "Stands in every notification, as application_id and sender_app_id. Change it where one program "
               "hears from several installations."),
        Option("state_dir", locators.FOLDER,
               "Keys, the SQLite file, the spool and the journal. Relative to this file. Under systemd the default "
               "is $STATE_DIRECTORY; if you also run commands by hand, name the same folder here. Back it up: "
               "losing the token keys in it kills every link that was ever sent."),
        Option("node", locators.IDENTIFIER,
               "What this machine is called where several share one store: in `trackrelay nodes`, the log and /readyz.",
               default="the machine's name", example="relay-1"),
    ),
)  # fmt: skip

SMTP = Section(
    "smtp",
    settings.Smtp,
    "Where programs and mail clients hand in their mail.",
    (
        Option("listen", kinds.listing(locators.LISTENER),
               "Offers STARTTLS once a certificate is set. Beyond loopback you must set logins (auth) or networks "
               "(allow): without either it would be an open relay, and refuses to start. A socket of this "
               'address that systemd passes is taken as it is; "systemd:NAME" takes those of that name.'),
        Option("listen_tls", kinds.listing(locators.LISTENER),
               'The same with TLS from the first byte, which mail clients prefer: ["0.0.0.0:465"].'),
        Option("hostname", locators.OWN_NAME,
               "The name in greetings, Received and EHLO, and in Message-IDs that we add: a full name of letters, digits "
               'and hyphens, or an address literal such as "[192.0.2.1]". Upstreams may check that it resolves. Where the '
               "machine's name is no full one, they hear the literal of its address.",
               default="the machine's name", example="relay.example.com"),
        Option("certificate", locators.PRESENT, "PEM: the certificate and its chain. Read again on SIGHUP.",
               example="secrets/cert.pem", default="none", roles=SUBMISSION),
        Option("key", locators.PRESENT, "PEM: the certificate's private key.", example="secrets/key.pem", default="none",
               roles=SUBMISSION),
        Option("auth", kinds.choice("none", "users", "upstream"),
               "users: logins made by `trackrelay user add`. upstream: a client's own login is tried at the "
               "upstream, and its mail goes out over that session, so people keep the password they have. Since "
               'passwords are not kept, on_defer is then always "pass".'),
        _switch("clear_logins",
                "Accept logins without TLS too, from this machine only. Set it to false if a proxy on this machine "
                "lets others in: they all come from loopback then, and allow should not name loopback either."),
        Option("allow", kinds.listing(locators.NETWORK),
               "Who may submit without a login. Add the network of your application servers."),
        Option("proxies", kinds.listing(locators.NETWORK),
               "Mail servers and proxies that may say whom they speak for. By XCLIENT that client is let in or not as if it "
               "had connected itself, and with LOGIN as if it had logged in; by XFORWARD it is only recorded, with the "
               "server's own queue identifier, and its messages per minute are counted. Everybody at these addresses can "
               "pass for anybody: name single machines, and let only the proxy reach the listener from there.",
               example=["192.0.2.7/32"]),
        Option("max_message_size", kinds.size(1000),
               "Announced as SIZE; larger mail is refused with 552. Keep it below what the upstream accepts."),
        Option("max_in_flight", kinds.size(1000),
               "How much mail is received or delivered at the same time, of all clients together; the rest is deferred "
               "with 452. It bounds memory, of which a message takes several times its size. There is always room "
               "for two messages of max_message_size."),
        Option("messages_per_minute", kinds.number(0),
               "How many messages each login, or each address without a login, may send per minute; the rest is "
               "deferred with 450. It limits the harm that a stolen login can do. 0 means no limit."),
        Option("failed_logins_per_hour", kinds.number(0),
               'With auth = "upstream": how many wrong logins of all clients together are passed on to the upstream. '
               "After that, only logins that were good since the start are let in; others hear 454 until the hour has "
               "made room. 0 means no limit."),
        Option("bare_newline", kinds.choice("normalize", "reject"),
               "What becomes of a message with lines that end in LF alone, as programs on Unix write them. normalize: each "
               "LF becomes CRLF, as if the program had sent that. reject: it is refused with 550. Either way only CRLF.CRLF "
               "ends a message, and a CR alone is refused."),
        Option("received", kinds.choice("full", "private", "none"),
               "The Received field on top of each copy. full: it names a client of allow, with its address. private: it "
               "does not; clients with a login always get this one. none: no field; loops are then recognised by the "
               "envelope identifier alone, which not every server passes on."),
        Option("workers", kinds.number_or("auto", 1, workers.MAX),
               "How many processes take mail; \"auto\" is one per processor that it may use. Each is replaced if it dies, and all of them "
               "together keep to the limits. More than one pay off with PostgreSQL as the store; on SQLite one writes at a "
               'time. With auth = "upstream" there is one: users\' passwords are in its memory only.'),
    ),
)  # fmt: skip

USERS = Section(
    "users",
    settings.User,
    "What a login may send as. Where there are several grants, [[upstreams]] with from, or DKIM keys, the From address "
    "chooses among them, and so every login needs senders: here, or by `trackrelay user add NAME --senders GLOB`. A login "
    'of the upstream (auth = "upstream") that has none may then send only as itself, which has to be an address. A '
    "client without a login is not bound; see allow.",
    (
        Option("name", kinds.TEXT, "The login.", example="jane", required=True),
        Option("senders", kinds.listing(locators.GLOB),
               "Patterns for the From field's addresses and the envelope's sender; other mail is refused with 553. "
               'What `trackrelay user` has set for the login comes first. ["*"] means any.',
               example=["*@sales.example.com"], required=True),
    ),
    many=True,
)  # fmt: skip

UPSTREAM = Section(
    "upstream",
    settings.Upstream,
    "The server that delivers the mail: your provider's, or a mail server of your own. docs/upstreams.md has recipes.",
    (
        Option("url", locators.UPSTREAM_URL,
               "smtp (587 with STARTTLS, 25 without a login), smtps (465, TLS from the first byte) or lmtp. The "
               "login comes before the @; write an @ in it as %40. Without a url, `trackrelay run` refuses to "
               "start.",
               example="smtp://user@smtp.example.com:587", default="none"),
        Option("password", SECRET, "The login's password.", secret=True, example="secrets/upstream",
               roles=SENDERS),
        Option("oauth2", LOGIN, "In place of a password, for Gmail and Microsoft 365.", field="oauth2", default="none",
               roles=SENDERS),
        Option("tls", kinds.choice("required", "opportunistic", "never"),
               "required: TLS with a verified certificate, or the mail waits. opportunistic: TLS if the server "
               "offers it, unverified; only without a login. never: only for a server on this machine or on a "
               "network that you trust.",
               default='"required"; "never" where the upstream is on loopback'),
        Option("on_defer", kinds.choice("spool", "pass"),
               "What happens to mail that the upstream can't take now. spool: it is kept on disk and retried, and "
               "the client gets 250. pass: the client gets the upstream's 4xx, and has to try again itself."),
        Option("queue_lifetime", kinds.duration(60),
               "How long the spool retries before the sender gets a bounce."),
        Option("patience", kinds.duration(0.1),
               "How long a client waits for a slow upstream before the spool takes over. Keep it below the timeout "
               "of your clients: some give up after 5 s."),
        Option("bounce_from", locators.MAIL_ADDRESS,
               "The sender of bounces, where the upstream refuses the null reverse-path, as Gmail, Microsoft 365 "
               "and most providers do.", example="bounces@example.com", default="none: the null reverse-path"),
        Option("fallback", kinds.listing(locators.IDENTIFIER),
               "The ids of [[upstreams]] to try, in this order, when this one can't be reached: it does not answer, "
               "or TLS or the login fails. A message that was already handed over, or that a server has refused, "
               'goes to no other. "default" is [upstream].'),
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
    "More upstreams: for the mail of some senders, or as a fallback. The first whose pattern matches the From "
    "address is taken; all other mail goes to [upstream].",
    (
        Option("id", locators.IDENTIFIER,
               "Its name in fallback lists. Mail in the spool goes to the upstream of that name, or to [upstream] "
               "once the name is gone.", example="sales", required=True),
        Option("from", kinds.listing(locators.GLOB),
               "Patterns for the From address. Without any, it is only a fallback.", field="senders",
               example=["*@sales.example.com"], default="[]"),
        replace(_again("url"), required=True, default=""),
        *map(_again, ("password", "oauth2", "tls", "fallback", "bounce_from", "on_defer", "queue_lifetime", "patience")),
    ),
    many=True,
)  # fmt: skip

TRACKING = Section(
    "tracking",
    model.Tracking,
    "What is tracked unless a header or a rule says otherwise, and how.",
    (
        Option("url", locators.PUBLIC_URL,
               "The address at which recipients reach the tracking server (see [http]). It is in every link and "
               "pixel, for years, so give it a host name of its own below your domain, with TLS.",
               example="https://t.example.com",
               default="none; the address of [http] where the upstream and [http] are on loopback"),
        _switch("opens", "Put a pixel into HTML mail."),
        _switch("links", "Route links in HTML mail through the tracking server."),
        _switch("thread_replies", "Notify of replies. Needs a mailbox in [[grants]]."),
        Option("label", kinds.line_of_text(2048),
               "Stands in every notification, unless the message names its own."),
        _switch("per_recipient",
                "Each recipient gets a copy with tokens of its own, so that you know who opened or clicked. Switch "
                "it off with Gmail and Microsoft 365, which count each copy and may file each one under Sent."),
        Option("per_recipient_max", kinds.number(1, 1000),
               "With more recipients than this, they all share one copy."),
        Option("references", kinds.choice("auto", "always", "never"),
               "Adds an entry of ours to References, so that replies are recognised even if the upstream replaces "
               "Message-ID. auto: only for upstreams that are known to do so (Amazon SES, Microsoft 365, Postmark, "
               "Outlook.com, Brevo), and for messages whose Message-ID names more than one: it has no domain, or is "
               "the sender's address. Has an effect only with thread_replies."),
        Option("pixel_min_text", kinds.number(0),
               "Leave the pixel out of HTML that has fewer octets of text than this: spam filters dislike a picture "
               "with little text."),
        Option("domains", kinds.listing(locators.TRACKING_HOST),
               "More addresses of the tracking server, which a message can choose by X-Track-Domain."),
        Option("max_links", kinds.number(0, 10_000),
               "How many links of a message are tracked; the rest is left as it is."),
        Option("schemes", kinds.listing(kinds.choice("http", "https", "mailto", "tel")),
               "Which links are tracked. mailto and tel work too, by a redirect that some programs refuse."),
        _switch("text_links",
                "Track URLs in plain text too. Everybody sees them there, and they become long and ugly."),
        Option("pixel", kinds.choice("bottom", "top"),
               "bottom: before </body>. top: after <body>, where a clipped message still has it. HTML of more than "
               "102 kB, which Gmail clips, gets it at the top anyway."),
        _switch("skip_visible_urls",
                "Leave links whose visible text is a URL: a text that differs from its target looks like phishing."),
        Option("skip_hosts", kinds.listing(locators.HOSTNAME),
               "Hosts whose links are left alone, such as those that open an app (universal links): they do not "
               "survive a redirect."),
        Option("credential_params", kinds.listing(locators.CREDENTIAL),
               "What else makes a URL one that lets in whoever has it, so that it is left alone, and what does not: "
               "changes to the tables in docs/credentials.md. voucher: a parameter whose name ends in this word. -auth: "
               "takes a name of the table away. /portal and -/verify: the same of words in a path. -*: takes all away."),
        Option("append", kinds.TEXTS, 'Query parameters added to every tracked link: { utm_source = "mail" }.'),
        Option("dialects", kinds.listing(locators.DIALECT),
               "Vendors whose tracking headers are understood, and removed. Leave out the vendor that is your "
               "upstream, which has to see its own headers. docs/migrating.md says what becomes of each."),
        Option("on_invalid", kinds.choice("deliver", "reject"),
               "What happens when a control header can't be read, or when nobody can say whose message it is (two From "
               "fields, or one without an address). deliver: the mail goes out untracked, and the "
               "reason is recorded. reject: it is refused with 550 and a sentence, which a developer will notice."),
        Option("suppress", kinds.choice("off", "untrack", "reject"),
               "What recipients get whose address bounced, who complained, or whom you put on the list (trackrelay "
               "suppress): a copy like everybody's, an untracked one, or none (550). Who refused to be tracked gets an "
               "untracked copy in any case. docs/consent.md says more."),
        _switch("canary",
                "A link that nobody sees, beside the pixel: who follows it is a program, and so is what else it did. Some spam "
                "filters count a hidden link against a message, so try it on mail of your own first. docs/verdicts.md says "
                "more."),
        _switch("about_link",
                "Below what is tracked, a link to the page that tells its recipient what is recorded, and where they may refuse."),
        Option("about_text", kinds.line_of_text(200), "What that link says; else it is in the message's language."),
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
        Option("from", locators.GLOB, "A pattern for the From address.", field="sender", example="*@sales.example.com",
               default='"*"'),
        Option("to", locators.GLOB, "A pattern for the copy's envelope recipient.", field="recipient", example="*",
               default='"*"'),
    ),
    many=True,
)  # fmt: skip

DKIM = Section(
    "dkim",
    settings.Dkim,
    "Signs what leaves: one entry per domain; the From address decides which. You need it where the upstream does "
    "not sign, because a changed message breaks the signature that it came with. `trackrelay dkim create DOMAIN "
    "SELECTOR` makes a key.",
    (
        Option("domain", locators.HOSTNAME, "The domain that signs (d=).", example="example.com", required=True),
        Option("selector", locators.SELECTOR, "The record is at SELECTOR._domainkey.DOMAIN.", example="t1", required=True),
        Option("key", locators.PRESENT, "PEM: an RSA or Ed25519 private key.", example="secrets/dkim.pem", required=True,
               roles=SIGNERS),
        Option("unsigned_headers", kinds.listing(locators.FIELD_NAME),
               "Header fields that it does not cover, because a server on the way replaces them. Those that an upstream or "
               "a fallback of it is known to replace (Amazon SES: Message-ID and Date) are left out by themselves; name "
               "more if a server behind the upstream does so.",
               example=["Message-ID", "Date"]),
    ),
    many=True,
)  # fmt: skip

HTTP = Section(
    "http",
    settings.Http,
    "The tracking server: pixels, links, and a page that tells recipients what they are for. It is the only part "
    "that the whole world must reach.",
    (
        Option("listen", kinds.several(locators.LISTENER, none=False),
               'Behind a proxy that does TLS, or with a certificate of its own. A list for several: '
               '["127.0.0.1:8080", "[::1]:8080"].'),
        Option("certificate", locators.PRESENT,
               "PEM: the certificate and its chain, if no proxy does TLS. Read again on SIGHUP.",
               example="secrets/cert.pem", default="none", roles=PUBLIC),
        Option("key", locators.PRESENT, "PEM: the certificate's private key.", example="secrets/key.pem", default="none",
               roles=PUBLIC),
        Option("trusted_proxies", kinds.listing(locators.NETWORK),
               "Proxies whose X-Forwarded-For is believed. If yours is missing here, every hit seems to come from "
               "it."),
        Option("abuse", locators.MAIL_ADDRESS,
               "Shown on the pages of the tracking host: where to report mail that abuses it.",
               example="abuse@example.com"),
        Option("hits_per_token", kinds.number(0),
               "How many requests for one pixel or link are kept within an hour, and so many at once. What goes beyond is "
               "answered as ever and only counted: it is no event and notifies nobody. For a copy that several recipients "
               "share, a twentieth more for each further one. Raise it where an address that you write to is a mailing "
               "list whose members click more. 0: no limit."),
        Option("hits_per_message", kinds.number(0),
               "The same for all pixels and links of a message together, as one recipient has them."),
        Option("workers", kinds.number_or("auto", 1, workers.MAX),
               'How many processes answer; "auto" is one per processor that it may use. See [smtp] workers.'),
    ),
)  # fmt: skip

ADMIN = Section(
    "admin",
    settings.Admin,
    "The live page, the APIs, /metrics, /healthz and /readyz. Keep it from the world: reach it through SSH or a VPN.",
    (
        Option("listen", locators.ADDRESS, "Where it listens."),
        _switch("open",
                "Ask for no key, and take any. Works on loopback only, and only makes sense where everybody on the machine may "
                "see subjects and recipients."),
        Option("calls_per_minute", kinds.number(0),
               "How many calls of the APIs each key may make per minute; the rest is answered by 429 with Retry-After. It "
               "stops a program that runs wild. 0 means no limit."),
        Option("keep_messages", kinds.duration(0),
               "For how long what was sent by API can be had back: text, attachments, the raw message, as they were "
               "before tracking. They are in the store, readable for whoever can read it. \"0s\" keeps nothing but the record."),
        Option("keep_messages_size", kinds.size(1),
               "How much of that is kept in all. Beyond it, the oldest go first."),
    ),
)  # fmt: skip

MILTER = Section(
    "milter",
    settings.Milter,
    "For Postfix and Sendmail, in place of the SMTP hop: they ask about each message, change it as they are told, and "
    "deliver it themselves.",
    (
        Option("listen", locators.MILTER,
               '"inet:127.0.0.1:8891" or "unix:/run/trackrelay/milter.sock"; empty means off. Nobody logs in there, so '
               "let nobody but the mail server reach it."),
        Option("mode", kinds.MODE, "The mode of the unix socket: who may read and write it may ask."),
        Option("group", kinds.TEXT,
               "The group of the unix socket, by its name; the process must be in it. Without one it is the process's own.",
               example="postfix"),
        Option("submitters", kinds.listing(locators.SUBMITTER),
               'Whose mail is outgoing: "authenticated" is who logged in at the mail server, a network is who connects to '
               'it from there, "daemon:NAME" is who comes by the service that has this {daemon_name} '
               "(milter_macro_daemon_name in Postfix). One of them is enough. All other mail is incoming: it is never "
               "touched, and its control headers stay."),
        Option("deadline", kinds.duration(0.1),
               "How long the mail server waits for the answer at most: then the message goes on untracked. Keep it well "
               "below the mail server's own patience, which is 5 minutes in Postfix and Sendmail."),
        Option("on_failure", kinds.choice("accept", "tempfail"),
               "What a message gets that can't be tracked because something fails here. accept: it goes on untracked. "
               "tempfail: its client hears 451 and tries again. What happens if the milter is not there at all is the "
               "mail server's own setting."),
    ),
)  # fmt: skip

STORE = Section(
    "store",
    settings.StoreSettings,
    "Where messages and events are kept.",
    (
        Option(
            "url",
            locators.STORE_URL,
            "sqlite:FILE, relative to state_dir; or a PostgreSQL database (15 or newer) that several machines share: "
            "postgresql://USER@HOST[:PORT][,HOST[:PORT]…]/DATABASE. docs/postgresql.md says what may follow it.",
        ),
        Option("password", SECRET, "The password of the PostgreSQL user.", secret=True, example="postgresql-password"),
    ),
)

GRANTS = Section(
    "grants",
    settings.Grant,
    "A grant is a sender account: some From addresses, and the mailbox in which their replies and bounces arrive. "
    'Notifications and API keys name it. Without any, one grant "default" owns all mail; it is always there, as the '
    "last.",
    (
        Option("id", locators.IDENTIFIER, "Its name in notifications (grant_id) and for API keys.", example="sales",
               required=True),
        Option("email", locators.MAIL_ADDRESS,
               "The account's own address: a reply that comes from it is the sender's own, and no reply.",
               example="sales@sales.example.com",
               default="none"),
        Option("addresses", kinds.listing(locators.GLOB),
               "Patterns for the From address. Mail belongs to the first grant that has a matching one.",
               example=["*@sales.example.com"], default="[]"),
        Option("mailbox", kinds.several(locators.MAILBOX_URL),
               "Where replies to this grant's mail and bounces of it arrive; those of other grants' mail are passed "
               "over. It is read, and never changed. Without a mailbox, replies can't be seen. Several folders are a "
               "list: answers may land in Junk.",
               example="imaps://sales@imap.example.com/INBOX", default="none"),
        Option("mailbox_password", SECRET, "The mailbox's password, for all its folders.", secret=True, example="secrets/sales",
               roles=READERS),
        Option("mailbox_oauth2", LOGIN, "In place of a password.", default="none", roles=READERS),
    ),
    many=True,
)  # fmt: skip

MAILBOX = Section(
    "mailbox",
    settings.Mailbox,
    "How the mailboxes of [[grants]] are read.",
    (
        Option("poll_interval", kinds.duration(1), "The time between two looks, if the server has no IDLE."),
        _switch("notify_self", "Notify also when the sender replies in their own thread."),
        _switch(
            "excerpt",
            "Keep of an answer that a person wrote the beginning of what is new in it, up to 1,000 characters, without what "
            "it quotes and its signature; notifications and the API have it.",
        ),
        Option(
            "max_connections",
            kinds.number(1, 10_000),
            "How many IMAP connections there are at the most. With more folders than that, those that come first keep "
            "theirs and hear of mail at once; the others are opened in turn, each poll_interval, by a tenth of the "
            "connections.",
        ),
        Option(
            "max_connections_per_account",
            kinds.number(1, 100),
            "The same for the folders of one login: providers allow an account some 5 to 15, of which its mail "
            "programs need theirs. The folders beyond are opened in turn, as all are for an hour after the server "
            "has said that there are too many.",
        ),
        Option(
            "authserv_id",
            kinds.named(
                "the name by which a server signs Authentication-Results", r"[^\s\"();=]{1,255}", "mx.example.com"
            ),
            "The name that the server which receives the mail of these mailboxes writes first into "
            "Authentication-Results (mx.google.com with Gmail). What it says there of DMARC, SPF and DKIM is then in "
            "the events of answers and reports. Name it only if that server removes such fields of its name from "
            "what it receives, as RFC 8601 demands.",
            example="mx.google.com",
            default="none",
        ),
    ),
)

# What each format has a name for; `gaps` has those that are never sent.
TRIGGERS: Mapping[str, tuple[str, ...]] = {
    "nylas": (
        "message.opened", "message.link_clicked", "thread.replied", "message.bounce_detected", "message.send_success",
        "message.send_failed", "message.opened.legacy", "message.link_clicked.legacy", "thread.replied.legacy",
        "grant.expired", "grant.updated", "message.verdict_changed",
    ),
    "nylas-v2": ("message.opened", "message.link_clicked", "thread.replied"),
    "unosend": (
        "email.sent", "email.delivered", "email.opened", "email.clicked", "email.bounced", "email.complained",
        "email.failed", "message.verdict_changed",
    ),
}  # fmt: skip
VERDICTS = ("human", "proxy", "prefetch", "scanner", "crawler", "self", "unknown")

WEBHOOKS = Section(
    "webhooks",
    settings.Webhook,
    "Programs that are notified, by signed POST. docs/webhooks.md shows what they get.",
    (
        Option("url", locators.web("https", "http", example="https://app.example.com/hooks", login=True),
               "https; http only for hosts named in [webhook_delivery] allow_private. It is called as it is written; a "
               "login in it (https://user:password@…) is sent as an Authorization header, and shown nowhere.",
               example="https://app.example.com/hooks", required=True),
        Option("triggers", kinds.listing(kinds.choice(*dict.fromkeys((*TRIGGERS["nylas"], *TRIGGERS["unosend"])))),
               "What it is notified of: message.*, thread.* and grant.* in Nylas' formats, email.* in Unosend's; "
               "message.verdict_changed in both.",
               example=["message.opened", "message.link_clicked", "thread.replied"], required=True),
        Option("secret", SECRET, "Signs every notification: whsec_ and base64, or any text.", secret=True,
               example="secrets/webhook", required=True, roles=NOTIFIERS),
        Option("verdicts", kinds.listing(kinds.choice(*VERDICTS)),
               'Only opens and clicks with these verdicts; empty means all. Those of the sender ("self") are never sent.'),
        Option("settle", kinds.duration(0),
               "How long an open or click waits to be told, so that it is told with the verdict that the hits after it leave."),
        Option("format", kinds.choice("nylas", "nylas-v2", "unosend"),
               "nylas (v3), nylas-v2 (bare deltas, for code that never left v2) or unosend."),
    ),
    many=True,
)  # fmt: skip

WEBHOOK_DELIVERY = Section(
    "webhook_delivery",
    settings.WebhookDelivery,
    "Where notifications may go.",
    (
        Option("allow_private", kinds.listing(locators.NETWORK_OR_HOST),
               'Networks or hosts that may be called although they are private, over http too: ["10.1.0.0/16", '
               '"hooks.internal"]. Without it, no webhook can reach into your own network.'),
    ),
)  # fmt: skip

PRIVACY = Section(
    "privacy",
    settings.Privacy,
    "What is kept about recipients. docs/privacy.md says more.",
    (
        Option("ip", kinds.choice("full", "truncated", "none"),
               "Addresses that opened or clicked. truncated: only the first 24 bits of IPv4, 48 of IPv6."),
        Option("user_agent", kinds.choice("full", "family", "none"),
               'What the browser or mail program calls itself. family: only "Firefox" or the like.'),
        Option("referer", kinds.choice("full", "origin", "none"),
               "The page that a click came from. origin: only its scheme and host."),
        Option("retention_days", kinds.number(1, 36_500),
               "How long messages and events are kept. Counters stay, and links keep working."),
        Option("ip_days", kinds.number(0, 36_500),
               "After so many days IP addresses and user agents are cut from what is kept. 0: they stay as long as all else."),
        Option("on_request", kinds.choice("queue", "erase"),
               "When a recipient asks, on the page about a message, to have deleted what is kept of them. queue: it is put on a list "
               "(trackrelay suppress requests), and you erase. erase: it is done within seconds, by the process that has the role queue."),
    ),
)  # fmt: skip

VERDICT = Section(
    "verdicts",
    settings.Verdicts,
    "How a person's open or click is told from a machine's. docs/verdicts.md says more.",
    (
        Option("networks", locators.PRESENT,
               "A table of networks from which machines look at mail, instead of relay/networks.txt: lines NETWORK KIND NAME. "
               "Read at the start.", example="networks.txt", default="the table that comes with us", roles=PUBLIC),
        _switch("reverse_dns",
                "Look up the name of the address that a hit came from, after it was answered, and correct the hit where that is "
                "a mail gateway's. Your name server hears the addresses of whoever opens your mail."),
    ),
)  # fmt: skip

SECTIONS = (
    TOP, SMTP, USERS, UPSTREAM, UPSTREAMS, TRACKING, RULES, DKIM, HTTP, ADMIN, MILTER, STORE, GRANTS, MAILBOX, WEBHOOKS,
    WEBHOOK_DELIVERY, PRIVACY, VERDICT,
)  # fmt: skip
BY_KEY: Mapping[str, Section] = {section.key: section for section in SECTIONS}
