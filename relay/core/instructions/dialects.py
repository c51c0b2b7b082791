"""The tracking headers of other senders, so that a program that moves here need not change.

Owns: which headers each vendor has for opens, clicks, tags and metadata, and what they mean here (docs/migrating.md
has the same as a table). These are read and removed where the dialect is switched on; a vendor's other headers are
neither read nor removed.
Leaves to others: the attributes on single links (`links`), and what wins over what (the package).

None of them knows replies, so that `thread_replies` is off where one of them speaks. Where one asks for links in plain
text alone, links are off: tracking the HTML as well would be more than was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relay.core.instructions.values import (
    NO,
    YES,
    Source,
    Unreadable,
    Voice,
    all_three,
    flag,
    label,
    mapping,
    parsed,
    shown,
    strings,
    switch,
)
from relay.core.model import Switch

# What a word for links means: (links in HTML, links in plain text; None leaves that to the settings).
Links = tuple[bool, bool | None]


@dataclass(frozen=True, slots=True)
class Dialect:
    """`names` are the fields that are read and removed, `prefix` the beginning of further ones; in lower case."""

    names: frozenset[str]
    read: Callable[[Source], Voice]
    prefix: str = "\0"

    def has(self, name: str) -> bool:
        return name in self.names or name.startswith(self.prefix)


def switches(source: Source, *, opens: str, links: str) -> dict[Switch, tuple[bool, str]]:
    """Two headers with a yes or no each. Where one is there, the other's absence is off."""
    return both(opens, source.one(opens, switch), links, source.one(links, switch))


def both(opens: str, opened: bool | None, links: str, linked: bool | None) -> dict[Switch, tuple[bool, str]]:
    if opened is None and linked is None:
        return {}
    there = links if opened is None else opens
    return all_three(there) | {
        "opens": (bool(opened), opens if opened is not None else there),
        "links": (bool(linked), links if linked is not None else there),
    }


def first_tag(name: str, tags: list[str]) -> str | None:
    return next((label(name, tag.strip()) for tag in tags if tag.strip()), None)


def listed(name: str, value: str) -> list[str]:
    """Tags: separated by commas, or a JSON list."""
    if value.startswith("["):
        found = parsed(name, value, [])
        return [tag for tag in found if isinstance(tag, str)]
    return value.split(",")


def tagged(source: Source, name: str) -> str | None:
    return first_tag(name, [tag for text in source.texts(name) for tag in listed(name, text)])


def metadata(source: Source, name: str) -> dict[str, str]:
    """JSON objects; where the header is there more than once they add up, and the first of a name counts."""
    found: dict[str, str] = {}
    for field in source.all(name):
        for key, value in strings(source.mended(name, field, mapping)).items():
            found.setdefault(key, value)
    return found


# -- the vendors -------------------------------------------------------------------------------------------------------

MANDRILL: dict[str, Links] = {
    "clicks": (True, None),
    "clicks_all": (True, True),
    "clicks_htmlonly": (True, False),
    "clicks_textonly": (False, None),
}


def mandrill(source: Source) -> Voice:
    """https://mailchimp.com/developer/transactional/docs/smtp-integration/ (X-MC-*)."""
    words = source.one("X-MC-Track", mandrill_words)
    links = [MANDRILL[word] for word in words or () if word in MANDRILL]
    found = {} if words is None else all_three("X-MC-Track", opens="opens" in words, links=any(on for on, _ in links))
    return Voice(
        found,
        label=tagged(source, "X-MC-Tags"),
        metadata=metadata(source, "X-MC-Metadata"),
        text_links=next((text for on, text in links if on and text is not None), None),
    )


