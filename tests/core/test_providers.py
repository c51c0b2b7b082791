"""What is known of the providers' servers, as a table: one row per host and question."""

import pytest

from relay.core import providers
from relay.core.model import Reply

SES = "email-smtp.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "name", "replaces", "counts", "refuses"),
    [
        (SES, "Amazon SES", True, False, True),
        ("Email-SMTP-FIPS.us-east-1.AmazonAWS.com.", "Amazon SES", True, False, True),
        ("vpce-0a1b.email-smtp.us-east-1.vpce.amazonaws.com", "Amazon SES", True, False, True),
        ("ec2-192-0-2-1.compute-1.amazonaws.com", "", False, False, False),  # anybody's server
        ("smtp.gmail.com", "Gmail", False, True, True),
        ("smtp-relay.gmail.com", "Gmail", False, True, True),
        ("smtp.office365.com", "Microsoft 365", True, True, True),
        ("smtp-mail.outlook.com", "Microsoft 365", True, True, True),
        ("smtp.hotmail.com", "Microsoft 365", True, True, True),
        ("smtp-relay.brevo.com", "Brevo", True, False, False),
        ("smtp.mailersend.net", "MailerSend", True, False, False),
        ("smtp.emailit.com", "Emailit", True, False, False),
        ("smtp.postmarkapp.com", "Postmark", True, False, True),
        ("smtp.sendgrid.net", "SendGrid", False, False, True),
        ("smtp.eu.mailgun.org", "Mailgun", False, False, True),
        ("smtp.mandrillapp.com", "Mandrill", False, False, True),
        ("in-v3.mailjet.com", "Mailjet", False, False, True),
        ("mail.example.com", "", False, False, False),
        ("mail.notoutlook.com", "", False, False, False),  # a name that only ends alike
        ("outlook.com.example.net", "", False, False, False),
        ("127.0.0.1", "", False, False, False),
        ("", "", False, False, False),
    ],
)
def test_what_a_host_does(host: str, name: str, replaces: bool, counts: bool, refuses: bool) -> None:
    assert providers.name(host) == name
    assert providers.replaces_message_id(host) is replaces
    assert providers.counts_each_copy(host) is counts
    assert providers.refuses_null_reverse_path(host) is refuses


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        (SES, "date message-id"),
        ("smtp.office365.com", "message-id"),
        ("smtp-relay.brevo.com", "message-id"),
        ("smtp.mailersend.net", "message-id"),
        ("smtp.postmarkapp.com", "message-id"),
        ("smtp.emailit.com", "date feedback-id message-id subject"),
        ("smtp.gmail.com", ""),
        ("smtp.sendgrid.net", ""),
        ("smtp.mailgun.org", ""),
        ("mail.example.com", ""),
        ("", ""),
    ],
)
def test_which_fields_are_replaced(host: str, fields: str) -> None:
    assert sorted(providers.replaces(host)) == fields.split()


@pytest.mark.parametrize(
    ("host", "one"), [(SES, True), ("smtp.gmail.com", False), ("mail.example.com", False), ("", False)]
)
def test_who_takes_one_signature_only(host: str, one: bool) -> None:
    assert providers.takes_one_signature(host) is one


@pytest.mark.parametrize(
    ("text", "host", "found"),
    [
        ("Ok 0102018f-1a2b-3c4d-000000", SES, "0102018f-1a2b-3c4d-000000@eu-west-1.amazonses.com"),
        ("Ok 0102018f-1a2b-3c4d-000000", "EMAIL-SMTP.us-east-1.amazonaws.com", "0102018f-1a2b-3c4d-000000@email.amazonses.com"),
        ("Ok 0102018f-1a2b-3c4d-000000", "mail.example.com", ""),
        ("Ok", SES, ""),
        ("2.0.0 OK <AB1@PR.prod.outlook.com> [Hostname=x]", "smtp.office365.com", "AB1@PR.prod.outlook.com"),
        ("2.6.0 <AB1@mail.local> [InternalId=7, Hostname=x] Queued mail for delivery", "mail.example.com", "AB1@mail.local"),
        ("2.0.0 <bob@example.org> kPv1 Saved", "mail.example.com", ""),  # the recipient, as Dovecot's LMTP says
        ("2.1.5 <bob@example.org> [192.0.2.1] ok", "mail.example.com", ""),
        ("2.0.0 Ok: queued as 4F2AB", "mail.example.com", ""),
        ("", "", ""),
    ],
)  # fmt: skip
def test_the_identifier_that_a_250_names(text: str, host: str, found: str) -> None:
    assert providers.identifier(Reply(250, text), host) == found
