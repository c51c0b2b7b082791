"""What mail systems write is read as it says, in the forms of many programs, in languages known and unknown."""

from __future__ import annotations

import pytest

from relay.core import headers, reports
from relay.core.reports import inspected
from tests import reporting


@pytest.mark.parametrize("form", reporting.FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_a_form_is_read_as_it_says(form: reporting.Form, newline: bytes) -> None:
    raw = form.raw.replace(b"\r\n", newline)
    found = reports.read(raw)
    assert (found.kind, found.recipients) == (form.kind, form.recipients), found
    if form.status:
        assert (found.status or "")[: len(form.status)] == form.status, found
    if form.original:
        assert found.original_message_id == form.original, found


@pytest.mark.parametrize("form", reporting.FORMS, ids=lambda form: form.name)
def test_the_header_section_is_enough_or_says_that_it_is_not(form: reporting.Form) -> None:
    """What has no body to look at is what its header section says."""
    head = headers.read(inspected.unmarked(form.raw))
    if not reports.needs_body(head):
        assert reports.read(form.raw[: head.body]) == reports.read(form.raw)
