"""What the servers of known providers do that other servers don't.

Owns: which host is whose, and one answer for each question that is asked about it: which header fields are replaced, does
the 250 name the identifier, is each copy counted, may the null reverse-path be refused. A host that is not known does
nothing unusual. No answer decides whether mail goes out: they choose a default (`references = "auto"`), what a signature
covers and whether there is one, a warning of `trackrelay check`, and by which identifiers a reply is found.
Leaves to others: what follows from an answer (`outbound`, `outcomes`, `check`).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from relay.core import domains
from relay.core.model import Reply


@dataclass(frozen=True, slots=True)
class Provider:
    name: str
    hosts: re.Pattern[str]  # in their one spelling (`domains`)
    replaces: frozenset[str] = frozenset()  # names of header fields, in lower case, that leave there with other values
    counts_each_copy: bool = False
    takes_one_signature: bool = False
    refuses_null_reverse_path: bool = False  # or may do so: most say only that they must know every sender


def under(*domains: str) -> re.Pattern[str]:
    """These domains and all names below them."""
    return re.compile(rf"(?:[^.]+\.)*(?:{'|'.join(map(re.escape, domains))})")


AMAZON = Provider(
    "Amazon SES",
    # https://docs.aws.amazon.com/general/latest/gr/ses.html: email-smtp.REGION, email-smtp-fips.REGION; VPC endpoints
    # have names below the same. Other hosts of amazonaws.com are machines that somebody rents there.
    re.compile(r"(?:[^.]+\.)*email-smtp(?:-fips)?\.(?P<region>[a-z0-9-]+)(?:\.vpce)?\.amazonaws\.com(?:\.cn)?"),
    # SES overrides Message-ID and Date with its own, and says to sign neither:
    # https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-manual.html
    replaces=frozenset({"message-id", "date"}),
    # "554 Transaction failed: Duplicate header 'DKIM-Signature'.": https://github.com/axllent/mailpit/issues/642, and
    # https://docs.aws.amazon.com/ses/latest/dg/header-fields.html.
    takes_one_signature=True,
    # "501 Invalid MAIL FROM address provided": https://github.com/docker-mailserver/docker-mailserver/issues/2403
    refuses_null_reverse_path=True,
)
GOOGLE = Provider(
    "Gmail",
    under("gmail.com", "googlemail.com", "google.com"),
    # Limits are by message and by recipient: https://support.google.com/a/answer/166852. What is sent by SMTP is copied
    # to Sent Mail: https://support.google.com/mail/answer/78892
    counts_each_copy=True,
    # A sender that is not one of the account's is replaced (https://support.google.com/mail/answer/22370); what becomes
    # of an empty one is not written anywhere.
    refuses_null_reverse_path=True,
)
MICROSOFT = Provider(
    "Microsoft 365",
    under("office365.com", "outlook.com", "hotmail.com"),
    # https://github.com/marlam/msmtp/issues/190 (smtp.office365.com), https://github.com/chatmail/core/pull/2250
    # (Outlook.com); git send-email reads the new identifier from the 250 for the same reason.
    replaces=frozenset({"message-id"}),
    # Limits are by message and by recipient: https://learn.microsoft.com/office365/servicedescriptions/
    # exchange-online-service-description/exchange-online-limits. What is sent is saved under Sent:
    # https://github.com/nextcloud/documentation/pull/15015
    counts_each_copy=True,
    # "Client does not have permissions to send as this sender" (5.7.60): the sender must be the mailbox.
    refuses_null_reverse_path=True,
)
BREVO = Provider(
    "Brevo",
    under("brevo.com", "sendinblue.com"),
    # https://github.com/PHPMailer/PHPMailer/issues/2859
    replaces=frozenset({"message-id"}),
)
MAILERSEND = Provider(
    "MailerSend",
    under("mailersend.net"),
    # https://github.com/symfony/symfony/issues/60678
    replaces=frozenset({"message-id"}),
)
EMAILIT = Provider(
    "Emailit",
    under("emailit.com"),
    # https://emailit.com/docs/smtp/headers/
    replaces=frozenset({"message-id", "date", "subject", "feedback-id"}),
)
# They send only for senders that were verified; of an empty one none of them says anything.
POSTMARK = Provider(  # https://postmarkapp.com/developer/user-guide/managing-your-account/managing-sender-signatures
    "Postmark",
    under("postmarkapp.com"),
    # Unless the message says X-PM-KeepID: https://postmarkapp.com/developer/user-guide/send-email-with-smtp
    replaces=frozenset({"message-id"}),
    refuses_null_reverse_path=True,
)
SENDGRID = Provider(  # https://www.twilio.com/docs/sendgrid/for-developers/sending-email/sender-identity
    "SendGrid", under("sendgrid.net"), refuses_null_reverse_path=True
)
MAILGUN = Provider(  # https://documentation.mailgun.com/docs/mailgun/user-manual/domains/domains-verify
    "Mailgun", under("mailgun.org"), refuses_null_reverse_path=True
)
MANDRILL = Provider(  # https://mailchimp.com/developer/transactional/docs/authentication-delivery/
    "Mandrill", under("mandrillapp.com"), refuses_null_reverse_path=True
)
MAILJET = Provider(  # "is not an authorized sender email address for your account" (send-0008 of its API)
    "Mailjet", under("mailjet.com"), refuses_null_reverse_path=True
)
PROVIDERS = (AMAZON, GOOGLE, MICROSOFT, BREVO, MAILERSEND, EMAILIT, POSTMARK, SENDGRID, MAILGUN, MANDRILL, MAILJET)
REPLACED = frozenset[str]().union(*(provider.replaces for provider in PROVIDERS))  # by any of them

# The identifier in a 250. Amazon SES: "Ok 0102018f-…-000000", the left part of it only (the right part is its region:
# https://docs.aws.amazon.com/ses/latest/dg/header-fields.html). Exchange, in the cloud and on premises, in full:
# "2.6.0 <…> [InternalId=…] Queued mail for delivery", "2.0.0 OK <…> [Hostname=…]". What stands between angle brackets at
# other servers is as often an address (Dovecot: "2.0.0 <bob@example.org> … Saved").
OF_AMAZON = re.compile(r"Ok ([0-9a-f-]{20,100})", re.I)
OF_EXCHANGE = re.compile(r"<([^<>\s@]+@[^<>\s@]+)> \[(?:InternalId|Hostname)=", re.I)


@functools.lru_cache(maxsize=256)  # asked for each message, of the few hosts of the settings
def of(host: str) -> Provider | None:
    """Whose server this is, by its name in the settings; None where that is nobody known."""
    host = domains.spelt(host)
    return next((provider for provider in PROVIDERS if provider.hosts.fullmatch(host)), None)


def name(host: str) -> str:
    """The provider's name for a sentence; "" where it is not known."""
    provider = of(host)
    return provider.name if provider else ""


