"""`trackrelay demo` as a person has it: the program as a process, a real browser, real SMTP. And, over values, how its
inbox reads messages and writes answers."""

from __future__ import annotations

import json
import re
import signal
import smtplib
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import demo
from relay.demo import display, inbox, writing
from tests import peers
from tests.demos import Running, page_of, running
from tests.peers import browser
from tests.until import eventually

pytestmark = pytest.mark.timeout(300)  # a browser on a busy machine


@pytest.fixture(scope="module")
def demo_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("demo")) as started:
        yield started


def newest(page: Any, subject: str) -> Any:
    """The reading pane's document of the newest message with that subject, opened."""
    page.locator("#inbox-list li", has_text=subject).first.get_by_role("button").click()
    frame = page.frame_locator("#message iframe")
    frame.locator("body").wait_for()
    return frame


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_write_open_click_reply_and_see_it_live(demo_running: Running, chromium: Any) -> None:
    page, seen = page_of(chromium, demo_running)
    page.get_by_label("To").fill("jonas@example.org, ines@example.org")
    page.get_by_label("Subject").fill("Figs for two")
    page.get_by_role("button", name="Send", exact=True).click()
    page.locator("#answer", has_text="Sent. The relay said: 250").wait_for()
    mine = page.locator("#messages li", has_text="Figs for two")
    mine.locator(".chip", has_text="Delivered").wait_for()
    page.locator("#inbox-list li", has_text="Figs for two").nth(1).wait_for()  # a copy each
    assert page.locator("#messages .chip", has_text=re.compile("opened", re.I)).count() == 0

    frame = newest(page, "Figs for two")
    mine.locator(".chip", has_text="1 of 2 opened").wait_for()
    tracked = frame.get_by_role("link", name="Keep one for me").get_attribute("href")
    assert "/c/" in tracked
    assert "/c/" not in frame.get_by_role("link", name="No more mail").get_attribute("href")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Keep one for me").click()
    opened.value.get_by_role("heading", name="You have arrived").wait_for()
    assert opened.value.url == f"{demo_running.url}/visit/reserve?tart=fig&day=friday"
    opened.value.close()
    mine.locator(".chip", has_text="Clicked").wait_for()

    page.get_by_role("button", name="Reply").click()
    page.get_by_label("Your answer").fill("Two tarts, please.")
    page.get_by_role("button", name="Send the reply").click()
    mine.locator(".chip", has_text="Replied").wait_for()

    mine.get_by_role("link").click()
    page.get_by_role("heading", name="What happened").wait_for()
    people = page.locator("#detail .rows").first.locator("li:has(> .name)")
    assert people.count() == 2
    assert "Opened at least once" in people.filter(has_text="ines@").inner_text()  # the newest copy was hers
    assert "Opened" not in people.filter(has_text="jonas@").inner_text()
    assert seen.clean, seen


def test_pictures_off_is_not_opened(demo_running: Running, chromium: Any) -> None:
    page, seen = page_of(chromium, demo_running)
    demo_running.post("/demo/send", **FORM, subject="No pictures")
    page.locator("#inbox-list li", has_text="No pictures").wait_for()
    page.get_by_label("Load remote pictures").uncheck()
    newest(page, "No pictures").get_by_text("Hello").wait_for()
    assert "opened" not in demo_running.states()
    page.get_by_label("Load remote pictures").check()
    page.locator("#messages li", has_text="No pictures").locator(".chip", has_text="Opened at least once").wait_for()
    assert seen.harmless, seen


FORM: dict[str, Any] = {
    "from": "Mara <mara@foldandfig.example>",
    "to": "jonas@example.org",
    "html": "<html><body><p>Hello</p><a href='https://example.org/x'>x</a></body></html>",
    "track": ["opens", "links", "thread_replies"],
}


