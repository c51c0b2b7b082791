"""What the tests of rewriting share: plans, messages, and the check that nothing but the edits changed."""

from __future__ import annotations

import base64
import email
import email.message
import email.policy
import quopri
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from relay.core import headers, rewrite
from relay.core.model import Edit, TokenKind, Tracking

BASE = "https://t.example.net"
TRACKING = Tracking(url=BASE, opens=True, links=True)
PIXEL = f"{BASE}/o/" + "p" * 34
MARKUP = f'<img src="{PIXEL}" width="1" height="1" alt="" style="border:0">'


def length(url: str) -> int:
    return len(BASE) + 3 + 34 + len(url) * 4 // 3


def href(index: int, size: int = 90) -> str:
    return f"{BASE}/c/{'h' * (size - len(BASE) - 11)}-{index:05d}-z"


def plan(*, opens: bool = True, links: bool = True, own: tuple[str, ...] = (BASE,), **options: Any) -> rewrite.Plan:
    return rewrite.Plan(opens, links, replace(TRACKING, **options), own, length, mine)


def mine(kind: TokenKind, text: str) -> bool:
    """Whether this is the end of a URL that the tests give a message."""
    return text.startswith({"open": "pppp", "canary": "cccc"}.get(kind, "hhhh"))


def prepared(raw: bytes, **options: Any) -> rewrite.Prepared:
    return rewrite.prepare(raw, headers.read(raw), plan(**options))


def rendered(
    found: rewrite.Prepared, *, make: Callable[[int], str] = href, edits: Iterable[Edit] = (), pixel: str = PIXEL
) -> bytes:
    hrefs = [make(index) for index in range(len(found.links))]
    return rewrite.render(found, hrefs=hrefs, pixel=pixel if found.has_pixel else None, edits=edits).content()


def applied(raw: bytes, edits: rewrite.Edits, *, forgets: bool) -> bytes:
    """As an MTA does it, edit by edit on the fields that are there by then. `forgets`: a field that was removed is not
    counted any more (Postfix); else its place is (Sendmail)."""
    head = headers.read(raw)
    fields: list[tuple[str, bytes, bytes] | None] = [
        (field.name, raw[field.start : field.value], raw[field.value : field.end]) for field in head.fields
    ]
    names = [field.name for field in head.fields]
    for edit in edits.headers:
        if isinstance(edit, rewrite.Added):
            fields.insert(edit.above, (edit.name.lower(), edit.name.encode() + b":", edit.value + b"\r\n"))
            names.insert(edit.above, edit.name.lower())
            continue
        there = [i for i, name in enumerate(names) if name == edit.name.lower()]
        place = there[edit.index - 1]
        was = fields[place]
        assert was is not None
        assert was[1].rstrip(b": \t").decode() == edit.name
        if isinstance(edit, rewrite.Replaced):
            fields[place] = (was[0], was[1], edit.value + b"\r\n")
        elif forgets:
            del fields[place], names[place]
        else:
            fields[place] = None
    section = b"".join(start + value for _, start, value in filter(None, fields))
    rest = raw[head.end : head.body] + (raw[head.body :] if edits.body is None else edits.body)
    no_header_section = head.malformed == head.start and rest.startswith((b" ", b"\t"))
    return section + (b"\r\n" if section and no_header_section else b"") + rest


def message(
    body: str | bytes, *, kind: str = "text/html", charset: str = "utf-8", encoding: str = "8bit", newline: str = "\r\n",
    extra: str = "",
) -> bytes:  # fmt: skip
    """A message of one part, its body encoded as told."""
    content = body if isinstance(body, bytes) else body.replace("\n", newline).encode(charset or "ascii", "replace")
    if encoding == "base64":
        content = base64.encodebytes(content).replace(b"\n", newline.encode())
    elif encoding == "quoted-printable":
        content = quopri.encodestring(content.replace(b"\r\n", b"\n")).replace(b"\n", newline.encode())
    label = f"; charset={charset}" if charset else ""
    top = f"From: a@example.com\nTo: b@example.org\nSubject: x\n{extra}MIME-Version: 1.0\n"
    top += f"Content-Type: {kind}{label}\nContent-Transfer-Encoding: {encoding}\n\n"
    return top.replace("\n", newline).encode() + content