def mandrill_words(name: str, value: str) -> frozenset[str]:
    words = frozenset(word.strip().lower() for word in value.split(",")) - {"", "none", *NO}
    for word in words:
        if word != "opens" and word not in MANDRILL:
            raise Unreadable(f"{name}: {shown(word)} is not understood; write opens, {', '.join(MANDRILL)}, or none")
    if len(words - {"opens"}) > 1:
        raise Unreadable(
            f"{name}: {shown(value)} says more than one thing about clicks; write one of {', '.join(MANDRILL)}"
        )
    return words


POSTMARK: dict[str, Links] = {
    "none": (False, None),
    "htmlandtext": (True, True),
    "htmlonly": (True, False),
    "textonly": (False, None),
}
POSTMARK_METADATA = "x-pm-metadata-"


def postmark(source: Source) -> Voice:
    """https://postmarkapp.com/developer/user-guide/send-email-with-smtp (X-PM-*)."""
    links = source.one("X-PM-TrackLinks", lambda name, value: chosen(name, value, POSTMARK))
    opens = source.one("X-PM-TrackOpens", switch)
    pairs = {
        source.head.raw[field.start + len(POSTMARK_METADATA) : field.value - 1].decode("ascii").strip(): text
        for name in source.fields
        if name.startswith(POSTMARK_METADATA)
        for field, text in zip(source.all(name), source.texts(name), strict=True)
    }
    return Voice(
        both("X-PM-TrackOpens", opens, "X-PM-TrackLinks", links and links[0]),
        label=source.one("X-PM-Tag", label),
        metadata=pairs,
        text_links=links[1] if links and links[0] else None,
    )


def chosen(name: str, value: str, words: Mapping[str, Links]) -> Links:
    if value.lower() not in words:
        raise Unreadable(f"{name}: {shown(value)} is not understood; write one of {', '.join(words)}")
    return words[value.lower()]


MAILGUN: dict[str, Links] = (
    {word: (True, None) for word in sorted(YES)}
    | {word: (False, None) for word in sorted(NO)}
    | {"htmlonly": (True, False)}
)


def mailgun(source: Source) -> Voice:
    """https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/ (X-Mailgun-*). X-Mailgun-Track is
    for both; the headers for one of them win over it."""
    track = source.one("X-Mailgun-Track", lambda name, value: chosen(name, value, MAILGUN))
    clicks = source.one("X-Mailgun-Track-Clicks", lambda name, value: chosen(name, value, MAILGUN))
    opens = source.one("X-Mailgun-Track-Opens", switch)
    top = source.one("X-Mailgun-Track-Pixel-Location-Top", lambda name, value: chosen(name, value, MAILGUN)[0])
    found = both("X-Mailgun-Track-Opens", opens, "X-Mailgun-Track-Clicks", clicks and clicks[0])
    if track is not None:
        named = {k: v for k, v in found.items() if (opens if k == "opens" else clicks) is not None}
        named.pop("thread_replies", None)
        found = all_three("X-Mailgun-Track", opens=track[0], links=track[0]) | named
    links = clicks or track
    return Voice(
        found,
        label=first_tag("X-Mailgun-Tag", source.texts("X-Mailgun-Tag")),
        metadata=metadata(source, "X-Mailgun-Variables"),
        pixel=None if top is None else "top" if top else "bottom",
        text_links=links[1] if links and links[0] else None,
    )


SMTPAPI = frozenset(
    {"filters", "opentrack", "clicktrack", "settings", "enable", "enable_text", "category", "unique_args"}
)


def sendgrid(source: Source) -> Voice:
    """https://www.twilio.com/docs/sendgrid/for-developers/sending-email/building-an-x-smtpapi-header."""
    return source.json("X-SMTPAPI", smtpapi, SMTPAPI) or Voice()


