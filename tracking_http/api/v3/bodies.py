"""How Nylas' clients describe a message: as JSON, or in parts of multipart/form-data where its files are large.

Owns: the fields, and both forms. Leaves to others: what a message is made of (`core.compose`), what is done with it.

    JSON       the fields; each attachment's `content` in base64
    multipart  the part `message` has the fields as JSON (the Python SDK gives it an empty file name); every other part is a
               file, named by its content_id, or file0, file1 …
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import BodyPartReader, MultipartReader, http_exceptions
from msgspec import Meta

from relay.core import compose
from tracking_http.api import calls, problems
from tracking_http.api.calls import Call

T = TypeVar("T", bound="Described")
IN_PARTS = {  # of the OpenAPI document
    "type": "object",
    "required": ["message"],
    "properties": {"message": {"type": "object", "description": "The fields, as JSON."}},
    "additionalProperties": {"type": "string", "contentMediaType": "application/octet-stream"},
}

NUMBERED = re.compile(r"file\d+")
MULTIPART = "multipart/form-data"
MAX_PARTS = 500
UNREADABLE = (ValueError, AssertionError, http_exceptions.HttpProcessingError)  # what aiohttp raises for such a body
SNIPPET = 140  # characters
MAX_SNIPPED = 20_000  # characters of a body that its snippet is made from


class Person(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    email: Annotated[str, Meta(max_length=1000)]
    name: Annotated[str, Meta(max_length=1000)] | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: str


class File(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment. `content` is base64."""

    filename: str = ""
    content_type: str | None = None
    content: str = ""
    size: calls.Count | None = None
    content_id: str | None = None
    content_disposition: str | None = None
    is_inline: bool | None = None


class TrackingOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    opens: bool = False
    links: bool = False
    thread_replies: bool = False
    label: Annotated[str, Meta(max_length=2048)] | None = None
    payload: Annotated[str, Meta(max_length=2048)] | None = None
    domain_name: Annotated[str, Meta(min_length=1, max_length=253)] | None = None


People = list[Person] | None
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=500)]],
    Meta(max_length=50, description="Up to 50 texts of up to 500 characters, under names of up to 40."),
]


class Described(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A message. `tracking` is what version 2 called `tracking_options`."""

    from_: People = None
    to: People = None
    cc: People = None
    bcc: People = None
    reply_to: People = None
    subject: str | None = None
    body: str | None = None
    attachments: list[File] | None = None
    is_plaintext: bool | None = None
    send_at: calls.Time | None = None
    reply_to_message_id: str | None = None
    tracking_options: TrackingOptions | None = None
    tracking: TrackingOptions | None = None
    custom_headers: list[Header] | None = None
    metadata: Metadata | None = None
    starred: bool | None = None
    template: Any = None
    signature_id: str | None = None

    @property
    def people(self) -> dict[str, list[Person]]:
        return {"from": self.from_ or [], "to": self.to or [], "cc": self.cc or [], "bcc": self.bcc or []}


class Octets(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it came; `about` has no content."""

    about: File
    content: bytes


async def read(call: Call, type_: type[T]) -> tuple[T, list[Octets] | None]:
    """The description, and its files; None where it does not speak of files. Raises 400, 413, 415."""
    if call.request.content_type == MULTIPART:
        return await in_parts(call, type_)
    described: T = await calls.body_of(call.request, type_, call.max_body)
    if described.attachments is None:
        return described, None
    return described, [await asyncio.to_thread(decoded, n, file) for n, file in enumerate(described.attachments)]


def decoded(number: int, file: File) -> Octets:
    try:
        content = base64.b64decode("".join(file.content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise problems.invalid(f"attachments[{number}].content: is no base64.") from None
    return Octets(about=about(file, len(content)), content=content)


def about(file: File, size: int) -> File:
    return msgspec.structs.replace(file, content="", size=size)


async def in_parts(call: Call, type_: type[T]) -> tuple[T, list[Octets]]:
    described: T | None = None
    files: list[Octets] = []
    left = call.max_body
    try:
        reader = await call.request.multipart()
        async with asyncio.timeout(calls.BODY_SECONDS):
            for _ in range(MAX_PARTS):
                part = await reader.next()
                if part is None:
                    break
                if isinstance(part, MultipartReader):
                    raise problems.invalid("A part of the body is a multipart itself.")
                raw = await whole(part, left, call.max_body)
                left -= len(raw)
                if part.name == "message":
                    described = decode(raw, type_)
                else:
                    files.append(file_of(part, raw))
            else:
                raise problems.invalid(f"The body may have {MAX_PARTS} parts.")
    except TimeoutError:
        raise problems.Problem(408, "", "The body took too long to arrive.", closes=True) from None
    except UNREADABLE:
        raise problems.invalid("The body is no multipart/form-data that can be read.") from None
    if described is None:
        raise problems.invalid("message: this part is missing.")
    return described, files


async def whole(part: BodyPartReader, left: int, most: int) -> bytes:
    found = bytearray()
    while chunk := await part.read_chunk(calls.CHUNK):
        found += chunk
        if len(found) > left:
            raise calls.too_large(most)
    return bytes(part.decode(bytes(found)))


def decode(raw: bytes, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=type_)
    except msgspec.ValidationError as wrong:
        raise problems.invalid(calls.sentence(str(wrong))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise problems.invalid("message: is no JSON.") from None


def file_of(part: BodyPartReader, raw: bytes) -> Octets:
    name = part.name or ""
    content_id = None if NUMBERED.fullmatch(name) else name
    kind = part.headers.get("Content-Type", "application/octet-stream")
    file = File(filename=part.filename or "", content_type=kind, size=len(raw), content_id=content_id)
    return Octets(about=file, content=raw)


def fields_of(described: Described) -> dict[str, Any]:
    """The fields that were given, but for the files."""
    given = msgspec.to_builtins(described)
    return {name: value for name, value in given.items() if value is not None and name != "attachments"}


def inline(file: File) -> bool:
    """Whether the HTML shows it."""
    return (
        bool(file.is_inline) or (file.content_disposition or "").lower().startswith("inline") or bool(file.content_id)
    )


def snippet(body: str, *, plain: bool) -> str:
    """The beginning of its text, in one line."""
    text = body if plain else compose.text.of(body[:MAX_SNIPPED])
    return " ".join(text.split())[:SNIPPET]


async def mime(call: Call) -> bytes:
    """The part `mime` of a multipart/form-data. Raises 400, 413."""
    if call.request.content_type != MULTIPART:
        raise problems.invalid("With type=mime the body is multipart/form-data, with the part mime.")
    try:
        reader = await call.request.multipart()
        async with asyncio.timeout(calls.BODY_SECONDS):
            for _ in range(MAX_PARTS):
                part = await reader.next()
                if part is None:
                    break
                if isinstance(part, MultipartReader):
                    raise problems.invalid("A part of the body is a multipart itself.")
                raw = await whole(part, call.max_body, call.max_body)
                if part.name == "mime":
                    return raw
    except TimeoutError:
        raise problems.Problem(408, "", "The body took too long to arrive.", closes=True) from None
    except UNREADABLE:
        raise problems.invalid("The body is no multipart/form-data that can be read.") from None
    raise problems.invalid("mime: this part is missing.")


def undone(file: Octets) -> Octets:
    """The Python SDK gives a file part the text that it was given, which is base64. No file but of text looks like it."""
    raw, kind = file.content, (file.about.content_type or "").lower()
    if kind.startswith("text/") or len(raw) < 64 or len(raw) % 4 or not raw.isascii():
        return file
    try:
        content = base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        return file
    return Octets(about=about(file.about, len(content)), content=content)
