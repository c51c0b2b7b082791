"""One event is one line, whatever its fields hold; as text no field can pass for another, as JSON it is JSON."""

import json
import logging
import re
import shlex
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from relay import log


def line(form: Literal["text", "json"], **fields: object) -> str:
    record = logging.LogRecord("trackrelay.room", logging.INFO, "", 0, "event", (), None)
    record.fields = fields
    return log.Form(form).format(record)


@given(st.text(), st.text())
def test_json_is_json_and_says_what_was_said(first: str, second: str) -> None:
    made = line("json", first=first, second=second)
    assert not log.UNSAFE.search(made)
    row = json.loads(made)
    assert (row["first"], row["second"]) == (log.clipped(first), log.clipped(second))


@given(st.text(), st.text())
def test_a_field_of_text_ends_where_it_ends(first: str, second: str) -> None:
    made = line("text", first=first, second=second)
    assert not log.UNSAFE.search(made)
    reader = shlex.shlex(made, posix=True, punctuation_chars=False)
    reader.quotes, reader.commenters, reader.whitespace, reader.whitespace_split = '"', "", " ", True
    words = list(reader)[3:]
    assert [word.partition("=")[0] for word in words] == ["event", "first", "second"]


def test_no_character_of_unicode_breaks_a_line_or_turns_it_around() -> None:
    """All controls and separators, and what has the property Bidi_Control."""
    turning = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    breaking = [n for n in range(0x3000) if unicodedata.category(chr(n)) in ("Cc", "Zl", "Zp")]
    for n in turning + breaking:
        for form in ("text", "json"):
            assert chr(n) not in line(form, words=f"a{chr(n)}b"), hex(n)


def test_a_quote_and_a_backslash_make_no_field() -> None:
    assert line("text", login='x\\" outcome=good y="').endswith(r'login="x\\\" outcome=good y=\""')
    assert line("text", login="me@example.com", n=1).endswith("login=me@example.com n=1")


def test_a_value_is_clipped_and_a_traceback_is_not() -> None:
    for length, written in ((200, "x" * 200), (201, "x" * 197 + "..."), (100_000, "x" * 197 + "...")):
        assert line("text", value="x" * length).endswith(f" value={written}")
        assert json.loads(line("json", value="x" * length))["value"] == written
        assert json.loads(line("json", value=["x" * length]))["value"].startswith("['xxx")
        assert len(line("json", value=["x" * length], traceback="")) < 400
        for form in ("text", "json"):
            assert "y" * length in line(form, traceback="y" * length)
    assert json.loads(line("json", n=1, x=0.5, yes=True))["x"] == 0.5


def test_what_is_escaped_is_clipped_before() -> None:
    assert len(line("text", value="\x1b" * 12_000)) < 900
    assert len(line("json", value="\x1b" * 12_000)) < 1400


WRITES = """
import sys
from relay import log
log.start("text")
log.room("room").info("event", to="a@b.example", words="two\\nlines", nothing=None)
log.room("room").debug("unheard")
sys.stderr.close()
log.room("room").info("event")  # nobody reads it any more: no reason to fail
print("done")
"""


def test_the_short_way_to_the_stream_says_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", WRITES], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "done\n")
    stamp, rest = done.stderr.split(" ", 1)
    assert rest == 'INFO room event to=a@b.example words="two\\x0alines"\n'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)


TOGETHER = """
import asyncio, sys
from relay import log
log.start("text")
LOG = log.room("room")

def written():
    return [line.split()[3] for line in open(sys.argv[1]).read().splitlines()]

async def main():
    LOG.often("first")
    LOG.often("second")
    assert written() == [], "they wait"
    LOG.info("third")
    assert written() == ["first", "second", "third"]
    LOG.often("fourth")
    try:
        raise ValueError
    except ValueError:
        LOG.exception("fifth")
    assert written()[3:5] == ["fourth", "fifth"]
    before = len(open(sys.argv[1]).read())
    for number in range(100):
        LOG.often("many", words="x" * 190)
    assert 0 < len(open(sys.argv[1]).read()) - before <= 200 * 220, "no more waits than can be written at once"
    while written().count("many") < 100:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(LOG.often, "thread")
    assert written()[-1] == "thread", "nothing would write it later"
    LOG.often("last")

asyncio.run(main())
LOG.often("after")
assert written()[-2:] == ["last", "after"]
LOG.often("end")
print("done")
"""


def test_what_happens_often_is_written_together_in_order_and_all_of_it(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    with log_file.open("w") as stderr:
        words = [sys.executable, "-c", TOGETHER, str(log_file)]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False)
    assert done.stdout == "done\n", log_file.read_text()
    assert log_file.read_text().splitlines()[-1].endswith(" INFO room end")


def test_what_waits_is_written_when_the_process_ends(tmp_path: Path) -> None:
    program = """
import asyncio
from relay import log
log.start("text")
async def main(): log.room("room").often("event")
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.endswith(" INFO room event\n")
