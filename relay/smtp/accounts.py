"""What a login may do once it is known to be good, and whether it still stands.

Owns: which sender addresses a login has, by the logins' file and [[users]]; when it must have some; the sentence of
those that have none, which start and `trackrelay check` say alike. Leaves to others: the file (`users`), the comparison
with what a client gives (`core.senders`), when it is asked (`commands`, and `server` by the clock).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from relay.config import Settings
from relay.core.senders import Senders
from relay.smtp import throttle

NAMED = 5  # logins in a sentence


class Account(NamedTuple):
    """A login as it stands now. `stamp` changes with its password."""

    senders: Senders
    stamp: str = ""


def apart(settings: Settings) -> bool:
    """Whether the From address chooses between what belongs to different people: grants, upstreams or DKIM keys. The
    grant "default" counts only where the file says something of it."""
    told = [grant for grant in settings.grants if grant.id != "default" or grant.addresses or grant.mailbox]
    by_sender = any(upstream.senders for upstream in settings.upstreams)
    return len(told) > 1 or by_sender or len(settings.dkim) > 1


def configured(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The senders of [[users]] by login in its one spelling; the first entry counts."""
    return {throttle.spelt(user.name): user.senders for user in reversed(settings.users)}


class Accounts:
    """The accounts of all logins, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._configured, self._apart = configured(settings), apart(settings)
        self._upstream = settings.smtp.auth == "upstream"

    def of(self, login: str, stamp: str = "", own: Senders = None) -> Account:
        """`own` are the senders that the logins' file has for it. Without any, and none in [[users]], it may send as
        anybody where all mail is one account's. Where it is not, a login of the upstream is an address itself, and may
        send as that; another one may send as nobody."""
        senders = own or self._configured.get(throttle.spelt(login))
        if senders is None and self._apart:
            senders = (throttle.spelt(login),) if self._upstream and "@" in login and not set("*?") & set(login) else ()
        return Account(senders, stamp)


def unbound(settings: Settings, logins: Iterable[tuple[str, Senders]]) -> str:
    """The sentence of the logins that could send in others' names, and so may not send at all; "" for none."""
    if settings.smtp.auth != "users" or not apart(settings):
        return ""
    told = configured(settings)
    names = sorted(name for name, own in logins if not own and throttle.spelt(name) not in told)
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        "there are several grants, upstreams or DKIM keys, and no senders are set for "
        f"{', '.join(names[:NAMED])}{more}: say whose mail each login sends, in [[users]] or by "
        '"trackrelay user add NAME --senders GLOB"'
    )
