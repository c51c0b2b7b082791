"""Every message of the corpus through the rewriter: nothing outside the edits differs, and every eligible link of the
templates is tracked."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import html5lib
import pytest

from relay.core import diff, rewrite
from tests.core.rewriting import check, href, leaves, payload, prepared, rendered

FOLDER = Path(os.environ.get("CORPUS_DIR") or Path(__file__).parents[2].parent / "shared" / "corpus")


def messages(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (FOLDER / folder).rglob("*") if path.is_file())


@pytest.fixture(autouse=True)
def _corpus() -> None:
    if not FOLDER.is_dir():
        pytest.skip("corpus not here: set CORPUS_DIR")


def test_every_message_but_for_the_edits_is_the_same() -> None:
    count: Counter[str] = Counter()
    for path in messages("messages", "template-messages", "reports"):
        raw = path.read_bytes()
        for form in {raw, raw.replace(b"\r\n", b"\n"), raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")}:
            found, out = check(form, text_links=True)
            again = prepared(out, text_links=True)
            assert rendered(again) == out, path
            rewrite.explain(found, hrefs=[href(index) for index in range(len(found.links))])
            diff.render(form, out, colour=True)
            count[str(found.reason)] += 1
    print(dict(count))
    assert count["None"] > 100


def test_every_eligible_link_of_the_templates_is_tracked() -> None:
    """By html5lib's tree: each <a> and <area> with an http(s) URL and without template syntax has a tracked URL in the
    rewritten message, and every other one stands as it stood."""
    count: Counter[str] = Counter()
    for path in messages("template-messages"):
        raw = path.read_bytes()
        found, out = check(raw, max_links=10_000)
        for old, new in zip(leaves(raw), leaves(out), strict=True):
            if old.get_content_type() != "text/html" or old.get_content_disposition() == "attachment":
                continue
            for was, now in zip(anchors(payload(old)), anchors(payload(new)), strict=True):
                count["found"] += 1
                eligible = was.strip().lower().startswith(("http://", "https://")) and not set(was) & set("{}[]*|%")
                if eligible:
                    assert now.startswith("https://t.example.net/c/"), (path, was)
                    count["tracked"] += 1
                else:
                    assert now == was
                    count["left"] += 1
        for report in found.link_reports:
            count[f"reason {report.reason}"] += 1
    print(dict(count))
    assert count["tracked"] > 50


def anchors(page: bytes) -> list[str]:
    tree = html5lib.parse(page.decode("utf-8"), namespaceHTMLElements=False)
    return [e.get("href") for e in tree.iter() if e.tag in ("a", "area") and e.get("href") is not None]
