"""What all clients together may guess, and who is exempt."""

from relay.smtp import throttle
from relay.workers import sharing


def test_a_budget_is_spent_and_fills_again() -> None:
    now = [0.0]
    budget = throttle.Budget(lambda: now[0], 3)
    for _ in range(3):
        assert not budget.spent
        budget.failed()
    assert budget.spent
    now[0] += 1199
    assert budget.spent
    now[0] += 2
    assert not budget.spent
    budget.failed()
    now[0] += 1_000_000
    for _ in range(3):
        assert not budget.spent
        budget.failed()
    assert budget.spent


def test_what_is_being_tried_counts() -> None:
    budget = throttle.Budget(lambda: 0.0, 2)
    with budget.trying(), budget.trying():
        assert budget.full
        assert not budget.spent
    assert not budget.full


def test_none_is_no_limit() -> None:
    budget = throttle.Budget(lambda: 0.0, 0)
    for _ in range(1000):
        budget.failed()
    assert not budget.spent
    assert not budget.full


def test_a_login_is_known_by_its_last_good_password_and_only_so_many() -> None:
    known = throttle.Known(lambda: 0.0, sharing.Alone(keys=2))
    assert not known.has("jane", "")
    for login in ("jane", "joe", "ann"):
        known.add(login, "right")
    assert [known.has(login, "right") for login in ("jane", "joe", "ann")] == [False, True, True]
    assert not known.has("joe", "wrong")
    known.add("joe", "new")
    assert not known.has("joe", "right")
    known.remove("joe")
    assert not known.has("joe", "new")
