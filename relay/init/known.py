"""What providers want of a first configuration: their server's name, what the login and the password are, who signs.

Owns: the words by which a provider can be named, and docs/upstreams.md in as far as it can be asked for. Leaves to others: what
their servers do with a message (`core.providers`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relay.core import domains, providers


@dataclass(frozen=True, slots=True)
class Known:
    name: str
    words: tuple[str, ...]  # any of which names it
    hosts: re.Pattern[str]
    server: str  # HOST:PORT; "" where each region or customer has another
    pattern: str = ""  # what the server is called then
    login: str = ""  # where everybody has the same
    login_is: str = ""
    key_is: str = "the password"
    signs: bool = True  # with DKIM, for the customer's domain
    note: str = ""  # stands beside the login in relay.toml


def of_provider(provider: providers.Provider, words: tuple[str, ...], server: str, **others: str) -> Known:
    return Known(provider.name, words, provider.hosts, server, **others)  # type: ignore[arg-type]


KNOWN = (
    of_provider(
        providers.GOOGLE, ("gmail", "google", "workspace"), "smtp.gmail.com:587",
        login_is="your whole address", key_is="an app password, which needs 2-step verification",
        note="An app password. OAuth2 takes its place by a line that docs/upstreams.md has.",
    ),
    of_provider(
        providers.MICROSOFT, ("microsoft365", "microsoft", "office365", "outlook"), "smtp.office365.com:587",
        login_is="the mailbox's whole address",
        note="Microsoft retires passwords for SMTP: OAuth2 takes the place of password_file, by a line that docs/upstreams.md has.",
    ),
    of_provider(
        providers.AMAZON, ("ses", "amazon", "aws"), "", pattern="email-smtp.REGION.amazonaws.com, such as "
        "email-smtp.eu-west-1.amazonaws.com",
        login_is="the SMTP user name of the SES console", key_is="the SMTP password of the SES console, which is no access key",
    ),
    of_provider(providers.POSTMARK, ("postmark",), "smtp.postmarkapp.com:587",
                login_is="the server token", key_is="the same server token"),
    of_provider(providers.SENDGRID, ("sendgrid", "twilio"), "smtp.sendgrid.net:587", login="apikey",
                key_is="the API key"),
    of_provider(providers.MAILGUN, ("mailgun",), "smtp.mailgun.org:587",
                login_is="postmaster@ your domain there", key_is="the domain's SMTP password"),
    of_provider(providers.MAILJET, ("mailjet",), "in-v3.mailjet.com:587",
                login_is="the API key", key_is="the secret key"),
    of_provider(providers.BREVO, ("brevo", "sendinblue"), "smtp-relay.brevo.com:587",
                login_is="the SMTP login of its console", key_is="the SMTP key"),
    of_provider(providers.MANDRILL, ("mandrill", "mailchimp"), "smtp.mandrillapp.com:587",
                login_is="any user name of the account", key_is="an API key"),
    of_provider(providers.MAILERSEND, ("mailersend",), "smtp.mailersend.net:587", login_is="the SMTP user of the domain"),
    of_provider(providers.EMAILIT, ("emailit",), "smtp.emailit.com:587", login="emailit",
                key_is="the SMTP credential"),
    Known("SparkPost", ("sparkpost",), providers.under("sparkpostmail.com"), "smtp.sparkpostmail.com:587",
          login="SMTP_Injection", key_is="an API key"),
    Known("this machine's own mail server", ("local", "localhost", "postfix", "exim", "sendmail"),
          re.compile(r"localhost|127\.0\.0\.1|::1"), "127.0.0.1:25", signs=False),
)  # fmt: skip
WORDS = tuple(known.words[0] for known in KNOWN)


def named(word: str) -> Known | None:
    """By one of its words, in any case, with blanks and hyphens or without."""
    plain = re.sub(r"[\s_.-]", "", word).lower()
    return next((known for known in KNOWN if plain in known.words), None)


def at(host: str) -> Known | None:
    """Whose server this is."""
    host = domains.spelt(host)
    return next((known for known in KNOWN if known.hosts.fullmatch(host)), None)
