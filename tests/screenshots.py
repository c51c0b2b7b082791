"""The pictures of the README, made by the demo itself: `python -m tests.screenshots` writes docs/images.

Each scene is played in a real browser, in light and in dark. What it has to show is waited for, so that a picture which
does not show it is never written.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests import demos
from tests.peers import browser

FOLDER = demos.ROOT / "docs" / "images"
SCHEMES = ("light", "dark")
SIZE = {"width": 1280, "height": 800}
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def opened(page: Any) -> Any:
    """A message sent, opened and clicked by its recipient; its document."""
    page.get_by_role("button", name="Send").click()
    page.locator("#answer", has_text="Sent.").wait_for()
    page.locator("#inbox-list li").first.get_by_role("button").click()
    frame = page.frame_locator("#message iframe")
    frame.get_by_text("Keep one for me").wait_for()
    page.locator("#activity li", has_text="Opened at least once").wait_for()
    with page.context.expect_page() as led:
        frame.get_by_role("link", name="Keep one for me").click()
    led.value.get_by_role("heading", name="You have arrived").wait_for()
    led.value.close()
    page.locator("#activity li", has_text="Link clicked").wait_for()
    return frame


def demo(page: Any) -> None:
    opened(page)
    page.get_by_role("button", name="Reply").click()
    page.get_by_role("button", name="Send the reply").click()
    page.locator("#messages .chip", has_text="Replied").wait_for()
    page.locator("#activity li", has_text="Replied").wait_for()


def changes(page: Any) -> None:
    opened(page)
    page.get_by_role("button", name="Source").click()
    page.get_by_text("changed 2 links and placed the pixel").wait_for()
    page.get_by_role("tab", name="Webhooks").click()
    page.locator("#hook-list li", has_text="message.link_clicked").locator("summary").click()
    page.locator("#hook-list dt", has_text="x-nylas-signature").first.wait_for()


SCENES: dict[str, Callable[[Any], None]] = {"demo": demo, "changes": changes}


def take(folder: Path, *words: str, schemes: Sequence[str] = SCHEMES) -> None:
    """Writes NAME-SCHEME.png for every scene. `words` are for `trackrelay demo`."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser.running() as chromium:
        for name, play in SCENES.items():
            for scheme in schemes:
                with tempfile.TemporaryDirectory() as state, demos.running(Path(state), *words) as started:
                    page = chromium.new_context(viewport=SIZE, color_scheme=scheme, reduced_motion="reduce").new_page()
                    page.set_default_timeout(browser.PATIENCE)
                    page.goto(started.url)
                    page.locator("#status[data-state=live]").wait_for()
                    play(page)
                    page.mouse.move(0, 0)
                    (folder / f"{name}-{scheme}.png").write_bytes(smaller(page.screenshot()))
                    page.context.close()


# -- PNG (RFC 2083): what a browser writes is thrice as large as it has to be ------------------------------------------


def smaller(png: bytes) -> bytes:
    """The same picture with a palette of 256 colours."""
    width, height, samples, rows = pixels(png)
    colours = Counter(tuple(row[at : at + 3]) for row in rows for at in range(0, len(row), samples))
    palette = [colour for colour, _ in colours.most_common(256)]

    def nearest(colour: tuple[int, ...]) -> int:
        return min(
            range(len(palette)), key=lambda n: sum((a - b) ** 2 for a, b in zip(palette[n], colour, strict=True))
        )

    places = {colour: nearest(colour) for colour in colours}
    packed = b"".join(
        b"\0" + bytes(places[tuple(row[at : at + 3])] for at in range(0, len(row), samples)) for row in rows
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"PLTE", bytes(v for colour in palette for v in colour)),
              (b"IDAT", zlib.compress(packed, 9)), (b"IEND", b"")]  # fmt: skip
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def pixels(png: bytes) -> tuple[int, int, int, list[bytearray]]:
    """(width, height, samples of a pixel, rows) of a PNG with 8 bits for each of red, green and blue, and perhaps alpha."""
    assert png.startswith(SIGNATURE)
    found: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        found[kind] = found.get(kind, b"") + body
        at += 12 + length
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", found[b"IHDR"])
    assert (depth, interlaced) == (8, 0)
    samples = {2: 3, 6: 4}[colour]
    data, length = zlib.decompress(found[b"IDAT"]), width * samples
    rows: list[bytearray] = []
    above = bytearray(length)
    for start in range(0, height * (length + 1), length + 1):
        above = unfiltered(data[start], bytearray(data[start + 1 : start + 1 + length]), above, samples)
        rows.append(above)
    return width, height, samples, rows


def unfiltered(kind: int, row: bytearray, above: bytearray, samples: int) -> bytearray:
    for at in range(len(row)):
        left = row[at - samples] if at >= samples else 0
        corner = above[at - samples] if at >= samples else 0
        match kind:
            case 1:
                row[at] = (row[at] + left) & 255
            case 2:
                row[at] = (row[at] + above[at]) & 255
            case 3:
                row[at] = (row[at] + (left + above[at]) // 2) & 255
            case 4:
                row[at] = (row[at] + paeth(left, above[at], corner)) & 255
    return row


def paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda one: abs(guess - one))


if __name__ == "__main__":
    take(FOLDER, "--smtp-port", "2525", "--http-port", "8080", "--admin-port", "8081")
