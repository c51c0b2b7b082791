"""What somebody answers, read: as generously as one meaning allows, else with a sentence that says what would be right.

Owns: the forms in which an answer may be given. Leaves to others: the forms of relay.toml itself (`config.locators`), what is wrong only in
combination (`config.contradictions`, which reads the whole file before it is written).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from relay.config import kinds, locators
from relay.config.kinds import Use, Wrong
from relay.core import domains, envelopes, networks
from relay.init import known

USE = Use()
ALL: tuple[str, ...] = ("*",)
NONE_WORDS = frozenset({"", "none", "no", "-"})
SCHEMES = {465: "smtps"}  # the ports that say by themselves how TLS begins


@dataclass(frozen=True, slots=True)
class Server:
    """An upstream without its login. `written` is HOST:PORT, or HOST where the port depends on whether there is a login."""

    scheme: str
    written: str
    login: str = ""

    @property
    def host(self) -> str:
        return domains.of_url(f"smtp://{self.written}")

    @property
    def known(self) -> known.Known | None:
        return known.at(self.host)

    def url(self, login: str) -> str:
        port = "" if PORT.search(self.written) or self.scheme != "smtp" else ":587" if login else ":25"
        who = f"{quote(login, safe='')}@" if login else ""
        return f"{self.scheme}://{who}{self.written}{port}"


PORT = re.compile(r":\d+\Z")


@dataclass(frozen=True, slots=True)
class Answers:
    upstream: str  # a URL, with its login
    tracking: str  # a URL
    track: tuple[str, ...]  # patterns of From; ALL is everybody, none is only what asks for it itself
    webhook: str = ""  # a URL
    dkim: tuple[str, str] | None = None  # domain and selector of a key that is made now

    @property
    def server(self) -> networks.Server:
        return networks.server(self.upstream)


def text(given: str) -> str:
    """Without the blanks around it. Raises `Wrong` for what no file in UTF-8 can hold."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise Wrong("is not UTF-8; set this terminal to UTF-8") from None
    if kinds.CONTROL.search(given.strip()):
        raise Wrong("has a control character (an arrow key, a tab, …) in it; type it again")
    return given.strip()


# -- the upstream ------------------------------------------------------------------------------------------------------


def server(given: str) -> Server:
    """A host with a port or without, a URL, or a provider's name."""
    said = text(given)
    if not said:
        raise Wrong("name the server that delivers your mail, such as smtp.example.com")
    if found := known.named(said):
        if not found.server:
            raise Wrong(f"{found.name} has a server for each region; write its name: {found.pattern}")
        return Server("smtp", found.server)
    if "://" in said:
        return _of_url(said)
    if "@" in said:
        return _of_address(said)
    host, port = _host_and_port(said)
    _good_host(host, said)
    written = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return Server(SCHEMES.get(port or 0, "smtp"), written)


def _of_url(said: str) -> Server:
    url = str(locators.UPSTREAM_URL.read(said, USE))
    found = networks.server(url)
    _good_host(found.host, said)
    port = urlsplit(url).port
    host = f"[{found.host}]" if ":" in found.host else found.host
    return Server(found.scheme, f"{host}:{port}" if port else host, found.login)


def _of_address(said: str) -> Server:
    """Somebody's own address, where their provider is known by it."""
    domain = domains.of_address(said)
    found = known.at(domain)
    if found and found.server and "." in domain:
        return Server("smtp", found.server, said)
    raise Wrong(
        f"{kinds.shown(said)} is an address; name the server, such as smtp.{domain or 'example.com'}, and the login by itself"
    )


def _host_and_port(said: str) -> tuple[str, int | None]:
    address = networks.numeric(said)
    if address is not None and ":" in said:  # IPv6 without its brackets
        return str(address), None
    try:
        host, port = networks.split(said)
    except ValueError:
        raise Wrong(f"{kinds.shown(said)} is neither a server's name, such as smtp.example.com or smtp.example.com:465, nor one "
                    f"of {', '.join(known.WORDS)}") from None  # fmt: skip
    if port == 0:
        raise Wrong("0 is no port; mail servers have 587, 465 or 25")
    return host, port


def _good_host(host: str, said: str) -> None:
    if networks.everywhere(host):
        raise Wrong(f"{kinds.shown(said)} is no machine that can be reached; this machine is 127.0.0.1")
    if networks.numeric(host) is not None:
        if "%" in host:
            raise Wrong(f"{kinds.shown(said)} has a zone in it; write the address without")
        return
    if not networks.NAME.fullmatch(host):
        raise Wrong(f"{kinds.shown(said)} is not a server's name, such as smtp.example.com")
    if "." not in host and host != "localhost":
        near = difflib.get_close_matches(host, [word for each in known.KNOWN for word in each.words], n=1, cutoff=0.7)
        hint = f"did you mean {near[0]}" if near else f"write all of it, such as {host}.example.com"
        raise Wrong(
            f"{kinds.shown(said)} is no full name; {hint}?" if near else f"{kinds.shown(said)} is no full name; {hint}"
        )


