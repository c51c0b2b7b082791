"""One call of the API: what its handler is given, and how that is read from the request.

Owns: `Call`, `Services`, reading a body, a query, a part of the path, a grant. Leaves to others: who may (`routing`), what
a handler does with it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin, get_type_hints

import msgspec
from aiohttp import web
from msgspec import Meta

from relay import store
from relay.config import Grant, Settings
from relay.core import addresses
from relay.core.model import Keys
from relay.store.contract import Store
from relay.submitting import Submitting
from relay.webhooks.post import Poster
from tracking_http.api import problems

T = TypeVar("T")

BODY_SECONDS = 60.0
CHUNK = 1 << 16

Time = Annotated[int, Meta(ge=0, le=253_402_300_799)]  # Unix seconds, up to the year 9999
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What every list of v3 takes."""

    limit: Annotated[int, Meta(ge=1, le=200, description="Items in a page.")] = 50
    page_token: Annotated[str, Meta(description="`next_cursor` of the page before.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the handlers work with; `wiring` gives it. One line for each."""

    settings: Settings
    store: Store
    poster: Poster | None = None  # what calls webhook endpoints
    submitting: Submitting | None = None
    keys_of_tokens: Callable[[], Keys] | None = None
    patience: float = 60.0  # seconds in which who asked for an export must have read a page, or be gone

    @property
    def spool(self) -> Path:
        return self.settings.state_dir / "spool"


API = web.AppKey("api", Services)


@dataclass(frozen=True, slots=True)
class Call:
    """`who` is the key that asks; `grant` is the one in the path, None where the path has none."""

    request: web.Request
    services: Services
    who: store.ApiKey
    request_id: str
    max_body: int
    grant: Grant | None = None
    body: Any = None
    query: Any = None
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def grant_id(self) -> str:
        """The grant whose data this call is about: that in the path, else the key's; "" is all of them."""
        return self.grant.id if self.grant else self.who.grant

    @property
    def poster(self) -> Poster:
        assert self.services.poster
        return self.services.poster

    def path(self, name: str) -> str:
        """A part of the path, decoded."""
        return self.parts[name]

    async def read(self) -> bytes:
        """The whole body. Raises 413 and 408."""
        return await read(self.request, self.max_body)

    def sees(self, grant_id: str) -> bool:
        """Whether what belongs to that grant may be shown to this call."""
        return self.grant_id in ("", grant_id)


def keys_of(call: Call) -> Keys:
    """What recipients are known by is made with these."""
    if call.services.keys_of_tokens is None:
        raise problems.Problem(503, "", "This process has no token keys.")
    return call.services.keys_of_tokens()


def too_large(most: int) -> problems.Problem:
    return problems.Problem(413, "", f"The body may have {most} octets.", closes=True)


async def read(request: web.Request, most: int) -> bytes:
    if (request.content_length or 0) > most:
        raise too_large(most)
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_chunked(CHUNK):
                found += chunk
                if len(found) > most:
                    raise too_large(most)
    except TimeoutError:
        raise problems.Problem(408, "", "The body took too long to arrive.", closes=True) from None
    return bytes(found)


async def body_of(request: web.Request, type_: Any, most: int) -> Any:
    """The body as a value of that type. Raises 400 that names the field, 413, 415."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise problems.Problem(415, "", "The body is JSON: Content-Type: application/json.", closes=True)
    raw = await read(request, most)
    try:
        return msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError as wrong:
        raise problems.invalid(sentence(str(wrong))) from None
    except RecursionError:
        raise problems.invalid("The body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise problems.invalid("The body is not UTF-8.") from None
    except msgspec.DecodeError as wrong:
        raise problems.invalid("The body is empty, and should be JSON." if not raw else f"{wrong}.") from None


def query_of(request: web.Request, type_: Any) -> Any:
    """The query as a Struct. Keys that it does not have are ignored."""
    hints = get_type_hints(type_)
    given: dict[str, Any] = {}
    for item in msgspec.structs.fields(type_):
        values = request.query.getall(item.encode_name, ())
        if not values:
            continue
        if not all(map(clean, values)):
            raise problems.invalid(f"{item.encode_name}: no text.")
        given[item.encode_name] = list(values) if many(hints[item.name]) else values[-1]
    try:
        return msgspec.convert(given, type_, strict=False)
    except msgspec.ValidationError as wrong:
        raise problems.invalid(sentence(str(wrong))) from None


def many(hint: Any) -> bool:
    return get_origin(hint) in (list, tuple, Sequence)


def clean(text: str) -> bool:
    """Whether it is text: no NUL, nothing that was no UTF-8."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


SAID = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$\.?(?P<where>.*)`)?", re.S)
LACKS = re.compile(r"Object missing required field `(.+)`")


def sentence(text: str) -> str:
    """msgspec's complaint, with the field first: "to[0].email: expected `str`, got `int`"."""
    found = SAID.fullmatch(text)
    assert found
    what, where = found["what"], found["where"] or ""
    if found["key"]:
        what = f"a name in it: {what}"
    lacking = LACKS.fullmatch(what)
    if lacking:
        return f"{where}.{lacking[1]}: is required".lstrip(".")
    return f"{where}: {what[:1].lower()}{what[1:]}" if where else f"The body: {what[:1].lower()}{what[1:]}"


def grant_of(text: str, who: store.ApiKey, settings: Settings) -> Grant:
    """The configured grant that a path names: its id, `grant:ID`, an address of it, `email:ADDRESS`, or `me` for the key's
    own. Raises 404, also where it is another than the key's: a key learns nothing of others."""
    given = text.removeprefix("grant:")
    address = given.removeprefix("email:")
    own = [grant for grant in settings.grants if who.grant in ("", grant.id)]
    if given == "me" and who.grant:
        given = who.grant
    for grant in own:
        if grant.id == given:
            return grant
    if "@" in address:
        same = addresses.comparable(address)
        for grant in settings.grants:
            if (grant.email and addresses.comparable(grant.email) == same) or addresses.matches(
                address, grant.addresses
            ):
                if grant in own:
                    return grant
                break
    raise problems.missing("grant")
