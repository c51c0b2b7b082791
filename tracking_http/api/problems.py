"""What is wrong with a call, and how each API says it.

Owns: `Problem`, its usual kinds, the body of an error in each API. Leaves to others: when there is one; success
(`envelopes`).

    v3, own    {"request_id": …, "error": {"type": …, "message": …, "provider_error"?: …}}
    v1         {"error": {"message": …, "code": STATUS, "type": …}, "request_id": …}
    elsewhere  the message, as text; what is no HTTP gets the error of v1, which has all members of the others
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web

Api = Literal["v3", "v1", "own"]

REQUEST_ID_HEADER = "X-Request-Id"
JSON = "application/json"
# request[REQUEST_ID] is the id of a call. Newer versions of aiohttp want a typed key, older ones have none.
REQUEST_ID: Any = web.RequestKey("request_id", str) if hasattr(web, "RequestKey") else "request_id"

TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "unauthorized",
    403: "insufficient_scopes",
    404: "not_found_error",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    411: "length_required",
    413: "payload_too_large",
    415: "unsupported_media_type",
    417: "expectation_failed",
    422: "unprocessable",
    429: "rate_limit_error",
    500: "internal_error",
    501: "not_implemented",
    503: "service_unavailable",
    504: "provider_error",
}


class Problem(Exception):
    """A call that fails. `message` is a sentence for who made it; `kind` "" is the usual word for the status."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        provider_error: Any = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.kind = kind or TYPES.get(status, "api_error")
        self.headers, self.provider_error, self.closes = dict(headers or {}), provider_error, closes


def invalid(message: str) -> Problem:
    return Problem(400, "", message)


def missing(what: str) -> Problem:
    """404: there is no such thing, or it is none of this key's."""
    return Problem(404, "", f"There is no such {what}.")


def api_of(path: str) -> Api | None:
    """Which API a path belongs to."""
    top, _, rest = path.lstrip("/").partition("/")
    if top in ("v3", "v1"):
        return top  # type: ignore[return-value]
    if top != "api":
        return None
    return "v1" if rest == "v1" or rest.startswith("v1/") else "own"


def request_id(request: web.Request) -> str:
    """The id of this call: ours, whatever the client says."""
    found: str | None = request.get(REQUEST_ID)
    if found is None:
        found = request[REQUEST_ID] = str(uuid.uuid4())
    return found


def answer(request: web.Request, problem: Problem) -> web.Response:
    api = api_of(request.path)
    if api is None:
        response = web.Response(status=problem.status, text=problem.message, headers=problem.headers)
    else:
        response = web.Response(
            status=problem.status,
            body=msgspec.json.encode(body(api, request_id(request), problem)),
            content_type=JSON,
            headers={"Cache-Control": "no-store", **problem.headers},
        )
    if problem.closes:
        response.headers["Connection"] = "close"
        response.force_close()
    return response


def body(api: Api, request_id: str, problem: Problem) -> dict[str, Any]:
    error: dict[str, Any] = {"type": problem.kind, "message": problem.message}
    if api == "v1":
        error["code"] = problem.status
    if problem.provider_error is not None:
        error["provider_error"] = problem.provider_error
    return {"request_id": request_id, "error": error}


def unreadable(status: int, message: str) -> web.Response:
    """The answer to what is no HTTP, and so has no path: an error of all the APIs at once."""
    name = str(uuid.uuid4())
    error = body("v1", name, Problem(status, "", message))
    headers = {"Cache-Control": "no-store", REQUEST_ID_HEADER: name}
    return web.Response(status=status, body=msgspec.json.encode(error), content_type=JSON, headers=headers)


def of_http(given: web.HTTPException) -> Problem:
    """What aiohttp or another room refused, as a problem."""
    kept = {name: given.headers[name] for name in ("Allow", "Retry-After", "WWW-Authenticate") if name in given.headers}
    match given.status:
        case 404:
            message = "There is nothing at this path."
        case 405:
            message = f"This path takes {kept.get('Allow', 'another method')} only."
        case 413:
            message = "The request is too large."
        case _:
            message = given.text or given.reason
    closes = given.status == 413 or given.headers.get("Connection", "").lower() == "close"
    return Problem(given.status, "", message, headers=kept, closes=closes)
