"""A crash leaves no core file: the memory of the service holds passwords, keys and mail."""

import os
import signal
from pathlib import Path

from tests.fakes import certificates
from tests.scenarios import hostile, service

ALLOWED = ("sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', "sh")  # cores as large as they like


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    theirs = tmp_path.parent / f"{tmp_path.name}-theirs"
    pair = certificates.make(theirs)
    secret = tmp_path.parent / f"{tmp_path.name}-word"
    secret.write_text("canary-Word-4712\n")
    with hostile.sink(starttls=certificates.serving(pair), users={"me": "canary-Word-4712"}) as upstream:
        ports = service.settings(
            tmp_path,
            upstream=f"smtp://me@localhost:{upstream.port}",
            out=f'tls = "required"\npassword_file = "{secret}"',
        )
        env = {"SSL_CERT_FILE": str(pair.certificate)}
        with service.running(tmp_path, ports, env=env, prefix=ALLOWED) as relay:
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter()).startswith("250")
            limits = Path(f"/proc/{relay.process.pid}/limits").read_text()
            (line,) = (each for each in limits.splitlines() if each.startswith("Max core file size"))
            assert line.split()[4:6] == ["0", "0"]
            os.kill(relay.process.pid, signal.SIGABRT)
            _, status = os.waitpid(relay.process.pid, 0)
            relay.process.returncode = -signal.SIGABRT
            assert os.WTERMSIG(status) == signal.SIGABRT
            assert not os.WCOREDUMP(status)
