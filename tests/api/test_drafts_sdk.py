"""Drafts and scheduled messages by the official Python SDK, as it is."""

import asyncio
import time
from pathlib import Path
from typing import Any

from nylas import Client

from relay.store import Schedule
from tests.api.serving import Api, serving


def client(server: Api) -> Any:
    return Client("all", f"http://127.0.0.1:{server.port}")


async def test_drafts(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        drafts = client(server).drafts

        def work() -> None:
            file = {"filename": "a.txt", "content_type": "text/plain", "content": "aGVsbG8=", "size": 5}
            body = {
                "subject": "Hello", "body": "<p>Hi</p>", "to": [{"name": "Bob", "email": "bob@example.org"}],
                "attachments": [file], "tracking_options": {"opens": True, "links": True, "label": "x"},
            }  # fmt: skip
            made = drafts.create("sales", body).data
            assert (made.object, made.grant_id, made.subject, made.to[0]["email"]) == (
                "draft", "sales", "Hello", "bob@example.org",
            )  # fmt: skip
            assert (made.attachments[0].filename, made.attachments[0].size) == ("a.txt", 5)
            assert made.tracking_options.opens
            assert drafts.find("sales", made.id).data == made
            assert drafts.update("sales@example.com", made.id, {"subject": "Other"}).data.subject == "Other"
            assert [draft.id for draft in drafts.list("sales", {"limit": 1}).data] == [made.id]
            assert drafts.destroy("sales", made.id).request_id
            assert drafts.list("sales").data == []

        await asyncio.to_thread(work)


async def test_scheduled_messages(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        now = time.time()
        await server.known.add_schedule(Schedule("s1", "sales", "m1", now + 600, now), [b""])
        messages = client(server).messages

        def work() -> None:
            (one,) = messages.list_scheduled_messages("sales").data
            assert (one.schedule_id, one.status.code, one.close_time) == ("s1", "pending", None)
            assert messages.find_scheduled_message("sales", "s1").data == one
            stopped = messages.stop_scheduled_message("sales", "s1").data
            assert stopped.message == "requested cancelation for workflow"
            assert messages.find_scheduled_message("sales", "s1").data.status.code == "cancelled"

        await asyncio.to_thread(work)
