"""Lists of suppressed recipients as CSV: ours, other programs', and what is wrong with a line."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core import suppression_lists as lists
from relay.core import suppressions
from relay.core.model import Keys
from relay.core.suppression_lists import Bad, Defaults
from relay.core.suppressions import GROUNDS, Suppression

KEYS = Keys(0, {0: b"k" * 32})
NOW = 1_800_000_000.0
DEFAULTS = Defaults(NOW, "command", "", "manual", "imported")
GRANTS = {"default", "sales"}


def read(text: str, **changes: Any) -> list[Suppression] | list[Bad]:
    return lists.read(text, KEYS, DEFAULTS.with_(**changes), GRANTS)


def taken(text: str, **changes: Any) -> list[Suppression]:
    found = read(text, **changes)
    return (
        [one for one in found if isinstance(one, Suppression)] if all(isinstance(o, Suppression) for o in found) else []
    )


def test_columns_are_found_by_name_and_what_a_line_lacks_is_the_default() -> None:
    (one,) = taken("Note;Reason;E-Mail;unknown\r\n on the phone ;Complaint;Bob@EXAMPLE.com;x\r\n")
    assert one == Suppression(
        suppressions.digest("bob@example.com", KEYS),
        "",
        "complaint",
        "Bob@EXAMPLE.com",
        NOW,
        "command",
        "",
        "on the phone",
    )
    (two,) = taken("recipient\nbob@example.com", grant_id="sales", reason="bounce")
    assert (two.grant_id, two.reason, two.note, two.since) == ("sales", "bounce", "imported", NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("email,created\na@x.test,1700000000\n", ("manual", 1.7e9)),  # SendGrid
        ("EmailAddress,SuppressionReason,Origin,CreatedAt\na@x.test,HardBounce,Recipient,2023-11-14T22:13:20Z\n", ("bounce", 1.7e9)),
        ("EmailAddress\tSuppressionReason\na@x.test\tSpamComplaint\n", ("complaint", NOW)),
        ("address,error,created_at\na@x.test,550 no such user,2023-11-14 22:13:20 UTC\n", ("manual", 1.7e9)),
        ("\ufeff\n\nrecipient , reason , since\n\n a@x.test , refusal , 2023-11-15T00:13:20+02:00 \n\n", ("refusal", 1.7e9)),
        ('"email","reason"\r\n"a@x.test","hard bounce"\r\n', ("bounce", NOW)),
    ],
)  # fmt: skip
def test_lists_of_others(text: str, expected: tuple[str, float]) -> None:
    (one,) = taken(text)
    assert (one.reason, one.since) == expected
    assert one.recipient == "a@x.test"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the first line must name the columns"),
        ("a@x.test\nb@x.test\n", 1, "the first line must name the columns"),
        ("recipient,email\na@x.test,b@x.test\n", 1, "two columns are recipient"),
        ("recipient\na@x.test\nnobody\n", 3, "'nobody' is no mail address"),
        ("recipient\na b@x.test\n", 2, "is no mail address"),
        ("recipient\nBob <a@x.test>\n", 2, "is no mail address"),
        ("recipient\na@x.test> SIZE=1\n", 2, "is no mail address"),
        ("recipient,reason\na@x.test,because\n", 2, "'because' is no reason; there are refusal, bounce"),
        ("recipient,grant\na@x.test,nobody\n", 2, "there is no grant 'nobody'"),
        ("recipient,since\na@x.test,yesterday\n", 2, "'yesterday' is no time"),
        ("recipient,since\na@x.test,2099-01-01\n", 2, "is no time that was"),
        ("recipient,note\na@x.test," + "x" * 1001 + "\n", 2, "note has more than 1000"),
        ("recipient\na@x.test,more\n", 2, "has 2 cells, and the first line names 1"),
        ("recipient,note\n,only a note\n", 2, "has no recipient"),
        ("recipient,digest\n,abc\n", 2, "has no recipient"),
        ('recipient,note\na@x.test,"open\n', 2, "this is no CSV"),
        ('recipient,note\n"a@x.test","two\nlines"\nbad,x\n', 4, "'bad' is no mail address"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_taken(text: str, line: int, words: str) -> None:
    found = read(text)
    assert [type(one) for one in found] == [Bad]
    assert isinstance(found[0], Bad)
    assert found[0].line == line
    assert words in str(found[0])


def test_all_bad_lines_are_named() -> None:
    found = read("recipient\nx\na@x.test\ny\n")
    assert [one.line for one in found if isinstance(one, Bad)] == [2, 4]
    assert len(read("recipient\n" + "x\n" * 1000)) == lists.MOST_BAD


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


@given(
    st.lists(
        st.builds(
            lambda n, grant, reason, note, since, erased: Suppression(
                suppressions.digest(f"r{n}@x.test", KEYS), grant, reason, "" if erased else f"r{n}@x.test", since,
                "page", "e1", note,
            ),
            st.integers(0, 5), st.sampled_from(["", "sales"]), st.sampled_from(GROUNDS),
            texts | st.sampled_from(["=1+1", "'=x", "@a", "-3", "+x", "''", '"', 'a,"b";c', "\N{FULLWIDTH PLUS SIGN}x"]),
            st.integers(1, 1_700_000_000_000_000).map(lambda n: n / 1e6), st.booleans(),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_what_goes_out_comes_back(those: list[Suppression]) -> None:
    text = lists.written(those)
    found = taken(text, note="", grant_id="", reason="manual")
    assert [one.with_(since=round(one.since, 5)) for one in found] == [
        one.with_(since=round(one.since, 5)) for one in those
    ]
    for row in csv.reader(io.StringIO(text, newline="")):
        assert not any(cell.startswith(lists.FORMULA) for cell in row)


@given(st.text())
def test_any_text_is_a_list_or_says_why_not(text: str) -> None:
    read(text)
    read("recipient,note\n" + text)
