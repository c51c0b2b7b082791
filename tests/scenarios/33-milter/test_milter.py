"""Real Postfix that asks the milter about its mail: what it delivers is what the relay would have sent."""

import json
import re
import smtplib
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
        eventually(lambda: f"queue_id={queue_id} recipients=1" in relay.log)
        (found,) = {
            relay.command("messages", "show", "--json", name).stdout
            for name in (queue_id, "<letter-1@example.test>", event["message_id"])
        }
        shown = json.loads(found)
        assert (shown["message_id"], shown["queue_id"]) == (event["message_id"], queue_id)
        assert [(copy["recipient"], copy["state"]) for copy in shown["copies"]] == [("b@example.test", "handed")]
        assert queue_id in relay.command("messages", "list").stdout
        relay.command("messages", "show", "nobody", code=1)

        milters.send(server.port, hostile.letter(), "c@example.test", "d@example.test")
        several = eventually(lambda: last.taken[1:])
        pixels, _ = hostile.tokens(several[0].content)
        urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}{pixels[0]}", timeout=15).close()
        event = eventually(lambda: relay.events()[1:])[0]
        assert (event["type"], event["recipient"]) == ("message.opened", "")


def test_only_outgoing_mail_is_touched(tmp_path: Path) -> None:
    """Whose it is, as the mail server tells: a stranger's keeps even its control headers; a login's is tracked."""
    ports, milter = milters.settings(tmp_path)
    xclient = {
        "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
        "smtpd_relay_restrictions": "permit_mynetworks, check_client_access static:OK, reject",
    }
    content = hostile.letter("", "X-Track: none")
    with (
        hostile.sink() as last,
        service.running(tmp_path, ports, only="milter,admin") as relay,
        milters.mail_server(last, milter, milter_macro_daemon_name="incoming", **xclient) as server,
    ):
        for name, who in (("stranger", "ADDR=192.0.2.7"), ("ann", "ADDR=192.0.2.8 LOGIN=ann")):
            with smtplib.SMTP("127.0.0.1", server.port, timeout=20) as client:
                client.ehlo()
                assert client.docmd(f"XCLIENT {who}")[0] == 220
                client.ehlo()
                client.sendmail("a@example.test", [f"{name}@example.test"], content)
        eventually(lambda: len(last.taken) == 2)
        kept = {one.recipients[0].partition("@")[0]: one.content for one in last.taken}
        assert kept["stranger"].endswith(content)
        assert b"X-Track" not in kept["ann"]
        eventually(lambda: "peer=192.0.2.8 login=ann" in relay.log)
        assert "192.0.2.7" not in relay.log


def test_mail_that_was_tracked_is_not_tracked_again(tmp_path: Path) -> None:
    """A second pass of the same Postfix, as after a content filter: neither links nor the pixel."""
    ports, milter = milters.settings(tmp_path)
    with (
        hostile.sink() as last,
        service.running(tmp_path, ports, only="milter,admin"),
        milters.mail_server(last, milter) as server,
    ):
        milters.send(server.port, hostile.letter())
        (once,) = eventually(lambda: list(last.taken))
        milters.send(server.port, once.content)
        twice = eventually(lambda: last.taken[1:])[0]
        assert twice.content.endswith(once.content)
        assert hostile.tokens(once.content) == hostile.tokens(twice.content)
