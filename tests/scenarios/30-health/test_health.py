"""/readyz says what an operator, or a balancer, has to know: that mail can't be taken, and that it only waits."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import peers
from tests.fakes.upstream import Upstream
from tests.scenarios import hostile, service
from tests.until import eventually


def health(relay: service.Service, path: str = "/readyz") -> tuple[int, Any]:
    with hostile.Http(relay.admin) as client:
        status, _, body = client.get(path)
    return status, json.loads(body)


@pytest.mark.parametrize("on_defer", ["pass", "spool"])
def test_an_upstream_that_is_away_and_comes_back(tmp_path: Path, on_defer: str) -> None:
    """With `pass` every client would hear 4xx: not ready; with the spool mail is taken. It ends without any mail."""
    port = peers.free_port()
    ports = service.settings(tmp_path, upstream=port, out=f'on_defer = "{on_defer}"')
    with hostile.elsewhere() as run, service.running(tmp_path, ports, only="smtp,admin") as relay:
        assert health(relay) == (200, {**health(relay)[1], "ready": True, "reasons": [], "warnings": []})
        with hostile.Smtp(relay.smtp) as client:
            assert client.mail(hostile.letter()).startswith("451 4.4.1" if on_defer == "pass" else "250")
        status, said = health(relay)
        assert status == (503 if on_defer == "pass" else 200)
        (words,) = said["reasons" if on_defer == "pass" else "warnings"]
        assert words.startswith(f"upstream: The upstream 127.0.0.1:{port} does not answer")
        assert health(relay, "/healthz")[0] == 200
        upstream = Upstream()
        run(upstream.start(port))
        eventually(lambda: health(relay)[1]["warnings"] == health(relay)[1]["reasons"] == [])
        assert health(relay)[0] == 200
        run(upstream.stop())


def test_a_spool_that_cannot_be_written(tmp_path: Path) -> None:
    with hostile.sink({"dot": "451 4.3.0 later"}) as upstream:
        ports = service.settings(tmp_path, upstream=upstream.port)
        with service.running(tmp_path, ports, only="smtp,admin") as relay:
            spool = tmp_path / "var" / "spool"
            assert health(relay)[0] == 200
            assert not list(spool.iterdir())
            spool.rmdir()
            spool.write_text("in its place\n")
            status, said = health(relay)
            assert (status, said["reasons"]) == (503, ["spool: a part of the path is a file, and no folder"])
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter()).startswith("452 4.3.1")
            spool.unlink()
            assert health(relay)[0] == 200
            with hostile.Smtp(relay.smtp) as client:
                assert client.mail(hostile.letter()).startswith("250")
