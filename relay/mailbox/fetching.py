"""Which messages of a folder are there, and what is in them, whatever single ones of them do to the server.

Owns: windows of UIDs, so that no answer is as large as the folder; batches; what becomes of a message that can't be
fetched. Leaves to others: which messages are new (`imap`), connections (`session`), what a message means (`reading`).

A batch that fails is fetched one UID at a time. One UID that fails on TRIES connections is passed over, if on the last of
them another message could be had: a server that hands out none at all is away, and its messages wait.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from relay.core import headers, refusals
from relay.mailbox import session
from relay.mailbox.source import LONGEST_HEADERS, LONGEST_MESSAGE, Unfetched, Unreachable

BATCH = 50  # messages whose headers are fetched at once
TRIES = 3
OTHERS = 8  # messages, of those beside it, by which a message that can't be had is judged
HEAD = f"BODY.PEEK[HEADER]<0.{LONGEST_HEADERS}>"
WHOLE = f"BODY.PEEK[]<0.{LONGEST_MESSAGE}>"
STRUCTURE = "BODYSTRUCTURE"
# What the library raises where a structure is none, once it has read it all.
UNREADABLE = (TypeError, LookupError, AttributeError, RecursionError)
DEPTH = 50  # multiparts in multiparts whose parts are named


class Windows(NamedTuple):
    """How many UIDs are asked for at once in a large folder: at first, and at the most where most of them are of no
    message. As many may then be in one answer."""

    first: int = 10_000
    widest: int = 250_000


class Nothing(ValueError):
    """The server answered, and gave nothing of the message."""


@dataclass(slots=True)
class Troubles:
    """What went wrong in a folder, over its connections: `alone` are the UIDs that are fetched one at a time, `failed` how
    often each failed, of what and why, `judged` how often a look at others decided nothing."""

    alone: set[int] = field(default_factory=set)
    failed: dict[int, tuple[int, str, str]] = field(default_factory=dict)
    judged: int = 0

    def clear(self) -> None:
        self.alone.clear()
        self.failed.clear()
        self.judged = 0


@dataclass(frozen=True, slots=True)
class Found:
    """`head` and `arrived` as in `source.Fetched`; `passed` says why the message is passed over, or ""."""

    uid: int
    head: bytes = b""
    arrived: float = 0.0
    passed: str = ""


async def windows(
    folder: session.Session, low: int, since: date | None, sizes: Windows
) -> AsyncGenerator[list[int], None]:
    """The UIDs from `low` on, ascending, of what arrived on that day or later."""
    criteria = ["SINCE", since] if since else []
    width = sizes.first
    while folder.exists > sizes.first and low + width < folder.next_uid:
        found = await _search(folder, low, str(low + width - 1), criteria)
        if found:
            yield found
        low += width
        if len(found) * 10 < width:
            width = min(width * 10, sizes.widest) if folder.exists > sizes.widest else width * 10
        else:
            width = sizes.first
    # Open at its end, for what came since. "n:*" names the last message even where its UID is below n (RFC 9051 6.4.8).
    if found := await _search(folder, low, "*", criteria):
        yield found


async def _search(folder: session.Session, low: int, high: str, criteria: list[Any]) -> list[int]:
    found = await folder.call(folder.client.search, ["UID", f"{low}:{high}", *criteria])
    return sorted(uid for uid in set(found) if uid >= low)


async def messages(folder: session.Session, uids: list[int], troubles: Troubles) -> AsyncGenerator[Found, None]:
    """Those of these UIDs, in their order, that are still there. Raises `Unfetched` where one could not be fetched, and is
    to be tried again on another connection."""
    for start in range(0, len(uids), BATCH):
        batch = uids[start : start + BATCH]
        if troubles.alone.isdisjoint(batch) and len(batch) > 1:
            try:
                answers = await _fetch(folder, batch, HEAD)
                complete = all(section(answer) is not None for answer in answers.values())
            except session.FAILURES as reason:
                troubles.alone.update(batch)
                if folder.broken:
                    raise Unfetched(f"UIDs {batch[0]} to {batch[-1]}: {session.failure(reason)}") from reason
            else:
                if complete:
                    for uid in batch:
                        if uid in answers:  # not gone since the search
                            yield Found(uid, section(answers[uid]) or b"", arrival(answers[uid]))
                    continue
        for uid in batch:
            found = await _alone(folder, uid, uids, troubles)
            troubles.alone.discard(uid)
            if found is not None:
                yield found


async def _alone(folder: session.Session, uid: int, uids: list[int], troubles: Troubles) -> Found | None:
    if folder.broken:
        raise Unfetched("the connection broke")
    times, what, _ = troubles.failed.get(uid, (0, HEAD, ""))
    last = times + 1 >= TRIES
    if last:
        await _judge(folder, uid, uids, troubles)
    try:
        answers = await _fetch(folder, [uid], what if last else HEAD)
        if uid not in answers:
            return None
        head = section(answers[uid])
        if head is None:
            raise Nothing("the server gives nothing of it")
    except session.FAILURES as reason:
        failure = failed(uid, what, reason, troubles)
        if last and isinstance(failure, Unfetched):
            return Found(uid, passed=troubles.failed.pop(uid)[2])
        raise failure from reason
    if last:
        head = head[: headers.read(head).body]
    if what == HEAD:
        troubles.failed.pop(uid, None)
    return Found(uid, head, arrival(answers[uid]))


async def kinds(folder: session.Session, uid: int) -> frozenset[str] | None:
    """The content types of a message's parts, in lower case, by the server's reading (RFC 9051 7.5.2); None where it has
    none that is understood."""
    try:
        answers = await _fetch(folder, [uid], STRUCTURE)
    except UNREADABLE:
        return None
    except session.FAILURES:
        if folder.broken:
            raise
        return None
    found: set[str] = set()
    return frozenset(found) if _named(answers.get(uid, {}).get(STRUCTURE.encode()), found, 0) and found else None


def _named(body: object, found: set[str], depth: int) -> bool:
    """Adds the types of a body structure; whether all of it was understood."""
    if not isinstance(body, tuple) or len(body) < 2 or depth > DEPTH:
        return False
    if isinstance(body[0], list):
        kind, parts = "multipart", body[0]
        if not parts or not all(_named(part, found, depth + 1) for part in parts):
            return False
    else:
        kind = body[0].decode("latin-1") if isinstance(body[0], bytes) else ""
    if not kind or not isinstance(body[1], bytes):
        return False
    found.add(f"{kind}/{body[1].decode('latin-1')}".lower())
    return True


async def whole(folder: session.Session, uid: int, troubles: Troubles) -> bytes:
    """A message as far as it is read; b"" where it is gone."""
    if folder.broken:
        raise Unfetched("the connection broke")
    try:
        answers = await _fetch(folder, [uid], WHOLE)
        if uid not in answers:
            return b""
        raw = section(answers[uid])
        if raw is None:
            raise Nothing("the server gives nothing of it")
    except session.FAILURES as reason:
        troubles.alone.add(uid)
        raise failed(uid, WHOLE, reason, troubles) from reason
    troubles.failed.pop(uid, None)
    return raw


def failed(uid: int, what: str, reason: BaseException, troubles: Troubles) -> Unreachable:
    """One more failure of this message; unless the server said that it is away altogether."""
    words = session.failure(reason)
    if refusals.away(words):
        return Unreachable(words)
    times, _, _ = troubles.failed.get(uid, (0, "", ""))
    troubles.failed[uid] = times + 1, what, words
    return Unfetched(f"UID {uid}: {words}")


async def _judge(folder: session.Session, uid: int, uids: list[int], troubles: Troubles) -> None:
    """Returns where other messages can be had, or none is there. A connection is good for one failure, so the others take
    turns."""
    at = uids.index(uid)
    others = [other for other in (*uids[at + 1 : at + 1 + OTHERS], *uids[max(0, at - OTHERS) : at]) if other != uid]
    if uid > 1:
        before = await folder.call(folder.client.search, ["UID", f"{max(1, uid - 100)}:{uid - 1}"])
        others += sorted((set(before) - set(others)), reverse=True)[:OTHERS]
    turn = troubles.judged % len(others) if others else 0
    for other in others[turn:] + others[:turn]:
        try:
            answers = await _fetch(folder, [other], WHOLE)
        except session.FAILURES as reason:
            troubles.judged += 1
            if folder.broken:
                raise Unreachable(
                    f"neither UID {uid} nor UID {other} can be fetched: {session.failure(reason)}"
                ) from reason
            continue
        if other in answers and section(answers[other]) is not None:
            return
        troubles.judged += 1
    if others:
        raise Unreachable(f"UID {uid} can't be fetched, nor {len(others)} others: {troubles.failed[uid][2]}")


async def _fetch(folder: session.Session, uids: list[int], what: str) -> dict[int, dict[bytes, Any]]:
    found: dict[int, dict[bytes, Any]] = await folder.call(folder.client.fetch, uids, [what, "INTERNALDATE"])
    return found


def section(answer: dict[bytes, Any]) -> bytes | None:
    """What was fetched of a message: the server names it as it likes, `BODY[HEADER]<0>` or `BODY[]<0>`."""
    for name, value in answer.items():
        if name.startswith(b"BODY["):
            # A text of digits alone is read as a number.
            return value if isinstance(value, bytes) else str(value).encode() if isinstance(value, int) else None
    return None


def arrival(answer: dict[bytes, Any]) -> float:
    """INTERNALDATE in Unix seconds, 0.0 where there is none. The zone is the server's."""
    when = answer.get(b"INTERNALDATE")
    try:
        return max(0.0, when.timestamp()) if isinstance(when, datetime) else 0.0
    except (ValueError, OverflowError):
        return 0.0
