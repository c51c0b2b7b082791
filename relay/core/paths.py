"""The arguments of MAIL and RCPT: paths (RFC 5321 4.1.2) and their parameters.

Owns: what a path may look like, which parameters there are and what they may say. An address is kept exactly as it
was written: neither quotes nor case nor IDN labels are touched, since only its own host knows what they mean.
Leaves to others: who may use which address, and what the upstream can take.

Kinder than the grammar in three places, since real mail needs it: dots may stand anywhere in a local part
(addresses of Japanese carriers), a local part may pass 64 octets (VERP) and may stand without a domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from relay.core.model import Recipient, Reply

MAX_PATH = 512  # octets; RFC 5321 4.5.3.1.3 asks for 256

# Beyond ASCII (RFC 6531) a path may have all but C1 controls, spaces, line separators, the controls that turn text around,
# and surrogates.
NOT_BEYOND = r"\x80-\xa0\u1680\u2000-\u200a\u200e\u200f\u2028-\u202f\u205f\u2065-\u2069\u3000\ud800-\udfff\ufeff"
FORBIDDEN = re.compile(f"[{NOT_BEYOND}]")
# The sets of these say what of ASCII is not in them, and `FORBIDDEN` is asked afterwards: a set with a range beyond ASCII takes
# milliseconds to compile, and these stand in a path dozens of times.
ATEXT_OR_DOT = r"[^\x00- \"(),:;<>@\[\\\]\x7f]"
LOCAL = rf"(?:{ATEXT_OR_DOT}+|\"(?:[^\x00-\x1f\"\\\x7f]|\\[ -~])*\")"
LABEL_ENDS = r"[^\x00-/:-@\[-^`{-\x7f]"
LABEL = rf"{LABEL_ENDS}(?:[^\x00-,./:-@\[-^`{{-\x7f]*{LABEL_ENDS})?"
LITERAL = r"\[[A-Za-z0-9:.\-]+\]"
DOMAIN = rf"(?:{LABEL}(?:\.{LABEL})*|{LITERAL})"
ADDRESS = rf"{LOCAL}(?:@{DOMAIN})?"
ROUTE = rf"(?:@{DOMAIN}(?:,@{DOMAIN})*:)?"  # obsolete; RFC 5321 4.1.1.3 and appendix C: taken and dropped
PATH = rf"(?:<{ROUTE}(?P<path>{ADDRESS}|)>|(?P<bare>{ADDRESS}))(?:[ \t]+(?P<parameters>[^\x00-\x1f\x7f]*))?"
FROM = re.compile(r"(?i:FROM):[ \t]*" + PATH)
TO = re.compile(r"(?i:TO):[ \t]*" + PATH)

PARAMETER = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9\-]*)(?:=(?P<value>[^\x00- =\x7f]+))?")
# RFC 3461 section 4: xtext is printable ASCII but "+" and "=", which are written +HH.
XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
ENVELOPE_ID = re.compile(rf"{XTEXT}{{1,100}}")
ORIGINAL = re.compile(rf"[A-Za-z0-9\-]{{1,50}};(?:{XTEXT}|[^\x00-\x7f{NOT_BEYOND}]){{1,500}}")
NOTIFY = re.compile(r"(?i:NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*)")
RET = re.compile(r"(?i:FULL|HDRS)")
BODY = re.compile(r"(?i:7BIT|8BITMIME)")
SIZE = re.compile(r"[0-9]{1,20}")

NOT_ASCII = Reply(553, "5.6.7 An address beyond ASCII needs SMTPUTF8")


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM: `reverse_path` is "" for the null one, `size` what SIZE declared (0 where it did not), `options`
    the parameters to hand on, as `model.Submission` has them."""

    reverse_path: str
    size: int = 0
    options: tuple[str, ...] = ()


def mail(argument: str | None, *, extended: bool) -> Mail | Reply:
    """The argument of MAIL ("FROM:<…> …") or the refusal. `extended` where the client said EHLO."""
    found = matched(FROM, argument)
    if found is None:
        return Reply(501, "5.5.4 Syntax: MAIL FROM:<address>") if no_path(argument, "FROM:") else malformed("sender")
    path = found["path"] if found["bare"] is None else found["bare"]
    if not found["parameters"]:
        return Mail(path) if path.isascii() and len(path) <= MAX_PATH else too_wide(path)
    parameters = read(found["parameters"], MAIL_PARAMETERS, extended)
    if isinstance(parameters, Reply):
        return parameters
    if ("SMTPUTF8" not in parameters and not path.isascii()) or octets(path) > MAX_PATH:
        return too_wide(path)
    return Mail(path, int(parameters.get("SIZE", "0")), carried(parameters))


