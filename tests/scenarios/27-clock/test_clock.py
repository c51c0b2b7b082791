"""The system's clock is set by days, forward and back, while mail and notifications wait: nothing is lost, given up
early, told twice or kept waiting for as much longer, and nobody has to do anything about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fakes import hooks
from tests.scenarios import hostile, service
from tests.until import eventually

DAY = 86_400


def test_set_forward_and_back_while_all_waits(
    tmp_path: Path, set_clock: tuple[Callable[[int], None], dict[str, str]]
) -> None:
    ahead, env = set_clock
    deferring = ["451 4.3.0 later"]
    failing = [True]
    with hostile.elsewhere() as run, hostile.sink({"dot": lambda _: deferring[0] if deferring else None}) as upstream:
        receiver = hooks.receiver(lambda number, _: hooks.Answer(500 if failing else 204))
        hook = run(receiver.__aenter__())
        more = f"""
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
[[webhooks]]
url = "{hook.url}"
triggers = ["message.link_clicked", "message.bounce_detected"]
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""
        ports = service.settings(tmp_path, upstream=upstream.port, tracking="opens = true\nlinks = true", more=more)
        with service.running(tmp_path, ports, env=env) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter()).startswith("250")  # kept: the upstream puts it off

            # Ten days on: older than queue_lifetime. It is tried at once, and not given up.
            ahead(10 * DAY)
            eventually(lambda: upstream.lines.count("DATA") == 2)
            eventually(lambda: relay.log.count("put_off") == 1)
            assert "clock_set" in relay.log

            # And an hour: due again, and taken.
            deferring.clear()
            ahead(10 * DAY + 3600)
            relay.emptied()
            assert len(upstream.taken) == 1
            assert "given_up" not in relay.log

            # A click, whose notification fails; then the clock goes back below the time of everything there is.
            _, clicks = hostile.tokens(upstream.taken[-1].content)
            with hostile.Http(relay.http) as browser:
                assert browser.get(clicks[0])[0] == 302
            eventually(lambda: "status=500" in relay.log)
            ahead(-DAY)
            failing.clear()
            eventually(lambda: len(hook.accepted) == 1)  # its pause was seconds, and is

            # Mail, clicks and their notifications go on below the old times.
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter("", "X-Track: all")).startswith("250")
            _, others = hostile.tokens(upstream.taken[-1].content)
            with hostile.Http(relay.http) as browser:
                assert browser.get(clicks[0])[0] == 302
                assert browser.get(others[0])[0] == 302
            eventually(lambda: len(hook.accepted) == 3)
            counted = hostile.metrics(relay.admin)
        assert len({got.headers["webhook-id"] for got in hook.accepted}) == 3
        assert len(upstream.taken) == 2  # each message once, and no report
        run(receiver.__aexit__(None, None, None))
    assert not [name for name, value in counted.items() if name.startswith("trackrelay_errors_total") and value]
    assert "Traceback" not in relay.log


def test_what_waits_when_the_program_starts_with_another_clock(
    tmp_path: Path, set_clock: tuple[Callable[[int], None], dict[str, str]]
) -> None:
    """Kept by a program whose clock was a year ahead; sent by one whose clock is right, and the other way round."""
    ahead, env = set_clock
    deferring = ["451 4.3.0 later"]
    with hostile.sink({"dot": lambda _: deferring[0] if deferring else None}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        for first, then in ((365 * DAY, 0), (0, 365 * DAY)):
            ahead(first)
            with service.running(tmp_path, ports, env=env) as relay, hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter()).startswith("250")
            ahead(then)
            before = upstream.lines.count("DATA")
            with service.running(tmp_path, ports, env=env) as relay:
                eventually(lambda: upstream.lines.count("DATA") > before)  # noqa: B023 - asked for at once
                eventually(lambda: "put_off" in relay.log)
                assert "given_up" not in relay.log
                deferring.clear()
                relay.command("queue", "retry", "--all")
                relay.emptied()
            deferring.append("451 4.3.0 later")
            (tmp_path / "stderr.log").write_text("")
    assert [each.reverse_path for each in upstream.taken] == ["a@example.test"] * 2
