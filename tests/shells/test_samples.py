"""Figures of several processes: exact, added up, and going on where a process ended."""

import os
import subprocess
import sys
from pathlib import Path

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from relay import metrics, samples

ONE = samples.Key("sum", "a", "a_total", (), ())
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
KEYS = st.builds(
    lambda over, name, labels: samples.Key(over, "m", name, tuple(labels), tuple(labels.values())),
    st.sampled_from(["sum", "livesum", "livemax", ""]), TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=3),
)  # fmt: skip


def child(*lines: str, page: int) -> str:
    """Runs a process whose figures are in this file descriptor's memory; what it prints."""
    code = (
        "import mmap, sys; from relay import metrics, samples\n"
        f"page = samples.Page(memoryview(mmap.mmap({page}, samples.SIZE)))\n"
        "metrics.share(page)\n" + "\n".join(lines)
    )
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[page], capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.fixture
def memory() -> int:
    fd = os.memfd_create("page")
    os.ftruncate(fd, samples.SIZE)
    return fd


def looked(fd: int) -> samples.Page:
    return samples.Page(memoryview(bytearray(os.pread(fd, samples.SIZE, 0))), writes=False)


def shown(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def difference(pages: list[tuple[samples.Page, bool]], name: str, **labels: str) -> float:
    """What the others add to this process' own."""
    key = (f"trackrelay_{name}", tuple(sorted(labels.items())))
    return shown(metrics.exposition(pages)).get(key, 0.0) - shown(metrics.exposition()).get(key, 0.0)


@given(st.dictionaries(KEYS, st.floats(allow_nan=False), max_size=20))
def test_what_is_placed_is_read(wanted: dict[samples.Key, float]) -> None:
    page = samples.Page()
    for key, value in wanted.items():
        page.cells[page.place(key)] = value
    assert {key: page.place(key) for key in wanted} == {key: at for at, key in enumerate(wanted)}
    assert dict(samples.Page(page.memory, writes=False).read()) == wanted


@given(st.lists(st.dictionaries(KEYS, st.integers(0, 1000), max_size=5), max_size=4), st.integers(0, 15))
def test_the_sum_is_what_a_model_says(processes: list[dict[samples.Key, int]], running: int) -> None:
    pages = []
    model: dict[samples.Key, float] = {}
    for n, wanted in enumerate(processes):
        page, runs = samples.Page(), bool(running & 1 << n)
        for key, value in wanted.items():
            page.cells[page.place(key)] = value
            if key.over == "sum" or (key.over == "livesum" and runs):
                model[key] = model.get(key, 0) + value
            elif key.over == "livemax" and runs:
                model[key] = max(model.get(key, value), value)
        pages.append((page, runs))
    assert samples.added(pages) == model


def test_a_full_page_counts_in_its_process_alone() -> None:
    page = samples.Page()
    places = [page.place(samples.Key("sum", "m", str(n), (), ())) for n in range(samples.MOST + 1)]
    room = places.index(-1)
    assert room > 2000
    assert places == [*range(room), *[-1] * (samples.MOST + 1 - room)]
    assert len(list(page.read())) == room
    value = samples.Value("counter", "full", "full_total", (), (), "")
    value.inc(2)
    value.move(page, inherited=False)
    value.inc(1)
    assert value.get() == 3


def test_what_is_damaged_counts_for_nothing_and_is_written_over() -> None:
    page = samples.Page()
    page.cells[page.place(ONE)] = 3
    page.memory[samples.NAMES_AT : samples.NAMES_AT + 4] = b"\xff{[\0"
    assert samples.added([(page, True)]) == {}
    again = samples.Page(page.memory)
    assert list(again.read()) == []
    assert again.place(ONE) == 0
    with pytest.raises(ValueError, match="version"):
        samples.Page(memoryview(bytearray(b"other".ljust(samples.SIZE))), writes=False)


def test_a_process_that_was_killed_while_it_added_a_name() -> None:
    """The name is there, and its value is not counted among the values yet."""
    page = samples.Page()
    for n in range(3):
        page.cells[page.place(samples.Key("sum", "m", str(n), (), ()))] = n + 1
    page.memory[16:24] = (2).to_bytes(8, "little")  # how many there are
    assert [(key.name, value) for key, value in page.read()] == [("0", 1), ("1", 2)]
    again = samples.Page(page.memory)
    again.cells[again.place(samples.Key("sum", "m", "3", (), ()))] = 7
    assert [(key.name, value) for key, value in again.read()] == [("0", 1), ("1", 2), ("2", 0), ("3", 7)]


def test_a_note_is_read_whole_or_not_at_all() -> None:
    page = samples.Page()
    assert page.note() == {}
    page.say({"warnings": ["é" * 100]})
    assert page.note() == {"warnings": ["é" * 100]}
    page.say({"warnings": ["x" * samples.SIZE]})  # too long
    assert page.note() == {"warnings": ["é" * 100]}
    page.memory[samples.NOTE_AT + 20] ^= 1  # as it is while it is being written
    assert page.note() == {}


def test_a_successor_goes_on_counting_and_its_gauges_begin_anew(memory: int) -> None:
    child("metrics.ACCEPTED.inc(3); metrics.REFUSED.labels('550').inc(); metrics.QUEUE.set(7)", page=memory)
    page = looked(memory)
    assert difference([(page, True)], "accepted_total") == 3
    assert difference([(page, True)], "refused_total", code="550") == 1
    said = child(
        "metrics.ACCEPTED.inc(2)",
        "print(metrics.value('trackrelay_accepted_total'), metrics.value('trackrelay_refused_total', code='550'))",
        page=memory,
    )
    assert said.split() == ["5.0", "1.0"]
    page = looked(memory)
    assert difference([(page, False)], "accepted_total") == 5
    assert (
        dict(page.read())[samples.Key("livemax", "trackrelay_queue_messages", "trackrelay_queue_messages", (), ())] == 0
    )


def test_a_process_that_is_killed_has_counted_all(memory: int) -> None:
    child("import os, signal", "metrics.ACCEPTED.inc(41)", "os.kill(os.getpid(), signal.SIGKILL)", page=memory)
    assert difference([(looked(memory), False)], "accepted_total") == 41


def test_what_a_process_counted_that_forked_this_one_is_not_its_own(memory: int) -> None:
    child(
        "import os",
        "metrics.ACCEPTED.inc(5)",
        "other = samples.Page(samples.own())",
        "pid = os.fork()",
        "if not pid: metrics.share(other); assert metrics.value('trackrelay_accepted_total') == 0; os._exit(7)",
        "assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7",
        page=memory,
    )
    assert difference([(looked(memory), False)], "accepted_total") == 5


def test_histograms_are_added_up_bucket_by_bucket(memory: int) -> None:
    child("metrics.STAGE.labels('track').observe(0.003); metrics.STAGE.labels('elsewhere').observe(0.3)", page=memory)
    pages = [(looked(memory), True), (looked(memory), False)]
    found, own = shown(metrics.exposition(pages)), shown(metrics.exposition())
    for stage, seconds in (("track", 0.003), ("elsewhere", 0.3)):
        for bound in ("0.001", "0.005", "0.5", "60.0", "+Inf"):
            key = ("trackrelay_stage_seconds_bucket", (("le", bound), ("stage", stage)))
            assert found[key] - own.get(key, 0.0) == (2 if float(bound) >= seconds else 0), key
        assert found["trackrelay_stage_seconds_count", (("stage", stage),)] >= 2


def test_processor_time_and_memory_are_of_all(memory: int) -> None:
    child("sum(range(3_000_000)); metrics.refresh()", page=memory)
    page = looked(memory)
    assert difference([(page, False)], "cpu_seconds_total") > 0.01
    assert difference([(page, True)], "resident_bytes") > 10_000_000
    before = metrics.value("trackrelay_cpu_seconds_total")
    assert 0 < before <= metrics.value("trackrelay_cpu_seconds_total")


def test_gauges_are_of_who_runs(memory: int) -> None:
    child(
        "metrics.SMTP_CONNECTIONS.set(4); metrics.UPSTREAM_TROUBLE.labels('up', 'tls').set(1)",
        "metrics.NODE_TROUBLE.labels('gone').set(2)",
        page=memory,
    )
    page = looked(memory)
    assert difference([(page, True), (page, True)], "smtp_connections") == 8
    assert difference([(page, True), (page, True)], "upstream_trouble", upstream="up", kind="tls") == 1
    assert difference([(page, False)], "smtp_connections") == 0
    assert difference([(page, False)], "upstream_trouble", upstream="up", kind="tls") == 0


def test_samples_of_another_version_are_left_out() -> None:
    page = samples.Page()
    page.cells[page.place(ONE)] = 3
    page.cells[
        page.place(samples.Key("sum", "trackrelay_refused", "trackrelay_refused_total", ("x", "y"), ("1", "2")))
    ] = 3
    assert shown(metrics.exposition([(page, True)])).keys() == shown(metrics.exposition()).keys()


def test_every_metric_is_ours_and_every_gauge_says_what_it_is_over_all() -> None:
    """prometheus_client asks for its values where they are put in place of its own."""
    counter = prometheus_client.Counter("some", "thing", ["label"], registry=None)
    counter.labels("x").inc(2)
    assert [type(each) for key, each in samples.ALL.items() if key.metric == "some"] == [samples.Value]
    assert {key.over for key in samples.ALL if key.metric.startswith("trackrelay")} <= {"sum", "livesum", "livemax", ""}


def test_a_gauge_that_is_followed_is_what_it_is_now(tmp_path: Path) -> None:
    followed = dict(metrics.FOLLOWED)
    try:
        metrics.follow(metrics.JOURNAL, lambda: 12)
        assert metrics.value("trackrelay_journal_bytes") == 12
        metrics.follow(metrics.JOURNAL, lambda: (tmp_path / "gone").stat().st_size)
        assert metrics.value("trackrelay_journal_bytes") == 12
    finally:
        metrics.FOLLOWED.clear()
        metrics.FOLLOWED.update(followed)


@given(st.lists(st.one_of(st.floats(0, 100), st.sampled_from(metrics.FAST))))
def test_a_histogram_counts_as_prometheus_own(amounts):
    """Each goes on from where the example before ended: a figure is what has its name."""

    def counted(kind, name):
        registry = prometheus_client.CollectorRegistry()
        made = kind(name, "-", ["stage"], buckets=metrics.FAST, registry=registry).labels("a")
        for amount in amounts:
            made.observe(amount)
        (family,) = registry.collect()
        return [(s.name.removeprefix(name), s.labels, s.value) for s in family.samples if "_created" not in s.name]

    assert counted(metrics.Histogram, "ours") == counted(prometheus_client.Histogram, "theirs")
