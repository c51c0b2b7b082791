"""The kinds of values that name something: files, networks, hosts, mail addresses, URLs.

Owns: their forms. Leaves to others: whether what they name answers (`trackrelay check`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from relay import store
from relay.config import kinds
from relay.config.kinds import Kind, Use, Wrong, shown
from relay.core import addresses, domains, greetings, networks, urls
from relay.core.model import VENDORS


def beside(text: str, use: Use) -> Path:
    """A path of the file: relative to its folder; `~` is the home folder."""
    try:
        return (use.folder / Path(text).expanduser()).absolute()
    except RuntimeError:
        raise Wrong(f"{shown(text)} begins with ~, and that home folder is not known") from None


CREDENTIALS = "CREDENTIALS_DIRECTORY"


def private(text: str, use: Use) -> Path:
    """The path of a secret or a key: `beside`, or in the folder of the systemd unit's own credentials."""
    if text.startswith(f"${CREDENTIALS}/"):
        # systemd's LoadCredential: each unit has another folder.
        if CREDENTIALS not in use.environ:
            name = text.removeprefix(f"${CREDENTIALS}/")
            raise Wrong(
                f"${CREDENTIALS} is not set: that file is there only within the systemd unit; run this in a unit that has it: "
                "systemd-run --pipe --wait --uid=trackrelay "
                f"-p LoadCredential={name}:/etc/trackrelay/secrets/{name} trackrelay check"
            )
        text = use.environ[CREDENTIALS] + text.removeprefix(f"${CREDENTIALS}")
    return beside(text, use)


def outside(text: object, use: Use) -> bool:
    """Whether it names a credential of the unit, and this is not run by the unit."""
    return isinstance(text, str) and text.startswith(f"${CREDENTIALS}/") and CREDENTIALS not in use.environ


def absent(path: Path, use: Use) -> Wrong:
    """There is no such file, and what to do about it."""
    folder = use.environ.get(CREDENTIALS)
    if folder and path.is_relative_to(folder):
        return Wrong(f"there is no file {path}; the unit needs LoadCredential={path.name}:FILE (systemctl edit)")
    return Wrong(f"there is no file {path}; make it, or mend the path")


def _present(value: Any, use: Use) -> Path:
    text = kinds.text_of(value, use)
    if not text:
        raise Wrong("is empty; name a file, or leave the key out")
    path = private(text, use)
    try:
        with path.open("rb"):
            return path
    except FileNotFoundError:
        raise absent(path, use) from None
    except OSError as error:
        from relay import causes

        raise Wrong(f"{path} can't be read: {causes.of(error)}") from None


PRESENT = Kind("the path of a file that exists", _present, lambda path: "" if path is None else str(path))


def _folder(value: Any, use: Use) -> Path:
    text = kinds.text_of(value, use)
    if not text:
        raise Wrong("is empty; name a folder, or leave the key out")
    return beside(text, use)


FOLDER = Kind("the path of a folder", _folder, lambda path: f"./{path}")


