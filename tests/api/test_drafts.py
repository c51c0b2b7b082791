"""Drafts: created, found, changed, listed, thrown away; as JSON and in parts."""

import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.api.serving import Api, serving

PATH = "/v3/grants/sales/drafts"
FILE = {"filename": "a.txt", "content_type": "text/plain", "content": base64.b64encode(b"a\x00b").decode(), "size": 3}
BODY: dict[str, Any] = {
    "subject": "Grüße",
    "body": "<p>Hello <b>Bob</b></p>",
    "to": [{"email": "bob@example.org", "name": "Bob"}],
    "tracking_options": {"opens": True, "label": "spring"},
    "metadata": {"campaign": "7"},
    "attachments": [FILE],
}


async def created(server: Api, **changes: Any) -> Any:
    return (await server.post(PATH, BODY | changes)).data


async def test_a_draft_is_created_and_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made = await created(server)
        assert made["object"] == "draft"
        assert (made["grant_id"], made["subject"], made["body"]) == ("sales", "Grüße", BODY["body"])
        assert (made["to"], made["snippet"]) == (BODY["to"], "Hello Bob")
        assert made["tracking_options"] == BODY["tracking_options"]
        (file,) = made["attachments"]
        assert {
            "filename": "a.txt",
            "content_type": "text/plain",
            "size": 3,
            "grant_id": "sales",
        }.items() <= file.items()
        assert (await server.get(f"{PATH}/{made['id']}")).data == made
        assert await server.known.contents(made["id"]) == [b"a\x00b"]


async def test_a_change_leaves_what_it_does_not_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made = await created(server)
        path = f"{PATH}/{made['id']}"
        changed = (await server.ask("PUT", path, json={"subject": "Other", "cc": [{"email": "c@example.org"}]})).data
        assert (changed["subject"], changed["body"], len(changed["attachments"])) == ("Other", made["body"], 1)
        assert (await server.get(path)).data == changed
        changed = (await server.ask("PUT", path, json={"attachments": [], "tracking": {"links": True}})).data
        assert (changed["attachments"], changed["tracking_options"]) == ([], {"links": True})
        assert await server.known.contents(made["id"]) == []


@pytest.mark.parametrize("named", ["", None], ids=["file", "text"])
async def test_a_draft_in_parts(tmp_path: Path, named: str | None) -> None:
    """The Python SDK's message part is a file without a name, the Node SDK's is none."""
    content = bytes(range(256)) * 5000
    async with serving(tmp_path) as server:
        form = aiohttp.FormData()
        described = {name: value for name, value in BODY.items() if name != "attachments"}
        form.add_field("message", json.dumps(described), content_type="application/json", filename=named)
        form.add_field("file0", content, filename="big.bin", content_type="application/x-big")
        form.add_field("logo", b"GIF89a", filename="logo.gif", content_type="image/gif")
        made = (await server.ask("POST", PATH, data=form)).data
        big, logo = made["attachments"]
        assert (big["filename"], big["size"], big["content_type"]) == ("big.bin", len(content), "application/x-big")
        assert (logo["content_id"], logo["is_inline"]) == ("logo", True)
        assert await server.known.contents(made["id"]) == [content, b"GIF89a"]


async def test_drafts_are_listed_and_filtered(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made = [(await created(server, subject=f"Number {n}", attachments=[])) for n in range(3)]
        made.sort(key=lambda draft: draft["id"])  # of one millisecond: in any order
        ids = [draft["id"] for draft in made]
        await server.post("/v3/grants/hr/drafts", BODY)
        first = (await server.get(f"{PATH}?limit=2")).body
        assert [draft["id"] for draft in first["data"]] == ids[:0:-1]
        last = (await server.get(f"{PATH}?limit=2&page_token={first['next_cursor']}")).body
        assert ([draft["id"] for draft in last["data"]], last.get("next_cursor")) == (ids[:1], None)
        await server.ask("PUT", f"{PATH}/{ids[1]}", json={"starred": True, "to": [{"email": "eve@example.org"}]})
        for query, found in (
            (f"subject={made[1]['subject'].lower().replace(' ', '%20')}", [ids[1]]),
            ("starred=true", [ids[1]]),
            ("to=EVE@example.org", [ids[1]]),
            ("any_email=x@y.z,eve@example.org", [ids[1]]),
            ("has_attachment=true", []),
            ("metadata_pair=campaign:7&limit=1", [ids[2]]),
            ("metadata_pair=campaign:8", []),
        ):
            assert [draft["id"] for draft in (await server.get(f"{PATH}?{query}")).data] == found, query


async def test_a_draft_is_thrown_away_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        path = f"{PATH}/{(await created(server))['id']}"
        assert (await server.ask("DELETE", path.replace("sales", "hr"))).status == 404
        assert [(await server.ask("DELETE", path)).status for _ in range(2)] == [200, 404]
        assert (await server.get(path)).status == 404
        assert (await server.ask("PUT", path, json={})).status == 404


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"to": "bob@example.org"}, "to"), ({"to": [{"name": "Bob"}]}, "to[0].email"),
        ({"attachments": [{"content": "%%%"}]}, "attachments[0].content"),
        ({"tracking_options": {"opens": "yes"}}, "tracking_options.opens"),
        ({"tracking_options": {"label": "x" * 2049}}, "tracking_options.label"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(tmp_path: Path, body: Any, word: str) -> None:
    async with serving(tmp_path) as server:
        said = await server.post(PATH, body)
        assert (said.status, said.body["error"]["type"]) == (400, "invalid_request_error")
        assert word in said.body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"--x\r\nContent-Disposition: form-data; name=\"file0\"\r\n\r\nx\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"no parts", "multipart/form-data; boundary=x"), (b"no boundary", "multipart/form-data"),
        (b"--x\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n{\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y--\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ],
)  # fmt: skip
async def test_a_form_that_is_none_is_a_400(tmp_path: Path, body: bytes, kind: str) -> None:
    async with serving(tmp_path) as server:
        said = await server.ask("POST", PATH, data=body, headers={"Content-Type": kind})
        assert said.status == 400, said.raw
