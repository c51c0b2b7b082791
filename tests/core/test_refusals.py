"""A server that says "not now" has not refused anybody: its words as real servers write them (RFC 5530)."""

from __future__ import annotations

import pytest

from relay.core import refusals
from relay.core.model import Reply

REFUSED = [
    "[AUTHENTICATIONFAILED] Authentication failed.",  # Dovecot
    "[AUTHENTICATIONFAILED] Invalid credentials (Failure)",  # Gmail
    "[authenticationfailed] no",
    "[AUTHENTICATIONFAILED] LOGIN Invalid credentials",  # Yahoo
    "[AUTHENTICATIONFAILED] please try again later",  # the code decides
    "[AUTHORIZATIONFAILED] no such authorization-ID",
    "[EXPIRED] That password isn't valid any more",
    "[NONEXISTENT] no such user",
    "[NOPERM] not for you",
    "[ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)",
    "[ALERT] Invalid credentials (Failure)",
    "[WEBALERT https://accounts.google.com/signin/continue?x=y] Web login required.",
    "[ALERT] Please log in via your web browser: https://support.google.com/mail/accounts/answer/78754 (Failure)",
    "LOGIN failed.",  # Exchange
    "AUTHENTICATE failed.",  # Microsoft 365
    "Login failed.",  # Courier
    "Login failed: authentication failure",  # Cyrus
    "LOGIN Login error or password error",  # QQ
    "LOGIN Login error password error",  # NetEase
    "Invalid login or password",
    "Username and password not accepted.",
    "Incorrect username or password.",
    "bad username or password",
    "Authentication failed",
    "authentication error: wrong password",
    "password is expired",
    "Unknown user or wrong password",
    "user unknown",
    "Account is disabled",
    "LOGIN command error: BAD [b'Invalid credentials']",
]
NOT_NOW = [
    "[UNAVAILABLE] Temporary authentication failure.",  # Dovecot
    "[UNAVAILABLE] Authentication failed",
    "[UNAVAILABLE] LOGIN Server error - Please try again later",  # Yahoo
    "[INUSE] Mailbox in use",
    "[LIMIT] Login failed",
    "[SERVERBUG] Internal error occurred. Refer to server log for more information.",
    "[CONTACTADMIN] Login failed",
    "[ALERT] Too many simultaneous connections. (Failure)",  # Gmail
    "[ALERT] Account exceeded command or bandwidth limits. (Failure)",
    "Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",  # Dovecot
    "Login failed: temporary failure, try again later",
    "Temporary authentication failure",
    "Authentication failed: the back-end is not available",
    "User is authenticated but not connected.",  # Microsoft 365
    "LOGIN command error: BAD [b'User is authenticated but not connected.']",
    "Server Unavailable. 15",  # Exchange
    "Too many login attempts, login failed",
    "LOGIN failed. Connection timed out to the directory",
    "System busy",
    "SELECT Unsafe Login. Please contact kefu@188.com for help",  # NetEase, without ID
    "LOGIN command error: BAD [b'unknown command']",
    "Fatal error: Couldn't contact authentication daemon",
    "no",
    "",
]


@pytest.mark.parametrize("words", REFUSED)
def test_clear_words_refuse(words: str) -> None:
    assert refusals.login(words)


@pytest.mark.parametrize("words", NOT_NOW)
def test_all_others_mean_not_now(words: str) -> None:
    assert not refusals.login(words)


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        ("[NONEXISTENT] Mailbox doesn't exist: No such", True),
        ("[NONEXISTENT] Unknown Mailbox: x (Failure)", True),
        ("Mailbox does not exist", True),
        ("No such mailbox", True),
        ("x doesn't exist.", True),
        ("[NOPERM] Permission denied", True),
        ("[UNAVAILABLE] Mailbox does not exist right now", False),
        ("[INUSE] Mailbox is being used", False),
        ("Mailbox is locked, try again later", False),
        ("Unsafe Login. Please contact kefu@188.com for help", False),
        ("no", False),
    ],
)
def test_a_folder_that_is_not_there_is_said_clearly(words: str, gone: bool) -> None:
    assert refusals.folder(words) is gone


@pytest.mark.parametrize(
    ("words", "crowded"),
    [
        ("[LIMIT] no", True),
        ("[ALERT] Too many simultaneous connections. (Failure)", True),
        ("Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", True),
        ("LOGIN too many sessions", True),
        ("Session limit reached", True),
        ("[UNAVAILABLE] try again", False),
        ("Login failed.", False),
    ],
)
def test_too_many_connections_are_told_apart(words: str, crowded: bool) -> None:
    assert refusals.crowded(words) is crowded