def smtpapi(name: str, value: Any) -> Voice:
    given = mapping(name, value)
    filters = mapping(f"{name}, filters", given.get("filters") or {})
    _, opened = filtered(name, filters, "opentrack")
    links, linked = filtered(name, filters, "clicktrack")
    tags = given.get("category")
    return Voice(
        both(name, opened, name, linked),
        label=first_tag(
            f"{name}, category", [t for t in (tags if isinstance(tags, list) else [tags]) if isinstance(t, str)]
        ),
        metadata=strings(mapping(f"{name}, unique_args", given.get("unique_args") or {})),
        text_links=flag(name, "enable_text", links["enable_text"]) if linked and "enable_text" in links else None,
    )


def filtered(name: str, filters: dict[str, Any], which: str) -> tuple[dict[str, Any], bool | None]:
    """The settings of a filter, and whether it is on; None where it is not named."""
    settings = mapping(f"{name}, {which}", mapping(f"{name}, {which}", filters.get(which) or {}).get("settings") or {})
    return settings, flag(name, f"{which} enable", settings["enable"]) if "enable" in settings else None


MSYS = frozenset({"options", "open_tracking", "click_tracking", "campaign_id", "metadata", "tags"})


def sparkpost(source: Source) -> Voice:
    """https://developers.sparkpost.com/api/smtp/ (X-MSYS-API)."""
    return source.json("X-MSYS-API", msys, MSYS) or Voice()


def msys(name: str, value: Any) -> Voice:
    given = mapping(name, value)
    options = mapping(f"{name}, options", given.get("options") or {})
    opened, linked = (
        flag(name, key, options[key]) if key in options else None for key in ("open_tracking", "click_tracking")
    )
    tags = given.get("tags") if isinstance(given.get("tags"), list) else []
    named = [t for t in (*(tags or ()), given.get("campaign_id")) if isinstance(t, str)]
    return Voice(
        both(name, opened, name, linked),
        label=first_tag(f"{name}, tags", named),
        metadata=strings(mapping(f"{name}, metadata", given.get("metadata") or {})),
    )


def mailjet(source: Source) -> Voice:
    """https://dev.mailjet.com/docs/smtp_relay/custom_headers."""
    echoed = {name: source.one(name, lambda _, value: value) for name in ("X-MJ-CustomID", "X-MJ-EventPayload")}
    return Voice(
        switches(source, opens="X-Mailjet-TrackOpen", links="X-Mailjet-TrackClick"),
        label=source.one("X-Mailjet-Campaign", label),
        metadata={name.removeprefix("X-MJ-"): text for name, text in echoed.items() if text is not None},
    )


def unosend(source: Source) -> Voice:
    """https://docs.unosend.co (guides, SMTP)."""
    return Voice(
        switches(source, opens="X-Unosend-Track-Opens", links="X-Unosend-Track-Clicks"),
        label=tagged(source, "X-Unosend-Tags"),
    )


DIALECTS: dict[str, Dialect] = {
    "mandrill": Dialect(frozenset({"x-mc-track", "x-mc-tags", "x-mc-metadata"}), mandrill),
    "postmark": Dialect(frozenset({"x-pm-trackopens", "x-pm-tracklinks", "x-pm-tag"}), postmark, POSTMARK_METADATA),
    "mailgun": Dialect(
        frozenset(
            {
                "x-mailgun-track",
                "x-mailgun-track-clicks",
                "x-mailgun-track-opens",
                "x-mailgun-track-pixel-location-top",
                "x-mailgun-tag",
                "x-mailgun-variables",
            }
        ),
        mailgun,
    ),
    "sendgrid": Dialect(frozenset({"x-smtpapi"}), sendgrid),
    "sparkpost": Dialect(frozenset({"x-msys-api"}), sparkpost),
    "mailjet": Dialect(
        frozenset(
            {
                "x-mailjet-trackopen",
                "x-mailjet-trackclick",
                "x-mailjet-campaign",
                "x-mj-customid",
                "x-mj-eventpayload",
            }
        ),
        mailjet,
    ),
    "unosend": Dialect(frozenset({"x-unosend-track-opens", "x-unosend-track-clicks", "x-unosend-tags"}), unosend),
}
