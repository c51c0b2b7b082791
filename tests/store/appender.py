"""A process that appends events to a SQLite store, and says which of them were acknowledged, one id a line.

python -m tests.store.appender FILE NUMBER [MESSAGE]
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from relay.core import floods, tally
from relay.store.sqlite import Sqlite
from tests.store.contract import click, endpoint


async def main(path: Path, number: int, message_id: str) -> None:
    store = Sqlite(path, limits=floods.Limits(0, 0))
    await store.start()
    await store.sync_endpoints([endpoint("e1", "message.link_clicked")])
    left = iter(range(number))

    async def waiter() -> None:
        for n in left:
            identity = tally.event_id(time.time(), os.urandom(10))
            await store.append(click(n % 3, message_id, event_id=identity, user_agent=identity))
            os.write(1, f"{identity}\n".encode())

    await asyncio.gather(*(waiter() for _ in range(32)))
    await store.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or ["m1"])[0]))