def _as_text(value: Any) -> Any:
    """A port that was written as a number: as text, whose sentence says what is lacking."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _address(value: Any, use: Use) -> str:
    text = kinds.text_of(_as_text(value), use)
    try:
        host, port = networks.endpoint(text)
    except ValueError:
        if text.isdecimal():
            raise Wrong(
                f'{shown(text)} is a port alone; write "127.0.0.1:{text}" for this machine only, or "0.0.0.0:{text}"'
            ) from None
        beyond = "; ports end at 65535" if re.search(r":\d{5,}\Z", text) else ""
        raise Wrong(f'{shown(text)} is not HOST:PORT, such as "127.0.0.1:2525" or "[::1]:2525"{beyond}') from None
    if not host:
        raise Wrong(f'{shown(text)} names no host; for all addresses of this machine write "0.0.0.0{text}"')
    return networks.written(host, port)


ADDRESS = Kind("HOST:PORT, IPv6 in brackets", _address)


def _listener(value: Any, use: Use) -> str:
    text = kinds.text_of(_as_text(value), use)
    if not text.startswith("systemd:"):
        return _address(value, use)
    if not re.fullmatch(r"systemd:[!-9;-~]{1,255}", text):
        raise Wrong(f'{shown(text)} names no socket of systemd, such as "systemd:submission"')
    return text


LISTENER = Kind('HOST:PORT, IPv6 in brackets, or "systemd:NAME"', _listener)


def _milter(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    kind, colon, address = text.partition(":")
    if kind in ("inet", "inet6"):
        return kind + colon + str(_address(address, use))
    if text and not re.fullmatch(r"unix:/.+", text):
        raise Wrong(f'{shown(text)} is neither "inet:127.0.0.1:8891" nor "unix:/run/trackrelay/milter.sock"')
    return text


MILTER = Kind('"inet:HOST:PORT" or "unix:/PATH"; empty is off', _milter)


def _submitter(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if text == "authenticated" or re.fullmatch(r"daemon:\S+", text):
        return text
    try:
        return _network(text, use)
    except Wrong:
        if re.fullmatch(r"[\d.:a-fA-F]+/\d+", text):
            raise
    raise Wrong(f'{shown(text)} is neither "authenticated", a network such as "192.0.2.0/24", nor "daemon:NAME"')


SUBMITTER = Kind('"authenticated", a network or "daemon:NAME"', _submitter)


def _network(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            right = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise Wrong(f'{shown(text)} is not a network such as "192.0.2.0/24" or "2001:db8::/32"') from None
        raise Wrong(f'{shown(text)} has bits beyond its prefix; write "{right}"') from None
    return text


NETWORK = Kind("a network, ADDRESS/PREFIX", _network)


def _host(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    name = domains.spelt(text)
    if text and not networks.NAME.fullmatch(name):
        raise Wrong(f'{shown(text)} is not a host name such as "mail.example.com"')
    return name


HOSTNAME = Kind("a host name", _host)


def _own_name(value: Any, use: Use) -> str:
    """What servers take as the name of a mail server (RFC 5321 2.3.5, 4.1.3)."""
    text = kinds.text_of(value, use)
    if found := greetings.read_literal(text.strip()):
        return found
    address = networks.numeric(text.strip())
    if address is not None:
        raise Wrong(f'{shown(text)} is an address; for a name it stands in brackets: "{greetings.literal(address)}"')
    name = _host(value, use)
    if not name or greetings.is_full(name):
        return name
    if "." not in name:
        raise Wrong(f'{shown(text)} is no full name, which upstreams refuse; write all of it, such as "{name}.example.com", '
                    'or an address literal such as "[192.0.2.1]"')  # fmt: skip
    if "_" in name:
        raise Wrong(
            f"{shown(text)} has an underscore, which no mail server's name has (RFC 5321 2.3.5); a hyphen may do"
        )
    raise Wrong(f'{shown(text)} is not a host name such as "mail.example.com"')


OWN_NAME = Kind("a host name in full, or an address literal", _own_name)


def _network_or_host(value: Any, use: Use) -> str:
    name = domains.spelt(kinds.text_of(value, use))
    if networks.NAME.fullmatch(name) and networks.numeric(name) is None and not re.fullmatch(r"[\d.]+", name):
        return name
    return str(_network(value, use))


NETWORK_OR_HOST = Kind("a network or a host name", _network_or_host)


def _mail_address(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if text and not re.fullmatch(r"[^\s<>@,;:]+@[^\s<>@,;:]+", text):
        raise Wrong(f'{shown(text)} is not an address such as "sales@example.com" (without a name or brackets)')
    local, at, domain = text.rpartition("@")
    return local + at + domains.spelt(domain)


MAIL_ADDRESS = Kind("a mail address", _mail_address)


def _glob(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if not text or re.search(r"[\s<>,]", text):
        raise Wrong(f'{shown(text)} is not a pattern such as "*@sales.example.com" (one address, * and ? allowed)')
    if "." in text and not {"@", *addresses.WILD} & {*text}:
        raise Wrong(f'{shown(text)} is a domain, and no address is like it; write "*@{text}"')
    try:
        return addresses.pattern(text)
    except ValueError as error:
        raise Wrong(f"{shown(text)}: {error}; write the domain as DNS has it (xn--...), or whole") from None


GLOB = Kind("a pattern for an address; * and ? stand for anything", _glob)


# -- URLs --------------------------------------------------------------------------------------------------------------


def safe(text: str) -> str:
    """A URL in a sentence, which may stand in a log: without a login, and without the values of a query."""
    return shown(urls.shown(text) if set(text) & set("@?#") else text)


def _parts(text: str, schemes: Sequence[str], example: str) -> Any:
    """urlsplit of a URL with one of the schemes and a good host and port, else Wrong."""
    try:
        parts = urlsplit(text)
        host, _ = domains.of_host(parts.hostname or ""), parts.port
    except ValueError as error:
        raise Wrong(f"{safe(text)} is not a URL ({error}); an example: {shown(example)}") from None
    if "://" not in text and not text.startswith("/") and text:
        raise Wrong(f"{safe(text)} has no scheme; write {shown(f'{schemes[0]}://{text}')}")
    if parts.scheme not in schemes:
        raise Wrong(f"{safe(text)} should begin with {' or '.join(s + '://' for s in schemes)}; an example: "
                    f"{shown(example)}")  # fmt: skip
    if not (":" in host or networks.NAME.fullmatch(host)):
        raise Wrong(f"{safe(text)} names no host that can be reached; an example: {shown(example)}")
    return parts


def _public(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if not text:
        return ""
    parts = _parts(text, ("https", "http"), "https://t.example.com")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise Wrong(f"{safe(text)} has a query or a fragment; end it after the host or its path")
    if parts.username is not None:
        raise Wrong(f"{safe(text)} has a login in it, which every recipient would see")
    if len(text) > 200:
        raise Wrong("has more than 200 characters, which leaves too little room for tokens in links")
    return domains.respelt(text).rstrip("/")


PUBLIC_URL = Kind("an http or https URL without a query", _public)


def _tracking_host(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if networks.NAME.fullmatch(name := domains.spelt(text)):
        return f"https://{name}"
    if not text:
        raise Wrong('is empty; name an address such as "https://t2.example.com"')
    return _public(text, use)


TRACKING_HOST = Kind("an http or https URL, or a host name (then https)", _tracking_host)


def web(*schemes: str, example: str, login: bool = False) -> Kind:
    """With `login`, there may be one in it."""

    def read(value: Any, use: Use) -> str:
        text = kinds.text_of(value, use)
        parts = _parts(text, schemes, example)
        if parts.username is not None and not login:
            raise Wrong(f"{safe(text)} has a login in it; it would be shown wherever the URL is")
        return text

    return Kind(f"an {' or '.join(schemes)} URL", read)


def _token_url(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    _parts(text, ("https", "http"), "https://login.example.com/token")
    if not networks.confidential(text):
        raise Wrong(f"{safe(text)} is http: the refresh token would cross the network in clear; use https")
    return domains.respelt(text)


TOKEN_URL = Kind("an https URL", _token_url)


def _upstream(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if not text:
        return ""
    parts = _parts(text, ("smtp", "smtps", "lmtp"), "smtp://user@smtp.example.com:587")
    if parts.password is not None:
        raise Wrong("a password does not belong in a URL; put it into upstream.password_file")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Wrong(f"{safe(text)} should end after the host and the port")
    return domains.respelt(text)


UPSTREAM_URL = Kind("smtp://, smtps:// or lmtp://[USER@]HOST[:PORT]", _upstream)


def _mailbox(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if text.startswith("maildir:"):
        folder = text.removeprefix("maildir:")
        if not folder:
            raise Wrong('names no folder; an example: "maildir:/home/sales/Maildir"')
        return f"maildir:{beside(folder, use)}"
    if not text:
        return ""
    parts = _parts(text, ("imaps", "imap"), "imaps://sales@imap.example.com/INBOX")
    if parts.password is not None:
        raise Wrong("a password does not belong in a URL; put it into mailbox_password_file")
    if not parts.username:
        raise Wrong(f'{safe(text)} names no login; an example: "imaps://sales@imap.example.com/INBOX"')
    return domains.respelt(text)


MAILBOX_URL = Kind("imaps://USER@HOST[:PORT]/FOLDER, imap://… or maildir:/PATH", _mailbox)


def _store(value: Any, use: Use) -> str:
    text = kinds.text_of(value, use)
    if wrong := store.misspelled(text):
        raise Wrong(wrong)
    return text


STORE_URL = Kind("sqlite:FILE or postgresql://USER@HOST/DATABASE", _store)

SCHEME = kinds.named("the scheme of a URL", r"[a-z][a-z0-9+.-]*", "https")
DIALECT = kinds.choice(*VENDORS)
FIELD_NAME = kinds.named("the name of a header field", r"[!-9;-~]{1,70}", "Message-ID")
# A key that is signed may hold dots and hyphens, in any case: RFC 6376 3.1.
_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
SELECTOR = kinds.named("a DKIM selector", rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", "t1")
CREDENTIAL = kinds.named(
    "the name of a parameter, or / and a word of a path; either with - before it, or -*",
    r"-\*|(?=.*[^\W_])-?/?[^\s&=#?;/*-][^\s&=#?;/*]*",
    "voucher",
)
IDENTIFIER = kinds.named("an identifier (letters, digits, . _ -)", r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", "sales")