def rcpt(argument: str | None, *, extended: bool, utf8: bool) -> Recipient | Reply:
    """The argument of RCPT ("TO:<…> …") or the refusal. `utf8` where MAIL had SMTPUTF8."""
    found = matched(TO, argument)
    if found is None:
        return Reply(501, "5.5.4 Syntax: RCPT TO:<address>") if no_path(argument, "TO:") else malformed("recipient")
    path = found["path"] if found["bare"] is None else found["bare"]
    if not path:
        return Reply(501, "5.1.3 A recipient needs an address")
    if (not utf8 and not path.isascii()) or octets(path) > MAX_PATH:
        return too_wide(path)
    if not found["parameters"]:
        return Recipient(path)
    parameters = read(found["parameters"], RCPT_PARAMETERS, extended)
    if isinstance(parameters, Reply):
        return parameters
    original = parameters.get("ORCPT", "")
    if not original.isascii() and not utf8:
        return NOT_ASCII
    return Recipient(path, carried(parameters))


def matched(pattern: re.Pattern[str], argument: str | None) -> re.Match[str] | None:
    """`FROM` or `TO`, without what is forbidden in the path."""
    found = pattern.fullmatch(argument or "")
    if found is None or found.string.isascii():
        return found
    end = found.start("parameters")
    return None if FORBIDDEN.search(found.string, 0, end if end >= 0 else len(found.string)) else found


def octets(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def no_path(argument: str | None, keyword: str) -> bool:
    return not argument or not argument.upper().startswith(keyword) or not argument[len(keyword) :].strip()


def malformed(role: str) -> Reply:
    return Reply(553, "5.1.7 Malformed sender address") if role == "sender" else Reply(553, "5.1.3 Malformed address")


def too_wide(path: str) -> Reply:
    return Reply(501, "5.1.3 Address too long") if octets(path) > MAX_PATH else NOT_ASCII


# -- parameters: name -> does this value stand? -----------------------------------------------------------------------

Check = Callable[[str | None], object]


def flag(value: str | None) -> bool:
    return value is None


def form(pattern: re.Pattern[str]) -> Check:
    return lambda value: value is not None and pattern.fullmatch(value)


# AUTH= (RFC 4954 section 5) must be understood where AUTH is offered; no one is trusted with it, so it ends here.
MAIL_PARAMETERS: Mapping[str, Check] = {
    "SIZE": form(SIZE), "BODY": form(BODY), "SMTPUTF8": flag, "RET": form(RET), "ENVID": form(ENVELOPE_ID),
    "AUTH": lambda value: value is not None,
}  # fmt: skip
RCPT_PARAMETERS: Mapping[str, Check] = {"NOTIFY": form(NOTIFY), "ORCPT": form(ORIGINAL)}
ENDS_HERE = ("SIZE", "AUTH")
UPPER = ("BODY", "RET", "NOTIFY")


def read(text: str, known: Mapping[str, Check], extended: bool) -> dict[str, str] | Reply:
    parameters: dict[str, str] = {}
    for word in text.split():
        found = PARAMETER.fullmatch(word)
        name = found["name"].upper() if found else ""
        if not found or name in parameters:
            return Reply(501, "5.5.4 Malformed or repeated parameter")
        if not extended:
            return Reply(501, "5.5.4 Parameters need EHLO")
        check = known.get(name)
        if check is None:
            return Reply(555, f"5.5.4 Parameter {name[:40]} is not known here")
        value = found["value"]
        if not check(value):
            return Reply(501, f"5.5.4 Parameter {name} has a value that can't be read")
        parameters[name] = value.upper() if value and name in UPPER else value or ""
    return parameters


def carried(parameters: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name}={value}" if value else name
        for name, value in parameters.items()
        if name not in ENDS_HERE and value != "7BIT"
    )
