"""How one value of the file is read, and how a default is written back for the documents.

Owns: the kinds (text, duration, size, network, …) and the sentences of what would be right. A kind's `read` gets the
TOML value and where it is used, and returns the setting's value or raises `Wrong`. Leaves to others: keys, tables,
lines, secrets.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from relay.core.model import VENDORS

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
SECONDS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kMG]i?)?B?", re.IGNORECASE)
OCTETS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Wrong(ValueError):
    """A value that can't be used. `found` has one sentence per mistake, each with the path below the key."""

    def __init__(self, sentence: str = "", found: Sequence[tuple[tuple[str | int, ...], str]] = ()) -> None:
        self.found = tuple(found) or (((), sentence),)
        super().__init__("; ".join(words for _, words in self.found))


@dataclass(frozen=True)
class Use:
    """Where a value is used: the folder of the file, and the environment."""

    folder: Path = Path(".")
    environ: Mapping[str, str] = field(default_factory=dict)


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Kind:
    """`words` tells people what belongs here. `write` turns a setting's value into what TOML would have."""

    words: str
    read: Callable[[Any, Use], Any]
    write: Callable[[Any], Any] = _same


def shown(value: object) -> str:
    """A value as part of a sentence, in TOML's words and bounded."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value).replace("'", '"')
    return text if len(text) <= 60 else text[:57] + "..."


def kind_of(value: object) -> str:
    for types, name in (
        (bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"), (list, "a list"),
        (dict, "a table"),
    ):  # fmt: skip
        if isinstance(value, types):
            return name
    return "a date or time"


# -- the plain ones ----------------------------------------------------------------------------------------------------


def _typed(value: Any, wanted: type, words: str) -> Any:
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise Wrong(f"should be {words}, not {kind_of(value)}")
    return value


def _text(value: Any, use: Use) -> str:
    text: str = _typed(value, str, "text")
    if CONTROL.search(text):
        raise Wrong("has a control character (a line break, a tab, …) in it; leave it out")
    return text


def _flag(value: Any, use: Use) -> bool:
    flag: bool = _typed(value, bool, "true or false")
    return flag


TEXT = Kind("text", _text)
FLAG = Kind("true or false", _flag)


def line_of_text(most: int) -> Kind:
    def read(value: Any, use: Use) -> str:
        text = _text(value, use)
        if len(text) > most:
            raise Wrong(f"has {len(text):,} characters; at most {most:,} fit")
        return text

    return Kind(f"text of at most {most:,} characters", read)


def named(words: str, pattern: str, example: str) -> Kind:
    """Text that must match `pattern` as a whole."""
    compiled = re.compile(pattern)

    def read(value: Any, use: Use) -> str:
        text = _text(value, use)
        if not compiled.fullmatch(text):
            raise Wrong(f"{shown(text)} is not {words}; an example: {shown(example)}")
        return text

    return Kind(words, read)


def number(least: int, most: int | None = None) -> Kind:
    words = f"a whole number from {least:,}" + (f" to {most:,}" if most is not None else " up")

    def read(value: Any, use: Use) -> int:
        whole: int = _typed(value, int, words)
        if whole < least or (most is not None and whole > most):
            raise Wrong(f"{whole} is out of range; it should be {words}")
        return whole

    return Kind(words, read)


def choice(*names: str) -> Kind:
    words = " or ".join([", ".join(f'"{n}"' for n in names[:-1]), f'"{names[-1]}"']) if names[1:] else f'"{names[0]}"'

    def read(value: Any, use: Use) -> str:
        if not isinstance(value, str) or value not in names:
            raise Wrong(f"{shown(value)} is none of the choices; write {words}")
        return value

    return Kind(words, read)


def listing(kind: Kind) -> Kind:
    def read(value: Any, use: Use) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Wrong(f"should be a list, in brackets, not {kind_of(value)}")
        good, bad = [], []
        for index, element in enumerate(value):
            try:
                good.append(kind.read(element, use))
            except Wrong as wrong:
                bad += [((index, *path), words) for path, words in wrong.found]
        if bad:
            raise Wrong(found=bad)
        return tuple(good)

    return Kind(f"a list; each {kind.words}", read, lambda values: [kind.write(v) for v in values])


def _texts(value: Any, use: Use) -> dict[str, str]:
    table: dict[str, Any] = _typed(value, dict, 'a table such as { utm_source = "mail" }')
    bad = []
    for key, text in table.items():
        try:
            _text(text, use)
        except Wrong as wrong:
            bad += [((key, *path), words) for path, words in wrong.found]
    if bad:
        raise Wrong(found=bad)
    return dict(table)


TEXTS = Kind("a table of texts", _texts, dict)


# -- times and sizes ---------------------------------------------------------------------------------------------------


def duration(least: float) -> Kind:
    words = 'a time such as "4s", "90m", "1h30m" or "5d"'

    def read(value: Any, use: Use) -> float:
        text: str = _typed(value, str, words)
        if not DURATION.fullmatch(text):
            raise Wrong(f"{shown(text)} is not {words} (units: ms, s, m, h, d, w)")
        seconds = sum(float(n) * SECONDS[unit] for n, unit in DURATION_PART.findall(text))
        if seconds < least:
            raise Wrong(f"{shown(text)} is too short; at least {written_duration(least)}")
        return seconds

    return Kind(words, read, written_duration)


def written_duration(seconds: float) -> str:
    """432000.0 -> "5d", 5400.0 -> "1h30m"."""
    left, parts = round(seconds * 1000), ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, left = divmod(left, round(SECONDS[unit] * 1000))
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"


def size(least: int) -> Kind:
    words = 'a size such as "50MB" (million octets), "50MiB" or a number of octets'

    def read(value: Any, use: Use) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            octets = value
        else:
            match = SIZE.fullmatch(_typed(value, str, words).strip())
            if not match:
                raise Wrong(f"{shown(value)} is not {words}")
            octets = int(float(match[1]) * OCTETS[(match[2] or "").lower()])
        if octets < least:
            raise Wrong(f"{shown(value)} is too small; at least {written_size(least)}")
        return octets

    return Kind(words, read, written_size)


def written_size(octets: int) -> str | int:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if octets and octets % factor == 0:
            return f"{octets // factor}{unit}"
    return octets


# -- files, networks, names --------------------------------------------------------------------------------------------


def beside(text: str, use: Use) -> Path:
    """A path of the file: relative to its folder; `~` is the home folder."""
    return (use.folder / Path(text).expanduser()).absolute()


def _present(value: Any, use: Use) -> Path:
    text = _text(value, use)
    if not text:
        raise Wrong("is empty; name a file, or leave the key out")
    path = beside(text, use)
    try:
        with path.open("rb"):
            return path
    except FileNotFoundError:
        raise Wrong(f"there is no file {path}") from None
    except OSError as error:
        raise Wrong(f"{path} can't be read: {error.strerror}") from None


PRESENT = Kind("the path of a file that exists", _present, lambda path: "" if path is None else str(path))
FOLDER = Kind("the path of a folder", lambda value, use: beside(_text(value, use), use), lambda path: f"./{path}")


def split_address(text: str) -> tuple[str, int]:
    """("127.0.0.1", 2525) of "127.0.0.1:2525", ("::1", 25) of "[::1]:25". Raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/@\s]*)):(\d{1,5})", text)
    if not match or int(match[3]) > 65_535:
        raise ValueError(text)
    if match[1]:
        ipaddress.IPv6Address(match[1])
    elif match[2] and not HOST.fullmatch(match[2]):
        raise ValueError(text)
    return match[1] or match[2], int(match[3])