def replaces(host: str) -> frozenset[str]:
    """The names, in lower case, of the header fields that a message leaves there with other values: a signature that covers
    one of these breaks."""
    provider = of(host)
    return provider.replaces if provider else frozenset()


def replaces_message_id(host: str) -> bool:
    """Does the message leave there under another Message-ID, so that replies name one that we never saw?"""
    return "message-id" in replaces(host)


def takes_one_signature(host: str) -> bool:
    """Is a message with several DKIM-Signature fields refused there?"""
    provider = of(host)
    return provider is not None and provider.takes_one_signature


def counts_each_copy(host: str) -> bool:
    """Does each recipient's copy count as a message against a person's limit, and appear under Sent?"""
    provider = of(host)
    return provider is not None and provider.counts_each_copy


def refuses_null_reverse_path(host: str) -> bool:
    """Is MAIL FROM:<>, the sender of bounces (RFC 5321 4.5.5), refused there, or may it be?"""
    provider = of(host)
    return provider is not None and provider.refuses_null_reverse_path


def identifier(reply: Reply, host: str) -> str:
    """The Message-ID, without brackets, under which the upstream says in its 250 that the message goes on. Else ""."""
    found = OF_EXCHANGE.search(reply.text)
    if found:
        return found[1]
    if of(host) is AMAZON and (left := OF_AMAZON.search(reply.text)):
        where = AMAZON.hosts.fullmatch(domains.spelt(host))
        region = where["region"] if where else ""
        return f"{left[1]}@{'email' if region == 'us-east-1' else region}.amazonses.com"
    return ""
