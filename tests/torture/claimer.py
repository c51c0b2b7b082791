"""A process that sends notifications until its standard input ends, with pauses of a moment after what failed.

python -m tests.torture.claimer STORE-URL ENDPOINT-URL…
"""

import asyncio
import sys
from pathlib import Path

from relay import config, store, webhooks
from relay.core import floods

TRIGGER = "message.link_clicked"


def settings(*endpoints: str) -> config.Settings:
    return config.Settings(
        webhooks=tuple(config.Webhook(url, (TRIGGER,), "a-secret-of-sixteen-or-more") for url in endpoints),
        webhook_delivery=config.WebhookDelivery(allow_private=("127.0.0.0/8",)),
    )


async def main(url: str, *endpoints: str) -> None:
    webhooks.SCHEDULE = (0, *[0.05] * 30)  # type: ignore[assignment]
    known = store.open(url, Path("/"), floods.Limits(0, 0))
    await known.start()
    room = webhooks.Webhooks(settings(*endpoints), known, times=webhooks.Times(look=0.05))
    known.watch(room.wake)
    sending = asyncio.create_task(room.run())
    await asyncio.to_thread(sys.stdin.read)
    sending.cancel()
    await asyncio.wait({sending})
    await known.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