def login(given: str) -> str:
    """ "" for none."""
    said = text(given)
    return "" if said.lower() in NONE_WORDS else said


def password(given: str) -> str:
    """As it is kept in a file of one line."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise Wrong("the password is not UTF-8; set this terminal to UTF-8") from None
    if not given:
        raise Wrong("the password is empty; a login has one")
    if kinds.CONTROL.search(given):
        raise Wrong("the password has a control character (an arrow key, a tab, …) in it; type it again")
    if given != given.strip() or given.startswith("\ufeff"):
        raise Wrong(
            "the password begins or ends with a blank, which a file can't tell from a stray one; choose another"
        )
    return given


# -- the other three ---------------------------------------------------------------------------------------------------


def tracking(given: str) -> str:
    """The tracking host by its name, or its whole URL."""
    said = text(given)
    if not said:
        raise Wrong("name the host by which recipients reach the tracking server, such as t.example.com")
    if said.startswith("/"):
        raise Wrong(
            f"{kinds.shown(said)} is only a path; recipients need a whole address, such as https://t.example.com"
        )
    url = str(locators.PUBLIC_URL.read(said if "://" in said else f"https://{said}", USE))
    host = domains.of_url(url)
    if networks.loopback(host) or host.endswith(".localhost"):
        return url
    if networks.numeric(host) is not None:
        raise Wrong(
            f"{host} is an address, for which there is hardly a certificate; give it a name, such as t.example.com"
        )
    if "." not in host:
        raise Wrong(
            f"{host} is no full name, and recipients' machines don't know it; write all of it, such as {host}.example.com"
        )
    if url.startswith("http://"):
        raise Wrong(
            f"{said} is http, by which anybody on the way reads and changes what people click; write https://{host}"
        )
    return url


def track(given: str) -> tuple[str, ...]:
    """all, none, or patterns of From addresses; a bare domain is everybody in it."""
    said = text(given)
    if said.lower() in ("", "all", "everybody", "*"):
        return ALL
    if said.lower() in NONE_WORDS:
        return ()
    words = [word for word in re.split(r"[\s,;]+", said) if word]
    patterns = (word if "@" in word and not word.startswith("@") else f"*@{word.removeprefix('@')}" for word in words)
    return tuple(dict.fromkeys(str(locators.GLOB.read(_sensible(pattern), USE)) for pattern in patterns))


def _sensible(pattern: str) -> str:
    domain = pattern.rpartition("@")[2]
    if not set(domain) & set("*?") and not networks.NAME.fullmatch(domains.spelt(domain)):
        raise Wrong(
            f'{kinds.shown(pattern)} is not an address or a pattern of addresses, such as "*@sales.example.com"; or write all, or none'
        )
    if "." not in domain and not set(domain) & set("*?"):
        raise Wrong(f'"{domain}" is neither all nor none, nor a domain such as sales.example.com, nor an address')
    return pattern


def webhook(given: str) -> str:
    """ "" for none."""
    said = text(given)
    if said.lower() in NONE_WORDS:
        return ""
    if "://" not in said:
        raise Wrong(f"{kinds.shown(said)} is no URL; write all of it, such as https://app.example.com/hooks; or none")
    return str(WEBHOOK.read(said, USE))


WEBHOOK = locators.web("https", "http", example="https://app.example.com/hooks", login=True)


def private(url: str) -> str:
    """The host of a webhook that nobody may call unless it is named as an exception: this machine, a private address. Else ""."""
    host = domains.of_url(url)
    address = networks.numeric(host)
    return host if networks.loopback(host) or (address is not None and not networks.public(address)) else ""


def dkim(given: str) -> tuple[str, str]:
    """DOMAIN[:SELECTOR]."""
    domain, _, selector = text(given).partition(":")
    return str(locators.HOSTNAME.read(domain, USE)), str(locators.SELECTOR.read(selector or "t1", USE))


def sending_domain(answers: Answers) -> str:
    """The domain of the From addresses, as far as the answers tell."""
    login = answers.server.login
    if answers.dkim:
        return answers.dkim[0]
    for pattern in answers.track:
        domain = pattern.rpartition("@")[2]
        if domain and not set(domain) & set("*?"):
            return domain
    if known.at(answers.server.host) is not None and envelopes.fits(login) and "@" in login:
        return domains.of_address(login)
    host = domains.of_url(answers.tracking)
    return domains.organisational(host) if "." in host and networks.numeric(host) is None else "example.com"
