"""Every page of ours, in light and dark, wide and on a phone: axe-core finds nothing that keeps anybody out."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.demos import Running, running
from tests.peers import axe, browser
from tracking_http import pages
from tracking_http.about_words import WORDS

pytestmark = pytest.mark.timeout(400)  # each looks at a dozen pages
SCHEMES = ("light", "dark")
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
FORM: dict[str, Any] = {
    "from": "Mara <mara@foldandfig.example>",
    "to": "jonas@example.org",
    "track": ["opens", "links", "thread_replies"],
}


@pytest.fixture(scope="module")
def demo_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("demo")) as started:
        yield started


def told(found: dict[str, list[str]]) -> str:
    return "\n".join(f"{name}: {one}" for name, ones in found.items() for one in ones)


def opened(chromium: Any, size: dict[str, int], scheme: str) -> Any:
    for context in chromium.contexts:
        context.close()
    page = chromium.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce").new_page()
    page.set_default_timeout(browser.PATIENCE)
    return page


Look = Callable[[str], None]


def looking(page: Any, found: dict[str, list[str]]) -> Look:
    """Notes what axe says of the page as it stands, under that name."""

    def look(name: str) -> None:
        if ones := axe.violations(page):
            found[name] = ones

    return look


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_demo(demo_running: Running, chromium: Any, scheme: str, size: dict[str, int]) -> None:
    page = opened(chromium, size, scheme)
    found: dict[str, list[str]] = {}
    look = looking(page, found)
    page.goto(demo_running.url)
    page.locator("#status[data-state=live]").wait_for()
    look("write")

    def pane(name: str) -> None:
        if size is PHONE:
            page.locator(f"#tab-{name}").click()

    page.get_by_label("Subject").fill(f"In {scheme} of {size['width']}")
    page.get_by_text("The headers that ask for it").click()
    page.get_by_role("button", name="HTML").click()
    page.get_by_role("button", name="Send").click()
    page.locator("#answer", has_text="Sent.").wait_for()
    look("sent")
    pane("inbox")
    row = page.locator("#inbox-list li", has_text=f"In {scheme} of {size['width']}").get_by_role("button")
    row.wait_for()
    look("inbox")
    row.click()
    page.frame_locator("#message iframe").get_by_text("Keep one for me").wait_for()
    look("message")
    for name in ("Plain text", "Headers", "Source"):
        page.get_by_role("button", name=name).click()
        if name == "Source":
            page.locator(".source ins").first.wait_for()
        look(name)
    page.get_by_role("button", name="Octet by octet").click()
    look("octets")
    page.get_by_role("button", name="Reply").click()
    look("answer")
    pane("side")
    mine = page.locator("#messages li", has_text=f"In {scheme} of {size['width']}")
    mine.locator(".chip", has_text="Opened").wait_for()
    look("live")
    mine.get_by_role("link").click()
    page.get_by_role("heading", name="What happened").wait_for()
    look("one message")
    page.get_by_role("tab", name="Webhooks").click()
    page.locator("#hook-list summary").first.click()
    look("webhooks")
    if size is WIDE:
        page.locator("#search").fill("nothing has this in it")
        look("nothing found")
        page.get_by_role("button", name="Keys").click()
        look("keys")
    page.goto(f"{demo_running.url}/visit/menu")
    look("where a link leads")
    assert not found, told(found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_live_pages(demo_running: Running, chromium: Any, scheme: str) -> None:
    """Those of the service: the demo's is one more of them."""
    demo_running.post("/demo/send", **FORM, html="<p><a href='https://example.org/'>x</a></p>", subject="For the list")
    found: dict[str, list[str]] = {}
    for size in (WIDE, PHONE):
        page = opened(chromium, size, scheme)
        look = looking(page, found)
        page.goto(f"{demo_running.url}/live")
        page.locator("#status[data-state=live]").wait_for()
        row = page.locator("#messages li", has_text="For the list").first.get_by_role("link")
        row.wait_for()
        look(f"live {size}")
        row.click()
        page.locator("#detail .facts").wait_for()
        look(f"one message {size}")
        for path in ("rates", "webhooks", "nodes"):
            page.goto(f"{demo_running.url}/live/{path}")
            page.locator("#rows tr").first.wait_for()
            look(f"{path} {size}")
        page.goto(f"{demo_running.url}/login")
        look(f"login {size}")
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("alert").wait_for()
        look(f"wrong key {size}")
    page.goto(f"{demo_running.url}/api/docs")  # once: it is long
    look("API")
    assert not found, told(found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_tracking_host(demo_running: Running, chromium: Any, scheme: str) -> None:
    """What a recipient may come to: the page about a message in each language, before and after a choice, and the others."""
    recipient = f"{scheme}@example.org"
    demo_running.post(
        "/demo/send", **{**FORM, "to": recipient}, html="<p><a href='https://example.org/'>x</a></p>", subject="About"
    )
    mine = next(one for one in demo_running.messages() if recipient in one["for"])
    with urllib.request.urlopen(f"{demo_running.url}/demo/inbox/{mine['id']}/body", timeout=10) as answer:
        pixel = re.search(r'src="(http://[^"]+)/o/([^"]+)"', answer.read().decode())
    assert pixel
    host, token = pixel.groups()
    page = opened(chromium, PHONE, scheme)
    found: dict[str, list[str]] = {}
    look = looking(page, found)
    for path in ("/", "/nothing-here"):
        page.goto(host + path)
        look(path)
    for html in pages.made("abuse@example.com"):
        page.set_content(html)
        look(html[-200:])
    for language in WORDS:
        page.goto(f"{host}/about/{token}?lang={language}")
        look(language)
    page.goto(f"{host}/about/{token}?lang=en")
    page.locator("button[value=stop]").click()
    page.get_by_role("status").wait_for()
    look("a choice")
    page.goto(f"{host}/about/{token}?lang=en")
    look("chosen")
    assert not found, told(found)


def test_what_is_wrong_is_seen(chromium: Any) -> None:
    """The look itself: a page with faults has them."""
    page = chromium.new_page()
    page.set_content(
        "<!doctype html><title>x</title><main><img src='x'><input><p style='color:#ccc;background:#fff'>pale</p>"
    )
    rules = {one.split(" ", 1)[0] for one in axe.violations(page)}
    assert {"image-alt", "label", "color-contrast", "html-has-lang"} <= rules