def test_any_program_may_send_and_its_message_is_shown(demo_running: Running, chromium: Any) -> None:
    """A message of an ordinary client: encoded headers, Latin-1, a picture inside, an attachment, no X-Track."""
    message = EmailMessage()
    message["From"], message["To"] = "Zoë <zoe@example.com>", "jonas@example.org"
    message["Subject"] = "Grüße aus Köln"
    message.set_content("Schöne Grüße\n", charset="iso-8859-1")
    message.add_alternative(
        "<p>Sch\xf6ne <b>Gr\xfc\xdfe</b></p><img src='cid:pic@x' alt='dot' width=9>",
        subtype="html",
        charset="iso-8859-1",
    )
    picture = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
    message.get_payload()[1].add_related(picture, "image", "png", cid="<pic@x>")
    message.add_attachment(b"1;2\n", maintype="text", subtype="csv", filename="Übersicht.csv")
    with smtplib.SMTP("127.0.0.1", demo_running.smtp, timeout=30) as client:
        client.send_message(message)
    page, seen = page_of(chromium, demo_running)
    frame = newest(page, "Grüße aus Köln")
    frame.locator("b", has_text="Grüße").wait_for()
    assert frame.locator("img[alt=dot]").get_attribute("src").startswith("data:image/png;base64,")
    page.get_by_role("button", name="Plain text").click()
    page.locator("#message pre", has_text="Schöne Grüße").wait_for()
    page.get_by_role("button", name="Headers").click()
    page.locator("#message dd", has_text="Grüße aus Köln").wait_for()
    page.get_by_role("button", name="Source").click()
    page.locator("#message pre", has_text="multipart/mixed").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Übersicht.csv").click()
    assert saved.value.suggested_filename == "Übersicht.csv"
    assert Path(saved.value.path()).read_bytes() == b"1;2\n"
    assert seen.harmless, seen


# -- what was changed, and what went out -------------------------------------------------------------------------------


def test_the_source_shows_what_was_changed(demo_running: Running, chromium: Any) -> None:
    page, seen = page_of(chromium, demo_running)
    demo_running.post("/demo/send", **FORM, subject="Marked")
    page.locator("#inbox-list li", has_text="Marked").wait_for()
    newest(page, "Marked")
    page.get_by_role("button", name="Source").click()
    page.get_by_text("changed 1 link and placed the pixel").wait_for()
    put, gone = (page.locator(f"#message pre {tag}").all_inner_texts() for tag in ("ins", "del"))
    assert [text.partition(":")[0] for text in put[:1]] == ["Received"]
    assert [text.strip() for text in gone] == [
        "X-Track-Opens: yes",
        "X-Track-Links: yes",
        "X-Track-Thread-Replies: yes",
        "https://example.org/x",
    ]
    assert "/c/" in put[1]
    assert put[2].startswith("<img src=")
    page.get_by_role("button", name="Octet by octet").click()
    page.locator("#message pre", has_text="Content-Transfer-Encoding").wait_for()
    assert seen.clean, seen


