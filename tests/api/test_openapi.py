"""The OpenAPI document says what is served, all of it and nothing else, and its examples are true."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from tests.api.serving import serving
from tracking_http import api
from tracking_http.api import openapi, problems
from tracking_http.api.routing import Route

WHOLE = openapi.document(api.routes())
NAMES = [f"{route.method} {route.path}" for route in api.routes()]


def of(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = WHOLE["paths"][route.path][route.method.lower()]
    return found


def check(example: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": WHOLE["components"]}
    jsonschema.Draft202012Validator(whole).validate(example)


async def test_each_route_that_is_served_is_in_it_and_the_other_way_round(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        served = {
            (route.method, re.sub(r"^/api/v1/", "/v1/", route.resource.canonical).rstrip("/"))
            for route in server.app.router.routes()
            if route.resource and problems.api_of(route.resource.canonical) and route.method != "HEAD"
        }
        said = (await server.get("/openapi.json", key="")).body
    served -= {("GET", "/api/docs")}  # the page of the document itself
    written = {(method.upper(), path) for path, methods in said["paths"].items() for method in methods}
    assert served == written
    assert written == {(route.method, route.path) for route in api.routes()}
    assert said == WHOLE


def test_no_route_is_there_twice() -> None:
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []
    ids = [found["operationId"] for _, _, found in openapi.operations(WHOLE)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("route", api.routes(), ids=NAMES)
def test_a_route_is_described(route: Route) -> None:
    assert route.summary
    assert not route.summary.endswith(".")
    if route.media == problems.JSON:
        assert route.answer is not None
        assert route.shown is not None, "an example of its data: shown="
    if route.body is not None or problems.JSON in route.reads:
        assert route.example is not None, "an example of its body: example="
    assert route.method == "GET" or route.scope in ("send", "manage"), "what changes something needs a scope for that"


@pytest.mark.parametrize("route", api.routes(), ids=NAMES)
def test_its_examples_are_of_its_schemas(route: Route) -> None:
    found = of(route)
    for media, body in found.get("requestBody", {"content": {}})["content"].items():
        if media == problems.JSON:
            check(body["example"], body["schema"])
            given = route.body if route.body is not None else route.reads[media]
            if not isinstance(given, dict):
                msgspec.convert(body["example"], given)
    for answer in found["responses"].values():
        for body in answer.get("content", {}).values():
            if "example" in body:
                check(body["example"], body["schema"])


async def test_document_and_page_need_no_key_and_name_no_other_host(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        said = await server.get("/openapi.json", key="")
        assert said.status == 200
        assert said.headers["Content-Type"].startswith("application/json")
        for path in ("/api/docs", "/api/docs/"):
            page = await server.get(path, key="")
            assert page.status == 200
            assert page.headers["Content-Type"].startswith("text/html")
            text = page.raw.decode()
            assert not re.findall(r"(?:src|href)=\"(?!/|#)", text)
            for route in api.routes():
                assert f"{route.method} {route.path}" in text


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer", "minimum": 1, "maximum": 200}, "integer, 1 to 200"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/v3.x.Person"}}, "list of Person"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"enum": ["a", "b"]}, "a | b"),
        ({"type": "string", "maxLength": 5}, "string, up to 5 characters"),
        ({}, "anything"),
    ],
)
def test_a_type_in_words(schema: dict[str, Any], words: str) -> None:
    assert openapi.kind(schema) == words
