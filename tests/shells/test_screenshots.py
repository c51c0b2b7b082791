"""The pictures of the README: the command makes them, each shows what its text says, and the ones in the checkout are like
those that it makes now."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from tests import demos, screenshots

README = (demos.ROOT / "README.md").read_text()
NAMES = [f"{scene}-{scheme}.png" for scene in screenshots.SCENES for scheme in screenshots.SCHEMES]


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(screenshots.SIGNATURE)
    width, height = struct.unpack_from(">II", png, 16)
    return width, height


@pytest.mark.timeout(500)
def test_the_command_makes_what_the_readme_shows(tmp_path: Path) -> None:
    """Each scene waits for what it shows, so that none is made that lacks it."""
    screenshots.take(tmp_path, schemes=["dark"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{scene}-dark.png" for scene in screenshots.SCENES
    )
    for path in tmp_path.iterdir():
        kept = (screenshots.FOLDER / path.name).read_bytes()
        made = path.read_bytes()
        assert size(made) == size(kept) == (screenshots.SIZE["width"], screenshots.SIZE["height"])


def test_the_readme_shows_each_in_light_and_dark_and_says_what_it_shows() -> None:
    shown = re.findall(
        r'<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*<img src="([^"]+)"[^>]* alt="([^"]+)">',
        README,
    )
    assert sorted(Path(path).name for pair in shown for path in pair[:2]) == sorted(NAMES)
    assert all(dark == light.replace("-light", "-dark") and len(alt) > 40 for dark, light, alt in shown)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_small(name: str) -> None:
    assert len((screenshots.FOLDER / name).read_bytes()) <= 150_000


def test_a_smaller_picture_is_the_same() -> None:
    import zlib

    row = bytes(v for n in range(4) for v in (n * 60, 10, 200))
    filtered = b"\1" + row[:3] + bytes((row[n] - row[n - 3]) & 255 for n in range(3, 12))
    up = b"\2" + bytes(12)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 2, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(filtered + up)),
        (b"IEND", b""),
    ]
    png = screenshots.SIGNATURE + b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )
    assert [bytes(each) for each in screenshots.pixels(png)[3]] == [row, row]
    small = screenshots.smaller(png)
    assert size(small) == (4, 2)
    palette = small[small.index(b"PLTE") + 4 :][:12]
    assert {palette[n : n + 3] for n in range(0, 12, 3)} == {row[n : n + 3] for n in range(0, 12, 3)}
