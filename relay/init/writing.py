"""The answers as relay.toml: what people set, each with a line that says what it is for.

Owns: which settings stand in a first file. Leaves to others: their meaning (`config.table`), how a value is written
(`config.reference`).
"""

from __future__ import annotations

from relay.config.reference import written
from relay.core import envelopes, providers
from relay.init import answers as reading
from relay.init import known
from relay.init.answers import Answers

SECRETS = "secrets"
UPSTREAM, WEBHOOK = f"{SECRETS}/upstream", f"{SECRETS}/webhook"
TRIGGERS = ("message.opened", "message.link_clicked", "thread.replied")


def dkim_key(domain: str, selector: str) -> str:
    return f"{SECRETS}/{domain}.{selector}.pem"


def toml(answers: Answers, state_dir: str) -> str:
    domain = reading.sending_domain(answers)
    parts = (
        _top(state_dir),
        _smtp(domain),
        _upstream(answers, domain),
        _tracking(answers),
        *(_rule(pattern) for pattern in answers.track if answers.track != reading.ALL),
        HTTP,
        _dkim(answers, domain),
        _grants(domain),
        _webhook(answers),
    )
    return "\n\n".join(part.strip("\n") + "\n" for part in parts)


def _top(state_dir: str) -> str:
    return f"""\
# The settings of trackrelay that most people need, written by `trackrelay init`. docs/config.md has all of them.
# `trackrelay check` tries what stands here. Relative paths are relative to this file; a change needs a restart.

# Keys, database, spool. Back it up: losing the token keys in it kills every link that was ever sent.
state_dir = {written(state_dir)}
"""


def _smtp(domain: str) -> str:
    return f"""\
# Where programs and mail clients hand in their mail. For other machines and mail clients it needs TLS and logins:
# docs/operations.md.
[smtp]
listen = ["127.0.0.1:2525"]

# This machine's name in greetings, Received and EHLO. Upstreams may check that it resolves.
#hostname = {written(f"relay.{domain}")}
"""


def _upstream(answers: Answers, domain: str) -> str:
    server = answers.server
    provider, theirs = providers.of(server.host), known.at(server.host)
    lines = ["# The server that delivers the mail. docs/upstreams.md says what is special about yours.", "[upstream]"]
    lines.append(f"url = {written(answers.upstream)}")
    if server.login:
        lines.append(f"password_file = {written(UPSTREAM)}")
        lines += [f"# {theirs.note}"] if theirs and theirs.note else []
    if provider and provider.refuses_null_reverse_path:
        own = provider.counts_each_copy and "@" in server.login and envelopes.fits(server.login)
        lines += [
            "",
            f"# The sender of bounces: {provider.name} may refuse the empty one. An address that it lets you send from.",
        ]
        lines.append(f"{'' if own else '#'}bounce_from = {written(server.login if own else f'bounces@{domain}')}")
    return "\n".join(lines)


def _tracking(answers: Answers) -> str:
    everybody = answers.track == reading.ALL
    provider = providers.of(answers.server.host)
    lines = [
        "# The address at which recipients reach the tracking server ([http]). It is in every link, for years.",
        "[tracking]",
        f"url = {written(answers.tracking)}",
        "",
        *_what(everybody, bool(answers.track)),
        f"opens = {written(everybody)}",
        f"links = {written(everybody)}",
        "",
        "# Notify of replies too. Needs a mailbox: see [[grants]].",
        "#thread_replies = true",
    ]  # fmt: skip
    if provider and provider.counts_each_copy:
        lines += ["", f"# {provider.name} counts each recipient's copy as a message, and may file each under Sent.",
                  "per_recipient = false"]  # fmt: skip
    return "\n".join(lines)


def _what(everybody: bool, some: bool) -> list[str]:
    if everybody:
        return [
            "# A pixel in HTML mail, and links by way of the tracking server. A message may ask for less, by X-Track."
        ]
    first = (
        "# A pixel in HTML mail, and links by way of the tracking server: only where a message asks for it by X-Track"
    )
    return [f"{first},", "# and for the senders of the [[rules]] below."] if some else [f"{first}."]


def _rule(pattern: str) -> str:
    return f"""\
[[rules]]
from = {written(pattern)}
opens = true
links = true
"""


HTTP = """\
# The tracking server, behind a proxy that does TLS; and the live page, the APIs and the metrics, for you alone.
[http]
listen = "127.0.0.1:8080"

[admin]
listen = "127.0.0.1:8081"
"""


def _dkim(answers: Answers, domain: str) -> str:
    if answers.dkim:
        domain, selector = answers.dkim
        return f"""\
# Signs mail From this domain.
[[dkim]]
domain = {written(domain)}
selector = {written(selector)}
key = {written(dkim_key(domain, selector))}
"""
    return f"""\
# Signs mail From this domain, if the upstream does not. `trackrelay dkim create {domain} t1` makes the key.
#[[dkim]]
#domain = {written(domain)}
#selector = "t1"
#key = {written(dkim_key(domain, "t1"))}
"""


def _grants(domain: str) -> str:
    return f"""\
# A mailbox in which replies and bounces arrive. It is read, and never changed.
#[[grants]]
#id = "sales"
#addresses = [{written(f"*@{domain}")}]
#mailbox = {written(f"imaps://sales@imap.{domain}/INBOX")}
#mailbox_password_file = "secrets/mailbox"
"""


def _webhook(answers: Answers) -> str:
    sign = "" if answers.webhook else "#"
    url = answers.webhook or "https://app.example.com/hooks"
    lines = [
        "# A program that is notified, by POST, signed with the secret in that file. docs/webhooks.md shows what it gets.",
        f"{sign}[[webhooks]]",
        f"{sign}url = {written(url)}",
        f"{sign}triggers = {written(TRIGGERS)}",
        f"{sign}secret_file = {written(WEBHOOK)}",
    ]
    if host := reading.private(answers.webhook) if answers.webhook else "":
        lines += ["", "# What may be called although it is private.", "[webhook_delivery]",
                  f"allow_private = {written([host])}"]  # fmt: skip
    return "\n".join(lines)
