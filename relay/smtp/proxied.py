"""XCLIENT and XFORWARD: a listed proxy says whom it speaks for.

Owns: who may say so, and what follows. XCLIENT changes the client: who may submit, logins, limits are of the one that was
named. XFORWARD changes nothing of that: it is for the record, for the log, and for counting messages per minute. Both
are honoured by the address of the connection itself (`smtp.proxies`), which nobody can say otherwise. A proxy that has
named a client may go on to hand its commands through: so after MAIL, AUTH, STARTTLS, or a login that was named, that
session says no more of either kind.
Leaves to others: how the attributes are written (`core.proxies`).
"""

from __future__ import annotations

from collections.abc import Mapping

from relay.core import networks, proxies
from relay.core.model import Reply
from relay.smtp import auth, command_loop, session

NOT_YOURS = Reply(550, "5.7.0 Only listed proxies may say whom they speak for")


class Proxied(command_loop.CommandLoop):
    @property
    def proxy_offers(self) -> list[str]:
        """The lines of EHLO for a proxy."""
        if not self.proxy:
            return []
        named = [name for name in proxies.XCLIENT if name != "LOGIN" or self.takes_logins]
        return [f"250-XCLIENT {' '.join(named)}", f"250-XFORWARD {' '.join(proxies.XFORWARD)}"]

    @property
    def takes_logins(self) -> bool:
        """By name alone: not where the upstream wants the password too."""
        return not self.shared.authenticator.keeps_password

    def close_naming(self) -> None:
        """From here on the client itself may be speaking."""
        if self.named:
            self.proxy = False

    async def attributes(self, argument: str | None, known: Mapping[str, proxies.Read]) -> proxies.Said | None:
        """What was said, or None and it was refused."""
        if not self.proxy:
            self.tell("proxy_refused", peer=self.peer, client=self.address)
            await self.say(NOT_YOURS)
            return None
        if self.transaction.mail:
            await self.push("503 5.5.1 Not within a transaction")
            return None
        said = proxies.read(argument, known)
        if isinstance(said, Reply):
            await self.say(said)
            return None
        return said

    async def smtp_XFORWARD(self, argument: str | None) -> None:
        await self.idled()
        said = await self.attributes(argument, proxies.XFORWARD)
        if said is not None:
            self.transaction.forwarded = {**self.transaction.forwarded, **said}
            await self.push("250 2.0.0 Ok")

    async def smtp_XCLIENT(self, argument: str | None) -> None:
        await self.idled()
        said = await self.attributes(argument, proxies.XCLIENT)
        if said is None:
            return
        login, account = said.get("LOGIN") or "", session.NOBODY
        if login:
            found = self.account_of(login) if self.takes_logins else None
            if found is None:
                self.tell("login_refused", login=login, peer=self.address, outcome="unknown")
                return await self.say(auth.BAD if self.takes_logins else NOT_YOURS)
            account = found
        address = self.address
        if "ADDR" in said:
            address = networks.peer(said["ADDR"] or "")
            why = self.shared.places.move(
                self, networks.client(address), loopback=bool(address and address.is_loopback)
            )
            if why:
                return await self.goodbye(f"421 {why}")
        self.begin_again()
        self.login, self.account, self.named = login, account, True
        self.set_client(address)
        if login:
            self.close_naming()
        if said.get("HELO"):
            self.session.host_name, self.session.extended_smtp = said["HELO"], said.get("PROTO") != "SMTP"
        await self.push(f"220 {self.hostname} {self.__ident__}")
