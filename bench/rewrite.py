"""Rewriting, as a ratio to a bare html.parser pass, or to the standard library's parse and serialise, over the same
bytes in the same run.

"Parsing and serialising" is the least that a rewriter would cost that takes the message apart and writes it anew: the
standard library's parse and serialise and a bare html.parser pass.

What is timed is what one copy costs: header section, scan, rewrite, a signed token for each link, the joined bytes.
Goals: 100 kB of HTML with 200 links in 0.25 of html.parser; a 10 MB message in 0.05 of a stdlib parse.
"""

from __future__ import annotations

import base64
import email
import html.parser
import quopri
import statistics
import sys
import time
from collections.abc import Callable

from relay import keys
from relay.core import headers, rewrite, tokens
from relay.core.model import Token, Tracking

BASE = "https://t.example.net"
ROUNDS = 15
KEYS = keys.dry_run()
KEY = bytes(12)
PLAN = rewrite.Plan(
    True, True, Tracking(url=BASE, max_links=10_000), (BASE,), lambda url: len(BASE) + 3 + tokens.size(url)
)

ROW = (
    '<tr><td align="left" style="padding:10px 25px;font-family:Arial,Helvetica,sans-serif;font-size:14px"><p>Some text that'
    " goes on for a while, as mail does, and on &amp; on until the end.</p></td></tr>\r\n"
)
LINK = (
    '<tr><td style="padding:0"><a class="button" style="color:#fff;background:#369;padding:10px 20px" target="_blank"'
    ' href="https://shop.example.com/products/{0}?id={0}&amp;utm_source=mail">Product {0}</a></td></tr>\r\n'
)


def page(size: int, links: int) -> str:
    """A page as mail has them: tables, styles, some text, and this many links spread over it."""
    top = "<!DOCTYPE html>\r\n<html><head><title>x</title><style>a { color: red }</style></head><body><table>\r\n"
    bottom = "</table></body></html>\r\n"
    rows = [LINK.format(number) for number in range(links)]
    fill = max(0, size - len(top) - len(bottom) - sum(map(len, rows))) // len(ROW)
    step = fill / max(1, links)
    body = "".join(row + ROW * (int((at + 1) * step) - int(at * step)) for at, row in enumerate(rows))
    return top + body + bottom


def message(text: str, encoding: str) -> bytes:
    body = text.encode()
    if encoding == "quoted-printable":
        body = quopri.encodestring(body.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    elif encoding == "base64":
        body = base64.encodebytes(body).replace(b"\n", b"\r\n")
    top = f"From: a@example.com\r\nTo: b@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\nMessage-ID: <1@example.com>\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return top.encode() + body


def attached(text: str, size: int) -> bytes:
    part = message(text, "quoted-printable").partition(b"MIME-Version")[2].partition(b"\r\n")[2].partition(b"\r\n")[2]
    file = base64.encodebytes(bytes(range(256)) * (size * 3 // 4 // 256)).replace(b"\n", b"\r\n")
    return (
        b"From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=mixed\r\n\r\n--mixed\r\n"
        + part
        + b"\r\n--mixed\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
        + b"Content-Disposition: attachment; filename=x.pdf\r\n\r\n"
        + file
        + b"--mixed--\r\n"
    )


def copy(raw: bytes) -> bytes:
    """One tracked copy, from the bytes that came in."""
    prepared = rewrite.prepare(raw, headers.read(raw), PLAN)
    click = tokens.clicks(KEY, 0, KEYS)
    hrefs = [f"{BASE}/c/{click(index, url)}" for index, url in enumerate(prepared.links)]
    pixel = f"{BASE}/o/{tokens.write(Token('open', KEY, 0), KEYS)}"
    return rewrite.render(prepared, hrefs=hrefs, pixel=pixel).content()


def parser(text: str) -> Callable[[], object]:
    def run() -> None:
        reader = html.parser.HTMLParser()
        reader.feed(text)
        reader.close()

    return run


def rounds(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[list[float], float]:
    """All times of ours, and the median of theirs: in turns, so that a busy machine slows both alike."""
    mine: list[float] = []
    other: list[float] = []
    for _ in range(ROUNDS):
        for _ in range(5):
            start = time.perf_counter()
            ours()
            mine.append(time.perf_counter() - start)
        start = time.perf_counter()
        theirs()
        other.append(time.perf_counter() - start)
    return sorted(mine), statistics.median(other)


def show(name: str, raw: bytes, against: str, theirs: Callable[[], object], goal: float | None = None) -> None:
    copy(raw)
    mine, other = rounds(lambda: copy(raw), theirs)
    half, most = statistics.median(mine), mine[int(len(mine) * 0.99)]
    wanted = f"  goal {goal}" if goal is not None else ""
    print(
        f"  {name:34} {half * 1e3:9.3f} {most * 1e3:9.3f} {len(raw) / half / 1e6:9.1f}   {half / other:6.3f} x {against}{wanted}",
        flush=True,
    )


def main() -> int:
    print(f"  {'one copy, tokens signed':34} {'p50 ms':>9} {'p99 ms':>9} {'MB/s':>9}   ratio")
    for size, links in ((5_000, 8), (20_000, 40), (100_000, 200), (500_000, 1_000)):
        text = page(size, links)
        for encoding in ("8bit", "quoted-printable", "base64"):
            name = f"{size // 1000} kB, {links} links, {encoding}"
            show(name, message(text, encoding), "html.parser", parser(text), 0.25 if size == 100_000 else None)
    big = attached(page(5_000, 8), 10_000_000)
    show("10 MB attachment", big, "stdlib parse", lambda: email.message_from_bytes(big), 0.05)
    show("10 MB attachment", big, "stdlib parse and serialise", lambda: email.message_from_bytes(big).as_bytes())
    small = message(page(5_000, 8), "quoted-printable")
    run = parser(page(5_000, 8))
    show("5 kB, 8 links", small, "parsing and serialising", lambda: (email.message_from_bytes(small).as_bytes(), run()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
