"""The targets: each takes any bytes, and fails where its first line is not true."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

from relay.core import (
    addresses,
    authentication,
    diff,
    dkim,
    domains,
    dsn,
    encoded_words,
    envelopes,
    headers,
    identifiers,
    instructions,
    lines,
    links,
    milter,
    parts,
    paths,
    recoding,
    reports,
    rewrite,
    sevenbit,
    structured,
    threads,
    tokens,
)
from relay.core.instructions import control
from relay.core.instructions.dialects import DIALECTS
from relay.core.links import entities, judge, plain
from relay.core.milter import packets
from relay.core.model import VENDORS, Edit, Envelope, Keys, Recipient, Rule, Token, TokenKind, Tracking
from relay.core.parts import charsets, transfer
from relay.milter import answering
from tests.core.rewriting import BASE, PIXEL, href, length, plan

KEYS = Keys(3, {n: bytes((n,)) * 32 for n in (0, 3, 31)})
KINDS: tuple[TokenKind, ...] = ("open", "click", "reference")


def split(data: bytes, count: int) -> list[bytes]:
    """`count` pieces of the data, which are parted by NUL octets; the last has the rest."""
    pieces = data.split(b"\0", count - 1)
    return pieces + [b""] * (count - len(pieces))


# -- header fields -----------------------------------------------------------------------------------------------------


def field_spans(data: bytes) -> None:
    """For any bytes: fields lie side by side from the first to the body, and every reading of one is text."""
    top = headers.read(data)
    assert all(a.end == b.start for a, b in zip(top.fields, top.fields[1:], strict=False))
    assert all(f.start < f.value <= f.end <= top.body <= len(data) for f in top.fields)
    assert top.malformed in (-1, top.body)
    for field in top.fields:
        text = top.text(field)
        kind, parameters, _ = structured.read(text)
        assert kind == kind.strip() and all(name == name.lower() for name in parameters)  # noqa: PT018
    dkim.broken(top, changed={"from", "subject"}, body=True)


def structured_values(data: bytes) -> None:
    """For any octets: a sound word is one token, or two with a slash between them; a comment before a value, which also takes
    it the long way, changes nothing in what it says; and a value says the same as octets and as text."""
    text = data.decode("latin-1").replace("\r\n", "").replace("\n", "").strip(" \t\r")
    found = structured.read(text)
    assert found == structured.of(text.encode("latin-1"))
    assert not found.sound or structured.PLAIN.fullmatch(found.word)
    if len(text) < structured.LONGEST - 20:
        assert structured.read(f'(a;"(b\\)) c) {text}') == found
    for name, value in found.parameters.items():
        assert name == name.lower()
        assert len(value) <= len(text)


def address_fields(data: bytes) -> None:
    """For any bytes: the short way and the long way read the same addresses; each stands alone in angle brackets too;
    every identifier and domain is spelt as it is spelt again."""
    top = headers.read(b"From: " + data)
    for name in top.named:
        for field in top.all(name):
            text = top.undecoded(field)
            for address in addresses.specs(text):
                assert addresses.specs(f"<{address}>") == (address,)
                assert addresses.comparable(addresses.comparable(address)) == addresses.comparable(address)
            for identifier in (identifiers.of_message(text), *identifiers.listed(text)):
                assert identifiers.spelt(identifier) == identifier
        assert addresses.listed(top, name) == tuple(a for f in top.all(name) for a in addresses.specs(top.undecoded(f)))
    text = data.decode("utf-8", "replace")
    assert domains.spelt(domains.spelt(text)) == domains.spelt(text)
    domains.respelt(f"https://{text}")


def words_decoded(data: bytes) -> None:
    """For any text: encoded words are decoded or stay; text without "=?" stays as it is."""
    text = data.decode("latin-1")
    found = encoded_words.decoded(text)
    assert found == text or "=?" in text


def references(data: bytes) -> None:
    """For any header: identifiers without white space, each once, bounded in number; our entry comes first
    in what leaves, and all that was there is there."""
    top = headers.read(data)
    found = threads.references(top)
    assert len(found) == len(set(found)) <= threads.MAX_PARENTS + threads.MAX_REFERENCES
    assert all(identifier and not any(c.isspace() for c in identifier) for identifier in found)
    ours = threads.entry("t.example.net", "abc")
    out = parts.splice(data, threads.edits(top, ours, b"\r\n"))
    if top.malformed < 0:
        again = headers.read(out)
        assert identifiers.answered(again, "references")[:1] == [ours] or top.first("references")
        old = [name for name in (f.name for f in top.fields) if name != "references"]
        assert [f.name for f in again.fields if f.name != "references"] == old


# -- MIME --------------------------------------------------------------------------------------------------------------


def part_spans(data: bytes) -> None:
    """For any bytes: parts are inside their parents, in order and apart, at most as many and as deep as is allowed; only
    an empty one may be beside, where the line ending of its header is the delimiter's."""
    scanned = parts.scan(data, headers.read(data))
    assert len(scanned.parts) <= parts.PARTS
    ends: dict[int, int] = {}
    for index, part in enumerate(scanned.parts):
        assert part.start <= part.end <= len(data)
        assert part.path.count(".") <= parts.DEPTH
        if part.parent >= 0:
            around = scanned.parts[part.parent]
            inside = around.start <= part.start <= part.end <= around.end
            assert inside or part.start == part.end
            assert ends.get(part.parent, 0) <= part.headers.body
        assert part.parent < index
        ends[part.parent] = part.end
        parts.text(data, part)


