"""Messages that programs send by API, each with a key by which they repeat the call until it has an answer.

Owns: the calls, what was answered, and what may be said of each message that arrives. Leaves to others: the world around
(`world`), kills (`test_calls`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.fakes.upstream import Kept
from tests.torture import letters
from tests.torture.world import World

FINAL = (200, 422)
AGAIN = (409, 500, 502, 503, 504)
SHOWN = ("id", "subject")


@dataclass(eq=False)
class Call:
    """`status` is 0 until it has an answer, `heard` says that it had one. `unheard` are the deaths at which it was under way and had none."""

    subject: str
    sender: str
    recipients: tuple[str, ...]
    path: str
    body: dict[str, Any] = field(repr=False)
    status: int = 0
    data: dict[str, Any] = field(default_factory=dict, repr=False)
    begun: bool = False
    heard: bool = False
    unheard: set[int] = field(default_factory=set)

    @property
    def known(self) -> tuple[str, ...]:
        """The recipients that there are."""
        return tuple(r for r in self.recipients if not r.startswith(letters.NOBODY))


def call(number: tuple[int, int], dice: random.Random) -> Call:
    """Of 1 to 3 recipients, by either API, now and then large or to somebody unknown."""
    name = f"torture {number[0]}-{number[1]}"
    sender = f"sender-{name.replace(' ', '-')}@example.com"
    recipients = [f"r{n}@{dice.choice('abc')}.example" for n in range(dice.choice((1, 1, 1, 2, 3)))]
    if dice.random() < 0.1:
        recipients[: dice.randrange(2)] = [f"{letters.NOBODY}@a.example"]
    filler = ("filler " * 10 + "\n") * (dice.randrange(5000) if dice.random() < 0.05 else dice.randrange(40))
    html = f'<p>Begin of {name}</p><a href="https://example.com/a?b=1&amp;c=2">link</a>\n{filler}<p>End of {name}</p>'
    body: dict[str, Any]
    if dice.random() < 0.3:
        body = {"from": sender, "to": recipients, "subject": name, "html": html}
        return Call(name, sender, tuple(recipients), "/v1/emails", body)
    body = {
        "from": [{"email": sender}], "to": [{"email": each} for each in recipients], "subject": name, "body": html,
        "tracking_options": {"opens": True, "links": True, "label": name}, "metadata": {"key1": name},
    }  # fmt: skip
    return Call(name, sender, tuple(recipients), "/v3/grants/default/messages/send", body)


@dataclass
class Books(letters.Books):
    """`sends` says whether the process that answers the calls sends as well: then the upstream may have had a message whose
    call has no answer."""

    sends: bool = True
    calls: dict[str, Call] = field(default_factory=dict)

    def died(self, waiting: Counter[tuple[str, str]]) -> None:
        for each in self.calls.values():
            if each.begun and not each.heard:
                each.unheard.add(len(self.waiting))
        super().died(waiting)

    @property
    def answers(self) -> int:
        return sum(each.heard for each in self.calls.values())

    def wrong(self, arrived: Iterable[tuple[int, Kept]]) -> list[str]:
        """Sentences about what must not be; empty when all is well. To be asked when the spool is empty."""
        wrong: list[str] = []
        copies: dict[tuple[str, str], list[tuple[int, Kept]]] = defaultdict(list)
        reported: set[tuple[str, str]] = set()
        named: dict[str, set[str]] = defaultdict(set)
        for deaths, kept in arrived:
            if kept.reverse_path == "":
                names = letters.REPORTED.findall(kept.content)
                reported.update((kept.recipients[0], name.decode().strip()) for name in names)
                continue
            known = self.calls.get(letters.subject(kept.content))
            if known is None:
                wrong.append(f"nobody sent this: {kept.content[:300]!r}")
                continue
            wrong += damaged(known, kept)
            named[known.subject].add(message_id(kept.content))
            for recipient in kept.recipients:
                copies[known.subject, recipient].append((deaths, kept))
        for known in self.calls.values():
            if known.status not in FINAL:
                wrong.append(f"{known.subject}: no answer but {known.status}")
            if known.status == 422 and known.known:
                wrong.append(f"{known.subject}: refused, with {known.known} to go to")
            if len(named[known.subject]) > 1:
                wrong.append(f"{known.subject}: sent as {named[known.subject]}")
            wrong += [
                f"lost: {known.subject} to {recipient}"
                for recipient in known.recipients
                if known.status == 200
                and (known.subject, recipient) not in copies
                and (known.sender, recipient) not in reported
            ]
        self.repeated = self.cut = 0
        for (name, recipient), found in copies.items():
            wrong += self.twice(self.calls[name], recipient, found)
        return wrong

    def twice(self, known: Call, recipient: str, found: list[tuple[int, Kept]]) -> list[str]:
        """Once more came only what the upstream did not answer for, what was in the spool at a death, or, from a process
        that sends, what was under way at one. Each time with the same bytes."""
        wrong = []
        for (deaths, kept), (later, other) in itertools.pairwise(found):
            if kept.content != other.content:
                wrong.append(
                    f"{known.subject} to {recipient} came again, and differs: {kept.content!r} {other.content!r}"
                )
            if not kept.answered:
                self.cut += 1
            elif any(
                self.waiting[n][known.subject, recipient] or (self.sends and n in known.unheard)
                for n in range(deaths, later)
            ):
                self.repeated += 1
            else:
                wrong.append(
                    f"{known.subject} to {recipient} came twice: before death {deaths}, then {later}; unheard at"
                    f" {sorted(known.unheard)}, answered {known.status}"
                )
        return wrong


def damaged(known: Call, kept: Kept) -> list[str]:
    head, _, body = kept.content.partition(b"\r\n\r\n")
    wrong = []
    if letters.CONTROL.search(head):
        wrong.append(f"{known.subject}: a control header left: {head!r}")
    if any(b"%b of %b</p>" % (word, known.subject.encode()) not in body for word in (b"Begin", b"End")):
        wrong.append(f"{known.subject}: not whole: {body[-200:]!r}")
    if not letters.TOKEN.search(body):
        wrong.append(f"{known.subject}: not tracked")
    if set(kept.recipients) - set(known.recipients) or kept.reverse_path != known.sender:
        wrong.append(f"{known.subject}: to {kept.recipients} from {kept.reverse_path}")
    return wrong


def message_id(content: bytes) -> str:
    head = content.partition(b"\r\n\r\n")[0].decode()
    return next(line for line in head.split("\r\n") if line.lower().startswith("message-id:"))


class Callers:
    """Programs at the API of a world. Each call is repeated until it has an answer, whatever dies meanwhile."""

    def __init__(self, world: World, *, sends: bool = True) -> None:
        self.world, self.books = world, Books(sends=sends)
        world.books = self.books
        self.loads = 0

    async def load(self, calls: int, at_once: int) -> None:
        """`calls`, `at_once` of them at a time, until each has its answer."""
        self.loads += 1
        waiting = [call((self.loads, n), self.world.dice) for n in range(calls)]
        self.books.calls.update((each.subject, each) for each in waiting)
        url = f"http://127.0.0.1:{self.world.ports[2]}"
        async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(20)) as http:
            await asyncio.gather(*(self._program(http, waiting) for _ in range(at_once)))

    async def _program(self, http: aiohttp.ClientSession, waiting: list[Call]) -> None:
        while waiting:
            one = waiting.pop()
            while one.status not in FINAL:
                await self._ask(http, one)
            if self.world.dice.random() < 0.2:  # it forgot that it knew
                first, one.status = one.data, 0
                while one.status not in FINAL:
                    await self._ask(http, one)
                assert [one.data.get(name) for name in SHOWN] == [first.get(name) for name in SHOWN], (first, one.data)

    async def _ask(self, http: aiohttp.ClientSession, one: Call) -> None:
        await self.world.up.wait()
        one.begun = True
        headers = {"Idempotency-Key": one.subject, "Content-Type": "application/json"}
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with http.post(one.path, data=json.dumps(one.body).encode(), headers=headers) as answer:
                raw = await answer.read()
                if answer.status in FINAL:
                    one.data, one.status, one.heard = json.loads(raw).get("data", {}), answer.status, True
                    return
                assert answer.status in AGAIN, (answer.status, raw)
        await asyncio.sleep(0.02)  # the pause of a program that tries again