def multipart(subtype: str, *parts: bytes, boundary: str = "=_b=", extra: str = "", newline: bytes = b"\r\n") -> bytes:
    """A multipart of parts that have their header sections; a message or a part."""
    top = f'{extra}Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.replace("\r\n", newline.decode())
    mark = boundary.encode()
    inner = b"".join(b"--" + mark + newline + part + newline for part in parts)
    return top.encode() + inner + b"--" + mark + b"--" + newline


def leaf(body: bytes, kind: str = "text/html; charset=utf-8", *fields: str) -> bytes:
    lines = [f"Content-Type: {kind}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def leaves(raw: bytes) -> list[email.message.Message]:
    """The leaf parts as the standard library reads them, our independent witness; message/* is a leaf."""
    found: list[email.message.Message] = []
    pending: list[Any] = [email.message_from_bytes(raw, policy=email.policy.compat32)]
    while pending:
        part = pending.pop()
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart":
            pending += reversed(inner if isinstance(inner, list) else [])
        else:
            found.append(part)
    return found


def payload(part: email.message.Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def check(raw: bytes, **options: Any) -> tuple[rewrite.Prepared, bytes]:
    """Rewrite, and hold, by the standard library's reading: the fields are equal but for the transfer encoding of an
    edited part, with which MIME-Version comes where it was missing; parts that are not edited are equal; edited ones are equal after decoding but for the values of the
    tracked links and one pixel."""
    found = prepared(raw, **options)
    out = rendered(found)
    if found.reason is not None:
        assert out == raw
        return found, out
    before, after = headers.read(raw), headers.read(out)
    encoded = {"content-transfer-encoding"} | ({"mime-version"} - before.named.keys())
    kept = [raw[f.start : f.end] for f in before.fields if f.name not in encoded]
    assert [out[f.start : f.end] for f in after.fields if f.name not in encoded] == kept
    versions = len(after.all("mime-version"))
    assert versions == len(before.all("mime-version")) or (versions == 1 and b"quoted-printable" in out)
    reports = [report for report in found.part_reports if not report.content_type.startswith("multipart/")]
    old, new = leaves(raw), leaves(out)
    assert len(old) == len(new) == len(reports)
    pixels = 0
    for was, now, report in zip(old, new, reports, strict=True):
        if not report.edited:
            assert was.as_bytes() == now.as_bytes()
            continue
        pixels += differs(was, now, report.path, found)
    assert pixels == found.has_pixel
    return found, out


def differs(was: email.message.Message, now: email.message.Message, path: str, found: rewrite.Prepared) -> int:
    """An edited part is the old one with the tracked values replaced and (returned: how many) pixels put in."""
    charset = str(was.get_param("charset") or "utf-8").lower()
    old, new = payload(was), payload(now)
    wide = charset.startswith(("utf-7", "utf-16", "utf-32"))
    if wide:  # spans are then of characters
        charset = "utf-16-le" if old.startswith(b"\xff\xfe") else charset
        old, new = (text.decode(charset).encode("utf-32-be") for text in (old, new))
    step, at, expected = (4, 0, b"") if wide else (1, 0, b"")
    code = "utf-32-be" if wide else "ascii"
    for report in found.link_reports:
        if report.part == path and report.number >= 0:
            expected += old[at : report.start * step] + href(report.number).encode(code)
            at = report.end * step
    expected += old[at:]
    mark = MARKUP.encode(code)
    count = new.count(mark)
    assert new.replace(mark, b"") == expected
    return count
