"""The OpenAPI 3.1 document of the APIs, made from the declarations of their routes, and a page that shows it.

Owns: both, and their two routes. They name nothing of this installation, so they are open to all, like the login form.
Leaves to others: the declarations (`routing`), how the types are written as JSON Schema (msgspec).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import msgspec
from aiohttp import web

from relay import __version__
from tracking_http import api
from tracking_http.api import problems, routing
from tracking_http.api.problems import Api
from tracking_http.api.routing import Route

ROOM = "tracking_http.api."  # cut off the names of types that two modules have
REF = "#/components/schemas/"

TAGS: Mapping[Api, tuple[str, str]] = {
    "v3": ("Nylas v3", "For clients of Nylas: the official SDKs work with only `api_uri` changed."),
    "v1": ("Unosend", "For clients of Unosend. Each path is also served under `/api/v1`."),
    "own": ("trackrelay", "Our own: what neither of the others has a word for."),
}
USUAL: Mapping[int, str] = {
    400: "The call is wrong; the message names the field.",
    401: "There is no key, or it is none of this installation's.",
    403: "The key has not the scope for this, or the request came from another site's page.",
    404: "There is nothing of that name, or it is none of this key's.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The body is of a type that is not read here.",
    429: "Too many calls; Retry-After says when to go on.",
    500: "A failure of the server; its log says which.",
    503: "The database does not answer, or the server is stopping.",
}
INTRODUCTION = """\
Every answer has an `x-request-id`. A key is sent as `Authorization: Bearer KEY`; `trackrelay api-key create` makes one.
What a key may do is its scopes (send, read, manage) and its grant. A path may end in a slash. Fields that are not known
are ignored."""

ERROR = {
    "type": "object",
    "required": ["request_id", "error"],
    "properties": {
        "request_id": {"type": "string"},
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {
                "type": {"type": "string"},
                "message": {"type": "string"},
                "code": {"type": "integer", "description": "The status, under /v1."},
                "provider_error": {"description": "What the upstream mail server said."},
            },
        },
    },
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document of these routes. A path of v1 is there once, without /api before it."""
    routes = tuple(routes)
    types = [t for route in routes for t in (route.body, route.query, route.answer, *typed(route)) if t is not None]
    found, components = msgspec.json.schema_components(types, ref_template=REF + "{name}")
    schemas = dict(zip(map(str, types), found, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route, schemas, components)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "trackrelay", "version": __version__, "description": INTRODUCTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": words} for name, words in TAGS.values()],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {**components, "Error": ERROR},
            "responses": {str(status): failure(words) for status, words in USUAL.items()},
        },
    }
    text = msgspec.json.encode(whole).replace(ROOM.encode(), b"")
    return msgspec.json.decode(text)  # type: ignore[no-any-return]


def typed(route: Route) -> Iterator[Any]:
    return (given for given in route.reads.values() if not isinstance(given, Mapping))


def failure(words: str) -> dict[str, Any]:
    return {"description": words, "content": {problems.JSON: {"schema": {"$ref": f"{REF}Error"}}}}


def operation(route: Route, schemas: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    scope = f"Scope: `{route.scope}`." if route.scope else "Any key."
    found: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": f"{route.description}\n\n{scope}".strip(),
        "tags": [TAGS[route.api][0]],
        "responses": {str(route.status): success(route, schemas)},
    }
    parameters = [*of_path(route), *of_query(route, schemas, components)]
    if parameters:
        found["parameters"] = parameters
    bodies = {problems.JSON: route.body} if route.body is not None else dict(route.reads)
    if bodies:
        content: dict[str, Any] = {
            media: {"schema": dict(given) if isinstance(given, Mapping) else schemas[str(given)]}
            for media, given in bodies.items()
        }
        if problems.JSON in content and route.example is not None:
            content[problems.JSON]["example"] = route.example
        found["requestBody"] = {"required": True, "content": content}
    responses = found["responses"]
    for status in USUAL:
        responses[str(status)] = {"$ref": f"#/components/responses/{status}"}
    for status, words in route.answers.items():
        responses[str(status)] = failure(words) if status >= 400 else {**success(route, schemas), "description": words}
    return found


def operation_id(route: Route) -> str:
    words = re.sub(r"[^a-z0-9]+", "_", f"{route.method}_{route.path}".lower())
    return words.strip("_")


