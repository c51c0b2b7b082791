"""What is around the data of an answer, in each API.

Owns: these forms. Leaves to others: errors (`problems`), the data itself (the handlers).

    v3, own    {"request_id": …, "data": …, "next_cursor"?: …}
    v1         {"success": true, "data": …}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracking_http.api.problems import Api


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list. `next_cursor` is None at its end."""

    items: Sequence[Any]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Data with what else is to be said. `status` None is the route's; `beside` are members next to `data`."""

    data: Any
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)


def wrap(api: Api, request_id: str, given: Any, beside: Mapping[str, Any]) -> dict[str, Any]:
    data, cursor = (given.items, given.next_cursor) if isinstance(given, Page) else (given, None)
    wrapped: dict[str, Any] = {"success": True} if api == "v1" else {"request_id": request_id}
    wrapped |= beside
    wrapped["data"] = data
    if cursor is not None:
        wrapped["next_cursor"] = cursor
    return wrapped
