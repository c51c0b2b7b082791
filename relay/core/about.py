"""The line below a message that leads to the page about it.

Owns: its words in each language, which language a message is in, the markup. Leaves to others: where it stands
(`rewrite`), the page (`tracking_http.about`).
"""

from __future__ import annotations

import re

from relay.core.headers import Headers
from relay.core.links import entities

LINKS = {
    "en": "About this message and tracking",
    "de": "Über diese Nachricht und die Auswertung",
    "fr": "À propos de ce message et de son suivi",
    "es": "Acerca de este mensaje y su seguimiento",
    "it": "Informazioni su questo messaggio e sul tracciamento",
    "nl": "Over dit bericht en tracking",
    "pt": "Sobre esta mensagem e o seu rastreamento",
    "pl": "O tej wiadomości i jej śledzeniu",
}
DEFAULT = "en"
ROOM = 400  # octets that the line is expected to need at most
HEAD = 4000  # characters of a page in which <html lang> is looked for
LANG = re.compile(r"<html\b[^<>]{0,500}?\s(?:xml:)?lang\s*=\s*[\"']?([A-Za-z]{2,3})(?![A-Za-z])", re.I)
TAG = re.compile(r"\s*([A-Za-z]{2,3})(?![A-Za-z0-9])")


def language(head: Headers, page: str = "") -> str:
    """What the message says of itself: Content-Language (RFC 3282), else its page; `DEFAULT` where that is no language of
    ours."""
    said = TAG.match(head.get("content-language")) or LANG.search(page[:HEAD])
    code = said[1].lower() if said else DEFAULT
    return code if code in LINKS else DEFAULT


def html(words: str, url: str) -> str:
    return f'<p style="font-size:small"><a href="{entities.escaped(url)}">{entities.escaped(words)}</a></p>'


def plain(words: str, url: str, newline: str) -> str:
    """Behind the last line, which may have no end."""
    return f"{newline}{newline}{words}:{newline}{url}{newline}"
