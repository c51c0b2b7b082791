"""All that one store remembers, taken into another, of whatever engine.

Owns: the order of things, going on where an earlier copy ended, and the comparison. Leaves to others: the tables
(`sql.copying`), saying how far it is (`commands.store`).

Rows are copied in the order of their keys, so the last row that is there says how far a copy came. Neither store may be
in use meanwhile: the comparison shows it, where one was.

A key with U+0000 has another place in the order where that is U+FFFD, so a table whose last key is such a one is taken again
from its beginning. Of two keys that differ in nothing else the first one's row is taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

import msgspec

from relay.store import decisions
from relay.store.sql import copying
from relay.store.sql.copying import Copied
from relay.store.sql.engine import Engine
from relay.store.sql.program import Row

Progress = Callable[[str, str, int, int], None]  # what is done, with which table, how many rows of how many
MODULUS = 1 << 128
ENOUGH = 4 << 20  # octets of rows at once: a statement has its time, and both ends hold them in memory
FASTER = 4  # times as many rows as the last time, at most: they may be larger
REPLACED = "\N{REPLACEMENT CHARACTER}".encode()


class Different(Exception):
    """The other store holds something else. The text says what."""


class Compared(NamedTuple):
    """A table as it is in a store: how many rows, and a sum over all of them that tells two such tables apart."""

    rows: int
    sum: int


async def copy(source: Engine, target: Engine, progress: Progress) -> int:
    """The number of rows that both have then. Raises `Different`, `Unavailable`."""
    for table in copying.TABLES:
        await check(source, target, table)
    wholes = {table.name: await carry(source, target, table, progress) for table in copying.TABLES}
    await target.write(copying.close, await source.read(copying.ends))
    return await compare(source, target, wholes, progress)


async def check(source: Engine, target: Engine, table: Copied) -> None:
    """What is there must have been copied from here."""
    last = await target.read(copying.last, table)
    if last is None:
        return
    key = copying.key_of(table, last)
    if REPLACED in encoded(key):
        return  # whose it is the comparison says
    same = await source.read(copying.at, table, key)
    if same is None or encoded(same) != encoded(last):
        raise Different(f"{table.name} of the store to copy to has rows that are not of this store")


async def carry(source: Engine, target: Engine, table: Copied, progress: Progress) -> int:
    """How many rows there are to copy."""
    last, done = await target.read(copying.last, table), await count(target, table)
    whole = await count(source, table)
    after = copying.key_of(table, last) if last else None
    if after is not None and await source.read(copying.at, table, after) is None:
        after, done = None, 0
    async for rows in pages(source, table, after):
        await target.write(target.adding, table, rows)
        done += len(rows)
        progress("copied", table.name, done, whole)
    return whole


async def count(store: Engine, table: Copied) -> int:
    """Its rows, some at a time: of very many no one statement has the time."""
    number, after = await store.read(copying.counted, table, None)
    while after is not None:
        more, after = await store.read(copying.counted, table, after)
        number += more
    return number


async def pages(store: Engine, table: Copied, after: Row | None = None) -> AsyncIterator[list[Row]]:
    most = 1
    while rows := await store.read(copying.page, table._replace(most=most), after):
        yield rows
        after = copying.key_of(table, rows[-1])
        most = max(1, min(most * FASTER, table.most, ENOUGH * len(rows) // weight(rows)))


def weight(rows: list[Row]) -> int:
    """In octets, or so."""
    return 1 + sum(len(value) for row in rows for value in row if isinstance(value, str | bytes))


async def compare(source: Engine, target: Engine, wholes: Mapping[str, int], progress: Progress) -> int:
    number = 0
    for table in copying.TABLES:
        ours, theirs = [await compared(store, table, wholes[table.name], progress) for store in (source, target)]
        if ours != theirs:
            raise Different(f"{table.name} is not the same in both: {ours.rows} and {theirs.rows} rows")
        number += ours.rows
    if await source.read(copying.ends) != await target.read(copying.ends):
        raise Different("the numbers that are given next are not the same in both")
    return number


async def compared(store: Engine, table: Copied, whole: int, progress: Progress) -> Compared:
    number, total = 0, 0
    twins: set[bytes] = set()  # keys that another one may have become
    async for rows in pages(store, table):
        for row in rows:
            octets = encoded(row)
            if REPLACED in octets and REPLACED in (key := encoded(copying.key_of(table, row))):
                if key in twins:
                    continue
                twins.add(key)
            number += 1
            total = (total + int.from_bytes(hashlib.blake2b(octets, digest_size=16).digest(), "big")) % MODULUS
        progress("compared", table.name, number, whole)
    return Compared(number, total)


def encoded(row: Row) -> bytes:
    """As any of the engines has it: U+0000 is not in all of them."""
    return msgspec.json.encode([decisions.mended(value) for value in row]).replace(b"\\u0000", REPLACED)
