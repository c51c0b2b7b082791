"""The routes of scheduled messages."""

import time
from pathlib import Path
from typing import Any

import pytest

from relay.store import Schedule
from tests.api.serving import serving

PATH = "/v3/grants/sales/messages/schedules"


def schedule(number: int = 1, ahead: float = 3600.0, **changes: Any) -> Schedule:
    now = time.time()
    return Schedule(f"s{number}", "sales", f"m{number}", now + ahead, now).with_(**changes)


async def test_they_are_listed_and_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for number in (1, 2, 3):
            await server.known.add_schedule(schedule(number), [b""])
        await server.known.add_schedule(schedule(4, grant_id="hr"), [b""])
        first = (await server.get(f"{PATH}?limit=2")).body
        assert [one["schedule_id"] for one in first["data"]] == ["s3", "s2"]
        last = (await server.get(f"{PATH}?limit=2&page_token={first['next_cursor']}")).body
        assert ([one["schedule_id"] for one in last["data"]], "next_cursor" in last) == (["s1"], False)
        assert (await server.get(f"{PATH}/s1")).data == {
            "schedule_id": "s1",
            "status": {"code": "pending", "description": "schedule send awaiting send at time"},
        }
        for path in (f"{PATH}/s9", f"{PATH}/s4"):
            assert (await server.get(path)).status == 404


@pytest.mark.parametrize(
    ("state", "code"), [("sent", "success"), ("failed", "failed"), ("handed", "pending"), ("cancelled", "cancelled")]
)
async def test_what_became_of_it(tmp_path: Path, state: str, code: str) -> None:
    async with serving(tmp_path) as server:
        await server.known.add_schedule(schedule(ahead=-1), [b""])
        (claimed,) = await server.known.claim_schedules(time.time())
        closed = 0.0 if state == "handed" else 1_800_000_000.7
        await server.known.settle_schedule(claimed.with_(state=state, closed_at=closed))
        found = (await server.get(f"{PATH}/s1")).data
        assert (found["status"]["code"], found.get("close_time")) == (code, int(closed) or None)


async def test_one_is_cancelled_once_and_in_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.known.add_schedule(schedule(1), [b""])
        await server.known.add_schedule(schedule(2, ahead=9), [b""])
        gone = await server.ask("DELETE", f"{PATH}/s1")
        assert (gone.status, gone.data) == (202, {"message": "requested cancelation for workflow"})
        for path, status in ((f"{PATH}/s1", 400), (f"{PATH}/s2", 400), (f"{PATH}/s3", 404)):
            assert (await server.ask("DELETE", path)).status == status
        assert (await server.get(f"{PATH}/s1")).data["status"]["code"] == "cancelled"
        assert (await server.get(f"{PATH}/s2")).data["status"]["code"] == "pending"


async def test_who_may_only_read_cancels_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.known.add_schedule(schedule(1), [b""])
        for key, status in (("sales-read", 403), ("hr-send", 404), ("sales-send", 202)):
            assert (await server.ask("DELETE", f"{PATH}/s1", key)).status == status