def transfers(data: bytes) -> None:
    """For any body: with an edit made it means what it meant with that edit; the lines before it are the same octets."""
    for encoding in ("quoted-printable", "base64", "8bit"):
        decoded = transfer.exact(data, encoding)
        if decoded is None:
            continue
        start = len(decoded) // 3
        spans = [(start, start + len(decoded) // 4)]
        value = b"https://t.example.net/c/" + b"x" * (len(data) % 90)
        frame = transfer.frame(memoryview(data), decoded, encoding, spans, b"\r\n")
        filled = b"".join(frame.fill([value]))
        assert transfer.decode(filled, encoding) == decoded[:start] + value + decoded[spans[0][1] :]


def charset_labels(data: bytes) -> None:
    """For any label and octets: what is decoded for an edit gives the same octets again."""
    name, body = split(data, 2)
    label = name.decode("latin-1")
    seen = charsets.view(body, label)
    assert seen is None or len(seen) == len(body)
    assert seen is None or all(one in (other, 255) for one, other in zip(seen.encode("latin-1"), body, strict=True))
    charsets.decode(body, label)
    charsets.linked(body, label)
    charsets.following(body, label, len(body) // 2)
    charsets.queried("?" + body.decode("utf-8", "replace"), label)
    found = charsets.decoded(body, label)
    assert found is None or found[1] == "utf-7" or len(found[0].encode(found[1])) == len(body)


def seven(data: bytes) -> None:
    """For any bytes: a reason in ASCII; or the message in ASCII, in which every part means what it meant, and bytes differ in
    bodies that were no 7bit data and in the fields that say how they are encoded only."""
    raw = b"\r\n".join(data.replace(b"\r", b"").split(b"\n"))
    made = sevenbit.convert(raw)
    if isinstance(made, recoding.Unfit):
        assert made.reason.isascii()
        assert not raw.isascii()
        return
    out = made.content
    assert out.isascii()
    assert sevenbit.convert(out) == (out, 0)
    assert unencoded(out) == unencoded(raw)
    known = set(raw.split(b"\r\n"))
    assert all(len(line) <= transfer.LINE or line in known for line in out.split(b"\r\n"))


def short(data: bytes) -> None:
    """For any bytes: a reason in ASCII; or the message without a line that is too long, in which every part means what it
    meant, and bytes differ in what had such lines only."""
    raw = b"\r\n".join(data.replace(b"\r", b"").split(b"\n"))
    made = lines.shortened(raw)
    if isinstance(made, recoding.Unfit):
        assert made.reason.isascii()
        assert recoding.long_line(raw) or made == recoding.LIMITS
        return
    assert not recoding.long_line(made)
    assert lines.shortened(made) == made
    assert recoding.long_line(raw) or made == raw
    assert meant(made) == meant(raw)


def meant(raw: bytes) -> list[Any]:
    """The parts, and what those that may be encoded mean."""
    found = parts.scan(raw, headers.read(raw)).parts
    bodies = [
        None if recoding.composite(part) else transfer.decode(raw[part.start : part.end], part.encoding)
        for part in found
    ]
    return [(part.path, part.content_type, body) for part, body in zip(found, bodies, strict=True)]


UNENCODED = frozenset({"content-transfer-encoding", "mime-version", "dkim-signature"})


def unencoded(raw: bytes) -> list[Any]:
    """All of a message, but for how it is encoded: what is between the parts, their other fields, what they mean; where
    nobody knows that, the bytes. A message in it likewise."""
    found: list[Any] = []
    spans: list[tuple[int, int]] = []
    scanned = parts.scan(raw, headers.read(raw)).parts
    above = {part.parent for part in scanned}
    for index, part in enumerate(scanned):
        fields = part.headers.fields
        found.append([raw[f.start : f.end] for f in fields if f.name not in UNENCODED])
        spans += [(f.start, f.end) for f in fields]
        if index not in above and part.end > part.start:
            body = raw[part.start : part.end]
            meant = transfer.exact(body, part.encoding)
            inner = part.content_type == "message/rfc822" and part.encoding in transfer.IDENTITY
            found.append(unencoded(body) if inner else body if meant is None else meant)
            spans.append((part.start, part.end))
    between, at = b"", 0
    for start, end in sorted(spans):
        between += raw[at:start]
        at = max(at, end)
    return [*found, between + raw[at:]]


# -- HTML and URLs -----------------------------------------------------------------------------------------------------


def html_links(data: bytes) -> None:
    """For any text: link values in order and apart; an image put at a place is seen there; a value written and read again
    is the same; every URL has a verdict, and one that is tracked is a web address."""
    text = data.decode("utf-8", "replace")
    page = links.scan(text, own=("t.example",), shown=bool(data[:1] > b"\x7f"))
    at = 0
    found = judge.criteria(Tracking(append={"a": "b c"}), (BASE,), ("https://a.example/u",), length)
    for start, end, *_ in page.links:
        assert at <= start <= end <= len(text)
        at = end
        value = entities.attribute(text[start:end])
        assert entities.attribute(entities.escaped(value)) == value
        url, reason, _ = judge.judge(value, text[page.base] if page.base else "", found)
        assert reason or url.lower().startswith(("http://", "https://"))
    for place in (page.bottom, page.top):
        if place is not None:
            image = text[:place] + '<img src="//t.example/">' + text[place:]
            assert len(links.scan(image, own=("t.example",)).images) > len(page.images)
    links.text_size(text, 100)


def text_links(data: bytes) -> None:
    """For any text: URLs in order and apart, each begins with a scheme and has its closing brackets opened."""
    text = data.decode("latin-1")
    at = 0
    for start, end, _ in plain.scan(text, following=lambda at: text[at], delsp=len(data) % 2 == 0):
        assert at <= start < end <= len(text)
        at = end
        url = text[start:end]
        assert url.lower().startswith(("http://", "https://"))
        assert url[-1] not in plain.TRAILING
        assert not url.endswith(")") or url.count(")") <= url.count("(")


# -- the whole message -------------------------------------------------------------------------------------------------


def messages(data: bytes) -> None:
    """For any bytes: `prepare` never raises, outside the edits the bytes are equal, and the parts stay the parts; a
    rewritten message is left as it is when it comes again."""
    flags = data[0] if data else 0
    options: dict[str, Any] = {"text_links": bool(flags & 1), "pixel": "top" if flags & 2 else "bottom"}
    options |= {"skip_visible_urls": bool(flags & 4), "append": {"utm_source": "m"} if flags & 8 else {}}
    hold(data[1:], options | {"max_links": 2 if flags & 16 else 100, "opens": not flags & 32, "links": not flags & 64})


def hold(raw: bytes, options: dict[str, Any]) -> None:
    wanted = plan(**options)
    top = headers.read(raw)
    found = rewrite.prepare(raw, top, wanted)
    hrefs = [href(index) for index in range(len(found.links))]
    out = rewrite.render(found, hrefs=hrefs, pixel=PIXEL).content()
    assert outside(found, raw) == outside(found, raw, out)
    if found.reason is not None:
        assert out == raw[top.start :]
        assert not found.links
        assert not found.has_pixel
    assert tree(out) == tree(raw)
    told = rewrite.explain(found, hrefs=hrefs)
    assert [link["after"] for link in told["links"] if link["action"] == "tracked"] == hrefs
    assert all(link["reason"] for link in told["links"] if link["action"] == "left")
    assert diff.render(raw, out, colour=True) == "" or out != raw
    edit = Edit(0, 0, b"X-Y: z\r\n")
    assert rewrite.render(found, hrefs=hrefs, pixel=PIXEL, edits=[edit]).content() == b"X-Y: z\r\n" + out
    if found.reason is None:
        again = rewrite.prepare(out, headers.read(out), wanted)
        assert not again.has_pixel or not found.has_pixel
        assert not again.links


def tree(raw: bytes) -> list[tuple[str, str]]:
    return [(part.path, part.content_type) for part in parts.scan(raw, headers.read(raw)).parts]


def outside(found: rewrite.Prepared, raw: bytes, out: bytes | None = None) -> list[bytes]:
    """What is not edited: the stretches of `raw` between what a file has before a message, the edited bodies and their
    header edits; of `out`, as long as it has the same stretches in the same order."""
    spans = sorted(
        [(s.start, s.end) for s in found.sections]
        + [edit[:2] for s in found.sections for edit in s.recoding]
        + [(found.headers.end, found.headers.end)] * bool(found.sections)  # where MIME-Version may be added
    )
    stretches, at = [], found.headers.start
    for start, end in spans:
        stretches.append(raw[at:start])
        at = end
    stretches.append(raw[at:])
    if out is None:
        return stretches
    assert out.startswith(stretches[0])
    assert out.endswith(stretches[-1])
    at = 0
    for stretch in stretches:
        at = out.index(stretch, at) + len(stretch)
    return stretches


# -- what a message asks for -------------------------------------------------------------------------------------------


def asked_for(data: bytes) -> None:
    """For any header, with all dialects on: no exception; every control header and every header of a dialect is stripped,
    readable or not; what can't be read is one ASCII sentence, and then nothing is tracked."""
    top = headers.read(data)
    told = instructions.read(top, dialects=VENDORS, hosts=("t.example.net",))
    for index, field in enumerate(top.fields):
        named = control.ours(field.name) or any(dialect.has(field.name) for dialect in DIALECTS.values())
        assert (index in told.strip) is named
    left = parts.splice(data, [Edit(top.fields[i].start, top.fields[i].end, b"") for i in told.strip])
    assert not any(control.ours(f.name) for f in headers.read(left[: left.find(b"\n\n") + 1 or None]).fields)
    if told.invalid is not None:
        assert told.invalid.isascii()
        assert told.invalid.isprintable()
    assert told.label is None or len(told.label) <= 2_048
    json.dumps([told.label, dict(told.metadata), told.exclude], ensure_ascii=False).encode()
    rule = Rule("*@x.example", "*", Tracking(url=BASE, opens=True), frozenset({"opens"}))
    decision = instructions.decide(
        told, tracking=Tracking(url=BASE), rules=(rule,), sender="a@x.example", recipient="b@example.org"
    )
    assert not (told.invalid and decision.any)
    assert set(decision.source) == {"opens", "links", "thread_replies"}
    instructions.never(top, "a@x.example")


# -- tokens ------------------------------------------------------------------------------------------------------------


def token_texts(data: bytes) -> None:
    """For any text: a token is read only from the one text that is written for it, by these keys, and for its kind; for
    any URL: what is written is read."""
    text = data.decode("latin-1")
    for kind in KINDS:
        found = tokens.read(text, kind, KEYS)
        assert found is None or tokens.write(found, Keys(tokens.decode(text)[0] & 31, KEYS.secrets)) == text
    threads.token(text)
    url = data[:3_000].decode("utf-8", "replace")
    token = Token("click", bytes(12), len(data) % 300, len(data), url)
    made = tokens.write(token, KEYS)
    assert tokens.read(made, "click", KEYS) == token
    assert len(made) <= tokens.size(url)
    changed = bytearray(made.encode())
    changed[len(data) % len(changed)] ^= 1
    assert tokens.read(changed.decode("latin-1"), "click", KEYS) is None


# -- reports -----------------------------------------------------------------------------------------------------------


def mailbox_messages(data: bytes) -> None:
    """For any bytes: a report of a known kind, whose words can be stored; one about a delivery says about whom."""
    found = reports.read(data)
    assert found.kind in get_args(reports.Kind)
    assert found.kind not in ("bounce", "delay") or found.entries
    assert found.kind != "reply" or found.references
    told = [found.recipients, found.status, found.smtp_code, found.action, found.original_message_id, found.references]
    json.dumps([*told, found.reason, found.envelope_id], ensure_ascii=False).encode()
    reports.needs_body(headers.read(data))
    results = authentication.results(headers.read(b"Authentication-Results: mx.example; " + data), "mx.example")
    assert all(results[name].isalpha() for name in results)


def delivery_reports(data: bytes) -> None:
    """For any recipient, reply and message: a report that only has our fields, whatever others wrote, with CRLF line
    endings where the message has them; and our own reader says of it what we said."""
    path, said, orcpt, content = split(data, 4)
    content = b"\r\n".join(content.replace(b"\r", b"").split(b"\n"))
    recipient = paths.rcpt(f"TO:<{path.decode('utf-8', 'replace')}> ORCPT=rfc822;x", extended=True, utf8=True)
    if not isinstance(recipient, Recipient):
        return
    recipient = Recipient(recipient.address, (f"ORCPT={orcpt.decode('latin-1')}",))
    notice = dsn.Notice(recipient, "failed", "5.1.1", f"550 5.1.1 {said.decode('utf-8', 'replace')}", "mx.example")
    original = dsn.Original("a@example.com", content, (f"ENVID={orcpt.decode('latin-1')}", "RET=FULL"), 0.0)
    made = dsn.Made("relay.example", "postmaster@relay.example", 0.0, "1@relay.example", "=_1f2e3d4c5b6a79")
    report = dsn.render(original, [notice], made)
    assert b"\r" not in report.replace(b"\r\n", b"")
    assert b"\n" not in report.replace(b"\r\n", b"")
    top = headers.read(report)
    assert [f.name for f in top.fields].count("content-type") == 1
    assert len(top.fields) == 9
    if made.boundary.encode() in content:
        return
    assert len(parts.scan(report, top).parts) == 4
    read = reports.read(report)
    assert read.kind == "bounce"
    assert read.status == "5.1.1"


# -- SMTP --------------------------------------------------------------------------------------------------------------


def smtp_paths(data: bytes) -> None:
    """For any argument of MAIL and RCPT: a refusal of one line, or a path that stands in one command and is what the
    client wrote, its parameters known ones."""
    text = data.decode("utf-8", "surrogateescape")
    for argument, asked in (
        (text, paths.mail(text, extended=True)),
        (text, paths.rcpt(text, extended=True, utf8=True)),
        (f"FROM:{text}", paths.mail(f"FROM:{text}", extended=len(data) % 2 == 0)),
        (f"TO:<{text}>", paths.rcpt(f"TO:<{text}>", extended=True, utf8=len(data) % 2 == 0)),
    ):
        if isinstance(asked, paths.Mail):
            envelope = Envelope(asked.reverse_path, (Recipient("b@example.org"),), asked.options)
            address = asked.reverse_path
        elif isinstance(asked, Recipient):
            envelope = Envelope("a@example.com", (asked,))
            address = asked.address
        else:
            assert str(asked).isprintable()
            assert 500 <= asked.code < 560
            continue
        assert address in argument
        assert not any(c in address for c in "\r\n\0")
        made = envelopes.lines(envelope, b"x\r\n", {"smtputf8": "", "dsn": "", "size": "", "8bitmime": ""})
        if isinstance(made, envelopes.Lines):
            for line in (made.mail, *(line for line in made.rcpt if line)):
                assert b"\r" not in line
                assert b"\n" not in line


# -- the milter protocol ------------------------------------------------------------------------------------------------


def milter_packets(data: bytes) -> None:
    """For any bytes of a mail server, in any pieces: packets or none, each answered, and all room given back; a message's
    content is its fields and its body, and what is taken out of it are fields that it has."""
    used = 0

    def room(octets: int) -> bool:
        nonlocal used
        used += octets
        assert used >= 0
        return True

    session, reader = milter.Session(lambda client: len(data) % 3 > 0, room, 10_000), packets.Reader()
    for at in range(0, len(data), 1 + len(data) // 3):
        try:
            for packet in reader.feed(data[at : at + 1 + len(data) // 3]):
                answer = session.receive(*packet)
                if isinstance(answer, milter.Message):
                    assert 0 <= answer.held <= 10_000
                    room(-answer.held)
                    for removed in answering.taken(answer):
                        assert (removed.name, removed.index) in answer.fields
                    if answer.content is not None:
                        assert answer.content[answer.body - 2 : answer.body] == b"\r\n"
                elif not isinstance(answer, bytes):
                    break
        except packets.Malformed:
            break
    session.close()
    assert used == 0


TARGETS: dict[str, Callable[[bytes], None]] = {
    "headers": field_spans,
    "structured": structured_values,
    "addresses": address_fields,
    "encoded_words": words_decoded,
    "threads": references,
    "parts": part_spans,
    "transfer": transfers,
    "sevenbit": seven,
    "lines": short,
    "charsets": charset_labels,
    "links": html_links,
    "plain": text_links,
    "rewrite": messages,
    "instructions": asked_for,
    "tokens": token_texts,
    "reports": mailbox_messages,
    "dsn": delivery_reports,
    "paths": smtp_paths,
    "milter": milter_packets,
}
