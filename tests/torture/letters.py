"""The mail of the torture, and what may be said of each message that arrives.

Owns: messages that can be told apart and seen to be whole; what was heard of each; what came of them. Leaves to
others: sending (`world`), kills (`test_kills`).
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.fakes.upstream import Kept

SUBJECT = re.compile(rb"^Subject: (torture [0-9]+-[0-9]+)\r$", re.M)
REPORTED = re.compile(rb"^Final-Recipient: rfc822; *([^\r\n]+)\r$", re.M | re.I)
TOKEN = re.compile(rb"http://127\.0\.0\.1:[0-9]+/([oc])/([A-Za-z0-9_-]+)")
CONTROL = re.compile(rb"^(?:x-track[a-z-]*|bcc)[ \t]*:", re.M | re.I)
NOBODY = "nobody"  # the upstream knows no such address


@dataclass(eq=False)
class Letter:
    subject: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    tracked: bool
    reply: str = ""  # what the client heard after its dot, "" for nothing

    @property
    def accepted(self) -> bool:
        return self.reply.startswith("250")


def letter(number: tuple[int, int], dice: random.Random) -> Letter:
    """Of 1 to 4 recipients, tracked or not, small or of several hundred kB, now and then to somebody unknown."""
    name = f"torture {number[0]}-{number[1]}"
    local = name.replace(" ", "-")
    recipients = [f"r{n}@{dice.choice('abc')}.example" for n in range(dice.choice((1, 1, 1, 1, 2, 3)))]
    if dice.random() < 0.1:
        recipients.append(f"{NOBODY}@a.example")
    tracked = dice.random() < 0.8
    head = [
        f"From: sender-{local}@example.com",
        f"To: {', '.join(recipients)}",
        "Bcc: hidden@example.com",
        f"Subject: {name}",
        "MIME-Version: 1.0",
        'Content-Type: multipart/mixed; boundary="=_b"',
    ]
    if dice.random() < 0.8:
        head.append(f"Message-ID: <{local}@client.example>")
    if tracked:
        head.append("X-Track: opens, links")
        head.append(f"X-Track-Label: {name}")
    filler = ("." + "filler " * 10 + "\r\n") * (dice.randrange(5000) if dice.random() < 0.05 else dice.randrange(40))
    text = (
        "\r\n".join(head) + "\r\n\r\n--=_b\r\nContent-Type: text/html\r\n\r\n"
        f'<html><body><p>Begin of {name}</p><a href="https://example.com/{local}?a=1&amp;b=2">link</a></body></html>'
        f"\r\n--=_b\r\nContent-Type: text/plain\r\n\r\n{filler}End of {name}\r\n--=_b--\r\n"
    )
    return Letter(name, f"sender-{local}@example.com", tuple(recipients), text.encode(), tracked)


def subject(content: bytes) -> str:
    head, _, _ = content.partition(b"\r\n\r\n")
    found = SUBJECT.search(head + b"\r\n")
    return found[1].decode() if found else ""


def whole(content: bytes, name: str) -> bool:
    return b"Begin of %b<" % name.encode() in content and content.endswith(b"End of %b\r\n--=_b--\r\n" % name.encode())


@dataclass
class Books:
    """What was sent and heard, and how it stands. `waiting[n]` has what was in the spool after the death number n, from 0
    on: subject and recipient, and in how many entries."""

    several: bool = False  # processes, of which each dies by itself
    letters: dict[str, Letter] = field(default_factory=dict)
    waiting: list[Counter[tuple[str, str]]] = field(default_factory=list)
    repeated: int = 0  # copies that arrived once more after a death
    untracked: int = 0  # copies that went out as they came
    cut: int = 0  # copies that arrived once more since the upstream went after the dot

    def died(self, waiting: Counter[tuple[str, str]]) -> None:
        self.waiting.append(waiting)

    def answered(self, begun: int) -> list[Letter]:
        """Of the letters from the `begun`th on, those whose client heard something."""
        return [letter for letter in list(self.letters.values())[begun:] if letter.reply]

    def wrong(self, arrived: Iterable[tuple[int, Kept]]) -> list[str]:
        """Sentences about what must not be; empty when all is well. `arrived` are all messages that the upstream got
        whole, with the number of deaths before each. To be asked when the spool is empty."""
        wrong: list[str] = []
        self.untracked = 0
        copies: dict[tuple[str, str], list[tuple[int, Kept]]] = defaultdict(list)
        reported: set[tuple[str, str]] = set()
        for deaths, kept in arrived:
            if kept.reverse_path == "":
                names = REPORTED.findall(kept.content)
                reported.update((kept.recipients[0], name.decode().strip()) for name in names)
                continue
            name = subject(kept.content)
            if name not in self.letters:
                wrong.append(f"nobody sent this: {kept.content[:300]!r}")
                continue
            wrong += self.damaged(kept, name)
            for recipient in kept.recipients:
                copies[name, recipient].append((deaths, kept))
        wrong += self.lost(copies, reported)
        wrong += [
            f"{name} to {recipient} waited in {entries} entries after death {death}"
            for death, found in enumerate(self.waiting)
            for (name, recipient), entries in found.items()
            if name in self.letters and entries > 1
        ]
        self.repeated = self.cut = 0
        for (name, recipient), times in copies.items():
            wrong += self.again(name, recipient, times)
        return wrong

    def damaged(self, kept: Kept, name: str) -> list[str]:
        letter, content = self.letters[name], kept.content
        head, _, _ = content.partition(b"\r\n\r\n")
        wrong = []
        if CONTROL.search(head):
            wrong.append(f"{name}: a control header left: {head!r}")
        if not whole(content, name):
            wrong.append(f"{name}: not whole: {content[-200:]!r}")
        late = self.several and letter.tracked and not TOKEN.search(content)
        self.untracked += late  # one that died held the database, and the others did not wait for it
        if bool(TOKEN.search(content)) != letter.tracked and not late:
            wrong.append(f"{name}: {'not tracked' if letter.tracked else 'tracked unasked'}: {content!r}")
        if set(kept.recipients) - set(letter.recipients) or kept.reverse_path != letter.sender:
            wrong.append(f"{name}: to {kept.recipients} from {kept.reverse_path}")
        return wrong

    def lost(self, copies: dict[tuple[str, str], list[tuple[int, Kept]]], reported: set[tuple[str, str]]) -> list[str]:
        """A client heard 250, and somebody neither got the message nor was the sender told so."""
        return [
            f"lost: {letter.subject} to {recipient}: {letter.reply}"
            for letter in self.letters.values()
            if letter.accepted
            for recipient in letter.recipients
            if (letter.subject, recipient) not in copies and (letter.sender, recipient) not in reported
        ]

    def between(self, deaths: int, later: int) -> list[Counter[tuple[str, str]]]:
        """What was in the spool at the deaths that may be why something came once more. Where the others go on, what one sent
        that died is read from its socket after its death too."""
        if self.several:
            return self.waiting[max(0, deaths - 1) : later]
        return self.waiting[deaths : deaths + 1] if later > deaths else []

    def again(self, name: str, recipient: str, found: list[tuple[int, Kept]]) -> list[str]:
        """Only what was in the spool at a death may come again, or what the upstream did not answer for; each time
        with the same bytes: so with the same Message-ID and the same tokens."""
        wrong = []
        if self.several:  # the upstream may still have thought about the first, when another process brought the second
            found = sorted(found, key=lambda one: one[0])
        for (deaths, kept), (later, other) in itertools.pairwise(found):
            if kept.content != other.content:
                wrong.append(f"{name} to {recipient} came again, and differs: {kept.content!r} {other.content!r}")
            if not kept.answered:
                self.cut += 1
            elif any(each[name, recipient] for each in self.between(deaths, later)):
                self.repeated += 1
            else:
                wrong.append(
                    f"{name} to {recipient} came again without a reason: before death {deaths}, then {later};"
                    f" the client heard {self.letters[name].reply!r}"
                )
        return wrong
