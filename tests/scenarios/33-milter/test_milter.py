"""Real Postfix that asks the milter about its mail: what it delivers is what the relay would have sent."""

import re
import urllib.request
from pathlib import Path

from tests.scenarios import hostile, milters, service
from tests.until import eventually


def test_tracked_mail_of_one_recipient_and_of_several(tmp_path: Path) -> None:
    ports, milter = milters.settings(tmp_path)
    with (
        hostile.sink() as last,
        service.running(tmp_path, ports) as relay,
        milters.mail_server(last, milter) as server,
    ):
        milters.send(server.port, hostile.letter("", "X-Track-Label: spring", "Bcc: c@example.test"))
        (alone,) = eventually(lambda: list(last.taken))
        pixels, clicks = hostile.tokens(alone.content)
        assert (len(pixels), len(clicks)) == (1, 1)
        assert b"x-track" not in alone.content.lower()
        urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}{pixels[0]}", timeout=15).close()
        (event,) = eventually(relay.events)
        assert (event["type"], event["recipient"]) == ("message.opened", "b@example.test")
        queue_id = re.findall(r"postfix/cleanup.*?: (\w+): message-id=<letter-1@", server.log())[0]
        assert f"queue_id={queue_id} recipients=1" in relay.log

        milters.send(server.port, hostile.letter(), "c@example.test", "d@example.test")
        several = eventually(lambda: last.taken[1:])
        pixels, _ = hostile.tokens(several[0].content)
        urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}{pixels[0]}", timeout=15).close()
        event = eventually(lambda: relay.events()[1:])[0]
        assert (event["type"], event["recipient"]) == ("message.opened", "")
