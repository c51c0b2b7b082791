"""When an endpoint is failing, and when it has failed."""

from relay.core import failing
from relay.core.model import EndpointStatus

T0 = 1_700_000_000.0
HOUR = 3600.0


def after(attempts: list[tuple[float, bool]], status: EndpointStatus = "active", since: float = T0) -> EndpointStatus:
    """`attempts` are seconds after T0, and whether it was good."""
    spell = failing.Spell()
    for seconds, good in attempts:
        new = spell.hear(good, T0 + seconds, status, since)
        if new != status:
            status, since = new, T0 + seconds
    return status


def test_a_quarter_of_an_hour_of_failure_is_failing() -> None:
    assert after([(n, False) for n in range(899)]) == "active"
    assert after([(n, False) for n in range(901)]) == "failing"
    assert after([(0, False), (5, False), (305, False), (2105, False)]) == "failing"


def test_one_failure_after_a_long_silence_is_not() -> None:
    assert after([(0, True), (100_000, False)]) == "active"
    assert after([(0, True), (100_000, False), (100_899, False)]) == "active"
    assert after([(0, True), (100_000, False), (100_900, False)]) == "failing"


def test_one_in_ten_is_enough_and_one_in_fifty_is_not() -> None:
    assert after([(n, n % 10 == 0) for n in range(5000)]) == "active"
    assert after([(n, n % 50 == 0) for n in range(5000)]) == "failing"


def test_who_answers_again_is_active() -> None:
    down = [(n, False) for n in range(1000)]
    assert after([*down, *((1000 + n, True) for n in range(60))]) == "active"
    assert after([*down, (9000, True)]) == "active"


def test_three_days_of_failing_is_failed_for_good() -> None:
    down = [(n * 600.0, False) for n in range(430)]
    assert after(down) == "failing"
    assert after([(n * 600.0, False) for n in range(440)]) == "failed"
    assert after([(n * 600.0, False) for n in range(440)] + [(500_000, True)]) == "failed"


def test_who_was_set_active_begins_anew() -> None:
    spell = failing.Spell()
    for n in range(5):
        spell.hear(False, T0 + n, "active", T0 - 1)
    assert spell.hear(False, T0 + 5000, "active", T0 + 4000) == "active"
    assert spell.hear(False, T0 + 5899, "active", T0 + 4000) == "active"
    assert spell.hear(False, T0 + 5900, "active", T0 + 4000) == "failing"


def test_a_program_that_was_started_anew_goes_on() -> None:
    assert after([(73 * HOUR, False)], "failing") == "failed"
    assert after([(71 * HOUR, False)], "failing") == "failing"
    assert after([(71 * HOUR, True)], "failing") == "active"
    for status in ("pause", "failed", "gone"):
        assert after([(n, False) for n in range(2000)], status) == status