@pytest.mark.parametrize(
    ("code", "words", "refused"),
    [
        (535, "5.7.8 Username and Password not accepted.", True),  # Gmail
        (534, "5.7.9 Application-specific password required.", True),
        (535, "5.7.139 Authentication unsuccessful, basic authentication is disabled.", True),  # Microsoft 365
        (535, "no", True),
        (550, "5.7.1 Invalid login or password", True),
        (535, "5.7.0 Temporary authentication failure", False),
        (535, "too many failed attempts, try again later", False),
        (454, "4.7.0 Temporary authentication failure", False),
        (421, "4.7.0 Too many login attempts", False),
        (503, "5.5.1 bad sequence of commands", False),
        (504, "5.5.4 mechanism unknown", False),
        (550, "5.7.1 Relaying denied", False),
    ],
)
def test_an_upstream_refuses_a_login_by_clear_words_too(code: int, words: str, refused: bool) -> None:
    assert refusals.smtp_login(code, words) is refused


@pytest.mark.parametrize(
    ("code", "words", "of_8bit", "of_this_server"),
    [
        (554, "5.6.1 Media not supported", True, False),
        (554, "5.6.1 Body type not supported by Remote Host", True, False),  # as Exchange says it
        (554, "5.6.3 Conversion required but not supported", True, True),
        (550, "5.6.3 8bit", True, True),
        (554, "5.6.2 Conversion required and prohibited", False, True),
        (553, "5.6.7 Non-ASCII addresses not permitted for that sender/recipient", False, True),
        (550, "5.6.7 SMTPUTF8 is required, but was not offered by host mx.example", False, True),
        (553, "5.6.9 UTF-8 header message cannot be transferred to one or more recipients", False, True),
        (552, "5.3.4 Message size exceeds fixed limit", False, True),
        (552, "5.3.4 Error: message file too big", False, True),
        (523, "5.3.4 too large", False, True),
        (552, "Message size exceeds fixed maximum message size", False, True),
        (552, "message too large", False, True),
        (552, "sorry, that message size exceeds my databytes limit (#5.3.4)", False, True),  # qmail
        (552, "5.2.3 Your message exceeded Google's message size limits.", False, True),
        (552, "5.2.2 Mailbox full", False, False),
        (552, "Mailbox size limit exceeded", False, False),
        (552, "Requested mail action aborted: exceeded storage allocation", False, False),
        (552, "5.2.3 Message too large for this mailbox's quota", False, False),
        (552, "5.7.0 This message was blocked because its content presents a potential security issue.", False, False),
        (550, "5.2.3 Message length exceeds administrative limit", False, False),  # of the recipient's
        (554, "5.6.0 message is malformed", False, False),
        (554, "5.6.4 conversion with loss", False, False),
        (554, "5.7.1 message too large a risk", False, False),
        (550, "5.1.1 unknown user", False, False),
        (554, "no", False, False),
    ],
)
def test_what_another_form_or_another_server_may_help_with(
    code: int, words: str, of_8bit: bool, of_this_server: bool
) -> None:
    assert refusals.of_8bit(Reply(code, words)) is of_8bit
    assert refusals.of_this_server(Reply(code, words)) is of_this_server
    assert not refusals.of_8bit(Reply(451, words.replace("5.", "4.", 1)))
    assert not refusals.of_this_server(Reply(451, words.replace("5.", "4.", 1)))


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (530, "5.7.0 Authentication required", "login"),
        (530, "5.7.0 Authentication Required. For more information, go to https://support.google.com/mail", "login"),
        (530, "5.7.57 Client not authenticated to send mail.", "login"),  # Microsoft 365
        (530, "no", "login"),
        (530, "5.7.0 Must issue a STARTTLS command first", "tls"),
        (530, "5.7.1 Encryption required", "tls"),
        (504, "5.5.2 <srv1>: Helo command rejected: need fully-qualified hostname", "name"),  # Postfix
        (501, "5.5.2 <my_host>: Helo command rejected: Invalid name", "name"),
        (450, "4.7.1 <srv1.example>: Helo command rejected: Host not found", "name"),
        (550, "5.7.1 <srv1.example>: Helo command rejected: Access denied", "name"),
        (550, "HELO argument does not match calling host", "name"),
        (554, "5.7.1 invalid EHLO hostname", "name"),
        (550, "5.7.23 SPF fail, see http://www.open-spf.org/Why?s=helo&id=srv1.example", "name"),
        (554, "5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied", "greeting"),
        (450, "4.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", "greeting"),
        (
            554,
            "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; see https://x.test",
            "greeting",
        ),
        (550, "5.7.60 SMTP; Client does not have permissions to send as this sender", None),
        (503, "5.5.1 Error: send HELO/EHLO first", None),
        (250, "2.0.0 helo", None),
        (550, "5.1.1 no such user helot", None),
        (535, "5.7.8 no", None),
        (550, "5.7.1 Relaying denied", None),
        (554, "5.7.1 Relay access denied", None),
        (550, "5.7.26 Unauthenticated email from example.org is not accepted due to its DMARC policy", None),
        (550, "5.7.1 relay not permitted, authentication required", None),  # of this recipient
        (451, "4.7.1 Greylisted", None),
    ],
)
def test_a_reply_to_a_message_that_is_about_us(code: int, words: str, kind: str | None) -> None:
    assert refusals.of_us(Reply(code, words)) == kind
