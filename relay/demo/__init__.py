"""The demo: the whole service on loopback, with a built-in inbox as its upstream, and one page that shows it all.

Owns: its ports, its settings, its temporary folder, start and end. Leaves to others: the service itself (`app`, which
runs as it always does), the inbox (`inbox`), the page (`pages`).
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from relay import app, config, starting
from relay.core.model import Tracking
from relay.demo import inbox, originals, pages, received, writing

HOST = "127.0.0.1"
TRIES = 200  # ports that are tried, from the one asked for


class NoPort(Exception):
    """There is no free port in the range that was asked for."""


def free_port(first: int, taken: frozenset[int] = frozenset()) -> int:
    """`first`, or the next free port of 127.0.0.1; 0 means any."""
    for port in range(first, min(first + TRIES, 65_536)) if first else [0]:
        if port in taken:
            continue
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
                listener.listen(1)
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise NoPort(f"no free port on {HOST} from {first} on")


def settings(folder: Path, *, smtp: int, http: int, admin: int, upstream: int, secret: str) -> config.Settings:
    """The demo's settings: everything is tracked, all mail belongs to one grant, and its mailbox is a Maildir. `secret`
    signs the webhooks, which go to the demo itself."""
    return config.Settings(
        application_id="trackrelay-demo",
        state_dir=folder / "state",
        smtp=config.Smtp(listen=(f"{HOST}:{smtp}",), hostname="relay.localhost"),
        upstream=config.Upstream(url=f"smtp://{HOST}:{upstream}", tls="never"),
        tracking=Tracking(url=f"http://{HOST}:{http}", opens=True, links=True, thread_replies=True),
        http=config.Http(listen=(f"{HOST}:{http}",)),
        admin=config.Admin(listen=f"{HOST}:{admin}", open=True, keep_messages=86400.0),
        grants=(
            config.Grant("demo", addresses=("*",), mailbox=(f"maildir:{folder / 'Maildir'}",)),
            config.Grant("default"),
        ),
        mailbox=config.Mailbox(poll_interval=1.0),
        webhooks=(config.Webhook(f"http://{HOST}:{admin}/demo/webhook", received.TRIGGERS, secret),),
        webhook_delivery=config.WebhookDelivery(allow_private=(HOST,)),
    )


async def run(smtp: int, http: int, admin: int, *, say: Callable[[str], None]) -> None:
    """Runs until SIGINT or SIGTERM. `say` gets the lines for the user, once everything is up."""
    with tempfile.TemporaryDirectory(prefix="trackrelay-demo-") as name:
        folder = Path(name)
        handed_in = originals.Originals()
        post = inbox.Inbox(handed_in.of)
        upstream = await post.start()
        try:
            chosen: list[int] = [upstream]
            for wanted in (smtp, http, admin):
                chosen.append(free_port(wanted, frozenset(chosen)))
            notifications = received.Notifications()
            own = settings(
                folder,
                smtp=chosen[1],
                http=chosen[2],
                admin=chosen[3],
                upstream=upstream,
                secret=notifications.secret,
            )
            writing.make_mailbox(folder / "Maildir")
            places = pages.Places((HOST, chosen[1]), own.tracking.url, f"http://{HOST}:{chosen[3]}", folder / "Maildir")

            def ready(addresses: starting.Addresses) -> None:
                say(f"Open {places.admin}/")
                say(
                    f"Mail sent to {HOST}:{chosen[1]} (SMTP, no login) arrives there too. Ctrl-C ends the demo and forgets all."
                )

            await app.run(
                own,
                ready=ready,
                extra_routes=pages.Demo(post, notifications, lambda: places).routes(),
                through=handed_in.through,
            )
        finally:
            await post.stop()


def main(smtp: int, http: int, admin: int) -> int:
    """The exit code: 0 after a clean stop, 1 if it could not start."""

    def say(text: str) -> None:
        print(text, flush=True)

    try:
        import uvloop
    except ImportError:
        runner = asyncio.run
    else:
        runner = uvloop.run
    try:
        runner(run(smtp, http, admin, say=say))
    except (starting.CannotStart, NoPort) as reason:
        print(f"trackrelay demo: {reason}", file=sys.stderr)
        return 1
    return 0
