"""What a person reads on the tracking host: what it is for, that a link is broken, that a link was blocked.

Owns: the texts, their header fields, and that they ask no other host for anything. Leaves to others: when each is shown (`public`).
"""

from __future__ import annotations

from html import escape
from typing import NamedTuple

NO_STORE = "no-store, no-cache, must-revalidate, proxy-revalidate, private"
COMMON = {"Server": "trackrelay", "X-Robots-Tag": "noindex, nofollow", "X-Content-Type-Options": "nosniff"}
UNCACHED = {"Cache-Control": NO_STORE, "Pragma": "no-cache", "Expires": "0"}
PAGE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    **COMMON,
}
HEADERS = {**PAGE, **UNCACHED}

HTML = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;
color:#222;background:#fff}}@media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}a{{color:#9cc2ff}}}}</style>
<main><h1>{title}</h1>{text}</main>"""
DISCLOSURE = (
    "This host counts opens and clicks of e-mail",
    "<p>Somebody who sends e-mail uses this host to learn whether a message was opened and which of its links "
    "were followed. Such a message contains a picture and links that lead here. Each link takes you straight on to "
    "the page that the sender meant.</p><p>This page itself counts nothing, sets no cookies and loads nothing from "
    "other hosts.</p><p>If you do not want to be counted, switch off remote images in your mail program, and ask the "
    "sender, whose name is in the message, to leave you out.</p>",
)
NOT_FOUND = (
    "There is nothing here",
    "<p>If a link in a message brought you here, it was cut off or changed on the way. Open the message again and "
    "follow the link from there, or ask the sender for the address.</p>",
)
BLOCKED = (
    "This link is blocked",
    "<p>It was in a message, and whoever runs this host has blocked it, most likely because somebody reported the "
    "message or the page behind the link as harmful. It leads nowhere now.</p><p>Be careful with the message that it came "
    "in: do not reply, and do not open its attachments.</p>",
)
ABUSE = '<p>Report abuse of this host to <a href="mailto:{address}">{address}</a>.</p>'


class Pages(NamedTuple):
    """HTML, whole."""

    disclosure: str
    not_found: str
    blocked: str


def made(abuse: str) -> Pages:
    """The pages of an installation. `abuse` is the address for reports, or ""."""
    end = ABUSE.format(address=escape(abuse)) if abuse else ""
    return Pages(*(HTML.format(title=title, text=text + end) for title, text in (DISCLOSURE, NOT_FOUND, BLOCKED)))
