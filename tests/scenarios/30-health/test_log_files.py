"""A log that is a file, cut by Debian's logrotate while all processes of a service write to it."""

import re
import subprocess
from pathlib import Path

from tests import peers
from tests.scenarios import blocks, hostile, service
from tests.until import eventually

FILE = "/var/log/trackrelay.log"


def test_the_log_is_cut_while_the_service_writes(tmp_path: Path) -> None:
    """With what the document shows; only the file is another."""
    logrotate = peers.require("logrotate", package="logrotate")
    log, rules = tmp_path / "stderr.log", tmp_path / "logrotate.conf"
    rules.write_text(blocks.read("operations", "Logs", "/etc/logrotate.d/trackrelay").replace(FILE, str(log)))
    assert str(log) in rules.read_text()

    def cut() -> None:
        done = subprocess.run(
            [logrotate, "--force", "--state", str(tmp_path / "state"), str(rules)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def accepted(file: Path) -> list[str]:
        return re.findall(r"delivery accepted worker=\S+ .*?sender=(\S+)@", file.read_text())

    def send(*names: str) -> None:
        for name in names:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter(), sender=f"{name}@example.test").startswith("250")
        eventually(lambda: set(names) <= set(accepted(log)))

    with hostile.sink() as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port, smtp="workers = 2")
        with service.running(tmp_path, ports, only="smtp,queue") as relay:
            first, second, third = ([f"{word}{number}" for number in range(6)] for word in ("a", "b", "c"))
            send(*first)
            cut()
            send(*second)
            assert log.read_bytes()[:1] == b"2"  # the year: no hole before it
            cut()
            send(*third)
            assert sorted(accepted(log)) == third
    older = subprocess.run(["zcat", str(log) + ".2.gz"], capture_output=True, text=True, check=True).stdout
    assert older.count("trackrelay ready") == 1
    assert sorted(re.findall(r"delivery accepted .*?sender=(a\d)@", older)) == first
    assert sorted(accepted(Path(f"{log}.1"))) == second
