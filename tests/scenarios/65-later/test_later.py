"""A message that is to be sent later is sent when its time has come, once, also where the program is killed meanwhile; and
its end is told. By the official Python SDK against the running program, whose clock is set."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nylas import Client
from nylas.models.errors import NylasApiError

from tests import contract
from tests.fakes import hooks
from tests.scenarios import hostile, service
from tests.until import eventually

GRANT = """
[webhook_delivery]
allow_private = ["127.0.0.0/8"]
[[webhooks]]
url = "{url}"
triggers = ["message.send_success", "message.send_failed"]
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
[[grants]]
id = "sales"
email = "sales@example.com"
addresses = ["*@example.com"]
"""


def test_sent_when_its_time_has_come(tmp_path: Path, set_clock: tuple[Callable[[int], None], dict[str, str]]) -> None:
    ahead, env = set_clock
    with hostile.elsewhere() as run, hostile.sink() as upstream:
        receiver = hooks.receiver(lambda number, _: hooks.Answer(204))
        hook = run(receiver.__aenter__())
        ports = service.settings(tmp_path, upstream=upstream.port, more=GRANT.format(url=hook.url))

        def later(relay: service.Service, to: str) -> Any:
            client = Client("any", f"http://127.0.0.1:{relay.admin}")
            body = {"to": [{"email": to}], "subject": "Later", "body": "<p>Hi</p>", "send_at": int(time.time()) + 600}
            made = client.messages.send("sales", body).data
            return made

        def state(relay: service.Service, schedule_id: str) -> str:
            client = Client("any", f"http://127.0.0.1:{relay.admin}")
            return str(client.messages.find_scheduled_message("sales", schedule_id).data.status.code)

        with service.running(tmp_path, ports, env=env) as relay:
            kept, gone = later(relay, "b@example.test"), later(relay, "c@example.test")
            client = Client("any", f"http://127.0.0.1:{relay.admin}")
            client.messages.stop_scheduled_message("sales", gone.schedule_id)
            with pytest.raises(NylasApiError, match="one minute"):
                client.messages.send("sales", {"to": [{"email": "b@example.test"}], "send_at": int(time.time()) + 30})
            relay.kill()
        assert upstream.taken == []
        with service.running(tmp_path, ports, env=env) as relay:
            assert state(relay, kept.schedule_id) == "pending"
            ahead(700)
            eventually(lambda: state(relay, kept.schedule_id) == "success")
            assert state(relay, gone.schedule_id) == "cancelled"
            eventually(lambda: len(hook.accepted) == 1)
        (taken,) = upstream.taken
        assert taken.recipients == ["b@example.test"]
        run(receiver.__aexit__(None, None, None))
    said = hook.accepted[0].json
    assert contract.errors(said) == []
    assert (said["type"], said["data"]["object"]["schedule_id"]) == ("message.send_success", kept.schedule_id)
