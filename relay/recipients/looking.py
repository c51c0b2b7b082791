"""The walk through the store for one person, or for what one grant has of them.

Owns: which messages are theirs, whose a row is. Leaves to others: finding rows (`store`), files (`files`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from relay import keys
from relay.core.model import Keys, Sent
from relay.core.persons import Person
from relay.store import Draft, PersonMark, PersonPage, PersonRow, Schedule

PAGE = 500
LONGEST_PAUSE = 0.5  # seconds
BY_MESSAGE = frozenset({"copies", "identifiers", "kept", "requests"})
OF_ALL = frozenset({"cursors", "notices", "endpoints", "erasures", "deliveries"})  # of no grant's alone

Progress = Callable[[str, int], None]  # the table that is looked at, how many rows of it were


def token_keys(state_dir: Path) -> Keys | None:
    """What digests are made with; None where no service has run here, and nobody is on a list. Raises `keys.Unusable`."""
    path = state_dir / "keys" / "tokens.json"
    return keys.TokenKeys(path).now() if path.exists() else None


def silent(table: str, rows: int) -> None:
    """Nobody looks."""


class Records(Protocol):
    """What is asked of a store here."""

    async def sent(self, message_id: str) -> Sent | None: ...
    async def messages_to(self, address: str, mark: tuple[float, str], limit: int) -> list[str]: ...
    async def person_page(self, who: Person, mark: PersonMark) -> PersonPage: ...
    async def draft(self, grant_id: str, draft_id: str) -> Draft | None: ...
    async def schedule(self, grant_id: str, schedule_id: str) -> Schedule | None: ...
    async def contents(self, owner_id: str) -> list[bytes]: ...


class Looking:
    """`grant_id` "" is all grants."""

    def __init__(self, records: Records, who: Person, grant_id: str = "") -> None:
        self.who, self.grant_id = who, grant_id
        self._records = records
        self._grants: dict[str, str] = {}  # per message

    async def messages(self) -> list[str]:
        """Those of which a copy went to the person's address, as the index has it: the walk finds other spellings."""
        found: dict[str, None] = {}
        local = self.who.mailbox.rpartition("@")[0]
        for form in self.who.forms:
            mark = (float("-inf"), "")
            while names := await self._records.messages_to(f"{local}@{form}", mark, PAGE):
                for name in names:
                    if await self.of_grant(name):
                        found[name] = None
                last = await self._records.sent(names[-1])
                if last is None or len(names) < PAGE:
                    break
                mark = (last.submitted_at, last.message_id)
        return list(found)

    async def rows(self, progress: Progress = silent) -> AsyncIterator[list[PersonRow]]:
        """What names the person, a page at a time, with a pause as long as each took: others go first."""
        mark: PersonMark | None = PersonMark()
        looked, table = 0, ""
        while mark is not None:
            began = time.monotonic()
            page = await self._records.person_page(self.who, mark)
            looked = looked + page.looked if page.table == table else page.looked
            table = page.table
            progress(table, looked)
            yield [row for row in page.found if await self.ours(row)]
            mark = page.next
            await asyncio.sleep(min(time.monotonic() - began, LONGEST_PAUSE))

    async def ours(self, row: PersonRow) -> bool:
        """Is it the grant's?"""
        if not self.grant_id:
            return True
        if row.table in OF_ALL:
            return False
        if row.table in BY_MESSAGE:
            return await self.of_grant(str(row.row["message_id"]))
        if row.table == "contents":
            owner = str(row.row["owner_id"])
            return bool(
                await self._records.draft(self.grant_id, owner) or await self._records.schedule(self.grant_id, owner)
            )
        return bool(row.row.get("grant_id") == self.grant_id)

    async def of_grant(self, message_id: str) -> bool:
        if not self.grant_id:
            return True
        if message_id not in self._grants:
            sent = await self._records.sent(message_id)
            self._grants[message_id] = sent.grant_id if sent else ""
        return self._grants[message_id] == self.grant_id


def envelope_of(who: Person, envelope: Any) -> bool:
    """Is the person one of the recipients of a message that is sent later, by its envelope as the store has it?"""
    people: Sequence[Any] = envelope.get("recipients", ()) if isinstance(envelope, dict) else ()
    return any(map(who.listed, people))
