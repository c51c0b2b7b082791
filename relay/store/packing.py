"""The texts of a message that are long and much the same in each, as they are stored: which links a message has, and what was
done with its parts.

Owns: the short forms. What has none is stored as it is, and so stands what an earlier program wrote: each form is told from plain
JSON when it is read. Leaves to others: which columns these are (`relay.store.tables`).

Links, one after the other, mostly begin and end alike: of a link it is said how many characters of the one before it begins with,
what comes then, and with how many it ends. An explanation is a list instead of an object, in which words are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, starmap
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

WORTH = 10  # characters that a link must have in common with the one before it: to say so takes nearly as many
# What a number in an explanation means. New words come at the end: rows say these numbers for as long as they are kept.
WORDS: tuple[str, ...] = (
    "edited", "text/html", "text/plain", "multipart/alternative", "multipart/mixed", "multipart/related", "bottom", "top",
    "not_requested", "invalid_instruction", "no_html", "no_mailbox", "excluded_recipient", "suppressed", "null_sender",
    "auto_reply", "signed", "encrypted", "pgp", "calendar", "amp", "attachment", "embedded", "charset", "unsafe_place",
    "limit_size", "limit_parts", "limit_depth", "limit_headers", "limit_time", "limit_links", "limit_url", "scheme", "relative",
    "credentials", "unsubscribe", "placeholder", "own_link", "refused", "host_excluded", "visible_url", "duplicate_pixel",
    "internal_error", "multipart/signed", "multipart/report", "message/rfc822", "text/calendar", "application/pdf",
    "application/octet-stream", "image/png", "image/jpeg", "image/gif",
)  # fmt: skip
NUMBERS: Mapping[Any, int] = {word: number for number, word in enumerate(WORDS)}
PARTS, LEFT, PIXEL = "parts", "left", "pixel"
RECURRING = 256  # rows of explanations: most mail is made by few programs


# -- links -------------------------------------------------------------------------------------------------------------


def links(urls: Sequence[str]) -> str:
    """JSON: a link as it is, or [beginning, what comes then, end] by the one before it."""
    if not urls:
        return "[]"
    before, begin, end = urls[0], 0, 0
    found: list[Any] = [before]
    for url in urls[1:]:
        most = min(len(before), len(url))
        begin = begins_alike(before, url, most, begin)
        end = ends_alike(before, url, most - begin, end)
        found.append([begin, url[begin : len(url) - end], end] if begin + end > WORTH else url)
        before = url
    return _encode(found).decode()


def begins_alike(one: str, other: str, most: int, guess: int) -> int:
    """How many characters they begin with in common, at most so many. The guess is right mostly: it was for the links
    before."""
    if guess < most and one[guess] != other[guess] and one.startswith(other[:guess]):
        return guess
    least = 0
    while least < most:
        some = (least + most + 1) // 2
        if one.startswith(other[:some]):
            least = some
        else:
            most = some - 1
    return least


def ends_alike(one: str, other: str, most: int, guess: int) -> int:
    """The same for how they end."""
    if guess < most and one[~guess] != other[~guess] and one.endswith(other[len(other) - guess :]):
        return guess
    least = 0
    while least < most:
        some = (least + most + 1) // 2
        if one.endswith(other[len(other) - some :]):
            least = some
        else:
            most = some - 1
    return least


def read_links(text: str) -> tuple[str, ...]:
    found: list[str] = []
    for each in _decode(text):
        if isinstance(each, str):
            found.append(each)
        else:
            begin, middle, end = each
            before = found[-1]
            found.append(before[:begin] + middle + before[len(before) - end :])
    return tuple(found)


# -- explanations ------------------------------------------------------------------------------------------------------


def explanation(value: Mapping[str, Any]) -> str:
    """JSON: an object, or of one that tells of parts, links and pixel (`outbound.records.explanation`) a list of these
    three, with an object of what else it says where there is more."""
    if not value:
        return "{}"
    parts, left = value.get(PARTS), value.get(LEFT)
    if type(parts) is type(left) is list and PIXEL in value:
        spots = [] if (pixel := value[PIXEL]) is None else [pixel]
        if set(map(type, chain(parts, left, spots))) <= {list}:
            try:
                told, links = ",".join(starmap(row, parts)), ",".join(starmap(link_row, left))
                spot = next(starmap(row, spots), "null")
            except TypeError:  # they are of another kind
                return _encode(value).decode()
            more = {name: each for name, each in value.items() if name not in (PARTS, LEFT, PIXEL)}
            return f"[[{told}],[{links}],{spot}{f',{_encode(more).decode()}' if more else ''}]"
    return _encode(value).decode()


@lru_cache(RECURRING)
def row(path: str | None, what: str | None, why: str | None) -> str:
    return _encode([texts(path), numbered(what), numbered(why)]).decode()


@lru_cache(RECURRING)
def link_row(part: str | None, place: str | None, why: str | None, count: int) -> str:
    return _encode([texts(part), texts(place), numbered(why), count]).decode()


def texts(value: str | None) -> str | None:
    if value is not None and type(value) is not str:
        raise TypeError(value)
    return value


def numbered(word: str | None) -> Any:
    return NUMBERS.get(texts(word), word)


def read_explanation(text: str) -> dict[str, Any]:
    value = _decode(text)
    if isinstance(value, dict):
        return value
    parts, left, pixel, *more = value
    return {
        **(more[0] if more else {}),
        PARTS: [[path, said(what), said(why)] for path, what, why in parts],
        LEFT: [[part, place, said(why), count] for part, place, why, count in left],
        PIXEL: pixel and [pixel[0], said(pixel[1]), said(pixel[2])],
    }


def said(word: Any) -> Any:
    return WORDS[word] if isinstance(word, int) else word
