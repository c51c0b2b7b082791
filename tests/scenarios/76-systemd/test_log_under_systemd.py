"""The log as a file that systemd appends to and logrotate cuts, with the files of docs/operations.md as they stand there."""

from tests import peers
from tests.scenarios import blocks
from tests.scenarios.units import Relay
from tests.until import eventually

FILE = "/var/log/trackrelay.log"
FILES = ("/etc/systemd/system/trackrelay.service.d/log.conf", "/etc/logrotate.d/trackrelay")


def test_the_log_is_a_file(relay: Relay) -> None:
    peers.require("logrotate", package="logrotate")
    for path in FILES:
        relay.machine.write(path, blocks.read("operations", "Logs", path))
    relay.run("systemctl", "daemon-reload")

    def accepted(path: str) -> int:
        return (relay.machine.root / path.lstrip("/")).read_text().count(" delivery accepted ")

    with relay.upstream() as upstream:
        relay.settings(upstream=upstream.port)
        relay.start("trackrelay")
        assert relay.mail().startswith("250")
        eventually(lambda: accepted(FILE) == 1)
        assert relay.run("stat", "--format=%a %U", FILE).stdout.strip() == "600 root"
        relay.run("logrotate", "--force", FILES[1])
        assert (accepted(FILE), accepted(f"{FILE}.1")) == (0, 1)
        assert relay.mail().startswith("250")
        assert relay.mail().startswith("250")
        eventually(lambda: accepted(FILE) == 2)
        relay.run("systemctl", "stop", "trackrelay")
    assert "delivery accepted" not in relay.journal()
    relay.run("rm", *FILES, FILE, f"{FILE}.1")
    relay.run("systemctl", "daemon-reload")