def _address(value: Any, use: Use) -> str:
    text = _text(value, use)
    try:
        host, _ = split_address(text)
    except ValueError:
        raise Wrong(f'{shown(text)} is not HOST:PORT, such as "127.0.0.1:2525" or "[::1]:2525"') from None
    if not host:
        raise Wrong(f'{shown(text)} names no host; for all addresses of this machine write "0.0.0.0{text}"')
    return text


ADDRESS = Kind("HOST:PORT, IPv6 in brackets", _address)


def _milter(value: Any, use: Use) -> str:
    text = _text(value, use)
    if text.startswith("inet:"):
        return "inet:" + str(_address(text[5:], use))
    if text and not re.fullmatch(r"unix:/.+", text):
        raise Wrong(f'{shown(text)} is neither "inet:127.0.0.1:8891" nor "unix:/run/trackrelay/milter.sock"')
    return text


MILTER = Kind('"inet:HOST:PORT" or "unix:/PATH"; empty is off', _milter)


def _network(value: Any, use: Use) -> str:
    text = _text(value, use)
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
    text = _text(value, use)
    if text and not HOST.fullmatch(text):
        raise Wrong(f'{shown(text)} is not a host name such as "mail.example.com"')
    return text


HOSTNAME = Kind("a host name", _host)


def _network_or_host(value: Any, use: Use) -> str:
    text = _text(value, use)
    if text and HOST.fullmatch(text) and not re.fullmatch(r"[\d.]+", text):
        return text.lower()
    return str(_network(text, use))


