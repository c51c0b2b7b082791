"""A hostile report costs no more than a reader may spend, and nobody's answer is one, whatever stands in it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import headers, reports
from relay.core.reports import delivery, origin
from tests import reporting
from tests.reporting import ANN, SENT, group, multipart, plain, status, text

MEGABYTE = 1_000_000
PEOPLE = 10_000


def dsn(*bodies: tuple[str, str]) -> bytes:
    return multipart(*bodies, subject="Undelivered Mail Returned to Sender", kind=reporting.DSN)


def nested(depth: int) -> bytes:
    raw = dsn(text("No."), status(group(ANN)), reporting.WHOLE)
    for level in range(depth):
        inner = raw.decode().replace("\r\n", "\n").replace("=_b", f"=_{level}")
        raw = multipart(("message/rfc822", inner), subject="Undelivered Mail Returned to Sender")
    return raw


HOSTILE: dict[str, Callable[[], bytes]] = {
    "10 MB of text": lambda: plain("could not be delivered <a@b.example> 550 5.1.1\n" * (10 * MEGABYTE // 48), subject="failure notice"),
    "10 MB in one line": lambda: plain("a@b.example 550 " * (10 * MEGABYTE // 16), subject="failure notice"),
    "10 MB of a returned message": lambda: dsn(text("No."), status(group(ANN)), ("message/rfc822", reporting.RETURNED + "x" * 10 * MEGABYTE)),
    "10,000 recipients": lambda: dsn(text("No."), status(*(group(f"u{n}@b.example") for n in range(PEOPLE)))),
    "10,000 recipients without addresses": lambda: dsn(text("No."), status(*["Action: failed\n"] * PEOPLE), reporting.WHOLE),
    "10,000 recipients in words": lambda: plain("\n".join(f"<u{n}@b.example>: 550 5.1.1 no" for n in range(PEOPLE)), subject="failure notice"),
    "10,000 failed recipients": lambda: plain("No.", subject="failure notice", fields=("X-Failed-Recipients: " + ", ".join(f"u{n}@b.example" for n in range(PEOPLE)),)),
    "10,000 returned messages": lambda: dsn(*[("message/rfc822", reporting.RETURNED)] * PEOPLE),
    "10,000 delivery statuses": lambda: dsn(*[status("x")] * PEOPLE),
    "reports in reports, 200 deep": lambda: nested(200),
    "reports beside reports": lambda: multipart(*[("message/rfc822", nested(3).decode().replace("\r\n", "\n"))] * 50, subject="Undelivered Mail"),
    "10,000 recipients of SES": lambda: reporting.ses('"notificationType":"Bounce","bounce":{"bouncedRecipients":[' + ",".join(['{"emailAddress":"a@b.example"}'] * PEOPLE) + "]}"),
    "JSON that goes deep": lambda: plain('{"a":' * 100_000, subject="AWS", sender="no-reply@sns.amazonaws.com"),
    "JSON with a long number": lambda: plain('{"a":' + "9" * 500_000 + "}", subject="AWS", sender="no-reply@sns.amazonaws.com"),
    "10,000 recipients of PEC": lambda: reporting.pec("errore-consegna", "x", "<consegna>a@b.example</consegna>" * PEOPLE),
    "a table of cells": lambda: multipart(("text/html", "<td>550 a@b.example</td>" * 400_000), subject="failure notice"),
    "dividers": lambda: plain("--- Original message ---\n" * 400_000, subject="failure notice"),
    "addresses in Chinese": lambda: plain("无法发送到" * 20 + "b@rcpt.example的" * 300_000, subject="退信"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(120)
def test_a_hostile_report_is_bounded(name: str) -> None:
    raw = HOSTILE[name]()
    tracemalloc.start()
    began = time.process_time()
    report = reports.read(raw)
    spent = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{name}: {spent:.2f} s, {peak / MEGABYTE:.1f} MB, {report.kind}, {len(report.entries)} entries")
    assert len(report.entries) <= delivery.MAX_RECIPIENTS
    assert all(len(entry.reason) <= delivery.LONGEST_REASON for entry in report.entries)
    assert peak < 60 * MEGABYTE


def test_a_report_about_ten_thousand_names_the_first_thousand() -> None:
    found = reports.read(HOSTILE["10,000 recipients"]())
    assert found.recipients == tuple(f"u{n}@b.example" for n in range(delivery.MAX_RECIPIENTS))


# -- a person's answer -------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    ["could not be delivered", "550 5.1.1", f"<{ANN}>:", ANN, "Undeliverable", "permanent error", "\n", "\n\n", "-----Original Message-----",
     "--- Below this line is a copy of the message.", reporting.RETURNED, "Final-Recipient: rfc822; a@b.example", "Action: failed", "Status: 5.1.1",
     "退信", "nicht zugestellt", "Reporting-MTA: dns; x", "success", "delayed", "> "]
)  # fmt: skip
PARTS = st.sampled_from(
    [reporting.WHOLE, reporting.FIELDS, status(group(ANN)), ("message/rfc822", reporting.INNER), text("550 5.1.1")]
)
ANSWER = st.sampled_from(["Re: ", "RE: ", "AW: ", "Antw: ", "SV: ", "回复: ", "Re[2]: ", "Fwd: ", "WG: "])
TITLES = st.sampled_from(
    ["Offer", "Undeliverable: Offer", "failure notice", "Mail delivery failed", "退信", "Unzustellbar: x"]
)
AUTHORS = st.sampled_from(
    ["Ann <ann@example.org>", "ann@postmaster.example", "Alexandr <alexandr@example.org>", "Postmaster <postmaster@example.org>",
     "Mail Systems Ltd <bob@mail-system.example>", "Gail Delivery <gail@example.org>"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=12), st.lists(PARTS, max_size=3), ANSWER, TITLES, AUTHORS)
def test_a_persons_answer_is_no_report_whatever_stands_in_it(
    words: list[str], parts: list[tuple[str, str]], mark: str, title: str, author: str
) -> None:
    about = {
        "subject": mark + title,
        "sender": author,
        "path": "<ann@example.org>",
        "fields": (f"In-Reply-To: <{SENT}>",),
    }
    for raw in (plain(" ".join(words), **about), multipart(text(" ".join(words)), *parts, **about)):  # type: ignore[arg-type]
        assert reports.read(raw).kind == "reply"
        head = headers.read(raw)
        assert not origin.looks_automatic(head)


@given(
    st.lists(WORDS, max_size=12), TITLES, st.sampled_from(["Ann <ann@example.org>", "Alexandr <alexandr@example.org>"])
)
def test_a_persons_answer_without_the_mark_is_none_either(words: list[str], title: str, author: str) -> None:
    raw = plain(
        " ".join(words), subject=title, sender=author, path="<ann@example.org>", fields=(f"In-Reply-To: <{SENT}>",)
    )
    assert reports.read(raw).kind == "reply"
