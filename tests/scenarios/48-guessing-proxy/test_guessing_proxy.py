"""Nobody guesses passwords at the provider through the relay, from however many addresses; and who was let in before is
let in meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.scenarios import hostile, service

GUESSES, BUDGET = 250, 100  # the second is the default of failed_logins_per_hour


def test_guesses_of_many_clients_share_a_budget(tmp_path: Path) -> None:
    with hostile.sink(users={"jane": "right", "joe": "right too"}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, smtp='auth = "upstream"\nallow = []')
        with service.running(tmp_path, ports) as relay:

            def login(n: int, user: str, password: str) -> str:
                with hostile.Smtp(relay.smtp, source=f"127.0.{1 + n // 200}.{1 + n % 200}") as client:
                    return client.login(user, password)[:9]

            def asked() -> int:
                return sum(line.upper().startswith("AUTH") for line in upstream.lines)

            assert login(0, "jane", "right") == "235 2.7.0"
            before = asked()
            with ThreadPoolExecutor(40) as pool:
                said = list(pool.map(lambda n: login(n, f"user{n}", "guess"), range(1, GUESSES)))
            passed = asked() - before
            assert passed <= BUDGET + 1, passed
            assert said.count("535 5.7.8") <= BUDGET + 1
            assert set(said) == {"535 5.7.8", "454 4.7.0"}
            assert login(GUESSES + 1, "jane", "right") == "235 2.7.0"  # from wherever
            assert login(GUESSES + 2, "jane", "wrong") == "454 4.7.0"
            assert login(GUESSES + 3, "joe", "right too") == "454 4.7.0"  # nobody knows yet that it is good
            counted = hostile.metrics(relay.admin)
            assert counted['trackrelay_smtp_logins_total{outcome="spent"}'] >= GUESSES - BUDGET - 5
