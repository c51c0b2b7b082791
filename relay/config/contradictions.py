"""What is wrong only in combination, and the defaults that depend on other settings.

Owns: the checks across the file. `mistake` and `warn` take the path of the key that should change. Leaves to others:
single values (`kinds`), and whatever takes a network or a server to know (`trackrelay check`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from relay import network_list
from relay.config import exposure, table
from relay.config.settings import DEFAULT_UPSTREAM, Grant, Settings, Upstream, Webhook
from relay.core import domains, networks, origins, urls

U = TypeVar("U", bound=Upstream)
Path = tuple[str | int, ...]
Warn = Callable[[Path, str], None]


class Say(Protocol):
    def __call__(self, path: Path, sentence: str, because: Sequence[str | Path] = ()) -> None: ...


def resolve(found: Settings, tree: dict[str, Any], mistake: Say, warn: Warn) -> Settings:
    """The settings, with what was left out filled in. `tree` is the file as parsed: it shows what was written at
    all."""
    _exposure(exposure.problems(found), mistake)
    _listeners(found, mistake, warn)
    found = _upstream(found, tree, mistake, warn)
    found = _tracking(found, tree, mistake, warn)
    _dkim(found, mistake)
    _webhooks(found, mistake)
    _networks(found, mistake)
    return _grants(found, mistake, warn)


def _local(url: str) -> bool:
    """Whether a URL leads to this machine itself."""
    try:
        return networks.server(url).loopback
    except ValueError:
        return False


def _given(tree: dict[str, Any], section: str, key: str) -> bool:
    return isinstance(tree.get(section), dict) and key in tree[section]


# -- listeners ---------------------------------------------------------------------------------------------------------


def _exposure(problems: Iterable[exposure.Problem], mistake: Say) -> None:
    for problem in problems:
        mistake(*problem)


def _listeners(found: Settings, mistake: Say, warn: Warn) -> None:
    _exposure(exposure.pair("http", found.http.certificate, found.http.key), mistake)
    if found.smtp.auth == "upstream" and isinstance(found.smtp.workers, int) and found.smtp.workers > 1:
        mistake(("smtp", "workers"), 'can\'t be more than 1 with smtp.auth = "upstream": users\' passwords are in the memory '
                "of one process only, and another could not send their mail", ("auth",))  # fmt: skip
    if not found.smtp.listen and not found.smtp.listen_tls:
        warn(("smtp", "listen"), "is empty, and so is listen_tls: no mail can come in")
    if found.admin.open and exposure.beyond([found.admin.listen]):
        mistake(("admin", "open"), f"would show everything to everybody who reaches {found.admin.listen}; only on "
                "loopback")  # fmt: skip
    elif exposure.beyond([found.admin.listen]):
        warn(("admin", "listen"), "is reached from other machines, and has no TLS: keys and subjects cross the network in "
             "clear; put a TLS proxy or a VPN before it")  # fmt: skip
    milter = found.milter.listen.partition(":")[2] if found.milter.listen.startswith("inet") else ""
    if exposure.beyond([milter]):
        warn(("milter", "listen"), "is reached from other machines, and whoever reaches it is taken for a mail server; let "
             "a firewall admit your mail servers only")  # fmt: skip
    seen: dict[str, str] = {}
    for section, key, listeners in (
        ("smtp", "listen", found.smtp.listen),
        ("smtp", "listen_tls", found.smtp.listen_tls),
        ("http", "listen", found.http.listen),
        ("admin", "listen", (found.admin.listen,)),
        ("milter", "listen", (milter,)),
    ):
        for address in listeners:
            if address and not address.endswith(":0") and address in seen:
                mistake((section, key), f"{address} is taken by {seen[address]} already")
            seen.setdefault(address, f"{section}.{key}")


def _networks(found: Settings, mistake: Say) -> None:
    if found.verdicts.networks is not None and found.verdicts.networks.is_file():
        try:
            network_list.load(found.verdicts.networks)
        except origins.Unreadable as reason:
            mistake(("verdicts", "networks"), f"{found.verdicts.networks.name}:{reason.line}: {reason}")
        except OSError as reason:
            mistake(("verdicts", "networks"), str(reason.strerror))


# -- upstream ----------------------------------------------------------------------------------------------------------


def _upstream(found: Settings, tree: dict[str, Any], mistake: Say, warn: Warn) -> Settings:
    first = tree.get("upstream")
    up = _one_upstream(found.upstream, first if isinstance(first, dict) else {}, ("upstream",), found, mistake, warn)
    entries = tree.get("upstreams")
    others = []
    for index, other in enumerate(found.upstreams):
        entry = entries[index] if isinstance(entries, list) else {}
        shared = {key: getattr(up, key) for key in INHERITED if key not in entry}
        other = replace(other, **shared)
        others.append(_one_upstream(other, entry, ("upstreams", index), found, mistake, warn))
    found = replace(found, upstream=up, upstreams=tuple(others))
    _names(found, mistake, warn)
    return found


INHERITED = ("on_defer", "queue_lifetime", "patience", "bounce_from")


def _names(found: Settings, mistake: Say, warn: Warn) -> None:
    """Whether ids are unique and fallbacks lead somewhere, and do not form a loop."""
    names = {DEFAULT_UPSTREAM}
    for index, other in enumerate(found.upstreams):
        if other.id in names:
            whose = "[upstream]" if other.id == DEFAULT_UPSTREAM else "another upstream"
            mistake(("upstreams", index, "id"), f'"{other.id}" is the name of {whose}', ("id",))
        names.add(other.id)
    used = {name for up in (found.upstream, *found.upstreams) for name in up.fallback}
    for up, path in ((found.upstream, ("upstream",)), *((u, ("upstreams", i)) for i, u in enumerate(found.upstreams))):
        for number, name in enumerate(up.fallback):
            where = (*path, "fallback", number)
            if name not in names:
                mistake(where, f'there is no "{name}" among [[upstreams]]', [("upstreams",)])
            elif name == getattr(up, "id", DEFAULT_UPSTREAM):
                mistake(where, "is this upstream itself")
    for index, other in enumerate(found.upstreams):
        if not other.senders and other.id not in used:
            warn(("upstreams", index), "has no from and is nobody's fallback: nothing goes there")
    if found.upstreams and not found.upstream.url:
        mistake(("upstreams",), "needs [upstream] url as well: where all other mail goes", [("upstream", "url")])
    if found.upstreams and found.smtp.auth == "upstream":
        mistake(("upstreams",), 'can\'t be had with smtp.auth = "upstream": a client\'s password goes to one server only',
                [("smtp", "auth")])  # fmt: skip


SCHEME_OF = {"smtp": 587, "smtps": 465}
PORT_OF = {465: "smtps", 587: "smtp", 25: "smtp"}


def _port(parts: SplitResult) -> int:
    return parts.port or SCHEME_OF.get(parts.scheme, 0)


def _one_upstream(up: U, given: dict[str, Any], path: Path, found: Settings, mistake: Say, warn: Warn) -> U:
    """`given` is the table as written."""
    parts = urlsplit(up.url)
    local = _local(up.url)
    if up.password and up.oauth2:
        mistake((*path, "oauth2"), "there is a password too; keep one of the two")
    written = any(key in given for key in ("password", "password_file", "oauth2"))
    if up.url and parts.username and not written:
        mistake((*path, "url"), "names a login, and there is neither password_file nor oauth2; give one, or take "
                "the login out")  # fmt: skip
    if up.url and written and not parts.username:
        mistake((*path, "url"), "names no login for the password; write it before the host: smtp://user@host")
    if parts.scheme in SCHEME_OF and PORT_OF.get(_port(parts)) not in (None, parts.scheme):
        right = PORT_OF[_port(parts)]
        begins = "with TLS from the first byte" if right == "smtps" else "in clear, and goes on with STARTTLS"
        warn((*path, "url"), f"is {parts.scheme}:// with port {parts.port}, which begins {begins}: write {right}://")
    if "tls" not in given and local and parts.scheme != "smtps":
        up = replace(up, tls="never")
    elif up.tls != "required" and parts.scheme == "smtps":
        mistake((*path, "tls"), f'is "{up.tls}", but smtps:// is TLS from the first byte; write smtp://, or leave '
                "it out")  # fmt: skip
    elif up.tls != "required" and not local and (written or found.smtp.auth == "upstream"):
        mistake((*path, "tls"), f'is "{up.tls}": the password could cross the network in clear; a login needs '
                '"required"')  # fmt: skip
    return up


# -- tracking ----------------------------------------------------------------------------------------------------------


def _tracking(found: Settings, tree: dict[str, Any], mistake: Say, warn: Warn) -> Settings:
    tracking = found.tracking
    if tracking.url and tracking.url.startswith("http://") and not _local(tracking.url):
        warn(("tracking", "url"), "is http: what people click can be read and changed on the way; use https")
    parts = urlsplit(tracking.url)
    if tracking.url and _local(tracking.url) and found.upstream.url and not _local(found.upstream.url):
        warn(("tracking", "url"), "is this machine itself: recipients' links would lead to their own; name the host by which they reach this one, "
             'such as "https://t.example.com"')  # fmt: skip
    elif tracking.url and parts.port not in (None, 80, 443) and not _local(tracking.url):
        warn(
            ("tracking", "url"),
            f"has port {parts.port}, which many networks let nobody out to: leave it out, and let a proxy answer at 443",
        )
    replies = tracking.thread_replies or any(r.tracking.thread_replies for r in found.rules)
    if replies and not any(g.mailbox for g in found.grants):
        warn(("tracking", "thread_replies"), "is on, but no grant has a mailbox: no reply can be seen")
    for index, rule in enumerate(found.rules[:-1]):
        if (rule.sender, rule.recipient) == ("*", "*"):
            warn(("rules", index), "matches all mail, so that no rule after it is ever looked at")
    if tracking.url or _given(tree, "tracking", "url"):
        return found
    sends = bool(found.upstream.url or found.milter.listen)
    wanted = any(t.opens or t.links or t.thread_replies for t in (tracking, *(r.tracking for r in found.rules)))
    here = _local(found.upstream.url) or not sends
    if sends and (wanted or not here):
        mistake(("tracking", "url"), "is needed: the address of the tracking server as recipients reach it, such as "
                '"https://t.example.com"' + ("" if wanted else "; any message may ask to be tracked"))  # fmt: skip
        return found
    scheme = "https" if found.http.certificate else "http"
    address = next((one for one in found.http.listen if not exposure.beyond([one])), "127.0.0.1:8080")
    if sends:
        warn(("tracking", "url"), f"is not set: links lead to {scheme}://{address}, which only this machine reaches")
    tracking = replace(tracking, url=f"{scheme}://{address}")
    rules = tuple(replace(r, tracking=replace(r.tracking, url=tracking.url)) for r in found.rules)
    return replace(found, tracking=tracking, rules=rules)


def _dkim(found: Settings, mistake: Say) -> None:
    seen: set[str] = set()
    for index, entry in enumerate(found.dkim):
        if entry.domain in seen:
            mistake(("dkim", index, "domain"), f"{entry.domain} has a key already; one per domain", ("domain",))
        for number, name in enumerate(entry.unsigned_headers):
            if name.lower() == "from":
                mistake(("dkim", index, "unsigned_headers", number), "From is in every signature (RFC 6376 5.4)")
        seen.add(entry.domain)


# -- webhooks ----------------------------------------------------------------------------------------------------------


def _webhooks(found: Settings, mistake: Say) -> None:
    seen: set[tuple[str, str]] = set()
    for index, hook in enumerate(found.webhooks):
        path = ("webhooks", index)
        _hook_url(hook, found.webhook_delivery.allow_private, (*path, "url"), mistake)
        if not hook.triggers:
            mistake(
                (*path, "triggers"),
                'is empty, so that nothing would be sent; an example: ["message.opened"]',
                ("triggers",),
            )
        theirs = table.TRIGGERS.get(hook.format, ())
        for number, trigger in enumerate(hook.triggers):
            if trigger not in theirs:
                mistake((*path, "triggers", number), f'"{trigger}" is not sent in the format "{hook.format}"; it has '
                        f"{', '.join(theirs)}", ("format",))  # fmt: skip
        identity = (urls.masked(hook.url), hook.format)
        if identity in seen:
            mistake((*path, "url"), "is there already in the same format; put all triggers into one", ("url",))
        seen.add(identity)


def _hook_url(hook: Webhook, allowed: tuple[str, ...], path: Path, mistake: Say) -> None:
    """What `webhooks.guard` would refuse whatever a name resolves to."""
    scheme, host = urlsplit(hook.url).scheme, domains.of_url(hook.url)
    found = map(networks.numeric, ("127.0.0.1", "::1") if host == "localhost" else (host,))
    numbers = [address for address in found if address]
    exceptions = networks.Exceptions(allowed)
    if not host or any(exceptions.hold(host, address) for address in numbers or (None,)):
        return
    rests: list[str | Path] = [("webhook_delivery", "allow_private")]
    if numbers and not networks.public(numbers[0]):
        mistake(path, f'{host} is a private address; allow it by [webhook_delivery] allow_private = ["{host}"]', rests)
    elif scheme == "http" and (numbers or not exceptions.networks):
        mistake(path, f'is http, by which anybody on the way reads it; use https, or allow_private = ["{host}"]', rests)


# -- grants ------------------------------------------------------------------------------------------------------------


def _grants(found: Settings, mistake: Say, warn: Warn) -> Settings:
    seen: set[str] = set()
    for index, grant in enumerate(found.grants):
        path = ("grants", index)
        if grant.id in seen:
            mistake((*path, "id"), f'"{grant.id}" is taken by another grant', ("id",))
        seen.add(grant.id)
        _mailbox(grant, path, mistake)
        if not grant.addresses and grant.id != "default":
            warn((*path, "addresses"), "is empty: no mail is this grant's")
    others = tuple(g for g in found.grants if g.id != "default")
    default = next((g for g in found.grants if g.id == "default"), Grant("default"))
    return replace(found, grants=(*others, default))


def _mailbox(grant: Grant, path: Path, mistake: Say) -> None:
    if grant.mailbox_password and grant.mailbox_oauth2:
        mistake((*path, "mailbox_oauth2"), "there is a password too; keep one of the two")
    secret = grant.mailbox_password or grant.mailbox_oauth2
    by_imap = [url for url in grant.mailbox if url.startswith(("imaps:", "imap:"))]
    for index, url in enumerate(grant.mailbox):
        if url in grant.mailbox[:index]:
            mistake((*path, "mailbox", index), "is in the list already")
    if by_imap and not secret:
        mistake(
            (*path, "mailbox"),
            "needs mailbox_password_file or mailbox_oauth2 beside it",
            ("mailbox_password", "mailbox_oauth2"),
        )
    if secret and not by_imap:
        mistake((*path, "mailbox"), "there is a secret for it, but no imaps:// mailbox", ("mailbox",))