NETWORK_OR_HOST = Kind("a network or a host name", _network_or_host)


def _mail_address(value: Any, use: Use) -> str:
    text = _text(value, use)
    if text and not re.fullmatch(r"[^\s<>@,;:]+@[^\s<>@,;:]+", text):
        raise Wrong(f'{shown(text)} is not an address such as "sales@example.com" (without a name or brackets)')
    return text


MAIL_ADDRESS = Kind("a mail address", _mail_address)


def _glob(value: Any, use: Use) -> str:
    text = _text(value, use)
    if not text or re.search(r"[\s<>,]", text):
        raise Wrong(f'{shown(text)} is not a pattern such as "*@sales.example.com" (one address, * and ? allowed)')
    return text


GLOB = Kind("a pattern for an address; * and ? stand for anything", _glob)

# -- URLs --------------------------------------------------------------------------------------------------------------


def _parts(text: str, schemes: Sequence[str], example: str) -> Any:
    """urlsplit of a URL with one of the schemes and a good host and port, else Wrong."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise Wrong(f"{shown(text)} is not a URL ({error}); an example: {shown(example)}") from None
    if parts.scheme not in schemes:
        raise Wrong(f"{shown(text)} should begin with {' or '.join(s + '://' for s in schemes)}; an example: "
                    f"{shown(example)}")  # fmt: skip
    if not host or not (":" in host or HOST.fullmatch(host)):
        raise Wrong(f"{shown(text)} names no host that can be reached; an example: {shown(example)}")
    return parts


def _public(value: Any, use: Use) -> str:
    text = _text(value, use)
    if not text:
        return ""
    parts = _parts(text, ("https", "http"), "https://t.example.com")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise Wrong(f"{shown(text)} has a query or a fragment; end it after the host or its path")
    if parts.username is not None:
        raise Wrong(f"{shown(text)} has a login in it, which every recipient would see")
    if len(text) > 200:
        raise Wrong("has more than 200 characters, which leaves too little room for tokens in links")
    return text.rstrip("/")


PUBLIC_URL = Kind("an http or https URL without a query", _public)


def _tracking_host(value: Any, use: Use) -> str:
    text = _text(value, use)
    if HOST.fullmatch(text):
        return f"https://{text}"
    if not text:
        raise Wrong('is empty; name an address such as "https://t2.example.com"')
    return _public(text, use)


TRACKING_HOST = Kind("an http or https URL, or a host name (then https)", _tracking_host)


def web(*schemes: str) -> Kind:
    def read(value: Any, use: Use) -> str:
        text = _text(value, use)
        parts = _parts(text, schemes, "https://app.example.com/hooks")
        if parts.username is not None:
            raise Wrong(f"{shown(text)} has a login in it; it would be shown wherever the URL is")
        return text

    return Kind(f"an {' or '.join(schemes)} URL", read)


def _upstream(value: Any, use: Use) -> str:
    text = _text(value, use)
    if not text:
        return ""
    parts = _parts(text, ("smtp", "smtps", "lmtp"), "smtp://user@smtp.example.com:587")
    if parts.password is not None:
        raise Wrong("a password does not belong in a URL; put it into upstream.password_file")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Wrong(f"{shown(text)} should end after the host and the port")
    return text


UPSTREAM_URL = Kind("smtp://, smtps:// or lmtp://[USER@]HOST[:PORT]", _upstream)


def _mailbox(value: Any, use: Use) -> str:
    text = _text(value, use)
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
        raise Wrong(f'{shown(text)} names no login; an example: "imaps://sales@imap.example.com/INBOX"')
    return text


MAILBOX_URL = Kind("imaps://USER@HOST[:PORT]/FOLDER, imap://… or maildir:/PATH", _mailbox)


def _store(value: Any, use: Use) -> str:
    text = _text(value, use)
    if not re.fullmatch(r"sqlite:(?!//)[^?#]+|sqlite:///[^?#]+|postgresql://.+", text):
        raise Wrong(f'{shown(text)} is neither "sqlite:FILE" nor "postgresql://USER@HOST/DATABASE"')
    return text


STORE_URL = Kind("sqlite:FILE or postgresql://…", _store)

SCHEME = named("the scheme of a URL", r"[a-z][a-z0-9+.-]*", "https")
DIALECT = choice(*VENDORS)
# A key that is signed may hold dots and hyphens, in any case: RFC 6376 3.1.
SELECTOR = named("a DKIM selector", HOST.pattern, "t1")
PARAMETER = named("the name of a query parameter", r"[^\s&=#?]+", "token")
IDENTIFIER = named("an identifier (letters, digits, . _ -)", r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", "sales")