def test_the_webhook_that_went_out_can_be_verified(demo_running: Running, chromium: Any) -> None:
    """As the page shows it: each snippet runs, says that the signature is right, and says so of no other body."""
    page, seen = page_of(chromium, demo_running)
    subject = "Signed"
    demo_running.post("/demo/send", **{**FORM, "to": "hook@example.org"}, subject=subject)
    page.locator("#inbox-list li", has_text=subject).wait_for()
    newest(page, subject).get_by_text("Hello").wait_for()
    page.get_by_role("tab", name="Webhooks").click()
    mine = page.locator("#hook-list li", has_text="hook@example.org")
    mine.locator("summary", has_text="message.opened").click()
    assert mine.locator("dt.signs").all_inner_texts() == [
        "x-nylas-signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ]
    body = json.loads(mine.locator("pre").first.inner_text())
    assert body["type"] == "message.opened"
    assert body["data"]["object"]["recipient"] == "hook@example.org"
    snippets = mine.locator(".copyable pre").all_text_contents()
    programs = [("sh",), (sys.executable, "-I")]
    for program, snippet in zip(programs, snippets, strict=True):
        assert "right" in said(program, snippet)
        assert "wrong" in said(program, snippet.replace("whsec_", "whsec_A"))
    assert seen.clean, seen


def said(program: tuple[str, ...], text: str) -> str:
    return subprocess.run([*program, "-c", text], capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_webhook_that_is_not_signed_is_refused(demo_running: Running) -> None:
    before = len(demo_running.get("/demo/webhooks")["webhooks"])
    with pytest.raises(urllib.error.HTTPError) as refused:
        demo_running.post("/demo/webhook", type="message.opened")
    assert refused.value.code == 401
    assert len(demo_running.get("/demo/webhooks")["webhooks"]) == before


# -- by the keyboard, and on a phone -----------------------------------------------------------------------------------


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.innerText || document.activeElement.id"))


def test_keys(demo_running: Running, chromium: Any) -> None:
    for subject in ("Key one", "Key two"):
        demo_running.post("/demo/send", **FORM, subject=subject)
    page, seen = page_of(chromium, demo_running)
    rows = page.locator("#inbox-list li")
    rows.filter(has_text="Key one").wait_for()
    page.keyboard.press("j")
    assert "Key two" in focused(page)
    page.keyboard.press("j")
    assert "Key one" in focused(page)
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    heading = page.locator("#message h3")
    heading.and_(page.get_by_text("Key two")).wait_for()
    page.keyboard.press("j")  # the next one, since one is open
    heading.and_(page.get_by_text("Key one")).wait_for()
    page.keyboard.press("r")
    answer = page.get_by_label("Your answer")
    answer.fill("")
    page.keyboard.type("jk/rc? is text")
    assert answer.input_value() == "jk/rc? is text"
    page.keyboard.press("Escape")  # the answer, then the message
    answer.wait_for(state="detached")
    page.keyboard.press("r")
    assert answer.input_value() == "jk/rc? is text"  # nothing that was written is lost
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    heading.wait_for(state="detached")
    assert "Key one" in focused(page)

    page.keyboard.press("/")
    page.keyboard.type("two key")
    rows.filter(has_text="Key one").wait_for(state="hidden")
    assert rows.filter(has_text="Key two").is_visible()
    page.keyboard.press("Enter")
    assert "Key two" in focused(page)
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    rows.filter(has_text="Key one").wait_for()

    page.keyboard.press("c")
    assert page.evaluate("document.activeElement.name") == "to"
    page.keyboard.press("Escape")
    page.locator("#keys-open").click()
    page.get_by_label("Keys of a single letter").uncheck()
    page.keyboard.press("Escape")
    before = focused(page)
    page.keyboard.press("/")
    page.keyboard.press("j")
    assert focused(page) == before
    assert seen.clean, seen


def test_no_key_is_a_trap(demo_running: Running, chromium: Any) -> None:
    """Tab goes all round the page, every stop can be seen to have the focus, and it ends where it began."""
    demo_running.post("/demo/send", **FORM, subject="Round")
    page, _ = page_of(chromium, demo_running)
    page.locator("#inbox-list li", has_text="Round").first.wait_for()
    page.evaluate("document.activeElement.blur()")
    stops: list[str] = []
    look = """() => { const one = document.activeElement; if (!one || one === document.body) return "";
        const near = one.closest(".field") ?? one;
        const seen = [one, near].some((each) => { const style = getComputedStyle(each);
            return style.outlineStyle !== "none" || style.boxShadow !== "none"; });
        return `${one.tagName} ${one.id} ${one.name ?? ""} ${one.className} ${one.innerText?.slice(0, 30) ?? ""} ${seen || one.tagName === "IFRAME"}`; }"""
    for _ in range(120):
        page.keyboard.press("Tab")
        stop = page.evaluate(look)
        if stop == "" and stops:
            break
        if stop:
            stops.append(stop)
    else:
        pytest.fail(f"Tab never came round: {stops[-12:]}")
    assert any(stop.startswith("BUTTON send") for stop in stops), stops
    assert any("tab-hooks" in stop or "tab-live" in stop for stop in stops), stops
    assert [stop for stop in stops if stop.endswith("false")] == []


def test_send_is_in_view_on_a_small_screen(demo_running: Running, chromium: Any) -> None:
    page = chromium.new_context(viewport={"width": 1280, "height": 800}).new_page()
    page.goto(demo_running.url)
    page.get_by_text("The headers that ask for it").click()
    box = page.get_by_role("button", name="Send", exact=True).bounding_box()
    assert box["y"] + box["height"] <= 800
    assert page.evaluate("document.documentElement.scrollHeight") <= 800
    page.get_by_role("button", name="Send", exact=True).click()
    page.locator("#answer", has_text="Sent.").wait_for()
    box = page.get_by_role("button", name="Send", exact=True).bounding_box()
    assert box["y"] + box["height"] <= 800


def test_on_a_phone_the_panes_are_tabs(demo_running: Running, chromium: Any) -> None:
    demo_running.post("/demo/send", **FORM, subject="Phone")
    page, seen = page_of(chromium, demo_running)
    assert page.get_by_role("tab", name="Write").count() == 0  # all are in view
    page.set_viewport_size({"width": 390, "height": 844})
    write, inbox_ = (page.get_by_role("tab", name=name) for name in ("Write", "Inbox"))
    write.and_(page.locator("[aria-selected=true]")).wait_for()
    assert page.get_by_role("tabpanel", name="Write").is_visible()
    write.focus()
    page.keyboard.press("ArrowRight")
    inbox_.and_(page.locator("[aria-selected=true]")).wait_for()
    assert page.get_by_role("tabpanel", name="Inbox").is_visible()
    assert not page.locator("#compose").is_visible()
    row = page.locator("#inbox-list li", has_text="Phone").first
    row.get_by_role("button").click()
    page.locator("#message h3", has_text="Phone").wait_for()
    assert page.evaluate("document.activeElement.id") == "to-list"
    page.keyboard.press("Enter")
    row.wait_for()
    assert "Phone" in focused(page)
    page.get_by_role("tab", name="Live").first.click()
    page.get_by_role("tab", name="Webhooks").click()
    assert page.get_by_role("tabpanel", name="Webhooks").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert seen.clean, seen


HOSTILE = """<!doctype html><html><head><title></title><base href="https://evil.example/"><script>alert(1)</script>
<meta http-equiv="refresh" content="0;url=https://evil.example/"><link rel="stylesheet" href="https://evil.example/a.css"></head>
<body onload="alert(2)"><p>Harmless</p><img src="https://evil.example/a.png" onerror="alert(3)"><svg onload="alert(4)"></svg>
<iframe src="/live" srcdoc="<script>alert(5)</script>"></iframe><object data="/live"></object>
<form action="/demo/send" method="post"><button id="go">Go</button></form>
<a href="javascript:alert(6)" id="js">js</a><a href="/live" target="_top" id="top">top</a>
<style>@import url(https://evil.example/b.css); p { background: url(https://evil.example/c.png) }</style></body></html>"""


def test_a_hostile_message_is_a_picture_of_itself(demo_running: Running, chromium: Any) -> None:
    """Its document runs nothing, reaches nothing and leads nowhere; what it says elsewhere is text."""
    bad = "<img src=x onerror=alert(9)>"
    answer = demo_running.post(
        "/demo/send",
        **{**FORM, "html": HOSTILE, "from": f'"{bad}" <mara@example.com>'},
        subject=f"Hostile {bad}",
        label=bad,
    )
    assert answer["sent"], answer
    page, seen = page_of(chromium, demo_running)
    popups: list[browser.Seen] = []
    page.context.on("page", lambda opened: popups.append(browser.watch(opened)))
    frame = newest(page, "Hostile")
    frame.get_by_text("Harmless").wait_for()
    assert page.locator("#message h3").text_content() == f"Hostile {bad}"
    frame.locator("#js").click(modifiers=[])
    frame.locator("#go").click()
    frame.locator("#top").click()
    for name in ("Plain text", "Headers", "Source", "Message"):
        page.get_by_role("button", name=name, exact=True).last.click()
    page.locator("#messages li", has_text="Hostile").get_by_role("link").click()
    page.locator("#detail .headline", has_text=bad).wait_for()
    assert page.url.startswith(demo_running.url)
    assert page.locator("img[src=x]").count() == 0
    assert not any(one.dialogs or one.errors for one in [seen, *popups])
    document = page.request.get(f"{demo_running.url}/demo/inbox/{demo_running.messages()[0]['id']}/body")
    policy = document.headers["content-security-policy"]
    assert policy.startswith(
        "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src http://127.0.0.1:"
    )
    assert "script" not in policy


def test_a_bounce_and_an_automatic_answer_are_no_replies(demo_running: Running) -> None:
    demo_running.post("/demo/send", **{**FORM, "to": "jonas@example.org, bounce@example.org"}, subject="Half")
    eventually(
        lambda: "bounced" in demo_running.states() or "Delivered to 1 of 2" in str(demo_running.get("/live/messages"))
    )
    mine = [one for one in demo_running.messages() if one["subject"] == "Half"]
    assert [one["for"] for one in mine] == [["jonas@example.org"]]
    demo_running.post(f"/demo/inbox/{mine[0]['id']}/reply", text="Away", automatic=True)
    eventually(lambda: "auto" in demo_running.states())
    assert "replied" not in demo_running.states()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"from": "nobody"}, "From needs one address"),
        ({"to": ""}, "To needs an address"),
        ({"to": ",".join(f"a{i}@example.org" for i in range(30))}, "at most 20"),
        ({"to": "bounce@example.org"}, "550 5.1.1"),
    ],
)
def test_what_can_not_be_sent_says_why(demo_running: Running, changes: dict[str, str], words: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        demo_running.post("/demo/send", **{**FORM, "subject": "x", **changes})
    answer = json.load(refused.value)
    assert refused.value.code == 422
    assert words in answer["reply"]


@pytest.mark.parametrize("path", ["/demo/inbox/none", "/demo/inbox/none/body", "/demo/static/..%2f..%2fpages.py"])
def test_what_is_not_there(demo_running: Running, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        demo_running.get(path)
    assert refused.value.code == 404


def test_other_sites_can_not_send(demo_running: Running) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Content-Type": "text/plain"}):
        request = urllib.request.Request(
            f"{demo_running.url}/demo/send", b"{}", {"Content-Type": "application/json", **headers}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        assert refused.value.code in (403, 415)


# -- the process -------------------------------------------------------------------------------------------------------


def test_a_busy_port_gives_the_next_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with running(
            tmp_path, "--smtp-port", str(port), "--http-port", str(port), "--admin-port", str(port)
        ) as started:
            ports = [started.smtp, int(started.url.rpartition(":")[2])]
            assert all(port < p <= port + 200 for p in ports)
            assert len(set(ports)) == 2
            assert list(tmp_path.glob("trackrelay-demo-*/state/*"))
            started.process.send_signal(signal.SIGINT)
            assert started.process.wait(35) == 0
    assert not list(tmp_path.glob("trackrelay-demo-*"))
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert demo.free_port(port) > port
    free = peers.free_port()
    assert demo.free_port(free, frozenset({free})) > free
    with pytest.raises(demo.NoPort):
        demo.free_port(65_535, frozenset({65_535}))


# -- reading and writing, over values ----------------------------------------------------------------------------------


def kept(raw: bytes, **more: Any) -> inbox.Received:
    return inbox.Received("1", "a@example.com", ("b@example.org",), raw, 0.0, **more)


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_bytes_can_be_shown(raw: bytes) -> None:
    json.dumps(display.view(kept(b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n" + raw)))
    json.dumps(display.view(kept(raw)))
    assert display.BASE in display.document(display.read(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
        + b"--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" * 3000,
        b"".join(b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (i, i) for i in range(3000)),
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n\r\n\r\n" * 5000,
        b"Content-Type: text/html; charset=no-such\r\n\r\n\xff<p>",
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n+ZZZZZZZ",
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ny",
        b"Content-Transfer-Encoding: base64\r\n\r\n====",
    ],
)
def test_what_breaks_parsers_is_shown_somehow(raw: bytes) -> None:
    json.dumps(display.view(kept(raw)))


def test_what_is_in_a_report_is_offered_for_saving() -> None:
    raw = (
        b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\r\nSorry\r\n--x\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; a\r\n\r\nAction: failed\r\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: Hi\r\n\r\n<p>\r\n--x--\r\n"
    )
    found = display.read(raw)
    assert found.text == "Sorry"
    assert [a.name for a in found.attachments] == ["delivery-status.txt", "message.eml"]
    assert b"Action: failed" in found.attachments[0].content
    assert b"Subject: Hi" in found.attachments[1].content


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("<!doctype html><html><head><title>x", "<!doctype html><html><head>B<title>x"),
        ("<html lang=de><p>x", "<html lang=de>B<p>x"),
        ("<!DOCTYPE html><p>x", "<!DOCTYPE html>B<p>x"),
        ("<p>x", "B<p>x"),
        ("<header>x", "B<header>x"),
        ("<img src='cid:a%40b'>", "B<img src='DATA'>"),
        ("<img src=cid:unknown>", "B<img src=cid:unknown>"),
    ],
)
def test_the_document_opens_links_in_a_new_tab(given_: str, expected: str) -> None:
    reading = display.Reading(html=given_, pictures={"a@b": "DATA"})
    assert display.document(reading, target="B") == expected


def test_html_as_text() -> None:
    html = "<html><head><style>p{}</style><title>t</title></head><body><p>One &amp;\n two</p><br>A <a href='https://x.example/?a=1&amp;b'>link</a></body>"
    assert display.plain(html) == "One & two\n\nA link <https://x.example/?a=1&b>\n"


DRAFT = writing.Draft("Mara <m@example.com>", "j@example.org", "Hi", "<p>Hello</p>", frozenset({"opens"}))


def test_a_draft_to_any_alphabet() -> None:
    """The domain in A-labels, as servers need it; the name in UTF-8 only where there is no other way (RFC 6532)."""
    sender, recipients, raw = writing.compose(replace(DRAFT, sender="Jörg <j@müller.example>", to="a@bücher.example"))
    assert (sender, recipients) == ("j@xn--mller-kva.example", ["a@xn--bcher-kva.example"])
    assert raw.isascii()
    sender, recipients, raw = writing.compose(replace(DRAFT, sender="jörg@müller.example", to="зоя@пример.example"))
    assert (sender, recipients) == ("jörg@xn--mller-kva.example", ["зоя@xn--e1afmkfd.example"])
    assert "To: зоя@xn--e1afmkfd.example".encode() in raw.splitlines()
    answer = writing.answer(inbox.Received("1", sender, tuple(recipients), raw, 0.0), "Ja").decode()
    for line in ("From: зоя@xn--e1afmkfd.example", "To: jörg@xn--mller-kva.example"):
        assert line in answer.splitlines()


def test_addresses_are_shown_in_unicode(demo_running: Running) -> None:
    people = {"from": "Jörg <jörg@müller.example>", "to": "зоя@пример.example"}
    assert demo_running.post("/demo/send", **{**FORM, **people}, subject="In any alphabet")["sent"]
    mine = next(one for one in demo_running.messages() if one["subject"] == "In any alphabet")
    assert (mine["from"], mine["for"]) == ("Jörg", ["зоя@пример.example"])
    shown = demo_running.get(f"/demo/inbox/{mine['id']}")["shown"]
    assert (shown["from"], shown["to"]) == ("Jörg <jörg@müller.example>", "зоя@пример.example")
    live = next(one for one in demo_running.get("/live/messages")["messages"] if one["subject"] == "In any alphabet")
    assert (live["sender"], live["to"]) == ("jörg@müller.example", ["зоя@пример.example"])


def test_a_draft_asks_by_headers() -> None:
    sender, recipients, raw = writing.compose(replace(DRAFT, to="J <j@example.org>, i@example.org", label="spring"))
    assert (sender, recipients) == ("m@example.com", ["j@example.org", "i@example.org"])
    head = raw.partition(b"\r\n\r\n")[0].decode()
    for line in ("X-Track-Opens: yes", "X-Track-Links: no", "X-Track-Thread-Replies: no", "X-Track-Label: spring"):
        assert line in head.splitlines()
    assert b"\n" not in raw.replace(b"\r\n", b"")


@pytest.mark.parametrize("field", ["sender", "to", "subject", "label"])
@pytest.mark.parametrize(
    "text", ["x\r\nBcc: evil@example.net", "x\nBcc: evil@example.net", "x\r\n\r\nbody", "x\rBcc: e@example.net"]
)
def test_no_field_adds_a_header(field: str, text: str) -> None:
    text = f"Mara <m@example.com>{text[1:]}" if field in ("sender", "to") else text
    try:
        changed: dict[str, Any] = {field: text}
        raw = writing.compose(replace(DRAFT, **changed))[2]
    except writing.Unwritable:
        return
    assert not re.search(rb"(?im)^bcc:", raw)


def test_an_answer_names_the_message_and_the_thread() -> None:
    raw = b"From: Mara <m@example.com>\r\nMessage-ID: <2@example.com>\r\nReferences: <1@example.com>\r\nSubject: Re: Hi\r\n\r\nHello\r\n"
    answer = writing.answer(kept(raw), "Yes").decode()
    for line in (
        "In-Reply-To: <2@example.com>",
        "References: <1@example.com> <2@example.com>",
        "Subject: Re: Hi",
        "To: m@example.com",
        "From: b@example.org",
    ):
        assert line in answer.splitlines()
    assert "> Hello" in answer
    assert "Auto-Submitted" not in answer
    assert "Auto-Submitted: auto-replied" in writing.answer(kept(raw), "Away", automatic=True).decode().splitlines()


def test_the_inbox_is_bounded() -> None:
    small = inbox.Inbox(most=3, octets=100)
    for number in range(9):
        small.keep(inbox.Received(str(number), "", (), b"x" * 40, 0.0))
    assert list(small.messages) == ["7", "8"]
    assert small.octets == 80
    small.keep(inbox.Received("big", "", (), b"x" * 400, 0.0))
    assert list(small.messages) == ["big"]