def of_path(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", route.path)
    words = {"grant_id": "A grant: its id, `grant:ID`, an address of it, `email:ADDRESS`, or `me` for the key's own."}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": routing.MAX_PART},
            **({"description": words[name]} if name in words else {}),
        }
        for name in names
    ]


def of_query(route: Route, schemas: Mapping[str, Any], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = components[schemas[str(route.query)]["$ref"].removeprefix(REF)]
    found = []
    for name, given in schema["properties"].items():
        described = dict(given)
        words = described.pop("description", "")
        found.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "schema": described,
                **({"description": words} if words else {}),
            }
        )
    return found


def success(route: Route, schemas: Mapping[str, Any]) -> dict[str, Any]:
    words = "What was asked for."
    if route.media != problems.JSON:
        return {"description": words, "content": {route.media: {"schema": {"type": "string"}}}}
    listed = schemas.get(str(route.answer), {}) if route.answer is not None else {}
    first = {"success": {"const": True}} if route.api == "v1" else {"request_id": {"type": "string"}}
    properties: dict[str, Any] = {**first, "data": listed}
    if listed.get("type") == "array":
        properties["next_cursor"] = {"type": "string", "description": "Where the list goes on; absent at its end."}
    content: dict[str, Any] = {"schema": {"type": "object", "required": [*first, "data"], "properties": properties}}
    if route.shown is not None:
        shown = [route.shown] if listed.get("type") == "array" and not isinstance(route.shown, list) else route.shown
        example = {"success": True} if route.api == "v1" else {"request_id": "5967ca40-a2d8-4ee0-a0e0-6f18ace39a90"}
        content["example"] = {**example, "data": shown}
    return {"description": words, "content": {problems.JSON: content}}


# -- served ------------------------------------------------------------------------------------------------------------


@functools.cache
def written() -> bytes:
    return msgspec.json.format(msgspec.json.encode(document(api.routes())), indent=1)


@functools.cache
def rendered() -> str:
    folders = [Path(__file__).parent / "templates", Path(__file__).parent.parent / "dashboard" / "templates"]
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    pages.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    pages.filters["kind"] = kind
    pages.filters["words"] = words_of
    whole = msgspec.json.decode(written())
    groups = [
        (tag, [(path, method, found) for path, method, found in operations(whole) if found["tags"] == [tag["name"]]])
        for tag in whole["tags"]
    ]
    schemas = whole["components"]["schemas"]
    return pages.get_template("docs.html").render(
        whole=whole, groups=groups, usual=whole["components"]["responses"], fields=functools.partial(fields, schemas)
    )


def operations(whole: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in whole["paths"].items():
        for method, found in methods.items():
            yield path, method, found


def fields(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], bool]]:
    """Name, schema and "is required" of each field of an object, "list of" or by reference."""
    while "$ref" in schema or schema.get("type") == "array":
        schema = schemas[schema["$ref"].removeprefix(REF)] if "$ref" in schema else schema.get("items", {})
    required = schema.get("required", ())
    return [(name, given, name in required) for name, given in schema.get("properties", {}).items()]


def kind(schema: Mapping[str, Any]) -> str:
    """A type in words: "list of string", "integer, 1 to 200"."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF).rpartition(".")[2]
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    words = str(schema.get("type", "anything"))
    if words == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if "minimum" in schema or "maximum" in schema:
        words += f", {schema.get('minimum', '…')} to {schema.get('maximum', '…')}"
    if "maxLength" in schema:
        words += f", up to {schema['maxLength']} characters"
    return words


def words_of(text: str) -> markupsafe.Markup:
    """Text with `code` in it, as HTML."""
    return markupsafe.Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(markupsafe.escape(text))))  # noqa: S704


async def served(request: web.Request) -> web.Response:
    return web.Response(body=written(), content_type=problems.JSON, headers={"Cache-Control": "no-cache"})


async def page(request: web.Request) -> web.Response:
    return web.Response(text=rendered(), content_type="text/html", headers={"Cache-Control": "no-cache"})


def mount(app: web.Application) -> None:
    app.router.add_get("/openapi.json", served)
    app.router.add_get("/api/docs", page)
    app.router.add_get("/api/docs/", page)
